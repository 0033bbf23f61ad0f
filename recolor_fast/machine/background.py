"""Work done beside the main thread's: by one thread, one piece after the other, in the order it was asked for."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy as shallow
from types import TracebackType
from typing import Any

import torch
from torch import Tensor


class Background:
    """A thread for what nobody waits for. At the end of the block it has done all of it, or what it failed with is
    raised, unless the block ends with an error of its own.

    What a piece of work failed with is raised by the next call, which also drops what was not begun by then. What had
    been asked for before may still be done: a checkpoint is worth writing though a validation failed. No signal's
    handler runs in this thread.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="recolor_fast-background")
        self._asked: list[Future[Any]] = []

    def begin(self, work: Callable[[], Any]) -> None:
        """Have this done, after all that was asked for before. Raises what that failed with, if it has by now."""
        self.check()
        self._asked.append(self._pool.submit(_alone, work))

    def check(self) -> None:
        """Raise what a piece of work has failed with by now."""
        while self._asked and self._asked[0].done():
            self._next()

    def settle(self) -> None:
        """Wait until all is done. Raises what it failed with."""
        while self._asked:
            self._next()

    def _next(self) -> None:
        error = self._asked[0].exception()  # waits; a signal that ends the wait leaves it where it is
        self._asked.pop(0)
        if error:
            for later in self._asked:
                later.cancel()
            self._asked.clear()
            raise error

    def __enter__(self) -> "Background":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                self.settle()
        finally:
            self._pool.shutdown(wait=True)


def _alone(work: Callable[[], Any]) -> None:
    """Do it in a thread that ends with it. Threads that it computes with end as well: OpenMP's that were left would be
    more, with the main thread's, than there are processors, and all of them would from then on sleep at each barrier,
    where small networks train half as fast (bench/LOG.md).
    """
    done: Future[None] = Future()

    def do() -> None:
        try:
            work()
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    thread = threading.Thread(target=do, name="recolor_fast-background-work")
    thread.start()
    thread.join()
    done.result()


def copied(state: Any) -> tuple[Any, Callable[[], None]]:
    """A state in memory of its own on the host, which what is computed from now on does not change, and what to call
    before it is read: that waits until the copies have come from a GPU. Nothing else waits.
    """
    tensors: list[Tensor] = []
    copy = _copied(state, tensors)
    if not any(tensor.is_cuda for tensor in tensors):
        return copy, lambda: None
    come = torch.cuda.Event()
    come.record()
    return copy, come.synchronize


def _copied(state: Any, tensors: list[Tensor]) -> Any:
    """A nest of dicts, lists and tensors with copies of the tensors, which are added to a list."""
    if isinstance(state, Tensor):
        tensors.append(state)
        copy = torch.empty_like(state, device="cpu", pin_memory=state.is_cuda)  # in the same order of elements
        return copy.copy_(state, non_blocking=True)
    if isinstance(state, dict):
        whole = shallow(state)  # a module's has the versions of its parts beside it
        whole.update({key: _copied(value, tensors) for key, value in state.items()})
        return whole
    return [_copied(one, tensors) for one in state] if isinstance(state, list) else state
