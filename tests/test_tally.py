"""What people are told at the end of a run of colorize."""

from recolor_fast.coloring import tally
from recolor_fast.coloring.folder import Record
from recolor_fast.settings import Settings


def told(failures, capsys) -> list[str]:
    found = tally.Tally(Settings(), ["in"], "out")
    for number, reason in enumerate(failures):
        found.add(Record(f"in/{number}.jpg", f"out/{number}.jpg", "failed", reason.format(f"out/{number}.jpg")))
    found.tell()
    return capsys.readouterr().err.splitlines()


def test_what_is_wrong_with_many_outputs_for_one_reason_is_said_ten_times(capsys):
    differs = "its output {} was made differently: quality 95 is 90 now; --overwrite makes it anew"
    lines = told([differs] * 25 + ["it ends after 3 bytes"] * 12, capsys)
    assert lines[0] == "0 colored, 0 skipped, 37 failed"
    assert lines[1] == f"  in/0.jpg: {differs.format('out/0.jpg')}"
    assert lines[11] == "  in/25.jpg: it ends after 3 bytes"
    assert lines[22:] == [
        "  in/36.jpg: it ends after 3 bytes",  # of inputs each is named
        "  and 15 more, which --json names: its output was made differently: quality 95 is 90 now; "
        "--overwrite makes it anew",
    ]


def test_what_is_remembered_is_bounded(capsys, monkeypatch):
    monkeypatch.setattr(tally, "MOST", 3)
    lines = told([f"its output {{}} is also that of {number}" for number in range(5)], capsys)
    assert lines[-1] == "  and 2 more, which --json names"
    assert len(lines) == 5
