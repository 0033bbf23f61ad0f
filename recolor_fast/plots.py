"""Pictures of what a run does."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

GAP = 4


def grid(path: Path, columns: dict[str, list[np.ndarray]]) -> None:
    """Write a PNG with one titled column per entry, photographs uint8 (H,W,3) or gray (H,W) of one size, row by row."""
    cells = [[image if image.ndim == 3 else np.repeat(image[..., None], 3, 2) for image in c] for c in columns.values()]
    height, width = cells[0][0].shape[:2]
    top = 16
    sheet = np.full((top + len(cells[0]) * (height + GAP), len(cells) * (width + GAP), 3), 255, np.uint8)
    for x, column in enumerate(cells):
        for y, image in enumerate(column):
            row, left = top + y * (height + GAP), x * (width + GAP)
            sheet[row : row + height, left : left + width] = image
    picture = Image.fromarray(sheet)
    draw = ImageDraw.Draw(picture)
    for x, title in enumerate(columns):
        draw.text((x * (width + GAP) + 2, 2), title, fill=(0, 0, 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
