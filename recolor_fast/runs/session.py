"""A training at work in its run folder: what it resumes from, and what it checks, shows and writes on its way."""

import json
import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from recolor_fast.data import listed, loader
from recolor_fast.data.chosen import Photographs
from recolor_fast.machine.environment import environment, peak_memory
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import legible, write_text
from recolor_fast.machine.signals import Signals
from recolor_fast.options import Command, to_json
from recolor_fast.runs import checkpoint, csv_rows, run_folder, validation
from recolor_fast.runs.console import Console
from recolor_fast.runs.progress import SAVED, Clock, Progress
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
        print(f"warning: {len(lines)} unusable files left out, see {folder / 'unusable.txt'}", file=sys.stderr)


class Session:
    """What one process does between the iterations of a training: it checks, logs, validates and saves."""

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
        self.gray, self.rgb = loader.load(options, photographs.val, strict=False, backend=options.loader)
        options = replace(options, changed_files="refuse")  # accepted once, they are the run's own
        describe(folder, options, photographs, progress.begun, command)
        self.step, self.options, self.folder, self.photographs = step, options, folder, photographs
        self.progress, self.signals = progress, signals
        self.on_cpu = step.device.type == "cpu"
        # A resumed run repeats the row of an interval that its end cut short.
        seen = progress.logged if progress.begun < options.images else progress.begun
        self.results = csv_rows.Rows(folder / "results.csv", seen)
        self.validated = csv_rows.Rows(folder / "validation.csv", progress.begun)
        self.samples = folder / "samples"
        self.digest = listed.digest(photographs.train, photographs.val)
        self.listed = False  # until a checkpoint is of these photographs, photographs.json is that of the one before
        self.parts: dict[str, Tensor] = {}
        self.rate = 0.0
        self.clock = Clock(self.results.number("time"))
        self.console = Console(options.images, progress.begun, options.threads if self.on_cpu else 1)

    def batches(self) -> Generator[tuple[Tensor, Tensor]]:
        """The endless (gray, rgb) to train on, from where the training is taken up. Close it when done."""
        options, train, begun = self.options, self.photographs.train, self.progress.begun
        cached = options.cache == "on"
        return loader.batches(options, options.batch, train, self.step.device, begun, options.loader, cached)

    @property
    def done(self) -> bool:
        """Whether as many photographs are seen as the options ask for."""
        return self.progress.images >= self.options.images

    def crossed(self, every: int) -> bool:
        """Whether the last iteration saw the photograph that completes another `every`."""
        seen = self.progress.images
        return seen // every > max(seen - self.options.batch, 0) // every

    def add(self, parts: dict[str, Tensor], count: int) -> None:
        """An iteration on `count` photographs is done; `parts` are its losses. Nothing waits for the device."""
        self.parts, self.rate = parts, learning_rate(self.options, self.progress.images)
        self.progress.add(parts, count)
        self.clock.add(count)

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

    def log(self) -> None:
        """Show how far the training is, with a row of results.csv after every `log_every` photographs and the last."""
        progress, due = self.progress, self.crossed(self.options.log_every)
        row: dict[str, float] = {}
        if due or self.done:
            row = {"images": progress.images, "time": self.clock.seconds(), "learning_rate": self.rate}
            row |= progress.means() | self.clock.interval() | {"memory": peak_memory(self.step.device)}
            self.results.add(row)
        self.console.seen(progress.images, row, progress.means if self.on_cpu else None)
        if due:
            progress.logged, progress.sums = progress.images, {}

    def first_look(self) -> None:
        """Paint a sheet of samples unless there is one, long before the first checkpoint: does anything come out?"""
        if not self.options.samples or self.samples.exists():
            return
        few = (validation.shown(part, self.options.samples) for part in (self.gray, self.rgb))
        validation.grid(self._sheet(), *validation.colored(self.step, *few))
        self.console.write(f"a first look: {self._sheet()}")

    def validate(self) -> None:
        """Add a row to validation.csv, and a sheet of samples, unless the run has them from before it was resumed."""
        seen, count = self.progress.images, self.options.samples
        if self.validated.last >= seen:
            return
        numbers, colored, truth = validation.validate(self.step, self.gray, self.rgb)
        validation.grid(self._sheet(), validation.shown(colored, count), validation.shown(truth, count))
        self.validated.add({"images": seen, **numbers})
        self.console.write(f"{seen:,} photographs: {validation.told(numbers)}")

    def _sheet(self) -> Path:
        return self.samples / f"{self.progress.images:09d}.png"

    def save(self) -> None:
        """Write a checkpoint, and photographs.json with the first; no signal interrupts it. OSError for a full disk."""
        progress, photographs = self.progress, self.photographs
        state = {"options": to_json(self.options), "files": self.digest, "step": self.step.state_dict()}
        state |= {name: getattr(progress, name) for name in SAVED}
        with self.signals.held():
            best = csv_rows.best(self.folder)
            checkpoint.save(self.folder / "checkpoints", progress.images, state, self.options.keep, best)
            if not self.listed and progress.images > progress.begun:
                listed.write(self.folder, photographs.train, photographs.val)
                self.listed = True
