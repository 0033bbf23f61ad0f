"""Train the colorizer that comes with the package, calibrate its saturation, and export it to where it is shipped from.

    python bench/records/train_shipped.py --shards FOLDER --more IMAGENETTE/train

FOLDER has tar shards of JPEGs with keys SOURCE-NUMBER (WebDataset). A second call resumes where the first one was
stopped; `--until train` stops before the calibration, for a machine that lacks onnxruntime. What was tried and not
taken: bench/LOG.md. What came out: recolor_fast/shipped/MODEL_CARD.md.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script, only this folder is there
from bench.arguments import parse
from bench.records.arguments import TrainShipped as Arguments

if __name__ == "__main__":
    parse(Arguments)  # --help and wrong options end here, before what takes seconds is imported


import hashlib
import shlex
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from safetensors.torch import save

from recolor_fast import train
from recolor_fast.artefact.graphs import GRAPHS, Chroma
from recolor_fast.data import loader, sources
from recolor_fast.evaluation import metrics
from recolor_fast.machine.files import replacing
from recolor_fast.networks.generators import without_hints
from recolor_fast.options import to_json
from recolor_fast.photographs import chroma, images
from recolor_fast.runs import learned

# A pretrained encoder is first left as it is, until the decoder knows what to do with what it sees. The squared error
# (smooth L1 below 110 units) alone: what it paints is right on average, and the saturation makes up for its paleness.
COMMON = """--preset pix2pix-lab --generator lite2 --width 40 --generator-norm none --init he --critic ''
--terms smooth_l1 100 --size 128 --load-size 160 --flip --old-film 0.25 --dropout 0.2 --beta1 0.9 --encoder-rate 0.3
--amp --loader host --per-class None --val-per-class None --skip-nonfinite 100"""
STAGES = {
    "shipped-128": """--batch 256 --learning-rate 1.4e-3 --decay 1 --freeze-encoder 0.06 --images 716800
--channels-last on --log-every 25600 --save-every 240000""",
    # It learns to follow hints, and what has no color, while what it sees stays as it is.
    "shipped-hints": """--hints 30 --colorless 0.03 --batch 32 --learning-rate 6e-4 --decay 0.7 --freeze-encoder 1
--images 160000 --log-every 1600 --save-every 20000""",
}
HELD_OUT, FACES = 1000, 200  # photographs of the shards that are not trained on; how many of them are faces
FACE_SOURCES = ("lfw-", "ffhq128-")
STRENGTHS = np.arange(1.0, 1.76, 0.05).round(2)
FIT = {"int8": 6.2, "fp16": 12.0}  # precision, in order of preference -> MB that its artefact may have


def held_out(keys: Sequence[str]) -> set[str]:
    """The keys of the photographs that are not trained on: HELD_OUT of them, FACES of which are faces.

    By the SHA-256 of the key, so that neither the order nor the number of shards matters much.
    """
    order = sorted(keys, key=lambda key: hashlib.sha256(key.encode()).digest())
    faces = [key for key in order if key.startswith(FACE_SOURCES)]
    others = [key for key in order if not key.startswith(FACE_SOURCES)]
    return {*faces[:FACES], *others[: HELD_OUT - FACES]}


def _members(shards: Path) -> Iterator[tuple[str, bytes]]:
    """SOURCE-NUMBER-SHARD and the bytes of each photograph."""
    for shard in sorted(shards.glob("*.tar")):
        with tarfile.open(shard) as archive:
            for member in archive:
                if member.name.endswith(".jpg") and (file := archive.extractfile(member)):
                    yield f"{Path(member.name).stem}-{shard.stem}", file.read()  # keys repeat in other shards


def unpack(shards: Path, more: Sequence[Path], folder: Path) -> None:
    """Lay the photographs of shards and folders down as folder/train/SOURCE/*.jpg and folder/val/SOURCE/*.jpg.

    Whole or not at all; nothing is done where the folder is there. ValueError where there are no shards.
    """
    if folder.is_dir():
        return
    if not any(shards.glob("*.tar")):
        raise ValueError(f"shards {shards}: no .tar files in it")
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    keep = held_out([key for key, _ in _members(shards)])
    for key, data in _members(shards):
        place = part / ("val" if key in keep else "train") / key.rsplit("-", 2)[0]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{key}.jpg").write_bytes(data)
    for number, source in enumerate(more):
        shutil.copytree(source, part / "train" / f"more-{number}")
    part.rename(folder)


def commands(arguments: Arguments) -> list[list[str]]:
    """What train is called with, stage by stage; each starts from the one before it. ValueError for other stages."""
    if unknown := [name for name in arguments.stages if name not in STAGES]:
        raise ValueError(f"stages {' '.join(unknown)}: expected some of {', '.join(STAGES)}")
    called, before = [], ""
    for name, own in STAGES.items():
        if name in arguments.stages:
            flags = shlex.split(f"{COMMON} {own}")
            place = flags.index("--images") + 1
            flags[place] = str(max(1, round(int(flags[place]) * arguments.scale)))
            flags += ["--data", str(arguments.photographs), "--runs", str(arguments.runs), "--name", name, "--resume"]
            flags += ["--start", before] if before else []
            called.append(flags + shlex.split(arguments.flags))
        before = str(arguments.runs / name) if name in arguments.stages else learned.OWN
    return called


def release(run: Path, out: Path, hints: bool = False) -> learned.Trained:
    """Write what a run has trained as float16, for the size that its photographs had before crops were cut out of them.

    What is as large in a whole photograph of that size as it was in a crop in training. Without `hints` what it is
    where none is given.
    """
    trained = learned.trained(run)
    options, generator = trained.options, trained.generator
    if not hints:
        options, generator = without_hints(options, generator)
    options = replace(options, size=options.load_size, load_size=0)
    metadata = {
        f"{learned.PREFIX}options": to_json(learned.public(options)),
        f"{learned.PREFIX}images": str(trained.images),
    }
    halves = {name: tensor.half().contiguous() for name, tensor in generator.state_dict().items()}
    with replacing(out) as file:
        file.write(save(halves, metadata))
    return learned.trained(out)._replace(options=replace(options, data=trained.options.data))


def strengths(trained: learned.Trained) -> list[dict[str, float]]:
    """By factor of the colors' strength: ab_rmse and the shares of the truth's mean chroma and colorfulness.

    On all photographs that the run was not trained on, at its size.
    """
    gray, rgb = loader.load(trained.options, sources.photographs(trained.options).val)
    graph = Chroma(trained.generator, trained.options.space).eval()
    with torch.no_grad():
        offsets = torch.cat([graph.levels(one) for one in gray.split(16)]) - 128
    truth = list(rgb.permute(0, 2, 3, 1).numpy())
    lively = metrics.colorfulness(rgb).mean().item()
    rows = []
    for strength in STRENGTHS:
        planes = (offsets * float(strength) + 128).round().clamp(0, 255).to(torch.uint8).numpy()
        colored = [chroma.merge(images.gray(one), cbcr) for one, cbcr in zip(truth, planes)]
        compared = metrics.compare(colored, truth)
        ours = metrics.colorfulness(torch.from_numpy(np.stack(colored)).permute(0, 3, 1, 2)).mean().item()
        row = {"strength": float(strength), "ab_rmse": compared["ab_rmse"], "ab_rmse/gray": compared["ab_rmse/gray"]}
        rows.append(row | {"chroma": compared["chroma"], "colorfulness": ours / lively})
    return rows


def weakest(rows: Sequence[dict[str, float]], least: float) -> float:
    """The smallest strength at which colorfulness is `least` or more. ValueError where none is."""
    for row in rows:
        if row["colorfulness"] >= least:
            return row["strength"]
    raise ValueError(f"least {least}: expected at most what strength {rows[-1]['strength']} gives, {rows[-1]}")


def export(weights: Path, data: Path, graph: str, saturation: float, out: Path) -> int:
    """Write the artefact of released weights in the first precision of FIT that passes its proof, calibrated on `data`;
    returns the exit code."""
    from recolor_fast.export import to_onnx  # needs onnxruntime, which a machine that only trains may lack

    for precision, megabytes in FIT.items():
        flags = ["--graph", graph, "--precision", precision, "--saturation", str(saturation), "--out", str(out)]
        flags += ["--data", str(data), "--calibrate", str(data)]
        if code := to_onnx.main([str(weights), *flags]):
            continue
        if (size := out.stat().st_size / 1e6) <= megabytes:
            return 0
        print(f"{out} has {size:.1f} MB, at most {megabytes} may be shipped as {precision}: removed", file=sys.stderr)
        out.unlink()
        code = 1
    return code


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns the exit code, of the first part that fails."""
    arguments = parse(Arguments, argv)
    try:
        called = commands(arguments)
        unpack(arguments.shards, arguments.more, arguments.photographs)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for command in called:
        if code := train.main(command):
            return code
    if arguments.until == "train":
        return 0
    arguments.out.mkdir(parents=True, exist_ok=True)
    run = arguments.runs / arguments.stages[-1]
    weights, following = arguments.out / "colorizer.safetensors", run.with_suffix(".safetensors")
    rows = strengths(release(run, weights))
    for row in rows:
        print({name: round(value, 4) for name, value in row.items()}, file=sys.stderr)
    try:
        saturation = weakest(rows, arguments.least)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    release(run, following, hints=True)
    for graph in GRAPHS:
        out = arguments.out / f"colorizer-{graph}.onnx"
        source = following if graph == "hints" else weights
        if code := export(source, arguments.photographs, graph, saturation, out):
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
