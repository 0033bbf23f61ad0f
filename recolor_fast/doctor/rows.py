"""What benchmark measured, beside the rows of known machines that come with the package (`known.csv`)."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from recolor_fast.doctor import report
from recolor_fast.doctor.findings import Finding

KNOWN = Path(__file__).with_name("known.csv")


class Row(NamedTuple):
    """A part on a known machine."""

    name: str
    device: str
    photographs_per_s: float
    source: str
    """The file of bench/results that it is from."""


def known() -> list[Row]:
    """The rows that come with the package."""
    with open(KNOWN, newline="") as file:
        return [
            Row(one["name"], one["device"], float(one["photographs_per_s"]), one["source"])
            for one in csv.DictReader(file)
        ]


def as_text(findings: Sequence[Finding], seconds: float) -> str:
    """A table of photographs/s: here, and on each known machine; then what could not be measured, and why."""
    theirs = known()
    devices = list(dict.fromkeys(row.device for row in theirs))
    values = {(row.name, row.device): row.photographs_per_s for row in theirs}
    lines = [["photographs/s", "here", *devices]]
    for finding in findings:
        if (rate := finding.facts.get("photographs_per_s")) is not None:
            cells = [values.get((finding.name, device)) for device in devices]
            lines.append([finding.name, f"{rate:.3g}", *("-" if cell is None else f"{cell:.3g}" for cell in cells)])
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
    missed = [f"{one.name}: {one.found} -> {one.mend}" for one in findings if one.state in ("absent", "fault")]
    missed += report.skipped(findings)
    text += [""] * bool(missed) + missed + ["", f"medians, one part at a time; {seconds:.0f} s"]
    return "\n".join(text)
