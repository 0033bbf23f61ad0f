"""What people see of a training: on a terminal, and in a log."""

import io
import sys

import pytest

from recolor_fast.machine import bars, processors
from recolor_fast.runs import console

ROW = {
    "images": 100,
    "time": 9.0,
    "learning_rate": 2e-4,
    "critic/real": 0.6931,
    "critic/fake": 0.7,
    "generator/l1": 0.12345,
    "gradient/l1": 3.0,
    "nonfinite": 0.0,
    "images_per_s": 10.0,
    "memory": 812.2,
}
SAID = "critic real 0.693 fake 0.7, generator l1 0.123"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds that `now[0]` says, instead of time.monotonic."""
    now = [1000.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def test_a_row_is_a_line_with_losses_speed_and_the_time_left(clock, capsys):
    said = console.Console(5000, 0)
    for images in range(1, 101):
        clock[0] += 20.0 if images == 1 else 0.1  # the first compiles
        said.seen(images, ROW if images == 100 else None, dict)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"100 of 5,000, 10/s, 8 min left: {SAID}"]


def test_there_is_a_line_every_thirty_seconds_between_rows(clock, capsys):
    said = console.Console(5000, 0)
    for images in range(1, 71):
        clock[0] += 1
        said.seen(images, ROW if images == 40 else None, lambda: {"generator/l1": 0.5})
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" of")[0] for line in lines] == ["30", "40", "70"]
    assert lines[0] == "30 of 5,000, 1/s, 83 min left: generator l1 0.5"
    assert lines[1].endswith(SAID)


def test_where_the_losses_would_wait_for_a_gpu_the_last_rows_are_shown(clock, capsys):
    said = console.Console(5000, 0)
    for images in (1, 2, 3):
        clock[0] += bars.EVERY
        said.seen(images, ROW if images == 2 else None, None)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2] for line in lines] == ["", SAID, SAID]


def test_a_resumed_run_counts_what_this_session_trains(clock, capsys):
    said = console.Console(5000, 4000)
    for images in (4001, 4101):
        clock[0] += 10
        said.seen(images, ROW if images == 4101 else None, None)
    assert capsys.readouterr().err.startswith("4,101 of 5,000, 10/s, 90 s left")


@pytest.mark.parametrize(
    ("columns", "beside"),
    [
        (200, f"ab error 14.06 (gray 14.34), 812 MiB, {SAID}"),
        (100, "ab error 14.06 (gray 14.34), 812 MiB"),
        (80, "ab error 14.06 (gray 14.34)"),
        (40, ""),
    ],
)
def test_beside_the_bar_stands_what_its_line_has_room_for(columns, beside, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    said = console.Console(5000, 0)
    said.bar.dynamic_ncols = lambda file: (columns, 24)
    said.measured({"ab_rmse": 14.06, "ab_rmse/gray": 14.34})
    said.seen(5000, ROW, None)
    assert said.bar.postfix == beside
    said.bar.refresh()
    assert len(terminal.getvalue().split("\r")[-1]) <= columns
    said.bar.close()


def test_a_terminal_that_moves_no_cursor_has_lines(clock, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "dumb")
    console.Console(5000, 0).seen(100, ROW, dict)
    assert terminal.getvalue() == f"100 of 5,000: {SAID}\n"


def test_what_was_left_out_is_said():
    assert console.losses(ROW | {"nonfinite": 3.0}) == f"{SAID}, 3 photographs left out as not finite"
    assert console.losses({}) == ""


def test_on_a_terminal_the_losses_stand_in_the_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    said = console.Console(5000, 0)
    with said.bar:
        said.seen(100, ROW, None)
        said.bar.refresh()
        said.measured({"ab_rmse": 15.204, "ab_rmse/gray": 17.9})
    assert SAID in terminal.getvalue()
    assert f"img/s, ab error 15.20 (gray 17.90), 812 MiB, {SAID}]" in terminal.getvalue()
    assert "\n100 of" not in terminal.getvalue()


@pytest.mark.parametrize(("threads", "stood", "warned"), [(2, 5.0, True), (2, 1.0, False), (1, 5.0, False)])
def test_contended_processors_are_said_once(monkeypatch, capsys, threads, stood, warned):
    times = iter([(0.0, 0.0), (5.0, stood), (10.0, 2 * stood)])
    monkeypatch.setattr(processors, "waited", lambda: next(times))
    said = console.Console(5000, 0, threads)
    for images in (1, 2):
        said.seen(images, ROW, None)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert len(lines) == warned
    assert not warned or "50% of the time this training waited" in lines[0]
