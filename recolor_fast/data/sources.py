"""Which photographs: Imagenette, any folder, shards, or the sample of scikit-image; split by class and seed."""

import os
import posixpath
import shutil
import sys
import tarfile
import tempfile
import time
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from itertools import chain, zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recolor_fast.data import shards
from recolor_fast.data.shards import Found
from recolor_fast.machine import extras
from recolor_fast.machine.download import Pinned, fetch
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import cache_folder, private_folder
from recolor_fast.options import AUTO_SPLIT, Data
from recolor_fast.photographs import images, walk

SAMPLE = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")
"""The natural color photographs among the files of scikit-image."""
ARCHIVE = Pinned(
    "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz",
    "569b4497c98db6dd29f335d1f109cf315fe127053cedf69010d047f0188e158c",
    341_663_724,
)
IMAGENETTE = "imagenette2-320"  # the folder in that archive: short side 320 pixels
VALIDATION = ("val", "valid", "validation", "test")  # names of a folder of validation photographs, first one wins
LARGEST_VALIDATION = 150  # photographs, where one in ten is validated on
DAY = 24 * 3600  # seconds
EXPECTED = (
    "expected a folder of images or of shards (.tar), a shard, shards as '{000000..000009}.tar', auto, imagenette or "
    "sample"
)


class Split(NamedTuple):
    """Photographs to train on and to validate on. The first of `val` come from different classes."""

    train: tuple[Path, ...]
    val: tuple[Path, ...]
    given: bool = False
    """Whether the data say which part is which, by their folders."""


def check(data: str, option: str = "data", advice: str = EXPECTED) -> None:
    """UserError for a folder or shards that do not exist, with the name of the `option` and `advice`."""
    if data not in ("imagenette", "sample") and not Path(data).is_dir() and not shards.given(data, option):
        kind = "shard" if shards.NAME.search(data) else "folder"
        what = "is a file" if Path(data).exists() else "does not exist"
        raise UserError(f"{option} {data}: the {kind} {what}; {advice}")


def photographs(options: Data) -> Split:
    """The photographs of `options.data`; the same `options.seed` gives the same split on every file system.

    imagenette: `per_class` (50) photographs of each class of its training part, `val_per_class` (15) of its validation
    part, chosen by the seed. Downloaded if it is not cached (340 MB).

    A folder with folders `train` and `val` (or valid, validation, test) has that split, and so have shards whose
    members are in such folders: all of each, or the given number per class. Any other is split by the seed, first
    validation, then training: `val_per_class` photographs of each class, or one in ten of all, evenly over the classes,
    150 at most; then `per_class` of each class, or all the rest. Both parts are disjoint, but for a folder of a single
    photograph. The class of a photograph is the folder it lies in, or what its shard says; with `classes` set, only the
    first so many by name are used, in both parts.

    A folder that holds shards and no images stands for its shards, and so do folders `train` and `val`.

    sample: all of its photographs, for training and validation alike, whatever the numbers per class and of classes.

    Raises UserError for a folder without images, a class with fewer photographs than asked for, and a failed download.
    """
    data = options.data
    assert data != "auto"  # resolve.py decides
    check(data)
    if data == "sample":
        return Split(sample(), sample())
    if data == "imagenette":
        root, (per_class, val_per_class) = imagenette(), AUTO_SPLIT["imagenette"]
        per_class, val_per_class = options.per_class or per_class, options.val_per_class or val_per_class
        options = replace(options, per_class=per_class, val_per_class=val_per_class)
        return _given_split(root / "train", root / "val", options)
    if tars := shards.given(data):
        return _split(shards.photographs(tars), Path(data), options)
    folders = {path.name.lower(): path for path in Path(data).iterdir() if path.is_dir()}
    validation = next((folders[name] for name in VALIDATION if name in folders), None)
    if "train" in folders and validation:
        return _given_split(folders["train"], validation, options)
    return _split(_below(Path(data)), Path(data), options)


def sample() -> tuple[Path, ...]:
    """The files of SAMPLE inside the installed scikit-image, which is not imported. Raises UserError without it."""
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"data sample: scikit-image is not installed, whose photographs these are; {extras.advice('train')}"
        )
    folder = Path(spec.submodule_search_locations[0]) / "data"
    missing = [name for name in SAMPLE if not (folder / name).is_file()]
    if missing:
        raise UserError(f"data sample: {folder} lacks {', '.join(missing)}; install scikit-image again")
    return tuple(folder / name for name in SAMPLE)


# --- Imagenette ----------------------------------------------------------------------------------------------------


def cached() -> bool:
    """Whether Imagenette lies in the cache."""
    return (cache_folder() / IMAGENETTE).is_dir()


def imagenette() -> Path:
    """Folder of Imagenette (fast.ai, 10 classes of ImageNet, short side 320 pixels), downloaded if it is not cached.

    It is downloaded and unpacked beside its place in the cache and moved there whole, so an interrupted download leaves
    nothing that a later start would take for the data; a later one resumes with what came. Raises UserError where the
    download fails.
    """
    folder = cache_folder() / IMAGENETTE
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(folder.parent)
        archive = private_folder("downloads") / ARCHIVE.name
        fetch(ARCHIVE, archive)  # what came stays there if it breaks
        try:
            _unpack(archive, folder)
        finally:
            archive.unlink(missing_ok=True)
            with suppress(OSError):  # there may be others
                archive.parent.rmdir()
    except (OSError, tarfile.TarError) as error:
        raise UserError(
            f"data imagenette: {ARCHIVE.url} could not be downloaded to {folder.parent}: {error}; "
            "use --data sample or --data FOLDER, or set RECOLOR_FAST_CACHE to a folder that can be written"
        ) from error
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    """Move a folder of this name, out of an archive, to its place, whole. Raises OSError and TarError."""
    with tempfile.TemporaryDirectory(prefix="download-", dir=folder.parent) as part:  # this user's alone
        with tarfile.open(archive) as packed:
            packed.extractall(part, filter=_plain)
        if not folder.is_dir():  # a run started at the same time may have been faster
            os.rename(Path(part) / folder.name, folder)


def _plain(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
    """What of an archive is unpacked: files and folders that lie inside it; TarError for links, devices and others."""
    if not (member.isfile() or member.isdir()):
        raise tarfile.TarError(f"{member.name!r} in it is neither a file nor a folder")
    return tarfile.data_filter(member, folder)


def _remove_stale(cache: Path) -> None:
    """Remove what downloads that were killed outright left in the cache, a day later: none takes that long."""
    for part in cache.glob("download-*"):
        if part.stat().st_mtime < time.time() - DAY:
            shutil.rmtree(part, ignore_errors=True)


# --- a folder ------------------------------------------------------------------------------------------------------


def _split(found: Sequence[Found], place: Path, options: Data) -> Split:
    """As `photographs` of a folder; the names may begin with the folders of a given split."""
    parts = {one.name.partition("/")[0].lower(): one.name.partition("/")[0] for one in found if "/" in one.name}
    validation = next((parts[name] for name in VALIDATION if name in parts), None)
    if "train" not in parts or not validation:
        return _seeded_split(found, place, options)
    return _given_split(place / parts["train"], place / validation, options, found)


def _within(found: Sequence[Found], part: str) -> list[Found]:
    """The photographs whose names begin with a folder, as they are called below it."""
    return [
        Found(
            one.name.removeprefix(f"{part}/"),
            "." if one.label == part else one.label.removeprefix(f"{part}/"),
            one.path,
        )
        for one in found
        if one.name.startswith(f"{part}/")
    ]


def _given_split(train: Path, val: Path, options: Data, found: Sequence[Found] | None = None) -> Split:
    """All photographs of two folders, or of those of `found` in them, or a seeded choice of so many per class."""
    parts = []
    for folder, option in ((train, "per_class"), (val, "val_per_class")):
        some = _below(folder) if found is None else _within(found, folder.name)
        classes, number = _classes(some, folder, options), getattr(options, option)
        for name, paths in classes.items():
            _enough(folder, name, len(paths), number or 0, option, number)
        parts.append(_interleaved(paths[:number] for paths in classes.values()))
    train_part, val_part = parts
    return Split(train_part, val_part, given=True)


def _seeded_split(found: Sequence[Found], folder: Path, options: Data) -> Split:
    """Disjoint parts of what was found in a folder; validation first, so that it does not depend on `per_class`."""
    per_class, val_per_class = options.per_class, options.val_per_class
    classes = _classes(found, folder, options)
    count = sum(len(paths) for paths in classes.values())
    if count == 1:
        only = _interleaved(classes.values())
        print(f"warning: {only[0]} is the only photograph: trained and validated on alike", file=sys.stderr)
        return Split(only, only)
    taken = dict.fromkeys(classes, val_per_class) if val_per_class is not None else _one_in_ten(classes, options.seed)
    for name, paths in classes.items():
        if val_per_class is not None:
            _enough(folder, name, len(paths), val_per_class + (per_class or 1), "val_per_class", val_per_class)
        _enough(folder, name, len(paths), taken[name] + (per_class or 0), "per_class", per_class)
    val = _interleaved(paths[: taken[name]] for name, paths in classes.items())
    rest = {name: paths[taken[name] :] for name, paths in classes.items()}
    return Split(_interleaved(paths[:per_class] for paths in rest.values()), val)


def _one_in_ten(classes: dict[str, list[Path]], seed: int) -> dict[str, int]:
    """How many photographs of each class make one in ten of all, at least 1 and at most 150, in proportion.

    Every photograph is given its place in its class, from 0 to 1, the first one at random; the lowest places win.
    """
    count = sum(len(paths) for paths in classes.values())
    number = min(max(count // 10, 1), LARGEST_VALIDATION)
    first = np.random.default_rng((seed, len(classes))).random(len(classes))
    places = sorted(
        ((i + offset) / len(paths), name)
        for offset, (name, paths) in zip(first, classes.items())
        for i in range(len(paths))
    )
    taken = dict.fromkeys(classes, 0)
    for _, name in places[:number]:
        taken[name] += 1
    return taken


def _enough(folder: Path, name: str, count: int, needed: int, option: str, value: int | None) -> None:
    """Raise UserError naming the class (folder) that has too few photographs for an option."""
    if count < needed:
        raise UserError(
            f"{option} {value}: class {name} of {folder} has {count} photographs, expected {needed} or more (training "
            f"and validation together, where they share a folder); lower per_class or val_per_class, or add photographs"
        )


def _classes(found: Sequence[Found], folder: Path, options: Data) -> dict[str, list[Path]]:
    """What was found in a folder by class, both in the order of their names, each class shuffled by the seed.

    A class's order depends on nothing but the seed, its name and its files. Raises UserError for fewer classes than
    asked for.
    """
    classes = defaultdict(list)
    for one in sorted(found, key=lambda one: (one.name, one.path)):
        classes[one.label].append(one.path)
    if options.classes and options.classes > len(classes):
        raise UserError(f"classes {options.classes}: {folder} has {len(classes)} (folders with images)")
    shuffled = {}
    for name, paths in sorted(classes.items())[: options.classes]:
        named = zlib.crc32(name.encode(errors="surrogatepass"))  # a folder's name need not be valid text
        order = np.random.default_rng((options.seed, named)).permutation(len(paths))
        shuffled[name] = [paths[i] for i in order]
    return shuffled


def _below(folder: Path) -> list[Found]:
    """The images under a folder, or the photographs of the shards under it where there are none. UserError where there
    are neither."""
    paths = [*files(folder)]
    tars = [path for path in paths if shards.NAME.search(path.name)]
    if found := found_images(folder, paths):
        if tars:
            print(
                f"warning: {folder}: {len(tars)} tar files beside the images are left out, first {tars[0]}",
                file=sys.stderr,
            )
        return found
    shards.refuse_packed(folder, paths)
    if not tars:
        raise UserError(
            f"data {folder}: no images in it or its folders; expected files such as .jpg, .png or .webp, or .tar shards"
        )
    return shards.photographs(sorted(tars))


def found_images(folder: Path, paths: Iterable[Path]) -> list[Found]:
    """Those of the files below a folder that are images."""
    below = ((path.relative_to(folder).as_posix(), path) for path in paths if is_image(path))
    return [Found(name, sys.intern(posixpath.dirname(name) or "."), path) for name, path in below]


def files(folder: Path) -> Iterator[Path]:
    """Every file below a folder, each once whatever links lead to it, but hidden ones (.git, ._copy.jpg) and what
    systems leave there (@eaDir, #recycle)."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_say_skipped):
        real = os.path.realpath(place)
        if real in seen:  # a link to a folder above or beside
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not walk.left_behind(name))
        for name in sorted(names):
            path = Path(place, name)
            real_file = os.path.realpath(path) if path.is_symlink() else os.path.join(real, name)
            if not walk.left_behind(name) and real_file not in seen:
                seen.add(real_file)
                yield path


def _say_skipped(error: OSError) -> None:
    print(f"warning: {error.filename} is left out: {error.strerror}", file=sys.stderr)


def is_image(path: Path) -> bool:
    """By suffix, which is quick; a file without one is looked into."""
    if path.suffix:
        return path.suffix.lower() in images.SUFFIXES
    try:
        with open(path, "rb") as file:
            return images.header(file, trust_suffix=False) is not None
    except OSError:
        return False


def _interleaved(classes: Iterable[list[Path]]) -> tuple[Path, ...]:
    """The first of every class, then the second of every class, and so on."""
    return tuple(path for path in chain.from_iterable(zip_longest(*classes)) if path is not None)
