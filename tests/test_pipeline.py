"""Stages overlapped: every item once, limits kept, no deadlock whatever fails or is slow."""

import gc
import random
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import closing

import pytest

from recolor_fast.coloring import pipeline
from recolor_fast.coloring.pipeline import Limits, Stage


class Watched:
    """Stages that wait, fail and count what is in flight."""

    def __init__(self, seed: int, costs: list[float]) -> None:
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.begun: set[int] = set()
        self.most = 0
        self.ordered: list[int] = []
        self.running = 0
        fate = [self.random.choice([None, None, None, *"abcd"]) for _ in costs]
        self.fails_in = dict(enumerate(fate))
        self.waits = {(i, s): self.random.choice([0, 0, 0.001, 0.004]) for i in range(len(costs)) for s in "abcd"}

    def begin(self, item: int) -> int:
        with self.lock:
            self.begun.add(item)
            self.most = max(self.most, len(self.begun))
        return self.step("a", item)

    def step(self, name: str, item: int) -> int:
        time.sleep(self.waits[item, name])
        if self.fails_in[item] == name:
            raise (MemoryError if item % 2 else SystemExit)(f"{item} in {name}")
        return item

    def batch(self, items: list[int]) -> list[int]:
        return [self.step("b", item) for item in items]

    def in_turn(self, item: int) -> int:
        with self.lock:
            self.running += 1
            assert self.running == 1
        try:
            self.step("c", item)
            self.ordered.append(item)
            return item
        finally:
            with self.lock:
                self.running -= 1

    def stages(self) -> list[Stage]:
        own = self.random.randrange
        return [
            Stage("a", self.begin, threads=own(3)),
            Stage("b", self.batch, threads=own(3), batch=1 + own(5)),
            Stage("c", self.in_turn, threads=own(3), ordered=True),
            Stage("d", lambda item: self.step("d", item), threads=own(3)),
        ]


@pytest.mark.parametrize("seed", range(40))
def test_any_delays_and_failures(seed: int) -> None:
    choose = random.Random(seed)
    costs = [choose.choice([0, 1, 5, 30]) for _ in range(choose.randrange(60))]
    watched = Watched(seed, costs)
    limits = Limits(workers=1 + choose.randrange(4), items=1 + choose.randrange(8), cost=12)
    seen = {}
    for result in pipeline.run(range(len(costs)), watched.stages(), limits, lambda item: costs[item]):
        assert result.item not in seen
        seen[result.item] = result
        with watched.lock:
            watched.begun.discard(result.item)
        if choose.random() < 0.1:
            time.sleep(0.003)  # a slow consumer
    assert sorted(seen) == list(range(len(costs)))
    for item, result in seen.items():
        stage = watched.fails_in[item]
        if stage is None:
            assert (result.value, result.error) == (item, None)
            assert list(result.cpu) == list("abcd")
        else:
            assert result.value is None
            assert str(result.error) == f"{item} in {stage}"
            assert list(result.cpu) == list("abcd")[: "abcd".index(stage) + 1]
    assert watched.ordered == [item for item in range(len(costs)) if watched.fails_in[item] not in ("a", "b", "c")]
    assert watched.most <= limits.items


def test_costs_are_bounded_and_a_dear_item_goes_alone() -> None:
    costs = [3, 3, 3, 30, 3, 12, 12, 1, 1]
    flying: list[float] = []
    worst: list[list[float]] = []
    lock, together = threading.Lock(), threading.Event()

    def first(item: int) -> int:
        with lock:
            flying.append(costs[item])
            worst.append(list(flying))
            if len(flying) > 1:
                together.set()
        return item

    def last(item: int) -> None:
        assert together.wait(60)  # there is room for another one beside the first
        with lock:
            flying.remove(costs[item])

    stages = [Stage("first", first), Stage("last", last)]
    results = list(pipeline.run(range(9), stages, Limits(3, 8, 12), lambda item: costs[item]))
    assert [result.error for result in results] == [None] * 9
    assert all(sum(now) <= 12 or now == [30] for now in worst)
    assert [30] in worst


def test_a_batch_takes_what_waits_and_a_failing_one_is_tried_one_by_one() -> None:
    sizes: list[int] = []
    gate = threading.Event()

    def infer(items: list[int]) -> list[int]:
        gate.wait()
        sizes.append(len(items))
        if 3 in items:
            raise RuntimeError("three")
        return [10 * item for item in items]

    def given() -> Iterator[int]:
        yield from range(10)
        gate.set()

    stages = [Stage("first", lambda item: item), Stage("infer", infer, threads=1, batch=4)]
    results = {result.item: result for result in pipeline.run(given(), stages, Limits(2, 20, 0))}
    assert {item: result.value for item, result in results.items() if not result.error} == {
        item: 10 * item for item in range(10) if item != 3
    }
    assert str(results[3].error) == "three"
    assert max(sizes) == 4


def test_a_batch_of_another_length_is_no_result() -> None:
    stages = [Stage("infer", lambda items: [0] if len(items) == 1 else [], batch=3)]
    assert [result.value for result in pipeline.run(range(7), stages, Limits(1, 7, 0))] == [0] * 7


def test_work_that_is_furthest_along_comes_first() -> None:
    order: list[str] = []
    stages = [Stage(name, lambda item, name=name: order.append(f"{name}{item}") or item) for name in "ab"]
    list(pipeline.run(range(3), stages, Limits(1, 3, 0)))
    assert order == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_stages_overlap() -> None:
    """Each stage of an item can only end while the other one's next item has begun: alone they would wait for ever."""
    meet = threading.Barrier(2, timeout=60)

    def first(item: int) -> int:
        if item:
            meet.wait()
        return item

    def second(item: int) -> int:
        if item < 5:
            meet.wait()
        return item

    stages = [Stage("first", first, threads=1), Stage("second", second, threads=1)]
    results = list(pipeline.run(range(6), stages, Limits(1, 6, 0)))
    assert [result.error for result in results] == [None] * 6


def test_items_are_taken_as_there_is_room() -> None:
    taken: list[int] = []

    def endless() -> Iterator[int]:
        while True:
            taken.append(len(taken))
            yield taken[-1]

    results = pipeline.run(endless(), [Stage("only", lambda item: item)], Limits(2, 4, 0))
    with closing(results):
        for count in range(50):
            next(results)
            assert len(taken) <= count + 1 + 4 + 1
    before = len(taken)
    time.sleep(0.01)
    assert len(taken) == before
    assert not [thread for thread in threading.enumerate() if thread.name in ("feed", "work")]


def test_closing_lets_nothing_further_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    running, closed, stop = threading.Event(), threading.Event(), pipeline._Line.stop
    monkeypatch.setattr(pipeline._Line, "stop", lambda line: (stop(line), closed.set()))
    ended: list[str] = []

    def first(item: int) -> int:
        if item == 1:
            running.set()
            closed.wait(60)
            ended.append("first")
        return item

    def second(item: int) -> int:
        ended.append(f"second {item}")
        return item

    results = pipeline.run(range(9), [Stage("first", first, threads=1), Stage("second", second)], Limits(1, 9, 0))
    assert next(results).item == 0
    running.wait(60)
    results.close()
    assert ended == ["second 0", "first"]


def test_what_the_items_raise_comes_after_what_had_begun() -> None:
    def broken() -> Iterator[int]:
        yield from range(3)
        raise OSError("no more")

    results = pipeline.run(broken(), [Stage("only", lambda item: item)], Limits(2, 4, 0))
    assert sorted(next(results).value for _ in range(3)) == [0, 1, 2]
    with pytest.raises(OSError, match="no more"):
        next(results)


def test_items_that_wait_are_told_when_no_more_are_wanted() -> None:
    enough = threading.Event()

    def slow() -> Iterator[int]:
        yield 0
        enough.wait()

    class Interrupt(BaseException):
        pass

    results = pipeline.run(slow(), [Stage("only", lambda item: item)], Limits(1, 4, 0), enough=enough)
    assert next(results).value == 0
    with pytest.raises(Interrupt):
        results.throw(Interrupt)  # inside the generator, as a signal's exception
    assert enough.is_set()


def test_processor_seconds_are_those_of_the_work() -> None:
    def busy(item: int) -> int:
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass
        return item

    def idle(item: int) -> int:
        time.sleep(0.02)
        return item

    stages = [Stage("busy", busy), Stage("idle", idle)]
    for result in pipeline.run(range(3), stages, Limits(2, 3, 0)):
        assert result.cpu["busy"] >= 0.02 > 10 * result.cpu["idle"]
        assert result.seconds >= 0.04


def test_an_error_does_not_keep_what_was_being_worked_on() -> None:
    class Pixels:
        pass

    kept: list[weakref.ref[Pixels]] = []

    def fail(item: int) -> int:
        pixels = Pixels()
        kept.append(weakref.ref(pixels))
        try:
            raise KeyError(item)
        except KeyError as error:
            raise ValueError("bad") from error

    gc.disable()  # which would find the cycles some time later
    try:
        results = list(pipeline.run(range(3), [Stage("only", fail)], Limits(1, 3, 0)))
        assert [str(result.error) for result in results] == ["bad"] * 3
        assert [one() for one in kept] == [None] * 3
    finally:
        gc.enable()


def test_errors_that_cause_each_other_end_no_run() -> None:
    first, second = ValueError("first"), ValueError("second")

    def fail(item: int) -> int:
        first.__cause__, second.__cause__ = second, first
        raise first

    results = list(pipeline.run([1, 2], [Stage("fail", fail)], Limits(1, 2, 1)))
    assert [result.error for result in results] == [first, first]
    assert first.__cause__ is None


def test_no_items_and_no_stages() -> None:
    assert list(pipeline.run([], [Stage("only", lambda item: item)], Limits(1, 1, 0))) == []
    with pytest.raises(ValueError, match="0 stages"):
        next(pipeline.run([1], [], Limits(1, 1, 0)))
