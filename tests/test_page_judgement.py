"""What the page in the browser alone computes of a photograph, in node, against Python: tones, hints, palettes."""

import json

import cv2
import numpy as np
import pytest

from recolor_fast.artefact import hints, runtime
from recolor_fast.artefact.hints import Hint
from recolor_fast.coloring import palette
from recolor_fast.photographs import images, in_color, tones
from recolor_fast.serve import names
from tests import javascript, photographs
from tests.test_in_color import TONES, toned

pytestmark = javascript.needs_node


def prints() -> list[np.ndarray]:
    """RGB of toned prints, of a gray photograph and of color ones."""
    found = []
    for number, tone in enumerate(TONES):
        lab = toned(images.gray(photographs.pixels(number, 90, 120)), tone)
        found.append((cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255).round().astype(np.uint8))
    found.append(np.dstack([images.gray(photographs.pixels(9, 50, 40))] * 3))
    return found + [photographs.pixels(number, 90, 120) for number in range(8)]


def test_color_photographs_and_toned_prints_are_told_apart_as_in_python():
    small = [(255 * in_color.reduced(rgb)).round().astype(np.float32) for rgb in prints()]
    planes = [[np.ascontiguousarray(one[..., k]) for k in range(3)] for one in small]
    found = javascript.call(
        [("browser/tone", "judged", [of, one.shape[1], one.shape[0]]) for of, one in zip(planes, small)]
    )
    expected = [tones.judged(rgb) for rgb in prints()]
    assert [one["inColor"] for one in found] == [color for color, _ in expected]
    assert {color for color, _ in expected} == {True, False}
    assert sum(tone is not None for _, tone in expected) >= 5
    for one, (_, tone) in zip(found, expected, strict=True):
        assert (one["tone"] is None) == (tone is None)
        if tone is not None:
            assert np.abs(one["tone"].reshape(2, 256) - tone).max() < 0.5


@pytest.mark.parametrize(("height", "width"), [(40, 30), (64, 64), (301, 203), (97, 1000)])
def test_averages_for_it_are_pythons(height, width):
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    expected = 255 * in_color.reduced(rgb)
    size, found = javascript.call(
        [
            ("browser/tone", "judgedSize", [width, height]),
            ("page_math", "averaged", [np.dstack([rgb, rgb[..., 0]]), width, height, *expected.shape[1::-1]]),
        ]
    )
    assert size == [*expected.shape[1::-1]]
    for k, plane in enumerate(found):
        assert np.abs(plane.reshape(expected.shape[:2]) - expected[..., k]).max() <= 1


HINTS = [
    Hint(0, 0, "#c08040"),
    Hint(299.9, 199.9, "#0000ff", 12.5),
    Hint(150, 20, "#FF0000", 0),
    Hint(30, 150, "#00ff00", 1000),
    Hint(31, 151, "#808080", 40),
]


def test_hints_are_drawn_as_in_python():
    (found,) = javascript.call([("browser/hints", "draw", [[hint._asdict() for hint in HINTS], 300, 200, 160])])
    expected = hints.draw(HINTS, 300, 200, 160)
    assert np.array_equal(found.reshape(3, 160, 160)[2], expected[2])
    assert np.abs(found.reshape(3, 160, 160) - expected).max() < 0.6  # OpenCV's own Lab is so far from the formula


def test_a_hint_outside_is_refused():
    (found,) = javascript.call([("browser/hints", "draw", [[Hint(300, 0, "#000000")._asdict()], 300, 200, 160])])
    assert found == {"error": "RangeError: hint at 300, 0: outside the photograph of 300 x 200 pixels"}


def test_plausible_colors_are_pythons():
    artefact = runtime.load(runtime.shipped("hints"), "cpu", 1)
    gray = images.gray(photographs.pixels(4, 120, 160))
    size = artefact.options.size
    seen = palette.chroma.merge(images.resize(gray, size, size), artefact.chroma(gray))
    places = [(x, y) for x in range(3, 160, 40) for y in range(2, 120, 30)]
    table = json.loads(artefact.metadata["palette"])
    painted = [seen[int(y * size / 120), int(x * size / 160)] / 255 for x, y in places]
    found = javascript.call([("browser/hints", "plausible", [table, of.tolist()]) for of in painted])
    same = 0
    for (x, y), colors in zip(places, found, strict=True):
        expected = palette.colors(artefact, gray, x, y)
        rgb = [[np.array([*bytes.fromhex(color[1:])], int) for color in given] for given in (colors, expected)]
        same += len(colors) == len(expected) and all(np.abs(a - b).max() <= 3 for a, b in zip(*rgb))
    assert same >= len(places) - 1  # one may lie on the border of two bins


NAMES = [
    "old.JPG",
    "old.jpeg",
    "a/b.tif",
    "x.y.gif",
    "CON.png",
    "nul",
    ".hidden",
    "é.jpg",
    "e\u0301.jpg",
    "no suffix",
    "",
]
NAMES += [
    "a" * 300 + ".jpg",
    "ü" * 150 + ".jpg",
    'q"<>|?*.jpg',
    " . .jpg",
    "St. Anna und Maria",
    "x.jpg.",
    "..",
    "\x01.png",
]


def test_files_are_called_as_in_python():
    jpeg, png = [".jpg", ".jpeg", ".jpe", ".jfif"], [".png"]
    for format, suffixes in (("JPEG", jpeg), ("PNG", png)):
        found = javascript.call([("browser/names", "colored", [name, suffixes]) for name in NAMES])
        assert found == [names.colored(name, format) for name in NAMES]


def test_names_that_a_file_system_takes_for_one_get_numbers():
    given = ["a.png", "A.png", "é.png", "e\u0301.png", "a.png", "none", "NONE"]
    (found,) = javascript.call([("browser/names", "unique", [given])])
    taken: set[str] = set()
    for name, got in zip(given, found, strict=True):
        expected = names.unique(name, taken)
        taken.add(names.folded(expected))
        assert got == expected
