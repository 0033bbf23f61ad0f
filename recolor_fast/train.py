"""Verb: train a colorizer. `python -m recolor_fast.train --amp` is the paper's final system.

Prints the run folder as its last line on stdout; everything for people goes to stderr. Exit codes: 0 done, 1 the
numbers went bad, 2 options, data or weights that cannot be used, 130 interrupted.
"""

import argparse
import json
import math
import sys
import time
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import tyro
from torch import Tensor
from torch._dynamo.exc import BackendCompilerFailed
from tqdm import tqdm

from recolor_fast import checkpoint, chroma, images, memory, metrics, plots, runs
from recolor_fast.data import index, loader, sources
from recolor_fast.environment import environment
from recolor_fast.losses.terms import build_terms, check_features, resolve_lpips
from recolor_fast.networks.graphs import Chroma
from recolor_fast.options import AUTO_SPLIT, CHOSEN_BY_DEVICE, Options, from_dict, to_json
from recolor_fast.presets import DEFAULT, PRESETS
from recolor_fast.step import Step, check_names, fastest

VALIDATE = 150  # at most so many validation photographs


def parse(argv: list[str]) -> tuple[Options, Path | None]:
    """Command line -> options, and the run folder to go on with (None: a new run).

    `--preset` is read first and gives the defaults; with `--resume` a run's own options.json does, but for what depends
    on the device where that is another one.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", default=DEFAULT)
    first.add_argument("--runs", default=Options.runs)
    first.add_argument("--name", default="")
    first.add_argument("--resume", action="store_true")
    first.add_argument("--device", default="")
    early, _ = first.parse_known_args(argv)
    if early.preset not in PRESETS:
        raise ValueError(f"preset {early.preset!r}: expected one of {', '.join(PRESETS)}")
    folder = runs.find(Path(early.runs), early.name, early.preset) if early.resume else None
    default = runs.stored_options(folder) if folder else PRESETS[early.preset]
    if folder and early.device not in ("", default.device):  # what was chosen for the other device is open again
        default = from_dict(asdict(default) | dict.fromkeys(CHOSEN_BY_DEVICE, "auto"))
    return tyro.cli(Options, default=default, args=argv, prog="python -m recolor_fast.train"), folder


def resolve(options: Options) -> Options:
    """Every "auto" decided but for `cache`, data as an absolute path. Warns of each thing that cannot be had.

    ValueError for names that no table holds, and for data, weights or a device that cannot be used.
    """
    check_names(options)
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "device cuda: torch sees no CUDA device here; use --device cpu, or check driver and torch build"
        )
    data = sources.resolve(options.data)
    if data in AUTO_SPLIT:
        per_class, val_per_class = AUTO_SPLIT[data]
        per_class, val_per_class = options.per_class or per_class, options.val_per_class or val_per_class
        options = replace(options, per_class=per_class, val_per_class=val_per_class)
    elif data != "sample":
        data = str(Path(data).resolve())
    options = fastest(replace(options, device=device, data=data), torch.device(device))
    options = resolve_lpips(options)
    check_features(options)
    return options


class Photographs(NamedTuple):
    """The usable files of a run."""

    train: list[Path]
    val: list[Path]
    unusable: dict[Path, str]


def choose(options: Options) -> Photographs:
    """The usable photographs to train and validate on. ValueError where there is none to train on."""
    split = sources.photographs(options)
    train, unusable = index.usable(split.train)
    try:
        val, unusable_val = index.usable(split.val)
    except ValueError as error:
        print(f"warning: validating on a photograph trained on: {error}", file=sys.stderr)
        val, unusable_val = train[:1], {path: str(images.fault(path)) for path in split.val}
    return Photographs(train, val[:VALIDATE], unusable | unusable_val)


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
    colored = [chroma.merge(images.gray(photograph), planes) for photograph, planes in zip(truth, cbcr)]
    return metrics.compare(colored, truth), colored, truth


def train(options: Options, resumed: Path | None) -> Path:
    """Train resolved options to `options.images` photographs seen, going on with the run `resumed` if there is one.

    Returns the run folder. FloatingPointError where a loss is no number any more; the checkpoints before it stay.
    """
    device = torch.device(options.device)
    memory.keep_freed()
    photographs = choose(options)
    options = loader.resolve(options, len(photographs.train))
    files = runs.digest(photographs.train, photographs.val)
    step, seen = Step(options, build_terms(options), device), 0
    sums: dict[str, Tensor] = {}  # of each part over the photographs since the last row, `summed` many
    summed = 0
    if resumed and checkpoint.list_checkpoints(resumed / "checkpoints"):
        path, state = checkpoint.newest(resumed / "checkpoints", device)
        if state["files"] != files:
            raise ValueError(f"{resumed}: {options.data} holds other photographs now, or another split of them")
        step.load_state_dict(state["step"])
        seen, sums, summed = state["images"], state["sums"], state["summed"]
        print(f"resuming {resumed} from {path.name}: {seen} photographs seen", file=sys.stderr)
    val_gray, val_rgb = loader.load(options, photographs.val)

    folder = resumed or runs.create(options)
    runs.write_text(folder / "options.json", to_json(options) + "\n")
    runs.write_text(folder / "environment.json", json.dumps(environment(device), indent=2) + "\n")
    if photographs.unusable:
        lines = "".join(f"{path}: {reason}\n" for path, reason in photographs.unusable.items())
        runs.write_text(folder / "unusable.txt", lines)
        print(
            f"warning: {lines.count(chr(10))} unusable files left out, see {folder / 'unusable.txt'}", file=sys.stderr
        )
    results, validation = runs.Rows(folder / "results.csv", seen), runs.Rows(folder / "validation.csv", seen)

    def save() -> None:
        numbers, colored, truth = validate(step, val_gray, val_rgb)
        validation.add({"images": seen, **numbers})
        if options.samples:
            every = max(1, len(colored) // options.samples)
            shown, real = (part[::every][: options.samples] for part in (colored, truth))
            columns = {"gray": [images.gray(one) for one in real], "colored": shown, "truth": real}
            plots.grid(folder / "samples" / f"{seen:09d}.png", columns)
        state = {"options": to_json(options), "files": files, "images": seen, "step": step.state_dict()}
        checkpoint.save(folder / "checkpoints", seen, state | {"sums": sums, "summed": summed})
        bar.write(
            f"{seen} photographs: ab error {numbers['ab_rmse']:.2f} (gray {numbers['ab_rmse/gray']:.2f}), "
            f"chroma {numbers['chroma']:.2f} of the truth",
            file=sys.stderr,
        )

    bar = tqdm(total=options.images, initial=seen, unit="img", disable=None, file=sys.stderr, dynamic_ncols=True)
    started, waited, counted = 0.0, 0.0, 0
    with bar, closing(loader.batches(options, photographs.train, device, seen)) as stream:
        while seen < options.images:
            asked = time.perf_counter()
            gray, rgb = next(stream)
            if started:
                waited += time.perf_counter() - asked
            else:  # the first batch comes with the whole cache, or once the decoders have started: no step waits for it
                started = time.perf_counter()
            parts = step(gray, rgb, seen)
            before, seen, counted, summed = seen, seen + len(gray), counted + len(gray), summed + len(gray)
            sums = {name: part * len(gray) + sums.get(name, 0) for name, part in parts.items()}
            bar.update(len(gray))
            done = seen >= options.images
            if done or any(seen // n > before // n for n in (options.log_every, options.save_every)):
                row = {name: float(total) / summed for name, total in sums.items()}  # waits for the device
                if bad := [name for name, value in row.items() if not math.isfinite(value)]:
                    raise FloatingPointError(f"{', '.join(bad)} no finite number after {seen} photographs")
            if done or seen // options.log_every > before // options.log_every:
                elapsed = time.perf_counter() - started
                results.add({"images": seen, **row, "images_per_s": counted / elapsed, "data_wait": waited / elapsed})
                sums, summed, started, waited, counted = {}, 0, time.perf_counter(), 0.0, 0
            if done or seen // options.save_every > before // options.save_every:
                paused = time.perf_counter()
                save()
                started += time.perf_counter() - paused
    return folder


def main(argv: list[str] | None = None) -> int:
    """Run the verb; returns the exit code."""
    try:
        options, resumed = parse(sys.argv[1:] if argv is None else argv)
        options = resolve(options)
        if resumed:
            runs.check_same(resumed, options)
        if options.dry_run:
            if options.data != "imagenette" or sources.cached():  # a dry run downloads nothing
                options = loader.resolve(options, len(sources.photographs(options).train))
            print(to_json(options))
            return 0
        folder = train(options, resumed)
    except FloatingPointError as error:
        print(f"error: {error}: lower --learning-rate; the checkpoints before it stay", file=sys.stderr)
        return 1
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
