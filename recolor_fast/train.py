"""Verb: train a colorizer. `python -m recolor_fast.train --amp` is the paper's final system.

Prints the run folder as its last line on stdout; everything for people goes to stderr. Exit codes: 0 done, 1 the run
failed (numbers gone bad, a full disk, no memory), 2 options, data or weights that cannot be used, 128 and a signal's
number where one stopped it (130, 143).
"""

if __name__ == "__main__":
    from recolor_fast.machine import processors, starting

    processors.spin_briefly()
    starting.run("recolor_fast.train", arguments="train")

import gc
import json
import sys
from collections.abc import Sequence
from contextlib import closing, redirect_stderr
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch._dynamo.exc import BackendCompilerFailed

from recolor_fast.arguments import train as words
from recolor_fast.data import listed, loader, sources
from recolor_fast.data.chosen import Photographs, choose
from recolor_fast.losses.terms import WeightedTerm, build_terms
from recolor_fast.machine import memory, starting
from recolor_fast.machine.environment import computing, deterministic, environment, peak_memory
from recolor_fast.machine.errors import Failed, UserError
from recolor_fast.machine.files import legible, print_path, write_text
from recolor_fast.machine.signals import Signals, Stopped, stoppable
from recolor_fast.networks import published
from recolor_fast.options import Command, reopened, to_json
from recolor_fast.resolve import for_photographs, resolve
from recolor_fast.runs import checkpoint, runs, validation
from recolor_fast.runs.console import Console, Lasting
from recolor_fast.runs.progress import SAVED, Clock, Progress
from recolor_fast.runs.validation import shown, validate
from recolor_fast.step.step import Step, learning_rate

KEPT = "the checkpoints before it stay"
HALVINGS, FIRST = 3, 10  # how often a batch is halved for lack of memory, and in which iterations


def parse(argv: list[str]) -> tuple[Command, Path | None]:
    """Command line -> options, and the run folder to resume (None: a new run).

    `--preset` is read first and gives the defaults; none with `--start shipped`: the one of STARTS, which is said. With
    `--resume` a run's own options.json does, but for what depends on the device where that is another one.
    """
    early = words.first(argv)
    folder = runs.find(Path(early.runs), early.name, early.preset) if early.resume else None
    if early.fitting and not folder:
        print(f"start {early.start}: --preset {early.fitting} is taken, since none is given", file=sys.stderr)
    default = runs.stored_options(folder) if folder else early.default
    if folder and early.device not in ("", default.device):  # what was chosen for the other device is open again
        default = reopened(default)
    return words.options(early, default), folder


def in_stored_pieces(options: Command, stored: Command) -> Command:
    """`options` with the micro-batch of the run that they resume, where that had to be made smaller than theirs."""
    if not stored.micro_batch or (options.micro_batch or options.batch) <= stored.micro_batch:
        return options
    print(f"continuing with --micro-batch {stored.micro_batch}, as this run had no memory for more", file=sys.stderr)
    return replace(options, micro_batch=stored.micro_batch, cuda_graph="off")


def train(options: Command, resumed: Path | None, signals: Signals, epochs: float = 0, command: str = "") -> Path:
    """Train resolved options to `options.images` photographs seen, continuing the run `resumed` if there is one.

    With `epochs`, to so many times the photographs there are to train on. `command` is noted in environment.json.

    Returns the run folder. Raises Stopped for a signal, FloatingPointError where more than `options.skip_nonfinite`
    iterations in a row are not finite and UserError where no photograph can be read any more, each once all that is
    good is saved; OSError for a full disk: the checkpoints before it stay. Where a GPU has no memory for one of the
    first iterations, its batches are halved (`micro_batch`), HALVINGS times at most.
    """
    memory.keep_freed()
    if options.deterministic:
        deterministic()
    with computing(options.threads, options.device):
        photographs = choose(options)
        options = in_photographs(options, epochs, len(photographs.train), resumed)
        return _trained(options, photographs, resumed, signals, command)


def in_photographs(options: Command, epochs: float, count: int, resumed: Path | None) -> Command:
    """Command whose `images` are so many epochs (0: unchanged) of `count` photographs, 1 or more."""
    if not epochs:
        return options
    options = replace(options, images=max(1, round(epochs * count)))
    if resumed:
        runs.check_same(resumed, options)
    return options


def _trained(options: Command, photographs: Photographs, resumed: Path | None, signals: Signals, command: str) -> Path:
    options = for_photographs(options, len(photographs.train))
    terms = build_terms(options)
    begun = resumed and checkpoint.list_checkpoints(resumed / "checkpoints")
    start: dict[str, Tensor] = {}
    if not begun:  # before a folder is made for nothing
        start = runs.start(options) if options.start else published.encoder(options)
    folder = resumed or runs.create(options)
    counts = f"{len(photographs.train):,} photographs, {len(photographs.val):,} to validate on"
    how = f"{options.preset}, {options.size}x{options.size} pixels, {options.device}"
    print(f"training {folder} ({how}) to {options.images:,} photographs seen, of {counts}", file=sys.stderr)
    with runs.locked(folder):
        runs.clean(folder)
        for halvings in reversed(range(HALVINGS + 1)):
            progress = Progress()
            try:
                _train(options, folder, photographs, terms, start, progress, signals, command)
                break
            except torch.OutOfMemoryError:
                first = progress.images - progress.begun <= FIRST * options.batch
                piece = (options.micro_batch or options.batch) // 2
                if not (halvings and first and piece):
                    raise
                print(f"warning: out of memory: continuing with --micro-batch {piece}", file=sys.stderr)
                options = replace(options, micro_batch=piece, cuda_graph="off")
            gc.collect()  # steps are in reference cycles
            torch.cuda.empty_cache()
    return folder


def _train(
    options: Command,
    folder: Path,
    photographs: Photographs,
    terms: list[WeightedTerm],
    start: dict[str, Tensor],
    progress: Progress,
    signals: Signals,
    command: str,
) -> None:
    """`train` in a run folder, from its newest checkpoint or from the beginning, with the weights `start` if any;
    `progress` is filled in."""
    device = torch.device(options.device)
    step = Step(options, terms, device)
    step.generator.load_state_dict(start, strict=False)  # all of another generator, or what an encoder knows
    _load(step, options, folder, photographs, progress)
    val_gray, val_rgb = loader.load(options, photographs.val, strict=False)
    options = replace(options, changed_files="refuse")  # accepted once, they are the run's own
    runs.note_changes(folder, options, progress.begun)
    write_text(folder / "options.json", to_json(options) + "\n")
    write_text(folder / "environment.json", json.dumps(environment(device) | {"command": command}, indent=2) + "\n")
    lines = [f"{legible(path)}: {reason}\n" for path, reason in photographs.unusable.items()]
    (folder / "unusable.txt").unlink(missing_ok=True)
    if lines:
        write_text(folder / "unusable.txt", "".join(lines))
        print(f"warning: {len(lines)} unusable files left out, see {folder / 'unusable.txt'}", file=sys.stderr)
    # A resumed run repeats the row of an interval that its end cut short.
    results = runs.Rows(folder / "results.csv", progress.logged if progress.begun < options.images else progress.begun)
    validated = runs.Rows(folder / "validation.csv", progress.begun)
    samples = folder / "samples"

    def crossed(every: int) -> bool:
        return progress.images // every > max(progress.images - options.batch, 0) // every

    digest = listed.digest(photographs.train, photographs.val)
    is_listed = False  # until there is a checkpoint of these photographs, photographs.json is that of the one before

    def save() -> None:
        nonlocal is_listed
        state = {"options": to_json(options), "files": digest, "step": step.state_dict()}
        state |= {name: getattr(progress, name) for name in SAVED}
        with signals.held():
            checkpoint.save(folder / "checkpoints", progress.images, state, options.keep, runs.best(folder))
            if not is_listed and progress.images > progress.begun:
                listed.write(folder, photographs.train, photographs.val)
                is_listed = True

    def add_validation() -> None:
        numbers, colored, truth = validate(step, val_gray, val_rgb)
        validation.grid(
            samples / f"{progress.images:09d}.png", *(shown(part, options.samples) for part in (colored, truth))
        )
        validated.add({"images": progress.images, **numbers})
        console.write(f"{progress.images:,} photographs: {validation.told(numbers)}")

    def first_look() -> None:
        """A sheet long before the first checkpoint: does anything come out?"""
        few = (shown(part, options.samples) for part in (val_gray, val_rgb))
        sheet = samples / f"{progress.images:09d}.png"
        validation.grid(sheet, *validation.colored(step, *few))
        console.write(f"a first look: {sheet}")

    parts: dict[str, Tensor] = {}
    clock = Clock(results.number("time"))
    console = Console(options.images, progress.begun, options.threads if device.type == "cpu" else 1)
    with console.bar, closing(loader.batches(options, photographs.train, device, progress.begun)) as stream:
        try:
            while True:
                done = progress.images >= options.images
                if done or crossed(options.save_every):
                    with clock.paused():
                        _check_finite(step, options, photographs.train, progress, parts)
                        if validated.last < progress.images:  # it has, where a run resumes from its last save
                            add_validation()
                        save()
                elif options.samples and crossed(options.log_every) and not samples.exists():
                    with clock.paused():
                        first_look()
                if done:
                    return
                gray, rgb = clock.batch(stream)
                compiles = options.compile == "on" and progress.images == progress.begun
                if compiles:  # for minutes, and there is nothing to save yet: may be interrupted
                    console.write("compiling the iteration, which may take minutes")
                    parts = step(gray, rgb, progress.images)
                with signals.held():
                    parts = parts if compiles else step(gray, rgb, progress.images)
                    rate = learning_rate(options, progress.images)
                    progress.add(parts, len(gray))
                    clock.add(len(gray))
                    log = crossed(options.log_every)
                    if log or device.type == "cpu":  # on a GPU it would wait; what comes after changes nothing
                        _check_finite(step, options, photographs.train, progress, parts)
                    row: dict[str, float] = {}
                    if log or progress.images >= options.images:
                        row = {"images": progress.images, "time": clock.seconds(), "learning_rate": rate}
                        row |= progress.means() | clock.interval() | {"memory": peak_memory(device)}
                        results.add(row)
                    console.seen(progress.images, row, progress.means if device.type == "cpu" else None)
                    if log:
                        progress.logged, progress.sums = progress.images, {}
        except (Stopped, FloatingPointError, UserError) as error:  # the step is as sound as ever
            if progress.images > progress.begun:
                if isinstance(error, Stopped):
                    _check_finite(step, options, photographs.train, progress, parts)
                save()
            raise


def _load(step: Step, options: Command, folder: Path, photographs: Photographs, progress: Progress) -> None:
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


def _check_finite(
    step: Step, options: Command, paths: Sequence[Path], progress: Progress, parts: dict[str, Tensor]
) -> None:
    """FloatingPointError, naming the photographs, once too many iterations in a row were not finite.

    `parts` are those of the last iteration. Progress then goes back to where the step came to rest.
    """
    beyond = int(step.streak) - options.skip_nonfinite
    if beyond <= 0:
        return
    progress.take_back(beyond * options.batch)
    names = [name for name, part in parts.items() if beyond == 1 and not part.isfinite()]
    at, chosen = progress.images, next(loader.indices(options.seed, len(paths), options.batch, progress.images))
    raise FloatingPointError(
        f"{', '.join(names) or 'a loss or gradient'} not finite in the iteration after {at} photographs, on "
        f"{', '.join(str(paths[place]) for place in chosen)}; it was not applied"
    )


def main(argv: list[str] | None = None) -> int:
    """Run the verb; returns the exit code."""
    with redirect_stderr(Lasting(sys.stderr)):
        return _run(argv)


@starting.verb(stopped="stopped by {signal}; --resume continues from here", told={OSError: 1})
def _run(argv: list[str]) -> int:
    try:
        with stoppable() as signals:
            epochs = words.first(argv).epochs
            options, resumed = parse(argv)
            options = resolve(options, resumed)
            if resumed:
                options = in_stored_pieces(options, runs.stored_options(resumed))
                runs.check_same(resumed, options)
            if options.dry_run:
                if options.data != "imagenette" or sources.cached():  # a dry run downloads nothing
                    count = len(sources.photographs(options).train)
                    options = for_photographs(in_photographs(options, epochs, count, resumed), count)
                if options.start and not resumed:
                    runs.start(options)
                print(to_json(options))
                return 0
            folder = train(options, resumed, signals, epochs, words.public(argv))
            print(f"{folder / 'samples'} shows how it went; recolor-fast export {folder} exports it", file=sys.stderr)
            print_path(folder)
            return 0
    except FloatingPointError as error:
        raise Failed(f"{error}: all before is saved; lower --learning-rate, or --skip-nonfinite") from error
    except BackendCompilerFailed as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"torch.compile failed ({reason}); use --compile off, or install what it names") from error
    except (MemoryError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if "deterministic" in reason:
            raise UserError(f"--deterministic: {reason}") from error
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "can't allocate memory" not in reason:
            raise
        advice = "use a smaller --micro-batch, --batch, --size or --width, or --cache off"
        raise Failed(f"out of memory ({reason}): {advice}; {KEPT}") from error
