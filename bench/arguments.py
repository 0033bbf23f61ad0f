"""What each benchmark takes on its command line. Importing this imports no torch and no OpenCV."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import tyro

from recolor_fast.arguments.texts import explained
from recolor_fast.presets import DEFAULT

Kind = TypeVar("Kind")
Folders = Annotated[tuple[Path, ...], tyro.conf.Positional]


def parse(kind: type[Kind], argv: list[str] | None = None) -> Kind:
    """The options of a script (None: of this process's command line); --help and wrong ones end it, as tyro does."""
    return tyro.cli(explained(kind), args=argv, config=(tyro.conf.FlagCreatePairsOff,))


@dataclass(frozen=True)
class Calm:
    """Measure what a colorizer paints where there is nothing to color."""

    model: Path | None = None
    """An exported .onnx; none: the colorizer that comes with the package."""
    saturation: float = 1.0
    """Strength of the colors."""


@dataclass(frozen=True)
class Colors:
    """Score a colorizer's colors on folders of color photographs."""

    folders: Folders = ()
    """Folders of color photographs, each with all below it."""
    model: Path | None = None
    """An exported .onnx; none: the colorizer that comes with the package."""
    faces: tuple[Path, ...] = ()
    """Folders of photographs with a face in the middle third of each side."""
    saturation: float = 1.0
    """Strength of the colors."""
    against: tuple[str, ...] = ()
    """With report: other models, NAME=FILE.onnx each."""
    report: Path | None = None
    """Markdown file to write the tables to."""


@dataclass(frozen=True)
class Flicker:
    """Measure how much a film's colors flicker."""

    sources: Folders
    """Films in color, and folders of color photographs to make films of."""
    model: Path | None = None
    """An exported .onnx; none: the colorizer that comes with the package."""
    frames: int = 250
    """Most frames of a film."""
    photographs: int = 8
    """Of each folder, evenly picked."""
    save: bool = False
    """Write the rows to bench/results."""


@dataclass(frozen=True)
class Folder:
    """Time a folder to a colored folder, against Pillow, torch and the bare codec."""

    run: Path | None = None
    """Run whose generator is used; none: U-Net 256 of random weights."""
    count: int = 128
    """Photographs; an eighth as many of 12 megapixels."""
    runs: int = 5
    """Timed rounds."""
    rows: tuple[str, ...] = ()
    """Rows to time, by name; none given: all."""
    quick: bool = False
    """Few photographs and a small generator: does it run?"""
    save: bool = False
    """Write the rows to bench/results."""


@dataclass(frozen=True)
class Formats:
    """Hold how files of any kind are read against a second decoder."""

    folders: Folders
    """Folders of image files, whatever they are called."""
    refused: bool = False
    """List what is refused, too."""


@dataclass(frozen=True)
class Gpu:
    """Test and measure a CUDA device."""

    seconds: float = 280.0
    """For all of it; what does not fit is left out."""
    out: Path = Path("gpu")
    """Folder for tables, rows, log and pictures."""
    device: Literal["cuda", "cpu"] = "cuda"
    """cpu: does the script work?"""
    size: int = 256
    """Pixels."""
    width: int = 64
    """Filters of the first layers."""
    batch: tuple[int, ...] = (1, 64)
    """Photographs per iteration."""
    data: str = "sample"
    """Photographs of the training."""
    images: int = 640
    """Photographs the training sees."""
    only: tuple[str, ...] = ()
    """Parts whose name has one of these words in it; none given: all."""
    part: str = ""
    """One part alone, its rows as JSON: what this script starts for each."""


@dataclass(frozen=True)
class Hints:
    """Score how a model follows colors given at some places."""

    folders: Folders
    """Folders of color photographs, each with all below it."""
    model: Path | None = None
    """An exported .onnx of graph hints; none: the one that comes with the package."""
    automatic: Path | None = None
    """An exported .onnx that follows no hints, for a row to compare with; none: the one that comes with the package."""
    limit: int = 200
    """Photographs of each folder, evenly picked."""
    points: tuple[int, ...] = (0, 1, 5, 10, 50)
    """Numbers of places."""


@dataclass(frozen=True)
class Inference:
    """Time a generator in torch, onnxruntime and OpenVINO."""

    run: Path | None = None
    """Run whose generator is timed; none: U-Net 256 of random weights."""
    data: str = "sample"
    """Photographs the rows are compared on, as train's --data."""
    photographs: int = 5
    """How many of them."""
    batch: tuple[int, ...] = (1, 8)
    """Photographs at a time."""
    threads: tuple[int, ...] = ()
    """Processor threads; none given: 1, and all."""
    runs: int = 15
    """Timed rounds."""
    rows: tuple[str, ...] = ()
    """Rows to time, by name; none given: all that can run here."""
    quick: bool = False
    """A small generator and few rounds: does it run?"""
    save: bool = False
    """Write the rows to bench/results."""


@dataclass(frozen=True)
class Loader:
    """Time every way to load a photograph."""

    quick: bool = False
    """8 photographs and 3 runs: does it run?"""
    photographs: Path | None = None
    """Folder of photographs; none: samples of both sizes, made here."""
    count: int | None = None
    """Photographs of a run; none: 32. An eighth as many of 12 megapixels."""
    runs: int | None = None
    """Timed runs of each row; none: 9. A third as many with 12 megapixels."""
    save: bool = False
    """Write the rows to bench/results."""


@dataclass(frozen=True)
class Shards:
    """Time the loader from a folder and from shards made of it."""

    photographs: Path | None = None
    """Folder of photographs; none: samples of 500x375, made here."""
    count: int = 500
    """Photographs of a run, at most."""
    shard_size: int = 20
    """MB of a shard."""
    runs: int = 7
    """Timed runs of each row."""
    save: bool = False
    """Write the rows to bench/results."""


@dataclass(frozen=True)
class Machine:
    """Measure what `recolor-fast benchmark` measures, for the table of known machines."""

    seconds: float = 10.0
    """How long each part is measured, seconds."""
    quick: bool = False
    """Small networks: does it run?"""
    save: bool = False
    """Write the rows to bench/results, and the table that comes with the package."""


@dataclass(frozen=True)
class Quality:
    """Train presets in the paper's way and in ours, and compare losses and validation."""

    data: str = "sample"
    """Folder of photographs, imagenette, or the sample."""
    per_class: int | None = None
    """Photographs of each class to train on; none: all."""
    val_per_class: int | None = None
    """Photographs of each class to validate on; none: as train has it."""
    preset: tuple[str, ...] = ("wgan-gp", "pix2pix")
    """Systems of the papers to train."""
    seeds: int = 3
    """Trainings of each row, 2 or more."""
    images: int = 1000
    """Length of a training, photographs seen."""
    size: int = 64
    """Pixels."""
    width: int = 16
    """Filters of the first layers."""
    batch: int = 4
    """Photographs per step at most; a preset with fewer keeps its."""
    lpips_weights: str = ""
    """File with the LPIPS backbone's state_dict."""
    feature_weights: str = ""
    """The same for the loss networks of features-*."""
    threads: int | None = None
    """Processor threads; none: all."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to train on."""
    quick: bool = False
    """Width 8, 16 photographs, 2 seeds: does it run?"""
    save: bool = False
    """Write the rows to bench/results."""


@dataclass(frozen=True)
class Reproduce:
    """Train every preset at a small scale, evaluate all, and write the tables and figures."""

    data: str = "imagenette"
    """Photographs, as train's --data: Imagenette, or a class tree with train and val."""
    out: Path = Path("runs/papers")
    """Folder of the runs and the evaluation."""
    weights: Path | None = None
    """Folder with stand-in loss networks (STAND_INS); without it, torchvision's own are loaded."""
    size: int = 64
    """Side of the square, pixels."""
    width: int = 32
    """Filters of the first layer."""
    images: int = 1000
    """Photographs seen by each system."""
    batch: int = 4
    """Photographs per step at most; presets with fewer keep theirs."""
    photographs: int = 150
    """Validation photographs to evaluate on."""
    only: tuple[str, ...] = ()
    """Presets to train and evaluate; none given: all."""
    jobs: int = 1
    """Systems trained at once, each with its share of the processors."""
    full: Literal["none", "padova", "tarres"] = "none"
    """The papers' own scale instead: every preset of that paper as it stands, with --amp, on --data."""
    sweep: Literal["none", "lpips"] = "none"
    """One system at several weights of a loss term instead: lpips, Padova's final system (bench/sweep.py)."""
    dry_run: bool = False
    """Print the commands and stop."""


@dataclass(frozen=True)
class TrainStep:
    """Time a training iteration, in the paper's way and in ours."""

    preset: tuple[str, ...] = (DEFAULT, "pix2pix")
    """Systems of the papers to time; all: every one."""
    size: int = 256
    """Pixels."""
    width: int = 64
    """Filters of the first layers."""
    batch: tuple[int, ...] = (1,)
    """Photographs per iteration."""
    iterations: int = 1
    """Iterations of a timed run."""
    runs: int = 9
    """Timed runs of each row."""
    threads: int | None = None
    """Processor threads; none: all."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to time."""
    waterfall: bool = False
    """Also the steps from the paper's way to ours, and parts."""
    at_once: int = 12
    """Rows that take turns, 2 or more; each waits in memory (2.6 GB at 256 pixels)."""
    critic: bool = False
    """Also the critic's update alone: the penalty by double-backward and fused by hand, side by side in a row."""
    peer: Path | None = None
    """Checkout of junyanz/pytorch-CycleGAN-and-pix2pix, timed beside ours."""
    quick: bool = False
    """64 pixels (with peer: 128), width 8, 2 runs: does it run?"""
    save: bool = False
    """Write the rows to bench/results."""


@dataclass(frozen=True)
class Watching:
    """Measure what loggers and results.png cost a training."""

    size: int = 256
    """Pixels of the photographs in the sample sheet."""
    photographs_per_s: float = 125.0
    """Of the training that they stand beside: an H200's at batch 1, which sees the most of them."""
    log: Literal["tensorboard", "trackio", "wandb", "mlflow"] = "tensorboard"
    """The logger; those that have a process of their own also have a row of it."""
    rounds: int = 3
    """Rounds of 1,000 photographs with them, and as many without, in turns."""
    save: bool = False
    """Add the rows to bench/results."""


@dataclass(frozen=True)
class Restore:
    """Score colors of faded photographs with and without --restore."""

    folders: Folders
    """Folders of color photographs, each with all below it."""
    model: Path | None = None
    """An exported .onnx; none: the colorizer that comes with the package."""
    limit: int = 200
    """Photographs of each folder, evenly picked."""


@dataclass(frozen=True)
class Scaling:
    """Time 1 and 2 ranks, and say what 8 to 1,024 GPUs would do by published figures."""

    preset: str = DEFAULT
    """System of the papers to time."""
    size: int = 256
    """Pixels."""
    width: int = 64
    """Filters of the first layers."""
    batch: int = 2
    """Photographs per iteration and rank."""
    iterations: int = 5
    """Timed iterations, after two that are not."""
    images_per_s: float = 543.1
    """Of the model: photographs a second of one GPU; the default is an H200's at 64 photographs per iteration, not
    compiled (bench/results/gpu-b64-nvidia-h200-pt2.11.0.csv)."""
    model_batch: int = 64
    """Of the model: photographs per iteration and GPU."""
    plot: Path | None = None
    """File to draw the model to."""
    quick: bool = False
    """64 pixels, width 4, 2 iterations: does it run?"""
    save: bool = False
    """Write the rows to bench/results."""
    told: Path | None = None
    """(Of the processes that this starts) file to write to what was measured."""


@dataclass(frozen=True)
class Growth:
    """How time and memory grow with batch, size, width and the number of photographs."""

    quick: bool = False
    """Small networks and few rows: minutes become seconds."""
    runs: int = 3
    """Iterations of each row."""
    most: int = 32
    """The largest batch."""
    photographs: int = 100_000
    """The largest number of files to list and look at, a power of ten."""
    folder: int = 10_000
    """The largest number of files to color, a power of ten."""
    cases: tuple[Literal["batch", "size", "width", "photographs", "no-op", "colored"], ...] = ()
    """What to measure; none given: all."""
    plot: Path | None = None
    """Also draw it, as a PNG or SVG file."""
    save: bool = False
    """Keep the rows in bench/results."""


@dataclass(frozen=True)
class Large:
    """Seconds and memory of coloring large photographs."""

    sizes: tuple[Literal["12 megapixels", "100 megapixels"], ...] = ()
    """What to color; none given: both."""
    runs: int = 1
    """Times that each row is measured, in turns."""
    quick: bool = False
    """1 and 4 megapixels instead: does it run?"""
    save: bool = False
    """Write the rows to bench/results."""
