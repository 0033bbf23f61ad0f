"""Verb: color a gray photograph, or a folder of them, with an exported generator; needs no torch.

    python -m recolor_fast.colorize IN OUT --model FILE.onnx

Chroma is predicted at the model's size, upsampled and merged with the full-size luminance, which stays as it is.
"""

import os
import sys
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import tyro
from tqdm import tqdm

from recolor_fast import chroma, images, pictures, runtime
from recolor_fast.files import replacing

OK, USAGE, UNREADABLE, BAD_MODEL, INTERRUPTED = 0, 2, 3, 4, 130  # exit codes
FORMATS = {suffix: name for name, suffix in images.WRITABLE.items()} | {".jpeg": "JPEG", ".tiff": "TIFF"}


class Arguments(NamedTuple):
    """Color a gray photograph, or a folder of them, with an exported generator.

    A folder is mirrored: IN/sub/a.jpg becomes OUT/sub/a.jpg, in the same format. Links to folders are not followed.
    Exit code: 0 done, 2 wrong usage, 3 some images could not be read or written (the others are done), 4 bad model or
    provider.
    """

    input: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="IN")]
    """Image file, or folder of images of any size and format."""
    output: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="OUT")]
    """Folder to write to, made where missing; for one image a file, or a folder if it exists or ends with a slash."""
    model: Path
    """Exported generator, an .onnx file."""
    provider: runtime.Provider = "auto"
    """What computes; auto: cuda where it works, else cpu. tensorrt builds an engine first, once per model: minutes."""
    quality: int = 95
    """Quality of JPEG, WebP and AVIF files, 1 to 100; other formats lose nothing."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Color again what exists in the output; otherwise it is skipped."""


class Job(NamedTuple):
    """One image to color."""

    source: Path
    target: Path
    format: str
    """Format to write, a key of images.WRITABLE."""


class Plan(NamedTuple):
    """What is to be done, and what is not."""

    jobs: list[Job]
    existing: list[Path]
    """Outputs that exist and stay."""
    ignored: list[Path]
    """Files that are no images, and links to folders."""
    failures: list[tuple[Path, str]]
    """Inputs that cannot be colored, and why."""


# --- what to do ----------------------------------------------------------------------------------------------------


def plan(source: Path, output: str, overwrite: bool) -> Plan:
    """Pair every image of a file or folder with its output, reading file headers only.

    `output` is a string as its trailing slash counts. Raises ValueError, one sentence for the user, where the two
    cannot be used together.
    """
    if not source.is_file() and not source.is_dir():
        raise ValueError(f"input {source}: expected an image file or a folder of images")
    if os.path.exists(output) and os.path.samefile(source, output):
        raise ValueError(f"input and output are both {source}: give another output, inputs are never overwritten")
    if source.is_dir() and os.path.isfile(output):
        raise ValueError(f"output {output} is a file and input {source} a folder: give a folder to write to")
    if source.is_file():
        into = output.endswith(("/", os.sep)) or os.path.isdir(output)
        target = Path(output, source.name) if into else Path(output)
        try:
            target, format = _output(target, _sniff(source, True) or "", explicit=not into)
        except OSError as error:
            return Plan([], [], [], [(source, _reason(error))])
        return _settle([Job(source, target, format)], overwrite, Plan([], [], [], []))
    files, ignored, failures = _walk(source, output)
    jobs = []
    for path in files:
        is_image = path.suffix.lower() in images.SUFFIXES
        try:
            found = _sniff(path, is_image)
        except OSError as error:
            failures.append((path, _reason(error)))
            continue
        if found is None and not is_image:
            ignored.append(path)
        else:
            jobs.append(Job(path, *_output(output / path.relative_to(source), found or "", explicit=False)))
    return _settle(jobs, overwrite, Plan([], [], ignored, failures))


def _walk(folder: Path, output: str) -> tuple[list[Path], list[Path], list[tuple[Path, str]]]:
    """Regular files below a folder but not below the output, what is none, and folders that cannot be listed."""
    files: list[Path] = []
    ignored: list[Path] = []
    errors: list[OSError] = []
    outside = os.path.realpath(output)
    for name, folders, names in os.walk(folder, onerror=errors.append):  # does not follow links to folders: loops
        here = Path(name)
        ignored += [here / sub for sub in folders if (here / sub).is_symlink()]
        folders[:] = sorted(sub for sub in folders if os.path.realpath(here / sub) != outside)
        for path in (here / file for file in sorted(names)):
            special = path.exists() and not path.is_file()  # a FIFO or socket: opening one would wait
            (ignored if special else files).append(path)
    return files, ignored, [(Path(error.filename), _reason(error)) for error in errors]


def _sniff(path: Path, is_image: bool) -> str | None:
    with open(path, "rb") as file:
        return images.sniff(file, trust_suffix=is_image)


def _output(target: Path, format: str, explicit: bool) -> tuple[Path, str]:
    """File and format to write: the input's format, or PNG, with a suffix that says so, where that cannot hold RGB.

    A file that the user named (`explicit`) has the format of its suffix.
    """
    if explicit and target.suffix.lower() in FORMATS:
        return target, FORMATS[target.suffix.lower()]
    if format in images.WRITABLE or not format:  # no format: reading it will fail and say why
        return target, format
    return target.with_name(target.name + ".png"), "PNG"


def _settle(jobs: list[Job], overwrite: bool, rest: Plan) -> Plan:
    """`rest` with the jobs sorted into those to do, those done before and those that would overwrite another file."""
    inputs = {identity for job in jobs if (identity := _identity(job.source))}
    taken: dict[Path, Path] = {}
    result = Plan([], [], rest.ignored, list(rest.failures))
    for job in jobs:
        if job.target in taken:
            result.failures.append((job.source, f"its output {job.target} is also that of {taken[job.target]}"))
        elif _identity(job.target) in inputs:
            result.failures.append((job.source, f"its output {job.target} is itself an input; give another output"))
        elif os.path.lexists(job.target) and not overwrite:
            result.existing.append(job.target)
        else:
            result.jobs.append(job)
        taken.setdefault(job.target, job.source)
    return result


def _identity(path: Path) -> tuple[int, int] | None:
    """What two names of one file (links, another case, a detour) have in common; None if there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__


# --- doing it ------------------------------------------------------------------------------------------------------


def decode(job: Job) -> pictures.Picture:
    """The picture of a job. Raises OSError and images.UnreadableImage."""
    return pictures.read(job.source.read_bytes())


def predict(artefact: runtime.Artefact, gray: np.ndarray) -> np.ndarray:
    """Chroma uint8 (2,h,w) of the model's size for luminance (H,W), uint8 or uint16."""
    options = artefact.options
    gray = gray if gray.dtype == np.uint8 else images.shallow(gray)
    seen = images.source(gray, options.size, options.equalize != "none", options.blur != "none")
    return artefact.run(seen[None, None])[0]


def colorize(artefact: runtime.Artefact, gray: np.ndarray) -> np.ndarray:
    """Luminance (H,W) of any size, colored: RGB (H,W,3) of its type with that luminance within 1 level."""
    return chroma.merge(gray, predict(artefact, gray))


def write(job: Job, picture: pictures.Picture, cbcr: np.ndarray, quality: int) -> None:
    """Write a job's output, making its folder. Raises OSError, and ValueError for what the format cannot hold."""
    data, _ = pictures.encode(picture, cbcr, job.format, pictures.Writing(quality))
    job.target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(job.target) as file:
        file.write(data)


def decoded(jobs: list[Job], count: int) -> Generator[tuple[Job, Future[pictures.Picture]]]:
    """Each job with its picture to come, decoded by `count` threads, at most 2 * count jobs ahead."""
    with ThreadPoolExecutor(count) as pool:
        waiting: deque[tuple[Job, Future[pictures.Picture]]] = deque()
        try:
            for job in jobs:
                waiting.append((job, pool.submit(decode, job)))
                if len(waiting) > 2 * count:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def run(artefact: runtime.Artefact, jobs: list[Job], quality: int) -> list[tuple[Path, str]]:
    """Do the jobs, with a progress bar on a terminal; returns the inputs that failed, and why."""
    failures = []
    steps = decoded(jobs, min(2, images.threads()))
    with closing(steps), tqdm(total=len(jobs), unit="image", file=sys.stderr, disable=not sys.stderr.isatty()) as bar:
        for job, decoding in steps:
            try:
                picture = decoding.result()
                write(job, picture, predict(artefact, picture.gray), quality)
            except (OSError, ValueError, MemoryError, RuntimeError) as error:  # RuntimeError: of Artefact.run
                failures.append((job.source, _reason(error)))
            bar.update()
    return failures


def main(argv: list[str] | None = None) -> int:
    """Run the verb with these arguments (none: the command line's); returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        arguments = tyro.cli(Arguments, prog="python -m recolor_fast.colorize", args=argv)
    except SystemExit as stop:  # --help, or wrong arguments, which tyro explains on stderr
        return int(stop.code or OK)
    try:
        if not 1 <= arguments.quality <= 100:
            raise ValueError(f"quality {arguments.quality}: expected 1 to 100")
        work = plan(Path(arguments.input), arguments.output, arguments.overwrite)
        artefact = runtime.load(arguments.model, arguments.provider)
        if arguments.provider == "auto":
            say(f"provider: {artefact.provider}{artefact.fallback and f' ({artefact.fallback})'}")
        failures = work.failures + run(artefact, work.jobs, arguments.quality)
    except (runtime.BadArtefact, runtime.NoProvider) as error:
        say(str(error))
        return BAD_MODEL
    except (OSError, ValueError) as error:
        say(str(error))
        return USAGE
    except KeyboardInterrupt:
        say("interrupted; what was written so far is complete, and the same command goes on from there")
        return INTERRUPTED
    say(
        f"{len(work.jobs) + len(work.failures) - len(failures)} colored, "
        f"{len(work.existing)} skipped because their output exists (--overwrite colors them again), "
        f"{len(work.ignored)} ignored (no images), {len(failures)} failed"
    )
    for path, reason in failures:
        say(f"  {path}: {reason}")
    return UNREADABLE if failures else OK


def say(text: str) -> None:
    """A line for people; names that are not valid Unicode are shown escaped."""
    print(text.encode(errors="backslashreplace").decode(), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
