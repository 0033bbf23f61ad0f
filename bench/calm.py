"""How calm a colorizer is where there is nothing to color: even grays, ramps, noise, text, drawings, maps, X-rays.

    python bench/calm.py [--model FILE.onnx]

Each picture is gray, 256 pixels or more a side, and is colored as `colorize` colors it. Strength is Lab's chroma: none
of it is right, up to 3 is hardly seen, 10 is. mean: over all pixels; most: what one pixel in a hundred exceeds; hue:
degrees of the mean color (0 red, 90 yellow, 180 green, 270 blue). "even gray" is every level from 0 to 255.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only bench/ itself is there
from bench.arguments import Calm as Arguments
from bench.arguments import parse

if __name__ == "__main__":
    parse(Arguments)  # --help and wrong options end here, before what takes seconds is imported


from collections.abc import Callable, Iterator

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from bench.common import table
from recolor_fast.colorize import Colorizer
from recolor_fast.photographs import images

SIDE = 256  # pixels
PAPER, INK = 240, 25
WORDS = "The ferry leaves at nine from the lower quay, and whoever wants to see the mill asks for the key.".split()
# scikit-image's own: a scanned page, handwriting in uneven light, a head as tomography sees it, the moon, coins, a
# cell, a part of a retina, a chessboard, a silhouette
PICTURES = ("page", "text", "shepp_logan_phantom", "moon", "coins", "cell", "microaneurysms", "checkerboard", "horse")


def even(level: int) -> np.ndarray:
    """uint8 (SIDE,SIDE) of one level."""
    return np.full((SIDE, SIDE), level, np.uint8)


def drawn() -> Iterator[tuple[str, np.ndarray]]:
    """Names and gray pictures, uint8 (H,W), made here, the same each time."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    random = np.random.default_rng(0)
    yield "ramp, left to right", x.astype(np.uint8)
    yield "ramp, top to bottom", y.astype(np.uint8)
    yield "ramp, from the middle", (255 - np.hypot(x - SIDE / 2, y - SIDE / 2)).clip(0, 255).astype(np.uint8)
    for spread in (10, 60):
        yield f"noise of {spread} levels", random.normal(128, spread, (SIDE, SIDE)).clip(0, 255).astype(np.uint8)
    yield "stripes", np.where(x % 16 < 8, INK, PAPER).astype(np.uint8)
    yield "printed page", page(18, INK, PAPER)
    yield "printed page, inverted", page(18, PAPER, INK)
    yield "headline", page(60, INK, PAPER)
    yield "line drawing", line_drawing()
    yield "map", line_map(random)
    yield "X-ray", x_ray()


def page(size: int, ink: int, paper: int) -> np.ndarray:
    """Text of a size in pixels that fills 512 x 384."""
    image = Image.new("L", (384, 512), paper)
    font, draw, place = ImageFont.load_default(size), ImageDraw.Draw(image), [24, 24]
    for word in WORDS * 20:
        width = round(draw.textlength(f"{word} ", font))
        if place[0] + width > 368:
            place = [24, place[1] + round(1.3 * size)]
        if place[1] + size > 500:
            break
        draw.text((place[0], place[1]), word, ink, font)
        place[0] += width
    return np.asarray(image)


def line_drawing() -> np.ndarray:
    """A machine part in three views, with measures: thin lines on paper."""
    image = Image.new("L", (480, 360), PAPER)
    draw = ImageDraw.Draw(image)
    for radius in (18, 30, 62, 90):
        draw.ellipse((130 - radius, 130 - radius, 130 + radius, 130 + radius), outline=INK, width=2)
    for angle in np.arange(0, 2 * np.pi, np.pi / 3):
        middle = 130 + 46 * np.cos(angle), 130 + 46 * np.sin(angle)
        draw.ellipse((middle[0] - 7, middle[1] - 7, middle[0] + 7, middle[1] + 7), outline=INK)
    for top, bottom in ((40, 220), (68, 192), (112, 148)):
        draw.rectangle((280, top, 330, bottom), outline=INK, width=2)
    for at in range(286, 330, 6):  # hatching
        draw.line((at, 68, at - 6, 192), fill=INK)
    draw.line((20, 130, 440, 130), fill=INK)
    draw.line((40, 250, 220, 250), fill=INK)
    draw.text((110, 256), "180", INK, ImageFont.load_default(16))
    return np.asarray(image)


def line_map(random: np.random.Generator) -> np.ndarray:
    """Contours of hills, two roads, a river and names, as on an old survey."""
    height = cv2.resize(random.random((6, 8)).astype(np.float32), (480, 360), interpolation=cv2.INTER_CUBIC)
    picture = np.full((360, 480), PAPER, np.uint8)
    for level in np.arange(0.1, 1, 0.08):
        rings = cv2.findContours((height > level).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]
        cv2.drawContours(picture, rings, -1, 120, 1, cv2.LINE_AA)
    for start in (60, 210, 330):
        steps = random.normal(0, 9, 40).cumsum() + start
        points = np.column_stack((np.linspace(0, 480, 40), steps)).round().astype(np.int32)
        cv2.polylines(picture, [points], False, INK, 2, cv2.LINE_AA)
    for name, place in (("Aston", (60, 90)), ("Mill Hill", (250, 180)), ("Wick", (380, 300))):
        cv2.putText(picture, name, place, cv2.FONT_HERSHEY_COMPLEX, 0.6, INK, 1, cv2.LINE_AA)
    return picture


def x_ray() -> np.ndarray:
    """A chest: a bright spine and ribs in dark lungs, soft as rays make it."""
    body = np.full((320, 300), 15, np.float32)
    cv2.ellipse(body, (150, 200), (140, 180), 0, 0, 360, 110, -1)
    for side in (85, 215):
        cv2.ellipse(body, (side, 175), (52, 110), 0, 0, 360, 45, -1)
        for at in range(80, 290, 26):
            cv2.ellipse(body, (side, at + 30), (62, 34), 0, 190, 350, 95, 7)
    cv2.rectangle(body, (138, 0), (162, 320), 190, -1)
    return cv2.GaussianBlur(body, (0, 0), 3).clip(0, 255).astype(np.uint8)


def kept() -> Iterator[tuple[str, np.ndarray]]:
    """Names and gray pictures, uint8 (H,W), that come with scikit-image."""
    for name in PICTURES:
        picture = np.asarray(getattr(data, name)())
        if picture.dtype != np.uint8:  # truth values and shares of white
            picture = np.rint(255 * picture.astype(np.float32)).clip(0, 255).astype(np.uint8)
        yield f"scikit-image's {name}", images.gray(picture[..., :3]) if picture.ndim == 3 else picture


def strengths(rgb: np.ndarray) -> dict[str, float]:
    """The numbers of uint8 (H,W,3), see the top."""
    a, b = np.moveaxis(cv2.cvtColor(rgb / np.float32(255), cv2.COLOR_RGB2LAB)[..., 1:], 2, 0)
    strength = np.hypot(a, b)
    return {
        "mean": float(strength.mean()),
        "most": float(np.quantile(strength, 0.99)),
        "hue": float(np.degrees(np.arctan2(b.mean(), a.mean())) % 360),
    }


def of_levels(color: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
    """The numbers of all even grays: mean over all of them, the most of any, its hue, and its level."""
    each = [strengths(color(even(level))) for level in range(256)]
    worst = max(range(256), key=lambda level: each[level]["mean"])
    mean = float(np.mean([one["mean"] for one in each]))
    return {"mean": mean, "most": each[worst]["mean"], "hue": each[worst]["hue"], "level": worst}


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    arguments = parse(Arguments, argv)
    try:
        color = Colorizer(arguments.model, saturation=arguments.saturation)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    levels = of_levels(color)
    rows = [{"picture": f"even gray, most at {levels.pop('level')}", **levels}]
    rows += [{"picture": name, **strengths(color(gray))} for some in (drawn(), kept()) for name, gray in some]
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
