"""Pictures of what a run does: sheets of photographs, curves and histograms, as PNG files."""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from recolor_fast.machine.files import legible, replacing

GAP = 4
MARGIN = 12  # around what has a caption
WIDTH = 12.0  # of a figure, inches
DPI = 110
STYLES = ("-", "--", "-.", ":")


class Cell(NamedTuple):
    """A photograph, uint8 (H,W,3) or gray (H,W), and the line below it."""

    image: np.ndarray
    label: str = ""


# --- sheets of photographs -----------------------------------------------------------------------------------------


def grid(path: Path, columns: dict[str, list[np.ndarray]]) -> None:
    """Write a PNG with one titled column per entry, photographs uint8 (H,W,3) or gray (H,W) of one size, row by row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [[Cell(image) for image in row] for row in zip(*columns.values(), strict=True)]
    height, width = rows[0][0].image.shape[:2]
    picture = Image.new("RGB", (len(columns) * (width + GAP), 16 + len(rows) * (height + GAP)), "white")
    _paste(picture, list(columns), rows, 0, 16, 10, 1, 0)
    with replacing(path) as file:
        picture.save(file, "PNG", compress_level=3)  # a third of the time of 6, the default, for 6 % more bytes


def sheet(
    path: Path, titles: Sequence[str], rows: Sequence[Sequence[Cell]], caption: str, names: Sequence[str] = ()
) -> None:
    """Write a PNG of titled columns of photographs of one size, each with its label; small ones are enlarged.

    `names` stand left of the rows, if given. `caption` is below the sheet, and in the file as its Description.
    """
    caption, names = legible(caption), [legible(name) for name in names]
    height, width = rows[0][0].image.shape[:2]
    scale = max(1, math.ceil(192 / width))  # whole pixels: nothing is smoothed
    font, small = ImageFont.load_default(18), ImageFont.load_default(14)
    labels = 20 if any(cell.label for row in rows for cell in row) else 0
    left = MARGIN + (max(math.ceil(font.getlength(name)) for name in names) + MARGIN if names else 0)
    full = max(left + len(titles) * (scale * width + GAP) + MARGIN, 640)
    lines = _wrap(caption, small, full - 2 * MARGIN)
    tall = MARGIN + 28 + len(rows) * (scale * height + labels + GAP) + 20 * len(lines) + 2 * MARGIN
    picture = Image.new("RGB", (full, tall), "white")
    _paste(picture, titles, rows, left, MARGIN + 28, 18, scale, labels)
    draw = ImageDraw.Draw(picture)
    for y, name in enumerate(names):
        middle = MARGIN + 28 + y * (scale * height + labels + GAP) + scale * height // 2
        draw.text((MARGIN, middle), name, fill="black", font=font, anchor="lm")
    _caption(picture, lines, small)
    with replacing(path) as file:
        picture.save(file, "PNG", pnginfo=_info(caption))


def _paste(
    picture: Image.Image,
    titles: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    left: int,
    top: int,
    size: int,
    scale: int,
    labels: int,
) -> None:
    """Draw titles (`size` pixels high, above `top`) and cells, `labels` pixels below each for its label."""
    draw = ImageDraw.Draw(picture)
    height, width = (scale * side for side in rows[0][0].image.shape[:2])
    for x, title in enumerate(map(legible, titles)):
        font = fitting(title, size, width)
        draw.text((left + x * (width + GAP) + 2, top - size - 4), title, fill="black", font=font)
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            place = (left + x * (width + GAP), top + y * (height + labels + GAP))
            image = Image.fromarray(cell.image).convert("RGB")
            picture.paste(image.resize((width, height), Image.Resampling.NEAREST), place)
            if label := legible(cell.label):
                font = fitting(label, 14, width)
                draw.text((place[0] + 2, place[1] + height + 1), label, fill="black", font=font)


def fitting(text: str, size: int, width: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The default font at `size` pixels, or smaller, down to 9, where the text would be wider than `width`."""
    while size > 9 and ImageFont.load_default(size).getlength(text) > width:
        size -= 1
    return ImageFont.load_default(size)


def _wrap(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _info(caption: str) -> PngInfo:
    info = PngInfo()
    info.add_itxt("Description", caption)
    return info


# --- curves --------------------------------------------------------------------------------------------------------


class Curve(NamedTuple):
    """A loss over photographs seen."""

    images: np.ndarray
    loss: np.ndarray


def losses(path: Path, curves: dict[str, Curve], ylabel: str, caption: str) -> None:
    """Write a PNG with a panel per run: its loss as logged, and smoothed. At least one curve, each of a row or more."""
    figure, axes = new_figure(min(2, len(curves)), math.ceil(len(curves) / 2), 3.6)
    for axis, (name, curve) in zip(axes, curves.items()):
        axis.plot(curve.images, curve.loss, color="tab:blue", alpha=0.35, linewidth=1, label="as logged")
        axis.plot(curve.images, smoothed(curve.loss), color="tab:blue", linewidth=2, label="smoothed")
        axis.set(title=plain(name), xlabel="photographs seen", ylabel=ylabel)
        axis.grid(alpha=0.3)
    handles, labels = axes[0].get_legend_handles_labels()
    for axis in axes[len(curves) :]:
        axis.remove()
    save_figure(figure, path, caption, handles, labels)


def smoothed(values: np.ndarray, share: float = 0.1) -> np.ndarray:
    """Moving average over a share of the values, a tenth (3 at least), over fewer at the ends."""
    window = np.ones(2 * (max(3, int(len(values) * share)) // 2) + 1)
    half = len(window) // 2
    padded, ones = np.pad(values, half), np.pad(np.ones(len(values)), half)
    return np.convolve(padded, window, "valid") / np.convolve(ones, window, "valid")


def histograms(
    path: Path, edges: np.ndarray, counts: dict[str, tuple[np.ndarray, np.ndarray]], first: str, caption: str
) -> None:
    """Write a PNG of the natural logarithms of histograms of a and b, a curve per system; `first` is drawn in black.

    `counts` are pixels per photograph in each bin between the `edges`. Empty bins are drawn at the smallest logarithm
    of all, so that a lone bin is a spike (Gorriz et al. take each curve's own).
    """
    floor = math.log(min(pixels[pixels > 0].min() for pair in counts.values() for pixels in pair))
    figure, axes = new_figure(2, 1, 5.2)
    others = [name for name in counts if name != first]
    for plane, axis in enumerate(axes):
        for index, name in enumerate([first, *others]):
            pixels = counts[name][plane]
            heights = np.log(np.maximum(pixels, math.exp(floor)))
            drawn = np.append(heights, heights[-1])
            if name == first:
                look = {"color": "black", "linewidth": 2.5}
            else:
                look = {"color": f"C{(index - 1) % 10}", "linestyle": STYLES[(index - 1) // 10 % 4], "linewidth": 1.5}
            axis.step(edges, drawn, where="post", label=plain(name), **look)
        axis.set(title="ab"[plane], xlabel=f"{'ab'[plane]}, Lab units", ylabel="ln(pixels per photograph)")
        axis.set_xlim(edges[0], edges[-1])
        axis.set_ylim(bottom=floor)
        axis.grid(alpha=0.3)
    handles, labels = axes[0].get_legend_handles_labels()
    save_figure(figure, path, caption, handles, labels)


def plain(name: str) -> str:
    """A name as matplotlib draws it literally: no formula between dollars, and no label that a leading _ hides."""
    return ("" if name[:1] != "_" else " ") + legible(name).replace("$", r"\$")


def new_figure(columns: int, rows: int, height: float):
    """A matplotlib figure without a window, and its axes in one list; `height` is a row's, inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, rows * height + 1.0), dpi=DPI, layout="constrained")
    axes = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    for axis in axes:
        axis.ticklabel_format(useOffset=False)  # values as they are, not what is to be added to one above the panel
    return figure, axes


def save_figure(figure, path: Path, caption: str, handles: list, labels: list[str], exclusive: bool = False) -> None:
    """Legend below the panels, so that it covers no curve; caption below it, and in the file as its Description.

    FileExistsError with `exclusive` where there is a `path`.
    """
    figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)), frameon=False)
    caption = legible(caption)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    with Image.open(drawn) as opened:
        panels = opened.convert("RGB")
    font = ImageFont.load_default(14)
    lines = _wrap(caption, font, panels.width - 2 * MARGIN)
    picture = Image.new("RGB", (panels.width, panels.height + 20 * len(lines) + MARGIN), "white")
    picture.paste(panels)
    _caption(picture, lines, font)
    with replacing(path, exclusive=exclusive) as file:
        picture.save(file, "PNG", pnginfo=_info(caption))


def _caption(picture: Image.Image, lines: list[str], font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> None:
    """Draw lines at the bottom of a picture, 20 pixels each above a margin."""
    draw = ImageDraw.Draw(picture)
    for y, line in enumerate(lines):
        draw.text((MARGIN, picture.height - MARGIN - 20 * (len(lines) - y)), line, fill=(90, 90, 90), font=font)
