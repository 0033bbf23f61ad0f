"""Time to load one photograph as a pair of 256x256 tensors, gray and color: python bench/loader.py [--quick].

Every row is one thread, and the same operators in the same order: decode, Rec. 601 gray, and in the second case
equalize and blur of gray, then resize. Rows:

paper     Pillow and torchvision, in the way of the Padova paper's notebook: PIL decodes, ToTensor makes floats, and
          Grayscale, gaussian_blur (5, 0.7) and resize (bilinear, antialiased) work on float tensors. The notebook's own
          order and its PIL equalize are other operators (up to 38 levels away) and would time different work, so
          equalize is OpenCV's here, as in all rows. It is quicker than PIL's, which favors this row.
host      recolor_fast.data.host: libjpeg-turbo, OpenCV, torchvision's uint8 resize.
dali-cpu  recolor_fast.data.dali on the processor: the graph that runs on a GPU.
dali-gpu  the same on the GPU, where there is one; DALI's one thread is on the processor.
cache     a batch of 16 taken from tensors decoded once.

`ratio` is the paper row's ms over the row's own, of the same case: more than 1 is faster than the paper's way.
`max_levels` is the largest difference to `host` in levels of 255, but for a frame of 1 pixel.
"""

import argparse
import io
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only bench/ itself is there
from bench.common import alternate, report
from recolor_fast import images
from recolor_fast.data import dali, host, index, loader, sources
from recolor_fast.environment import device_name
from recolor_fast.options import Options

CASES = {
    "plain": Options(equalize="none", blur="none"),
    "equalize+blur": Options(equalize="source", blur="source"),
}
BATCH = 16  # photographs taken from the cache at a time
Pair = tuple[Tensor, Tensor]


def main() -> None:
    """Parse the command line, time every row of every case, and report."""
    parser = argparse.ArgumentParser(description="Milliseconds per photograph of every way to load it.")
    parser.add_argument("--quick", action="store_true", help="8 photographs and 3 runs, to see that it works")
    parser.add_argument("--photographs", type=Path, help="folder of photographs; none: a sample at 500x375, made here")
    parser.add_argument("--count", type=int, help="photographs of a run (32)")
    parser.add_argument("--runs", type=int, help="timed runs of each row (9)")
    parser.add_argument("--save", action="store_true", help="write the rows to bench/results")
    arguments = parser.parse_args()
    count = arguments.count or (8 if arguments.quick else 32)
    runs = arguments.runs or (3 if arguments.quick else 9)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.photographs:
            found = sources.photographs(Options(data=str(arguments.photographs)))
            paths, size = index.usable([*found.train, *found.val][:count], progress=False)[0], ""
        else:
            paths, size = make_photographs(Path(folder), count), " 500x375"
        rows = [row for case, options in CASES.items() for row in measure(case + size, options, paths, runs)]
    note = f"{len(paths)} photographs, medians of {runs} runs in turn; ratio = ms of paper / ms (more than 1: faster)"
    gpu = torch.cuda.is_available()
    report("loader", device_name(torch.device("cuda" if gpu else "cpu")), len(paths), rows, note, arguments.save)


def make_photographs(folder: Path, count: int) -> list[Path]:
    """`count` JPEGs of 500x375, quality 90, 4:2:0: the sample photographs of scikit-image, again and again."""
    paths = []
    for number, path in zip(range(count), cycle(sources.sample())):
        pixels = images.resize(images.read_rgb(path.read_bytes()), 375, 500)
        paths.append(folder / f"{number:03d}.jpg")
        Image.fromarray(pixels).save(paths[-1], quality=90)
    return paths


def measure(case: str, options: Options, paths: list[Path], runs: int) -> list[dict[str, object]]:
    """The rows of one case: what each way gives is compared with `host`, then all are timed in turn."""
    options = replace(options, loader="host", cache="off")
    gray, rgb = loader.load(options, paths)
    ways: dict[str, Callable[[], Pair]] = {
        "paper": lambda: stack([paper(path, options) for path in paths]),
        "host": lambda: stack([host.decode(path, options.size, options.equalize, options.blur) for path in paths]),
    }
    if dali.available():
        ways["dali-cpu"] = whole(endless_dali(options, paths, None))
        if torch.cuda.is_available():
            ways["dali-gpu"] = whole(endless_dali(options, paths, 0))
    ways["cache"] = lambda: cached(gray, rgb)
    levels = {name: difference(way(), (gray, rgb)) for name, way in ways.items()}
    seconds = alternate({name: discard(way) for name, way in ways.items()}, runs)
    return [
        {
            "case": case,
            "name": name,
            "ms": 1e3 * seconds[name] / len(paths),
            "images_per_s": len(paths) / seconds[name],
            "ratio": seconds["paper"] / seconds[name],
            "max_levels": levels[name],
        }
        for name in ways
    ]


def paper(path: Path, options: Options) -> Pair:
    """A file as float (gray (1,S,S), rgb (3,S,S)), 0..1, by Pillow and torchvision on float tensors."""
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        rgb = functional.pil_to_tensor(image.convert("RGB")).float() / 255  # what ToTensor does
    gray = functional.rgb_to_grayscale(rgb)
    if options.equalize != "none":
        levels = (gray[0] * 255).round().to(torch.uint8).numpy()
        gray = torch.from_numpy(cv2.equalizeHist(levels))[None].float() / 255
    if options.blur != "none":
        gray = functional.gaussian_blur(gray, [5, 5], [0.7, 0.7])
    size = [options.size, options.size]
    return functional.resize(gray, size, antialias=True), functional.resize(rgb, size, antialias=True)


def endless_dali(options: Options, paths: list[Path], device_id: int | None) -> Iterator[Pair]:
    """All photographs as one batch, again and again; nothing is begun before it is asked for (`ahead=1`)."""
    everything = cycle([range(len(paths))])
    return dali.stream(paths, everything, options, len(paths), options.size, device_id, workers=1, ahead=1)


def whole(stream: Iterator[Pair]) -> Callable[[], Pair]:
    """The next batch of a stream, waiting for the GPU it may be on."""

    def way() -> Pair:
        gray, rgb = next(stream)
        if gray.is_cuda:
            torch.cuda.synchronize()
        return gray, rgb

    return way


def cached(gray: Tensor, rgb: Tensor) -> Pair:
    """All photographs in batches of 16, as the loader takes them from its cache."""
    parts = [torch.arange(start, min(start + BATCH, len(gray))) for start in range(0, len(gray), BATCH)]
    return tuple(torch.cat([image[part] for part in parts]) for image in (gray, rgb))  # type: ignore[return-value]


def stack(pairs: list[Pair]) -> Pair:
    gray, rgb = zip(*pairs)
    return torch.stack(gray), torch.stack(rgb)


def discard(way: Callable[[], Pair]) -> Callable[[], None]:
    def case() -> None:
        way()

    return case


def difference(pair: Pair, host_pair: Pair) -> int:
    """Largest difference in levels of 255, but for the frame; floats 0..1 are rounded to levels first."""
    worst = 0
    for image, expected in zip(pair, host_pair):
        levels = (image * 255).round() if image.is_floating_point() else image
        apart = levels.cpu().numpy().astype(np.int16) - expected.numpy().astype(np.int16)
        worst = max(worst, int(np.abs(apart[..., 1:-1, 1:-1]).max()))
    return worst


if __name__ == "__main__":
    main()
