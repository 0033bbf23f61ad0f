"""The photographs of an evaluation: which, their true classes, and each as all systems see it."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recolor_fast import resolve
from recolor_fast.arguments.evaluate import Arguments
from recolor_fast.data import index, shards, sources
from recolor_fast.evaluation import judges
from recolor_fast.machine.errors import UserError
from recolor_fast.options import Data
from recolor_fast.photographs import images

WNID = re.compile(r"n\d{8}")


class Photograph(NamedTuple):
    """A photograph as all systems see it."""

    truth: np.ndarray
    """uint8 (S,S,3)."""
    gray: np.ndarray
    """uint8 (S,S), its Rec. 601 luminance, which every chroma is merged with."""
    luma: np.ndarray
    """uint8 (H,W), the luminance of the whole photograph, which a system's source is prepared from."""


class Chosen(NamedTuple):
    """The photographs of an evaluation."""

    root: Path
    """The folder that `paths` lie in, or their shards."""
    paths: list[Path]
    unusable: dict[Path, str]
    split: str
    """Which part of the data it is, in words."""

    def name(self, path: Path) -> str:
        """A photograph's path below the data's folder."""
        return shards.unpacked(path).relative_to(self.root).as_posix()


def choose(arguments: Arguments) -> Chosen:
    """The photographs to evaluate on, each read once. UserError for data that cannot be used."""
    data = resolve.data(arguments.data)
    if data == "sample":
        files: Sequence[Path] = sources.sample()
        root, split = files[0].parent, "sample"
    else:
        # Absolute: a folder here that is called imagenette is not the data of that name.
        place = str(sources.imagenette() if data == "imagenette" else Path(data).absolute())
        parts = sources.photographs(Data(data=place, val_per_class=arguments.val_per_class, seed=arguments.seed))
        root, held_out = shards.root(place), parts.given or arguments.val_per_class is not None
        files = parts.val if held_out else _evenly(dict.fromkeys((*parts.val, *parts.train)))
        split = "validation part" if held_out else "all photographs"
    usable, unusable = index.usable(files[: arguments.limit] if arguments.limit else files, "full")
    leave_out(unusable, arguments.strict)
    return Chosen(root, usable, unusable, split)


def leave_out(unusable: dict[Path, str], strict: bool, pictures: Mapping[Path, Path] = {}) -> None:  # read only
    """Say which photographs are left out, or which of their `pictures` takes them along; UserError if `strict`."""
    for path, reason in unusable.items():
        file = pictures.get(path, path)
        if strict:
            raise UserError(f"{file}: {reason} ({len(unusable)} in all); without --strict they are left out")
        also = "" if file == path else f", and {path} with it"
        index.warn(f"{file} is left out{also}: {reason}")


def _evenly(paths: Iterable[Path]) -> list[Path]:
    """The first of every folder, then the second of every folder, and so on."""
    before: Counter[Path] = Counter()
    places = []
    for path in paths:
        folder = shards.unpacked(path).parent
        places.append((before[folder], path))
        before[folder] += 1
    return [path for _, path in sorted(places, key=lambda place: place[0])]


def read(path: Path, size: int) -> Photograph:
    """A file as the protocol's square. UserError naming a file that cannot be decoded."""
    with index.naming(path):
        rgb = images.read_rgb(shards.read(path))
    truth = images.resize(rgb, size, size)
    return Photograph(truth, images.gray(truth), images.gray(rgb))


def true_classes(chosen: Chosen) -> np.ndarray:
    """Each photograph's class among ImageNet's 1,000, int (n,), -1 where it is not known.

    The class is the wnid of its folder, or of its name. Known are those of Imagenette, and all of them where the
    photographs' folders are exactly ImageNet's 1,000, whose order is the classes'.
    """
    from torchvision.datasets import Imagenette

    paths = [shards.unpacked(path) for path in chosen.paths]
    around = {path.parent.parent for path in paths if path.parent.parent.is_dir()}
    folders = {one.name for above in around for one in above.iterdir() if one.is_dir() and WNID.fullmatch(one.name)}
    categories = judges.CLASSIFIER.meta["categories"]
    known = {wnid: categories.index(names[0]) for wnid, names in Imagenette._WNID_TO_CLASS.items()}
    if len(folders) == len(categories):
        known = {wnid: place for place, wnid in enumerate(sorted(folders))}
    wnids = [WNID.match(path.parent.name) or WNID.match(path.name) for path in paths]
    return np.array([known.get(wnid.group(), -1) if wnid else -1 for wnid in wnids])
