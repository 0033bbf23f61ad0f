"""The rows of `recolor-fast benchmark` on this machine: python bench/machine.py [--seconds 10] [--save].

Its parts are in recolor_fast/doctor/speed.py. With `--save` they become rows of bench/results, and the table of known
machines that comes with the package (recolor_fast/doctor/known.csv) is written anew from what is in bench/results.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only bench/ itself is there
from bench.arguments import Machine as Arguments
from bench.arguments import parse

if __name__ == "__main__":
    parse(Arguments)  # --help and wrong options end here, before what takes seconds is imported


import csv
from collections.abc import Iterator
from io import StringIO
from typing import Any

import torch

from bench.common import report
from recolor_fast.doctor import report as looking
from recolor_fast.doctor.rows import KNOWN, Row
from recolor_fast.doctor.table import TRAINED, speeds
from recolor_fast.machine import processors, starting
from recolor_fast.machine.environment import device_name
from recolor_fast.machine.files import replacing

RESULTS = Path(__file__).parent / "results"


@starting.verb()
def main(argv: list[str]) -> int:
    """Print the table and the line of JSON."""
    arguments = parse(Arguments, argv)
    processors.spin_briefly()
    findings, _ = looking.looked(speeds(arguments.seconds, arguments.quick), "measuring", at_once=1)
    rows: list[dict[str, Any]] = []
    for finding in findings:
        if finding.state != "ok":
            print(f"{finding.name}: {finding.found}", file=sys.stderr)
        if rate := finding.facts.get("photographs_per_s"):
            runs = finding.facts["runs"]
            rows.append({"name": finding.name, "ms": 1000 / rate, "photographs_per_s": rate, "runs": runs})
    device = device_name(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    report("machine", device, 1, rows, save=arguments.save)
    if arguments.save:
        write_known()
    return 0


def known() -> Iterator[Row]:
    """The rows of known machines in bench/results: of this script, and iterations that bench/gpu.py timed."""
    for path in sorted(RESULTS.glob("machine-*.csv")):
        for row in _read(path):
            yield Row(row["name"], row["device"], float(row["photographs_per_s"]), path.name)
    for path in sorted(RESULTS.glob("gpu-*.csv")):
        for row in _read(path):
            case, _, same = row["case"].partition(" 256 b1")  # the size and batch that benchmark takes
            if case in TRAINED and not same and row["name"] == "ours, not compiled":
                yield Row(f"train {case}", row["device"], float(row["images/s"]), path.name)


def _read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return [*csv.DictReader(file)]


def write_known() -> None:
    """Write the table that comes with the package."""
    with StringIO(newline="") as text:
        csv.writer(text, lineterminator="\n").writerows([Row._fields, *known()])
        with replacing(KNOWN) as file:
            file.write(text.getvalue().encode())


if __name__ == "__main__":
    sys.exit(main())
