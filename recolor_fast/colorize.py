"""Verb: color gray photographs, files or folders of them; needs no torch.

    python -m recolor_fast.colorize IN... OUT [--model FILE.onnx]

With the colorizer that comes with the package, or with any exported generator.
Chroma is predicted at the model's size, upsampled and merged with the full-size luminance, which stays as it is. From
Python it is `Colorizer`.
"""

if __name__ == "__main__":
    from recolor_fast import starting

    starting.run("recolor_fast.colorize")

import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, overload

import numpy as np
import tyro
from PIL import Image
from tqdm import tqdm

from recolor_fast import folder, images, outputs, pictures, runtime, sheet
from recolor_fast.arguments import foreign
from recolor_fast.coloring import LOOK, Settings, as_image, color, colorize, count, eight, look, made, plan_of
from recolor_fast.destinations import check, check_named, meant, parted, shared_folder
from recolor_fast.errors import UserError
from recolor_fast.files import say
from recolor_fast.photographs import claims, encoders, libraries, provenance, walk
from recolor_fast.photographs.tones import judged
from recolor_fast.signals import Stopped, stoppable
from recolor_fast.tally import Tally

OK, ERROR, USAGE, FAILED, NO_MODEL = 0, 1, 2, 3, 4  # exit codes; 128 + the signal's number where one stopped it
TRACEBACK = "RECOLOR_FAST_TRACEBACK"  # environment variable: set, an unexpected error shows where it came from


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
    one image a file, or a folder if it exists or its name has no suffix."""
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
    sheet: Path | None = None
    """Write a contact sheet to this file (.jpg, .png): up to 12 photographs of this run as they were and colored."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """A line of JSON on stdout for every file as soon as it is done, images or not: input, output, status (ok, skipped,
    failed), reason, width, height, notes, seconds, cpu_seconds by stage. On stderr where OUT is -."""


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
        keep_tone: float = LOOK.keep_tone,
    ) -> None:
        """`path`: an exported .onnx file; None: the colorizer that comes with the package. `threads`: processors to
        use; None: all that this process may use. Raises what `runtime.load` and `runtime.shipped` raise, and
        ValueError for settings out of range."""
        self.settings = checked(Settings(upsample=upsample, saturation=saturation, keep_tone=keep_tone))
        self.path = None if path is None else Path(path).absolute()
        self.provider = provider
        self.threads = threads
        chosen = runtime.shipped() if path is None else path
        self._load = cache(lambda count: runtime.load(chosen, provider, threads=count))  # by threads an inference
        self.artefact = self._load(count(threads))

    def __reduce__(self) -> tuple[type["Colorizer"], tuple[Any, ...]]:
        return type(self), (self.path, self.provider, self.threads, *look(self.settings))

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
            picture = self._read(images.read(Path(image)))
            return as_image(colorize(self.artefact, picture.gray, look(self.settings), picture.tone), picture.alpha)
        raise ValueError(f"image {type(image).__name__}: expected an array, a Pillow image, a path or a file's bytes")

    def _array(self, image: np.ndarray, alpha: np.ndarray | None = None) -> np.ndarray:
        wanted = image.dtype in (np.uint8, np.uint16) and image.ndim in (2, 3) and image.shape[2:] in ((), (3,))
        if not wanted or not image.size:
            raise ValueError(
                f"image {image.dtype} {image.shape}: expected uint8 or uint16, (H,W) or (H,W,3), not empty"
            )
        gray = images.gray(image) if image.ndim == 3 else image
        tone = judged(image, alpha)[1] if self.settings.keep_tone else None
        return colorize(self.artefact, gray, look(self.settings), tone)

    def _read(self, data: bytes) -> pictures.Picture:
        return pictures.read(data, judge=self.settings.keep_tone > 0)

    def _image(self, image: Image.Image) -> Image.Image:
        pixels, alpha = pictures.of_image(image)
        turn = images.orientation(image)  # the model knows upright photographs; the result lies as the image does
        as_seen = (images.upright(pixels, turn), None if alpha is None else images.upright(alpha, turn))
        rgb = images.upright(self._array(*as_seen), images.INVERSE[turn])
        colored = as_image(rgb, alpha)
        colored.info = {key: value for key, value in image.info.items() if key not in ("icc_profile", "transparency")}
        return colored

    def _file(self, data: bytes) -> bytes:
        picture = self._read(data)
        format = picture.format if picture.format in encoders.WRITABLE else "PNG"
        settings = self.settings._replace(color="recolor")
        writing = pictures.Writing(look=look(settings), made=provenance.written(made(self.artefact, settings), format))
        return pictures.encode(picture, self.artefact.chroma(eight(picture.gray)), format, writing)[0]

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
        inputs = [os.fspath(one) for one in given]
        target = None if output is None else meant(inputs, os.fspath(output))
        check(inputs, target, chosen, watch=False)
        found = list(walk.find(inputs, target, globs(chosen)))
        artefact = self.artefact if len(found) < 2 else self._load(1)
        enough = threading.Event()
        with closing(claims.Claims(shared_folder(inputs, target), enough)) as begun:
            jobs = _jobs(found, target, chosen, walk.identities(found), begun)
            with closing(color(artefact, jobs, chosen, self.threads, enough=enough, begun=begun)) as records:
                return list(records)


def globs(settings: Settings) -> walk.Globs:
    """The part of the settings that says which files of a folder are meant."""
    return walk.globs(settings.include, settings.exclude)


def checked(settings: Settings) -> Settings:
    """The settings with `format` as the key of encoders.WRITABLE that it names. Raises ValueError, naming the value."""
    limits = (("quality", 1, 100), ("saturation", 0, 4), ("keep_tone", 0, 1), ("max_pixels", 1, images.MAX_PIXELS))
    for name, low, high in limits:
        if not low <= getattr(settings, name) <= high:
            raise ValueError(f"{name} {getattr(settings, name)}: expected {low} to {high:,}")
    format = folder.FORMATS.get(f".{settings.format.lower()}", settings.format.upper())
    if format and format not in encoders.WRITABLE:
        raise ValueError(f"format {settings.format}: expected one of {', '.join(encoders.WRITABLE)}")
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


def _jobs(
    found: Iterable[walk.Found],
    output: str | None,
    settings: Settings,
    inputs: set[tuple[int, int]],
    begun: claims.Claims,
) -> Iterator[folder.Job]:
    return folder.jobs(found, plan_of(settings), inputs, folder.keys(output), begun)


# --- the command ---------------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> int:
    """Run the verb with these arguments (none: the command line's); returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        foreign.check(argv, [*Arguments._fields, *Settings._fields], foreign.COLORIZE)
        arguments = tyro.cli(Arguments, prog="python -m recolor_fast.colorize", args=argv)
    except UserError as error:
        say(str(error))
        return USAGE
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
    settings, threads, paths = checked(arguments.settings), count(arguments.threads), arguments.paths
    inputs, output = parted(paths, settings.in_place)
    if arguments.sheet:
        sheet.check(arguments.sheet, tuple(inputs), output, settings.overwrite, arguments.watch)
    shown = sheet.Sheet(arguments.sheet) if arguments.sheet else None
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
    tally = Tally(settings, inputs, output)
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
            if shown:
                shown.add(record)
            if arguments.json:
                print(folder.to_json(record), file=sys.stderr if output == "-" else sys.stdout, flush=True)
    wanting = bool(shown and not _write(shown, artefact, settings))
    return FAILED if tally.failed or wanting else OK


def _write(shown: sheet.Sheet, artefact: runtime.Artefact, settings: Settings) -> bool:
    """Write the contact sheet and say so, or why there is none; whether all is well."""
    try:
        count = shown.write(f"{shown.count} colored, before and after, by {artefact.name}", settings.overwrite)
    except (ValueError, OSError) as error:
        say(f"sheet {shown.path}: not written: {folder.reason(error)}")
        return False
    say(f"sheet: {shown.path}, {count} of {shown.count}" if count else "no sheet: this run colored nothing")
    return True


def _model(arguments: Arguments, threads: int) -> runtime.Artefact:
    """The artefact, whose provider is told, and that it is the package's own where none was given."""
    path = runtime.shipped() if arguments.model is None else arguments.model
    artefact = runtime.load(path, arguments.provider, threads=threads)
    if arguments.require_provider and artefact.fallback:
        raise runtime.NoProvider("auto", artefact.fallback, "or leave out --require-provider to compute on the cpu")
    model = "the colorizer that comes with recolor_fast" if arguments.model is None else artefact.name
    say(f"{model}, {runtime.place(artefact)}")
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
        data = file.read(outputs.MAX_BYTES + 1)
    header = images.header(BytesIO(data)) or images.Header("", 0, 0)
    target, format = folder.output_of(Path(output), header.format, settings.format, named=True)
    job = folder.Job(Path(source), None if output == "-" else target, format, header.width, header.height, len(data))
    job = job._replace(whole=None if output == "-" else folder.whole(target, header.format, named=True))
    if source != "-":
        job = job._replace(times=(status.st_atime_ns, status.st_mtime_ns))

    def fetch(job: folder.Job, plan: folder.Plan, lists: provenance.Lists) -> bytes:
        if source == "-" and not plan.overwrite and job.target is not None and os.path.lexists(job.target):
            raise folder.Verdict("failed", f"its output {job.target} exists; --overwrite replaces it")
        if verdict := outputs.done(job, plan, lists, partial(outputs.shows_color, plan=plan)):
            raise verdict
        return data

    def put(job: folder.Job, data: bytes, plan: folder.Plan) -> tuple[str, ...]:
        if job.target is not None:
            return outputs.put(job, data, plan)
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return ()

    return [job], {"fetch": fetch, "put": put}
