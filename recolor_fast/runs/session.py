"""A training at work in its run folder: what it resumes from, and what it checks, shows and writes on its way."""

import copy
import json
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recolor_fast.data import index, listed, loader
from recolor_fast.data.chosen import Photographs
from recolor_fast.machine.background import Background, copied
from recolor_fast.machine.environment import environment, peak_memory
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import legible, write_text
from recolor_fast.machine.signals import Signals
from recolor_fast.options import Command, to_json
from recolor_fast.runs import checkpoint, csv_rows, outlook, run_folder, validation
from recolor_fast.runs.console import Console
from recolor_fast.runs.progress import SAVED, Clock, Progress
from recolor_fast.runs.signs import Signs
from recolor_fast.runs.watch import Watch
from recolor_fast.step.iteration import Step, learning_rate


def resume(step: Step, options: Command, folder: Path, photographs: Photographs, progress: Progress) -> None:
    """Fill step and progress from the newest checkpoint of a run folder, if it has one. UserError if it is unlike."""
    if not checkpoint.list_checkpoints(folder / "checkpoints"):
        return
    path, state = checkpoint.newest(folder / "checkpoints", step.device)
    try:
        before = json.loads(state["options"])["data"]  # they may lie elsewhere now: their names below it count
        train, val = (listed.moved(paths, options.data, before) for paths in (photographs.train, photographs.val))
        if state["files"] != listed.digest(train, val):
            changed = listed.changes(folder, train, val) or f"{path.name} is of others"
            if options.changed_files == "refuse":
                raise UserError(
                    f"{folder} was trained on other photographs: {changed}; put them back as they were, or "
                    "continue with these by --changed-files accept"
                )
            print(f"warning: continuing with other photographs: {changed}", file=sys.stderr)
        step.load_state_dict(state["step"])
        for name in SAVED:
            setattr(progress, name, state[name])
        progress.begun = progress.images
    except torch.OutOfMemoryError:
        raise
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{path}: not a checkpoint of this version of recolor_fast ({error})") from error
    print(f"resuming {folder} from {path.name}: {progress.images} photographs seen", file=sys.stderr)


def describe(folder: Path, options: Command, photographs: Photographs, seen: int, command: str) -> None:
    """Write what a run folder says of its training: its options, environment and unusable files.

    Options that changed after so many photographs `seen` are noted, and the `command` in environment.json.
    """
    run_folder.note_changes(folder, options, seen)
    write_text(folder / "options.json", to_json(options) + "\n")
    told = environment(torch.device(options.device)) | {"command": command}
    write_text(folder / "environment.json", json.dumps(told, indent=2) + "\n")
    lines = [f"{legible(path)}: {reason}\n" for path, reason in photographs.unusable.items()]
    (folder / "unusable.txt").unlink(missing_ok=True)
    if lines:
        write_text(folder / "unusable.txt", "".join(lines))
        index.warn(f"{outlook.left_out(photographs.unusable)}, see {folder / 'unusable.txt'}")


EARLY = 100  # photographs after which one sees whether anything comes out


class Course:
    """A training as each of its ranks follows it: an iteration, then it counts, checks, and waits for the first one.

    What that one shows and writes is in Session.
    """

    def __init__(
        self, step: Step, options: Command, photographs: Photographs, progress: Progress, signals: Signals
    ) -> None:
        """Take it up where the first rank does: step and progress are filled from its own."""
        self.step, self.options, self.photographs = step, options, photographs
        self.progress, self.signals, self.ranks = progress, signals, step.ranks
        self.ranks.broadcast(step.tensors())
        progress.images = progress.begun = self.ranks.told(progress.images)
        self.on_cpu = step.device.type == "cpu"
        self.background = Background()
        self.parts: dict[str, Tensor] = {}
        self.rate = 0.0
        self.clock = Clock(0.0)

    def batches(self) -> Generator[tuple[Tensor, Tensor]]:
        """The endless (gray, rgb) to train on, this rank's of each batch, from where the training is taken up.

        Close it when done.
        """
        options, train, begun = self.options, self.photographs.train, self.progress.begun
        cached, places = options.cache == "on", self.ranks.places(options.batch, options.micro_batch)
        return loader.batches(options, options.batch, train, self.step.device, begun, options.loader, cached, places)

    @property
    def done(self) -> bool:
        """Whether as many photographs are seen as the options ask for."""
        return self.progress.images >= self.options.images

    def crossed(self, every: int) -> bool:
        """Whether the last iteration saw the photograph that completes another `every`."""
        seen = self.progress.images
        return seen // every > max(seen - self.options.batch, 0) // every

    @property
    def early(self) -> bool:
        """Whether a first look is due: nothing is trained yet, or EARLY photographs are."""
        return not self.progress.images or (self.progress.images <= EARLY + self.options.batch and self.crossed(EARLY))

    def iterate(self, gray: Tensor, rgb: Tensor) -> None:
        """Train on a batch. Nothing waits for the device."""
        if self.ranks.count > 1:
            self.ranks.asked = self.signals.asked
        self.parts = self.step(gray, rgb, self.progress.images)
        self.rate = learning_rate(self.options, self.progress.images)
        self.progress.add(self.parts, len(gray) * self.ranks.count)
        self.clock.add(len(gray) * self.ranks.count)

    def check(self) -> None:
        """FloatingPointError, naming the photographs, once too many iterations in a row were not finite.

        Progress then goes back to where the step came to rest. Waits for the device.
        """
        options, progress, paths = self.options, self.progress, self.photographs.train
        beyond = int(self.step.streak) - options.skip_nonfinite
        if beyond <= 0:
            return
        progress.take_back(beyond * options.batch)
        names = [name for name, part in self.parts.items() if beyond == 1 and not part.isfinite()]
        at, chosen = progress.images, next(loader.indices(options.seed, len(paths), options.batch, progress.images))
        raise FloatingPointError(
            f"{', '.join(names) or 'a loss or gradient'} not finite in the iteration after {at} photographs, on "
            f"{', '.join(str(paths[place]) for place in chosen)}; it was not applied"
        )

    def heed(self) -> None:
        """Stopped on all ranks, where one of them was asked to stop. Waits for the device."""
        if self.ranks.count > 1 and self.step.stopping > 0:
            self.signals.heed()

    def shown(self) -> AbstractContextManager[Any]:
        """The block of a training, in which a bar may show how far it is."""
        return nullcontext()

    def tell(self, text: str) -> None:
        """A line for people."""

    def log(self) -> None:
        """Show how far the training is."""

    def first_look(self) -> None:
        """Have it shown what comes out, long before the first checkpoint."""

    def catch_up(self) -> None:
        """Do what was put off until the first iteration was done."""

    def validate(self) -> None:
        """Measure what the training is worth by now."""

    def save(self, last: bool = False) -> None:
        """Have a checkpoint written, in the background; all ranks wait for the `last` one, and for that of the end.

        Also where it fails: what was done in the background is raised as soon as it is known.
        """
        self.ranks.wait()


class Session(Course):
    """What the first rank, or the only one, does besides: it resumes, logs, validates and saves, in a run folder."""

    def __init__(
        self,
        step: Step,
        options: Command,
        folder: Path,
        photographs: Photographs,
        progress: Progress,
        signals: Signals,
        command: str,
    ) -> None:
        """Take up the training in a run folder: step and progress are filled from its newest checkpoint, if any.

        UserError where that is of another training. `command` is noted in environment.json.
        """
        resume(step, options, folder, photographs, progress)
        super().__init__(step, options, photographs, progress, signals)
        options = replace(options, changed_files="refuse")  # accepted once, they are the run's own
        self.background.begin(partial(describe, folder, options, photographs, progress.begun, command))
        self.options, self.folder = options, folder
        # A resumed run repeats the row of an interval that its end cut short.
        seen = progress.logged if progress.begun < options.images else progress.begun
        self.results = csv_rows.Rows(folder / "results.csv", seen)
        self.validated = csv_rows.Rows(folder / "validation.csv", progress.begun)
        self.samples = folder / "samples"
        self.listed = False  # until a checkpoint is of these photographs, photographs.json is that of the one before
        self.clock = Clock(self.results.number("time"))
        self.console = Console(options.images, progress.begun, options.threads if self.on_cpu else 1)
        self.pace = outlook.Pace(options.images)
        self.signs = Signs()
        self.untrained: nn.Module | None = None  # the generator, for a look that is put off

    @cached_property
    def val(self) -> tuple[Tensor, Tensor]:
        """The photographs to validate on, (gray, rgb), decoded once they are asked for: training begins without."""
        return loader.load(self.options, self.photographs.val, strict=False, backend=self.options.loader)

    @cached_property
    def digest(self) -> str:
        """Of the photographs, for checkpoints."""
        return listed.digest(self.photographs.train, self.photographs.val)

    @contextmanager
    def shown(self) -> Iterator[None]:
        self.watch = Watch(self.folder, self.options, self.progress.begun, self.tell)
        with self.console.bar:
            try:
                yield
            except BaseException:
                self.watch.leave()
                raise
        self.watch.close()  # after the bar, whose rate is of the training

    def tell(self, text: str) -> None:
        self.console.write(text)

    def log(self) -> None:
        """Show how far the training is, with a row of results.csv after every `log_every` photographs and the last."""
        self.background.check()
        progress, due = self.progress, self.crossed(self.options.log_every)
        row: dict[str, float] = {}
        if due or self.done:
            row = {"images": progress.images, "time": self.clock.seconds(), "learning_rate": self.rate}
            row |= progress.means() | self.clock.interval() | {"memory": peak_memory(self.step.device)}
            row |= {f"loss_scale/{name}": float(scale.value) for name, scale in self.step.scales.items()}
            self.results.add(row)
            self.watch.numbers(row)
            self._warn("results.csv", row)
        self.console.seen(progress.images, row, progress.means if self.on_cpu else None)
        if line := self.pace.seen(progress.images, self.clock.working(), self.step.device):
            self.tell(line)
        if due:
            progress.logged, progress.sums = progress.images, {}

    def _warn(self, file: str, row: Mapping[str, float]) -> None:
        for reason in self.signs.of(file, row):
            self.tell(f"warning: {reason}")

    def first_look(self) -> None:
        """Have a sheet of samples painted unless there is one, long before the first checkpoint: does anything come
        out?

        Where nothing is trained yet that is put off until the first iteration is done, unless it is to be compiled,
        which may take minutes.
        """
        if not self.options.samples or self._sheet(self.progress.images).exists():
            return
        if self.progress.images or self.options.compile == "on":
            self._paint(self.step.generator, self.progress.images)
        else:
            self.untrained = copy.deepcopy(self.step.generator, {id(self.ranks): self.ranks})  # its layers share these

    def catch_up(self) -> None:
        """Paint the sheet that was put off, and let loggers begin."""
        if self.untrained:
            with self.clock.paused():
                self._paint(self.untrained, 0)
            self.untrained = None
        self.watch.begin()

    def _paint(self, generator: nn.Module, seen: int) -> None:
        """A sheet of what a generator makes of the samples: the device colors them now, the background writes it."""
        gray, rgb = (validation.shown(part, self.options.samples) for part in self.val)
        planes, come = copied(validation.planes(self.step, gray, generator))

        def write() -> None:
            come()
            sheet = self._sheet(seen)
            validation.grid(sheet, *validation.colored(planes, rgb))
            self.watch.sheet(sheet, seen)
            self.console.write(f"a look after {seen:,} photographs: {sheet}")

        self.background.begin(write)

    def validate(self) -> None:
        """Add a row to validation.csv, and a sheet of samples, unless the run has them from before it was resumed.

        The device colors the photographs now; the rest is done in the background, once that has nothing else to do.
        """
        self.background.settle()  # one at a time: nothing piles up where iterations are faster
        seen, count, sheet = self.progress.images, self.options.samples, self._sheet(self.progress.images)
        if self.validated.last >= seen:
            return
        gray, rgb = self.val
        planes, come = copied(validation.planes(self.step, gray))

        def measure() -> None:
            come()
            numbers, colored, truth = validation.validate(planes, rgb)
            validation.grid(sheet, validation.shown(colored, count), validation.shown(truth, count))
            row = {"images": seen, **numbers}
            self.validated.add(row)
            self.watch.numbers(row, "validation/")
            self.watch.sheet(sheet, seen)
            self.console.measured(numbers)
            self.console.write(f"{seen:,} photographs: {validation.told(numbers)}")
            self._warn("validation.csv", row)

        self.background.begin(measure)

    def _sheet(self, seen: int) -> Path:
        return self.samples / f"{seen:09d}.png"

    def save(self, last: bool = False) -> None:
        """Have a checkpoint written, and photographs.json with the first; no signal interrupts it. OSError for a full
        disk, here or later."""
        photographs, seen, begun = self.photographs, self.progress.images, self.progress.begun
        state = {"options": to_json(self.options), "files": self.digest, "step": self.step.state_dict()}
        state |= {name: getattr(self.progress, name) for name in SAVED}

        def write() -> None:
            come()
            best = csv_rows.best(self.folder)
            checkpoint.save(self.folder / "checkpoints", seen, copy, self.options.keep, best)
            if not self.listed and seen > begun:
                listed.write(self.folder, photographs.train, photographs.val)
                self.listed = True
            self.watch.saved()

        with self.signals.held():
            copy, come = copied(state)
            self.background.begin(write)
            if last or self.done:
                self.background.settle()
        super().save()
