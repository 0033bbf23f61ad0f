"""Time to load one photograph as a pair of 256x256 tensors, gray and color: python bench/loader.py [--quick].

Every row is one thread, and the same operators in the same order: decode, Rec. 601 gray, and in every second case
equalize and blur of gray, then resize. Rows:

paper        Pillow and torchvision, in the way of the Padova paper's notebook: PIL decodes, ToTensor makes floats, and
             Grayscale, gaussian_blur (5, 0.7) and resize (bilinear, antialiased) work on float tensors. The notebook's
             own order and its PIL equalize are other operators (up to 38 levels away) and would time different work, so
             equalize is OpenCV's here, as in all rows. It is quicker than PIL's, which favors this row.
torchvision  torchvision.io decodes, and its transforms work on uint8 tensors; equalize is OpenCV's. Its gray is cut off
             where the others round, which equalizing enlarges to several levels.
host         recolor_fast.data.host: libjpeg-turbo, OpenCV, torchvision's uint8 resize.
dali-cpu     recolor_fast.data.dali on the processor: the graph that runs on a GPU.
dali-gpu     the same on the GPU, where there is one; DALI's one thread is on the processor.
cache        a batch of 16 taken from tensors decoded once.
decode       libjpeg-turbo alone, at full scale and without any operator: what no loader that decodes whole goes below.

The photographs of 12 megapixels are upscaled with a sensor's noise added, which makes files as large as a camera's. Our
loaders decode them at 1/4 (images.reduction); DALI cannot, and gets the pixels.

`ratio` is the paper row's ms over the row's own, of the same case: more than 1 is faster than the paper's way.
`max_levels` and `mean_levels` are the differences, in levels of 255 and but for a frame of 1 pixel, to the operators of
`host` on the whole photograph, so at 12 megapixels they show what scaling costs.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only bench/ itself is there
from bench.arguments import Loader as Arguments
from bench.arguments import parse

if __name__ == "__main__":
    parse(Arguments)  # --help and wrong options end here, before what takes seconds is imported


import io
import tempfile
from collections.abc import Callable, Iterator
from itertools import cycle

import cv2
import numpy as np
import simplejpeg
import torch
from PIL import Image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms.v2 import functional

from bench.common import alternate, report
from recolor_fast.data import dali, host, index, loader, sources
from recolor_fast.machine import starting
from recolor_fast.machine.environment import device_name
from recolor_fast.options import Data
from recolor_fast.photographs import images
from recolor_fast.photographs.preparation import Preparation

CASES = {
    "plain": Preparation(equalize="none", blur="none"),
    "equalize+blur": Preparation(equalize="source", blur="source"),
}
NOISE = 4.0  # standard deviation, levels of 255: 4000x3000 at quality 90 is then 2.6 MB
BATCH = 16  # photographs taken from the cache at a time
Pair = tuple[Tensor, Tensor]


@starting.verb()
def main(argv: list[str]) -> int:
    """Parse the command line, time every row of every case, and report."""
    arguments = parse(Arguments, argv)
    count = arguments.count or (8 if arguments.quick else 32)
    runs = arguments.runs or (3 if arguments.quick else 9)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        if arguments.photographs:
            split = sources.photographs(Data(data=str(arguments.photographs)))
            paths = index.usable([*split.train, *split.val][:count], progress=False)[0]
            sets = [("", paths, runs)]
        else:
            few = max(1, count // 8)
            paths = make_photographs(Path(folder, "small"), count, 500, 375)
            large = make_photographs(Path(folder, "large"), few, 4000, 3000, NOISE)
            sets = [(" 500x375", paths, runs), (" 4000x3000", large, max(1, runs // 3))]
        for size, some, times in sets:
            for case, options in CASES.items():
                rows += measure(case + size, options, some, times)
    turns = " and ".join(str(times) for _, _, times in sets)
    note = f"medians of {turns} runs in turn; ratio = ms of paper / ms (more than 1: faster)"
    gpu = torch.cuda.is_available()
    report("loader", device_name(torch.device("cuda" if gpu else "cpu")), len(paths), rows, note, arguments.save)
    return 0


def make_photographs(folder: Path, count: int, width: int, height: int, noise: float = 0.0) -> list[Path]:
    """`count` JPEGs of width x height, quality 90, 4:2:0: the sample photographs of scikit-image, again and again.

    `noise`: standard deviation of what is added to each value, levels of 255.
    """
    folder.mkdir()
    paths = []
    for number, path in zip(range(count), cycle(sources.sample())):
        pixels = images.resize(images.read_rgb(path.read_bytes()), height, width)
        if noise:
            grain = np.random.default_rng(number).normal(0, noise, pixels.shape)
            pixels = np.clip(pixels + grain, 0, 255).round().astype(np.uint8)
        paths.append(folder / f"{number:03d}.jpg")
        Image.fromarray(pixels).save(paths[-1], quality=90)
    return paths


def measure(case: str, options: Preparation, paths: list[Path], runs: int) -> list[dict[str, object]]:
    """The rows of one case: what each way gives is compared with `whole_host`, then all are timed in turn."""
    gray, rgb = loader.load(options, paths)
    ways: dict[str, Callable[[], Pair]] = {
        "paper": lambda: stack([paper(path, options) for path in paths]),
        "torchvision": lambda: stack([torchvision_uint8(path, options) for path in paths]),
        "host": lambda: stack([host.decode(path, options.size, options.equalize, options.blur) for path in paths]),
    }
    if dali.available():
        ways["dali-cpu"] = whole(endless_dali(options, paths, None))
        if torch.cuda.is_available():
            ways["dali-gpu"] = whole(endless_dali(options, paths, 0))
    ways["cache"] = lambda: cached(gray, rgb)
    expected = stack([whole_host(path, options) for path in paths])
    levels = {name: difference(way(), expected) for name, way in ways.items()}
    timed = {name: discard(way) for name, way in ways.items()} | {"decode": lambda: decode(paths)}
    seconds = alternate(timed, runs)
    return [
        {
            "case": case,
            "name": name,
            "ms": 1e3 * seconds[name] / len(paths),
            "images_per_s": len(paths) / seconds[name],
            "ratio": seconds["paper"] / seconds[name],
            **(dict(zip(("max_levels", "mean_levels"), levels[name])) if name in levels else {}),
            "photographs": len(paths),
        }
        for name in timed
    ]


def paper(path: Path, options: Preparation) -> Pair:
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


def torchvision_uint8(path: Path, options: Preparation) -> Pair:
    """A file as uint8 (gray (1,S,S), rgb (3,S,S)), by torchvision alone but for equalizing."""
    rgb = decode_jpeg(torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8), ImageReadMode.RGB)
    gray = functional.rgb_to_grayscale(rgb)
    if options.equalize != "none":
        gray = torch.from_numpy(cv2.equalizeHist(gray[0].numpy()))[None]
    if options.blur != "none":
        gray = functional.gaussian_blur(gray, [5, 5], [0.7, 0.7])
    size = [options.size, options.size]
    return functional.resize(gray, size, antialias=True), functional.resize(rgb, size, antialias=True)


def whole_host(path: Path, options: Preparation) -> Pair:
    """What the host would make of the photograph decoded whole."""
    return host.square(images.read_rgb(path.read_bytes()), options.size, options.equalize, options.blur)


def decode(paths: list[Path]) -> None:
    for path in paths:
        simplejpeg.decode_jpeg(path.read_bytes(), "RGB")


def endless_dali(options: Preparation, paths: list[Path], device_id: int | None) -> Iterator[Pair]:
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


def difference(pair: Pair, expected: Pair) -> tuple[int, float]:
    """Largest and mean difference in levels of 255, but for the frame; floats 0..1 are rounded to levels first."""
    apart = []
    for image, other in zip(pair, expected):
        levels = (image * 255).round() if image.is_floating_point() else image
        both = (one.cpu().numpy().astype(np.int16)[..., 1:-1, 1:-1] for one in (levels, other))
        apart.append(np.abs(np.subtract(*both)).ravel())
    all_apart = np.concatenate(apart)
    return int(all_apart.max()), float(all_apart.mean())


if __name__ == "__main__":
    sys.exit(main())
