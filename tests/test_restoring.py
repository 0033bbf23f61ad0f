"""--restore and --negative: old prints before they are colored; one curve for all pixels, and nothing made up."""

import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from recolor_fast import Colorizer
from recolor_fast.coloring.coloring import Settings
from recolor_fast.coloring.colorizer import checked
from recolor_fast.films import request
from recolor_fast.photographs import images, pictures, provenance, restoring
from recolor_fast.photographs.images import Border
from recolor_fast.photographs.preparation import Preparation
from tests.commands import run
from tests.photographs import pixels, shared
from tests.test_images import luma

LOW, HIGH = 60, 180  # levels that black and white have faded to


def whole(number: int = 2, height: int = 120, width: int = 160) -> np.ndarray:
    """A photograph's luminance from 0 to 255."""
    gray = images.gray(pixels(number, height, width)).astype(float)
    low, high = np.percentile(gray, [0.5, 99.5])
    return np.rint((gray - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)


def faded(gray: np.ndarray, dtype: type = np.uint8) -> np.ndarray:
    return np.rint((LOW + gray * ((HIGH - LOW) / 255)) * (np.iinfo(dtype).max / 255)).astype(dtype)


def on_paper(gray: np.ndarray, level: int, wide: int = 10) -> np.ndarray:
    paper = np.random.default_rng(0).normal(level, 2, [side + 2 * wide for side in gray.shape])
    paper[wide:-wide, wide:-wide] = gray
    return np.rint(paper).clip(0, 255).astype(gray.dtype)


# --- the curve -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("negative", [False, True])
def test_a_faded_print_is_nearly_what_it_was(dtype: type, negative: bool) -> None:
    gray = whole()
    seen = faded(gray, dtype)
    new = restoring.restored(np.iinfo(dtype).max - seen if negative else seen, negative=negative)
    level = np.iinfo(dtype).max / 255
    assert new.gray.dtype == dtype
    assert np.abs(new.gray / level - gray).mean() < 5 < 20 < np.abs(seen / level - gray).mean()
    assert new.done["levels"] == pytest.approx([LOW, HIGH], abs=4)
    assert ("negative" in new.done) == negative


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("number", [0, 1, 3])
def test_pixels_that_were_equal_stay_equal_and_none_overtakes_another(dtype: type, negative: bool, number: int) -> None:
    gray = faded(whole(number), dtype)
    new = restoring.restored(gray, negative=negative).gray
    levels, first, back = np.unique(gray, return_index=True, return_inverse=True)
    assert np.array_equal(new.ravel()[first][back.ravel()], new.ravel())
    steps = np.diff(new.ravel()[first].astype(int)) * (-1 if negative else 1)
    assert steps.min() >= 0
    assert steps.max() <= restoring.MOST * np.diff(levels.astype(int)).max() + 1


def test_what_is_not_faded_stays_as_it_is() -> None:
    gray = whole()
    new = restoring.restored(gray)
    assert new.gray is gray
    assert new.done == {}


@pytest.mark.parametrize("gray", [np.full((50, 60), 130, np.uint8), np.full((1, 1), 7, np.uint8)])
def test_a_page_without_a_picture_is_no_noise(gray: np.ndarray) -> None:
    noisy = gray + np.random.default_rng(0).integers(0, 3, gray.shape).astype(np.uint8)
    new = restoring.restored(noisy)
    assert np.ptp(new.gray) <= restoring.MOST * 3


def test_what_is_hidden_does_not_count() -> None:
    gray, alpha = faded(whole()), np.full((120, 160), 255, np.uint8)
    alpha[:60] = 0
    some = gray.copy()
    some[:60] = np.tile([0, 255], (60, 80))
    assert restoring.restored(some, alpha).done == restoring.restored(gray, alpha).done
    assert restoring.restored(gray, np.zeros_like(alpha)).done == {}


def test_a_negative_alone_is_inverted_and_no_more() -> None:
    gray = faded(whole())
    new = restoring.restored(gray, restore=False, negative=True)
    assert np.array_equal(new.gray, 255 - gray)
    assert new.done == {"negative": True}


# --- the border ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [3, 252])
def test_the_border_of_a_scan_does_not_count(level: int) -> None:
    gray = faded(whole())
    new, alone = restoring.restored(on_paper(gray, level)), restoring.restored(gray)
    assert new.border == pytest.approx((10 / 180, 10 / 140, 10 / 180, 10 / 140), abs=0.01)
    assert new.done["levels"] == pytest.approx(alone.done["levels"], abs=3)
    assert new.done["border"] == [round(share, 3) for share in new.border]


def test_a_sky_is_no_border() -> None:
    gray = whole()
    gray[:30] = 240
    assert restoring.border_of(gray.astype(np.float32)) is None
    fog = np.tile(np.linspace(200, 60, 120)[:, None], (1, 160)).astype(np.float32)
    assert restoring.border_of(fog) is None


def test_photographs_without_borders_have_none() -> None:
    found = [
        path.name
        for path in sorted(shared("wide-test").glob("*.jpg"))[:100]
        if restoring.restored(images.gray(images.read_rgb(path.read_bytes()))).border
    ]
    assert len(found) <= 5, found  # pictures cut out, on white


def test_equalization_goes_by_what_is_inside() -> None:
    gray, border = faded(whole()), Border(10 / 180, 10 / 140, 10 / 180, 10 / 140)
    black, white = on_paper(gray, 0), on_paper(gray, 255)
    prepared = Preparation(size=160, equalize="source", blur="none")
    assert np.array_equal(border.inside(images.equalized_as(white, gray)), images.equalize(gray))
    seen = [border.inside(images.source(one, prepared, border)) for one in (black, white)]
    assert np.abs(seen[0].astype(int) - seen[1])[8:-8, 8:-8].max() <= 1
    seen = [border.inside(images.source(one, prepared)) for one in (black, white)]
    assert np.abs(seen[0].astype(int) - seen[1])[8:-8, 8:-8].max() > 10


# --- files ---------------------------------------------------------------------------------------------------------


def records(capsys: pytest.CaptureFixture[str]) -> dict[str, dict]:
    lines = map(json.loads, capsys.readouterr().out.splitlines())
    return {Path(record["input"]).name: record for record in lines}


def test_what_was_done_is_in_the_record_and_in_the_file(model: Path, tmp_path: Path, capsys) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    Image.fromarray(faded(whole())).save(photos / "faded.jpg", quality=95)
    Image.fromarray(whole()).save(photos / "whole.png")
    Image.fromarray(faded(whole(1), np.uint16)).save(photos / "deep.png")
    Image.fromarray(np.dstack([faded(whole()), whole(1)])).save(photos / "alpha.png")
    with tifffile.TiffWriter(photos / "pages.tif") as writer:
        for sheet in (whole(), faded(whole(1), np.uint16)):
            writer.write(sheet, photometric="minisblack", metadata=None, contiguous=False)
    Image.fromarray(faded(whole())).save(photos / "plain.bmp")
    words = (photos, out, "--restore", "--pages", "all", "--json")
    assert run(*words, model=model) == 0
    found = records(capsys)
    assert {name: record["status"] for name, record in found.items()} == dict.fromkeys(found, "ok")
    for name in ("faded.jpg", "deep.png", "alpha.png", "pages.tif", "plain.bmp"):
        assert found[name]["restored"]["levels"] == pytest.approx([LOW, HIGH], abs=5), name
        assert restoring.NOTES["levels"] in found[name]["notes"]
        data = (out / name).read_bytes()
        made = provenance.of(data) or provenance.Lists().of(out / name, data)
        assert made is not None
        assert (made["restore"], made["negative"], made["restored"]) == (True, False, found[name]["restored"])
    assert (found["whole.png"]["restored"], found["whole.png"]["notes"]) == ({}, [])
    for name, number in (("faded.jpg", 2), ("deep.png", 1), ("alpha.png", 2)):
        picture = pictures.read((out / name).read_bytes())
        assert np.abs(images.shallow(picture.gray).astype(int) - whole(number)).mean() < 6, name
    assert pictures.read((out / "deep.png").read_bytes()).gray.dtype == np.uint16
    first, second = tifffile.imread(out / "pages.tif", key=0), tifffile.imread(out / "pages.tif", key=1)
    assert np.abs(luma(first) - whole()).max() < 2  # was not faded
    assert np.abs(luma(second) / 257 - whole(1)).mean() < 6

    assert run(*words, model=model) == 0  # the same command does nothing again
    assert {record["reason"] for record in records(capsys).values()} == {"done before"}
    assert run(photos, out, "--pages", "all", "--json", model=model) == 3
    assert all("restore True, now False" in record["reason"] for record in records(capsys).values())


def test_a_negative_film_and_its_tint(model: Path, tmp_path: Path, capsys) -> None:
    gray = faded(whole())
    tinted = np.dstack([255 - gray, 245 - gray, 225 - gray])
    Image.fromarray(tinted).save(tmp_path / "negative.png")
    assert run(tmp_path / "negative.png", tmp_path / "out.png", "--negative", "--json", model=model) == 0
    assert records(capsys)["negative.png"]["restored"] == {"negative": True}
    colored = images.read_rgb((tmp_path / "out.png").read_bytes())
    assert np.abs(luma(colored) - (255 - images.gray(tinted))).max() < 2
    levels = [colored[np.abs(gray - float(at)) < 3].astype(float) for at in (80, 160)]
    tints = [np.ptp(each.mean(0)) for each in levels]
    assert tints[0] == pytest.approx(tints[1], abs=1)  # the model's one color, and nothing of the film's own


def test_a_prints_tone_follows_its_luminance() -> None:
    tone = np.stack([np.linspace(-20, 20, 256), np.linspace(10, -10, 256)]).astype(np.float32)
    new = restoring.restored(faded(whole()))
    low, high = new.done["levels"]
    found = restoring.toned(tone, new)
    assert found is not None
    assert found[0][[5, 250]] == pytest.approx(np.interp([low, high], range(256), tone[0]), abs=0.2)
    assert restoring.toned(tone, restoring.restored(faded(whole()), negative=True)) is None


def test_from_python_all_ways_are_one(model: Path, tmp_path: Path) -> None:
    colorizer = pickle.loads(pickle.dumps(Colorizer(model, "cpu", restore=True)))
    assert colorizer.settings.restore
    gray = faded(whole())
    wanted = colorizer(gray)
    assert np.abs(luma(wanted) - whole()).mean() < 5
    Image.fromarray(gray).save(tmp_path / "a.png")
    assert np.array_equal(np.array(colorizer(Image.fromarray(gray))), wanted)
    assert np.array_equal(np.array(colorizer(tmp_path / "a.png")), wanted)
    data = colorizer((tmp_path / "a.png").read_bytes())
    assert np.array_equal(np.array(Image.open(io.BytesIO(data))), wanted)
    made = provenance.of(data)
    assert made is not None
    assert "levels" in made["restored"]
    [record] = Colorizer(model, "cpu").folder(tmp_path / "a.png", tmp_path / "b.png", restore=True)
    assert record.restored == made["restored"]


@pytest.mark.parametrize("name", ["restore", "negative"])
def test_what_does_not_go_together_is_said(name: str) -> None:
    for other in ("in_place", "lossless_luma"):
        with pytest.raises(ValueError, match=f"{name} with {other}: "):
            checked(Settings(**{name: True, other: True}))
    with pytest.raises(ValueError, match=f"{name} with the film a.mp4"):
        request.check("a.mp4", Settings(**{name: True}), {})


def test_frames_are_not_stretched_one_by_one() -> None:
    with pytest.raises(ValueError, match=r"restore with temporal: .*flicker"):
        checked(Settings(restore=True, temporal=True))
    assert checked(Settings(negative=True, temporal=True)).negative
