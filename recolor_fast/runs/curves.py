"""The curves of runs, several in one picture: validation, speed and losses, from their CSV files; no torch.

`python -m recolor_fast.runs.curves RUN` draws RUN/results.png: a training starts it beside itself.
"""

import math
import os
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from recolor_fast.evaluation import plots
from recolor_fast.machine.errors import UserError
from recolor_fast.runs.read_rows import complete, numbers

By = Literal["photographs", "time"]
UNITS: dict[By, tuple[str, float]] = {"photographs": ("photographs seen", 1), "time": ("time trained, minutes", 60)}
COLUMNS = 3  # panels side by side
NAME = "results.png"
SMOOTHING = 0.1  # share of a run's rows
PLAYERS = ("generator/", "critic/")


class Run(NamedTuple):
    """What a run's CSV files hold."""

    results: list[dict[str, str]]
    validation: list[dict[str, str]]


class Line(NamedTuple):
    """A curve: x and y, float (n,), and how it is drawn."""

    x: np.ndarray
    y: np.ndarray
    style: Literal["smoothed", "points", "reference"]


def read(folder: Path) -> Run:
    """The rows of a run folder. UserError where it holds none."""
    try:
        results, validation = (complete(folder / f"{name}.csv")[1] for name in ("results", "validation"))
    except OSError as error:
        raise UserError(f"{folder}: its rows cannot be read ({error.strerror or error})") from error
    if not results:
        raise UserError(f"{folder}: expected a run folder, as train printed it, with rows in its results.csv")
    return Run(results, validation)


def draw(path: Path, runs: Mapping[str, Run], by: By, smoothing: float, caption: str, exclusive: bool = False) -> None:
    """Write a PNG with a panel for each thing that the runs measured, a color for each run, by its name.

    What training logs is drawn as it was and smoothed over a share `smoothing` of its rows. UserError where a run has
    no times to draw it by. FileExistsError with `exclusive` where there is a `path`.
    """
    panels = _panels(list(runs.values()))
    figure, axes = plots.new_figure(min(COLUMNS, len(panels)), math.ceil(len(panels) / COLUMNS), 2.9)
    label, unit = UNITS[by]
    for axis in axes[1:]:
        axis.sharex(axes[0])  # what is below each other was at the same time
    for axis, (title, lines_of) in zip(axes, panels.items()):
        for number, (name, run) in enumerate(runs.items()):
            color, dashes = f"C{number % 10}", plots.STYLES[number // 10 % len(plots.STYLES)]
            for line in lines_of(run):
                x = _x(name, run, line.x, by) / unit
                _draw_line(axis, x, line, color, dashes, plots.plain(name), smoothing)
        axis.set(title=plots.plain(title), xlabel=label)
        axis.grid(alpha=0.3)
    for axis in axes[len(panels) :]:
        axis.remove()
    handles = [handle for axis in axes for handle in axis.get_legend_handles_labels()[0]]
    named = {handle.get_label(): handle for handle in handles}  # a run may have no line in some panels
    plots.save_figure(figure, path, caption, list(named.values()), list(named), exclusive)


def _draw_line(axis, x: np.ndarray, line: Line, color: str, dashes: str, name: str, smoothing: float) -> None:
    if line.style == "reference":
        alone = "_" if len(x) == 1 else ""  # of the first validation: one point makes no line
        axis.plot(x, line.y, color=color, linewidth=1, linestyle=":", marker=alone, markersize=12, label="_gray")
    elif line.style == "points":
        axis.plot(x, line.y, color=color, linewidth=2, linestyle=dashes, marker="o", markersize=4, label=name)
    else:
        known = np.isfinite(line.y)
        axis.plot(x, line.y, color=color, alpha=0.3, linewidth=1)
        smooth, alone = plots.smoothed(line.y[known], smoothing), "o" if known.sum() == 1 else ""
        axis.plot(x[known], smooth, color=color, linewidth=2, linestyle=dashes, marker=alone, markersize=4, label=name)


def _panels(runs: Sequence[Run]) -> dict[str, Callable[[Run], list[Line]]]:
    """What there is to draw of at least one of the runs, by the panel's title."""

    def of(rows: str, column: str, style: Literal["smoothed", "points", "reference"], run: Run) -> list[Line]:
        found = getattr(run, rows)
        x, y = numbers(found, "images"), numbers(found, column)
        return [Line(x, y, style)] if np.isfinite(y).any() else []

    def validated(column: str, reference: str) -> Callable[[Run], list[Line]]:
        def lines(run: Run) -> list[Line]:
            against = of("validation", reference, "reference", run) if reference else []
            return [*of("validation", column, "points", run), *against]

        return lines

    def logged(column: str) -> Callable[[Run], list[Line]]:
        return lambda run: of("results", column, "smoothed", run)

    panels = {
        "validation: ab error (dotted: of gray)": validated("ab_rmse", "ab_rmse/gray"),
        "validation: chroma, of the truth's": validated("chroma", ""),
        "photographs/s": logged("images_per_s"),
    }
    columns = dict.fromkeys(column for run in runs for row in run.results[-1:] for column in row)
    panels |= {column.replace("/", ": "): logged(column) for column in columns if column.startswith(PLAYERS)}
    return {title: lines for title, lines in panels.items() if any(lines(run) for run in runs)}


def _x(name: str, run: Run, images: np.ndarray, by: By) -> np.ndarray:
    """Where so many photographs seen stand on the x axis."""
    if by == "photographs":
        return images
    seen, times = numbers(run.results, "images"), numbers(run.results, "time")
    known = np.isfinite(times)
    if not known.any():
        raise UserError(f"{name}: no times in its results.csv, an earlier version wrote it: draw it by photographs")
    return np.interp(images, seen[known], times[known])


def main(argv: Sequence[str] | None = None) -> int:
    """Draw RUN/results.png with no processor time that others want: `curves RUN idle`, or at once: `curves RUN`."""
    folder, *idle = sys.argv[1:] if argv is None else argv
    if idle and hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    elif idle and hasattr(os, "nice"):
        os.nice(19)
    run, begun = Path(folder), time.time_ns()
    if not complete(run / "results.csv")[1]:
        return 0  # nothing is logged yet
    picture = run / NAME
    part = run / f".{uuid.uuid4().hex}.part"
    try:
        draw(part, {run.name: read(run)}, "photographs", SMOOTHING, f"{run.name}: thin as logged, thick smoothed")
        # Whoever started this may be gone, and a session that went on since may have drawn more rows.
        if not (picture.exists() and picture.stat().st_mtime_ns > begun):
            os.replace(part, picture)
    finally:
        part.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the training and to this
    sys.exit(main())
