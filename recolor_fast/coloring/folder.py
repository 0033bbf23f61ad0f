"""Which files are to be colored, to where, and what is done already; a record of each. No pixels are made here."""

import json
import math
import os
import tempfile
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple

from recolor_fast.artefact.hints import Given
from recolor_fast.machine import files
from recolor_fast.machine.errors import UserError
from recolor_fast.photographs import encoders, formats, images, pages, provenance
from recolor_fast.photographs.claims import Claims, shared
from recolor_fast.photographs.walk import Found, State, identity
from recolor_fast.settings import Handling

FORMATS = {suffix: name for name, suffix in encoders.WRITABLE.items()} | {
    **dict.fromkeys((".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".j2k", ".j2c", ".jpc", ".jpf", ".jpx"), "JPEG2000"),
    ".tiff": "TIFF",
    ".apng": "PNG",
    ".dib": "BMP",
    **dict.fromkeys((".heif", ".hif"), "HEIF"),
}
DONE, NO_IMAGE, IN_COLOR = "done before", "not an image", "in color"  # why a file is skipped
FILM = "a video"  # what reasons begin with that tell of a film among photographs
COPIED = "in color, copied"  # the reason of a file that is ok, but not colored
LONGEST = 255  # bytes of a file's name, nearly everywhere
COARSE = 2 * 10**9  # nanoseconds that times may be off on another file system: FAT counts in twos of seconds
MEANWHILE = "done meanwhile by another run"
A_COPY = "its output is a copy of the input and is taken as done; --overwrite colors it"
UNKNOWN = "its output does not say what made it and is taken as done; --overwrite makes it anew"

Status = Literal["ok", "skipped", "failed"]


class Record(NamedTuple):
    """What became of a file."""

    input: str
    output: str | None
    """File that was to be written; None for what is no image."""
    status: Status
    reason: str = ""
    """Why it was skipped or failed; empty where it is ok and was colored, COPIED where it is ok and was copied."""
    width: int = 0
    """Pixels of the upright picture; 0 where not known."""
    height: int = 0
    """Pixels."""
    notes: tuple[str, ...] = ()
    """What one should know of the picture: "first of 20 frames"."""
    seconds: float = 0.0
    """Wall time it was worked on."""
    cpu_seconds: dict[str, float] = {}  # noqa: RUF012 - replaced, never changed
    """Processor time by stage."""
    restored: dict[str, Any] = {}  # noqa: RUF012 - replaced, never changed
    """What was done to the picture before it was colored: restoring.Restored.done, of the first page it was done to."""


def to_json(record: Record) -> str:
    r"""A record as one line of ASCII. A byte of a name that is no UTF-8, 0xff say, is written \udcff, which Python's
    json and os.fsencode turn back into it."""
    return json.dumps(record._asdict())


class Verdict(Exception):
    """What becomes of a file that is not colored: its status and why."""

    def __init__(self, status: Status, reason: str, notes: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.status, self.notes = status, notes


class Job(NamedTuple):
    """An image to color."""

    source: Path
    target: Path | None
    format: str = ""
    """Format to write, a key of encoders.WRITABLE; empty where the file is copied, or reading it will tell what is
    wrong with it."""
    width: int = 0
    """Pixels as the file's header says, upright or not; 0 where it cannot be read."""
    height: int = 0
    size: int = 0
    """Bytes."""
    verdict: Verdict | None = None
    """Set where it is not to be colored after all."""
    replay: bool = False
    """Done before, but a frame of an unfinished sequence: its chroma is needed for the frames after it."""
    times: tuple[int, int] | None = None
    """When the file was last read, before that was now, and written: nanoseconds; None where it is not a file."""
    state: State = ()
    """Of the source, before it was read."""
    pages: int = 1
    """Of the source, a TIFF."""
    whole: Path | None = None
    """Where the file itself goes if it is copied; None where it cannot."""
    restored: dict[str, Any] = {}  # noqa: RUF012 - replaced, never changed
    """What was done to its picture, see Record."""
    claim: str = ""
    """Name by which several runs into one folder claim it, or its sequence."""


@dataclass(frozen=True)
class Plan(Handling):
    """How files become jobs."""

    made: provenance.Made = field(default_factory=dict)
    """What makes the outputs, but for their format."""
    hints: Given | None = None
    """Colors given at some places, by photograph."""
    begun: Claims | None = None
    """Claims of the run. With `overwrite`, what was made the same way since it began is another run's work."""
    kept: dict[Path, tuple[State, State]] | None = None
    """Where files are followed: state of input and output of each that this run has made or found done. When the input
    changes and the output has not, it is made anew unasked."""


# --- which files ---------------------------------------------------------------------------------------------------


def check(inputs: Sequence[str], output: str | None) -> None:
    """Raise UserError where inputs and output cannot be used together.

    `output` None: every input is replaced.
    """
    for source in inputs:
        if not os.path.isfile(source) and not os.path.isdir(source):
            raise UserError(f"input {source}: expected an image file or a folder of images")
        if output is not None and os.path.exists(output) and os.path.samefile(source, output):
            raise UserError(
                f"input and output are both {source}: give another output, or --in-place to replace the inputs"
            )
    if output is not None:
        above = next(path for path in Path(os.path.abspath(output)).parents if os.path.lexists(path))
        if not above.is_dir():
            raise UserError(f"output {output}: {above} is no folder, so nothing can be written below it; give another")
    if output is not None and os.path.isfile(output) and (len(inputs) > 1 or os.path.isdir(inputs[0])):
        what = f"{len(inputs)} inputs" if len(inputs) > 1 else f"input {inputs[0]} a folder"
        raise UserError(f"output {output} is a file and {what}: give a folder to write to")


def reason(error: BaseException) -> str:
    """An exception in half a sentence."""
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__


# --- what is to be done with them ----------------------------------------------------------------------------------


def jobs(
    candidates: Iterable[Found],
    plan: Plan,
    inputs: Set[tuple[int, int]],
    key: Callable[[Path], str] = str,
    claims: Claims | None = None,
    most: float = math.inf,
) -> Iterator[Job]:
    """The job of each file, told by its header alone; lazy, in the order of `candidates`.

    `inputs`: the identities of all of them, which are never written to but in place. `key` is equal for paths that the
    output's file system takes for one (see `keys`). A job with a verdict is not to be done: no image, an output that
    another file has or that is an input, and in place what cannot be written back. Others are claimed, a sequence of
    frames as a whole; what another run has begun comes last. `most`: how many outputs are remembered, to name the two
    inputs of one; of what is further apart the second finds the output of the first in its place.
    """
    taken: OrderedDict[str, Path] = OrderedDict()

    def judged(one: Found) -> Job:
        try:
            while len(taken) > most:
                taken.popitem(last=False)
            return _judged(one, plan, inputs, taken, key)
        except Exception as error:  # whatever it is, the other files are to be done
            return Job(one.source, None, verdict=Verdict("failed", f"{type(error).__name__}: {error}"))

    each = map(judged, candidates)
    groups: Iterable[list[Job]] = ([job] for job in each)
    if plan.temporal:
        groups = (list(group) for _, group in groupby(each, key=lambda job: job.source.parent))
    for group in groups if claims is None else shared((_claimed(group, plan, claims) for group in groups), claims):
        yield from _replayed(group) if plan.temporal and not plan.overwrite else group


def _claimed(group: list[Job], plan: Plan, claims: Claims) -> tuple[str, int, Path, list[Job]]:
    """A group of jobs as work to share: how all runs into the folder call it, how many jobs it has, and an input."""
    name, times = "", 0
    for job in group:
        if job.verdict is None and job.target is not None:
            name, times = claims.name(job.target.parent if plan.temporal else job.target), times + 1
    group = [job if job.verdict else job._replace(claim=name) for job in group]
    return name, times, group[0].source, group


def _replayed(frames: list[Job]) -> Iterator[Job]:
    """The frames of a sequence, those that are done before one that is not marked as such."""
    missing = [number for number, job in enumerate(frames) if not job.verdict and not _exists(job)]
    last = missing[-1] if missing else 0
    yield from (job._replace(replay=number < last and _exists(job)) for number, job in enumerate(frames))


def _exists(job: Job) -> bool:
    return job.verdict is None and job.target is not None and os.path.lexists(job.target)


def _judged(
    one: Found, plan: Plan, inputs: Set[tuple[int, int]], taken: MutableMapping[str, Path], key: Callable[[Path], str]
) -> Job:
    source = one.source

    def no(status: Status, why: str, target: Path | None = None) -> Job:
        return Job(source, target, verdict=Verdict(status, why))

    if one.fault or one.left:
        return no("failed" if one.fault else "skipped", one.fault or one.left)
    if files.is_part(source):
        return no("skipped", "left by an interrupted run; it can be removed")
    meant = one.source_named or source.suffix.lower() in images.SUFFIXES  # to be an image
    try:
        with open(source, "rb") as file:
            status = os.fstat(file.fileno())  # first: reading sets times, and a plugin of Pillow may close the file
            kind = formats.kind(file)
            header = images.header(file, trust_suffix=meant)
            count = pages.count(file) if header and header.format == "TIFF" else 1
    except OSError as error:
        return no("failed", reason(error))
    if header is None and not meant:
        return no("skipped", kind.name if kind else NO_IMAGE)
    header = header or images.Header("", 0, 0)
    target, format = output_of(one.target, header.format, plan.format, one.named)
    if len(os.fsencode(target.name)) > LONGEST:
        why = (
            f"its output's name {target.name[:20]}...{target.name[-20:]} would be {len(os.fsencode(target.name))} bytes"
        )
        return no("failed", f"{why}, expected {LONGEST} at most: rename it", target)
    if plan.in_place:
        if source.is_symlink():
            return no("skipped", "a link: give the file it leads to")
        if header.format and header.format not in encoders.WRITABLE:
            return no("failed", f"{header.format} files cannot be written, so not in place either: give an output")
        target, format = source, header.format
    elif taken.setdefault(key(target), source) != source:
        return no("failed", f"its output {target} is also that of {taken[key(target)]}", target)
    elif identity(target) in inputs:
        return no("failed", f"its output {target} is itself an input: give another output", target)
    times = status.st_atime_ns, status.st_mtime_ns
    copy = None if plan.in_place else whole(one.target, header.format, one.named)
    if copy and copy != target and (identity(copy) in inputs or taken.get(key(copy), source) != source):
        copy = None
    job = Job(source, target, format, header.width, header.height, status.st_size, times=times, pages=count, whole=copy)
    if count > 1 and plan.pages == "all" and format != "TIFF":
        return no("failed", f"its {count} pages cannot be written as {format}: give --pages first, or TIFF", target)
    return job


def output_of(target: Path, format: str, asked: str, named: bool) -> tuple[Path, str]:
    """File and format to write for an image of `format`: `asked`, else its own, else PNG where that cannot hold RGB.

    A file that changes its format has the new suffix added, so a.jpg and a.png stay apart. A file that the user named
    keeps its name, and has the format of its suffix.
    """
    if named and target.suffix.lower() in FORMATS:
        return target, FORMATS[target.suffix.lower()]
    if not format:  # reading it will fail and say why
        return target, format
    new = asked or encoders.own(format)
    return (target, new) if new == format or named else (target.with_name(target.name + encoders.WRITABLE[new]), new)


def whole(target: Path, format: str, named: bool) -> Path | None:
    """Where a file of `format` goes if it is copied: to its own name, or the one that the user gave where its suffix is
    not another format's."""
    return None if named and FORMATS.get(target.suffix.lower(), format) != format else target


def keys(output: str | None) -> Callable[[Path], str]:
    """What `jobs` tells output paths apart by: letters of either case are one where the file system says so."""
    return _folded if output is not None and ignores_case(output) else str


def _folded(path: Path) -> str:
    return unicodedata.normalize("NFC", str(path)).casefold()


def ignores_case(folder: str) -> bool:
    """Whether A and a are one file in a folder that exists or will; False where nothing can be written to try it."""
    path = Path(os.path.abspath(folder))
    while not path.is_dir() and path != path.parent:
        path = path.parent
    try:
        with tempfile.NamedTemporaryFile(prefix=".a", suffix=".part", dir=path) as file:
            name = Path(file.name)
            return name.with_name(name.name.upper()).exists()
    except OSError:
        return False
