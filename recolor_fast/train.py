"""Verb: train a colorizer. `python -m recolor_fast.train --amp` is the paper's final system.

Prints the run folder as its last line on stdout; everything for people goes to stderr. Exit codes: 0 done, 2 options,
data or weights that cannot be used, 130 interrupted.
"""

import argparse
import csv
import json
import sys
import time
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor
from torch._dynamo.exc import BackendCompilerFailed
from tqdm import tqdm

from recolor_fast import checkpoint, images, metrics, plots
from recolor_fast.data import index, loader, sources
from recolor_fast.environment import environment
from recolor_fast.losses.terms import build_terms, resolve_lpips
from recolor_fast.networks.generators import Chroma
from recolor_fast.options import CHOSEN_PER_SESSION, Options, from_dict, to_json
from recolor_fast.presets import DEFAULT, PRESETS
from recolor_fast.step import Step

VALIDATE = 150  # at most so many validation photographs


def parse(argv: list[str]) -> tuple[Options, Path | None]:
    """Command line -> options, and the run folder to go on from (None: a new run).

    `--preset` is read first and gives the defaults; with `--resume` a run's own options.json does.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", default=DEFAULT)
    first.add_argument("--runs", default=Options.runs)
    first.add_argument("--name", default="")
    first.add_argument("--resume", action="store_true")
    early, _ = first.parse_known_args(argv)
    if early.preset not in PRESETS:
        raise ValueError(f"preset {early.preset!r}: expected one of {', '.join(PRESETS)}")
    folder = _folder_to_resume(Path(early.runs), early.name, early.preset) if early.resume else None
    if folder is None:
        return tyro.cli(Options, default=PRESETS[early.preset], args=argv, prog="python -m recolor_fast.train"), None
    return tyro.cli(Options, default=_stored(folder), args=argv, prog="python -m recolor_fast.train"), folder


def _stored(folder: Path) -> Options:
    return from_dict(json.loads((folder / "options.json").read_text()))


def check_resumable(folder: Path, options: Options) -> None:
    """ValueError naming the first option that differs from the run's own and is part of what is trained."""
    stored = _stored(folder)
    for field in fields(Options):
        old, new = getattr(stored, field.name), getattr(options, field.name)
        if old != new and field.name not in CHOSEN_PER_SESSION:
            raise ValueError(f"{folder} was trained with {field.name} {old!r}, not {new!r}: start another run for that")


def _folder_to_resume(runs: Path, name: str, preset: str) -> Path | None:
    """The run `name`, else the preset's newest run; None, said on stderr, if it has no checkpoint to go on from."""
    numbered = _numbered(runs, preset)
    folder = runs / name if name else numbered[-1] if numbered else None
    if folder and (folder / "options.json").is_file() and checkpoint.list_checkpoints(folder / "checkpoints"):
        return folder
    print(f"resume: no checkpoint in {folder or runs / (preset + '-<n>')}: starting it", file=sys.stderr)
    return None


def _numbered(runs: Path, preset: str) -> list[Path]:
    """The folders <runs>/<preset>-<n>, by n."""
    found = [(path.name.removeprefix(f"{preset}-"), path) for path in runs.glob(f"{preset}-*")]
    return [path for _, path in sorted((int(n), path) for n, path in found if n.isdecimal())]


def resolve(options: Options) -> Options:
    """Every "auto" decided, data as an absolute path: what options.json records. Warns of each thing not to be had."""
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "device cuda: torch sees no CUDA device here; use --device cpu, or check driver and torch build"
        )
    compiled = options.compile if options.compile != "auto" else ("on" if device == "cuda" else "off")
    data = sources.resolve(options.data)
    data = data if data in ("imagenette", "sample") else str(Path(data).resolve())
    return resolve_lpips(replace(options, device=device, compile=compiled, data=data))


def open_folder(options: Options) -> Path:
    """Make the run folder, new or (after a start that saved nothing) empty of checkpoints; ValueError if taken."""
    runs = Path(options.runs)
    if options.name:
        folder = runs / options.name
        if checkpoint.list_checkpoints(folder / "checkpoints"):
            raise ValueError(f"{folder} holds a trained run: give another --name, or --resume to go on from it")
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    taken = _numbered(runs, options.preset)
    n = int(taken[-1].name.rsplit("-", 1)[1]) + 1 if taken else 1
    folder = runs / f"{options.preset}-{n}"
    folder.mkdir(parents=True)
    return folder


def validate(step: Step, gray: Tensor, rgb: Tensor) -> tuple[dict[str, float], list[np.ndarray], list[np.ndarray]]:
    """The generator as it will be exported (eval mode, chroma merged with the true luminance) on uint8 photographs.

    gray (N,1,S,S), rgb (N,3,S,S). Returns the metrics, and the colored and true photographs as uint8 (S,S,3).
    """
    step.generator.eval()
    graph = Chroma(step.generator, step.options.space)
    with torch.no_grad():
        cbcr = [graph(one.to(step.device)).cpu().numpy()[0] for one in gray.split(1)]
    step.generator.train()
    truth = list(rgb.permute(0, 2, 3, 1).cpu().numpy())
    colored = [images.merge(images.gray(photograph), chroma) for photograph, chroma in zip(truth, cbcr)]
    return metrics.compare(colored, truth), colored, truth


class Rows:
    """A CSV file that grows a dict at a time; rows past `seen` photographs (a resumed run repeats them) are cut."""

    def __init__(self, path: Path, seen: int) -> None:
        self.path = path
        kept = []
        if path.is_file():
            with open(path, newline="") as file:
                kept = [row for row in csv.DictReader(file) if int(row["images"]) <= seen]
            path.unlink()
        for row in kept:
            self.add(row)

    def add(self, row: dict[str, Any]) -> None:
        new = not self.path.exists()
        with open(self.path, "a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})


def train(options: Options, folder: Path, resuming: bool) -> None:
    """Train resolved options to `options.images` photographs, from the newest checkpoint of `folder` if `resuming`."""
    device = torch.device(options.device)
    split = sources.photographs(options)
    train_paths, unusable = index.usable(split.train)
    val_paths, unusable_val = index.usable(split.val[:VALIDATE])
    options = loader.resolve(options, len(train_paths))
    (folder / "options.json").write_text(to_json(options) + "\n")
    (folder / "environment.json").write_text(json.dumps(environment(device), indent=2) + "\n")
    if bad := unusable | unusable_val:
        (folder / "unusable.txt").write_text("".join(f"{path}: {reason}\n" for path, reason in bad.items()))
        print(f"warning: {len(bad)} unusable files left out, listed in {folder / 'unusable.txt'}", file=sys.stderr)

    step, seen = Step(options, build_terms(options), device), 0
    sums: dict[str, Tensor] = {}  # of each part over the photographs since the last row, `summed` many
    summed = 0
    if resuming:
        newest = checkpoint.list_checkpoints(folder / "checkpoints")[-1]
        state = checkpoint.load(newest, device)
        step.load_state_dict(state["step"])
        seen, sums, summed = state["images"], state["sums"], state["summed"]
        print(f"resuming {folder} from {newest.name}: {seen} photographs seen", file=sys.stderr)
    val_gray, val_rgb = loader.load(options, val_paths)
    results, validation = Rows(folder / "results.csv", seen), Rows(folder / "validation.csv", seen)

    def save() -> None:
        state = {"options": to_json(options), "images": seen, "step": step.state_dict(), "sums": sums, "summed": summed}
        checkpoint.save(folder / "checkpoints", seen, state)
        numbers, colored, truth = validate(step, val_gray, val_rgb)
        validation.add({"images": seen, **numbers})
        if options.samples:
            shown = slice(0, len(colored), max(1, len(colored) // options.samples))
            columns = {
                "gray": [images.gray(one) for one in truth[shown]],
                "colored": colored[shown],
                "truth": truth[shown],
            }
            plots.grid(folder / "samples" / f"{seen:09d}.png", {k: v[: options.samples] for k, v in columns.items()})
        bar.write(
            f"{seen} photographs: ab error {numbers['ab_rmse']:.2f} (gray {numbers['ab_rmse/gray']:.2f}), "
            f"chroma {numbers['chroma']:.2f} of the truth",
            file=sys.stderr,
        )

    bar = tqdm(total=options.images, initial=seen, unit="img", disable=None, file=sys.stderr, dynamic_ncols=True)
    started, waited, counted = time.perf_counter(), 0.0, 0
    with bar, closing(loader.batches(options, train_paths, device, seen)) as stream:
        while seen < options.images:
            asked = time.perf_counter()
            gray, rgb = next(stream)
            waited += time.perf_counter() - asked
            parts = step(gray, rgb, seen)
            before, seen, counted, summed = seen, seen + len(gray), counted + len(gray), summed + len(gray)
            sums = {name: part * len(gray) + sums.get(name, 0) for name, part in parts.items()}
            bar.update(len(gray))
            done = seen >= options.images
            if done or seen // options.log_every > before // options.log_every:
                row = {name: float(total) / summed for name, total in sums.items()}  # waits for the device
                elapsed = time.perf_counter() - started
                results.add({"images": seen, **row, "images_per_s": counted / elapsed, "data_wait": waited / elapsed})
                sums, summed, started, waited, counted = {}, 0, time.perf_counter(), 0.0, 0
            if done or seen // options.save_every > before // options.save_every:
                paused = time.perf_counter()
                save()
                started += time.perf_counter() - paused


def main(argv: list[str] | None = None) -> int:
    """Run the verb; returns the exit code."""
    try:
        options, resumed = parse(sys.argv[1:] if argv is None else argv)
        options = resolve(options)
        if resumed:
            check_resumable(resumed, options)
        if options.dry_run:
            print(to_json(options))
            return 0
        folder = resumed or open_folder(options)
        train(options, folder, resumed is not None)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BackendCompilerFailed as error:
        reason = str(error).strip().splitlines()[0]
        print(f"error: torch.compile failed ({reason}); use --compile off, or install what it names", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; --resume goes on from the newest checkpoint", file=sys.stderr)
        return 130
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
