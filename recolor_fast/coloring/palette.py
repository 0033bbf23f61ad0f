"""Which colors a photograph could have at a place: those that photographs had where the model painted such a color.

What a model paints is a mean of what it holds for possible. By the color that it paints (BINS of hue, chroma and
lightness) an artefact carries the colors that photographs truly had there, most frequent first.
"""

import json
from collections.abc import Iterable

import cv2
import numpy as np

from recolor_fast.artefact import hints, runtime
from recolor_fast.machine.errors import UserError
from recolor_fast.photographs import chroma, images

HUES, CHROMAS, LIGHTNESSES = 8, (10.0, 25.0), (35.0, 65.0)  # of the bins: number of hues, and borders
COLORS = 8  # of a bin
SAMPLES = 200  # pixels of a photograph
LEAST = 20 * COLORS  # pixels that a bin needs; others have the colors of all pixels
DISTINCT = 10.0  # units of a and b that two colors of a palette are apart at least
EVERY = "all"

Table = dict[str, list[list[int]]]
"""a and b of the colors of each bin, most frequent first; EVERY: of all pixels."""


def bins(lab: np.ndarray) -> np.ndarray:
    """Bin, int (N,), of colors in CIE Lab (N,3)."""
    ring = np.digitize(np.hypot(lab[:, 1], lab[:, 2]), CHROMAS)
    hue = (np.degrees(np.arctan2(lab[:, 2], lab[:, 1])) % 360 // (360 / HUES)).astype(int) % HUES
    color = np.where(ring == 0, 0, 1 + hue + HUES * (ring - 1))  # of little chroma hue means nothing
    return color * (len(LIGHTNESSES) + 1) + np.digitize(lab[:, 0], LIGHTNESSES)


def learn(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> Table:
    """The table of photographs and what a model painted of them, each uint8 RGB (H,W,3) of equal size. The same each
    time. UserError where there are none."""
    random = np.random.default_rng(0)
    true, painted = [], []
    for pair in pairs:
        places = random.integers(0, pair[0].shape[:2], (SAMPLES, 2)).T
        # neighbors averaged: of a hint one expects the color of a thing, not of its grain
        true.append(to_lab(cv2.blur(pair[0], (3, 3)))[places[0], places[1]])
        painted.append(to_lab(pair[1])[places[0], places[1]])
    if not true:
        raise UserError("no photographs to learn from which colors are plausible; --data FOLDER takes some")
    colors, which = np.concatenate(true)[:, 1:], bins(np.concatenate(painted))
    table = {EVERY: _frequent(colors)}
    for number in np.unique(which):
        if np.count_nonzero(which == number) >= LEAST:
            table[str(number)] = _frequent(colors[which == number])
    return table


def _frequent(colors: np.ndarray) -> list[list[int]]:
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 30, 0.1)
    start = np.empty((0,), np.int32)
    _, labels, centers = cv2.kmeans(colors.astype(np.float32), COLORS, start, stop, 2, cv2.KMEANS_PP_CENTERS)
    order = np.argsort(-np.bincount(labels[:, 0], minlength=COLORS), kind="stable")
    return np.rint(centers[order]).astype(int).tolist()


def colors(artefact: runtime.Artefact, gray: np.ndarray, x: float, y: float, count: int = 8) -> list[str]:
    """Up to `count` colors, #rrggbb of the lightness there, for a place of uint8 gray (H,W), the most plausible first.

    The first is what the model paints there. ValueError for a place outside, or an artefact that has no palette.
    """
    size = artefact.options.size
    return of_painted(artefact, images.resize(gray, size, size), artefact.chroma(gray), gray.shape[:2], x, y, count)


def of_painted(
    artefact: runtime.Artefact,
    small: np.ndarray,
    cbcr: np.ndarray,
    sides: tuple[int, ...],
    x: float,
    y: float,
    count: int = 8,
) -> list[str]:
    """The same of a photograph with these sides, its height and width in pixels, that the model has painted.

    `small`: its uint8 gray at the model's size (S,S); `cbcr`: what the model paints without hints.
    """
    if "palette" not in artefact.metadata:
        raise UserError(f"palette with model {artefact.name}: it has none; give one exported with --graph hints")
    table: Table = json.loads(artefact.metadata["palette"])
    height, width = sides
    if not (0 <= x < width and 0 <= y < height):
        raise UserError(f"palette at {x:g}, {y:g}: outside the photograph of {width} x {height} pixels")
    size = len(small)
    lab = to_lab(chroma.merge(small, cbcr))
    own = lab[int(y * size / height), int(x * size / width)]
    frequent = table.get(str(bins(own[None])[0]), table[EVERY])
    chosen: list[np.ndarray] = []
    for ab in (own[1:], *map(np.array, frequent)):
        if all(np.hypot(*(ab - other)) >= DISTINCT for other in chosen):
            chosen.append(ab)
    return [hints.color(float(own[0]), *ab.tolist()) for ab in chosen[:count]]


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """CIE Lab (D65), float32 (H,W,3), of uint8 RGB."""
    return cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
