"""The colorizers of a server, by name, and what they are given, in batches."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recolor_fast.artefact import runtime
from recolor_fast.artefact.hints import Hint, draw
from recolor_fast.coloring.coloring import count
from recolor_fast.machine.errors import UserError
from recolor_fast.photographs import images

SHIPPED = "recolor_fast"  # the name of the colorizer that comes with the package
BATCH = {True: 8, False: 4}  # photographs a model is given at a time, at most: on a GPU, on a CPU


class Model(NamedTuple):
    """A colorizer, by the name that users choose it by."""

    plain: runtime.Artefact
    following: runtime.Artefact | None
    """The one that follows hints; None where there is none."""

    @property
    def hints(self) -> bool:
        """Whether it follows hints."""
        return self.following is not None

    @property
    def size(self) -> int:
        """Pixels of a side of its chroma."""
        return self.plain.options.size


class Seen(NamedTuple):
    """What a model is given."""

    artefact: runtime.Artefact
    source: np.ndarray
    """uint8 (S,S)."""
    planes: np.ndarray | None
    """Hints, float32 (3,S,S)."""


def models(
    paths: Sequence[Path] = (), provider: runtime.Provider = "auto", threads: int | None = None
) -> dict[str, Model]:
    """The models of these .onnx files by their names without suffix; without any, the one that comes with the package.

    UserError for two of one name and for graphs that give no chroma; raises what runtime.load raises.
    """
    processors = count(threads)
    if not paths:
        plain, following = (runtime.load(runtime.shipped(graph), provider, processors) for graph in ("chroma", "hints"))
        return {SHIPPED: Model(plain, following)}
    found: dict[str, Model] = {}
    for path in paths:
        artefact = runtime.load(path, provider, processors)
        if artefact.graph == "image":
            raise UserError(f"model {path}: its graph image gives no chroma; export it with --graph chroma or hints")
        if artefact.name in found:
            raise UserError(f"model {path}: the name {artefact.name} is taken by another one; rename one of the files")
        found[artefact.name] = Model(artefact, artefact if artefact.graph == "hints" else None)
    return found


def see(model: Model, gray: np.ndarray, hints: Sequence[Hint] = (), border: images.Border | None = None) -> Seen:
    """What a model is given of uint8 luminance (H,W). ValueError for hints outside, or of a model without them."""
    artefact = model.following if hints else model.plain
    if artefact is None:
        raise ValueError(f"hints with model {model.plain.name}: it follows none; choose another one")
    size = artefact.options.size
    planes = draw(hints, gray.shape[1], gray.shape[0], size) if hints else None
    return Seen(artefact, images.source(gray, artefact.options, border), planes)


def predicted(artefact: runtime.Artefact, batch: Sequence[Seen]) -> list[np.ndarray | Exception]:
    """Chroma, uint8 (2,S,S), of each, or why there is none. One that fails leaves the others."""
    planes = None
    if artefact.graph == "hints":
        nothing = np.zeros((3, *batch[0].source.shape), np.float32)
        planes = np.stack([nothing if seen.planes is None else seen.planes for seen in batch])
    try:
        return [*artefact.run(np.stack([seen.source[None] for seen in batch]), planes)]
    except Exception as error:  # no memory for so many, say
        return [error] if len(batch) == 1 else [predicted(artefact, [seen])[0] for seen in batch]


def most(artefact: runtime.Artefact) -> int:
    """Photographs that a model is given at a time."""
    return BATCH[artefact.provider in runtime.GPUS]
