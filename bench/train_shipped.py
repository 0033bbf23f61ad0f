"""Train the colorizer that comes with the package, calibrate its saturation, and export it to where it is shipped from.

    python bench/train_shipped.py --data IMAGENETTE            IMAGENETTE: a folder with train and val, a folder a class

Deterministic: the same photographs, versions, processor and threads (ours: OMP_NUM_THREADS=1) give the same files. A
second call goes on where the first one was stopped. What was tried and not taken: bench/LOG.md. What came out:
recolor_fast/shipped/MODEL_CARD.md.
"""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only bench/ itself is there

from export import to_onnx
from recolor_fast import chroma, images, metrics, runs, runtime, train
from recolor_fast.data import loader
from recolor_fast.files import SHIPPED
from recolor_fast.networks.graphs import Chroma

# What all stages share: Lab and half the squared error (smooth L1 below 110 units) as in Tarres et al.
RECIPE = """--preset pix2pix-lab --generator residual --width 24 --generator-norm none --init he --flip
--beta1 0.9 --decay 1 --device cpu --amp --channels-last on --loader host --per-class None --val-per-class None
--log-every 2500 --save-every 25000"""
# Name of each run and what is its own. Small first, as most of what there is to learn is learned there at a quarter of
# the time; then at the size it is used at, with an adversary and a perceptual term: the squared error alone leaves
# colors that are right on average and that nothing is recognized by.
STAGES = {
    "shipped-64": """--size 64 --load-size 96 --terms smooth_l1 100 --critic '' --batch 32 --learning-rate 1e-3
--dropout 0.2 --images 600000""",
    "shipped-128": """--size 128 --load-size 144 --terms smooth_l1 100 lpips_style_squeeze 1 --lpips lpips_style_squeeze
--critic patch --critic-norm instance --adversary lsgan --adversary-weight 0.5 --batch 8 --learning-rate 2e-4
--beta1 0.5 --dropout 0.1 --images 20000""",
}
STRENGTHS = np.arange(1.0, 2.01, 0.05).round(2)
FIT = {"int8": 4.5, "fp16": 8.0}  # precision, in order of preference -> MB that its artefact may have


@dataclass(frozen=True)
class Arguments:
    """Train the shipped colorizer and write its artefacts."""

    data: Path
    """Photographs: a folder with folders train and val, in each a folder for every class."""
    lpips_weights: Path | None = None
    """SqueezeNet 1.1's state_dict, for the perceptual term; none: torchvision's, from torch's cache or downloaded."""
    out: Path = SHIPPED
    """Folder that the artefacts are written to, replacing those in it."""
    runs: Path = Path("runs")
    """Folder of the run folders, one a stage."""
    least: float = 0.6
    """Mean chroma and colorfulness of the validation photographs are made at least this share of the truth's."""
    scale: float = 1.0
    """Train on so many times the photographs of the recipe; other than 1 to try something out."""
    flags: str = ""
    """More flags of train, for all stages, as one string; to try something out."""


def commands(arguments: Arguments) -> list[list[str]]:
    """What train is called with, stage by stage; each starts from the one before it."""
    found, before = [], ""
    for name, own in STAGES.items():
        flags = shlex.split(f"{RECIPE} {own}")
        place = flags.index("--images") + 1
        flags[place] = str(max(1, round(int(flags[place]) * arguments.scale)))
        flags += ["--data", str(arguments.data), "--runs", str(arguments.runs), "--name", name, "--resume"]
        flags += ["--start", before] if before else []
        if arguments.lpips_weights and "--lpips" in flags:
            flags += ["--lpips-weights", str(arguments.lpips_weights)]
        found.append(flags + shlex.split(arguments.flags))
        before = str(arguments.runs / name)
    return found


def strengths(trained: runs.Trained) -> list[dict[str, float]]:
    """By factor of the colors' strength: ab_rmse and the shares of the truth's mean chroma and colorfulness.

    On the validation photographs of the run, at its size.
    """
    photographs = train.choose(trained.options)
    gray, rgb = loader.load(trained.options, photographs.val)
    graph = Chroma(trained.generator, trained.options.space).eval()
    with torch.no_grad():
        offsets = torch.cat([graph.levels(one) for one in gray.split(16)]) - 128
    truth = list(rgb.permute(0, 2, 3, 1).numpy())
    lively = metrics.colorfulness(rgb).mean().item()
    rows = []
    for strength in STRENGTHS:
        planes = (offsets * float(strength) + 128).round().clamp(0, 255).to(torch.uint8).numpy()
        colored = [chroma.merge(images.gray(one), cbcr) for one, cbcr in zip(truth, planes)]
        found = metrics.compare(colored, truth)
        ours = metrics.colorfulness(torch.from_numpy(np.stack(colored)).permute(0, 3, 1, 2)).mean().item()
        row = {"strength": float(strength), "ab_rmse": found["ab_rmse"], "ab_rmse/gray": found["ab_rmse/gray"]}
        rows.append(row | {"chroma": found["chroma"], "colorfulness": ours / lively})
    return rows


def weakest(rows: Sequence[dict[str, float]], least: float) -> float:
    """The smallest strength at which chroma and colorfulness are `least` or more. ValueError where none is."""
    for row in rows:
        if min(row["chroma"], row["colorfulness"]) >= least:
            return row["strength"]
    raise ValueError(f"least {least}: expected at most what strength {rows[-1]['strength']} gives, {rows[-1]}")


def export(run: Path, graph: str, saturation: float, out: Path) -> int:
    """Write the artefact of a run in the first precision of FIT that passes its proof; returns the exit code."""
    for precision, megabytes in FIT.items():
        flags = ["--graph", graph, "--precision", precision, "--saturation", str(saturation), "--out", str(out)]
        if code := to_onnx.main([str(run), *flags]):
            continue
        if (size := out.stat().st_size / 1e6) <= megabytes:
            return 0
        print(f"{out} has {size:.1f} MB, at most {megabytes} may be shipped as {precision}: removed", file=sys.stderr)
        out.unlink()
        code = 1
    return code


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns the exit code, of the first part that fails."""
    arguments = tyro.cli(Arguments, args=argv, prog="python bench/train_shipped.py")
    for command in commands(arguments):
        if code := train.main(command):
            return code
    run = arguments.runs / list(STAGES)[-1]
    rows = strengths(runs.trained(run))
    print(to_onnx.as_text(rows), file=sys.stderr)
    try:
        saturation = weakest(rows, arguments.least)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    arguments.out.mkdir(parents=True, exist_ok=True)
    for graph in runtime.GRAPHS:
        if code := export(run, graph, saturation, arguments.out / f"colorizer-{graph}.onnx"):
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
