"""What evaluate takes."""

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
    """Measure colorizers on the same photographs and draw the papers' tables and figures."""

    systems: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[NAME=]SYSTEM...", help_behavior_hint="")
    ] = ()
    """Run folders, exported .onnx and .safetensors files, folders of colored photographs (named as the photographs
    are), and shipped: the colorizer that comes with recolor_fast (./shipped is a folder of that name)."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("evaluation")
    """Folder to write to, made where missing."""
    data: str = "auto"
    """Photographs: auto, imagenette, sample, a folder or shards (.tar); of one with train and val, the val part."""
    val_per_class: int | None = None
    """Photographs per class, the ones that training with this number and --seed validates on; none set: all of them."""
    limit: int | None = None
    """At most so many photographs, evenly over the classes; none set: all of them."""
    seed: int = 0
    """Seed of the choice of photographs and of the bootstrap."""
    size: int = 256
    """Side of the square that every photograph is resized to before anything else, pixels."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to compute on; auto: cuda where it works, else cpu."""
    lpips_weights: Path | None = None
    """State_dict of the LPIPS backbone: an AlexNet (lpips) or a SqueezeNet 1.1 (lpips_style_squeeze)."""
    classifier_weights: Path | None = None
    """State_dict of the classifier, torchvision's squeezenet1_1 (top1)."""
    inception_weights: Path | None = None
    """State_dict of torch-fidelity's Inception v3 (fid)."""
    shown: int = 6
    """Photographs in the side-by-side figure."""
    strict: tyro.conf.FlagCreatePairsOff[bool] = False
    """End with an error where a file cannot be read, before anything is measured; otherwise that photograph is left out
    for every system, and named."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write into a folder that holds something already."""


def parse(argv: list[str] | None = None) -> Arguments:
    """The command line, or `argv`, as arguments. SystemExit for --help and for words it does not take."""
    foreign.check(sys.argv[1:] if argv is None else argv, [field.name for field in fields(Arguments)], foreign.EVALUATE)
    return tyro.cli(explained(Arguments), args=argv, prog=starting.usage("python -m recolor_fast.evaluate"))
