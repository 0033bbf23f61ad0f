"""What helps an old print before it is colored: a negative inverted, faded tones stretched without the scan's border.

One monotone curve from old to new luminance, the same for every pixel: no detail is made, none is smoothed away.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np

from recolor_fast.photographs.images import Border
from recolor_fast.photographs.pictures import Picture

SIDE = 256  # pixels of the longer side that a picture is averaged to, to be measured: dust, scratches and noise go
ENDS = 0.5  # percent of the picture that may be darker than its black, and as much brighter than its white
BLACK, WHITE = 5.0, 250.0  # levels that these become; what is beyond them keeps the levels that are left
MOST = 4.0  # factor of the contrast: less than a quarter of the levels is fog, or a page without a picture
LEAST = 3.0  # levels: nearer to BLACK and WHITE a print is not faded

DEEPEST = 0.3  # of a side that a border may take
LIKE = 10.0  # levels that a border's pixels may be off its own tone
SHARE = 0.95  # of a line of the border that has its tone
LEFT = 0.5  # of a line of the picture that may have it, at most
SOFT = 0.03  # of a side within which the border ends: it is cut, and lies straight
LEVELS = np.arange(256.0)

NOTES = {
    "negative": "a negative: inverted",
    "levels": "faded: its tones were stretched",
    "border": "a border: left out where its tones were measured",
}


class Restored(NamedTuple):
    """A picture to color instead of the one that there was."""

    gray: np.ndarray
    """Luminance of the same type and size."""
    border: Border | None = None
    """Of the scan, where one was found."""
    done: dict[str, Any] = {}  # noqa: RUF012 - never changed
    """What was done, by keys of NOTES: "negative" True, "levels" the two of 255 that became BLACK and WHITE, "border"
    its shares of the sides. Empty where `gray` is as it was and has no border."""
    curve: tuple[np.ndarray, np.ndarray] = (LEVELS, LEVELS)
    """Points of the curve, levels of 255 before and after, both rising: of the inverted picture, of a negative."""

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        """Levels of 255 of the picture as it was, rising, and what they are in `gray`: points with straight lines
        between them. None where nothing was done to them."""
        points = [*zip(*map(np.ndarray.tolist, self.curve))] if "levels" in self.done else [(0.0, 0.0), (255.0, 255.0)]
        if "negative" in self.done:
            return tuple((255 - before, after) for before, after in reversed(points))
        return tuple(points) if "levels" in self.done else ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done, in words."""
        return tuple(note for name, note in NOTES.items() if name in self.done)


def restored(
    gray: np.ndarray, alpha: np.ndarray | None = None, restore: bool = True, negative: bool = False
) -> Restored:
    """uint8 or uint16 luminance (H,W), inverted where it is a `negative`, and with `restore` from black to white.

    The levels are percentiles of the picture without its border and what `alpha` hides, of its pixels averaged to SIDE.
    """
    done: dict[str, Any] = {"negative": True} if negative else {}
    if negative:
        gray = np.iinfo(gray.dtype).max - gray
    if not restore:
        return Restored(gray, done=done)
    scale = min(1.0, SIDE / max(gray.shape))
    size = tuple(max(1, round(side * scale)) for side in gray.shape[::-1])
    small = _small(gray, size)
    border = border_of(small)
    inside = small if border is None else border.inside(small)
    if alpha is not None:
        shown = _small(alpha, size) > 0
        inside = inside[shown if border is None else border.inside(shown)]
    curve = LEVELS, LEVELS
    if inside.size:
        low, high = _levels(inside)
        if max(low - BLACK, WHITE - high) >= LEAST:
            curve = (np.array([0, low, high, 255]), np.array([0, min(low, BLACK), max(high, WHITE), 255]))
            gray = _curved(gray, *curve)
            done["levels"] = [round(low, 1), round(high, 1)]
    if border is not None:
        done["border"] = [round(share, 3) for share in border]
    return Restored(gray, border, done, curve)


def of_picture(picture: Picture, restore: bool, negative: bool) -> tuple[Picture, Restored]:
    """A file's picture, restored: its notes say so, and its tone is by the new luminance, a negative's is none."""
    new = restored(picture.gray, picture.alpha, restore, negative)
    if not new.done:
        return picture, new
    original = picture.original if new.gray is picture.gray else b""
    changed = picture._replace(gray=new.gray, original=original, tone=toned(picture.tone, new))
    return changed._replace(notes=(*picture.notes, *new.notes)), new


def toned(tone: np.ndarray | None, new: Restored) -> np.ndarray | None:
    """A print's tone (see photographs.tones) by its luminance before, as one by that after; None of a negative, whose
    tone is the film's."""
    if tone is None or "negative" in new.done:
        return None
    before = np.interp(LEVELS, new.curve[1], new.curve[0])
    return np.stack([np.interp(before, LEVELS, plane) for plane in tone]).astype(np.float32)


def border_of(gray: np.ndarray) -> Border | None:
    """The border of a scan, of float32 luminance (H,W) in levels of 255: paper, a mount's edge or the scanner's lid.

    It has one even tone, lies straight, and is there on two opposite sides at least: a sky or a wall is none.
    """
    sides = [_edge(gray), _edge(gray.T), _edge(gray[::-1]), _edge(gray.T[::-1])]  # top, left, bottom, right
    pairs = [
        (one, other) for one, other in zip(sides[:2], sides[2:]) if one and other and abs(one[1] - other[1]) < LIKE
    ]
    if not pairs:
        return None
    tone = pairs[0][0][1]
    top, left, bottom, right = (side[0] if side and abs(side[1] - tone) < 2 * LIKE else 0.0 for side in sides)
    return Border(left, top, right, bottom)


def _edge(gray: np.ndarray) -> tuple[float, float] | None:
    """How deep the border at the first rows is, a share of the height, and its tone; None where there is none.

    The middle half of each row is asked, as there are borders at both ends of it, too.
    """
    height, width = gray.shape
    rows = gray[:, width // 4 : max(width // 4 + 1, width - width // 4)]
    tone = float(np.median(rows[: max(1, height // 100)]))
    like = (np.abs(rows - tone) <= LIKE).mean(axis=1)
    depth = int(np.argmax(np.append(like < SHARE, True)))
    soft = max(1, round(SOFT * height))
    if not 0 < depth <= DEEPEST * height or (like[depth : depth + soft + 1] > LEFT).all():
        return None
    ends = depth + int(np.argmax(like[depth:] <= LEFT))
    return ends / height, tone


def _small(plane: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """uint8 or uint16 (H,W) averaged to a width and height: float32, levels of 255."""
    small = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
    return small * np.float32(255 / np.iinfo(plane.dtype).max)


def _levels(inside: np.ndarray) -> tuple[float, float]:
    """Black and white of a picture's levels, far enough from each other for MOST."""
    low, high = (float(level) for level in np.percentile(inside, [ENDS, 100 - ENDS]))
    apart = (WHITE - BLACK) / MOST
    if high - low < apart:
        low = min(max((low + high - apart) / 2, 0.0), 255 - apart)
        high = low + apart
    return low, high


def _curved(gray: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    most = np.iinfo(gray.dtype).max
    table = np.rint(np.interp(np.arange(most + 1) * (255 / most), before, after) * (most / 255)).astype(gray.dtype)
    return cv2.LUT(gray, table) if most == 255 else table[gray]
