"""A model, ready to color: what the verb `colorize` is from Python. No torch."""

import math
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from PIL import Image

from recolor_fast.artefact import card, runtime
from recolor_fast.artefact.hints import Given, Hint
from recolor_fast.artefact.hints import checked as checked_hints
from recolor_fast.coloring import folder, hub, palette
from recolor_fast.coloring.coloring import (
    ALTERING,
    LOOK,
    as_image,
    color,
    colorize,
    count,
    eight,
    made,
    plan_of,
    restored,
)
from recolor_fast.coloring.destinations import beside, check, meant, shared_folder
from recolor_fast.films import request
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import say
from recolor_fast.photographs import claims, encoders, images, libraries, pictures, provenance, restoring, walk
from recolor_fast.photographs.tones import judged
from recolor_fast.settings import Codec, Look, Settings


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
        warmth: float = LOOK.warmth,
        strength: float = LOOK.strength,
        restore: bool = False,
        negative: bool = False,
    ) -> None:
        """`path`: an exported .onnx file; None: the colorizer that comes with the package. `threads`: processors to
        use; None: all that this process may use. The others are those of Settings. Raises what `runtime.load` and
        `runtime.shipped` raise, and UserError, a ValueError, for settings out of range."""
        self.settings = checked(
            Settings(
                upsample=upsample,
                saturation=saturation,
                keep_tone=keep_tone,
                warmth=warmth,
                strength=strength,
                restore=restore,
                negative=negative,
            )
        )
        self.path = None if path is None else Path(path).absolute()
        self.revision = ""  # the commit that from_pretrained has taken it from
        self.provider = provider
        self.threads = threads
        # by threads an inference, and the graph of the package's own
        self._load = cache(
            lambda count, graph="chroma": runtime.load(self.path or runtime.shipped(graph), provider, count)
        )
        self.artefact = self._load(count(threads))

    @classmethod
    def from_pretrained(
        cls, source: str | Path, revision: str | None = None, file: str | None = None, **settings: Any
    ) -> "Colorizer":
        """The colorizer of a folder, or of a repository owner/name of the Hugging Face Hub (extra `hub`).

        A folder that is there is taken as one. `file`: which .onnx file in it; needed where there are several.
        `revision`: of a repository, a branch, a tag or a commit; only a commit, which is `Colorizer.revision`, stays
        what it is. `settings` are those of `Colorizer`. The file is of the size and hash that the hub tells, and an
        artefact: no code runs. Raises UserError, a ValueError, and what `Colorizer` raises.
        """
        if (folder := Path(source)).is_dir():
            if revision is not None:
                raise UserError(f"revision {revision}: {folder} is a folder, which has none")
            return cls(folder / hub.chosen([path.name for path in folder.iterdir()], file, folder), **settings)
        path, commit = hub.download(str(source), revision, file)
        colorizer = cls(path, **settings)
        colorizer.revision = commit
        return colorizer

    def push(self, repo: str, revision: str | None = None, private: bool | None = None) -> str:
        """Send the model and its card to a repository owner/name of the Hugging Face Hub (extra `hub`); the commit.

        The repository, and its branch `revision`, are made where they are missing; `private`: for you alone. The card
        is FILE.onnx.md beside the model, or is made; it becomes README.md. One that somebody has edited there stays,
        unless yours is edited too. Raises UserError, a ValueError; nothing is sent then.
        """
        if self.path is None:
            raise UserError("push: the colorizer of the package is in every install; give a FILE.onnx of your own")
        data, beside = self.path.read_bytes(), card.path_of(self.path)
        own = beside.read_text() if beside.is_file() else card.text(self.path.name, self.artefact.metadata)
        files = {self.path.name: data}
        there = hub.card(repo, revision)
        if there is None or card.unedited(there) or not card.unedited(own):
            files[hub.CARD] = own.encode()
        else:
            say(f"push: the card of {repo} has been edited and stays as it is")
        return hub.upload(repo, files, revision, private, f"{self.path.name} (sha256 {self.artefact.sha256})")

    def __reduce__(self) -> tuple[type["Colorizer"], tuple[Any, ...]]:
        looked = (getattr(self.settings, name) for name in (*(one.name for one in fields(Look)), *ALTERING))
        return type(self), (self.path, self.provider, self.threads, *looked)

    @overload
    def __call__(self, image: np.ndarray, hints: Sequence[Hint] = ()) -> np.ndarray: ...
    @overload
    def __call__(self, image: Image.Image | str | Path, hints: Sequence[Hint] = ()) -> Image.Image: ...
    @overload
    def __call__(self, image: bytes, hints: Sequence[Hint] = ()) -> bytes: ...
    def __call__(
        self, image: np.ndarray | Image.Image | str | Path | bytes, hints: Sequence[Hint] = ()
    ) -> np.ndarray | Image.Image | bytes:
        """Color one picture, whether or not it is in color already; its luminance (Rec. 601) is kept, within 1 level,
        but for what `restore` and `negative` do to it first.

        An array, uint8 or uint16 (H,W) gray or (H,W,3) RGB, gives RGB (H,W,3) of the same type. A Pillow image of any
        mode gives one of equal size, RGB or, with transparency, RGBA, 8 bits and sRGB, with the same `info`. A path
        gives the file's picture, upright, as such an image. The bytes of a file give those of a colored file as
        `folder` writes them: the same format, or what is written in its place (TIFF of a camera's raw file, PNG of
        others), with metadata. `hints` are colors at some places of the upright picture, Hints or dictionaries of their
        fields; the package's own model that follows them then takes the place of its other one. Raises ValueError for
        other arguments, images.UnreadableImage, which is one, for what is no picture, and OSError for a path that
        cannot be read.
        """
        placed = checked_hints(hints)
        if isinstance(image, np.ndarray):
            return self._array(image, placed)
        if isinstance(image, Image.Image):
            return self._image(image, placed)
        if isinstance(image, bytes):
            return self._file(image, placed)
        if isinstance(image, str | Path):
            picture = self._read(images.read(Path(image)))
            picture, new = restored(picture, self.settings)
            return as_image(self._colored(new, picture.tone, placed), picture.alpha)
        raise UserError(f"image {type(image).__name__}: expected an array, a Pillow image, a path or a file's bytes")

    def palette(self, image: np.ndarray | Image.Image | str | Path, x: float, y: float, count: int = 8) -> list[str]:
        """Plausible colors, #rrggbb, at a place of the upright picture, the most plausible first (palette.colors).

        Raises ValueError for a place outside of it, and as a call does.
        """
        if isinstance(image, str | Path):
            gray = pictures.read(images.read(Path(image)), judge=False).gray
        elif isinstance(image, Image.Image):
            gray = _gray(images.upright(pictures.of_image(image)[0], images.orientation(image)))
        else:
            gray = _gray(image)
        return palette.colors(self._following, eight(gray), x, y, count)

    @property
    def _following(self) -> runtime.Artefact:
        """The model that follows hints: this one, or the package's own where no file was given."""
        if self.artefact.graph == "hints" or self.path is not None:
            return self.artefact
        return self._load(count(self.threads), "hints")

    def _colored(self, new: restoring.Restored, tone: np.ndarray | None, hints: Sequence[Hint]) -> np.ndarray:
        artefact = self._following if hints else self.artefact
        return colorize(artefact, new.gray, self.settings, tone, hints, new.border)

    def _array(self, image: np.ndarray, hints: Sequence[Hint], alpha: np.ndarray | None = None) -> np.ndarray:
        new = restoring.restored(_gray(image), alpha, self.settings.restore, self.settings.negative)
        tone = judged(image, alpha)[1] if self.settings.takes_tone else None
        return self._colored(new, restoring.toned(tone, new), hints)

    def _read(self, data: bytes) -> pictures.Picture:
        return pictures.read(data, judge=self.settings.takes_tone)

    def _image(self, image: Image.Image, hints: Sequence[Hint]) -> Image.Image:
        pixels, alpha = pictures.of_image(image)
        turn = images.orientation(image)  # the model knows upright photographs; the result lies as the image does
        seen, alpha_seen = images.upright(pixels, turn), None if alpha is None else images.upright(alpha, turn)
        rgb = images.upright(self._array(seen, hints, alpha_seen), images.INVERSE[turn])
        colored = as_image(rgb, alpha)
        colored.info = {key: value for key, value in image.info.items() if key not in ("icc_profile", "transparency")}
        return colored

    def _file(self, data: bytes, hints: Sequence[Hint]) -> bytes:
        artefact = self._following if hints else self.artefact
        picture, new = restored(self._read(data), self.settings)
        format = encoders.own(picture.format)
        settings = replace(self.settings, color="recolor")
        cbcr = artefact.chroma(eight(picture.gray), hints, new.border)
        made_by = provenance.written(made(artefact, settings, new), format)
        return pictures.encode(picture, cbcr, format, settings, made_by)[0]

    def film(
        self,
        input: str | Path,
        output: str | Path,
        codec: Codec = "auto",
        temporal: bool = True,
        **settings: Any,
    ) -> folder.Record:
        """Color a film into a file, or a folder, as the command does (extra `video`); what became of it.

        `codec`: what it is compressed with, a key of films.codecs.CODECS. `temporal`: whether its colors are steadied.
        `settings` are those of `Settings` that a film has. Raises UserError, a ValueError, for what cannot be used
        together, ModuleNotFoundError without PyAV.
        """
        chosen = checked(replace(self.settings, **settings)) if settings else self.settings
        source = os.fspath(input)
        request.check(source, chosen, {})
        target = request.target(source, meant([source], os.fspath(output)))
        from recolor_fast.films import film

        filming = film.Filming(codec, temporal)
        return film.color(self._load(1), Path(source), target, chosen, filming, self.threads, show=False)

    def folder(
        self,
        input: str | Path | Sequence[str | Path],
        output: str | Path | None = None,
        hints: Mapping[str, Sequence[Hint]] | None = None,
        **settings: Any,
    ) -> list[folder.Record]:
        """Color files and folders as the command does; a record of each file, as they came to be done.

        `hints` are those of a call, by the name of the file or by its path's last parts. `settings` are those of
        `Settings`; a wrong name is a TypeError. Raises UserError, a ValueError, for what cannot be used together,
        OSError where nothing can be read.
        """
        chosen = checked(replace(self.settings, **settings)) if settings else self.settings
        several = [input] if isinstance(input, str | Path) else input
        inputs = [os.fspath(one) for one in several]
        target = None if output is None else meant(inputs, os.fspath(output))
        check(inputs, target, chosen, watch=False)
        files = list(find(inputs, target, chosen))
        by_name = None if hints is None else Given({name: checked_hints(each) for name, each in hints.items()})
        graph = "chroma" if by_name is None else "hints"
        artefact = self._load(count(self.threads) if len(files) < 2 else 1, graph)
        enough = threading.Event()
        with closing(claims.Claims(shared_folder(inputs, target), enough)) as begun:
            jobs = jobs_of(files, target, chosen, walk.identities(files), begun)
            with closing(
                color(artefact, jobs, chosen, self.threads, enough=enough, begun=begun, hints=by_name)
            ) as records:
                return list(records)


def _gray(image: np.ndarray) -> np.ndarray:
    """Luminance (H,W) of an array as Colorizer takes it. Raises ValueError for others."""
    right = image.dtype in (np.uint8, np.uint16) and image.ndim in (2, 3) and image.shape[2:] in ((), (3,))
    if not right or not image.size:
        raise UserError(f"image {image.dtype} {image.shape}: expected uint8 or uint16, (H,W) or (H,W,3), not empty")
    return images.gray(image) if image.ndim == 3 else image


def find(inputs: Sequence[str], output: str | None, settings: Settings) -> Iterator[walk.Found]:
    """What there is to look at, see walk.find, and where it would go by the settings."""
    found = walk.find(inputs, output, globs(settings))
    return beside(found) if settings.beside else found


UNALTERED = {  # settings that go with none of ALTERING: why
    "in_place": "the print as it was would be lost; give an output instead",
    "lossless_luma": "the luminance changes; use one of the two",
}


def globs(settings: Settings) -> walk.Globs:
    """The part of the settings that says which files of a folder are meant."""
    return walk.globs(settings.include, settings.exclude)


def checked(settings: Settings) -> Settings:
    """The settings with `format` as the key of encoders.WRITABLE that it names. Raises UserError, naming the value."""
    limits = (
        ("quality", 1, 100),
        ("saturation", 0, 4),
        ("keep_tone", 0, 1),
        ("warmth", -1, 1),
        ("strength", 0, 1),
        ("max_pixels", 1, images.MAX_PIXELS),
    )
    for name, low, high in limits:
        if not low <= getattr(settings, name) <= high:
            raise UserError(f"{name} {getattr(settings, name)}: expected {low} to {high:,}")
    format = folder.FORMATS.get(f".{settings.format.lower()}", settings.format.upper())
    if format and format not in encoders.WRITABLE:
        raise UserError(f"format {settings.format}: expected one of {', '.join(encoders.WRITABLE)}")
    if format in libraries.LIBRARIES and (lacks := libraries.missing(format)):
        raise UserError(f"format {format} {lacks}")
    if settings.temporal and settings.pages == "all":
        raise UserError("temporal with pages all: a film's frames are files; use one of the two")
    if settings.in_place and (format or settings.temporal):
        which = "format" if format else "temporal"
        raise UserError(f"in_place with {which}: expected one of the two; give an output instead")
    if settings.in_place and settings.beside:
        raise UserError(
            "in_place with beside: a photograph is replaced or has another one beside it; give one of the two"
        )
    if settings.beside and settings.color == "copy":
        raise UserError("beside with color copy: a copy would lie beside the same photograph; give one of the two")
    altering = next((name for name in ALTERING if getattr(settings, name)), "")
    if altering and (bad := next((name for name in UNALTERED if getattr(settings, name)), "")):
        raise UserError(f"{altering} with {bad}: {UNALTERED[bad]}")
    if settings.restore and settings.temporal:
        raise UserError(
            "restore with temporal: each frame would be stretched for itself, and flicker; use one of the two"
        )
    if settings.skip_color and settings.color != "skip":
        raise UserError(f"skip_color with color {settings.color}: skip_color means color skip; give one of the two")
    if settings.in_place and settings.color != "skip":
        raise UserError(
            f"in_place with color {settings.color}: what has any color is left alone in place; give an output instead"
        )
    if settings.color == "copy" and settings.metadata == "drop":
        raise UserError("color copy with metadata drop: copies are whole, with their metadata; give one of the two")
    globs(settings)
    return replace(settings, format=format)


def jobs_of(
    files: Iterable[walk.Found],
    output: str | None,
    settings: Settings,
    inputs: set[tuple[int, int]],
    begun: claims.Claims,
    most: float = math.inf,
) -> Iterator[folder.Job]:
    return folder.jobs(files, plan_of(settings), inputs, folder.keys(output), begun, most)
