"""How cost grows: the rows, the powers between them, and the picture."""

import pytest

from bench import common, growth


def test_files_are_listed_and_looked_at_and_the_power_says_how_seconds_grow(monkeypatch, tmp_path):
    monkeypatch.setattr(growth.time, "sleep", lambda seconds: None)
    monkeypatch.setenv("RECOLOR_FAST_CACHE", str(tmp_path))
    seconds, count, peak, _ = growth.files(30, "again")
    assert seconds > 0
    assert count == 30
    assert peak > 1

    monkeypatch.setattr(growth, "alone", lambda call: call())
    rows = []
    growth._grow(rows, "photographs, list", {10: lambda: (0.5, 10, 70.0, None), 100: lambda: (5.0, 100, 90.0, None)})
    assert [row["each"] for row in rows] == [50.0, 50.0]
    assert rows[0]["power"] is None
    assert rows[1]["power"] == pytest.approx(1)
    growth.plot(rows, tmp_path / "growth.png")
    assert [growth._spent({"seconds": "3", "processor": one}) for one in (None, "-", "2")] == ["3", "3", "2"]
    assert (tmp_path / "growth.png").stat().st_size > 1000


def test_an_iteration_is_measured():
    seconds, count, peak, _ = growth.iteration(batch=2, size=64, width=8, runs=1)
    assert seconds > 0
    assert count == 2
    assert peak > 100


def test_a_folder_is_colored_and_then_skipped_and_rows_take_the_place_of_the_same_ones(tmp_path):
    colored, skipped = growth.folder(100, "no-op")
    for seconds, count, peak, processor in (colored, skipped):
        assert seconds > 0.1
        assert count == 100
        assert 40 < peak < 1000  # of the command, not of this process, which may have had more
        assert processor > 0.1
    path = tmp_path / "rows.csv"
    for rows in ([{"case": "a", "value": 1, "seconds": 2.0}, {"case": "b", "value": 1}], [{"case": "a", "value": 1}]):
        common.save_rows(path, "growth", "a device", 3, rows, ("case", "value"))
    kept = [(row["case"], row["value"], row.get("seconds")) for row in common.saved_rows(path)]
    assert kept == [("a", "1", "-"), ("b", "1", "-")]
