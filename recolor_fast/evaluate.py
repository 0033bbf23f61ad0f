"""Verb: the papers' tables and figures for colorizers, on the same photographs, with intervals.

    python -m recolor_fast.evaluate RUN FILE.onnx shipped NAME=FOLDER --data FOLDER --out DIR

Writes metrics.json, per_photograph.csv, tables.md and the figures; prints DIR as its last line on stdout, everything
for people goes to stderr. Exit codes: 0 done, 2 arguments, data or weights that cannot be used, 130 interrupted.
"""

if __name__ == "__main__":
    from recolor_fast.machine import starting

    starting.run("recolor_fast.evaluate", arguments="evaluate")

import json
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recolor_fast.arguments.evaluate import Arguments, parse
from recolor_fast.artefact.runtime import BadArtefact, NoProvider
from recolor_fast.data import index, listed
from recolor_fast.evaluation import judges, metrics
from recolor_fast.evaluation.chosen import Chosen, choose, read, true_classes
from recolor_fast.evaluation.judges import Judge, Judged
from recolor_fast.evaluation.metrics import METRICS, Columns
from recolor_fast.evaluation.report import caption, draw, per_photograph, protocol
from recolor_fast.evaluation.systems import System, open_systems, without_broken
from recolor_fast.evaluation.tables import Results, brief, tables
from recolor_fast.machine import bars, processors, starting
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import legible, print_path, write_text
from recolor_fast.photographs.gray_photographs import COLORLESS


def measure(
    chosen: Chosen, systems: list[System], judges: list[Judge], size: int, device: torch.device
) -> dict[str, Columns]:
    """The columns of the truth and of every system, a row per photograph. Pictures are not kept."""
    rows: dict[str, list[dict[str, Any]]] = {"truth": [], **{system.name: [] for system in systems}}
    stream = index.in_order(partial(read, size=size), chosen.paths, 2 * processors.threads())
    bar = bars.bar(zip(chosen.paths, stream), "evaluating", len(chosen.paths))
    with closing(stream), closing(bar), torch.no_grad():
        for path, photograph in bar:
            pictures = [photograph.truth, *(system.color(path, photograph) for system in systems)]
            stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous().to(device)
            columns = metrics.measure(stacked)
            for judge in judges:
                columns |= judge(stacked)
            own = [{}, *(system.own(path) for system in systems)]
            for place, name in enumerate(rows):
                rows[name].append({column: values[place] for column, values in columns.items()} | own[place])
    return {
        name: {column: np.stack([row[column] for row in some]) for column in some[0]} for name, some in rows.items()
    }


def combine(columns: dict[str, Columns], labels: np.ndarray) -> dict[str, Columns]:
    """`columns` with those of the truth beside each system's as truth/..., and what the classifier's classes say."""
    truth = columns["truth"]
    shares = ("chroma", "colorfulness") if _colorless(truth) else ()  # of nothing there are none
    beside = {f"truth/{column}": values for column, values in truth.items() if column not in shares}
    combined = {}
    for name, own in columns.items():
        combined[name] = dict(own) | beside
        if "class" in own:
            combined[name]["top1_agreement"] = (own["class"] == truth["class"]).astype(float)
            if (labels >= 0).any():
                known = (labels >= 0).astype(float)
                combined[name] |= {"known": known, "top1": known * (own["class"] == labels)}
        if "inception" in own and name != "truth" and len(labels) > 1:
            combined[name]["fid"] = np.array(metrics.fid(own["inception"], truth["inception"]))
    return combined


def _colorless(truth: Columns) -> bool:
    return "chroma" in truth and float(truth["chroma"].mean()) < COLORLESS


def summarize(
    columns: dict[str, Columns], systems: list[System], judged: dict[str, Judged], seed: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """Every metric of every system, and those of the truth that need no other picture."""
    reasons = {name: one.reason for name, one in judged.items()}
    share = f"the truth holds no color (mean Lab chroma below {COLORLESS:g}) that this could be a share of"
    missing = reasons | {
        "truth/chroma": share,
        "truth/colorfulness": share,
        "top1": reasons["class"] or "no photograph's folder or name has a wnid whose class is known",
        "top1_agreement": reasons["class"],
        "fid": reasons["inception"] or "it needs two photographs or more",
    }
    alone = ("colorfulness", "colorfulness_abs", "top1", "known")
    truth = {column: values for column, values in columns["truth"].items() if column in alone}
    others = {column: "it compares with the truth" for metric in METRICS.values() for column in metric.columns}
    return {
        **{system.name: metrics.summarize(columns[system.name], missing | system.missing, seed) for system in systems},
        "truth": metrics.summarize(truth, others | {"top1": missing["top1"], "known": missing["top1"]}, seed),
    }


def evaluate(arguments: Arguments) -> Path:
    """Run the evaluation and write it. UserError for arguments, data or weights that cannot be used."""
    check(arguments)
    device = torch.device("cuda" if arguments.device != "cpu" and torch.cuda.is_available() else "cpu")
    chosen = choose(arguments)
    systems = open_systems(arguments, chosen, device)
    chosen = without_broken(chosen, systems, arguments.strict)
    for system in systems:
        if system.folder and (count := listed.trained_on(system.folder, chosen.paths)):
            of = f"{count} of {len(chosen.paths)} photographs"
            print(f"warning: {of} have the names of those {system.name} was trained on", file=sys.stderr)
    judged = {
        **judges.lpips_judges(arguments.lpips_weights, device),
        "class": judges.classifier_judge(arguments.classifier_weights, device),
        "inception": judges.inception_judge(arguments.inception_weights, device),
    }
    asked = [one.judge for one in judged.values() if one.judge]
    told = protocol(arguments, chosen, systems, judged, device)  # now: the commit may be another one when this is done
    columns = combine(measure(chosen, systems, asked, arguments.size, device), true_classes(chosen))
    summary = summarize(columns, systems, judged, arguments.seed)
    results = Results(told, caption(told), columns, summary)
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    written = {"protocol": told, "systems": summary}
    write_text(out / "metrics.json", json.dumps(written, indent=2, allow_nan=False) + "\n")
    write_text(out / "per_photograph.csv", per_photograph(chosen, columns))
    write_text(out / "tables.md", tables(results, systems))
    draw(out, chosen, systems, results, arguments.size, arguments.shown)
    print(brief(results, systems, arguments.seed), file=sys.stderr)
    over = f"over {len(chosen.paths)} photographs"
    print(f"mean [95 % interval] {over}; all metrics: {legible(out / 'tables.md')}", file=sys.stderr)
    return out


def check(arguments: Arguments) -> None:
    """UserError for arguments that cannot be used, before anything is computed."""
    for name, least in (("size", 16), ("shown", 1), ("limit", 1), ("val_per_class", 1), ("seed", 0)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise UserError(f"{name} {value}: expected {least} or more")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "device cuda: torch sees no CUDA device here; use --device cpu, or check driver and torch build"
        )
    for name in ("lpips_weights", "classifier_weights", "inception_weights"):
        file = getattr(arguments, name)
        if file and not file.is_file():
            raise UserError(f"{name} {file}: there is no such file; expected a .pth or .safetensors state_dict")
    out = arguments.out
    if out.exists() and not out.is_dir():
        raise UserError(f"out {out}: it is a file; expected a folder to write to")
    if out.is_dir() and any(out.iterdir()) and not arguments.overwrite:
        raise UserError(f"out {out}: it is not empty; give another folder, or --overwrite to write into it")


TOLD: starting.Codes = {  # RuntimeError: out of memory, onnxruntime's
    BadArtefact: 2,
    NoProvider: 2,
    OSError: 2,
    RuntimeError: 2,
}


@starting.verb(stopped="interrupted; nothing is kept: start again, into another folder or with --overwrite", told=TOLD)
def main(argv: list[str]) -> int:
    """Run the verb; returns the exit code."""
    print_path(evaluate(parse(argv)))
    return 0
