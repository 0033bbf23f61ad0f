"""The study's report: each system's naturalness."""

import csv
import io
import json
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from scipy.stats import binomtest

from recolor_fast.arguments.study import Report
from recolor_fast.machine.files import replacing
from recolor_fast.study.study import database, stored

PUBLISHED = (("Ground truth", 0.87), ("pix2pix", 0.53), ("Gorriz et al.", 0.26), ("Tarres et al., VGG16", 0.38))


class Row(NamedTuple):
    """A line of the report."""

    system: str
    pictures: int
    """Different pictures that were judged."""
    answers: int
    real: int
    naturalness: float | None
    """real / answers; None without answers, like all that follow."""
    low: float | None
    """Wilson's 95 % interval."""
    high: float | None
    median_seconds: float | None


def answers(path: Path) -> tuple[int, list[tuple[Any, ...]]]:
    """How many participants began, and every answer.

    An answer: participant, position, photograph, system, answer, milliseconds, time (UTC).
    """
    with database(path) as db:
        rows = db.execute(
            "SELECT participant, position, photograph, system, answer, milliseconds, answered FROM showing "
            "JOIN picture ON picture.id = picture WHERE answer IS NOT NULL ORDER BY participant, position"
        ).fetchall()
        return db.execute("SELECT count(*) FROM participant").fetchone()[0], rows


def summarize(rows: list[tuple[Any, ...]], systems: list[str]) -> list[Row]:
    """A line for each system, of answers as `answers` returns them."""
    result = []
    for system in systems:
        own = [row for row in rows if row[3] == system]
        real = sum(row[4] == "real" for row in own)
        share = low = high = seconds = None
        if own:
            low, high = binomtest(real, len(own)).proportion_ci(method="wilson")
            share, seconds = real / len(own), median(row[5] for row in own) / 1000
        result.append(Row(system, len({row[2] for row in own}), len(own), real, share, low, high, seconds))
    return result


def markdown(rows: list[Row], complete: int, started: int, complete_only: bool) -> str:
    """The report for people."""

    def number(value: float | None, digits: int = 2) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    lines = [
        f"{started} participants, {complete} complete" + (" (only these are counted)" if complete_only else ""),
        "",
        "| system | pictures | answers | judged real | naturalness | Wilson 95 % | median time, s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row.system.replace('|', '/')} | {row.pictures} | {row.answers} | {row.real} | {number(row.naturalness)} | "
        f"{number(row.low)} .. {number(row.high)} | {number(row.median_seconds, 1)} |"
        for row in rows
    ]
    lines += [
        "",
        "The intervals take answers as independent; those of one person are not quite, so take them as the least.",
        "",
        "Published (Tarres et al., Table 2; 35 participations, other photographs and people):",
        "",
        "| system | naturalness |",
        "| --- | ---: |",
    ]
    return "\n".join(lines + [f"| {system} | {share:.2f} |" for system, share in PUBLISHED])


def report(arguments: Report) -> str:
    """The report as Markdown; writes the files that were asked for."""
    study = stored(arguments.study)
    started, rows = answers(arguments.study)
    complete = {who for who, count in Counter(row[0] for row in rows).items() if count == study.images}
    if arguments.complete_only:
        rows = [row for row in rows if row[0] in complete]
    table = summarize(rows, study.systems)
    if arguments.csv:
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow("participant position photograph system answer milliseconds answered".split())
        writer.writerows(rows)
        arguments.csv.parent.mkdir(parents=True, exist_ok=True)
        with replacing(arguments.csv) as file:
            file.write(text.getvalue().encode())
    if arguments.json:
        values = {
            "study": study._asdict(),
            "participants": {"started": started, "complete": len(complete), "complete_only": arguments.complete_only},
            "systems": [row._asdict() for row in table],
        }
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        with replacing(arguments.json) as file:
            file.write(json.dumps(values, indent=1).encode())
    return markdown(table, len(complete), started, arguments.complete_only)
