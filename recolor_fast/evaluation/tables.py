"""What an evaluation says: a short table at its end, and tables.md with every metric and the papers' own tables."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from recolor_fast.evaluation import metrics
from recolor_fast.evaluation.metrics import METRICS, Columns, Metric
from recolor_fast.evaluation.papers import DEFINITIONS, TABLES, Table, is_of
from recolor_fast.evaluation.systems import System
from recolor_fast.machine.files import legible

BRIEF = ("psnr_rgb", "lpips", "fid", "colorfulness_ratio")  # of METRICS, in the short table where any system has them


class Results(NamedTuple):
    """What is written."""

    protocol: dict[str, Any]
    caption: str
    """The protocol in a line, for tables and figures."""
    columns: dict[str, Columns]
    metrics: dict[str, dict[str, dict[str, Any]]]


def brief(results: Results, systems: Sequence[System], seed: int) -> str:
    """A table for people to read at once: how far each system's ab error is below gray's, and a few metrics.

    With 95 % intervals; the ab error's is over the same resamples of the photographs for gray and system.
    """
    chosen = [name for name in BRIEF if any("mean" in results.metrics[one.name][name] for one in systems)]
    rows = [["system", "ab error below gray", *(METRICS[name].title for name in chosen)]]
    for system in systems:
        numbers = results.metrics[system.name]
        rows.append([system.name, below_gray(results, system.name, seed), *(_shown(numbers[name]) for name in chosen)])
    rows = [[legible(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def below_gray(results: Results, name: str, seed: int) -> str:
    """By how many percent the RMSE of a and b is below gray's, and the 95 % interval; negative: above it."""
    own, gray = results.columns[name]["ab_square"], results.columns["gray"]["ab_square"]
    if not gray.mean():
        return "-"  # the truth holds no color
    columns = {"own": own, "gray": gray}
    metric = Metric("", "", ("own", "gray"), _below)
    with np.errstate(divide="ignore", invalid="ignore"):  # resamples of photographs without color alone: left out
        resampled = metrics.resample(columns, {"below": metric}, seed)["below"]
    low, high = np.percentile(resampled[np.isfinite(resampled)], [2.5, 97.5])
    return f"{_below(own.mean(), gray.mean()):.1f} % [{low:.1f}, {high:.1f}]"


def _below(own: Any, gray: Any) -> Any:
    return 100 * (1 - np.sqrt(own / gray))


def tables(results: Results, systems: Sequence[System]) -> str:
    """Every metric, then the papers' tables beside their published figures, as Markdown."""
    blocks = []
    names = [system.name for system in systems] + ["truth"]
    lines = [_row(["Metric", "better", *names]), _row(["---"] * (2 + len(names)))]
    for name, metric in METRICS.items():
        lines.append(_row([metric.title, metric.better, *(_shown(results.metrics[one][name]) for one in names)]))
    blocks.append("## All metrics, with 95 % intervals over photographs\n\n" + "\n".join(lines))
    reasons: dict[str, tuple[dict[str, None], dict[str, None]]] = {}  # reason -> metrics and systems, in order
    for one in names[:-1]:
        for name, interval in results.metrics[one].items():
            if "missing" in interval:
                those, of = reasons.setdefault(interval["missing"], ({}, {}))
                those[name] = of[one] = None
    if reasons:
        listing = "\n".join(
            f"- {', '.join(those)} ({', '.join(of) if len(of) < len(names) - 1 else 'all'}): {reason}"
            for reason, (those, of) in reasons.items()
        )
        blocks.append(f"## Missing\n\n{listing}")
    blocks += [paper_table(table, results, systems) for table in TABLES]
    blocks.append("## Definitions\n\n" + "\n".join(f"- {line}" for line in DEFINITIONS))
    return "# Evaluation\n\n" + "\n\n".join(blocks) + f"\n\n---\n{results.caption}\n"


def paper_table(table: Table, results: Results, systems: Sequence[System]) -> str:
    """A paper's rows with their published figures, and below each the systems here that its presets trained."""
    titles = [METRICS[name].title for name in table.metrics]
    header = [*table.labels, *(f"{name} (published)" for name in table.figures), "system here", *titles]
    lines = [_row(header), _row(["---"] * len(header))]

    def measured(system: System) -> list[str]:
        return [system.name, *(_shown(results.metrics[system.name][name]) for name in table.metrics)]

    for row in table.rows:
        ours = [system for system in systems if is_of(system.options, row.presets)]
        first = [*row.label, *row.figures]
        lines.append(_row([*first, *(measured(ours[0]) if ours else [""] * (1 + len(titles)))]))
        lines += [_row([*row.label, *[""] * len(row.figures), *measured(system)]) for system in ours[1:]]
    empty = [""] * (len(table.labels) + len(table.figures))
    known = {name for row in table.rows for name in row.presets}
    for system in systems:  # those of no row
        some = any("mean" in results.metrics[system.name][name] for name in table.metrics)
        if some and not is_of(system.options, known):
            lines.append(_row([*empty, *measured(system)]))
    return f"## {table.title}\n\n" + "\n".join(lines) + f"\n\n{table.note}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(legible(cell).replace("|", "\\|") for cell in cells) + " |"


def _shown(interval: dict[str, Any]) -> str:
    if "missing" in interval:
        return "-"
    mean, low, high = (
        None if interval[key] is None else f"{round(interval[key], 6):.4g}" for key in ("mean", "low", "high")
    )
    return f"{mean} [{low}, {high}]" if low else f"{mean}"
