"""What each record script takes on its command line. Importing this imports no torch and no OpenCV."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from recolor_fast.machine.files import SHIPPED

DOCS = Path(__file__).resolve().parents[2] / "docs"


@dataclass(frozen=True)
class OldFilmSheet:
    """Draw the examples of old film."""

    out: Path = DOCS / "old-film.jpg"
    """The sheet, a JPEG."""
    seed: int = 0
    """Seed of the run."""


@dataclass(frozen=True)
class Perceptual:
    """Measure how lpips_mini ranks beside larger networks, and what it costs."""

    quick: bool = False
    """3 photographs at 64 pixels, 3 runs: does it run?"""
    photographs: tuple[Path, ...] = ()
    """Folders of JPEGs not trained on."""
    squeezenet: Path | None = None
    """State_dict of torchvision's squeezenet1_1."""
    vgg19: Path | None = None
    """State_dict of torchvision's vgg19, at least up to features.16."""
    weights: str = ""
    """Another file of lpips_mini than the shipped one."""
    count: int | None = None
    """Photographs of each folder, evenly chosen; none: 50."""
    size: int | None = None
    """Their size, pixels; none: 128."""
    runs: int | None = None
    """Timed runs of each network; none: 25."""
    save: bool = False
    """Write the rows to bench/results."""


@dataclass(frozen=True)
class ReadmePicture:
    """Make the picture of the README."""

    out: Path = DOCS / "colored.jpg"
    """The picture, a JPEG."""


@dataclass(frozen=True)
class TrainLpipsMini:
    """Train lpips_mini from random numbers."""

    data: Path
    """Folder of photographs (JPEGs, in any folders below)."""
    squeezenet: Path
    """State_dict of torchvision's squeezenet1_1."""
    vgg19: Path
    """State_dict of torchvision's vgg19, at least up to features.16."""
    out: Path
    """The .safetensors file to write."""
    steps: int = 2400
    """Updates."""
    pairs: int = 24
    """Photographs of an update."""
    vgg_pairs: int = 4
    """As many of them are shown to VGG19, which is slow."""
    crop: int = 64
    """Side of a crop, pixels; it is cut from the photograph at this size up to the whole, and reduced."""
    learning_rate: float = 2e-3
    """AdamW's at its highest; it rises over a twentieth of the steps and falls along a cosine to 0."""
    seed: int = 0
    """Seed of weights, crops and distortions."""
    log_every: int = 50
    """Updates between lines."""


@dataclass(frozen=True)
class TrainShipped:
    """Train the shipped colorizer and write its artefacts."""

    shards: Path
    """Folder of tar shards of photographs, keys SOURCE-NUMBER; 1,000 of them choose the saturation."""
    more: tuple[Path, ...] = ()
    """Folders of further photographs to train on."""
    photographs: Path = Path("runs/shipped-photographs")
    """Folder that they are unpacked to, as train and val."""
    out: Path = SHIPPED
    """Folder that the artefacts are written to, replacing those in it."""
    runs: Path = Path("runs")
    """Folder of the run folders, one a stage."""
    least: float = 0.7
    """Colorfulness of the photographs held out is made at least this share of the truth's."""
    stages: tuple[str, ...] = ("shipped-128", "shipped-hints")
    """Stages to go through, the last of which is shipped. One that is left out is what was shipped before: the next
    starts from it."""
    until: Literal["train", "export"] = "export"
    """Where to stop: after training, or once all is written."""
    scale: float = 1.0
    """Train on so many times the photographs of the recipe; other than 1 to try something out."""
    flags: str = ""
    """More flags of train, for all stages, as one string; to try something out."""
