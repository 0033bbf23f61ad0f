"""How good a colorizer's colors are: on sets of photographs, on faces, at edges. Arrays as `colorize` would write them.

    python bench/colors.py FOLDER... [--model FILE.onnx] [--faces FOLDER]

A photograph becomes a square of 256 pixels, its gray version is colored, and Lab's a and b are compared. For a folder:

below_gray    percent that the ab error (root of the mean square over all pixels and photographs) is below gray's
constant      the same of the one a, b that is best for this very set: what knowing nothing but the set is worth
colorfulness  Hasler and Suesstrunk's (signed), summed over the set, by the truth's sum; chroma: mean Lab chroma's ratio
fringes       chroma error within 3 pixels of strong luminance edges, by that elsewhere

`--faces`: photographs whose middle third is a face. Skin is its pixels of true hue 20 to 80 degrees and true chroma 8
or more. hue: median error, degrees; pale: share of faces whose skin has less than half the truth's chroma; blue: share
whose mean b there is below 0.
"""

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import torch
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only bench/ itself is there

from bench.common import table
from recolor_fast import images
from recolor_fast.color import to_lab, to_rgb01
from recolor_fast.colorize import Colorizer
from recolor_fast.metrics import colorfulness

SIDE = 256  # pixels
EDGE = 100  # Sobel gradient of luminance, levels over 8 pixels' weights: strong from here on
NEAR = 3  # pixels
HUES, LEAST = (20.0, 80.0), 8.0  # of skin: degrees, chroma


@dataclass(frozen=True)
class Arguments:
    """Score a colorizer's colors on folders of color photographs."""

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Folders of color photographs, each with all below it."""
    model: Path | None = None
    """An exported .onnx; none: the colorizer that comes with the package."""
    faces: tuple[Path, ...] = ()
    """Folders of photographs with a face in the middle third of each side."""
    saturation: float = 1.0
    """Strength of the colors."""


Pair = tuple[np.ndarray, np.ndarray]  # truth and colored, uint8 (256,256,3)


def pairs(folder: Path, color: Callable[[np.ndarray], np.ndarray]) -> Iterator[Pair]:
    """The photographs of a folder and what becomes of their gray versions. ValueError where there are none."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in images.SUFFIXES)
    if not paths:
        raise ValueError(f"{folder}: no photographs in it")
    for path in paths:
        truth = images.resize(images.read_rgb(path.read_bytes()), SIDE, SIDE)
        yield truth, color(images.gray(truth))


def lab(rgb: np.ndarray) -> np.ndarray:
    """uint8 (H,W,3) -> float64 (2,H,W), a and b."""
    return to_lab(to_rgb01(torch.from_numpy(rgb).permute(2, 0, 1)[None]))[0, 1:].double().numpy()


def near_edges(gray: np.ndarray) -> np.ndarray:
    """Whether a pixel of uint8 (H,W) lies within NEAR pixels of a strong edge, bool (H,W)."""
    steps = [cv2.Sobel(gray, cv2.CV_32F, *axes) / 2 for axes in ((1, 0), (0, 1))]
    strong = (np.hypot(*steps) > EDGE).astype(np.uint8)
    return cv2.dilate(strong, np.ones((2 * NEAR + 1, 2 * NEAR + 1), np.uint8)) > 0


def of_set(these: Iterator[Pair]) -> dict[str, Any]:
    """The numbers of one set, see the top."""
    squares, grays, sums, chromas, lively, count = 0.0, 0.0, np.zeros(2), np.zeros(2), np.zeros(2), 0
    near, far = np.zeros(2), np.zeros(2)  # sum of errors and pixels
    for truth, colored in these:
        true, ours = lab(truth), lab(colored)
        error = np.square(ours - true).sum(0)
        squares += error.mean()
        grays += np.square(true).sum(0).mean()
        sums += true.mean((1, 2))
        chromas += [np.hypot(*true).mean(), np.hypot(*ours).mean()]
        both = torch.from_numpy(np.stack((truth, colored))).permute(0, 3, 1, 2)
        lively += colorfulness(both).numpy()
        edges = near_edges(images.gray(truth))
        near += [np.sqrt(error[edges]).sum(), edges.sum()]
        far += [np.sqrt(error[~edges]).sum(), (~edges).sum()]
        count += 1
    constant = max(grays - np.square(sums).sum() / count, 0.0)
    return {
        "photographs": count,
        "ab_error": (squares / count / 2) ** 0.5,
        "below_gray": 100 * (1 - _ratio(squares, grays) ** 0.5),
        "constant": 100 * (1 - _ratio(constant, grays) ** 0.5),
        "colorfulness": _ratio(lively[1], lively[0]),
        "chroma": _ratio(chromas[1], chromas[0]),
        "fringes": _ratio(_ratio(*near), _ratio(*far)),
    }


def _ratio(one: float, other: float) -> float:
    return one / other if other else math.nan


def of_faces(these: Iterator[Pair]) -> dict[str, Any]:
    """The numbers of faces, see the top. Those without skin by its definition do not count."""
    hues: list[float] = []
    pale = blue = count = 0
    third = slice(SIDE // 3, SIDE - SIDE // 3)
    for truth, colored in these:
        true, ours = lab(truth)[:, third, third], lab(colored)[:, third, third]
        angle = np.degrees(np.arctan2(true[1], true[0]))
        skin = (angle >= HUES[0]) & (angle <= HUES[1]) & (np.hypot(*true) >= LEAST)
        if not skin.any():
            continue
        count += 1
        turned = np.degrees(np.arctan2(ours[1], ours[0]))[skin] - angle[skin]
        hues.append(float(np.median(np.abs((turned + 180) % 360 - 180))))
        pale += bool(np.hypot(*ours)[skin].mean() < np.hypot(*true)[skin].mean() / 2)
        blue += bool(ours[1][skin].mean() < 0)
    return {"faces": count, "hue": float(np.median(hues)), "pale": pale / count, "blue": blue / count}


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    arguments = tyro.cli(Arguments, args=argv, prog="python bench/colors.py")
    color = Colorizer(arguments.model, saturation=arguments.saturation)
    try:
        rows = [{"set": folder.name, **of_set(pairs(folder, color))} for folder in arguments.folders]
        faces = [{"set": folder.name, **of_faces(pairs(folder, color))} for folder in arguments.faces]
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for some in filter(None, (rows, faces)):
        print(table(some))
    return 0


if __name__ == "__main__":
    sys.exit(main())
