"""A print's own tone: what is measured, and what of it comes back where a model paints little."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from recolor_fast import colorize
from recolor_fast.photographs import chroma, images, pictures, provenance, tones
from recolor_fast.photographs.chroma import Look
from tests import artefacts
from tests.commands import run
from tests.photographs import pixels
from tests.test_images import luma

# Cb and Cr at luminance 0, 128 and 255
SEPIA, CYANOTYPE = ((-4, 3), (-20, 12), (-10, 4)), ((6, -2), (22, -14), (8, -6))
WHOLE = Look(keep_tone=1)


def tone(levels: np.ndarray, knots: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Cb and Cr (2,...) at luminance levels of 255, a parabola through the three knots."""
    return np.stack([np.polyval(np.polyfit((0, 128, 255), part, 2), levels) for part in zip(*knots)])


def toned(gray: np.ndarray, knots: tuple[tuple[int, int], ...]) -> np.ndarray:
    """A print: uint8 or uint16 RGB (H,W,3) of gray from a third to three quarters of white, so that nothing is cut."""
    level = np.iinfo(gray.dtype).max / 255
    y = gray.astype(float)
    cb, cr = level * tone(y / level, knots)
    rgb = np.dstack([y + 1.402 * cr, y - (0.114 * 1.772 * cb + 0.299 * 1.402 * cr) / 0.587, y + 1.772 * cb])
    return np.rint(rgb).astype(gray.dtype)


def grays(number: int = 2, dtype: type = np.uint8, shape: tuple[int, int] = (240, 320)) -> np.ndarray:
    """Luminances from 80 to 190 of a photograph."""
    gray = 80 + images.gray(pixels(number, *shape)) * (110 / 255)
    return np.rint(gray * (np.iinfo(dtype).max / 255)).astype(dtype)


def painted(cb: int, cr: int) -> np.ndarray:
    return np.tile(np.array([cb, cr], np.uint8).reshape(2, 1, 1), (1, 64, 64))


def mean_chroma(rgb: np.ndarray) -> float:
    level = np.iinfo(rgb.dtype).max / 255
    y = luma(rgb)
    return float(np.hypot((rgb[..., 2] - y) / 1.772, (rgb[..., 0] - y) / 1.402).mean() / level)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("knots", [SEPIA, CYANOTYPE])
def test_the_tone_is_measured_by_luminance(knots, dtype: type) -> None:
    in_color, found = tones.judged(toned(grays(dtype=dtype), knots))
    assert not in_color
    assert found is not None
    assert (found.dtype, found.shape) == (np.float32, (2, 256))
    seen = np.arange(95, 175)  # of the averaged picture; the smoothing flattens the ends of what is there
    assert np.abs(found[:, seen] - tone(seen, knots)).max() < 1.5


def test_neutral_prints_and_photographs_in_color_have_none() -> None:
    gray = grays()
    assert tones.judged(gray) == (False, None)
    assert tones.judged(np.dstack([gray] * 3)) == (False, None)
    noisy = gray[..., None] + np.random.default_rng(1).normal(0, 3, (*gray.shape, 3))
    assert tones.judged(np.rint(noisy).clip(0, 255).astype(np.uint8)) == (False, None)
    assert tones.judged(pixels(2, 240, 320)) == (True, None)


def test_gray_that_was_written_as_rgb_is_no_print_and_not_in_color() -> None:
    rgb = np.repeat(pixels(3, 150, 200)[..., :1], 3, axis=2)
    assert tones.judged(rgb) == tones._judged(tones.reduced(rgb)) == (False, None)


def test_what_is_hidden_has_no_tone() -> None:
    rgb, alpha = np.dstack([grays()] * 3), np.full((240, 320), 255, np.uint8)
    rgb[:, 100:], alpha[:, 100:] = toned(grays(), SEPIA)[:, 100:], 0
    assert tones.judged(rgb, alpha) == (False, None)
    assert tones.judged(rgb) == (True, None)  # two tones at once


@pytest.mark.parametrize("upsample", ["guided", "bilinear"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("knots", [SEPIA, CYANOTYPE])
def test_a_known_tone_comes_back_where_nothing_is_painted(knots, dtype: type, upsample) -> None:
    rgb = toned(grays(dtype=dtype), knots)
    gray, found = images.gray(rgb), tones.judged(rgb)[1]
    level = np.iinfo(dtype).max / 255
    for share in (1.0, 0.5):
        got = chroma.merge(gray, painted(128, 128), Look(upsample, keep_tone=share), found)
        want = gray[..., None] + share * (rgb.astype(float) - gray[..., None])
        assert np.abs(got - want).mean() < 0.8 * level
        assert np.abs(luma(got) - gray).max() <= 0.52
        assert mean_chroma(got) == pytest.approx(share * mean_chroma(rgb), rel=0.04)
    if dtype == np.uint8:
        planes = [plane.astype(float) - 128 for plane in chroma.subsampled(gray, painted(128, 128), WHOLE, found)]
        true = [cv2.resize(plane, (160, 120), interpolation=cv2.INTER_AREA) for plane in tone(gray, knots)]
        assert np.abs(np.stack(planes) - true).mean() < 1


def test_with_a_paint_of_its_hue_a_print_is_not_less_than_it_was() -> None:
    """The paint and 1 - s / t of the tone: t, whatever s; and with less of the tone no less than the paint."""
    gray, flat = np.full((128, 128), 130, np.uint8), np.tile(np.float32([[-18], [18]]), (1, 256))
    for s in (0, 6, 12, 17):
        cb, cr = chroma.subsampled(gray, painted(128 - s, 128 + s), WHOLE, flat)
        assert (cb == 110).all()
        assert (cr == 146).all()
        cb, cr = chroma.subsampled(gray, painted(128 - s, 128 + s), Look(keep_tone=0.5), flat)
        assert np.abs(cr - (128 + s + (18 - s) / 2)).max() <= 0.51


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_strongly_painted_is_as_without_a_tone(dtype: type) -> None:
    rgb = toned(grays(dtype=dtype), SEPIA)
    gray, found = images.gray(rgb), tones.judged(rgb)[1]
    cbcr = painted(150, 110)  # blue, stronger than the tone
    assert np.array_equal(chroma.merge(gray, cbcr, WHOLE, found), chroma.merge(gray, cbcr))
    assert not np.array_equal(
        chroma.merge(gray, painted(130, 127), WHOLE, found), chroma.merge(gray, painted(130, 127))
    )


def test_none_of_the_tone_is_as_without_one() -> None:
    rgb = toned(grays(), SEPIA)
    gray, found = images.gray(rgb), tones.judged(rgb)[1]
    cbcr = np.random.default_rng(3).integers(110, 140, (2, 64, 64), dtype=np.uint8)
    for call in (chroma.merge, lambda *given: np.stack(chroma.subsampled(*given))):
        assert np.array_equal(call(gray, cbcr, Look(keep_tone=0), found), call(gray, cbcr))
        assert np.array_equal(call(gray, cbcr, WHOLE, None), call(gray, cbcr))


def test_the_tone_gives_way_smoothly() -> None:
    """Half a picture is painted red: over an even gray the tone of the other half ends within a tenth of the side."""
    gray, flat = np.full((256, 256), 130, np.uint8), np.tile(np.float32([[-14], [0]]), (1, 256))
    cbcr = painted(128, 128)
    cbcr[1, :, :32] = 158
    cb, cr = (plane.astype(int) for plane in chroma.subsampled(gray, cbcr, WHOLE, flat))
    assert (cb[:, :40] == 128).all()
    assert (cb[:, -20:] == 114).all()
    assert np.abs(np.diff(cb, axis=1)).max() <= 2
    assert (np.diff(cb, axis=1) <= 0).all()
    assert np.array_equal(cr, chroma.subsampled(gray, cbcr)[1])


def test_a_share_that_is_none_is_named() -> None:
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=f"keep_tone {share}: expected 0 to 1"):
            chroma.merge(np.zeros((8, 8), np.uint8), painted(128, 128), Look(keep_tone=share))


# --- through files -------------------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that paints nothing."""
    return artefacts.constant(tmp_path / "nothing.onnx", (128, 128))


def saved(rgb: np.ndarray, format: str, **settings) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, format, **settings)
    return file.getvalue()


def test_colorizer_keeps_it_of_whatever_it_is_given(model: Path, tmp_path: Path) -> None:
    whole, none = (colorize.Colorizer(model, "cpu", keep_tone=share) for share in (1, 0))
    rgb = toned(grays(), SEPIA)
    path = tmp_path / "print.png"
    path.write_bytes(saved(rgb, "PNG"))
    for given in (rgb, Image.fromarray(rgb), path):
        assert np.abs(np.asarray(whole(given)) - rgb.astype(float)).mean() < 0.8
        assert np.ptp(np.asarray(none(given)), axis=2).max() == 0
    for format in ("PNG", "JPEG"):
        data = saved(rgb, format, **({"quality": 95} if format == "JPEG" else {}))
        assert np.abs(images.read_rgb(whole(data)) - rgb.astype(float)).mean() < 1.5
        assert mean_chroma(images.read_rgb(none(data))) < 0.5
    deep = whole(toned(grays(dtype=np.uint16), SEPIA))
    assert deep.dtype == np.uint16
    assert mean_chroma(deep) == pytest.approx(mean_chroma(rgb), rel=0.05)


def test_gray_and_color_stay_what_they_were_bit_for_bit(model: Path) -> None:
    whole, none = (colorize.Colorizer(model, "cpu", keep_tone=share) for share in (1, 0))
    gray = grays()
    for given in (gray, np.dstack([gray] * 3), pixels(2, 240, 320)):
        assert np.array_equal(whole(given), none(given))
        for format in ("PNG", "JPEG"):
            before, after = (pictures.read(one(saved(given, format))) for one in (none, whole))
            assert np.array_equal(before.gray, after.gray)
            ours, theirs = (images.read_rgb(one(saved(given, format))) for one in (none, whole))
            assert np.array_equal(ours, theirs)


def test_the_command_keeps_it_and_says_so(model: Path, tmp_path: Path, capsys) -> None:
    rgb = toned(grays(), CYANOTYPE)
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(saved(rgb, "JPEG", quality=95))
    (photos / "b.png").write_bytes(saved(rgb, "PNG"))
    for share in (1, 0.5, 0):
        out = tmp_path / f"out{share}"
        assert run(photos, out, "--keep-tone", share, model=model) == 0
        for name in ("a.jpg", "b.png"):
            data = (out / name).read_bytes()
            assert mean_chroma(images.read_rgb(data)) == pytest.approx(share * mean_chroma(rgb), rel=0.05, abs=0.5)
            assert provenance.of(data)["keep_tone"] == share
    capsys.readouterr()
    assert run(photos, tmp_path / "out1", "--keep-tone", 0.5, model=model) == 3
    assert "keep_tone 1, now 0.5" in capsys.readouterr().err


def test_what_a_model_has_painted_is_no_tone(model: Path, tmp_path: Path) -> None:
    """A sepia model's picture passes for a toned print; what is colored anew is the luminance alone."""
    sepia = colorize.Colorizer(artefacts.constant(tmp_path / "sepia.onnx"), "cpu")
    data = sepia(saved(grays(), "PNG"))
    assert not pictures.read(data).is_color
    assert tones.judged(images.read_rgb(data))[1] is not None
    assert pictures.read(data).tone is None
    (tmp_path / "a.png").write_bytes(data)
    assert run(tmp_path / "a.png", tmp_path / "b.png", "--keep-tone", 1, model=model) == 0
    assert np.ptp(images.read_rgb((tmp_path / "b.png").read_bytes()), axis=2).max() == 0


def test_in_place_a_toned_print_is_left_as_it_is(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "print.jpg"
    path.write_bytes(saved(toned(grays(), SEPIA), "JPEG"))
    before = path.read_bytes()
    assert run(path, "--in-place", "--keep-tone", 1, model=model) == 0
    assert path.read_bytes() == before
