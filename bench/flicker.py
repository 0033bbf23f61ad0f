"""How much colors flicker: the change of a and b along the motion of the luminance, with --temporal, without, in truth.

    python bench/flicker.py FILM... FOLDER... [--save]

A film in color gives its own gray to the colorizer and its own colors as the truth; a folder of photographs gives a
made-up film, a slow pan and zoom over each with a cut between them and grain on the gray. Motion is DIS optical flow
of the gray, frame to frame; only pixels count that the flow finds again, both ways within a pixel and in gray within
CLOSE levels, and frames after a cut do not. Columns, in Lab:

flicker    root mean square of the change of (a, b) along the motion.
share      the same over the strength: what is pale flickers little.
strength   root mean square of (a, b).
ab error   root mean square distance of (a, b) from the truth.
cut        of the first frames after cuts: how far steadying has moved (a, b); 0 where each cut is seen.
pixels     share of the pixels that count.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only bench/ itself is there
from bench.arguments import Flicker as Arguments
from bench.arguments import parse

if __name__ == "__main__":
    parse(Arguments)  # --help and wrong options end here, before what takes seconds is imported


from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import av
import cv2
import numpy as np
import torch

from bench.common import jpegs, report
from recolor_fast.artefact import runtime
from recolor_fast.machine import starting
from recolor_fast.machine.environment import device_name
from recolor_fast.photographs import chroma, images

CLOSE = 6.0  # levels of gray between a pixel and the one it came from
SAME = 1.0  # pixels between a place and where the flow there and back leads
FOUND = 0.3  # share of the pixels found again, below which a frame is after a cut
SIDES = (240, 320)  # of made-up films
FRAMES = 36  # of each photograph in one
GRAIN = 4.0  # levels, standard deviation


@starting.verb()
def main(argv: list[str]) -> int:
    """Print the table and the line of JSON."""
    arguments = parse(Arguments, argv)
    path = arguments.model or runtime.shipped("chroma")
    artefact = runtime.load(path, "cpu")
    rows, count = [], 0
    for source in arguments.sources:
        frames = list(made_up(source, arguments.photographs) if source.is_dir() else filmed(source, arguments.frames))
        rows += measure(source.stem, frames, artefact)
        count += len(frames)
    report("flicker", device_name(torch.device("cpu")), count, rows, "", arguments.save)
    return 0


def filmed(path: Path, most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Gray and RGB of the first frames of a film: uint8 (H,W) and (H,W,3), the sides even and about SIDES."""
    with av.open(str(path)) as film:
        for number, frame in enumerate(film.decode(video=0)):
            if number == most:
                return
            scale = min(1, (SIDES[0] * SIDES[1] / frame.width / frame.height) ** 0.5)
            width, height = (2 * round(side * scale / 2) for side in (frame.width, frame.height))
            rgb = frame.to_ndarray(width=width, height=height, format="rgb24")
            yield images.gray(rgb), rgb


def made_up(folder: Path, photographs: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The same of a film that pans over photographs of a folder, evenly picked; grain is on the gray alone."""
    random, paths = np.random.default_rng(0), jpegs(folder, "FOLDER")
    height, width = SIDES
    for path in paths[:: max(1, len(paths) // photographs)][:photographs]:
        rgb = images.read_rgb(images.read(path))
        rows, columns = rgb.shape[:2]
        begin, end = (random.uniform(0, 1, 2) for _ in range(2))
        for step in np.linspace(0, 1, FRAMES):
            share = 0.75 + 0.1 * step  # of the sides that are seen
            scale = share * min(rows / height, columns / width)
            place = (begin + step * (end - begin)) * [columns - scale * width, rows - scale * height]
            matrix = np.array([[scale, 0, place[0]], [0, scale, place[1]]])
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            seen = cv2.warpAffine(rgb, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT)
            noisy = images.gray(seen) + random.normal(0, GRAIN, (height, width))
            yield noisy.round().clip(0, 255).astype(np.uint8), seen


def measure(
    case: str, frames: Sequence[tuple[np.ndarray, np.ndarray]], artefact: runtime.Artefact
) -> list[dict[str, Any]]:
    """A row each of the truth and of the colorizer with and without steadying."""
    grays, truth = [gray for gray, _ in frames], [_ab(rgb) for _, rgb in frames]
    steady, plain, steadied = chroma.Steady(), [], []
    for gray in grays:
        cbcr = artefact.chroma(gray)
        plain.append(_ab(chroma.merge(gray, cbcr)))
        small = cv2.resize(gray, cbcr.shape[:0:-1], interpolation=cv2.INTER_AREA)
        steadied.append(_ab(chroma.merge(gray, steady(small, cbcr))))
    motions = [motion(before, after) for before, after in pairwise(grays)]
    cuts = [number + 1 for number, (_, found) in enumerate(motions) if found.mean() < FOUND]
    rows = []
    for name, planes in (("truth", truth), ("off", plain), ("on", steadied)):
        strength, flickers = _rms(np.stack(planes)), flicker(planes, motions)
        moved = [planes[cut] - plain[cut] for cut in cuts]
        row = {"case": case, "temporal": name, "flicker": flickers, "share": flickers / max(strength, 1e-9)}
        row |= {"strength": strength, "ab error": _rms(np.stack(planes) - np.stack(truth))}
        row |= {"cut": _rms(np.stack(moved)) if cuts and name == "on" else None}
        kept = [found.mean() for _, found in motions if found.mean() >= FOUND]
        rows.append(row | {"pixels": float(np.mean(kept)), "cuts": len(cuts), "frames": len(frames)})
    return rows


def flicker(planes: Sequence[np.ndarray], motions: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Root mean square change of float32 (H,W,2) along the motion, of the pixels found again."""
    total = count = 0.0
    for before, after, (places, found) in zip(planes, planes[1:], motions):
        if found.mean() < FOUND:
            continue
        change = after - _remapped(before, places)
        total += float((change[found].astype(np.float64) ** 2).sum())
        count += int(found.sum())
    return (total / max(count, 1)) ** 0.5


def motion(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel of uint8 `after` (H,W) was `before`, float32 (H,W,2) in pixels, and whether that is sure."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    down, across = np.mgrid[: after.shape[0], : after.shape[1]].astype(np.float32)
    smooth = [cv2.GaussianBlur(gray, (0, 0), 1.5) for gray in (before, after)]  # grain moves by itself
    back, there = np.empty((2, *after.shape, 2), np.float32)
    dis.calc(smooth[1], smooth[0], back)
    dis.calc(smooth[0], smooth[1], there)
    places = np.dstack([across, down]) + back
    again = back + _remapped(there, places)
    seen = _remapped(smooth[0].astype(np.float32), places)
    inside = (places >= 0).all(2) & (places <= [after.shape[1] - 1, after.shape[0] - 1]).all(2)
    found = inside & (np.hypot(*np.moveaxis(again, 2, 0)) < SAME) & (abs(seen - smooth[1]) < CLOSE)
    return places, found


def _remapped(plane: np.ndarray, places: np.ndarray) -> np.ndarray:
    """What a plane has at places, float32 (H,W,2) in pixels, between its own bilinearly."""
    x, y = (np.ascontiguousarray(places[..., axis]) for axis in (0, 1))
    return cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _ab(rgb: np.ndarray) -> np.ndarray:
    """a and b of uint8 RGB: float32 (H,W,2)."""
    return cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[..., 1:]


def _rms(planes: np.ndarray) -> float:
    """Of vectors, the last axis."""
    return float(np.sqrt((planes.astype(np.float64) ** 2).sum(-1).mean()))


if __name__ == "__main__":
    sys.exit(main())
