"""Replaying an iteration. The recorder here is a stand-in that replays by calling again; a real one needs a GPU."""

from contextlib import contextmanager, nullcontext

import pytest
import torch

from recolor_fast.step.graphed import Graphed


class Recorder:
    """torch.cuda's graphs and streams, without a GPU: a replay runs the recorded function on the static tensors."""

    recorded = None

    def __init__(self, monkeypatch, error: str = ""):
        recorder = self
        self.replays, self.recordings, self.inside, self.restored = 0, 0, False, False

        class Graph:
            def replay(self):
                recorder.replays += 1
                recorder.recorded()

        @contextmanager
        def graph(_, pool, stream, capture_error_mode):
            assert (pool, capture_error_mode) == ("pool", "thread_local")
            recorder.recordings += 1
            recorder.inside = True
            try:
                yield
            finally:
                recorder.inside = False
                if error:  # as real ones are told: at the end
                    raise RuntimeError(error)

        class Stream:
            def wait_stream(self, other):
                pass

        monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
        monkeypatch.setattr(torch.cuda, "graph", graph)
        monkeypatch.setattr(torch.cuda, "Stream", Stream)
        monkeypatch.setattr(torch.cuda, "current_stream", Stream)
        monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
        monkeypatch.setattr(torch.cuda, "set_stream", lambda _: setattr(recorder, "restored", True))
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")


def test_calls_are_run_then_recorded_then_replayed_kind_by_kind(monkeypatch):
    recorder = Recorder(monkeypatch)
    state, calls = torch.zeros(()), []

    def function(kind, x):
        calls.append(kind)
        if recorder.inside:  # recording runs nothing on the device; a replay does

            def replayed():
                state.add_(1)
                graphed.recorded[kind].values.copy_(torch.stack([kind * x.sum(), state]))

            recorder.recorded = replayed
        else:
            state.add_(1)
        return {"sum": kind * x.sum(), "count": state.clone()}

    graphed = Graphed(function)
    rows = [graphed(1, torch.full((2,), float(k))) for k in range(1, 7)]
    assert [row["sum"].item() for row in rows] == [2, 4, 6, 8, 10, 12]
    assert [row["count"].item() for row in rows] == [1, 2, 3, 4, 5, 6]  # and each row is its own, not the last one's
    assert (len(calls), recorder.recordings, recorder.replays) == (Graphed.WARM_UP + 1, 1, 6 - Graphed.WARM_UP)
    place = graphed.place
    other = [graphed(10, torch.ones(2))["sum"].item() for _ in range(5)]
    assert other == [20] * 5
    assert calls == [1] * (Graphed.WARM_UP + 1) + [10] * (Graphed.WARM_UP + 1)
    assert graphed.place is place  # one stream and one pool of memory for all


def test_what_cannot_be_recorded_is_run_and_said_once(monkeypatch, capsys):
    recorder = Recorder(monkeypatch, "operation not permitted when stream is capturing\nand more")
    graphed = Graphed(lambda kind, x: {"sum": x.sum()})
    assert [graphed(0, torch.ones(k))["sum"].item() for k in range(1, 8)] == [1, 2, 3, 4, 5, 6, 7]
    assert [graphed(1, torch.ones(k))["sum"].item() for k in range(1, 8)] == [1, 2, 3, 4, 5, 6, 7]
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("warning: no CUDA graph")
    assert "(operation not permitted when stream is capturing)" in said
    assert recorder.recordings == 1  # another kind is not tried
    assert recorder.restored


@pytest.mark.parametrize("ending", ["", "CUDA error: operation failed due to a previous error during capture"])
def test_want_of_memory_is_no_want_of_graphs(monkeypatch, capsys, ending):
    """It reaches the caller as what it is, who may take smaller pieces; also where ending the recording fails on it."""
    recorder = Recorder(monkeypatch, ending)

    def function(kind, x):
        if recorder.inside:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return {"sum": x.sum()}

    graphed = Graphed(function)
    for _ in range(Graphed.WARM_UP):
        graphed(0, torch.ones(1))
    with pytest.raises(torch.OutOfMemoryError, match=r"2\.00 GiB"):
        graphed(0, torch.ones(1))
    assert recorder.restored
    assert capsys.readouterr().err == ""


def test_other_errors_are_not_swallowed(monkeypatch):
    Recorder(monkeypatch)

    def function(kind, x):
        raise ValueError("bad options")

    with pytest.raises(ValueError, match="bad options"):
        Graphed(function)(0, torch.ones(1))


@pytest.mark.gpu
@pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 12),
    reason="before torch 2.12 a recording that fails breaks what comes after it in the same process",
)
def test_a_real_recording_that_fails_leaves_a_device_that_works(capsys):
    def function(kind, x):
        return {"sum": (x + torch.rand_like(x) * 0).sum(), "host": torch.tensor(x.sum().item(), device="cuda")}

    graphed = Graphed(function)
    before = torch.cuda.current_stream()
    rows = [graphed(0, torch.full((2,), float(k), device="cuda"))["sum"].item() for k in range(6)]
    assert rows == [0, 2, 4, 6, 8, 10]
    assert graphed.failed
    assert torch.cuda.current_stream() == before
    assert "no CUDA graph" in capsys.readouterr().err
