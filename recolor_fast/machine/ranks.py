"""The processes ("ranks") that train together, started by torchrun: what they sum, tell each other, and who is lost.

torch.distributed is started where there are several of them, and nowhere else. A rank that fails or is stopped leaves a
line for the others; one that is killed breaks the connection of those that wait for it; one that stands still, or whose
machine is gone, no longer beats. Whichever it is, the others end in under a minute, and one of them says who it was.
"""

import json
import os
import shlex
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recolor_fast.machine import launched
from recolor_fast.machine.errors import Failed, UserError
from recolor_fast.machine.files import say
from recolor_fast.machine.launched import Place
from recolor_fast.machine.signals import Stopped
from recolor_fast.machine.versions import versions

JOIN = 120  # seconds that the ranks wait for each other at the beginning
SLOW = timedelta(hours=2)  # how long a rank waits for one that is alive, as while the first one validates
BEAT = 1.0  # seconds between a rank's signs of life
SILENT = 30.0  # seconds without one after which a rank is lost
MISSED = 4.0  # the same where a connection has broken
GRACE = 5.0  # seconds that a rank has to end by itself
AGAIN = "start again with --resume, or let torchrun do so: --max-restarts"


class Lost(Failed):
    """Another rank is gone, and this one is the one that says so."""


class Ranks:
    """This process among those that train together; alone, all of it does nothing.

    `asked`: whether this rank was asked to stop, which the next iteration tells all.
    """

    def __init__(self, place: Place = Place(), store: Any = None) -> None:  # noqa: B008  # immutable
        self.rank, self.count, self.local, self.beside = place
        self.asked = False
        self._store = store
        self._ended = threading.Event()

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def places(self, batch: int, piece: int = 0) -> np.ndarray:
        """Where in a whole batch this rank's photographs are: of each `piece` (0: all at once), its equal part."""
        every = np.arange(batch)
        pieces = np.split(every, range(piece, batch, piece)) if piece else [every]
        return np.concatenate([np.split(one, self.count)[self.rank] for one in pieces])

    def average(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The means over all ranks of floating tensors, of any shapes but the same on each rank: one all-reduce."""
        if self.count == 1:
            return list(tensors)
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        self.sum_(flat).div_(self.count)
        parts = flat.split([tensor.numel() for tensor in tensors])
        return [part.view(tensor.shape) for part, tensor in zip(parts, tensors)]

    def sum_(self, tensor: Tensor) -> Tensor:
        """A contiguous tensor, summed over all ranks in place."""
        if self.count > 1:
            with self._all_there():
                torch.distributed.all_reduce(tensor)
        return tensor

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Give all ranks the first one's tensors, in place."""
        if self.count == 1:
            return
        with self._all_there(), torch.no_grad():
            for tensor in tensors:
                same = tensor.contiguous()
                torch.distributed.broadcast(same, 0)
                tensor.copy_(same)

    def told(self, value: Any) -> Any:
        """The first rank's value on every rank, through JSON; what the others give does not matter."""
        if self.count == 1:
            return value
        data = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        length = torch.tensor(len(data))
        self.broadcast([length])
        data = data if self.first else torch.empty(int(length), dtype=torch.uint8)
        self.broadcast([data])
        return json.loads(bytes(data.numpy()))

    def wait(self) -> None:
        """Until all ranks are here."""
        self.sum_(torch.zeros(1))

    # --- who is there, and who is not ---------------------------------------------------------------------------------

    @contextmanager
    def _all_there(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise self._gone(error) from error

    def _gone(self, error: RuntimeError) -> BaseException:
        """What to raise where a connection has broken: Lost, naming who is missing, or an end without a word."""
        try:
            before = self._beats()
            for _ in range(round(MISSED / BEAT)):
                if self._store.check(["lost"]):
                    return SystemExit(1)
                time.sleep(BEAT)
            missing = [rank for rank, beat in enumerate(self._beats()) if beat == before[rank] and rank != self.rank]
            names = ", ".join(self._name(rank) for rank in missing[:3])
            reason = (str(error).strip() or "no reason given").splitlines()[0]
            text = f"lost {names or f'the connection to another rank ({reason})'}: {AGAIN}"
            return Lost(text) if self._is_first_to_say(text) else SystemExit(1)
        except RuntimeError:
            return Lost(f"lost rank 0 or its machine, through which all ranks speak: {AGAIN}")

    def _beats(self) -> list[bytes]:
        keys = [f"beat/{rank}" for rank in range(self.count)]
        return [self._store.get(key) if self._store.check([key]) else b"" for key in keys]

    def _name(self, rank: int) -> str:
        return f"rank {rank} ({self._store.get(f'name/{rank}').decode()})"

    def _is_first_to_say(self, text: str) -> bool:
        line = f"{self.rank}: {text}"
        return self._store.compare_set("lost", "", line).decode() == line

    def _beat(self, store: Any) -> None:
        """Show that this rank is alive, and end it once another is lost. In a thread, with a store of its own."""
        neighbor, seen, since, number = (self.rank + 1) % self.count, b"", time.monotonic(), 0
        own = Ranks(Place(self.rank, self.count), store)
        text: str | None = None
        while not self._ended.wait(BEAT):
            number += 1
            try:
                store.set(f"beat/{self.rank}", str(number))
                if store.check(["lost"]):
                    break
                beat = store.get(f"beat/{neighbor}") if store.check([f"beat/{neighbor}"]) else b""
                if beat != seen or beat == b"ended":
                    seen, since = beat, time.monotonic()
                elif time.monotonic() - since > SILENT:
                    text = f"lost {own._name(neighbor)}, without a sign of life for {SILENT:.0f} seconds: {AGAIN}"
                    text = text if own._is_first_to_say(text) else None
                    break
            except RuntimeError:
                text = f"lost rank 0 or its machine, through which all ranks speak: {AGAIN}"
                break
        if not self._ended.wait(GRACE):  # it waits for who does not come
            if text:
                say(f"error: {text}")
            os._exit(1)

    def _leave(self, error: BaseException | None) -> None:
        """Say that this rank ends in good order, or that it does not, and why."""
        self._ended.set()
        with suppress(RuntimeError):
            if error is None:
                self._store.set(f"beat/{self.rank}", "ended")
            elif not isinstance(error, Lost):
                reason = f"stopped by {error.signal}" if isinstance(error, Stopped) else str(error)
                self._is_first_to_say(f"rank {self.rank} ended: {reason}")


ALONE = Ranks()


@contextmanager
def joined(words: Sequence[str] = ()) -> Iterator[Ranks]:
    """ALONE, or the ranks that a launcher started, once all have come.

    UserError where they do not come within JOIN seconds, or are of other versions or command lines (`words`) than the
    first. The block ends in good order on all ranks together.
    """
    place = launched.place()
    if place.ranks == 1:
        yield ALONE
        return
    # Imported once there is a group, as torch's compiler does, its functions would keep that as a default for ever.
    import torch.distributed.nn.functional
    from torch import distributed

    store = _store()
    ranks = Ranks(place, store)
    _meet(ranks, store, versions() | {"command line": shlex.join(words)})
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        store=distributed.PrefixStore("group", store),
        rank=place.rank,
        world_size=place.ranks,
        timeout=SLOW,
    )
    beating = threading.Thread(target=ranks._beat, args=(store.clone(),), daemon=True, name="recolor_fast-ranks")
    beating.start()
    alone = False
    try:
        yield ranks
        ranks.wait()
    except BaseException as error:
        alone = not isinstance(error, Stopped)
        ranks._leave(error)
        raise
    else:
        ranks._leave(None)
    finally:
        # Python, ending, would abort the process for a thread of torch's that asks for its lock: in the store, or
        # letting go of what was summed last.
        beating.join(GRACE)
        if not alone:
            distributed.destroy_process_group()


def _store() -> Any:
    """Where the ranks leave each other notes. UserError where it cannot be reached."""
    from torch import distributed

    address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    try:
        store = next(distributed.rendezvous("env://", timeout=timedelta(seconds=JOIN)))[0]
        # torchrun's store outlives the ranks that it starts again: what the ones before have left there must not count.
        return distributed.PrefixStore(f"start/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"rendezvous {address} cannot be reached within {JOIN} seconds ({reason}): is that machine up, its port "
            "open and free, and torchrun started on every machine with the same --rdzv-endpoint?"
        ) from error


def _meet(ranks: Ranks, store: Any, facts: Mapping[str, str]) -> None:
    """Wait until all ranks are here, and see that their facts are the same. UserError, on one of them, where not."""
    if store.check(["met"]):  # torchrun counts no restart where machines come: all is there that the ranks before left
        if not ranks.first:
            raise SystemExit(2)
        raise UserError(
            "the number of machines has changed, and torchrun --nnodes=MIN:MAX is not supported: start again with one "
            "number of machines and --resume"
        )
    store.set(f"facts/{ranks.rank}", json.dumps(facts))
    store.set(f"name/{ranks.rank}", f"{socket.gethostname()}, process {os.getpid()}")
    wait = timedelta(seconds=JOIN)
    if not ranks.first:
        try:
            store.wait(["facts/0"], wait)
        except RuntimeError as error:
            raise UserError(f"rank 0 did not come within {JOIN} seconds: start it, too") from error
        try:
            store.wait(["met"], 2 * wait)
        except RuntimeError as error:
            raise SystemExit(2) from error  # rank 0 has said why
        return
    keys = [f"facts/{rank}" for rank in range(ranks.count)]
    with suppress(RuntimeError):
        store.wait(keys, wait)
    missing = [str(rank) for rank, key in enumerate(keys) if not store.check([key])]
    if missing:
        raise UserError(
            f"{ranks.count - len(missing)} of {ranks.count} ranks came within {JOIN} seconds, not rank "
            f"{', '.join(missing[:5])}: start as many processes as --nnodes and --nproc-per-node (WORLD_SIZE) say"
        )
    for rank, key in enumerate(keys):
        theirs = json.loads(store.get(key))
        for name in {**facts, **theirs}:
            ours, other = facts.get(name, "none"), theirs.get(name, "none")
            if ours != other:
                raise UserError(
                    f"rank {rank} ({store.get(f'name/{rank}').decode()}) has {name} {other}, rank 0 has {ours}: start "
                    "all with the same, on every machine"
                )
    store.set("met", "")
