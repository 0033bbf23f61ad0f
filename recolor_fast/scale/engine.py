"""Coloring by Ray Data: photographs to workers of a cluster, records back. Ray is imported here alone, and reports
nothing."""

import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from itertools import islice
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("RAY_agent_register_timeout_ms", "120000")  # busy machines take longer than Ray's half a minute

import ray
import ray.data

from recolor_fast.coloring import folder
from recolor_fast.machine.errors import UserError
from recolor_fast.scale.worker import Item, Task, Worker

BATCH = 8  # photographs of a call: what a lost worker had begun is done again
CHUNK = 100_000  # photographs handed to Ray at a time, so that lists may be longer than memory
SECONDS = 10  # to wait for a cluster
TRIES = 4  # to start one here: busy machines take longer than the half a minute that Ray gives it


class _Actor(Worker):
    """A worker that takes the model from the cluster."""

    def __init__(self, task: Task, model: list[Any]) -> None:
        super().__init__(task._replace(model=ray.get(model[0])))


def color(
    items: Iterable[Item], task: Task, address: str | None, workers: int | None = None
) -> Iterator[folder.Record]:
    """A record of each item, in no particular order. Raises UserError where there is no cluster, or workers cannot
    begin."""
    with _cluster(address):
        waiting = iter(items)
        while chunk := list(islice(waiting, CHUNK)):
            done = 0
            for text in _mapped(chunk, task, workers):
                done += 1
                yield _record(text)
            if done != len(chunk):
                raise RuntimeError(f"{done} records of {len(chunk)} photographs")


def _mapped(chunk: Sequence[Item], task: Task, workers: int | None) -> Iterator[str]:
    gpu = task.provider in ("cuda", "tensorrt") or (task.provider == "auto" and "GPU" in ray.cluster_resources())
    most = workers or max(1, int(ray.cluster_resources().get("CPU", 1)) // task.threads)
    model = ray.put(task.model)  # not an argument by itself: a worker that begins again would look for it in vain
    rows = [{"item": json.dumps(item)} for item in chunk]
    blocks = -(-len(rows) // BATCH)
    mapped = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
        _Actor,
        fn_constructor_args=(task._replace(model=b""), [model]),
        batch_size=None,  # a block
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(most, blocks)),
        num_cpus=task.threads,
        num_gpus=1 if gpu else None,
    )
    try:
        for batch in mapped.iter_batches(batch_size=None, batch_format="pyarrow"):
            column: Any = batch["record"]
            yield from column.to_pylist()
    except ray.exceptions.RayError as error:
        if told := _told(error):
            raise UserError(told) from None
        raise


def _told(error: BaseException) -> str:
    """What a worker that could not begin says to users; empty for a bug."""
    one: BaseException | None = error
    while one is not None:
        if isinstance(one, UserError):
            return str(getattr(one, "cause", one))
        one = getattr(one, "cause", None) or one.__cause__
    return ""


def _record(text: str) -> folder.Record:
    values = json.loads(text)
    return folder.Record(**{**values, "notes": tuple(values["notes"])})


@contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """Connected to a cluster: one that is there, else one of this machine for as long as this runs."""
    where = address or os.environ.get("RAY_ADDRESS")
    if where:
        _reached(where)
    with redirect_stdout(sys.stderr):  # Ray prints there, between the records of --json, also as it ends
        with _signals_kept():
            _joined(where)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            with suppress(Exception):
                ray.shutdown()


@contextmanager
def _signals_kept() -> Iterator[None]:
    """A block after which signals do what they did before: Ray sets handlers of its own."""
    main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT) if main}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _joined(where: str | None) -> None:
    """Connect to a cluster, or start one on this machine. Raises UserError where that does not work."""
    for left in reversed(range(1 if where else TRIES)):
        try:
            ray.init(
                address=where or "local",
                include_dashboard=None if where else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
            return
        except Exception as error:  # Ray has no type for a cluster that does not start
            with suppress(Exception):
                ray.shutdown()
            if where:
                raise UserError(f"cluster {where}: not reached ({_line(error)}); is Ray running there?") from None
            if not left or "timed out" not in str(error):
                why = f"a cluster of this machine does not start ({_line(error)})"
                raise UserError(f"{why}; try again when less is running here, or color without engine ray") from None


def _reached(address: str) -> None:
    """Raise UserError where nobody answers at host:port; other words Ray is to understand."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), SECONDS).close()
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"cluster {address}: not reached ({why}); is Ray running there?") from None


def _line(error: Any) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
