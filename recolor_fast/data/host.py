"""Decoding on the processor: libjpeg-turbo, OpenCV and torch's uint8 resize, by threads (they drop the GIL).

Faster than DALI's CPU backend, which does the same: bench/loader.py, rows in bench/results.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from recolor_fast.data import shards
from recolor_fast.data.index import in_order, naming, reader
from recolor_fast.machine import processors
from recolor_fast.photographs import images
from recolor_fast.photographs.preparation import Preparation


def decode(path: Path, size: int, equalize: str, blur: str) -> tuple[Tensor, Tensor]:
    """A file as (gray (1,size,size), rgb (3,size,size)), uint8: equalized, then blurred, then resized to the square.

    A picture far larger than `size` comes at a fraction of its sides (images.read_rgb), and is equalized and blurred
    there. `equalize` and `blur`: "none", "source" (gray only) or "both". Safe to call from several threads. Raises
    Unusable (a ValueError) naming a file that cannot be read.
    """
    with naming(path):
        rgb = images.read_rgb(shards.read(path), size)
    return square(rgb, size, equalize, blur)


def square(rgb: np.ndarray, size: int, equalize: str, blur: str) -> tuple[Tensor, Tensor]:
    """What `decode` makes of pixels, uint8 (H,W,3). Gray is their Rec. 601."""
    gray = images.gray(rgb)
    for value, function in ((equalize, images.equalize), (blur, images.blur)):
        gray = gray if value == "none" else function(gray)
        rgb = function(rgb) if value == "both" else rgb
    # All four planes at once, interleaved: torch has a vectorized path for 4 uint8 channels in this layout, four times
    # as fast as planes, which the result is then split into.
    stacked = cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA)
    stacked[..., 3] = gray
    planes = np.empty((4, size, size), np.uint8)
    cv2.split(_resized(stacked, size), list(planes))
    return torch.from_numpy(planes[3:]), torch.from_numpy(planes[:3])


def _resized(image: np.ndarray, size: int) -> np.ndarray:
    """Interleaved uint8 (H,W,C) as a square: bilinear, antialiased; what torchvision's resize asks torch for."""
    if image.shape[:2] == (size, size):
        return image
    whole = torch.from_numpy(image)[None].permute(0, 3, 1, 2)
    small = functional.interpolate(whole, (size, size), mode="bilinear", align_corners=False, antialias=True)
    return small[0].permute(1, 2, 0).numpy()


def stream(
    paths: Sequence[Path],
    chunks: Iterable[Sequence[int] | np.ndarray],
    preparation: Preparation,
    batch: int,
    size: int,
    strict: bool = True,
) -> Generator[tuple[Tensor, Tensor]]:
    """(gray (n,1,S,S), rgb (n,3,S,S)), uint8 on the CPU, for each chunk of n <= `batch` positions in `paths`, in order.

    S is `size`, whatever the `preparation` says. `chunks` may be endless. Nothing is decoded before the first batch is
    asked for; from then on at most 2 * batch + 2 * processors photographs are held that were not handed over,
    4 * S^2 bytes each, however long nobody asks. A photograph at the size it is decoded at (images.reduction) is held
    only while it is worked on, one a processor. Closing the generator ends its threads.
    `strict`: raises Unusable for a file that cannot be read; otherwise another takes its place (index.reader).
    """
    cv2.setNumThreads(1)  # one photograph a thread: OpenCV's own threads would only get in each other's way
    lengths: deque[int] = deque()

    def asked() -> Iterator[int]:
        for chunk in chunks:
            lengths.append(len(chunk))
            yield from map(int, chunk)

    one = reader(lambda path: decode(path, size, preparation.equalize, preparation.blur), paths, strict)

    with closing(in_order(one, asked(), 2 * batch + 2 * processors.threads())) as decoded:
        for first in decoded:
            pairs = [first, *islice(decoded, lengths.popleft() - 1)]
            gray, rgb = zip(*pairs)
            yield torch.stack(gray), torch.stack(rgb)
