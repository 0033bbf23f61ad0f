"""What the page computes itself, in node, against Python."""

from dataclasses import asdict
from typing import Any

import cv2
import numpy as np
import pytest

from recolor_fast.photographs import chroma, images, restoring
from recolor_fast.photographs.chroma import Look
from recolor_fast.photographs.preparation import Preparation
from tests import javascript, photographs

pytestmark = javascript.needs_node

FIELDS = ("upsample", "saturation", "keep_tone", "warmth", "strength")
LOOKS = [
    Look(),
    Look("bilinear"),
    Look(saturation=0),
    Look(saturation=4, keep_tone=1),
    Look(saturation=1.7, keep_tone=0),
    Look(warmth=1),
    Look(warmth=-1, saturation=0.3, upsample="bilinear"),
    Look(strength=0),
    Look(strength=0.4, warmth=0.5, keep_tone=1),
    Look(strength=0.7, keep_tone=0),
]
SIZES = [(1, 1, 8), (1, 97, 16), (7, 5, 16), (16, 16, 16), (33, 47, 16), (31, 20, 17), (97, 201, 32), (20, 300, 32)]


def chroma_of(random: np.random.Generator, size: int) -> np.ndarray:
    return random.integers(0, 256, (2, size, size), np.uint8)


def a_tone(random: np.random.Generator) -> np.ndarray:
    return cv2.GaussianBlur(random.normal(0, 60, (2, 256)).astype(np.float32), (0, 0), 9)


@pytest.mark.parametrize(("height", "width", "size"), SIZES)
def test_merge_is_pythons_within_a_level(height, width, size):
    random = np.random.default_rng(height * width)
    gray, cbcr, tone = random.integers(0, 256, (height, width), np.uint8), chroma_of(random, size), a_tone(random)
    cases = [(look, kept) for look in LOOKS for kept in (None, tone)]
    found = javascript.call(
        [("merge", "merge", [gray, width, height, cbcr, size, kept, asdict(look)]) for look, kept in cases]
    )
    for (look, kept), rgba in zip(cases, found, strict=True):
        rgba = rgba.reshape(height, width, 4).astype(int)
        difference = np.abs(rgba[..., :3] - chroma.merge(gray, cbcr, look, kept))
        assert difference.max() <= 1, (look, kept is None)
        assert difference.mean() < 0.01
        assert (rgba[..., 3] == 255).all()


def test_merge_of_a_photograph_keeps_its_luminance():
    random = np.random.default_rng(0)
    gray = cv2.cvtColor(photographs.pixels(3, 150, 211), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(random.integers(0, 256, (4, 4, 2), np.uint8), (64, 64))
    cbcr = np.ascontiguousarray(small.transpose(2, 0, 1))
    (rgba,) = javascript.call([("merge", "merge", [gray, 211, 150, cbcr, 64, None, {"saturation": 3}])])
    rgb = rgba.reshape(150, 211, 4)[..., :3]
    assert np.abs(rgb.astype(int) - chroma.merge(gray, cbcr, Look(saturation=3))).max() <= 1
    assert np.abs(rgb @ [0.299, 0.587, 0.114] - gray).max() <= 1


def drawn(gray: np.ndarray, cbcr: np.ndarray, rectangle: tuple[float, float, float, float], columns: int, rows: int):
    """The calls that draw a rectangle of a picture: its luminance alone, and colored."""
    height, width = gray.shape
    place = dict(zip(("x", "y", "width", "height"), rectangle))
    luma = ("merge", "sampled", [gray, width, height, place, columns, rows])
    base = ("merge", "prepare", [gray, width, height, cbcr, cbcr.shape[1], None])
    planes = ("merge", "recolor", [{"call": base}, {}])
    return luma, ("merge", "region", [{"call": planes}, {"call": luma}, place, columns, rows])


def test_a_region_at_full_size_is_a_part_of_the_picture():
    random = np.random.default_rng(1)
    gray, cbcr = random.integers(0, 256, (90, 130), np.uint8), chroma_of(random, 16)
    luma, part = javascript.call([*drawn(gray, cbcr, (31, 7, 50, 41), 50, 41)])
    assert np.array_equal(luma.reshape(41, 50), gray[7:48, 31:81])
    expected = chroma.merge(gray, cbcr)[7:48, 31:81].astype(int)
    assert np.abs(part.reshape(41, 50, 4)[..., :3] - expected).max() <= 1


def test_a_region_drawn_smaller_is_the_picture_averaged():
    gray = np.arange(90 * 130).reshape(90, 130).astype(np.uint8)
    neutral = np.full((2, 16, 16), 128, np.uint8)
    luma, part = javascript.call([*drawn(gray, neutral, (10, 20, 60, 40), 20, 10)])
    averaged = gray[20:60, 10:70].reshape(10, 4, 20, 3).mean((1, 3))
    assert np.abs(luma.reshape(10, 20) - averaged).max() <= 0.5
    assert np.array_equal(part.reshape(10, 20, 4)[..., :3], np.repeat(luma, 3).reshape(10, 20, 3))


def test_a_region_drawn_larger_shows_the_pixels_as_squares():
    random = np.random.default_rng(2)
    gray, cbcr = random.integers(0, 256, (30, 40), np.uint8), chroma_of(random, 8)
    luma, part = javascript.call([*drawn(gray, cbcr, (3, 5, 6, 4), 30, 20)])
    assert np.array_equal(luma.reshape(20, 30), gray[5:9, 3:9].repeat(5, 0).repeat(5, 1))
    middles = part.reshape(20, 30, 4)[2::5, 2::5, :3]  # between them the chroma changes smoothly
    assert np.abs(middles - chroma.merge(gray, cbcr)[5:9, 3:9].astype(int)).max() <= 1


def test_a_picture_that_is_not_whole_is_refused():
    nothing = np.zeros(0, np.uint8)
    (found,) = javascript.call([("merge", "prepare", [np.zeros(6, np.uint8), 3, 3, nothing, 0, None])])
    assert found["error"].startswith("RangeError: got 6 of luma")


def test_gray_is_opencvs():
    rgba = np.random.default_rng(0).integers(0, 256, (500, 400, 4), np.uint8)
    (gray,) = javascript.call([("prepare", "gray", [rgba, np.zeros(500 * 400, np.uint8)])])
    assert np.array_equal(gray.reshape(500, 400), images.gray(np.ascontiguousarray(rgba[..., :3])))


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [
        (1, 1, 64),
        (37, 61, 64),
        (64, 64, 64),
        (400, 83, 160),
        (300, 310, 160),
        (1027, 1031, 160),
        (2050, 2049, 64),
        (4101, 4099, 160),
    ],
)
def test_a_model_sees_what_it_sees_in_python(height, width, size):
    gray = cv2.resize(photographs.pixels(height, 150, 211)[..., 1], (width, height))
    gray ^= np.random.default_rng(0).integers(0, 8, gray.shape, np.uint8)
    (plain,) = javascript.call([("prepare", "source", [gray, width, height, vars(plainly(size))])])
    assert np.array_equal(plain.reshape(size, size), images.source(gray, plainly(size)))


@pytest.mark.parametrize(("equalize", "blur"), [("source", "none"), ("none", "both"), ("both", "source")])
def test_equalized_and_blurred_within_a_level(equalize, blur):
    gray = photographs.pixels(5, 97, 131)[..., 1].copy() // 2
    preparation = Preparation(64, equalize, blur)
    (found,) = javascript.call([("prepare", "source", [gray, 131, 97, vars(preparation)])])
    assert np.abs(found.reshape(64, 64).astype(int) - images.source(gray, preparation)).max() <= 1


def plainly(size: int) -> Preparation:
    return Preparation(size, "none", "none")


# --- restored prints -----------------------------------------------------------------------------------------------


def faded(seed: int, height: int, width: int) -> np.ndarray:
    return (90 + 0.3 * photographs.pixels(seed, height, width)[..., 1]).astype(np.uint8)


def on_paper(gray: np.ndarray, tone: int = 232) -> np.ndarray:
    return cv2.copyMakeBorder(gray, 31, 33, 40, 42, cv2.BORDER_CONSTANT, value=[tone])


PRINTS = {
    "faded": faded(1, 150, 211),
    "large": faded(2, 900, 1310),
    "on paper": on_paper(faded(3, 300, 420)),
    "fog": (faded(4, 90, 70) // 8) + 120,
    "as it should be": np.indices((80, 256))[1].astype(np.uint8),
    "white": np.full((40, 60), 255, np.uint8),
    "a pixel": np.full((1, 1), 99, np.uint8),
}


def test_negatives_are_inverted_as_in_python_by_one_curve():
    cases = [(name, gray, restore) for name, gray in PRINTS.items() for restore in (False, True)]
    wanted = [
        ("browser/restoring", "restored", [_print(255 - gray, None), restore, True]) for _, gray, restore in cases
    ]
    every = javascript.call(wanted)
    applied = javascript.call(
        [("curve", "applied", [255 - gray, found["curve"]]) for (_, gray, _), found in zip(cases, every, strict=True)]
    )
    for (name, gray, restore), found, shown in zip(cases, every, applied, strict=True):
        new = restoring.restored(255 - gray, restore=restore, negative=True)
        assert (*found["done"],) == (*new.done,), name
        assert np.abs(found["luma"].reshape(gray.shape).astype(int) - new.gray).max() <= 2 * restore, name
        assert np.abs(shown.astype(int) - found["luma"]).max() <= 1, name  # at halves
        assert np.ravel(found["curve"]) == pytest.approx(np.ravel(new.points), abs=0.5), name
        points = np.array(new.points)
        by_points = np.interp(255 - gray, points[:, 0], points[:, 1])
        assert np.abs(by_points - new.gray).max() <= 0.5 + 1e-6, name


def test_prints_are_restored_as_in_python():
    tone = a_tone(np.random.default_rng(0))
    every = javascript.call([("browser/restoring", "restored", [_print(gray, tone), True]) for gray in PRINTS.values()])
    back = javascript.call([("curve", "untoned", [found["tone"], found["curve"]]) for found in every])
    done = {}
    for (name, gray), found, before in zip(PRINTS.items(), every, back, strict=True):
        new = restoring.restored(gray)
        assert np.abs(found["luma"].reshape(gray.shape).astype(int) - new.gray).max() <= 2, name
        assert (*found["done"],) == (done := done | {name: (*new.done,)})[name], name
        assert found["done"].get("levels", []) == pytest.approx(new.done.get("levels", []), abs=0.5), name
        assert np.ravel(found["curve"]) == pytest.approx(np.ravel(new.points), abs=0.5), name
        assert (found["border"] or []) == pytest.approx(new.border or [], abs=0.003), name
        assert np.abs(found["tone"].reshape(2, 256) - restoring.toned(tone, new)).max() < 2, name
        low, high = np.percentile(gray, [1, 99]).astype(int)
        assert np.abs(before.reshape(2, 256) - tone)[:, low : high + 1].max() < 1.5, name
    assert {*done.values()} == {(), ("levels",), ("levels", "border")}


def test_a_print_of_16_bits_is_shown_restored_from_8():
    random = np.random.default_rng(0)
    gray = (photographs.pixels(8, 150, 211)[..., 1] + random.random((150, 211))) * 64 + 110 * 257
    gray, smooth = gray.astype(np.uint16), cv2.resize(random.integers(90, 166, (4, 4, 2), np.uint8), (64, 64))
    cbcr, new = np.ascontiguousarray(smooth.transpose(2, 0, 1)), restoring.restored(gray)
    assert np.diff(new.points, axis=0)[1] @ [-3.8, 1] > 0  # a level of the print is nearly four
    luma = ("curve", "applied", [images.shallow(gray), [*new.points]])
    (rgba,) = javascript.call([("merge", "merge", [{"call": luma}, 211, 150, cbcr, 64, None, {}])])
    apart = np.abs(rgba.reshape(150, 211, 4)[..., :3] - chroma.merge(new.gray, cbcr) / 257)
    assert (apart <= 2).mean() > 0.9
    assert (apart <= 4).mean() > 0.99


def test_a_border_and_what_cannot_be_seen_are_left_out_of_a_print_as_in_python():
    hidden, alpha = faded(5, 120, 160), np.full((120, 160), 255, np.uint8)
    hidden[:, :40], alpha[:, :40] = 0, 0
    bordered, preparation = on_paper(faded(6, 200, 260)), Preparation(64, "source", "none")
    height, width = bordered.shape
    border = restoring.restored(bordered).border
    assert border
    found, source = javascript.call(
        [
            ("browser/restoring", "restored", [_print(hidden, None, alpha), True]),
            ("prepare", "source", [bordered, width, height, vars(preparation), [*border]]),
        ]
    )
    new = restoring.restored(hidden, alpha)
    assert new.done["levels"][0] > 80
    assert found["done"]["levels"] == pytest.approx(new.done["levels"], abs=0.5)
    expected = images.source(bordered, preparation, border)
    assert np.abs(source.reshape(64, 64).astype(int) - expected).max() <= 1
    assert np.abs(images.source(bordered, preparation).astype(int) - expected).max() > 5


def _print(gray: np.ndarray, tone: np.ndarray | None, alpha: np.ndarray | None = None) -> dict[str, Any]:
    height, width = gray.shape
    return {"luma": gray, "width": width, "height": height, "alpha": alpha, "tone": tone}
