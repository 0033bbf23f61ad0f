"""Photographs without color: judged by their mean Lab chroma, left out of training or kept, and never a denominator."""

import io
import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

from recolor_fast import evaluate, train
from recolor_fast.data import index, sources
from recolor_fast.evaluation import judges, metrics
from recolor_fast.photographs import gray_photographs, images
from tests.photographs import pixels, shared, write_jpegs
from tests.trainings import arguments, newest, rows, run

WORDS = ("--preset", "pix2pix", "--name", "r")


def gray_jpegs(folder: Path, count: int, mode: str = "L") -> list[Path]:
    """JPEGs without color: of one component, or of three that are equal."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"gray{number}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        Image.fromarray(images.gray(pixels(number))).convert(mode).save(path, quality=90)
    return paths


def chroma(rgb: np.ndarray) -> float:
    """By scikit-image."""
    return float(np.hypot(*rgb2lab(rgb)[..., 1:].transpose(2, 0, 1)).mean())


def tinted(strength: float, side: int = 400) -> np.ndarray:
    """A photograph whose colors are drawn toward gray."""
    rgb = cv2.resize(pixels(3, 80, 100), (side, side * 4 // 5)).astype(np.float32)
    gray = images.gray(rgb.astype(np.uint8)).astype(np.float32)[..., None]
    return np.rint(gray + strength * (rgb - gray)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("shape", [(1, 1), (7, 50), (48, 64), (300, 401)])
def test_mean_chroma_is_that_of_cie_lab(shape):
    rgb = pixels(1, *shape)
    assert gray_photographs.mean_chroma(rgb) == pytest.approx(chroma(rgb), rel=0.02, abs=0.05)
    assert gray_photographs.mean_chroma(images.gray(rgb)[..., None].repeat(3, 2)) < 0.05


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("strength", [0, 0.05, 0.1, 0.15, 0.2, 0.3, 1])
def test_a_file_is_judged_as_its_whole_pixels_are(format, strength):
    file = io.BytesIO()
    Image.fromarray(tinted(strength)).save(file, format, **({"quality": 90} if format == "JPEG" else {}))
    whole = chroma(images.read_rgb(file.getvalue()))
    ours = gray_photographs.judged(file.getvalue())
    assert (ours < gray_photographs.COLORLESS) == (whole < gray_photographs.COLORLESS)
    assert ours == pytest.approx(whole, rel=0.1, abs=0.1)


@pytest.mark.parametrize(("which", "gray"), [("imagenet-wide", 0), ("wide-test", 0), ("old/bw", 0.9)])
def test_photographs_are_judged_as_their_whole_pixels_are(which, gray):
    """Of real ones, by a small decode, none falls on another side."""
    data = [path.read_bytes() for path in sorted(shared(which).glob("*.jpg"))[::4]]
    whole = [chroma(images.read_rgb(one)) < gray_photographs.COLORLESS for one in data]
    assert [gray_photographs.judged(one) < gray_photographs.COLORLESS for one in data] == whole
    assert np.mean(whole) >= gray if gray else not any(whole)


def test_a_jpeg_is_judged_by_a_small_decode_but_near_the_bound(monkeypatch):
    decoded = []
    whole = images.read_rgb
    monkeypatch.setattr(images, "read_rgb", lambda data: decoded.append(1) or whole(data))
    for strength, times in ((0, 0), (1, 0), (2.0 / chroma(tinted(1)), 1)):
        decoded.clear()
        file = io.BytesIO()
        Image.fromarray(tinted(strength)).save(file, "JPEG", quality=95)
        gray_photographs.judged(file.getvalue())
        assert len(decoded) == times, strength


# --- index ---------------------------------------------------------------------------------------------------------


def test_what_a_look_finds_is_kept_and_the_same_again(tmp_path, monkeypatch):
    monkeypatch.setenv("RECOLOR_FAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(index.checked, "SETTLED", -(10**18))
    paths = [*write_jpegs(tmp_path / "d", 3), *gray_jpegs(tmp_path / "d", 2), tmp_path / "d" / "broken.jpg"]
    paths[-1].write_bytes(paths[0].read_bytes()[:-100])
    Image.fromarray(tinted(0)).save(tmp_path / "d" / "gray.png")
    paths.append(tmp_path / "d" / "gray.png")
    first = index.look(paths)
    assert list(first.gray) == [paths[3], paths[4], paths[6]]
    assert list(first.unusable) == [paths[5]]
    assert index.usable(paths) == (first.good, first.unusable)  # what is known of colors is no fault
    read = []
    monkeypatch.setattr(images, "read", lambda path: read.append(path) or path.read_bytes())
    assert index.look(paths) == first
    assert index.look(paths, "full").gray == first.gray  # other checks look anew, at colors too
    assert set(read) == set(paths)
    read.clear()
    assert index.look(paths, "full") == index.look(paths, "full")
    assert read == []


def test_a_jpeg_that_cannot_be_decoded_after_all_counts_as_in_color(tmp_path):
    """The check of headers lets it pass; training replaces it."""
    (good,) = write_jpegs(tmp_path, 1)
    data = good.read_bytes()
    rotten = tmp_path / "rotten.jpg"
    middle = len(data) * 3 // 4
    rotten.write_bytes(data[:middle] + b"\xff\xd9")
    looked = index.look([good, rotten])
    assert looked.good == [good, rotten]
    assert looked.gray == {}


# --- training ------------------------------------------------------------------------------------------------------


def test_gray_ones_are_counted_left_out_and_named(tmp_path, capsys):
    data = tmp_path / "data"
    write_jpegs(data, 8)
    gray_jpegs(data, 3)
    gray_jpegs(data / "three", 1, "RGB")
    run(data, tmp_path, *WORDS, "--images", 4)
    said = capsys.readouterr().err
    assert "warning: 4 of 12 photographs hold no color (mean Lab chroma below 2) and are left out" in said
    assert "--gray-photographs keep" in said
    assert f"warning: 4 without color left out, see {tmp_path / 'r' / 'unusable.txt'}" in said
    assert "unusable files" not in said
    assert (tmp_path / "r" / "unusable.txt").read_text().count("no color: mean Lab chroma 0.0") == 4
    listed = json.loads((tmp_path / "r" / "photographs.json").read_text())
    assert not any("gray" in name for name in (*listed["train"], *listed["val"]))
    run(data, tmp_path, *WORDS, "--resume", "--images", 6)  # the same ones
    assert newest(tmp_path / "r")["images"] == 6


def test_gray_ones_may_be_kept(tmp_path, capsys):
    data = tmp_path / "data"
    write_jpegs(data / "train", 3)
    gray_jpegs(data / "train", 2)
    gray_jpegs(data / "val", 1)
    run(data, tmp_path, *WORDS, "--images", 4, "--gray-photographs", "keep")
    said = capsys.readouterr().err
    assert "3 of 6 photographs hold no color (mean Lab chroma below 2) and teach gray" in said
    assert "(gray 0.00), the truth holds no color" in said
    assert len(json.loads((tmp_path / "r" / "photographs.json").read_text())["train"]) == 5
    assert {row["chroma"] for row in rows(tmp_path / "r", "validation.csv")} == {"nan"}


def test_a_run_of_before_there_was_the_option_resumes_with_all_it_had(tmp_path, capsys):
    data = tmp_path / "data"
    write_jpegs(data / "train", 3)
    gray_jpegs(data / "train", 2)
    write_jpegs(data / "val", 1, first=5)
    run(data, tmp_path, *WORDS, "--images", 4, "--gray-photographs", "keep")
    stored = json.loads((tmp_path / "r" / "options.json").read_text())
    del stored["gray_photographs"]
    (tmp_path / "r" / "options.json").write_text(json.dumps(stored))
    run(data, tmp_path, *WORDS, "--resume", "--images", 6)
    assert newest(tmp_path / "r")["images"] == 6
    words = ("--resume", "--images", 8, "--gray-photographs", "leave-out")
    capsys.readouterr()
    assert train.main(arguments(data, tmp_path, *WORDS, *words)) == 2
    assert "2 photographs to train on are gone (train/gray0.jpg, train/gray1.jpg)" in capsys.readouterr().err
    run(data, tmp_path, *WORDS, *words, "--changed-files", "accept")
    assert newest(tmp_path / "r")["images"] == 8


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_gray_ones_alone_are_an_error(tmp_path, capsys, mode):
    gray_jpegs(tmp_path / "data", 5, mode)
    assert train.main(arguments(tmp_path / "data", tmp_path, *WORDS)) == 2
    said = capsys.readouterr().err
    assert "none of its 4 photographs to train on holds color" in said
    assert "--gray-photographs keep" in said
    assert not (tmp_path / "r").exists()


def test_without_a_photograph_in_color_to_validate_on_one_trained_on_is_taken(tmp_path, capsys):
    write_jpegs(tmp_path / "data" / "train", 3)
    gray_jpegs(tmp_path / "data" / "val", 2)
    run(tmp_path / "data", tmp_path, *WORDS, "--images", 2)
    said = capsys.readouterr().err
    assert "validating on a photograph trained on: none of the 2 photographs to validate on holds color" in said
    assert "2 of 5 photographs hold no color" in said


def test_the_sample_is_in_color():
    assert index.look(sources.sample()).gray == {}


# --- ratios --------------------------------------------------------------------------------------------------------


def test_there_is_no_share_of_a_truth_without_color():
    gray = images.gray(pixels(0))[..., None].repeat(3, 2)
    assert math.isnan(metrics.compare([pixels(0)], [gray])["chroma"])
    assert metrics.compare([gray], [pixels(0)])["chroma"] == pytest.approx(0, abs=1e-3)


def test_an_evaluation_on_gray_photographs_prints_no_share(tmp_path, monkeypatch):
    monkeypatch.setattr(judges, "missing", lambda term, file: "no server answers")
    monkeypatch.setattr(judges, "reachable", lambda url: False)
    monkeypatch.setattr(evaluate, "draw", lambda *given: None)  # the figures take longer than all else
    gray_jpegs(tmp_path / "d", 3)
    assert evaluate.main(["--data", str(tmp_path / "d"), "--size", "32", "--out", str(tmp_path / "e")]) == 0
    systems = json.loads((tmp_path / "e" / "metrics.json").read_text())["systems"]
    for name in ("chroma", "colorfulness_ratio"):
        assert systems["sepia"][name] == {
            "missing": "the truth holds no color (mean Lab chroma below 2) that this could be a share of"
        }
    assert systems["sepia"]["colorfulness"]["mean"] > 5
    write_jpegs(tmp_path / "d", 3)
    assert evaluate.main(["--data", str(tmp_path / "d"), "--size", "32", "--out", str(tmp_path / "f")]) == 0
    assert 0 < json.loads((tmp_path / "f" / "metrics.json").read_text())["systems"]["sepia"]["chroma"]["mean"] < 2
