"""Progress where stderr is no terminal: whole lines, not too many, none for what is quick."""

import sys

import pytest
from tqdm import tqdm

from recolor_fast.machine import bars


@pytest.fixture
def clock(monkeypatch):
    """Seconds that `now[0]` says, instead of time.monotonic."""
    now = [1000.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: now[0])
    return now


def test_a_line_every_thirty_seconds_says_how_far_how_fast_and_how_long(clock, capsys):
    for _ in bars.bar(range(1000), "checking files", 1000):
        clock[0] += 0.5
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 16  # 500 seconds
    assert said[0] == "checking files: 60 of 1,000, 2/s, 8 min left"
    assert said[-1] == "checking files: 960 of 1,000, 2/s, 20 s left"


def test_what_is_quick_says_nothing(clock, capsys):
    with bars.bar(None, "decoding", 100) as bar:
        for _ in range(100):
            clock[0] += 0.29
            bar.update()
    assert capsys.readouterr().err == ""


def test_on_a_terminal_it_is_a_bar(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with bars.bar(None, "decoding", 100) as bar:
        assert isinstance(bar, tqdm)
        assert not bar.disable


def test_without_show_nothing_is_said(clock, capsys):
    for _ in bars.bar(range(100), "checking files", 100, show=False):
        clock[0] += 10
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (99.4, "99 s"),
        (99.6, "2 min"),
        (5969, "99 min"),
        (6000, "1 h 40 min"),
        (47.5 * 3600, "47 h 30 min"),
        (50 * 3600, "2 d 2 h"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds, said):
    assert bars.duration(seconds) == said


def test_a_pace_that_is_not_known_is_not_said():
    assert bars.pace(0, 5000, 0) == "0 of 5,000"
    assert bars.pace(5000, 5000, 12.34) == "5,000 of 5,000, 12.3/s"
