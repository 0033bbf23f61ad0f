"""Verb: color gray photographs, files or folders of them; needs no torch.

    python -m recolor_fast.colorize IN... OUT [--model FILE.onnx]

With the colorizer that comes with the package, or with any exported generator.
Chroma is predicted at the model's size, upsampled and merged with the full-size luminance, which stays as it is. From
Python it is `Colorizer`.
"""

import os
import re
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, overload

import cv2
import numpy as np
import tyro
from PIL import Image
from tqdm import tqdm

from recolor_fast import chroma, folder, images, memory, pictures, pipeline, runtime
from recolor_fast.files import inherit, replacing
from recolor_fast.photographs import claims, libraries, pages, provenance, walk
from recolor_fast.signals import Stopped, stoppable

OK, ERROR, USAGE, FAILED, NO_MODEL = 0, 1, 2, 3, 4  # exit codes; 128 + the signal's number where one stopped it
BATCH = 8  # pictures a GPU is given at a time, at most
MAX_BYTES = 2**30  # of a file that is read whole
PIXELS = 32 * 10**6  # in flight, per worker: two pictures of 12 megapixels and what is made of them
READS = 3  # of a file that changes meanwhile
LOOK = chroma.Look()
TRACEBACK = "RECOLOR_FAST_TRACEBACK"  # environment variable: set, an unexpected error shows where it came from


class Settings(NamedTuple):
    """How pictures are colored and written."""

    quality: int = 95
    """Quality of JPEG, WebP, AVIF, HEIF and JXL files, 1 to 100; other formats lose nothing."""
    format: str = ""
    """Write everything in this format: JPEG, PNG, TIFF, WEBP, BMP, AVIF, HEIF, JXL, JPEG2000, PPM, QOI, SGI or TGA. A
    file of another one has the suffix added: a.jpg becomes a.jpg.png. Empty: each file's own; TIFF of a camera's raw
    file, PNG of others that are not written."""
    metadata: Literal["keep", "drop"] = "keep"
    """EXIF, XMP, IPTC, resolution and texts of the file: keep or drop. Kept, they also say what colored the file; a
    hidden list in its folder does where they cannot."""
    lossless_luma: tyro.conf.FlagCreatePairsOff[bool] = False
    """Keep the very coefficients of a gray JPEG's luminance instead of encoding it again."""
    upsample: Literal["guided", "bilinear"] = LOOK.upsample
    """How chroma is enlarged: along the edges of the luminance, or evenly."""
    saturation: float = 1.0
    """Factor of the colors' strength, 0 (gray) to 4."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Color again what exists in the output. Otherwise it is checked and skipped where this command would make the
    same, and fails where it was made with another model or other settings, which it says itself (see metadata)."""
    color: Literal["skip", "copy", "recolor"] = "skip"
    """What becomes of photographs in color: skip leaves them out, copy copies the whole file to OUT under its own name,
    recolor gives them new colors. Toned, yellowed and faded prints are not in color. To stdout, skip passes them on."""
    skip_color: tyro.conf.FlagCreatePairsOff[bool] = False
    """The old name of --color skip."""
    in_place: tyro.conf.FlagCreatePairsOff[bool] = False
    """Give no OUT: replace every input, in its own format. Pictures with any color, even a tint, are left alone, so a
    second run changes nothing; so are links. Owner, mode, access list and extended attributes are kept; what cannot be
    written back whole (GIF, several frames, a video behind the picture, a file of several names) fails, named."""
    keep_times: tyro.conf.FlagCreatePairsOff[bool] = False
    """Give outputs the times of their inputs: last read, last written."""
    pages: Literal["first", "all"] = "first"
    """Of a TIFF of several pages: color the first alone, as a note then says, or all, written as a TIFF of as many."""
    temporal: tyro.conf.FlagCreatePairsOff[bool] = False
    """The images of a folder are frames of a film, in natural order: steady their colors."""
    max_pixels: int = images.MAX_PIXELS
    """Larger pictures fail, pixels in all."""
    strict: tyro.conf.FlagCreatePairsOff[bool] = False
    """JPEGs without their end fail. Otherwise one of which nine tenths of the rows are there is colored, with a note,
    unless that is in place."""
    include: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Color only what matches this pattern of a name, or of a path below IN where it has a slash, or lies in a folder
    that does: --include '*.tif'. Repeatable. Hidden files and folders, and thumbnails and trash of systems, are taken
    where a pattern says their name: --include .picasaoriginals."""
    exclude: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Leave out files and folders that match this pattern: --exclude 'scans/raw' --exclude '*.gif'. Repeatable."""


class Arguments(NamedTuple):
    """Color gray photographs, files or folders of them: IN... OUT is all it needs.

    A folder is mirrored: IN/sub/a.jpg becomes OUT/sub/a.jpg, in the same format; with several IN, IN1/a.jpg becomes
    OUT/IN1/a.jpg. Links to folders are not followed. With - for IN, OUT or both, one image goes from stdin, to stdout.
    What was done before is skipped, so the same command goes on where it was stopped.
    Photographs in color are left alone, see --color.
    Exit code: 0 done, 1 unexpected error, 2 wrong usage, 3 some images could not be read or written (the others are
    done) or the only file given is in color and was left alone, 4 no usable model or provider, 128 and a signal's
    number where one stopped it (130, 143).
    """

    paths: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="IN... OUT", help_behavior_hint="")]
    """Image files and folders of images of any size and format, then the folder to write to, made where missing; for
    one image a file, or a folder if it exists or ends with a slash."""
    model: Path | None = None
    """Exported generator, an .onnx file; none: the colorizer that comes with recolor_fast."""
    provider: runtime.Provider = "auto"
    """What computes; auto: cuda where it works, else cpu. Which it is is told on stderr."""
    require_provider: tyro.conf.FlagCreatePairsOff[bool] = False
    """With provider auto: fail with exit code 4 rather than compute on the cpu. Any other one is required anyway."""
    threads: int | None = None
    """Processors to use; none: all that this process may use."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = Settings()
    watch: tyro.conf.FlagCreatePairsOff[bool] = False
    """Go on until interrupted: color what is new in the folders, once it is complete (unchanged for a second)."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """A line of JSON on stdout for every file as soon as it is done, images or not: input, output, status (ok, skipped,
    failed), reason, width, height, notes, seconds, cpu_seconds by stage. On stderr where OUT is -."""


# --- one picture ---------------------------------------------------------------------------------------------------


def colorize(artefact: runtime.Artefact, gray: np.ndarray, look: chroma.Look = LOOK) -> np.ndarray:
    """uint8 or uint16 luminance (H,W) of any size, colored: RGB (H,W,3) of its type with that luminance, within 1."""
    return chroma.merge(gray, artefact.chroma(_eight(gray)), look)


def _as_image(rgb: np.ndarray, alpha: np.ndarray | None) -> Image.Image:
    """uint8 or uint16 RGB (H,W,3), and alpha (H,W) or None, as an image of 8 bits."""
    planes = [*np.moveaxis(rgb, 2, 0), *([] if alpha is None else [alpha])]
    return Image.fromarray(np.dstack([_eight(plane) for plane in planes]))


def _eight(gray: np.ndarray) -> np.ndarray:
    """uint8 or uint16 as uint8: 65535 is 255."""
    return gray if gray.dtype == np.uint8 else np.rint(gray / np.float32(257)).astype(np.uint8)


class _Work(NamedTuple):
    """A picture on its way."""

    job: folder.Job
    picture: pictures.Picture
    seen: np.ndarray
    """What the model is given: uint8 (S,S), or the whole luminance for a graph that takes any size."""
    cbcr: np.ndarray = np.empty((2, 0, 0), np.uint8)
    data: bytes = b""
    """The file to write."""
    notes: tuple[str, ...] = ()
    more: tuple["_Work", ...] = ()
    """The file's further pages, where they are colored too."""


class _Copy(NamedTuple):
    """A file on its way to be written as it is."""

    job: folder.Job
    data: bytes


class Colorizer:
    """A model, ready to color arrays, images, files and folders: the one that comes with the package, or that of a
    FILE.onnx. It can be pickled, and so be given to worker processes, each of which loads the model anew.

    >>> from recolor_fast.colorize import Colorizer
    >>> colorizer = Colorizer()
    >>> rgb = colorizer(gray)
    >>> rgb.shape == (*gray.shape, 3), rgb.dtype == gray.dtype
    (True, True)
    >>> [record.status for record in colorizer.folder("photographs", "colored", quality=90)]
    ['ok', 'ok']
    """

    def __init__(
        self,
        path: str | Path | None = None,
        provider: runtime.Provider = "auto",
        threads: int | None = None,
        upsample: Literal["guided", "bilinear"] = LOOK.upsample,
        saturation: float = 1.0,
    ) -> None:
        """`path`: an exported .onnx file; None: the colorizer that comes with the package. `threads`: processors to
        use; None: all that this process may use. Raises what `runtime.load` and `runtime.shipped` raise, and
        ValueError for settings out of range."""
        self.settings = checked(Settings(upsample=upsample, saturation=saturation))
        self.path = None if path is None else Path(path).absolute()
        self.provider = provider
        self.threads = threads
        chosen = runtime.shipped() if path is None else path
        self._load = cache(lambda count: runtime.load(chosen, provider, threads=count))  # by threads an inference
        self.artefact = self._load(_count(threads))

    def __reduce__(self) -> tuple[type["Colorizer"], tuple[Any, ...]]:
        return type(self), (self.path, self.provider, self.threads, self.settings.upsample, self.settings.saturation)

    @overload
    def __call__(self, image: np.ndarray) -> np.ndarray: ...
    @overload
    def __call__(self, image: Image.Image | str | Path) -> Image.Image: ...
    @overload
    def __call__(self, image: bytes) -> bytes: ...
    def __call__(self, image: np.ndarray | Image.Image | str | Path | bytes) -> np.ndarray | Image.Image | bytes:
        """Color one picture, whether or not it is in color already; its luminance (Rec. 601) is kept, within 1 level.

        An array, uint8 or uint16 (H,W) gray or (H,W,3) RGB, gives RGB (H,W,3) of the same type. A Pillow image of any
        mode gives one of equal size, RGB or, with transparency, RGBA, 8 bits and sRGB, with the same `info`. A path
        gives the file's picture, upright, as such an image. The bytes of a file give those of a colored file as
        `folder` writes them: the same format, or PNG where that is not written, with metadata. Raises ValueError for
        other arguments, images.UnreadableImage, which is one, for what is no picture, and OSError for a path that
        cannot be read.
        """
        if isinstance(image, np.ndarray):
            return self._array(image)
        if isinstance(image, Image.Image):
            return self._image(image)
        if isinstance(image, bytes):
            return self._file(image)
        if isinstance(image, str | Path):
            picture = pictures.read(images.read(Path(image)), judge=False)
            return _as_image(self._array(picture.gray), picture.alpha)
        raise ValueError(f"image {type(image).__name__}: expected an array, a Pillow image, a path or a file's bytes")

    def _array(self, image: np.ndarray) -> np.ndarray:
        wanted = image.dtype in (np.uint8, np.uint16) and image.ndim in (2, 3) and image.shape[2:] in ((), (3,))
        if not wanted or not image.size:
            raise ValueError(
                f"image {image.dtype} {image.shape}: expected uint8 or uint16, (H,W) or (H,W,3), not empty"
            )
        gray = images.gray(image) if image.ndim == 3 else image
        return colorize(self.artefact, gray, look(self.settings))

    def _image(self, image: Image.Image) -> Image.Image:
        gray, alpha = pictures.luminance(image)
        turn = images.orientation(image)  # the model knows upright photographs; the result lies as the image does
        rgb = images.upright(self._array(images.upright(gray, turn)), images.INVERSE[turn])
        colored = _as_image(rgb, alpha)
        colored.info = {key: value for key, value in image.info.items() if key not in ("icc_profile", "transparency")}
        return colored

    def _file(self, data: bytes) -> bytes:
        picture = pictures.read(data, judge=False)
        format = picture.format if picture.format in images.WRITABLE else "PNG"
        settings = self.settings._replace(color="recolor")
        writing = pictures.Writing(look=look(settings), made=provenance.written(made(self.artefact, settings), format))
        return pictures.encode(picture, self.artefact.chroma(_eight(picture.gray)), format, writing)[0]

    def folder(
        self,
        input: str | Path | Sequence[str | Path],
        output: str | Path | None = None,
        **settings: Any,
    ) -> list[folder.Record]:
        """Color files and folders as the command does; a record of each file, as they came to be done.

        `settings` are those of `Settings`; a wrong name is a TypeError. Raises ValueError for what cannot be used
        together, OSError where nothing can be read.
        """
        chosen = checked(self.settings._replace(**settings)) if settings else self.settings
        given = [input] if isinstance(input, str | Path) else input
        inputs, target = [os.fspath(one) for one in given], None if output is None else os.fspath(output)
        check(inputs, target, chosen, watch=False)
        found = list(walk.find(inputs, target, globs(chosen)))
        artefact = self.artefact if len(found) < 2 else self._load(1)
        enough = threading.Event()
        with closing(claims.Claims(shared_folder(inputs, target), enough)) as begun:
            jobs = _jobs(found, target, chosen, walk.identities(found), begun)
            with closing(color(artefact, jobs, chosen, self.threads, enough=enough, begun=begun)) as records:
                return list(records)


def look(settings: Settings) -> chroma.Look:
    """The part of the settings that says how colors look."""
    return chroma.Look(settings.upsample, settings.saturation)


def globs(settings: Settings) -> walk.Globs:
    """The part of the settings that says which files of a folder are meant."""
    return walk.globs(settings.include, settings.exclude)


def checked(settings: Settings) -> Settings:
    """The settings with `format` as the key of images.WRITABLE that it names. Raises ValueError, naming the value."""
    for name, low, high in (("quality", 1, 100), ("saturation", 0, 4), ("max_pixels", 1, images.MAX_PIXELS)):
        if not low <= getattr(settings, name) <= high:
            raise ValueError(f"{name} {getattr(settings, name)}: expected {low} to {high:,}")
    format = folder.FORMATS.get(f".{settings.format.lower()}", settings.format.upper())
    if format and format not in images.WRITABLE:
        raise ValueError(f"format {settings.format}: expected one of {', '.join(images.WRITABLE)}")
    if format in libraries.LIBRARIES and (lacks := libraries.missing(format)):
        raise ValueError(f"format {format} {lacks}")
    if settings.temporal and settings.pages == "all":
        raise ValueError("temporal with pages all: a film's frames are files; use one of the two")
    if settings.in_place and (format or settings.temporal):
        which = "format" if format else "temporal"
        raise ValueError(f"in_place with {which}: expected one of the two; give an output instead")
    if settings.skip_color and settings.color != "skip":
        raise ValueError(f"skip_color with color {settings.color}: skip_color means color skip; give one of the two")
    if settings.in_place and settings.color != "skip":
        raise ValueError(
            f"in_place with color {settings.color}: what has any color is left alone in place; give an output instead"
        )
    if settings.color == "copy" and settings.metadata == "drop":
        raise ValueError("color copy with metadata drop: copies are whole, with their metadata; give one of the two")
    globs(settings)
    return settings._replace(format=format)


def check(inputs: Sequence[str], output: str | None, settings: Settings, watch: bool) -> None:
    """Raise ValueError, one sentence, where paths and settings cannot be used together."""
    if settings.in_place and output is not None:
        raise ValueError(f"in_place with output {output}: give inputs alone, they are replaced")
    if not inputs or (output is None and not settings.in_place):
        raise ValueError(f"paths {' '.join(inputs)!r}: expected IN... OUT, one or more inputs and where to write to")
    folder.check(inputs, output)
    if watch and settings.temporal:
        raise ValueError("temporal with watch: frames that come late would be out of order; use one of the two")
    if watch and not any(map(os.path.isdir, inputs)):
        raise ValueError(f"watch {' '.join(inputs)!r}: expected a folder to follow")
    into = output is None or output.endswith(("/", os.sep)) or os.path.isdir(output)
    if output is not None and not into and len(inputs) == 1 and os.path.isfile(inputs[0]):
        check_named(output, settings)


def check_named(output: str, settings: Settings) -> None:
    """Raise ValueError where the suffix of a file to write is that of a format not written, or not of `format`."""
    suffix = Path(output).suffix.lower()
    if suffix in images.SUFFIXES and suffix not in folder.FORMATS:
        raise ValueError(f"output {output}: {suffix} is not written; expected one of {', '.join(folder.FORMATS)}")
    if settings.format and folder.FORMATS.get(suffix) not in (None, settings.format):
        raise ValueError(f"output {output} with format {settings.format}: give one or the other")


# --- many ----------------------------------------------------------------------------------------------------------

Fetch = Callable[[folder.Job, folder.Plan, provenance.Lists], bytes]
Put = Callable[[folder.Job, bytes, folder.Plan], tuple[str, ...]]


def color(
    artefact: runtime.Artefact,
    jobs: Iterable[folder.Job],
    settings: Settings,
    threads: int | None = None,
    fetch: Fetch | None = None,
    put: Put | None = None,
    enough: threading.Event | None = None,
    begun: claims.Claims | None = None,
) -> Generator[folder.Record]:
    """Do the jobs, overlapped and bounded; yields a record of each as soon as it is done.

    On a CPU give it an artefact of one thread where there are several images: as many pictures are then in the model at
    once. A GPU has a thread of its own, which takes what waits together. `jobs` may be endless, and wait until `enough`
    is set. `fetch` and `put` read and write a job's file, from and to the disk if not given; `put` returns notes.
    `begun` are the claims that jobs were taken by.
    """
    memory.keep_freed(memory.MODERATE)
    following = begun is not None and begun.missed is not None
    plan = _plan(settings)._replace(made=made(artefact, settings), begun=begun, kept={} if following else None)
    lists, fetching, putting = provenance.Lists(), fetch or _fetch, put or _put
    stages, limits = _stages(
        artefact,
        settings,
        plan,
        _count(threads),
        lambda job: fetching(job, plan, lists),
        lambda job, data: putting(job, data, plan),
    )
    with _one_opencv_thread(), closing(pipeline.run(jobs, stages, limits, _cost, enough)) as results:
        for result in results:
            if begun is not None and result.item.claim:
                begun.release(result.item.claim)
            yield _record(result)


def _plan(settings: Settings) -> folder.Plan:
    return folder.Plan(**{name: getattr(settings, name) for name in folder.Plan._fields if name in Settings._fields})


def made(artefact: runtime.Artefact, settings: Settings) -> provenance.Made:
    """What makes the outputs, as they will say: the model and the settings that change what is written."""
    every = settings.color == "recolor"
    return {
        "colored_by": provenance.colored_by(),
        "model": artefact.name,
        "sha256": artefact.sha256,
        "input": provenance.ANY if every else provenance.GRAY,
        **{name: getattr(settings, name) for name in ("saturation", "upsample", "quality", "lossless_luma")},
        **{name: getattr(settings, name) for name in ("metadata", "temporal")},
    }


def _jobs(
    found: Iterable[walk.Found],
    output: str | None,
    settings: Settings,
    inputs: set[tuple[int, int]],
    begun: claims.Claims,
) -> Iterator[folder.Job]:
    return folder.jobs(found, _plan(settings), inputs, folder.keys(output), begun)


def shared_folder(inputs: Sequence[str], output: str | None) -> Path | None:
    """The folder that is written to, whose work several runs may share; None where one file is, or many places are."""
    if output is None:
        return Path(inputs[0]) if len(inputs) == 1 and os.path.isdir(inputs[0]) else None
    into = len(inputs) > 1 or os.path.isdir(inputs[0]) or os.path.isdir(output) or output.endswith(("/", os.sep))
    return Path(output) if into else None


def _count(threads: int | None) -> int:
    if threads is not None and threads < 1:
        raise ValueError(f"threads {threads}: expected 1 or more")
    return threads or images.threads()


def _cost(job: folder.Job) -> float:
    return 0 if job.verdict else job.width * job.height * job.pages + job.size / 4


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """OpenCV without threads of its own: there is a picture for each processor."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _stages(
    artefact: runtime.Artefact,
    settings: Settings,
    plan: folder.Plan,
    workers: int,
    fetch: Callable[[folder.Job], bytes],
    put: Callable[[folder.Job, bytes], tuple[str, ...]],
) -> tuple[list[pipeline.Stage], pipeline.Limits]:
    """What is done with each job, and what may be in flight."""
    usual = pictures.Writing(settings.quality, settings.metadata, settings.lossless_luma, look(settings))
    steadied: dict[Path, chroma.Steady] = {}

    def read(job: folder.Job) -> tuple[folder.Job, bytes]:
        for _ in range(READS):
            before = walk.state(job.source)
            data = fetch(job)
            if walk.state(job.source) == before:
                return job._replace(size=len(data), state=before), data
        raise folder.Verdict("failed", "it changes while it is being read: color it again once it is whole")

    def decode(given: tuple[folder.Job, bytes]) -> _Work | _Copy:
        return _decode(artefact, *given, settings, plan)

    def infer(works: list[_Work | _Copy]) -> list[_Work | _Copy]:
        flat = [page for work in works if isinstance(work, _Work) for page in (work, *work.more)]
        parts = [flat[at : at + batch] for at in range(0, len(flat), batch)]
        done = iter([page._replace(cbcr=cbcr) for part in parts for page, cbcr in zip(part, _predict(artefact, part))])
        return [
            next(done)._replace(more=tuple(next(done) for _ in work.more)) if isinstance(work, _Work) else work
            for work in works
        ]

    def steady(work: _Work | _Copy) -> _Work | _Copy:
        if isinstance(work, _Copy):
            return work
        sequence = work.job.source.parent
        if sequence not in steadied:
            steadied.clear()  # frames come folder by folder
            steadied[sequence] = chroma.Steady()
        small = cv2.resize(_eight(work.picture.gray), work.cbcr.shape[:0:-1], interpolation=cv2.INTER_AREA)
        return work._replace(cbcr=steadied[sequence](small, work.cbcr))

    def encode(work: _Work | _Copy) -> _Work | _Copy:
        if isinstance(work, _Copy):
            return work
        if work.job.replay:
            verdict = folder.done(work.job, plan, in_color=partial(_in_color, plan=plan))
            raise verdict or folder.Verdict("skipped", folder.DONE)
        writing = usual._replace(made=folder.making(work.job, plan))
        written = [pictures.encode(page.picture, page.cbcr, work.job.format, writing) for page in (work, *work.more)]
        data = pages.joined([one for one, _ in written]) if work.more else written[0][0]
        notes = tuple(dict.fromkeys([*work.notes, *(note for _, more in written for note in more)]))
        losses = [note.removeprefix(pictures.LOSS) for note in notes if note.startswith(pictures.LOSS)]
        if settings.in_place and losses:
            raise folder.Verdict("failed", f"in place there would be a loss: {'; '.join(losses)}: give an output")
        return work._replace(data=data, notes=notes)

    def write(work: _Work | _Copy) -> folder.Record:
        more = put(work.job, work.data)
        if isinstance(work, _Copy):
            return _blank(work.job)._replace(status="ok", reason=folder.COPIED, notes=more)
        height, width = work.picture.gray.shape
        return _blank(work.job)._replace(status="ok", width=width, height=height, notes=(*work.notes, *more))

    gpu = artefact.provider in runtime.GPUS
    batch = BATCH if gpu and artefact.graph == "chroma" else 1
    stages = [
        pipeline.Stage("read", read, threads=1),  # it waits for disks, as write does
        pipeline.Stage("decode", decode),
        pipeline.Stage("infer", infer, threads=1 if gpu else 0, batch=batch),
        *([pipeline.Stage("steady", steady, ordered=True)] if settings.temporal else []),
        pipeline.Stage("encode", encode),
        pipeline.Stage("write", write, threads=2),
    ]
    return stages, pipeline.Limits(workers, 2 * workers + 4 + (2 * batch if gpu else 0), PIXELS * max(2, workers))


def _fetch(job: folder.Job, plan: folder.Plan, lists: provenance.Lists) -> bytes:
    """The bytes of a job's file. Raises folder.Verdict where there is nothing to do, and OSError."""
    verdict = job.verdict or (None if job.replay else folder.done(job, plan, lists, partial(_in_color, plan=plan)))
    if verdict:
        raise verdict
    if job.size > MAX_BYTES:
        raise folder.Verdict("failed", f"too large: {job.size:,} bytes, expected at most {MAX_BYTES:,}")
    return job.source.read_bytes()


def _in_color(path: Path, plan: folder.Plan) -> bool:
    """Whether a file is a picture in color; also where it cannot be read, as then it was not to be colored."""
    try:
        return pictures.read(images.read(path), plan.max_pixels).is_color is not False
    except (OSError, images.UnreadableImage):
        return True


def _decode(
    artefact: runtime.Artefact, job: folder.Job, data: bytes, settings: Settings, plan: folder.Plan
) -> _Work | _Copy:
    """A file's bytes as a picture and what the model sees of it. Raises images.UnreadableImage and folder.Verdict."""
    parts = pages.split(data) if job.pages > 1 and settings.pages == "all" else [data]
    if settings.in_place and (frames := images.frames(data)) > len(parts):
        lost = frames - len(parts)
        raise folder.Verdict("failed", f"in place {lost} of its {frames} frames would be lost: give an output")
    works, verdicts = [], []
    for part in parts:
        try:
            works.append(_page(artefact, job, part, settings, plan))
        except folder.Verdict as verdict:
            verdicts.append(verdict)
    if verdicts and works:
        raise folder.Verdict("failed", f"{len(verdicts)} of its {len(parts)} pages: {verdicts[0]}; split the file")
    if verdicts and str(verdicts[0]) == folder.IN_COLOR and settings.color == "copy":
        return _Copy(folder.as_copy(job, data, plan), data)
    if verdicts:
        raise verdicts[0]
    every = [f"all {len(works)} pages"] if len(works) > 1 else []
    notes = dict.fromkeys([*every, *(note for work in works for note in work.notes)])
    things = pages.held([work.picture.things for work in works])
    works = [work._replace(picture=work.picture._replace(things=held)) for work, held in zip(works, things)]
    return works[0]._replace(more=tuple(works[1:]), notes=tuple(notes))


def _page(artefact: runtime.Artefact, job: folder.Job, data: bytes, settings: Settings, plan: folder.Plan) -> _Work:
    judge = settings.color != "recolor" and not settings.in_place
    picture = pictures.read(data, settings.max_pixels, judge=judge, strict=settings.strict)
    if judge and picture.is_color:
        raise folder.Verdict("skipped", folder.IN_COLOR)
    if settings.in_place and (verdict := _colored_in_place(job, data, plan)):
        raise verdict
    gray = _eight(picture.gray)
    if artefact.graph == "chroma":
        gray = images.prepared(gray, artefact.options)
    return _Work(job, picture, gray, notes=tuple(picture.notes))


def _colored_in_place(job: folder.Job, data: bytes, plan: folder.Plan) -> folder.Verdict | None:
    """The verdict on a file that has color, or says that it was colored, and is to be replaced; None where it may be.

    With `overwrite` colors that are none of the photograph's own, as its tag says, are made anew if differently.
    """
    made, has_color = provenance.of(data), tinted(data)
    differs = provenance.differences(made, folder.making(job, plan)) if made else []
    if differs and not plan.overwrite:
        return folder.Verdict(
            "failed", f"colored before, differently: {', '.join(differs)}; --overwrite colors it anew"
        )
    if differs or not (made or has_color):
        return None
    return folder.Verdict("skipped", folder.IN_COLOR if has_color else folder.DONE)


def tinted(data: bytes) -> bool:
    """Whether an image file has any color, were it but a tint: in more than one pixel in a thousand the channels are
    more than 4 levels apart. Stricter than Picture.is_color, as what a model has colored may pass for toned. Raises
    images.UnreadableImage."""
    rgb = images.read_rgb(data, 64)  # a large one at a fraction of its sides
    red, green, blue = cv2.split(rgb)
    spread = cv2.max(cv2.max(red, green), blue) - cv2.min(cv2.min(red, green), blue)
    return int(np.count_nonzero(spread > 4)) * 1000 > spread.size


def _predict(artefact: runtime.Artefact, works: Sequence[_Work]) -> Iterable[np.ndarray]:
    """The uint8 chroma (2,h,w) of each picture. Raises RuntimeError."""
    if artefact.graph == "chroma":
        return artefact.run(np.stack([work.seen[None] for work in works]))
    return [artefact.chroma(work.seen) for work in works]


def _put(job: folder.Job, data: bytes, plan: folder.Plan) -> tuple[str, ...]:
    """Put a job's output in its place, whole, in a folder that is made where missing; returns notes. Raises OSError."""
    assert job.target is not None
    notes: tuple[str, ...] = ()
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise folder.Verdict(
            "failed", f"its folder {job.target.parent} cannot be made: a file is in its place"
        ) from None
    if os.path.exists(job.target) and not os.path.isfile(job.target):
        raise folder.Verdict("failed", f"its output {job.target} is no regular file, so it is not replaced")
    if plan.in_place and job.state != walk.state(job.source):
        raise _changed(_colored_in_place(job, images.read(job.source), plan))
    if job.format and not plan.in_place and not provenance.of(data):
        try:
            provenance.enlist(job.target, data, folder.making(job, plan))
        except OSError as error:
            notes = (f"what made it could not be noted in {provenance.LIST}: {folder.reason(error)}",)
    new = not (plan.overwrite or plan.in_place or folder.replaced(job, plan))
    try:
        with replacing(job.target, folder=plan.in_place, exclusive=new) as file:
            file.write(data)
            file.flush()  # before times are set
            if plan.in_place:
                inherit(job.source, file)
            if plan.keep_times and job.times:
                os.utime(file.fileno() if os.utime in os.supports_fd else file.name, ns=job.times)
    except FileExistsError:
        raise _changed(folder.done(job, plan, in_color=partial(_in_color, plan=plan))) from None
    if plan.kept is not None:
        plan.kept[job.target] = job.state, walk.state(job.target)
    return notes


def _changed(verdict: folder.Verdict | None) -> folder.Verdict:
    """The verdict on a job whose place another one has written to meanwhile, given that on what is there now."""
    if verdict and verdict.status == "skipped":
        return folder.Verdict("skipped", folder.MEANWHILE, verdict.notes)
    return verdict or folder.Verdict("failed", "it was changed while it was being colored: color it again")


def _blank(job: folder.Job) -> folder.Record:
    return folder.Record(
        str(job.source), None if job.target is None else str(job.target), "failed", "", job.width, job.height
    )


def _record(result: pipeline.Result) -> folder.Record:
    error = result.error
    record = result.value if error is None else _blank(result.item)._replace(reason=folder.reason(error))
    return record._replace(
        status=error.status if isinstance(error, folder.Verdict) else record.status,
        notes=error.notes if isinstance(error, folder.Verdict) else record.notes,
        seconds=round(result.seconds, 6),
        cpu_seconds={stage: round(seconds, 6) for stage, seconds in result.cpu.items()},
    )


# --- the command ---------------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> int:
    """Run the verb with these arguments (none: the command line's); returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        arguments = tyro.cli(Arguments, prog="python -m recolor_fast.colorize", args=argv)
    except SystemExit as stop:  # --help, or wrong arguments, which tyro explains on stderr
        return int(stop.code or OK)
    try:
        with stoppable():
            return _run(arguments)
    except (runtime.BadArtefact, runtime.NoProvider) as error:
        say(str(error))
        return NO_MODEL
    except ValueError as error:
        say(str(error))
        return USAGE
    except (Stopped, KeyboardInterrupt) as stop:
        say("stopped; what was written so far is complete, and the same command goes on from there")
        return stop.code if isinstance(stop, Stopped) else 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more when it ends
        say("stopped: nobody reads the output any more; the same command goes on from there")
        return ERROR
    except Exception as error:
        if os.environ.get(TRACEBACK):
            traceback.print_exc()
        say(f"unexpected error: {type(error).__name__}: {error} (set {TRACEBACK}=1 to see where)")
        return ERROR


def _run(arguments: Arguments) -> int:
    settings, threads, paths = checked(arguments.settings), _count(arguments.threads), arguments.paths
    inputs, output = (paths, None) if settings.in_place or not paths else (paths[:-1], paths[-1])
    enough, total = threading.Event(), None
    protected: set[tuple[int, int]] = set()
    begun: claims.Claims | None = None
    found: Iterable[walk.Found]
    jobs: Iterable[folder.Job]
    ends: dict[str, Any] = {}
    if "-" in paths:
        if len(inputs) != 1 or output is None or arguments.watch:
            raise ValueError(f"paths {' '.join(paths)!r}: with - expected IN OUT, one image, and no watch")
        jobs, ends = _stream(inputs[0], output, settings)
        total = 1
    else:
        check(inputs, output, settings, arguments.watch)
        begun = claims.Claims(shared_folder(inputs, output), enough, arguments.watch)
        if arguments.watch:

            def glance() -> list[walk.Found]:
                found = list(walk.find(inputs, output, globs(settings)))
                protected.clear()
                protected.update(walk.identities(found))
                return found

            found = walk.watch(glance, enough, again=begun.missed)
        else:
            found = list(walk.find(inputs, output, globs(settings)))
            protected, total = walk.identities(found), len(found)
        jobs = _jobs(found, output, settings, protected, begun)
    artefact = _model(arguments, threads if total == 1 else 1)
    if output == "-" and settings.color == "skip":
        settings = settings._replace(color="copy")  # whoever reads stdout waits for a picture
    tally = _Tally(settings, inputs, output)
    with ExitStack() as stack:
        if begun is not None:
            stack.enter_context(closing(begun))
        stack.callback(tally.tell)  # once all is over, however it ends
        hide = None if sys.stderr.isatty() else True
        bar = stack.enter_context(tqdm(total=total, unit="file", file=sys.stderr, disable=hide))
        records = stack.enter_context(
            closing(color(artefact, jobs, settings, threads, enough=enough, begun=begun, **ends))
        )
        for record in records:
            bar.update()
            tally.add(record)
            if arguments.json:
                print(folder.to_json(record), file=sys.stderr if output == "-" else sys.stdout, flush=True)
    return tally.code


def _model(arguments: Arguments, threads: int) -> runtime.Artefact:
    """The artefact, whose provider is told, and that it is the package's own where none was given."""
    path = runtime.shipped() if arguments.model is None else arguments.model
    artefact = runtime.load(path, arguments.provider, threads=threads)
    if arguments.require_provider and artefact.fallback:
        raise runtime.NoProvider("auto", artefact.fallback, "or leave out --require-provider to compute on the cpu")
    if arguments.model is None:
        say("model: the colorizer that comes with recolor_fast (--model takes another)")
    say(f"provider: {artefact.provider}{artefact.fallback and f' ({artefact.fallback})'}")
    return artefact


def _stream(source: str, output: str, settings: Settings) -> tuple[list[folder.Job], dict[str, Any]]:
    """The job of one image, and how its bytes are had and put: from stdin where `source` is "-", to stdout where
    `output` is. Raises ValueError and OSError."""
    if output != "-" and os.path.isdir(output):
        raise ValueError(f"output {output} is a folder: give a file, as stdin has no name")
    if output != "-":
        check_named(output, settings)
    if source != "-":
        folder.check([source], None if output == "-" else output)
        if os.path.isdir(source):
            raise ValueError(f"input {source} is a folder: with - expected one image")
    with open(0 if source == "-" else source, "rb", closefd=source != "-") as file:
        status = os.fstat(file.fileno())
        data = file.read(MAX_BYTES + 1)
    header = images.header(BytesIO(data)) or images.Header("", 0, 0)
    target, format = folder.output_of(Path(output), header.format, settings.format, named=True)
    job = folder.Job(Path(source), None if output == "-" else target, format, header.width, header.height, len(data))
    job = job._replace(whole=None if output == "-" else folder.whole(target, header.format, named=True))
    if source != "-":
        job = job._replace(times=(status.st_atime_ns, status.st_mtime_ns))

    def fetch(job: folder.Job, plan: folder.Plan, lists: provenance.Lists) -> bytes:
        if source == "-" and not plan.overwrite and job.target is not None and os.path.lexists(job.target):
            raise folder.Verdict("failed", f"its output {job.target} exists; --overwrite replaces it")
        if verdict := folder.done(job, plan, lists, partial(_in_color, plan=plan)):
            raise verdict
        return data

    def put(job: folder.Job, data: bytes, plan: folder.Plan) -> tuple[str, ...]:
        if job.target is not None:
            return _put(job, data, plan)
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return ()

    return [job], {"fetch": fetch, "put": put}


class _Tally:
    """What is told to people at the end, and the exit code."""

    def __init__(self, settings: Settings, inputs: Sequence[str], output: str | None) -> None:
        self.settings, self.to_stdout = settings, output == "-"
        self.alone = output is not None and len(inputs) == 1 and not os.path.isdir(inputs[0])
        self.colored = 0
        self.copied = 0
        self.skipped: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.failures: list[tuple[str, str]] = []

    def add(self, record: folder.Record) -> None:
        self.colored += record.status == "ok" and record.reason != folder.COPIED
        self.copied += record.reason == folder.COPIED
        if record.status == "skipped":
            self.skipped[record.reason] += 1
        if record.status == "failed":
            self.failures.append((record.input, record.reason))
        self.notes.update(record.notes)

    def tell(self) -> None:
        why = ", ".join(f"{count} {reason}" for reason, count in self.skipped.most_common())
        say(f"{self.colored} colored, {self.skipped.total()} skipped{why and f' ({why})'}, {len(self.failures)} failed")
        became = "left alone" if self.settings.color == "skip" else "copied whole"
        became = "passed through unchanged" if self.to_stdout else became
        if count := self.copied + self.skipped[folder.IN_COLOR]:
            advice = "" if self.settings.in_place else f"; --color recolor colors {'it' if count == 1 else 'them'}"
            say(f"  {count} in color: {became}{advice}")
        for path, reason in self.failures:
            say(f"  {path}: {reason}")
        for note, count in self.notes.most_common(10):
            say(f"  {count} x {note}")

    @property
    def code(self) -> int:
        return FAILED if self.failures or (self.alone and self.skipped[folder.IN_COLOR]) else OK


def say(text: str) -> None:
    """A line for people; what in names is not valid Unicode, breaks lines or commands a terminal is shown escaped."""
    text = re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda control: ascii(control[0])[1:-1], text)
    print(text.encode(errors="backslashreplace").decode(), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
