"""A folder of pictures colored by anything: which of them is of which photograph, and whether they can be measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from recolor_fast.data import index, sources
from recolor_fast.machine.errors import UserError
from recolor_fast.photographs import images


def find(folder: Path, photographs: Mapping[Path, str]) -> dict[Path, Path]:
    """The picture in `folder` of each photograph, by its path below the data's folder; suffixes may differ.

    UserError where one has none.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    exact = {path.relative_to(folder).as_posix(): path for path in files}
    likely = sorted(files, key=lambda path: path.suffix.lower() in images.SUFFIXES)  # a.txt beside a.png is no picture
    stems = {path.relative_to(folder).with_suffix("").as_posix(): path for path in likely}

    def of(name: str) -> Path | None:
        below = Path(name)
        names = [below, Path(*below.parts[1:])] if below.parts[0].lower() in sources.VALIDATION else [below]
        tried = [
            path
            for one in names
            for path in (
                exact.get(one.as_posix()),
                stems.get(one.as_posix()),  # a.gif was colored to a.gif.png
                stems.get(one.with_suffix("").as_posix()),
            )
        ]
        return next((path for path in tried if path), None)

    if len(set(photographs.values())) < len(photographs):
        raise UserError(
            f"system {folder}: several shards have photographs of one name, so whose its pictures are is open"
        )
    pictures = {path: of(name) for path, name in photographs.items()}
    absent = [photographs[path] for path, picture in pictures.items() if picture is None]
    if absent:
        raise UserError(
            f"system {folder}: it has no picture for {absent[0]} (nor for {len(absent) - 1} more of "
            f"{len(photographs)}); expected one of the same path and name for every photograph, of any suffix"
        )
    return {path: picture for path, picture in pictures.items() if picture}


def broken(pictures: Mapping[Path, Path]) -> dict[Path, str]:
    """Every picture is read: of each photograph whose one cannot be, why. UserError where none can be."""
    reasons = index.usable([*pictures.values()], "full")[1]
    return {path: reasons[picture] for path, picture in pictures.items() if picture in reasons}


def check_proportions(pictures: Mapping[Path, Path]) -> None:
    """UserError naming a picture that is not as wide and high as its photograph, or smaller or larger alike.

    Both are made the same square to be compared, which would hide that one is turned, cropped or squeezed.
    """
    odd = [pair for pair in pictures.items() if not alike(*map(_sides, pair))]
    if odd:
        (path, picture), (width, height), (wide, high) = odd[0], *map(_sides, odd[0])
        raise UserError(
            f"{picture}: {wide}x{high} pixels where its photograph {path} has {width}x{height} ({len(odd)} of "
            f"{len(pictures)} pictures differ so): expected the whole photograph in its own proportions, at any size"
        )


def _sides(path: Path) -> tuple[int, int]:
    """Width and height, pixels, of a usable image as it stands upright."""
    with open(path, "rb") as file:
        header = images.header(file)
    if header and header.width:
        return header.width, header.height
    height, width = images.read_rgb(images.read(path)).shape[:2]
    return width, height


def alike(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether sides are in the same proportion, but for a pixel of rounding."""
    return abs(one[0] * other[1] - one[1] * other[0]) <= max(*one, *other)
