"""Items through stages, overlapped and bounded: while one picture is computed others are read, decoded and written.

It knows nothing of pictures: stages are functions, an item's cost is a number.
"""

import heapq
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Sequence
from queue import SimpleQueue
from typing import Any, NamedTuple


class Stage(NamedTuple):
    """One step of every item: it is given what the stage before returned, the first one the item itself."""

    name: str
    do: Callable[[Any], Any]
    """One value to the next; with `batch`, a list of values to a list of as many."""
    threads: int = 0
    """Threads that do nothing else, for work that waits (disks, a GPU); 0: the workers that all such stages share."""
    batch: int = 0
    """Most values in a list; what waits is taken, none is waited for. 0: no lists."""
    ordered: bool = False
    """One at a time in the items' order, as far as they come here: an item that failed before is passed over."""


class Limits(NamedTuple):
    """What may be in flight, that is, begun and not yet handed over."""

    workers: int
    """Threads of the stages without threads of their own. Each takes the work that is furthest along."""
    items: int
    cost: float
    """Sum of the items' costs; an item that costs more goes alone."""


class Result(NamedTuple):
    """What became of an item."""

    item: Any
    value: Any
    """What the last stage returned; None where a stage raised."""
    error: BaseException | None
    """What it raised, without traceback and causes: their frames hold whatever the stage was working on."""
    cpu: dict[str, float]
    """Processor seconds of its thread per stage it came to; a batch's are shared evenly."""
    seconds: float
    """Wall seconds it was worked on, waiting for its turn not counted."""


class _Flight:
    """An item under way."""

    def __init__(self, index: int, item: Any, cost: float) -> None:
        self.index, self.item, self.cost = index, item, cost
        self.value: Any = item
        self.error: BaseException | None = None
        self.stage = 0
        self.cpu: dict[str, float] = {}
        self.seconds = 0.0


def run(
    items: Iterable[Any],
    stages: Sequence[Stage],
    limits: Limits,
    cost: Callable[[Any], float] = lambda item: 0,
    enough: threading.Event | None = None,
) -> Generator[Result]:
    """Put the items through the stages; yields each item's result as soon as it is there, in no particular order.

    Lazy: items are taken, by a thread of its own, as limits allow, so they may be endless or come slowly. Whatever a
    stage raises is its item's `error` and the others go on; a batch that raises is tried again one by one. What the
    items themselves raise is raised here, once what had begun is done. Closing the generator begins no further stage of
    any item and waits for those that run, and for `items` to hand over the next item or end: items that wait for
    something can look at `enough`, which is set when no more are wanted.
    """
    line = _Line(stages, limits)
    threads = [threading.Thread(target=line.feed, args=(items, cost), name="feed")]
    for crew in line.crews:
        threads += [threading.Thread(target=line.work, args=(crew,), name="work") for _ in range(crew.threads)]
    try:
        for thread in threads:
            thread.start()
        while (flight := line.results.get()) is not None:
            yield Result(flight.item, None if flight.error else flight.value, flight.error, flight.cpu, flight.seconds)
            del flight  # a picture's memory is free before the next is waited for
            line.room.put(True)
        if line.broken is not None:
            raise line.broken
    finally:
        if enough is not None:
            enough.set()
        line.stop()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


class _Crew:
    """Threads that do the same stages."""

    def __init__(self, lock: threading.Lock, numbers: Sequence[int], threads: int) -> None:
        self.numbers, self.threads = numbers, threads
        self.work = threading.Condition(lock)  # each crew its own: who has nothing to do is not woken


class _Line:
    """The state of a run. `run`'s own thread uses only the two queues until all is over: a signal's exception, which
    may come anywhere in the main thread, cannot leave the lock taken."""

    def __init__(self, stages: Sequence[Stage], limits: Limits) -> None:
        if not stages or limits.workers < 1 or limits.items < 1:
            raise ValueError(f"{len(stages)} stages, {limits}: expected 1 or more stages, workers and items")
        self.stages = stages
        self.limits = limits
        self.lock = threading.Lock()
        self.space = threading.Condition(self.lock)  # what the feeder waits for
        shared = [number for number, stage in enumerate(stages) if not stage.threads]
        crews = [(shared, limits.workers)] if shared else []
        crews += [([number], stage.threads) for number, stage in enumerate(stages) if stage.threads]
        self.crews = [_Crew(self.lock, numbers, threads) for numbers, threads in crews]
        self.crew_of = {number: crew for crew in self.crews for number in crew.numbers}
        self.ordered = [number for number, stage in enumerate(stages) if stage.ordered]
        self.waiting: list[list[tuple[int, _Flight]]] = [[] for _ in stages]  # heaps: the earliest item first
        self.flights: dict[int, _Flight] = {}
        self.fed = self.stopped = False
        self.broken: BaseException | None = None
        self.results: SimpleQueue[_Flight | None] = SimpleQueue()
        self.room: SimpleQueue[bool] = SimpleQueue()  # a token for each item that may begin
        for _ in range(limits.items):
            self.room.put(True)

    def feed(self, items: Iterable[Any], cost: Callable[[Any], float]) -> None:
        """Begin each item once there is room for it."""
        try:
            for index, item in enumerate(items):
                flight = _Flight(index, item, cost(item))
                self.room.get()
                with self.lock:
                    while not (self.stopped or self._fits(flight)):
                        self.space.wait()
                    if self.stopped:
                        return
                    self.flights[index] = flight
                    self._push(flight)
                del item, flight
        except BaseException as error:
            self.broken = error
        finally:
            with self.lock:
                self.fed = True
                self._end()

    def work(self, crew: _Crew) -> None:
        """Do what there is to do in the crew's stages, until all is done."""
        while True:
            with self.lock:
                while (picked := self._pick(crew.numbers)) is None and not self.stopped:
                    if self.fed and not self.flights:
                        return
                    crew.work.wait()
                if picked is None or self.stopped:
                    return
            number, flights = picked
            self._do(self.stages[number], flights)
            with self.lock:
                for flight in flights:
                    flight.stage += 1
                    if flight.error is None and flight.stage < len(self.stages):
                        self._push(flight)
                    else:
                        del self.flights[flight.index]
                        self.results.put(flight)
                        self.space.notify()
                for ordered in self.ordered:  # it may be the next one's turn
                    self.crew_of[ordered].work.notify()
                self._end()
            del picked, flights, flight

    def _push(self, flight: _Flight) -> None:
        heapq.heappush(self.waiting[flight.stage], (flight.index, flight))
        self.crew_of[flight.stage].work.notify()

    def stop(self) -> None:
        """Begin nothing further."""
        with self.lock:
            self.stopped = True
            self._wake()
        self.room.put(True)  # for a feeder that waits for it

    def _end(self) -> None:
        if self.fed and not self.flights:
            self.results.put(None)
            self._wake()

    def _wake(self) -> None:
        self.space.notify_all()
        for crew in self.crews:
            crew.work.notify_all()

    def _fits(self, flight: _Flight) -> bool:
        in_flight = sum(other.cost for other in self.flights.values())
        return not self.flights or in_flight + flight.cost <= self.limits.cost

    def _pick(self, numbers: Sequence[int]) -> tuple[int, list[_Flight]] | None:
        """The earliest items of the last of these stages that has any."""
        for number in reversed(numbers):
            waiting, stage = self.waiting[number], self.stages[number]
            if not waiting or (stage.ordered and not self._turn(number, waiting[0][0])):
                continue
            count = 1 if stage.ordered else max(1, stage.batch)
            return number, [heapq.heappop(waiting)[1] for _ in range(min(count, len(waiting)))]
        return None

    def _turn(self, number: int, index: int) -> bool:
        """Whether no earlier item is still before or in this stage."""
        return all(other >= index or flight.stage > number for other, flight in self.flights.items())

    @staticmethod
    def _do(stage: Stage, flights: list[_Flight]) -> None:
        """The stage's work on these items, their next values or their errors."""
        cpu, wall = time.thread_time(), time.perf_counter()
        values: list[Any] | None = None
        if len(flights) > 1:  # only with batches
            try:
                values = stage.do([flight.value for flight in flights])
            except BaseException:
                values = None  # one of them, or their number: alone they will tell
        if values is not None and len(values) == len(flights):
            for flight, value in zip(flights, values):
                flight.value = value
        else:
            for flight in flights:
                try:
                    flight.value = stage.do([flight.value])[0] if stage.batch else stage.do(flight.value)
                except BaseException as error:  # SystemExit, too: a thread that ends would leave the others waiting
                    flight.value, flight.error = None, _bare(error)
        cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
        for flight in flights:
            flight.cpu[stage.name] = cpu / len(flights)
            flight.seconds += wall / len(flights)


def _bare(error: BaseException) -> BaseException:
    one: BaseException | None = error
    seen: set[int] = set()  # an error that is raised twice may be its own context
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        traceback.clear_frames(one.__traceback__)
        following = one.__cause__ or one.__context__
        one.__traceback__ = one.__cause__ = one.__context__ = None  # at once: causes may go in a circle
        one = following
    return error
