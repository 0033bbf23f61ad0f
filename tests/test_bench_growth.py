"""How cost grows: the rows, the powers between them, and the picture."""

import pytest

from bench import growth


def test_files_are_listed_and_looked_at_and_the_power_says_how_seconds_grow(monkeypatch, tmp_path):
    monkeypatch.setattr(growth.time, "sleep", lambda seconds: None)
    monkeypatch.setenv("RECOLOR_FAST_CACHE", str(tmp_path))
    seconds, count, peak = growth.files(30, "again")
    assert seconds > 0
    assert count == 30
    assert peak > 1

    class Alone:
        def __init__(self, *_, **__):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def submit(self, call):
            return type("Future", (), {"result": staticmethod(call)})

    monkeypatch.setattr(growth, "ProcessPoolExecutor", Alone)
    rows = []
    growth._grow(rows, "photographs, list", {10: lambda: (0.5, 10, 70.0), 100: lambda: (5.0, 100, 90.0)})
    assert [row["each"] for row in rows] == [50.0, 50.0]
    assert rows[0]["power"] is None
    assert rows[1]["power"] == pytest.approx(1)
    growth.plot(rows, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 1000


def test_an_iteration_is_measured():
    seconds, count, peak = growth.iteration(batch=2, size=64, width=8, runs=1)
    assert seconds > 0
    assert count == 2
    assert peak > 100
