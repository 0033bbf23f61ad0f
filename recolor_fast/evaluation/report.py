"""What is written of an evaluation beside its tables: the protocol, the numbers of each photograph, the figures."""

import csv
import hashlib
import io
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recolor_fast.arguments.evaluate import Arguments
from recolor_fast.data import listed
from recolor_fast.evaluation import metrics, plots
from recolor_fast.evaluation.chosen import Chosen, read
from recolor_fast.evaluation.judges import Judged
from recolor_fast.evaluation.metrics import Columns
from recolor_fast.evaluation.papers import DEFINITIONS
from recolor_fast.evaluation.systems import System
from recolor_fast.evaluation.tables import Results
from recolor_fast.machine.environment import environment
from recolor_fast.machine.files import legible
from recolor_fast.options import Options, to_json
from recolor_fast.runs import learned

# --- the protocol --------------------------------------------------------------------------------------------------


def options_digest(options: Options) -> str:
    """A hash of the options without the paths of a machine, so a run and its artefact have the same."""
    return hashlib.sha256(to_json(learned.public(options)).encode()).hexdigest()


def protocol(
    arguments: Arguments, chosen: Chosen, systems: list[System], judged: dict[str, Judged], device: torch.device
) -> dict[str, Any]:
    """Everything the numbers depend on; names of files, not their places on this machine."""
    where = environment(device)
    packages = {name: version(name) for name in ("torchmetrics", "torch-fidelity")}
    return {
        "data": chosen.root.resolve().name,
        "split": chosen.split,
        "photographs": len(chosen.paths),
        "files": listed.digest(chosen.paths),
        "unusable": {chosen.name(path): reason for path, reason in chosen.unusable.items()},
        "val_per_class": arguments.val_per_class,
        "limit": arguments.limit,
        "seed": arguments.seed,
        "size": arguments.size,
        "resamples": metrics.RESAMPLES,
        "weights": {name: one.weights or None for name, one in judged.items()},
        "versions": where["versions"] | packages,
        "commit": where["commit"],
        "device": where["device"],
        "systems": {
            system.name: {
                "kind": system.kind,
                "preset": system.options.preset if system.options else None,
                "options": options_digest(system.options) if system.options else None,
                "images": system.images,
            }
            for system in systems
        },
        "definitions": DEFINITIONS,
    }


def caption(protocol: dict[str, Any]) -> str:
    """The protocol in a line."""
    names = ("recolor-fast", "torch", "onnxruntime", "onnxruntime-gpu")
    parts = [f"{name} {protocol['versions'][name]}" for name in names if name in protocol["versions"]]
    parts += [f"commit {protocol['commit'][:10]}"] if protocol["commit"] else []
    weights = [f"{name}: {origin}" for name, origin in protocol["weights"].items() if origin]
    seen = [f"{name} {one['images']}" for name, one in protocol["systems"].items() if one["images"] is not None]
    return legible(
        f"{protocol['photographs']} photographs of {protocol['data']} ({protocol['split']}, files "
        f"{protocol['files'][:10]}), {protocol['size']}x{protocol['size']} pixels, seed {protocol['seed']}; "
        + (f"photographs seen in training: {', '.join(seen)}; " if seen else "")
        + "".join(f"{one}; " for one in weights)
        + ", ".join(parts)
    )


# --- outputs -------------------------------------------------------------------------------------------------------


def per_photograph(chosen: Chosen, columns: dict[str, Columns]) -> str:
    """CSV: a row per photograph and system, a column for each number."""
    of_truth = [name for name in columns["truth"] if name.startswith("truth/")]
    plain: dict[str, None] = {}  # an ordered set
    for own in columns.values():
        plain |= {name: None for name, values in own.items() if values.ndim == 1 and name not in of_truth}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["photograph", "system", *plain])
    for place, path in enumerate(chosen.paths):
        for system, own in columns.items():
            values = [f"{own[name][place]:.6g}" if name in own else "" for name in plain]
            writer.writerow([chosen.name(path), system, *values])
    return text.getvalue()


def training_curves(systems: list[System]) -> dict[str, dict[str, plots.Curve]]:
    """The weighted losses of each player ("generator", "critic") over photographs seen, by run, from its results.csv.

    Runs without rows are left out; so is a player without columns.
    """
    by_player: dict[str, dict[str, plots.Curve]] = {"generator": {}, "critic": {}}
    for system in systems:
        path = system.folder / "results.csv" if system.folder else None
        if path is None or system.options is None or not path.is_file():
            continue
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        weights = {"generator/adversary": system.options.adversary_weight}
        weights |= {"critic/penalty": system.options.gradient_penalty}
        weights |= {f"generator/{name}": weight for name, weight in system.options.terms}
        for player, curves in by_player.items():
            parts = [name for name in (rows[0] if rows else {}) if name and name.startswith(f"{player}/")]
            try:
                losses = [sum(float(row[name]) * weights.get(name, 1.0) for name in parts) for row in rows]
                seen = [float(row["images"]) for row in rows]
            except (KeyError, TypeError, ValueError) as error:
                print(f"warning: {path} has a row that cannot be drawn: {error}", file=sys.stderr)
                continue
            if parts:
                curves[system.name] = plots.Curve(np.array(seen), np.array(losses))
    return by_player


def contact_rows(
    chosen: Chosen, systems: list[System], columns: dict[str, Columns], size: int
) -> list[list[plots.Cell]]:
    """For each system its best, median and worst photograph by psnr_ab, each beside the truth."""
    rows = []
    for system in systems:
        order = np.argsort(-columns[system.name]["psnr_ab"], kind="stable")
        cells = []
        for place in (order[0], order[len(order) // 2], order[-1]):
            path = chosen.paths[place]
            photograph = read(path, size)
            decibels = columns[system.name]["psnr_ab"][place]
            cells += [
                plots.Cell(photograph.truth, f"{path.parent.name}/{path.name}"),
                plots.Cell(system.color(path, photograph), f"PSNR ab {decibels:.2f} dB"),
            ]
        rows.append(cells)
    return rows


def draw(out: Path, chosen: Chosen, systems: list[System], results: Results, size: int, shown: int) -> None:
    """Write the figures."""
    rows = []
    for path in chosen.paths[:shown]:
        photograph = read(path, size)
        pictures = [photograph.gray, photograph.truth, *(s.color(path, photograph) for s in systems[1:])]
        rows.append([plots.Cell(picture) for picture in pictures])
    titles = ["input", "truth", *(system.name for system in systems[1:])]
    plots.sheet(out / "fig5_side_by_side.png", titles, rows, results.caption)
    titles = ["best: truth", "best: colored", "median: truth", "median: colored", "worst: truth", "worst: colored"]
    cells = contact_rows(chosen, systems, results.columns, size)
    plots.sheet(out / "contact_sheet.png", titles, cells, results.caption, [system.name for system in systems])
    counts = {name: (own["histogram_a"].mean(0), own["histogram_b"].mean(0)) for name, own in results.columns.items()}
    plots.histograms(out / "fig2_histograms.png", metrics.BINS, counts, "truth", results.caption)
    curves = training_curves(systems)
    note = "Weighted total of the logged parts, each row the mean since the row before. " + results.caption
    for player, name in (("generator", "fig8_generator_loss.png"), ("critic", "fig9_critic_loss.png")):
        if curves[player]:
            plots.losses(out / name, curves[player], f"{player} loss", note)
        else:
            (out / name).unlink(missing_ok=True)  # an older evaluation's, with --overwrite, would look like this one's
            print(f"{name} is not drawn: no run among the systems has a results.csv with its losses", file=sys.stderr)
