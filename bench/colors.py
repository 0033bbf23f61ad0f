"""How good a colorizer's colors are: on sets of photographs, on faces, at edges. Arrays as `colorize` would write them.

    python bench/colors.py FOLDER... [--model FILE.onnx] [--faces FOLDER] [--report bench/results/shipped.md]

A photograph becomes a square of 256 pixels, its gray version is colored, and Lab's a and b are compared. For a folder:

below_gray    percent that the ab error (root of the mean square over all pixels and photographs) is below gray's
constant      the same of the one a, b that is best for this very set: what knowing nothing but the set is worth
colorfulness  Hasler and Suesstrunk's (signed), summed over the set, by the truth's sum; chroma: mean Lab chroma's ratio
fringes       chroma error within 3 pixels of strong luminance edges, by that elsewhere

`--faces`: photographs whose middle third is a face. Skin is its pixels of true hue 20 to 80 degrees and true chroma 8
or more. hue: median error, degrees; pale: share of faces whose skin has less than half the truth's chroma; blue: share
whose mean b there is below 0.

`--report FILE.md`: all of it as tables in Markdown, beside gray, sepia, the best single tone of each set and the models
of `--against NAME=FILE.onnx`, with 95 % intervals over photographs (bootstrap), and ab error against colorfulness as
the saturation grows. What FILE.md holds from the line KEPT on stays.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only bench/ itself is there
from bench.arguments import Colors as Arguments
from bench.arguments import parse

if __name__ == "__main__":
    parse(Arguments)  # --help and wrong options end here, before what takes seconds is imported


import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import cv2
import numpy as np
import torch

from bench.common import table
from recolor_fast.colorize import Colorizer
from recolor_fast.evaluation.metrics import Columns, Metric, colorfulness, resample
from recolor_fast.evaluation.systems import BASELINES
from recolor_fast.machine.files import write_text
from recolor_fast.machine.versions import versions
from recolor_fast.networks.space import to_lab, to_rgb01, tone
from recolor_fast.photographs import chroma, images

SIDE = 256  # pixels
EDGE = 100  # Sobel gradient of luminance, levels over 8 pixels' weights: strong from here on
NEAR = 3  # pixels
HUES, LEAST = (20.0, 80.0), 8.0  # of skin: degrees, chroma
STRENGTHS = (0.0, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)  # of the curve: saturation, 1 is the model's own
KEPT = "## Measured apart from this command\n"  # of a report: from here on it is written by hand
THIS = "this one"
USED = ("onnxruntime", "onnxruntime-gpu", "numpy", "opencv-python-headless")  # of the versions, those that paint
TITLE = """# The colorizer that comes with the package

`python bench/colors.py {command}`
wrote this, with {said}.

256x256 pixels, chroma as `colorize` writes it, in brackets 95 % intervals over photographs (bootstrap).
ab error: root mean square of Lab's a and b over all pixels and photographs;
colorfulness: Hasler and Suesstrunk's, as a share of the truth's. The best single tone is chosen on the set itself."""
CURVE = """## ab error at colorfulness, by saturation

`--saturation` of `colorize`; 1 is the colorizer's own."""
FACES = """## Faces

Hue error of skin in degrees; shares of faces with less than half the truth's chroma, and bluish ones."""
COLUMNS = {
    "ab error": Metric("ab error", "lower", ("square",), np.sqrt),
    "% below gray": Metric(
        "% below gray", "higher", ("square", "gray"), lambda own, gray: 100 - 100 * (own / gray) ** 0.5
    ),
    "colorfulness": Metric("colorfulness", "1", ("lively", "truth"), np.divide),
}


Color = Callable[[np.ndarray], np.ndarray]  # uint8 gray (256,256) -> RGB (256,256,3)
Rows = dict[str, Columns]
Pair = tuple[np.ndarray, np.ndarray]  # truth and colored, uint8 (256,256,3)


def truths(folder: Path) -> Iterator[np.ndarray]:
    """The photographs of a folder, uint8 (256,256,3). ValueError where there are none."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in images.SUFFIXES)
    if not paths:
        raise ValueError(f"{folder}: no photographs in it")
    for path in paths:
        yield images.resize(images.read_rgb(path.read_bytes()), SIDE, SIDE)


def pairs(folder: Path, color: Color) -> Iterator[Pair]:
    """The photographs of a folder and what becomes of their gray versions. ValueError where there are none."""
    for truth in truths(folder):
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


def toned(ab: tuple[float, float]) -> Color:
    """What gives every pixel the same a and b."""
    cbcr = tone(ab)
    return lambda gray: chroma.merge(gray, cbcr[:, gray])


def best_tone(these: Iterator[np.ndarray]) -> tuple[float, float]:
    """The a and b of the lowest ab error for all of a set: its mean."""
    a, b = np.mean([lab(truth).mean((1, 2)) for truth in these], 0)
    return float(a), float(b)


def strengths(colorizer: Colorizer, gray: np.ndarray) -> dict[str, np.ndarray]:
    """A gray photograph colored, by saturation as text; the model sees it once."""
    cbcr = colorizer.artefact.chroma(gray)
    return {str(strength): chroma.merge(gray, cbcr, chroma.Look(saturation=strength)) for strength in STRENGTHS}


def measured(truth: np.ndarray, colored: np.ndarray) -> dict[str, float]:
    """The columns that COLUMNS are made of, of one photograph."""
    true = lab(truth)
    both = colorfulness(torch.from_numpy(np.stack((truth, colored))).permute(0, 3, 1, 2)).tolist()
    square = np.square(lab(colored) - true).mean()
    return {"square": square, "gray": np.square(true).mean(), "truth": both[0], "lively": both[1]}


def compared(folder: Path, systems: Mapping[str, Color], colorizer: Colorizer) -> tuple[Rows, Rows]:
    """Of one set, columns by system (gray, sepia, best tone, `systems`, shipped) and, of `colorizer`, by saturation."""
    tones = {**BASELINES, "best single tone": best_tone(truths(folder))}
    beside = {**{name: toned(ab) for name, ab in tones.items()}, **systems}
    rows: list[dict[str, dict[str, float]]] = []
    for truth in truths(folder):
        gray = images.gray(truth)
        pictures = {name: color(gray) for name, color in beside.items()} | strengths(colorizer, gray)
        rows.append({name: measured(truth, picture) for name, picture in pictures.items()})
    columns = {name: {key: np.array([row[name][key] for row in rows]) for key in rows[0][name]} for name in rows[0]}
    curve = {name: columns[name] for name in map(str, STRENGTHS)}
    return {name: columns[name] for name in beside} | {THIS: curve["1.0"]}, curve


def intervals(columns: Columns) -> dict[str, tuple[float, float, float]]:
    """Each of COLUMNS of one system on one set: its value, and the bounds of its 95 % interval over photographs."""
    drawn = resample(columns, COLUMNS, 0)
    result = {}
    for name, metric in COLUMNS.items():
        low, high = np.percentile(drawn[name], (2.5, 97.5))
        result[name] = float(metric.value(*(columns[key].mean() for key in metric.columns))), float(low), float(high)
    return result


def markdown(rows: list[dict[str, Any]]) -> str:
    """Rows of the same keys as a table."""
    cells = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in cells)


def _cell(value: Any) -> str:
    if isinstance(value, tuple):
        return "{:.4g} [{:.4g}, {:.4g}]".format(*(round(one, 3) + 0.0 for one in value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def report(arguments: Arguments, colorizer: Colorizer) -> str:
    """The tables of all sets as Markdown. ValueError and OSError for folders and models that cannot be used."""
    named = [one.partition("=") for one in arguments.against]
    others: dict[str, Color] = {name: Colorizer(Path(file)) for name, _, file in named}
    table: list[dict[str, Any]] = []
    curves: dict[str, dict[str, Any]] = {str(strength): {"saturation": strength} for strength in STRENGTHS}
    for folder in arguments.folders:
        systems, curve = compared(folder, others, colorizer)
        place = f"{folder.name}, {len(systems[THIS]['square'])}"
        table += [{"set, photographs": place, "system": name, **intervals(one)} for name, one in systems.items()]
        for strength, columns in curve.items():
            (error, *_), (lively, *_) = (intervals(columns)[name] for name in ("ab error", "colorfulness"))
            curves[strength][place] = f"{error:.2f} at {lively:.2f}"
    words = [Path(word).name if os.sep in word else word for word in sys.argv[1:]]
    said = ", ".join(f"{name} {number}" for name, number in versions().items() if name in USED)
    parts = [TITLE.format(command=" ".join(words), said=said), markdown(table), CURVE, markdown([*curves.values()])]
    painters: dict[str, Color] = {**others, THIS: colorizer}
    faces = [
        {"faces of": folder.name, "system": name, **of_faces(pairs(folder, color))}
        for folder in arguments.faces
        for name, color in painters.items()
    ]
    return "\n\n".join([*parts, *([FACES, markdown(faces)] if faces else []), ""])


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    arguments = parse(Arguments, argv)
    color = Colorizer(arguments.model, saturation=arguments.saturation)
    try:
        if arguments.report:
            below = arguments.report.read_text().partition(KEPT) if arguments.report.is_file() else ("", "", "")
            write_text(arguments.report, report(arguments, color) + "\n" * bool(below[1]) + "".join(below[1:]))
            return 0
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
