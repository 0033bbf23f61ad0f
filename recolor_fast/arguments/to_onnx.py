"""What export/to_onnx.py takes."""

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import tyro

from recolor_fast.arguments import foreign
from recolor_fast.arguments.texts import explained
from recolor_fast.machine import starting


@dataclass(frozen=True)
class Arguments:
    """Export the newest or the best checkpoint of a run as an ONNX artefact, and prove that it equals torch."""

    run: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[RUN]")] = None
    """Run folder, as train printed it, or a .safetensors file of to_safetensors.py; none: the newest under runs/."""
    best: tyro.conf.FlagCreatePairsOff[bool] = False
    """Export the checkpoint with the lowest ab error in validation.csv, not the newest."""
    graph: Literal["chroma", "image", "hints"] = "chroma"
    """chroma: gray uint8 (N,1,S,S), prepared as the metadata's options say -> CbCr uint8 (N,2,S,S), for the folder tool
    and TensorRT. image: RGB uint8 (N,H,W,3) of any size -> colored RGB uint8 (N,H,W,3), for any app. hints: as chroma,
    with colors at some places, float32 (N,3,S,S): a, b, mask; of a run with --hints."""
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    """Of the network; color arithmetic stays float32. int8: for processors; static, calibrated on photographs."""
    saturation: float = 1.0
    """Factor of the colors' strength, 0 (gray) to 4, part of the artefact from then on."""
    calibrate: str = ""
    """Photographs int8 is calibrated on, as train's --data; none set: those the run was trained on."""
    calibration_photographs: int = 64
    """How many of them."""
    out: Path | None = None
    """File to write; none set: <name>-<graph>-<precision>.onnx in the run folder, or beside the .safetensors file, with
    -saturation-<S> before the suffix where that is not 1."""
    triton: Path | None = None
    """Folder, made where it is missing: a model repository of Triton Inference Server. The artefact is written there
    alone, with its config.pbtxt, as a model of the name that the file would have; never over one that is there."""
    photographs: int = 16
    """Validation photographs the artefact is proven on."""
    data: str = ""
    """Photographs to prove it on, as train's --data; none set: the run's own."""
    compare: tyro.conf.FlagCreatePairsOff[bool] = False
    """Export nothing; print a table of all artefacts in that folder: size, speed, difference, quality."""


def parse(argv: list[str] | None = None) -> Arguments:
    """The command line, or `argv`, as arguments. SystemExit for --help and for words it does not take."""
    foreign.check(sys.argv[1:] if argv is None else argv, [field.name for field in fields(Arguments)], foreign.EXPORT)
    return tyro.cli(explained(Arguments), args=argv, prog=starting.usage("python export/to_onnx.py"))
