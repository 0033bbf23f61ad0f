"""What export/to_tensorrt.py takes."""

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import tyro

from recolor_fast.arguments import foreign
from recolor_fast.arguments.texts import explained
from recolor_fast.machine import starting


@dataclass(frozen=True)
class Arguments:
    """Build a TensorRT engine from an artefact for this machine's GPU, prove it against onnxruntime, and time it."""

    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE.onnx")]
    """Artefact, an .onnx file of to_onnx.py, of graph chroma. Its precision is the engine's."""
    batch: Annotated[tuple[int, int, int] | None, tyro.conf.arg(metavar="INT INT INT")] = None
    """Least, usual and largest batch; none set: 1 8 32."""
    workspace: int = 0
    """MiB of GPU memory that building may take for scratch; 0: all there is."""
    out: Path | None = None
    """File to write; none set: beside the artefact, with .engine for .onnx."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace an engine that exists."""
    photographs: int = 16
    """Photographs the engine is proven on."""
    data: str = "sample"
    """Photographs to prove it on, as train's --data."""


def parse(argv: list[str] | None = None) -> Arguments:
    """The command line, or `argv`, as arguments. SystemExit for --help and for words it does not take."""
    foreign.check(sys.argv[1:] if argv is None else argv, [field.name for field in fields(Arguments)], foreign.EXPORT)
    return tyro.cli(explained(Arguments), args=argv, prog=starting.usage("python export/to_tensorrt.py"))
