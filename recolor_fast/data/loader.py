"""The loader: an endless, resumable stream of batches (gray, rgb), uint8, on the training device.

What comes n-th, its crop, whether it is mirrored and what old film makes of it depend on the seed, the number of
photographs and n, and on nothing else: not on the backend, the cache, the batch before it or where the stream was
resumed. So the state of the loader is one number, photographs seen.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recolor_fast.data import dali, host
from recolor_fast.data.colorless import colorless
from recolor_fast.data.old_film import old_film
from recolor_fast.machine import bars
from recolor_fast.machine.errors import UserError
from recolor_fast.options import Data
from recolor_fast.photographs.preparation import Preparation

CHUNK = 16  # photographs decoded at a time where there is no batch


def batches(
    options: Data,
    batch: int,
    paths: Sequence[Path],
    device: torch.device | str,
    images: int = 0,
    backend: str = "host",
    cached: bool = False,
    places: np.ndarray | None = None,
) -> Generator[tuple[Tensor, Tensor]]:
    """Endless (gray (N,1,S,S), rgb (N,3,S,S)), uint8 0..255 on `device`, from the `images`-th photograph on.

    N is `batch`, or those at `places` in each batch, int (N,), alone; S `options.size`. The `backend` ("host", "dali")
    decodes each of `paths` when its turn comes or, if `cached`, once, to the device. Every epoch has each of them once,
    in an order of its own (see indices).
    With `options.load_size` each is a random square of the photograph decoded to that side, the same of gray and rgb;
    with `options.colorless` pictures without color take the place of a share of them; with `options.old_film` the gray
    of a share is on old film.
    Close it (`contextlib.closing`) when done: no thread and no pipeline stays behind. Where a file cannot be read or
    decoded, the next of `paths` that can takes its place, with a warning once. Raises UserError where none can.
    """
    device = torch.device(device)
    size, side = options.size, decoded_side(options)
    places = np.arange(batch) if places is None else places
    order = (of_all[places] for of_all in indices(options.seed, len(paths), batch, images))
    if cached:
        stream = _cached(*_load(options, paths, device, side, False, backend), order)
    else:
        stream = _decoded(options, paths, order, len(places), device, side, False, backend)
    flips = mirrored(options.seed, len(paths), batch, images)
    cuts = corners(options.seed, len(paths), batch, side - size, images)
    with closing(stream):
        for (gray, rgb), flip, cut in zip(stream, flips, cuts):
            if side > size:
                gray, rgb = crop(gray, cut[places], size), crop(rgb, cut[places], size)
            if options.flip:
                gray, rgb = mirror(gray, flip[places]), mirror(rgb, flip[places])
            if options.colorless:
                gray, rgb = colorless(gray, rgb, options.colorless, options.seed, images, places)
            if options.old_film:
                gray = old_film(gray, rgb, options.old_film, options.seed, images, places)
            images += batch
            yield gray, rgb


def load(
    preparation: Preparation,
    paths: Sequence[Path],
    device: torch.device | str = "cpu",
    strict: bool = True,
    backend: str = "host",
) -> tuple[Tensor, Tensor]:
    """All of `paths`, in order, whole and never mirrored: (gray (n,1,S,S), rgb (n,3,S,S)), uint8 0..255 on `device`.

    S is `preparation.size`. Progress is on stderr (bars.py). Raises UserError naming a file that
    cannot be decoded; not `strict`, others take the place of such files as in `batches`.
    """
    return _load(preparation, paths, torch.device(device), preparation.size, strict, backend)


def _load(
    preparation: Preparation, paths: Sequence[Path], device: torch.device, size: int, strict: bool, backend: str
) -> tuple[Tensor, Tensor]:
    """`load`, as squares of any `size`."""
    gray = torch.empty((len(paths), 1, size, size), dtype=torch.uint8, device=device)
    rgb = torch.empty((len(paths), 3, size, size), dtype=torch.uint8, device=device)
    chunks = [range(start, min(start + CHUNK, len(paths))) for start in range(0, len(paths), CHUNK)]
    bar = bars.bar(None, "decoding", len(paths))
    with bar, closing(_decoded(preparation, paths, chunks, CHUNK, device, size, strict, backend)) as stream:
        for chunk, (some_gray, some_rgb) in zip(chunks, stream):
            gray[chunk.start : chunk.stop] = some_gray
            rgb[chunk.start : chunk.stop] = some_rgb
            bar.update(len(chunk))
    return gray, rgb


def indices(seed: int, count: int, batch: int, images: int = 0) -> Iterator[np.ndarray]:
    """Endless integer arrays (batch,), 0..count-1: the permutations of all epochs end to end, from place `images` on.

    Epoch e is numpy's default_rng((seed, e)).permutation(count); batches run across the ends of epochs. Raises
    UserError without photographs.
    """
    return _slices(lambda epoch: np.random.default_rng((seed, epoch)).permutation(count), count, batch, images)


def mirrored(seed: int, count: int, batch: int, images: int = 0) -> Iterator[np.ndarray]:
    """Endless boolean arrays (batch,) beside those of `indices`: whether the photograph is mirrored this time."""
    return _slices(lambda epoch: np.random.default_rng((seed, epoch, 1)).random(count) < 0.5, count, batch, images)


def mirror(image: Tensor, flip: np.ndarray) -> Tensor:
    """(N,C,H,W) with the images chosen by `flip`, boolean (N,), mirrored left to right."""
    return torch.where(on_device(torch.from_numpy(flip), image.device)[:, None, None, None], image.flip(-1), image)


def corners(seed: int, count: int, batch: int, spare: int, images: int = 0) -> Iterator[np.ndarray]:
    """Endless integer arrays (batch,2) beside those of `indices`: top and left of the crop, uniform in 0..spare."""
    return _slices(
        lambda epoch: np.random.default_rng((seed, epoch, 2)).integers(0, spare + 1, (count, 2)), count, batch, images
    )


def crop(image: Tensor, corners: np.ndarray, size: int) -> Tensor:
    """(N,C,size,size): the square of each image of (N,C,H,W) whose top and left are its row of `corners`, int (N,2)."""
    # The corners stay on the host: views and one copy, where indexing by a tensor would have to bring them over.
    squares = [one[:, top : top + size, left : left + size] for one, (top, left) in zip(image, corners.tolist())]
    return torch.stack(squares)


def decoded_side(options: Data) -> int:
    """Side of the squares that are decoded to train on, pixels."""
    return options.load_size or options.size


def _slices(values: Callable[[int], np.ndarray], count: int, batch: int, images: int) -> Iterator[np.ndarray]:
    """The arrays (count,...) of all epochs end to end, cut into arrays (batch,...), from place `images` on."""
    if count < 1:
        raise UserError("no photographs to draw batches from: expected 1 or more")

    def endless() -> Iterator[np.ndarray]:
        epoch, start = divmod(images, count)
        rest = values(epoch)[start:]
        while True:
            while len(rest) < batch:
                epoch += 1
                rest = np.concatenate((rest, values(epoch)))
            yield rest[:batch]
            rest = rest[batch:]

    return endless()


def _cached(gray: Tensor, rgb: Tensor, order: Iterable[np.ndarray]) -> Generator[tuple[Tensor, Tensor]]:
    for index in order:
        chosen = on_device(torch.from_numpy(index), gray.device)
        yield gray[chosen], rgb[chosen]


def _decoded(
    preparation: Preparation,
    paths: Sequence[Path],
    chunks: Iterable[Sequence[int] | np.ndarray],
    batch: int,
    device: torch.device,
    size: int,
    strict: bool,
    backend: str,
) -> Generator[tuple[Tensor, Tensor]]:
    """Each chunk of `batch` or fewer positions in `paths`, on the device, as squares of `size`."""
    if backend == "dali":
        stream = dali.stream(paths, chunks, preparation, batch, size, _device_id(device), strict=strict)
    else:
        stream = host.stream(paths, chunks, preparation, batch, size, strict)
    with closing(stream):
        for gray, rgb in stream:
            yield on_device(gray, device), on_device(rgb, device)


def _device_id(device: torch.device) -> int | None:
    if device.type != "cuda":
        return None
    return torch.cuda.current_device() if device.index is None else device.index


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device; from pinned memory, as a plain copy to a GPU waits for all work queued there."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
