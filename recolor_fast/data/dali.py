"""Decoding by NVIDIA DALI, on a GPU or, the same graph, on the processor. DALI itself may be absent.

The bytes are fed from Python: the order, resuming and what to do about bad files stay ours, and the same for both
backends. Only plain JPEG reaches DALI's decoders as it is; anything else is decoded here and handed over as PNM, since
DALI lacks formats, scales 16 bits differently and has crashed on truncated files. So are JPEGs far larger than the
squares they become: DALI cannot decode at a fraction of the sides.

A file that is missing, cut or holds something else by the time it is read is found out here. Rot in a JPEG's coded
data is not: DALI makes some pixels of it, where the host backend may refuse the file and take another.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib import import_module
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recolor_fast.data import shards
from recolor_fast.data.index import in_order, naming, reader, warn
from recolor_fast.machine import extras, processors
from recolor_fast.machine.errors import UserError
from recolor_fast.photographs import images, jpeg_headers
from recolor_fast.photographs.preparation import Preparation

# OpenCV's Rec. 601 gray in whole 1/32768, and its rounding (half up: exact halves get a little more; DALI rounds halves
# to even). All products and sums are exact in float32, so gray is OpenCV's to the bit on every device: equalizing
# would make several levels of one.
GRAY = [9798 / 32768, 19235 / 32768, 3735 / 32768]
HALF_UP = 2.0**-16


def available() -> bool:
    """Whether DALI is installed."""
    return find_spec("nvidia") is not None and find_spec("nvidia.dali") is not None


def encoded(path: Path, size: int, decoded: bool = False) -> np.ndarray:
    """A file's bytes as DALI gets them, uint8 (n,): a plain JPEG's own, any other image's as binary PPM.

    JPEGs so large that a square of `size` pixels needs but a fraction of their sides (images.reduction) come as PPM
    too, and all with `decoded`. Raises Unusable (a ValueError) naming a file that cannot be read.
    """
    with naming(path):
        data = shards.read(path)
        header = None if decoded else jpeg_headers.plain(data)
        if header is None or images.reduction(header.width, header.height, size) > 1:
            rgb = images.read_rgb(data, size)
            data = b"P6 %d %d 255\n" % (rgb.shape[1], rgb.shape[0]) + rgb.tobytes()
    return np.frombuffer(data, np.uint8)


def stream(
    paths: Sequence[Path],
    chunks: Iterable[Sequence[int] | np.ndarray],
    preparation: Preparation,
    batch: int,
    size: int,
    device_id: int | None = None,
    workers: int | None = None,
    ahead: int = 2,
    strict: bool = True,
) -> Generator[tuple[Tensor, Tensor]]:
    """(gray (n,1,S,S), rgb (n,3,S,S)), uint8, for each chunk of n <= `batch` positions in `paths`, in order.

    S is `size`, whatever the `preparation` says. On the GPU `device_id`, or on the CPU without one, by `workers`
    threads (all processors). `chunks` may be endless. At most `ahead` batches are held as files and as many are under
    way in DALI, however long nobody asks; 1 works only while it is asked. The tensors are copies.
    Closing the generator ends the pipeline.

    `strict`: raises Unusable for a file that cannot be read; otherwise another takes its place (index.reader). A batch
    that DALI cannot decode is decoded without it, with a warning; the pipeline, of no use after that, is built again
    and continues from there. Raises UserError where DALI fails even so, or is not installed.
    """
    require()
    rest = iter(chunks)
    fed: deque[Sequence[int] | np.ndarray] = deque()  # chunks asked for and not handed over yet
    refused: set[int] = set()  # positions of batches that DALI could not decode

    def asked(again: Iterable[Sequence[int] | np.ndarray]) -> Iterator[Sequence[int] | np.ndarray]:
        for chunk in chain(again, rest):
            fed.append(chunk)
            yield chunk

    one = reader(lambda path, decoded: encoded(path, size, decoded), paths, strict)
    # File by file over all processors: those that DALI would decode whole are decoded here, milliseconds each.
    pool = ThreadPoolExecutor(processors.threads(), thread_name_prefix="recolor_fast-data")

    def read(chunk: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        return [*pool.map(lambda i: one(i, i in refused), map(int, chunk))]

    def run() -> Generator[tuple[Tensor, Tensor]]:
        """What one pipeline makes of the chunks."""
        again, pipe = [*fed], None
        fed.clear()
        with closing(in_order(read, asked(again), ahead)) as batches:
            try:
                pipe = _pipeline(batches, preparation, batch, size, device_id, workers or processors.threads(), ahead)
                while True:
                    try:
                        gray, rgb = pipe.run()
                    except StopIteration:
                        return
                    fed.popleft()
                    pair = copied(gray, rgb, device_id)
                    del gray, rgb  # DALI's; whoever asks keeps the copies alone
                    yield pair
            finally:
                del pipe

    with pool:
        while True:
            try:
                yield from run()
                return
            except RuntimeError as error:
                failed = next((chunk for chunk in fed if not refused.issuperset(chunk)), None)
                if failed is None:
                    names = ", ".join(str(paths[i]) for chunk in islice(fed, 1) for i in chunk)
                    raise UserError(f"DALI failed on a batch of {names}; use --loader host: {error}") from error
                refused.update(map(int, failed))
                warn(f"DALI cannot decode a batch of {len(failed)} photographs: it is decoded without DALI")


def require() -> None:
    """Raise UserError, saying what to do, where DALI is not installed."""
    if not available():
        raise UserError(
            f"loader dali: NVIDIA DALI is not installed; use --loader host, or on x86-64 Linux {extras.advice('train')}"
        )


def copied(gray: Any, rgb: Any, device_id: int | None) -> tuple[Tensor, Tensor]:
    """A batch of DALI's in torch's own memory.

    On a GPU, DALI takes its memory back for a later batch as soon as nobody holds it on the host, whatever is queued
    there to read it: so the copies are made on a stream of their own, and waited for.
    """
    if device_id is None:
        return torch.from_dlpack(gray.as_tensor()).clone(), torch.from_dlpack(rgb.as_tensor()).clone()
    stream = torch.cuda.Stream(device_id)
    with torch.cuda.stream(stream):
        pair = torch.from_dlpack(gray.as_tensor()).clone(), torch.from_dlpack(rgb.as_tensor()).clone()
    stream.synchronize()
    for tensor in pair:  # whoever reads them does so on this one
        tensor.record_stream(torch.cuda.current_stream(device_id))
    return pair


def _pipeline(
    batches: Iterator[list[np.ndarray]],
    preparation: Preparation,
    batch: int,
    size: int,
    device_id: int | None,
    workers: int,
    ahead: int,
) -> Any:
    """The graph: decode, gray, equalize, blur, resize, channels first. Outputs gray, rgb."""
    module = import_module("nvidia.dali")
    fn, types = module.fn, module.types
    # The default, dynamic executor: with the other one, tensors handed out are overwritten by later batches.
    pipe = module.Pipeline(batch, workers, device_id, prefetch_queue_depth=ahead, exec_dynamic=True)
    with pipe:
        data = fn.external_source(source=batches, dtype=types.UINT8, ndim=1, batch=True)
        rgb = fn.decoders.image(
            data,
            device="cpu" if device_id is None else "mixed",
            output_type=types.RGB,
            jpeg_fancy_upsampling=True,  # nvJPEG's default repeats chroma pixels; libjpeg-turbo interpolates
            hw_decoder_load=0.0,  # the JPEG engine of some GPUs would get part of a batch: pixels would depend on it
        )
        gray = fn.coord_transform(rgb, M=GRAY, T=[HALF_UP], dtype=types.UINT8)
        settings: tuple[tuple[str, Any], ...] = (
            (preparation.equalize, fn.equalize),
            (preparation.blur, lambda image: fn.gaussian_blur(image, window_size=5, sigma=0.7)),
        )
        for value, function in settings:
            gray = gray if value == "none" else function(gray)
            rgb = function(rgb) if value == "both" else rgb
        small = [fn.resize(image, size=[size, size], interp_type=types.INTERP_LINEAR) for image in (gray, rgb)]
        pipe.set_outputs(*(fn.transpose(image, perm=[2, 0, 1]) for image in small))
    pipe.build()
    return pipe
