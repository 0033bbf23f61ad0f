"""What is taken for a color photograph, and what for a black-and-white one that paper and years have colored."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from recolor_fast.photographs import images, in_color, pictures
from recolor_fast.photographs.in_color import is_color
from tests.photographs import pixels, shared

COLORFUL = 6.0  # mean Lab chroma from which a photograph counts as one in color
# Of old/faded, which is "toned or faded or scratched", those that are photographs in color all the same.
IN_COLOR = {f"msold_old_{letter}.jpg" for letter in "bcefgh"}

TONES = {  # Lab a, b at black, dark, light and white
    "neutral": ((0, 0), (0, 0), (0, 0), (0, 0)),
    "sepia": ((4, 6), (10, 20), (8, 22), (3, 10)),
    "cyanotype": ((2, -10), (-2, -24), (-4, -18), (-2, -4)),
    "selenium": ((5, -3), (7, -2), (5, 0), (1, 3)),
    "yellowed": ((0, 0), (1, 4), (2, 11), (3, 20)),
    "split": ((-1, -6), (1, -1), (3, 9), (2, 15)),
    "cast": ((6, -8), (7, -9), (7, -8), (4, -5)),
}


def toned(gray: np.ndarray, tone: str) -> np.ndarray:
    """float32 CIELAB (H,W,3) of a print of uint8 (H,W): black is not quite black on it, nor white white."""
    lightness = 8 + gray.astype(np.float32) * (84 / 255)
    ab = [np.interp(lightness, (0, 33, 66, 100), levels) for levels in zip(*TONES[tone])]
    return np.dstack([lightness, *ab]).astype(np.float32)


def slow(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """0..1 (H,W), changing slowly."""
    field = np.random.default_rng(seed).random((3, 3)).astype(np.float32)
    return cv2.resize(field, shape[1::-1], interpolation=cv2.INTER_LINEAR)


def faded(lab: np.ndarray) -> np.ndarray:
    return lab + slow(lab.shape, 1)[..., None] * np.float32([-10, 1, 7])


def stained(lab: np.ndarray) -> np.ndarray:
    height, width = lab.shape[:2]
    stain = np.zeros((height, width), np.float32)
    cv2.ellipse(stain, (width // 3, height // 3), (width // 9, height // 12), 20, 0, 360, 1, -1)
    return lab + cv2.GaussianBlur(stain, (0, 0), width / 40)[..., None] * np.float32([-8, 2, 6])


def noisy(lab: np.ndarray) -> np.ndarray:
    return lab + np.random.default_rng(2).normal(0, 3, lab.shape).astype(np.float32)


def fringed(lab: np.ndarray) -> np.ndarray:
    """The red plane half a pixel to the side of the others."""
    rgb = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
    rgb[..., 0] = cv2.warpAffine(rgb[..., 0], np.float32([[1, 0, 0.5], [0, 1, 0]]), rgb.shape[1::-1], borderMode=1)
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)


def written_on(lab: np.ndarray) -> np.ndarray:
    ink = np.zeros(lab.shape[:2], np.uint8)
    at = (int(0.15 * lab.shape[1]), int(0.8 * lab.shape[0]))
    cv2.putText(ink, "Anna 1923", at, cv2.FONT_HERSHEY_SCRIPT_SIMPLEX, lab.shape[1] / 500, 255, 1, cv2.LINE_AA)
    share = ink[..., None] / np.float32(255)
    return (1 - share) * lab + share * np.float32([35, 15, -40])


def mounted(lab: np.ndarray) -> np.ndarray:
    height, width = (length // 12 for length in lab.shape[:2])
    return cv2.copyMakeBorder(lab, height, height, width, width, cv2.BORDER_CONSTANT, value=(30.0, -12.0, 8.0))


@pytest.mark.parametrize("damage", [np.copy, faded, stained, noisy, fringed, written_on, mounted])
@pytest.mark.parametrize("tone", TONES)
def test_prints_are_not_color(tone: str, damage: Callable[[np.ndarray], np.ndarray]) -> None:
    for number in range(4):
        gray = images.gray(pixels(number, 240, 320))
        lab = damage(toned(gray, tone))
        rgb = np.rint(255 * np.clip(cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_LAB2RGB), 0, 1)).astype(np.uint8)
        assert not is_color(rgb), number
        for settings in ({"format": "JPEG", "quality": 60}, {"format": "WEBP", "quality": 70}):
            file = io.BytesIO()
            Image.fromarray(rgb).save(file, **settings)
            assert not pictures.read(file.getvalue()).is_color, (number, settings)


@pytest.mark.parametrize("tone", ["neutral", "sepia"])
def test_a_color_photograph_stays_one_when_faded_and_mounted(tone: str) -> None:
    for number in (0, 1, 2, 4):
        rgb = pixels(number, 240, 320)
        lab = cv2.cvtColor(rgb / np.float32(255), cv2.COLOR_RGB2LAB)
        lab[..., 1:] = 0.6 * lab[..., 1:] + toned(images.gray(rgb), tone)[..., 1:]
        print_of_it = np.clip(cv2.cvtColor(mounted(faded(lab)).astype(np.float32), cv2.COLOR_LAB2RGB), 0, 1)
        assert is_color(rgb), number
        assert is_color(np.rint(255 * print_of_it).astype(np.uint8)), number


def test_any_size_and_depth() -> None:
    rgb = pixels(2, 600, 800)
    for array in (rgb, rgb.astype(np.uint16) * 257, cv2.resize(rgb, (24, 18)), np.tile(rgb[:300], (1, 8, 1))):
        assert is_color(array)
        gray = images.gray(
            rgb if array.dtype == np.uint8 else images.shallow(array.reshape(600, -1)).reshape(rgb.shape)
        )
        assert not is_color(np.dstack([gray] * 3).astype(array.dtype) * np.iinfo(array.dtype).max // 255)
    for height, width in ((1, 1), (1, 9), (2, 3), (1, 5000)):
        assert not is_color(np.full((height, width, 3), (200, 30, 40), np.uint8))  # one color: all of it is its tone


@pytest.mark.parametrize("shape", [(64, 64), (16, 256), (256, 16), (255, 3), (1, 200)])
def test_a_strip_is_filtered_as_any_picture(monkeypatch, shape: tuple[int, int]) -> None:
    plane = np.random.default_rng(0).normal(0, 20, shape).astype(np.float32)
    sigma = in_color.SLOW * np.sqrt(plane.size)
    by_matrices = in_color._mean_around(plane, sigma)
    monkeypatch.setattr(in_color, "LONG", 0)
    assert np.abs(by_matrices - in_color._mean_around(plane, sigma)).max() < 1e-4
    assert np.abs(by_matrices - cv2.GaussianBlur(plane, (0, 0), sigma)).max() < 0.01  # whose taps may be one more


@pytest.mark.parametrize("shape", [(20_000, 1), (1, 20_000), (3, 20_000)])
def test_the_longest_strip_makes_no_large_matrix(monkeypatch, shape: tuple[int, int]) -> None:
    """A file of 143 bytes can be that long: a matrix of its side would take gigabytes."""
    sides, means = [], in_color._means
    monkeypatch.setattr(in_color, "_means", lambda side, sigma: sides.append(side) or means(side, sigma))
    ramp = np.linspace(0, 255, max(shape)).astype(np.uint8).reshape(-1, 1)
    colors = np.dstack([ramp, np.roll(ramp, 3000), np.roll(ramp, 9000)])
    gray = np.dstack([ramp] * 3)
    for rgb, expected in ((colors, True), (gray, False)):
        rgb = np.repeat(rgb, min(shape), axis=1)
        assert is_color(rgb if shape[1] == min(shape) else rgb.transpose(1, 0, 2)) is expected
    assert max(sides, default=0) <= in_color.LONG


def test_what_is_transparent_is_not_seen() -> None:
    rgb, gray = pixels(2, 120, 160), images.gray(pixels(3, 120, 160))
    alpha = np.full_like(gray, 255)
    alpha[:, 80:] = 0
    pixel_pairs = np.where((alpha == 0)[..., None], rgb, gray[..., None])
    for visible, expected in ((alpha, False), (255 - alpha, True)):
        file = io.BytesIO()
        Image.fromarray(np.dstack([pixel_pairs, visible])).save(file, "PNG")
        assert pictures.read(file.getvalue()).is_color is expected


# --- photographs beside the repository -----------------------------------------------------------------------------


def chroma(data: bytes) -> float:
    """Mean Lab chroma."""
    lab = cv2.cvtColor(images.read_rgb(data, 256) / np.float32(255), cv2.COLOR_RGB2LAB)
    return float(np.hypot(lab[..., 1], lab[..., 2]).mean())


def judged(folder: Path) -> dict[str, tuple[bool | None, float]]:
    """Of each photograph, by name: whether it is taken for color, and its mean chroma."""
    paths = sorted(folder.rglob("*.jpg"))
    return {path.name: (pictures.read(path.read_bytes()).is_color, chroma(path.read_bytes())) for path in paths}


def test_of_color_photographs_one_in_a_hundred_is_taken_for_gray() -> None:
    """Some of them are in sepia or of a single hue: with these."""
    found = {}
    for parts in (("imagenette", "val"), ("imagenet-wide",), ("wide-test",)):
        found |= {name: color for name, (color, strength) in judged(shared(*parts)).items() if strength >= COLORFUL}
    gray = [name for name, color in found.items() if not color]
    assert len(found) > 700
    assert len(gray) <= len(found) / 100, gray


@pytest.mark.parametrize("name", ["bw", "faded"])
def test_of_old_photographs_one_in_forty_is_taken_for_color(name: str) -> None:
    found = judged(shared("old", name))
    color = {name for name, (color, _) in found.items() if color}
    assert color >= IN_COLOR & found.keys()
    assert len(color - IN_COLOR) <= len(found) / 40, sorted(color - IN_COLOR)


def test_old_plates_are_color() -> None:
    assert all(color for color, _ in judged(shared("old", "plates")).values())


@pytest.mark.slow
def test_of_photographs_of_every_kind_two_in_a_hundred_are_taken_for_gray() -> None:
    """None of these was looked at when the thresholds were chosen."""
    color = []
    with tarfile.open(shared("wide") / "000013.tar") as archive:
        for member in archive:
            data = archive.extractfile(member).read() if member.name.endswith(".jpg") else b""
            if data and chroma(data) >= COLORFUL:
                color.append(pictures.read(data).is_color)
    assert len(color) > 2000
    assert color.count(False) <= len(color) / 50
