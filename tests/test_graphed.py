"""Replaying an iteration. The recorder here is a stand-in that replays by calling again; a real one needs a GPU."""

from contextlib import contextmanager, nullcontext

import pytest
import torch

from recolor_fast.graphed import Graphed


class Recorder:
    """torch.cuda's graphs and streams, without a GPU: a replay runs the recorded function on the static tensors."""

    recorded = None

    def __init__(self, monkeypatch, error: str = ""):
        recorder = self
        self.replays, self.recordings, self.inside = 0, 0, False

        class Graph:
            def replay(self):
                recorder.replays += 1
                recorder.recorded()

        @contextmanager
        def graph(_, capture_error_mode):
            if error:
                raise RuntimeError(error)
            recorder.recordings += 1
            recorder.inside = True
            yield
            recorder.inside = False

        class Stream:
            def wait_stream(self, other):
                pass

        monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
        monkeypatch.setattr(torch.cuda, "graph", graph)
        monkeypatch.setattr(torch.cuda, "Stream", Stream)
        monkeypatch.setattr(torch.cuda, "current_stream", Stream)
        monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())


def test_calls_are_run_then_recorded_then_replayed(monkeypatch):
    recorder = Recorder(monkeypatch)
    state, calls = torch.zeros(()), []

    def function(x):
        calls.append(x)
        if recorder.inside:  # recording runs nothing on the device; a replay does
            recorder.recorded = lambda: (state.add_(1), graphed.values.copy_(torch.stack([x.sum(), state])))
        else:
            state.add_(1)
        return {"sum": x.sum(), "count": state.clone()}

    graphed = Graphed(function)
    rows = [graphed(torch.full((2,), float(k))) for k in range(1, 7)]
    assert [row["sum"].item() for row in rows] == [2, 4, 6, 8, 10, 12]
    assert [row["count"].item() for row in rows] == [1, 2, 3, 4, 5, 6]  # and each row is its own, not the last one's
    assert (len(calls), recorder.recordings, recorder.replays) == (Graphed.WARM_UP + 1, 1, 6 - Graphed.WARM_UP)


def test_what_cannot_be_recorded_is_run_and_said_once(monkeypatch, capsys):
    Recorder(monkeypatch, "operation not permitted when stream is capturing\nand more")
    graphed = Graphed(lambda x: {"sum": x.sum()})
    assert [graphed(torch.ones(k))["sum"].item() for k in range(1, 8)] == [1, 2, 3, 4, 5, 6, 7]
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("warning: no CUDA graph")
    assert "(operation not permitted when stream is capturing)" in said


def test_other_errors_are_not_swallowed(monkeypatch):
    Recorder(monkeypatch)

    def function(x):
        raise ValueError("bad options")

    with pytest.raises(ValueError, match="bad options"):
        Graphed(function)(torch.ones(1))
