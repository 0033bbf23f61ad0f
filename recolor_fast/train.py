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
import sys
from contextlib import closing, redirect_stderr
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch._dynamo.exc import BackendCompilerFailed

from recolor_fast.arguments import train as words
from recolor_fast.data import sources
from recolor_fast.data.chosen import Photographs, choose
from recolor_fast.losses.terms import build_terms
from recolor_fast.machine import memory, starting
from recolor_fast.machine.environment import computing, deterministic
from recolor_fast.machine.errors import Failed, UserError
from recolor_fast.machine.files import print_path
from recolor_fast.machine.signals import Signals, Stopped, stoppable
from recolor_fast.networks import published
from recolor_fast.options import Command, Options, reopened, to_json
from recolor_fast.resolve import encoder_file, for_photographs, in_stored_pieces, resolve
from recolor_fast.runs import checkpoint, learned, run_folder
from recolor_fast.runs.console import Lasting
from recolor_fast.runs.progress import Progress
from recolor_fast.runs.session import Session
from recolor_fast.step.iteration import Step

KEPT = "the checkpoints before it stay"
HALVINGS, FIRST = 3, 10  # how often a batch is halved for lack of memory, and in which iterations


def parse(argv: list[str]) -> tuple[Command, Path | None]:
    """Command line -> options, and the run folder to resume (None: a new run).

    `--preset` is read first and gives the defaults; none with `--start shipped`: the one of STARTS, which is said. With
    `--resume` a run's own options.json does, but for what depends on the device where that is another one.
    """
    early = words.first(argv)
    folder = run_folder.find(Path(early.runs), early.name, early.preset) if early.resume else None
    if early.fitting and not folder:
        print(f"start {early.start}: --preset {early.fitting} is taken, since none is given", file=sys.stderr)
    default = run_folder.stored_options(folder) if folder else early.default
    if folder and early.device not in ("", default.device):  # what was chosen for the other device is open again
        default = reopened(default)
    return words.options(early, default), folder


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
        photographs = choose(options, options.check)
        options = in_photographs(options, epochs, len(photographs.train), resumed)
        return _trained(options, photographs, resumed, signals, command)


def in_photographs(options: Command, epochs: float, count: int, resumed: Path | None) -> Command:
    """Command whose `images` are so many epochs (0: unchanged) of `count` photographs, 1 or more."""
    if not epochs:
        return options
    options = replace(options, images=max(1, round(epochs * count)))
    if resumed:
        run_folder.check_same(resumed, options)
    return options


def _trained(options: Command, photographs: Photographs, resumed: Path | None, signals: Signals, command: str) -> Path:
    options = for_photographs(options, len(photographs.train))
    terms, device = build_terms(options), torch.device(options.device)
    step = Step(options, terms, device)  # before a folder is made for nothing
    begun = resumed and checkpoint.list_checkpoints(resumed / "checkpoints")
    start = {} if begun else start_weights(options, step.generator)
    folder = resumed or run_folder.create(options)
    counts = f"{len(photographs.train):,} photographs, {len(photographs.val):,} to validate on"
    how = f"{options.preset}, {options.size}x{options.size} pixels, {options.device}"
    print(f"training {folder} ({how}) to {options.images:,} photographs seen, of {counts}", file=sys.stderr)
    with run_folder.locked(folder):
        run_folder.clean(folder)
        for halvings in reversed(range(HALVINGS + 1)):
            progress = Progress()
            step = step or Step(options, terms, device)
            step.generator.load_state_dict(start, strict=False)
            try:
                _train(Session(step, options, folder, photographs, progress, signals, command))
                break
            except torch.OutOfMemoryError:
                first = progress.images - progress.begun <= FIRST * options.batch
                piece = (options.micro_batch or options.batch) // 2
                if not (halvings and first and piece):
                    raise
                print(f"warning: out of memory: continuing with --micro-batch {piece}", file=sys.stderr)
                options = replace(options, micro_batch=piece, cuda_graph="off")
            step = None  # type: ignore[assignment]  # its memory is needed for the next one
            gc.collect()  # steps are in reference cycles
            torch.cuda.empty_cache()
    return folder


def start_weights(options: Options, generator: nn.Module) -> dict[str, Tensor]:
    """What the generator of a new run begins with: all of another's weights, what an encoder knows, or nothing."""
    if options.start:
        return learned.start(options, generator.state_dict())
    file = encoder_file(options)
    return published.encoder(file, options.generator, generator.state_dict()) if file else {}


def _train(session: Session) -> None:
    """`train`, from where the session takes it up."""
    options, progress, signals = session.options, session.progress, session.signals
    with session.console.bar, closing(session.batches()) as stream:
        try:
            while True:
                with session.clock.paused():
                    if session.done or session.crossed(options.save_every):
                        session.check()
                        session.validate()
                        session.save()
                    elif session.crossed(options.log_every):
                        session.first_look()
                if session.done:
                    return
                gray, rgb = session.clock.batch(stream)
                compiling = options.compile == "on" and progress.images == progress.begun
                if compiling:
                    session.console.write("compiling the iteration, which may take minutes")
                with signals.held():
                    with signals.released(when=compiling):  # for minutes, and there is nothing to save yet
                        parts = session.step(gray, rgb, progress.images)
                    session.add(parts, len(gray))
                    # On a GPU a check waits. It may come late: what follows a bad iteration changes nothing.
                    if session.on_cpu or session.crossed(options.log_every):
                        session.check()
                    session.log()
        except (Stopped, FloatingPointError, UserError) as error:  # the step is as sound as ever
            if progress.images > progress.begun:
                if isinstance(error, Stopped):
                    session.check()
                session.save()
            raise


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
                options = in_stored_pieces(options, run_folder.stored_options(resumed))
                run_folder.check_same(resumed, options)
            if options.dry_run:
                if options.data != "imagenette" or sources.cached():  # a dry run downloads nothing
                    count = len(sources.photographs(options).train)
                    options = for_photographs(in_photographs(options, epochs, count, resumed), count)
                if options.start and not resumed:
                    learned.start(options)
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
