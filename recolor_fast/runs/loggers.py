"""Where a training's numbers and samples go besides its own files: TensorBoard, Trackio, Weights & Biases, MLflow.

The names, and what each is given, are those of accelerate's trackers. Its classes are not used: they ask a state of
accelerate's own which rank this is, and that sets up processes that are set up already. A library is imported once it
is asked for, and each writes below the run's folder unless its own environment variables say otherwise.
"""

import os
import shlex
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from recolor_fast.machine import extras
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import write_text
from recolor_fast.options import Command, Log, to_json

PROJECT = "recolor-fast"  # what the runs are kept under, where there are such things


class Logger(Protocol):
    """One of them, at work for a run. All it is asked comes from one thread."""

    where: str
    """Where people see what it keeps: an address, or what to type. Empty where nothing need be said."""

    def scalars(self, values: dict[str, float], images: int) -> None:
        """Numbers by name, after so many photographs."""

    def picture(self, path: Path, images: int) -> None:
        """A sheet of samples, a PNG file."""

    def close(self) -> None:
        """Nothing more comes."""


class TensorBoard:
    """Events in the run folder itself: `tensorboard --logdir runs` has a run's name then."""

    where = ""

    def __init__(self, folder: Path, options: Command, begun: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # What an earlier session logged past its last checkpoint comes again.
        self.writer = SummaryWriter(str(folder), purge_step=begun + 1 if begun else 0)
        lines = to_json(options).splitlines()
        self.writer.add_text("options", "\n".join(f"    {line}" for line in lines), begun)

    def scalars(self, values: dict[str, float], images: int) -> None:
        self._add([{"tag": name, "simple_value": value} for name, value in values.items()], images)
        self.writer.flush()

    def picture(self, path: Path, images: int) -> None:
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        with Image.open(path) as opened:
            width, height = opened.size
        image = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=path.read_bytes())
        self._add([{"tag": "samples", "image": image}], images)

    def _add(self, values: list[dict[str, Any]], images: int) -> None:
        """A row as one event, a sheet as it is: add_scalar and add_image would hold Python's lock for much longer."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        self.writer._get_file_writer().add_summary(Summary(value=[Summary.Value(**value) for value in values]), images)

    def close(self) -> None:
        self.writer.close()


class Trackio:
    """Its database in the folder trackio of the run's, unless $TRACKIO_DIR says where."""

    def __init__(self, folder: Path, options: Command, begun: int) -> None:
        place = os.environ.setdefault("TRACKIO_DIR", str(folder.resolve() / "trackio"))  # read on import
        _writable(Path(place), "TRACKIO_DIR")  # of which it says nothing itself
        import trackio

        self.image = trackio.Image
        # On a machine that trains its own measurements of it would come every few seconds.
        own = {"auto_log_gpu": False, "auto_log_cpu": False, "embed": False}
        how = "allow" if begun else "never"
        self.run = trackio.init(PROJECT, folder.name, config=asdict(options), resume=how, **own)
        self.where = f"TRACKIO_DIR={shlex.quote(place)} trackio show --project {PROJECT}"

    def scalars(self, values: dict[str, float], images: int) -> None:
        self.run.log(values, step=images)

    def picture(self, path: Path, images: int) -> None:
        self.run.log({"samples": self.image(path)}, step=images)

    def close(self) -> None:
        self.run.finish()


class WandB:
    """Its folder wandb in the run's; offline where nobody has logged in, unless $WANDB_MODE says how."""

    def __init__(self, folder: Path, options: Command, begun: int) -> None:
        import wandb

        self.image = wandb.Image
        settings = wandb.Settings(console="off")
        if hasattr(settings, "x_stats_pid"):
            settings.x_stats_pid = os.getppid()  # the training, whose processor time and memory it measures
        known = "WANDB_MODE" in os.environ or wandb.login(prompt=False)
        self.run = wandb.init(
            project=PROJECT,
            name=folder.name,
            id=_kept(folder / "wandb.id", begun) or _keep(folder / "wandb.id", uuid.uuid4().hex[:16]),
            dir=str(folder),
            resume="allow",
            config=asdict(options),
            mode=None if known else "offline",
            settings=settings,
        )
        self.where = self.run.url or f"offline; wandb sync {shlex.quote(str(Path(self.run.dir).parent))}"
        self.run.define_metric("*", step_metric="images")  # its own steps never go back, as a resumed training does

    def scalars(self, values: dict[str, float], images: int) -> None:
        self.run.log({**values, "images": images})

    def picture(self, path: Path, images: int) -> None:
        self.run.log({"samples": self.image(str(path)), "images": images})

    def close(self) -> None:
        self.run.finish()


class MLflow:
    """Its database mlflow.db and its folder mlflow in the run's, unless $MLFLOW_TRACKING_URI says where."""

    def __init__(self, folder: Path, options: Command, begun: int) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        self.metric: Callable[..., Any] = Metric
        own = None if "MLFLOW_TRACKING_URI" in os.environ else f"sqlite:///{folder.resolve() / 'mlflow.db'}"
        self.where = f"mlflow ui --backend-store-uri {shlex.quote(own)}" if own else os.environ["MLFLOW_TRACKING_URI"]
        self.client = MlflowClient(own)
        self.id = _kept(folder / "mlflow.id", begun)
        if self.id:
            self.client.update_run(self.id, status="RUNNING")
            return
        found = self.client.get_experiment_by_name(PROJECT)
        place = (folder.resolve() / "mlflow").as_uri() if own else None
        experiment = found.experiment_id if found else self.client.create_experiment(PROJECT, place)
        self.id = _keep(folder / "mlflow.id", self.client.create_run(experiment, run_name=folder.name).info.run_id)
        params = [Param(name, str(value)) for name, value in asdict(options).items()]
        self.client.log_batch(self.id, params=params)

    def scalars(self, values: dict[str, float], images: int) -> None:
        now = int(time.time() * 1000)
        self.client.log_batch(self.id, [self.metric(name, value, now, images) for name, value in values.items()])

    def picture(self, path: Path, images: int) -> None:
        self.client.log_artifact(self.id, str(path), "samples")

    def close(self) -> None:
        self.client.set_terminated(self.id)


def _writable(folder: Path, variable: str) -> None:
    """Make a folder where there is none. UserError where it cannot be made or nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        advice = f"let ${variable} be a folder that can be written"
        raise UserError(f"{folder}: {error.strerror or error}; {advice}") from error


def _kept(path: Path, begun: int) -> str:
    """What a run is called there, if this session goes on with it."""
    return path.read_text().strip() if begun and path.is_file() else ""


def _keep(path: Path, name: str) -> str:
    write_text(path, f"{name}\n")
    return name


class Library(NamedTuple):
    modules: tuple[str, ...]
    """It works with all of these alone."""
    start: Callable[[Path, Command, int], Logger]
    """Of a run folder, its options and the photographs seen when this session took it up."""
    extra: str = ""
    """The extra of this package that brings it; else it is installed by its own name."""
    apart: bool = False
    """In a process of its own (beside.py): it takes seconds to import, prints, or can be told once a process where to
    write."""
    also: str = ""
    """What to type after it was installed by its own name."""


LIBRARIES = {
    "tensorboard": Library(("tensorboard",), TensorBoard, "train"),
    # It asks for a Pillow whose decoders have faults (SECURITY.md), and works with a later one.
    "trackio": Library(("trackio",), Trackio, apart=True, also=" && pip install 'pillow>=13'"),
    "wandb": Library(("wandb",), WandB, apart=True),
    "mlflow": Library(("mlflow", "sqlalchemy"), MLflow, apart=True),
}


def missing(name: str) -> str:
    """Why one of LIBRARIES cannot be used and what to do, in one sentence; empty where it is installed."""
    library = LIBRARIES[name]
    absent = [module for module in library.modules if not find_spec(module)]
    install = extras.advice(library.extra) if library.extra else f"pip install {name}{library.also}"
    return f"{', '.join(absent)} is not installed; {install}" if absent else ""


def decided(log: Sequence[Log]) -> tuple[Log, ...]:
    """The option `log` with "auto" decided: tensorboard where it is installed, else none, which is said.

    UserError for a library that is not installed.
    """
    if tuple(log) == ("auto",):
        if not (reason := missing("tensorboard")):
            return ("tensorboard",)
        print(f"no events are written for TensorBoard: {reason}, or give --log none", file=sys.stderr)
        return ("none",)
    for name in log:
        if name != "none" and (reason := missing(name)):
            raise UserError(f"log {name}: {reason}, or leave it out of --log")
    return tuple(log)
