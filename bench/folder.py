"""Photographs a second, from a folder of JPEGs to one of colored JPEGs: python bench/folder.py [--run RUN] [--quick].

Every row is a process of its own, in turns, and reads, colors and writes the same files (quality 95). Rows:

pillow no-op     one photograph after the other, as peers do it, with a model that does nothing: Pillow decodes, makes
                 the model's 256x256, enlarges its constant chroma, merges in YCbCr and saves.
pillow + torch   the same with the generator in torch, eager, on all processors.
limit            libjpeg-turbo alone: each file read, decoded to luminance, encoded with chroma made before, written, on
                 all processors. No folder tool that encodes luminance anew goes above it.
no-op 1          python -m recolor_fast.colorize with a model that does nothing, on one processor.
no-op            the same on all processors.
judged           the same on prints of equal luminance in sepia, each judged first whether it is in color (the default):
                 all others recolor. The cost of judging is the difference to no-op.
fp32, int8       the same with the generator's artefacts.

film limit       a gray film of 640x480, H.264, decoded and encoded again with chroma made before, by PyAV alone, at the
                 quality that 95 means. No film tool that encodes with x264 goes above it.
film no-op       the film by Colorizer.film with the model that does nothing.
film             the same with the colorizer that comes with the package.

`ratio` is images/s over the row `pillow no-op` or, for rows with the generator, `pillow + torch`, of the same case,
and for films over `film limit`.
`of_bound`: images/s over what the processors allow, their number over the processor seconds a photograph takes in all
stages together when it is alone (measured with one worker); 1 is perfect overlap. `luma` is the mean difference of the
luminance decoded from output and input, levels. Outputs are written safely: flushed to the disk, then renamed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only bench/ itself is there
from bench.arguments import Folder as Arguments
from bench.arguments import parse

if __name__ == "__main__":
    parse(Arguments)  # --help and wrong options end here, before what takes seconds is imported


import json
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Any

import av
import cv2
import numpy as np
import simplejpeg
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from bench import inference
from bench.common import Case, alternate_apart, report
from bench.loader import NOISE, make_photographs
from recolor_fast.artefact import runtime
from recolor_fast.artefact.graphs import Chroma
from recolor_fast.colorize import Colorizer
from recolor_fast.export import to_onnx
from recolor_fast.films import encoding, planes
from recolor_fast.films import source as film_source
from recolor_fast.machine import processors, starting
from recolor_fast.machine.environment import device_name
from recolor_fast.options import Options

QUALITY = 95
SEPIA = (110, 148)  # Cb and Cr of the model that does nothing
SIZES = {"500x375": (500, 375, 0.0, 1.0), "12 megapixels": (4000, 3000, NOISE, 1 / 8)}  # width, height, noise, share


@starting.verb()
def main(argv: list[str]) -> int:
    """Print the table and the line of JSON."""
    arguments = parse(Arguments, argv)
    count = 16 if arguments.quick else arguments.count
    names = inference.known(arguments.rows, {**ROWS, **FILMS})
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inference.prepare(folder, arguments.run, arguments.quick, "sample", names)
        no_op(folder / "no-op.onnx")
        for case, (width, height, noise, share) in SIZES.items():
            if arguments.quick and noise:
                continue
            make_photographs(folder / case, max(1, round(count * share)), width, height, noise)
            rows += measure(
                folder, case, [name for name in names if name in ROWS], 2 if arguments.quick else arguments.runs
            )
        if films := [name for name in names if name in FILMS]:
            rows += measure_film(
                folder, films, 25 if arguments.quick else 250, 2 if arguments.quick else arguments.runs
            )
    torch.set_num_threads(processors.threads())
    report("folder", device_name(torch.device("cpu")), count, rows, "", arguments.save, same=("case", "name"))
    return 0


def no_op(path: Path) -> None:
    """An artefact that gives everything one color, and asks for no preparation but resizing."""
    options = Options(equalize="none", blur="none")
    inputs, outputs = (
        helper.make_tensor_value_info(name, TensorProto.UINT8, ["N", channels, options.size, options.size])
        for name, channels in (("gray", 1), ("cbcr", 2))
    )
    color = numpy_helper.from_array(np.array(SEPIA, np.uint8).reshape(1, 2, 1, 1), "color")
    nodes = [helper.make_node("Sub", ["gray", "gray"], ["zero"]), helper.make_node("Add", ["zero", "color"], ["cbcr"])]
    graph = helper.make_graph(nodes, "chroma", [inputs], [outputs], [color])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", to_onnx.OPSET)], ir_version=to_onnx.IR)
    metadata = {"graph": "chroma", "precision": "fp32", "options": json.dumps(asdict(options))}
    path.write_bytes(to_onnx.finish(model, metadata))


def measure(folder: Path, case: str, names: Sequence[str], rounds: int) -> list[dict[str, Any]]:
    """A row for each name."""
    count = len(list((folder / case).iterdir()))
    timed = alternate_apart({name: partial(_case, name, folder, case) for name in names}, rounds, warm_up=1)
    rows = []
    for name, timing in timed.items():
        baseline = timed.get("pillow + torch" if name in NETWORK else "pillow no-op")
        row = {"case": case, "name": name, "images/s": count / timing.seconds, "ms": 1000 * timing.seconds / count}
        row["ratio"] = baseline.seconds / timing.seconds if baseline else None
        alone = timing.facts.get("cpu_seconds")
        row["of_bound"] = (
            count / timing.seconds * alone / processors.threads() if alone and not name.endswith("1") else None
        )
        rows.append(row | {"luma": timing.facts["luma"], "photographs": count})
    return rows


def _case(name: str, folder: Path, case: str) -> Case:
    source, target = folder / case, folder / f"{case} {name}"
    target.mkdir()
    run, alone = ROWS[name](folder, source, target)

    def facts() -> dict[str, Any]:
        told: dict[str, Any] = {"cpu_seconds": alone()}
        pairs = [(path, target / path.name) for path in sorted(source.iterdir())]
        told["luma"] = float(np.mean([_apart(*pair) for pair in pairs]))
        return told

    return Case(run, facts)


def _apart(one: Path, other: Path) -> float:
    ours, second = (simplejpeg.decode_jpeg(path.read_bytes(), "GRAY").astype(np.int16) for path in (one, other))
    return float(np.abs(ours - second[: len(ours), : ours.shape[1]]).mean())  # `limit` leaves odd sides padded


# --- what is timed -------------------------------------------------------------------------------------------------

Row = tuple[Callable[[], None], Callable[[], float | None]]  # once over the folder; CPU seconds of a photograph alone


def _pillow(network: bool, folder: Path, source: Path, target: Path) -> Row:
    if network:
        options = inference.stored_options(folder)
        graph = Chroma(inference.stored_generator(folder), options.space).eval()
    size = options.size if network else 256
    constant = np.broadcast_to(np.array(SEPIA, np.uint8)[:, None, None], (2, size, size))

    def run() -> None:
        for path in sorted(source.iterdir()):
            with Image.open(path) as image:
                luma = image.convert("L")
            seen = np.asarray(luma.resize((size, size), Image.Resampling.BILINEAR))
            cbcr = constant
            if network:
                with torch.no_grad():
                    cbcr = graph(torch.from_numpy(seen.copy())[None, None])[0].numpy()
            planes = [Image.fromarray(plane).resize(luma.size, Image.Resampling.BILINEAR) for plane in cbcr]
            Image.merge("YCbCr", [luma, *planes]).save(target / path.name, quality=QUALITY)

    return run, lambda: None


def _limit(folder: Path, source: Path, target: Path) -> Row:
    with Image.open(next(source.iterdir())) as image:
        chroma = [np.full((-(-image.height // 2), -(-image.width // 2)), level, np.uint8) for level in SEPIA]
    pool = ThreadPoolExecutor(processors.threads())

    def one(path: Path) -> None:
        luma = simplejpeg.decode_jpeg(path.read_bytes(), "GRAY")[..., 0]
        luma = np.pad(luma, [(0, side % 2) for side in luma.shape], "edge")  # it reads beyond the end of odd sides
        (target / path.name).write_bytes(simplejpeg.encode_jpeg_yuv_planes(luma, *chroma, QUALITY))

    return lambda: list(pool.map(one, sorted(source.iterdir()))).clear(), lambda: None


def _ours(model: str, threads: int | None, folder: Path, source: Path, target: Path, color: str = "recolor") -> Row:
    def go(colorizer: Colorizer) -> list:
        records = colorizer.folder(source, target, overwrite=True, quality=QUALITY, color=color)
        failed = [record.reason for record in records if record.status != "ok"]
        if failed:
            raise RuntimeError(f"{len(failed)} of {len(records)} failed: {failed[0]}")
        return records

    def alone() -> float:
        records = go(Colorizer(folder / f"{model}.onnx", "cpu", 1))
        return sum(sum(record.cpu_seconds.values()) for record in records) / len(records)

    colorizer = Colorizer(folder / f"{model}.onnx", "cpu", threads)
    return lambda: go(colorizer).clear(), alone


def _judged(folder: Path, source: Path, target: Path) -> Row:
    prints = source.with_name(f"{source.name} in sepia")
    prints.mkdir()
    for path in source.iterdir():
        pixels = np.asarray(Image.open(path).convert("YCbCr")).copy()
        pixels[..., 1:] = SEPIA
        Image.fromarray(pixels, "YCbCr").save(prints / path.name, quality=QUALITY)
    return _ours("no-op", None, folder, prints, target, "skip")


ROWS: dict[str, Callable[[Path, Path, Path], Row]] = {
    "pillow no-op": partial(_pillow, False),
    "limit": _limit,
    "no-op 1": partial(_ours, "no-op", 1),
    "no-op": partial(_ours, "no-op", None),
    "judged": _judged,
    "pillow + torch": partial(_pillow, True),
    "fp32": partial(_ours, "fp32", None),
    "int8": partial(_ours, "int8", None),
}
NETWORK = ("pillow + torch", "fp32", "int8")


# --- films ---------------------------------------------------------------------------------------------------------

FILMS = {"film limit": "", "film no-op": "no-op.onnx", "film": str(runtime.shipped())}  # and the model


def measure_film(folder: Path, names: Sequence[str], frames: int, rounds: int) -> list[dict[str, Any]]:
    """A row for each name: a pan over soft clouds with grain, `frames` long."""
    height, width = 480, 640
    still = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 255, (height, width + 2 * frames)), (0, 0), 4)
    still = np.interp(still, (90, 165), (16, 235)) + np.random.default_rng(1).normal(0, 2, still.shape)
    with av.open(str(folder / "film.mkv"), "w") as out:
        stream = out.add_stream("libx264", 25, {"crf": "17"}, width=width, height=height, pix_fmt="gray")
        for number in range(frames):
            luma = still[:, 2 * number : 2 * number + width].round().clip(16, 235).astype(np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(luma, "gray")))
        out.mux(stream.encode(None))
    timed = alternate_apart({name: partial(_film_case, name, folder) for name in names}, rounds, warm_up=1)
    limit = timed.get("film limit")
    return [
        {"case": f"film {width}x{height}", "name": name, "images/s": frames / timing.seconds}
        | {"ms": 1000 * timing.seconds / frames, "ratio": limit.seconds / timing.seconds if limit else None}
        | {"of_bound": None, "luma": timing.facts["luma"], "photographs": frames}
        for name, timing in timed.items()
    ]


def _film_case(name: str, folder: Path) -> Case:
    source, target = folder / "film.mkv", folder / f"out {name}.mkv"

    def again() -> None:
        told = film_source.look(source, 10**6)
        context = encoding.coding("h264", told, QUALITY)
        chroma = [np.full((told.height // 2, told.width // 2), level, np.uint8) for level in SEPIA]
        with av.open(str(target), "w") as out:
            stream: Any = out.add_stream("libx264", told.rate, context.options, time_base=told.time_base)
            encoding.configure(stream.codec_context, told, context, processors.threads())
            for one in film_source.frames(told, Counter()):
                frame = planes.frame(context.format, one.luma, *chroma)
                frame.pts, frame.time_base = one.at, told.time_base
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))

    def colored() -> None:
        record = colorizer.film(source, target, overwrite=True, quality=QUALITY, color="recolor")
        if record.status != "ok":
            raise RuntimeError(record.reason)

    def facts() -> dict[str, Any]:
        pairs = zip(*(film_source.frames(film_source.look(path, 10**6), Counter()) for path in (source, target)))
        return {"luma": float(np.mean([abs(ours.luma.astype(int) - other.luma).mean() for ours, other in pairs]))}

    if not FILMS[name]:
        return Case(again, facts)
    colorizer = Colorizer(folder / FILMS[name], "cpu")
    return Case(colored, facts)


if __name__ == "__main__":
    sys.exit(main())
