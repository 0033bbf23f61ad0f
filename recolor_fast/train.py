"""Verb: train a colorizer. `python -m recolor_fast.train --amp` is the paper's final system.

Prints the run folder as its last line on stdout; everything for people goes to stderr. Exit codes: 0 done, 1 the run
failed (numbers gone bad, a full disk, no memory), 2 options, data or weights that cannot be used, 128 and a signal's
number where one stopped it (130, 143).
"""

if __name__ == "__main__":
    from recolor_fast.machine import processors, starting

    processors.watch()
    starting.run("recolor_fast.train", arguments="train")

import gc
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, redirect_stderr
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from recolor_fast.arguments import train as words
from recolor_fast.data import sources
from recolor_fast.data.chosen import Photographs, choose
from recolor_fast.losses.terms import build_terms
from recolor_fast.machine import launched, memory, starting
from recolor_fast.machine.environment import computing, deterministic, fastest_kernels
from recolor_fast.machine.errors import Failed, UserError
from recolor_fast.machine.files import print_path
from recolor_fast.machine.ranks import ALONE, Ranks, joined
from recolor_fast.machine.signals import Signals, Stopped, stoppable
from recolor_fast.networks import published
from recolor_fast.options import Command, Options, from_dict, reopened, to_json
from recolor_fast.resolve import (
    as_first,
    encoder_file,
    for_loggers,
    for_photographs,
    for_ranks,
    in_stored_pieces,
    resolve,
)
from recolor_fast.runs import checkpoint, learned, run_folder
from recolor_fast.runs.console import Lasting, Quiet
from recolor_fast.runs.outlook import counts, sizes, summary
from recolor_fast.runs.progress import Progress
from recolor_fast.runs.session import Course, Session
from recolor_fast.step.iteration import Step, networks

__all__ = ["train"]

KEPT = "the checkpoints before it stay"
HALVINGS, FIRST = 3, 10  # how often a batch is halved for lack of memory, and in which iterations


def parse(argv: list[str], ranks: int = 1) -> tuple[Command, Path | None]:
    """Command line -> options of a training by so many ranks, and the run folder to resume (None: a new run).

    `--preset` is read first and gives the defaults; none with `--start shipped`: the one of STARTS, which is said. With
    `--resume` a run's own options.json does, but for what depends on the device, or on the number of ranks, where that
    is another one.
    """
    early = words.first(argv)
    folder = run_folder.find(Path(early.runs), early.name, early.preset) if early.resume else None
    if early.fitting and not folder:
        print(f"start {early.start}: --preset {early.fitting} is taken, since none is given", file=sys.stderr)
    default = run_folder.stored_options(folder) if folder else early.default
    # What was chosen for another device, or for fewer ranks, is open again.
    if folder and (early.device not in ("", default.device) or max(default.ranks, 1) != ranks):
        default = reopened(default)
    return words.options(early, replace(default, ranks=0)), folder


def train(options: Command, resume: str | Path | None = None, epochs: float = 0) -> Path:
    """Train to `options.images` photographs seen, in this process and on one device; returns the run folder.

    >>> from dataclasses import replace
    >>> from recolor_fast.presets import PRESETS
    >>> run = train(replace(PRESETS["wgan-gp-lpips"], data="photographs", images=2000, amp=True))

    `options`: a preset, or Command, with what you change; each field is explained where it is defined, as
    `recolor-fast train --help` shows it. What is "auto" in it is decided here, as the verb does. `resume`: a run folder
    to continue; the options that define it must be its own (`run_folder.stored_options(folder)`). `epochs`: to so many
    times the photographs there are, instead of `options.images`. `options.quiet` is the verb's alone. In the main
    thread Ctrl-C ends it with all that is good saved.

    Raises UserError, a ValueError, for options, data or weights that cannot be used; FloatingPointError for losses that
    stay not finite, and Stopped, a BaseException, for a signal, both once all that is good is saved; OSError for a full
    disk, torch.OutOfMemoryError and MemoryError: the checkpoints before it stay. Warnings and progress go to stderr.
    """
    if options.dry_run:
        raise UserError("dry_run: train() trains; recolor-fast train --dry-run shows the options")
    if not (math.isfinite(epochs) and epochs >= 0):
        raise UserError(f"epochs {epochs:g}: expected more than 0, or 0 for options.images")
    resumed = None if resume is None else Path(resume)
    options = _decided(options, resumed, ALONE)
    with stoppable() as signals:
        folder = train_decided(options, resumed, signals, epochs)
    assert folder  # other ranks have none
    return folder


def train_decided(
    options: Command,
    resumed: Path | None,
    signals: Signals,
    epochs: float = 0,
    command: str = "",
    ranks: Ranks = ALONE,
) -> Path | None:
    """Train resolved options to `options.images` photographs seen, continuing the run `resumed` if there is one.

    With `epochs`, to so many times the photographs there are to train on. `command` is noted in environment.json. On
    several `ranks` all call it with the same options; the first one has the run folder, and finds the photographs.

    Returns the run folder, None on other ranks. Raises Stopped for a signal, FloatingPointError where more than
    `options.skip_nonfinite` iterations in a row are not finite and UserError where no photograph can be read any more,
    each once all that is good is saved; OSError for a full disk: the checkpoints before it stay. Where a GPU has no
    memory for one of the first iterations, its batches are halved (`micro_batch`), HALVINGS times at most.
    """
    options = as_first(options, ranks)
    memory.keep_freed()
    if options.deterministic:
        deterministic()
    else:
        fastest_kernels(options.device)
    with computing(options.threads, options.device):
        return _trained(options, resumed, signals, epochs, command, ranks)


def _same(photographs: Photographs | None, ranks: Ranks) -> Photographs:
    """The first rank's photographs, on all of them."""
    if ranks.count == 1 and photographs:
        return photographs
    lists = [[str(path) for path in paths] for paths in (photographs or ())[:2]]
    train, val = ([Path(path) for path in paths] for paths in ranks.told(lists))
    return Photographs(train, val, photographs.unusable if photographs else {})


def in_photographs(options: Command, epochs: float, count: int, resumed: Path | None) -> Command:
    """Command whose `images` are so many epochs (0: unchanged) of `count` photographs, 1 or more."""
    if not epochs:
        return options
    options = replace(options, images=max(1, round(epochs * count)))
    if resumed:
        run_folder.check_same(resumed, options)
    return options


def _trained(
    options: Command, resumed: Path | None, signals: Signals, epochs: float, command: str, ranks: Ranks
) -> Path | None:
    count = torch.get_num_threads()
    with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(count,)) as beside:
        made = beside.submit(networks, options)  # while files are looked at, which takes Python's lock and no device
        photographs = _same(choose(options, options.check) if ranks.first else None, ranks)
    options = in_photographs(options, epochs, len(photographs.train), resumed)
    options = for_photographs(options, len(photographs.train), beside=ranks.beside)
    terms, device = build_terms(options), torch.device(options.device)
    step = Step(options, terms, device, ranks, made.result())  # before a folder is made for nothing
    del made  # what becomes of its networks is the step's
    if not ranks.first:
        _train(Course(step, options, photographs, Progress(), signals))
        return None
    begun = resumed and checkpoint.list_checkpoints(resumed / "checkpoints")
    start = {} if begun else start_weights(options, step.generator)
    folder = resumed or run_folder.create(options)
    how = f"{options.preset}, {options.size}x{options.size} pixels, {options.device}"
    how += f", {ranks.count} ranks" if ranks.count > 1 else ""
    print(
        f"training {folder} ({how}) to {options.images:,} photographs seen, of {counts(photographs)}", file=sys.stderr
    )
    print(sizes(options, photographs.train), file=sys.stderr)
    with run_folder.locked(folder):
        run_folder.clean(folder)
        for halvings in reversed(range(HALVINGS + 1)):
            progress = Progress()
            step = step or Step(options, terms, device, ranks)
            step.generator.load_state_dict(start, strict=False)
            try:
                _train(Session(step, options, folder, photographs, progress, signals, command))
                break
            except torch.OutOfMemoryError:
                first = progress.images - progress.begun <= FIRST * options.batch
                piece = (options.micro_batch or options.batch) // 2
                if not (halvings and first and piece) or ranks.count > 1:  # which would all have to halve it
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


def _train(course: Course) -> None:
    """`train`, from where the course takes it up."""
    options, progress, signals = course.options, course.progress, course.signals
    signals.together = course.ranks.count > 1
    with course.shown(), course.background, closing(course.batches()) as stream:
        try:
            while True:
                with course.clock.paused():
                    if course.done or course.crossed(options.save_every):
                        course.check()
                        course.validate()
                        course.save()
                    elif course.early:
                        course.first_look()
                if course.done:
                    return
                gray, rgb = course.clock.batch(stream)
                compiling = options.compile == "on" and progress.images == progress.begun
                if compiling:
                    course.tell("compiling the iteration, which may take minutes")
                with signals.held():
                    with signals.released(when=compiling):  # for minutes, and there is nothing to save yet
                        course.iterate(gray, rgb)
                    # On a GPU a check waits. It may come late: what follows a bad iteration changes nothing.
                    look = course.on_cpu or course.crossed(options.log_every)
                    if look:
                        course.check()
                    course.log()
                    course.catch_up()
                    if look:
                        course.heed()
        except (Stopped, FloatingPointError, UserError) as error:  # the step is as sound as ever
            # What ends one of several ranks alone leaves none to save with.
            ours = course.ranks.count == 1 or not isinstance(error, UserError)
            if ours and progress.images > progress.begun:
                if isinstance(error, Stopped):
                    course.check()
                course.save(last=True)
            raise


def main(argv: list[str] | None = None) -> int:
    """Run the verb; returns the exit code."""
    rank = launched.rank()
    quiet = rank or "--quiet" in (sys.argv[1:] if argv is None else argv)
    with redirect_stderr(Quiet(sys.stderr, rank) if quiet else Lasting(sys.stderr)):
        return _run(argv)


def _decided(options: Command, resumed: Path | None, ranks: Ranks) -> Command:
    """The options with every "auto" decided, and those of the run `resumed`. UserError where they are of another."""
    options = resolve(for_loggers(for_ranks(options, ranks.count)), resumed, ranks.beside)
    if options.name and not (resumed or options.dry_run):
        run_folder.check_free(Path(options.runs) / options.name)  # before all photographs are looked at
    if resumed:
        options = in_stored_pieces(options, run_folder.stored_options(resumed))
        run_folder.check_same(resumed, options)
    return options


def _planned(argv: list[str], epochs: float, ranks: Ranks) -> tuple[Command, Path | None]:
    """The resolved options of a command line, and the run folder to resume; shown where they ask for no more."""
    options, resumed = parse(argv, ranks.count)
    options = _decided(options, resumed, ranks)
    if options.dry_run:
        shown = options
        if options.data != "imagenette" or sources.cached():  # a dry run downloads nothing
            count = len(sources.photographs(options).train)
            shown = for_photographs(in_photographs(options, epochs, count, resumed), count)
        if options.start and not resumed:
            learned.start(options)
        print(to_json(shown))
    return options, resumed


def _take_gpu(ranks: Ranks) -> None:
    """Let this rank compute on a GPU of its own. UserError where its machine has none for it."""
    have = torch.cuda.device_count()
    if ranks.local >= have:
        raise UserError(
            f"rank {ranks.rank} has no GPU: its machine has {have}, for {ranks.beside} ranks; start as many ranks as "
            "there are GPUs, or give --device cpu"
        )
    torch.cuda.set_device(ranks.local)


def _of_the_compiler() -> type[Exception] | tuple[()]:
    """What torch.compile raises where it fails, which is not imported to find out: none where nothing was compiled."""
    compiler = sys.modules.get("torch._dynamo.exc")
    return compiler.BackendCompilerFailed if compiler else ()


@starting.verb(stopped="stopped by {signal}; --resume continues from here", told={OSError: 1})
def _run(argv: list[str]) -> int:
    try:
        with stoppable() as signals, joined(argv) as ranks:
            epochs = words.first(argv).epochs
            options, resumed = _planned(argv, epochs, ranks) if ranks.first else (None, None)
            options = from_dict(ranks.told(options and asdict(options)))
            if options.dry_run:
                return 0
            if options.device == "cuda" and ranks.count > 1:
                _take_gpu(ranks)
            folder = train_decided(options, resumed, signals, epochs, words.public(argv), ranks)
            if folder:
                print(*summary(folder, run_folder.stored_options(folder)), sep="\n", file=sys.stderr)
                print_path(folder)
            return 0
    except FloatingPointError as error:
        if launched.rank():  # the first one says it
            return Failed.exit_code
        raise Failed(f"{error}: all before is saved; lower --learning-rate, or --skip-nonfinite") from error
    except _of_the_compiler() as error:
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
