"""Artefacts as a page in a browser takes them: their files, and their metadata, which a browser cannot read."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recolor_fast.artefact import runtime
from recolor_fast.artefact.signatures import BadArtefact
from recolor_fast.machine.errors import UserError

SHIPPED = "colorizer"  # what visitors call the model of the package
GRAPHS = ("chroma", "hints")
STEP = 8  # of the pixels of `probe` whose chroma a graphics card has to paint as well


def rows(paths: Iterable[Path]) -> Iterator[tuple[dict[str, Any], dict[str, bytes]]]:
    """For each model its row of site.json, and its files by their paths in the site. Raises BadArtefact and UserError.

    Of the package's own, which there is without `paths`, what paints without hints is a file of its own.
    """
    given = [*paths]
    if not given:
        yield _row(SHIPPED, [runtime.shipped(graph) for graph in GRAPHS])
    names = [path.stem for path in given]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"model {twice}: given twice; visitors choose by the files' names, so give them different ones")
    for path in given:
        yield _row(path.stem, [path])


def _row(name: str, paths: list[Path]) -> tuple[dict[str, Any], dict[str, bytes]]:
    loaded = {path: runtime.load(path, "cpu", 1) for path in paths}
    for path, artefact in loaded.items():
        if artefact.graph not in GRAPHS:
            raise BadArtefact(f"{path}: its graph is {artefact.graph}; export it with --graph hints, or chroma")
    tables = [artefact.metadata["palette"] for artefact in loaded.values() if "palette" in artefact.metadata]
    graphs: dict[str, dict[str, Any]] = {
        artefact.graph: {
            "path": f"models/{artefact.sha256}.onnx",
            "graph": artefact.graph,
            "name": artefact.name,
            "sha256": artefact.sha256,
            "precision": artefact.precision,
            "probe": [] if artefact.precision == "int8" else painted(artefact),
        }
        for artefact in loaded.values()
    }
    files = {str(graphs[artefact.graph]["path"]): path.read_bytes() for path, artefact in loaded.items()}
    palette = json.loads(tables[0]) if tables else None
    options = vars(next(iter(loaded.values())).options)
    return {"name": name, **options, "palette": palette, "graphs": graphs}, files


def painted(artefact: runtime.Artefact) -> list[int]:
    """What a model paints of `probe`, of every STEP-th pixel: Cb, then Cr."""
    return artefact.run(probe(artefact.options.size)[None, None])[0, :, ::STEP, ::STEP].ravel().tolist()


def probe(size: int) -> np.ndarray:
    """A gray uint8 (size,size) that page/browser/model.js makes as well: it changes slowly here and quickly there."""
    y, x = np.mgrid[:size, :size]
    return (((x * x + 3 * y * y + x * y) >> 7) & 255).astype(np.uint8)
