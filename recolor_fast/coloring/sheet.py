"""A contact sheet of what a run of colorize did: photographs as they were beside what was made of them."""

import os
from pathlib import Path

from PIL import Image, ImageDraw

from recolor_fast.coloring import folder
from recolor_fast.evaluation import plots
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import legible, replacing
from recolor_fast.photographs import images, walk

MOST, ACROSS = 12, 3  # photographs on a sheet, and side by side
SIDE, GAP, LABEL, TITLE = 220, 6, 22, 40  # pixels
SUFFIXES = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}


class Sheet:
    """Photographs picked evenly from a run of unknown length; memory for their paths alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.picked: list[tuple[str, str]] = []
        self.count = 0  # colored so far
        self._every = 1
        self._taken = ""  # the input whose output has the sheet's own name

    def add(self, record: folder.Record) -> None:
        """Take note of a file; those that were colored are candidates."""
        if record.status != "ok" or record.reason == folder.COPIED or record.output is None:
            return
        if os.path.abspath(record.output) == os.path.abspath(self.path):
            self._taken = record.input
        if self.count % self._every == 0:
            self.picked.append((record.input, record.output))
        self.count += 1
        if len(self.picked) >= 2 * MOST:
            self.picked = self.picked[::2]
            self._every *= 2

    def write(self, title: str, overwrite: bool) -> int:
        """Draw and write the sheet, whole or not at all; how many photographs are on it.

        Raises UserError where the run wrote one of its own outputs to that file, and OSError, FileExistsError where
        there is a file that is not to be overwritten.
        """
        if self._taken:
            raise UserError(f"it is the output of {self._taken}; give another name")
        chosen = self.picked[:: -(-len(self.picked) // MOST)] if self.picked else []
        chosen.sort(key=lambda pair: walk.natural(pair[0]))  # they come as they are done
        pairs = [(Path(before), _small(before), _small(after)) for before, after in chosen]
        if not pairs:
            return 0
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path, exclusive=not overwrite) as file:
            drawn(pairs, title).save(file, SUFFIXES[self.path.suffix.lower()], quality=90)
        return len(pairs)


def check(path: Path, inputs: tuple[str, ...], output: str | None, overwrite: bool, watch: bool) -> None:
    """Raise UserError for a sheet that cannot be written, before anything is colored."""
    if watch or output in (None, "-") or "-" in inputs:
        which = "watch" if watch else "in_place or beside" if output is None else "-"
        raise UserError(f"sheet {path} with {which}: expected IN and OUT that are files or folders, and an end")
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"sheet {path}: expected a name that ends in {', '.join(SUFFIXES)}")
    if path.is_dir() or (os.path.lexists(path) and not overwrite):
        raise UserError(f"sheet {path}: it exists; give another name{'' if path.is_dir() else ', or --overwrite'}")
    place = os.path.realpath(path)
    for one in map(os.path.realpath, inputs):
        if os.path.commonpath([place, one]) == one:
            raise UserError(f"sheet {path}: it lies in the input {one}, to be colored the next time; put it elsewhere")


def drawn(pairs: list[tuple[Path, Image.Image, Image.Image]], title: str) -> Image.Image:
    """Name, picture before and picture after of each photograph, in rows of ACROSS, below a title."""
    rows = [pairs[at : at + ACROSS] for at in range(0, len(pairs), ACROSS)]
    heights = [max(picture.height for pair in row for picture in pair[1:]) for row in rows]
    cell = 2 * SIDE + 4 * GAP
    across = min(ACROSS, len(pairs))
    size = (across * cell + GAP, TITLE + sum(heights) + len(rows) * (LABEL + GAP))
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    title = legible(title)
    draw.text((GAP, 10), title, fill="black", font=plots.fitting(title, 18, size[0] - 2 * GAP))
    top = TITLE
    for row, height in zip(rows, heights):
        for column, (name, before, after) in enumerate(row):
            left = GAP + column * cell
            for number, one in enumerate((before, after)):
                place = left + number * (SIDE + GAP) + (SIDE - one.width) // 2
                picture.paste(one, (place, top))
            label = legible(name.name)
            below = top + max(before.height, after.height) + 2
            draw.text((left + 2, below), label, fill="black", font=plots.fitting(label, 14, 2 * SIDE))
        top += height + LABEL + GAP
    return picture


def _small(path: str) -> Image.Image:
    """A file's picture, at most SIDE pixels high and wide; crossed out where it cannot be read any more."""
    try:
        image = Image.fromarray(images.read_rgb(images.read(Path(path)), SIDE))
    except (images.UnreadableImage, OSError):
        image = Image.new("RGB", (SIDE, SIDE), "lightgray")
        ImageDraw.Draw(image).line([(0, 0), (SIDE, SIDE), (0, SIDE), (SIDE, 0)], fill="black")
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return image
