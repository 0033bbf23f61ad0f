"""The folder colorizer, as a user meets it: files in, files out, exit codes, and no torch."""

import doctest
import errno
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from recolor_fast import colorize
from recolor_fast.artefact import runtime
from recolor_fast.coloring import coloring, folder, outputs
from recolor_fast.photographs import chroma, claims, images, jpeg, pictures, provenance, walk
from recolor_fast.photographs.preparation import Preparation
from tests import artefacts
from tests.commands import run, verb
from tests.photographs import shared

ROOT = Path(__file__).parents[1]
LEFT_OUT = ("torch", "torchvision", "torchgen", "torchmetrics", "lpips", "skimage", "functorch", "nvidia", "triton")
RANDOM = np.random.default_rng(0)
RECOLOR = ("--color", "recolor")
SKIP = ("--color", "skip")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """A test draws the same photographs alone."""
    RANDOM.bit_generator.state = np.random.default_rng(0).bit_generator.state


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    draw(folder / "a.jpg", 60, 90)
    draw(folder / "a.png", 50, 33)
    draw(folder / "sub" / "deep" / "b.png", 40, 41)
    return folder


def draw(path: Path, height: int = 40, width: int = 50, **settings: object) -> np.ndarray:
    """A smooth gray photograph in the format of its suffix; returns its pixels."""
    noise = RANDOM.integers(0, 256, (5, 5), dtype=np.uint8)
    gray = cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(gray).save(path, **settings)
    return gray


def tree(folder: Path) -> list[str]:
    """Every file below a folder but the lists of what made them."""
    files = (path for path in folder.rglob("*") if not path.is_dir() and path.name != provenance.LIST)
    return sorted(str(path.relative_to(folder)) for path in files)


def read(path: Path) -> np.ndarray:
    return images.read_rgb(path.read_bytes())


# --- what comes out ------------------------------------------------------------------------------------------------


def test_a_folder_is_mirrored_and_every_picture_is_the_expected_one(photos: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(photos, out, model=model) == 0
    assert tree(out) == ["a.jpg", "a.png", "sub/deep/b.png"]
    for name in tree(out):
        gray = pictures.read((photos / name).read_bytes()).gray
        want = chroma.merge(gray, np.array(artefacts.SEPIA, np.uint8).reshape(2, 1, 1))
        got = read(out / name)
        assert got.shape == want.shape
        assert np.abs(got.astype(int) - want).max() <= (12 if name.endswith("jpg") else 0), name
        assert np.ptp(got.astype(int), axis=2).mean() > 5, name  # it has color


@pytest.mark.parametrize(("equalize", "blur"), [("none", "none"), ("source", "both"), ("both", "none")])
def test_the_model_sees_what_its_options_say(equalize, blur, tmp_path: Path) -> None:
    options = artefacts.Options(size=64, equalize=equalize, blur=blur)
    artefact = runtime.load(artefacts.echo(tmp_path / "echo.onnx", options), "cpu")
    gray = draw(tmp_path / "a.png", 100, 80) // 2 + 30
    seen = images.source(gray, Preparation(64, equalize, blur))
    assert np.array_equal(colorize.colorize(artefact, gray), chroma.merge(gray, np.stack([seen, seen])))


def test_formats_are_kept_by_content_and_alpha_with_them(model: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.tif", "b.webp", "c.bmp", "d.gif"):
        draw(folder / name)
    draw(tmp_path / "real.jpg")
    (tmp_path / "real.jpg").rename(folder / "named.png")
    (folder / "noext").write_bytes((folder / "a.tif").read_bytes())
    clear = Image.merge("LA", [Image.new("L", (9, 8), 100), Image.new("L", (9, 8), 77)])
    clear.save(folder / "clear.png")
    assert run(folder, out, model=model) == 0
    formats = {name: pictures.read((out / name).read_bytes()).format for name in tree(out)}
    assert formats == {
        "a.tif": "TIFF",
        "b.webp": "WEBP",
        "c.bmp": "BMP",
        "d.gif.png": "PNG",
        "named.png": "JPEG",
        "noext": "TIFF",
        "clear.png": "PNG",
    }
    alpha = pictures.read((out / "clear.png").read_bytes()).alpha
    assert alpha is not None
    assert (alpha == 77).all()


def test_exif_rotation_is_applied_once(model: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    draw(tmp_path / "a.jpg", 40, 60, exif=exif)
    assert run(tmp_path / "a.jpg", tmp_path / "out.jpg", model=model) == 0
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.size == (40, 60)
        assert image.getexif().get(274, 1) == 1


def test_one_image_to_a_file_or_a_folder(photos: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for output, made in (
        (tmp_path / "new.jpg", "new.jpg"),
        (f"{tmp_path}/fresh/", "fresh/a.jpg"),
        (tmp_path / "there", "there/a.jpg"),
        (tmp_path / "deep" / "new.png", "deep/new.png"),
    ):
        assert run(photos / "a.jpg", output, model=model) == 0
        picture = pictures.read((tmp_path / made).read_bytes())
        assert picture.gray.shape == (60, 90)
        assert picture.format == ("PNG" if made.endswith("png") else "JPEG")


def test_quality(photos: Path, model: Path, tmp_path: Path) -> None:
    assert colorize.Settings().quality == pictures.Writing().quality  # one default, of the command and of Python
    for quality in (10, 95):
        assert run(photos / "a.jpg", tmp_path / f"{quality}.jpg", "--quality", quality, model=model) == 0
    assert (tmp_path / "10.jpg").stat().st_size < (tmp_path / "95.jpg").stat().st_size


# --- what is skipped, and what fails -------------------------------------------------------------------------------


def test_what_is_done_is_skipped_and_what_is_damaged_is_not_overwritten_unasked(
    photos: Path, model: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "out"
    assert run(photos, out, model=model) == 0
    written = {name: (out / name).stat().st_mtime_ns for name in tree(out)}
    assert run(photos, out, model=model) == 0
    assert {name: (out / name).stat().st_mtime_ns for name in tree(out)} == written
    printed = capsys.readouterr()
    assert "0 colored, 3 skipped (3 done before), 0 failed" in printed.err
    assert printed.out == ""
    half = (out / "a.jpg").read_bytes()[:-30]
    (out / "a.jpg").write_bytes(half)
    (out / "a.png").write_text("mine")
    draw(out / "sub" / "deep" / "b.png", 41, 41)
    assert run(photos, out, model=model) == 3
    assert (out / "a.jpg").read_bytes() == half
    printed = capsys.readouterr()
    for words in ("(truncated", "(not an image", "(41 x 41 pixels, expected 41 x 40)", "--overwrite replaces it"):
        assert words in printed.err
    assert run(photos, out, "--overwrite", model=model) == 0
    assert read(out / "a.jpg").shape == (60, 90, 3)
    assert "3 colored, 0 skipped" in capsys.readouterr().err


def test_bad_images_are_named_and_the_others_done(photos: Path, model: Path, tmp_path: Path, capsys) -> None:
    (photos / "empty.jpg").write_bytes(b"")
    whole = (photos / "a.jpg").read_bytes()
    (photos / "half.jpg").write_bytes(whole[: len(whole) * 3 // 4])
    (photos / "dangling.png").symlink_to(photos / "gone.png")
    (photos / "notes.txt").write_text("no image, and not meant to be one")
    (photos / "page.png").write_text("<html>")
    out = tmp_path / "out"
    assert run(photos, out, model=model) == 3
    assert tree(out) == ["a.jpg", "a.png", "sub/deep/b.png"]
    printed = capsys.readouterr().err
    assert "3 colored, 1 skipped (1 not an image), 4 failed" in printed
    for words in (
        "empty.jpg: the file is empty",
        "half.jpg: truncated",
        "dangling.png: No such",
        "page.png: a web page",
    ):
        assert words in printed
    assert "notes.txt" not in printed


def test_a_named_file_that_is_no_image_is_an_error(model: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    assert run(tmp_path / "notes.txt", tmp_path / "out.png", model=model) == 3
    assert "notes.txt: not an image" in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()


def test_an_output_that_cannot_be_written_is_a_failure(photos: Path, model: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").write_text("a file where a folder has to be")
    assert run(photos, tmp_path / "out", model=model) == 3
    assert "deep cannot be made: a file is in its place" in capsys.readouterr().err
    assert tree(tmp_path / "out") == ["a.jpg", "a.png", "sub"]


def test_two_inputs_with_one_output(model: Path, tmp_path: Path, capsys) -> None:
    draw(tmp_path / "in" / "a.gif")
    want = draw(tmp_path / "in" / "a.gif.png", 30, 31)
    assert run(tmp_path / "in", tmp_path / "out", model=model) == 3
    assert "a.gif.png: its output" in capsys.readouterr().err
    assert tree(tmp_path / "out") == ["a.gif.png"]
    assert read(tmp_path / "out" / "a.gif.png").shape[:2] == (40, 50) != want.shape


def test_inputs_are_never_overwritten(photos: Path, model: Path, tmp_path: Path, capsys) -> None:
    before = {name: (photos / name).read_bytes() for name in tree(photos)}
    (tmp_path / "link").symlink_to(photos)
    for source, output in ((photos, photos), (photos, tmp_path / "link"), (photos / "a.jpg", photos / "a.jpg")):
        assert run(source, output, "--overwrite", model=model) == 2
        assert "input and output are both" in capsys.readouterr().err
    assert run(photos / "a.jpg", photos, "--overwrite", model=model) == 3  # IN/a.jpg into the folder it is in
    draw(photos / "sub" / "sub" / "deep" / "b.png")  # its output is photos/sub/deep/b.png
    before["sub/sub/deep/b.png"] = (photos / "sub/sub/deep/b.png").read_bytes()
    assert run(photos / "sub", photos, "--overwrite", model=model) == 3
    assert {name: (photos / name).read_bytes() for name in before} == before


def test_output_inside_input_is_not_read_again(photos: Path, model: Path) -> None:
    for _ in range(2):
        assert run(photos, photos / "colored", "--overwrite", model=model) == 0
    assert tree(photos / "colored") == ["a.jpg", "a.png", "sub/deep/b.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
def test_loops_fifos_and_sockets_do_not_hang(photos: Path, model: Path, tmp_path: Path, monkeypatch) -> None:
    (photos / "loop").symlink_to(photos)
    os.mkfifo(photos / "pipe.jpg")
    monkeypatch.chdir(photos)  # a socket's path has to be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
        done = subprocess.run(
            [sys.executable, "-m", "recolor_fast.colorize", photos, tmp_path / "out", "--model", model],
            capture_output=True,
            text=True,
            timeout=300,
            cwd=ROOT,
        )
    assert done.returncode == 0, done.stderr
    assert "3 colored, 1 skipped (1 a link to a folder, not followed), 0 failed" in done.stderr
    assert tree(tmp_path / "out") == ["a.jpg", "a.png", "sub/deep/b.png"]


def test_a_share_that_macs_and_a_nas_wrote_to(photos: Path, model: Path, tmp_path: Path, capsys) -> None:
    (photos / "._a.jpg").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(400))
    draw(photos / "@eaDir" / "a.jpg" / "SYNOPHOTO_THUMB_S.jpg", 15, 20)
    draw(photos / ".thumbnails" / "a.jpg", 15, 20)
    (photos / "again").symlink_to(photos / "sub")
    assert run(photos, tmp_path / "out", model=model) == 0
    told = capsys.readouterr().err
    assert "3 colored, 4 skipped (2 hidden, " in told
    assert f"1 {walk.SYSTEM}" in told
    assert f"1 {walk.LINK}" in told
    assert tree(tmp_path / "out") == ["a.jpg", "a.png", "sub/deep/b.png"]
    only = ("--include", "*.PNG", "--include", ".thumbnails", "--exclude", "sub")
    assert run(photos, tmp_path / "some", *only, model=model) == 0
    assert tree(tmp_path / "some") == [".thumbnails/a.jpg", "a.png"]
    assert run(photos, tmp_path / "none", "--exclude", "", model=model) == 2
    assert "none of them empty" in capsys.readouterr().err


def test_names_cannot_break_lines_or_command_a_terminal(model: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a\nb\x1b[2J\x9b1m.jpg").write_text("text")
    assert run(tmp_path / "in", tmp_path / "out", model=model) == 3
    told = capsys.readouterr().err
    assert "a\\nb\\x1b[2J\\x9b1m.jpg: not an image" in told
    assert not {"\x1b", "\x9b"} & set(told)


# --- what made the outputs -----------------------------------------------------------------------------------------


def test_what_was_made_differently_is_named_and_made_anew_on_request(
    photos: Path, model: Path, tmp_path: Path, capsys
) -> None:
    draw(photos / "b.bmp")
    out, other = tmp_path / "out", artefacts.constant(tmp_path / "other.onnx", (150, 100))
    assert run(photos, out, model=model) == 0
    assert tree(out) == ["a.jpg", "a.png", "b.bmp", "sub/deep/b.png"]
    assert len((out / provenance.LIST).read_text().splitlines()) == 1  # the BMP, which holds no XMP
    before = {name: (out / name).read_bytes() for name in tree(out)}
    capsys.readouterr()
    assert run(photos, out, model=model) == 0
    told = capsys.readouterr().err
    assert "0 colored, 4 skipped (4 done before), 0 failed" in told
    assert "does not say" not in told
    for arguments, by, words, failed in (
        (("--saturation", 3), model, "was made differently: saturation 1, now 3; --overwrite makes it anew", 4),
        (("--upsample", "bilinear"), model, "upsample guided, now bilinear", 4),
        (("--warmth", 0.5), model, "warmth 0, now 0.5", 4),
        (("--metadata", "drop"), model, "metadata keep, now drop", 4),
        (("--temporal",), model, "temporal False, now True", 4),
        (("--quality", 50), model, "quality 95, now 50", 1),  # the JPEG: the others lose nothing
        (("--lossless-luma",), model, "lossless_luma False, now True", 1),
        ((), other, "by the model sepia (", 4),
    ):
        assert run(photos, out, *arguments, model=by) == 3
        told = capsys.readouterr().err
        assert told.count(words) == failed, (arguments, told)
        assert f"{4 - failed} skipped" in told
        assert {name: (out / name).read_bytes() for name in tree(out)} == before
        copy = shutil.copytree(out, tmp_path / "copy")
        assert run(photos, copy, *arguments, "--overwrite", model=by) == 0
        assert run(photos, copy, *arguments, model=by) == 0
        assert "4 done before" in capsys.readouterr().err
        shutil.rmtree(copy)


def test_metadata_dropped_leaves_no_tag_but_what_made_it_is_still_known(
    photos: Path, model: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "out"
    assert run(photos, out, "--metadata", "drop", model=model) == 0
    assert not any(b"recolor" in path.read_bytes() for path in out.rglob("*.[jp]*g"))
    assert run(photos, out, "--metadata", "drop", model=model) == 0
    assert "3 done before" in capsys.readouterr().err
    assert run(photos, out, "--metadata", "drop", "--saturation", 2, model=model) == 3
    assert capsys.readouterr().err.count("saturation 1, now 2") == 3
    for path in out.rglob(provenance.LIST):
        path.unlink()
    assert run(photos, out, "--saturation", 2, model=model) == 0
    assert f"3 x {folder.UNKNOWN}" in capsys.readouterr().err


def test_outputs_that_do_not_say_what_made_them_count_as_done_with_a_note(
    photos: Path, model: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "out"
    draw(out / "a.jpg", 60, 90)
    shutil.copytree(photos, out, dirs_exist_ok=True)
    draw(out / "a.jpg", 60, 90)
    assert run(photos, out, model=model) == 0
    told = capsys.readouterr().err
    assert "0 colored, 3 skipped (3 done before)" in told
    assert f"1 x {folder.UNKNOWN}" in told
    assert f"2 x {folder.A_COPY}" in told


def test_kept_luma_says_what_made_it_and_goes_on(photos: Path, model: Path, tmp_path: Path, capsys) -> None:
    assert run(photos, tmp_path / "out", "--lossless-luma", model=model) == 0
    made = provenance.of((tmp_path / "out" / "a.jpg").read_bytes())
    assert made == {
        "colored_by": provenance.colored_by(),
        "model": "sepia",
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest()[:16],
        "input": made["input"],
        "saturation": 1.0,
        "keep_tone": 0.7,
        "warmth": 0.0,
        "strength": 1.0,
        "restore": False,
        "negative": False,
        "upsample": "guided",
        "quality": 95,
        "lossless_luma": True,
        "metadata": "keep",
        "temporal": False,
        "format": "JPEG",
        "input_bytes": (photos / "a.jpg").stat().st_size,
    }
    assert run(photos, tmp_path / "out", "--lossless-luma", model=model) == 0
    assert "3 done before" in capsys.readouterr().err


def test_in_place_colors_made_differently_are_named_and_made_anew_on_request(
    photos: Path, model: Path, tmp_path: Path, capsys
) -> None:
    pale = ("--in-place", "--saturation", 0)  # no tint is left to tell by
    assert run(photos, *pale, model=model) == 0
    before = {name: (photos / name).read_bytes() for name in tree(photos)}
    assert run(photos, *pale, model=model) == 0
    assert "3 skipped (3 done before)" in capsys.readouterr().err
    assert run(photos, "--in-place", model=model) == 3
    assert capsys.readouterr().err.count("colored before, differently: saturation 0, now 1; --overwrite") == 3
    assert {name: (photos / name).read_bytes() for name in tree(photos)} == before
    assert run(photos, "--in-place", "--overwrite", model=model) == 0
    assert run(photos, "--in-place", "--overwrite", model=model) == 0
    assert "3 skipped (3 in color)" in capsys.readouterr().err
    assert np.ptp(read(photos / "a.png").astype(int), axis=2).mean() > 5


def test_a_recolored_picture_is_not_done_for_who_leaves_color_alone(
    photos: Path, model: Path, tmp_path: Path, capsys
) -> None:
    blocks = RANDOM.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(cv2.resize(blocks, (50, 40), interpolation=cv2.INTER_NEAREST)).save(photos / "red.png")
    assert run(photos, tmp_path / "out", *RECOLOR, model=model) == 0
    assert run(photos, tmp_path / "out", *RECOLOR, model=model) == 0
    assert "4 done before" in capsys.readouterr().err
    assert run(photos, tmp_path / "out", *SKIP, model=model) == 3
    told = capsys.readouterr().err
    assert "3 skipped (3 done before), 1 failed" in told
    assert "red.png has new colors, and the input is in color, which is left alone now: remove" in told


def test_a_copied_photograph_that_was_colored_before_is_done(photos: Path, model: Path, tmp_path: Path, capsys) -> None:
    """It is in color now, and its tag speaks of another input and model."""
    strong = artefacts.constant(tmp_path / "strong.onnx", (200, 40))
    blocks = RANDOM.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(cv2.resize(blocks, (50, 40), interpolation=cv2.INTER_NEAREST)).save(tmp_path / "red.jpg")
    data = (tmp_path / "red.jpg").read_bytes()
    (photos / "red.jpg").write_bytes(jpeg.splice(data, jpeg.head(Path(tagged_jpeg(tmp_path, strong)).read_bytes())[:2]))
    assert provenance.of((photos / "red.jpg").read_bytes())
    for reason in ("in color, copied", "done before"):
        assert run(photos, tmp_path / "out", "--color", "copy", "--json", model=model) == 0
        told = capsys.readouterr().out
        (record,) = [one for one in map(json.loads, told.splitlines()) if one["input"].endswith("red.jpg")]
        assert (record["reason"], record["notes"]) == (reason, [])
    assert (tmp_path / "out" / "red.jpg").read_bytes() == (photos / "red.jpg").read_bytes()


def tagged_jpeg(folder: Path, model: Path) -> Path:
    draw(folder / "gray.jpg")
    assert run(folder / "gray.jpg", folder / "tagged.jpg", model=model) == 0
    return folder / "tagged.jpg"


def test_an_output_of_another_input_is_named_also_if_that_is_older(
    photos: Path, model: Path, tmp_path: Path, capsys
) -> None:
    assert run(photos, tmp_path / "out", model=model) == 0
    size = (photos / "a.png").stat().st_size
    draw(photos / "a.png", 50, 33, compress_level=0)
    os.utime(photos / "a.png", (1e9, 1e9))
    assert run(photos, tmp_path / "out", model=model) == 3
    told = capsys.readouterr().err
    assert "2 skipped (2 done before), 1 failed" in told
    assert f"from an input of {size} bytes, now {(photos / 'a.png').stat().st_size}" in told


# --- usage ---------------------------------------------------------------------------------------------------------


def test_wrong_usage_is_one_sentence_and_exit_2(photos: Path, model: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("")
    for arguments, words in (
        ((tmp_path / "gone", tmp_path / "out"), "gone: expected an image file or a folder"),
        ((photos, photos / "a.jpg", tmp_path / "file"), "is a file and 2 inputs"),
        ((photos, tmp_path / "out", "--saturation", 5), "saturation 5.0: expected 0 to 4"),
        ((photos, tmp_path / "out", "--warmth", -2), "warmth -2.0: expected -1 to 1"),
        ((photos, tmp_path / "out", "--strength", 2), "strength 2.0: expected 0 to 1"),
        ((photos, tmp_path / "out", "--keep-tone", 2), "keep_tone 2.0: expected 0 to 1"),
        ((photos, tmp_path / "out", "--max-pixels", 0), "max_pixels 0: expected 1 to"),
        ((photos, tmp_path / "out", "--threads", 0), "threads 0: expected 1 or more"),
        ((photos, tmp_path / "out", "--format", "GIF"), "format GIF: expected one of JPEG, PNG"),
        ((photos / "a.jpg", tmp_path / "out.png", "--format", "tiff"), "out.png with format TIFF"),
        ((photos, "--in-place", "--temporal"), "in_place with temporal"),
        ((photos / "a.jpg", tmp_path / "out.jpg", "--watch"), "expected a folder to follow"),
        ((photos, tmp_path / "out", "--watch", "--temporal"), "temporal with watch"),
        ((photos, "-"), "expected one image"),
        (("-", photos), "stdin has no name"),
        (("-", "-", "-"), "expected IN OUT"),
        ((photos, tmp_path / "file"), "is a file and input"),
        ((photos, tmp_path / "out", "--quality", 0), "quality 0: expected 1 to 100"),
        ((photos, tmp_path / "out", "--provider", "gpu"), "gpu"),
        ((photos,), f"recolor_fast.colorize {photos} {photos}-colored"),
        ((), "IN and OUT are missing; for example: python -m recolor_fast.colorize photos photos-colored"),
    ):
        assert colorize.main([*map(str, arguments), "--model", str(model)]) == 2
        printed = capsys.readouterr()
        assert words in printed.err
        assert "Traceback" not in printed.err
        assert printed.out == ""
    assert not (tmp_path / "out").exists()


def test_a_bad_model_is_exit_4(photos: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "odd.onnx").write_text("<html>")
    assert run(photos, tmp_path / "out", model=tmp_path / "odd.onnx") == 4
    assert "odd.onnx: a web page or other markup" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_help_lists_every_option(capsys) -> None:
    assert colorize.main(["--help"]) == 0
    text = capsys.readouterr().out
    for word in (
        "IN... OUT --model --provider --require-provider --threads --quality --format --metadata --lossless-luma "
        "--upsample --saturation --keep-tone --warmth --strength --overwrite --color --skip-color --in-place "
        "--temporal --max-pixels --include --exclude --watch --json"
    ).split():
        assert word in text


def test_help_breaks_lines_where_the_terminal_ends_and_not_where_the_source_does(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert colorize.main(["--help"]) == 0
    assert "are left alone, so a second run" in capsys.readouterr().out


def test_the_provider_that_computes_is_told(photos: Path, model: Path, tmp_path: Path, capsys) -> None:
    assert colorize.main([str(photos), str(tmp_path / "out"), "--model", str(model)]) == 0
    told = capsys.readouterr().err.splitlines()[0]
    assert told.startswith((f"{model.stem}, on the processor", f"{model.stem}, on the GPU ("))


@pytest.mark.skipif(not runtime.cuda_missing(), reason="CUDA can be used here")
def test_a_required_provider_that_is_missing_is_exit_4(photos: Path, model: Path, tmp_path: Path, capsys) -> None:
    arguments = [str(photos), str(tmp_path / "out"), "--model", str(model)]
    for more in (["--require-provider"], ["--provider", "cuda"], ["--provider", "tensorrt"]):
        assert colorize.main(arguments + more) == 4
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1
        assert printed.startswith(f"error: provider {more[-1] if more[1:] else 'auto'}: ")
    assert not (tmp_path / "out").exists()


# --- several inputs, formats, streams, records ---------------------------------------------------------------------


def test_several_inputs_go_below_a_folder_by_their_names(
    photos: Path, model: Path, tmp_path: Path, monkeypatch
) -> None:
    draw(tmp_path / "other" / "a.jpg")
    draw(tmp_path / "c.png")
    assert run(photos, tmp_path / "other", tmp_path / "c.png", tmp_path / "out", model=model) == 0
    expected = ["c.png", "in/a.jpg", "in/a.png", "in/sub/deep/b.png", "other/a.jpg"]
    assert tree(tmp_path / "out") == expected
    monkeypatch.chdir(photos)
    assert run(".", "../c.png", tmp_path / "dot", model=model) == 0
    assert tree(tmp_path / "dot") == expected[:-1]


def test_one_format_for_all_and_none_collide(photos: Path, model: Path, tmp_path: Path) -> None:
    assert run(photos, tmp_path / "out", "--format", "png", model=model) == 0
    assert tree(tmp_path / "out") == ["a.jpg.png", "a.png", "sub/deep/b.png"]
    assert run(photos, tmp_path / "tif", "--format", "tif", model=model) == 0
    assert tree(tmp_path / "tif") == ["a.jpg.tif", "a.png.tif", "sub/deep/b.png.tif"]
    assert images.header(io.BytesIO((tmp_path / "tif" / "a.png.tif").read_bytes())).format == "TIFF"
    assert run(photos, tmp_path / "tif", "--format", "TIFF", model=model) == 0  # done


@pytest.mark.parametrize(("incoming", "outgoing"), [("-", "-"), ("-", "out.png"), ("a.jpg", "-")])
def test_streams(photos: Path, model: Path, tmp_path: Path, incoming: str, outgoing: str) -> None:
    for name, code in (("a.jpg", 0), ("broken", 3)):
        (photos / "broken").write_bytes(b"nothing")
        source = incoming if incoming == "-" else photos / name
        target = outgoing if outgoing == "-" else tmp_path / name / "out.png"
        done = verb(source, target, "--json", model=model, data=(photos / name).read_bytes())
        assert done.returncode == code, done.stderr
        told = done.stderr if outgoing == "-" else done.stdout
        (record,) = [json.loads(line) for line in told.decode().splitlines() if line.startswith("{")]
        assert record["status"] == ("failed" if code else "ok")
        if code:
            assert done.stdout == (b"" if outgoing == "-" else told)
            continue
        data = done.stdout if outgoing == "-" else target.read_bytes()
        assert images.header(io.BytesIO(data)) == ("JPEG" if outgoing == "-" else "PNG", 90, 60)


def test_stdin_does_not_overwrite_unasked(photos: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "out.jpg").write_text("mine")
    data = (photos / "a.jpg").read_bytes()
    assert verb("-", tmp_path / "out.jpg", model=model, data=data).returncode == 3
    assert (tmp_path / "out.jpg").read_text() == "mine"
    assert verb("-", tmp_path / "out.jpg", "--overwrite", model=model, data=data).returncode == 0
    assert read(tmp_path / "out.jpg").shape == (60, 90, 3)
    done = verb("-", "-", "--format", "webp", model=model, data=data)
    assert images.header(io.BytesIO(done.stdout)) == ("WEBP", 90, 60)


def test_json_has_a_line_for_every_file(photos: Path, model: Path, tmp_path: Path) -> None:
    strange = os.fsdecode(b'na\xefve \n".jpg')
    shutil.copy(photos / "a.jpg", photos / strange)
    (photos / "notes.txt").write_text("text")
    (photos / "bad.jpg").write_text("text")
    (photos / f".{'0' * 32}.part").write_bytes((photos / "a.jpg").read_bytes())
    done = verb(photos, tmp_path / "out", "--json", model=model)
    assert done.returncode == 3
    records = {record["input"]: record for record in map(json.loads, done.stdout.decode("ascii").splitlines())}
    assert set(records) == {str(path) for path in photos.rglob("*") if path.is_file()}
    for name, status, reason in (
        ("a.jpg", "ok", ""),
        (strange, "ok", ""),
        ("notes.txt", "skipped", "not an image"),
        ("bad.jpg", "failed", "not an image but a text"),
        (f".{'0' * 32}.part", "skipped", "left by an interrupted run"),
    ):
        record = records[str(photos / name)]
        assert list(record) == list(folder.Record._fields)
        assert record["status"] == status
        assert record["reason"].startswith(reason)
        if status == "ok":
            assert (record["width"], record["height"]) == (90, 60)
            assert Path(os.fsdecode(os.fsencode(record["output"]))).is_file()
            assert record["seconds"] > 0
            assert list(record["cpu_seconds"]) == ["read", "decode", "infer", "encode", "write"]


def test_skip_color_and_max_pixels(photos: Path, model: Path, tmp_path: Path, capsys) -> None:
    color = RANDOM.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(cv2.resize(color, (50, 40), interpolation=cv2.INTER_NEAREST)).save(photos / "red.png")
    assert run(photos, tmp_path / "out", "--skip-color", "--max-pixels", 50 * 33, model=model) == 3
    assert tree(tmp_path / "out") == ["a.png", "sub/deep/b.png"]
    printed = capsys.readouterr().err
    assert "2 colored, 1 skipped (1 in color), 1 failed" in printed or "red.png: too many pixels" in printed
    assert "a.jpg: too many pixels" in printed


def test_saturation_and_upsampling_reach_the_picture(photos: Path, model: Path, tmp_path: Path) -> None:
    assert run(photos / "a.png", tmp_path / "gray.png", "--saturation", 0, model=model) == 0
    assert np.ptp(read(tmp_path / "gray.png").astype(int), axis=2).max() == 0
    checker = artefacts.echo(tmp_path / "echo.onnx")
    draw(photos / "a.png", 150, 200)
    for upsample in ("guided", "bilinear"):
        assert run(photos / "a.png", tmp_path / f"{upsample}.png", "--upsample", upsample, model=checker) == 0
    assert (read(tmp_path / "guided.png") != read(tmp_path / "bilinear.png")).any()


# --- in place ------------------------------------------------------------------------------------------------------


def test_in_place_replaces_once(photos: Path, model: Path, tmp_path: Path, capsys) -> None:
    draw(photos / "d.gif")
    frames = [Image.new("L", (9, 8), level) for level in (10, 200)]
    frames[0].save(photos / "film.webp", save_all=True, append_images=frames[1:])
    outside = draw(tmp_path / "outside.png")
    (photos / "link.png").symlink_to(tmp_path / "outside.png")
    (photos / "a.png").chmod(0o640)
    kept = {name: (photos / name).read_bytes() for name in ("d.gif", "film.webp")}
    assert run(photos, "--in-place", model=model) == 3
    printed = capsys.readouterr().err
    assert "3 colored, 1 skipped (1 a link" in printed
    assert "d.gif: GIF files cannot be written" in printed
    assert "film.webp: in place 1 of its 2 frames would be lost" in printed
    assert (photos / "a.png").stat().st_mode & 0o777 == 0o640
    assert (photos / "link.png").is_symlink()
    assert np.array_equal(read(tmp_path / "outside.png")[..., 0], outside)
    assert {name: (photos / name).read_bytes() for name in kept} == kept
    colored = {name: (photos / name).read_bytes() for name in tree(photos)}
    assert np.ptp(read(photos / "a.png").astype(int), axis=2).mean() > 5
    assert run(photos, "--in-place", model=model) == 3
    assert "0 colored, 4 skipped (3 in color, 1 a link" in capsys.readouterr().err
    assert {name: (photos / name).read_bytes() for name in colored} == colored


# --- frames of a film ----------------------------------------------------------------------------------------------


def test_temporal_is_the_same_for_any_threads_and_goes_on_where_it_stopped(model: Path, tmp_path: Path) -> None:
    film = artefacts.echo(tmp_path / "echo.onnx")
    for number in range(12):
        draw(tmp_path / "in" / f"frame {number}.png", 30, 40)
        draw(tmp_path / "in" / "other" / f"{number}.png", 30, 40)
    outs = [tmp_path / name for name in ("one", "many", "plain", "again")]
    assert run(tmp_path / "in", outs[0], "--temporal", "--threads", 1, model=film) == 0
    assert run(tmp_path / "in", outs[1], "--temporal", "--threads", 5, model=film) == 0
    assert run(tmp_path / "in", outs[2], model=film) == 0
    shutil.copytree(outs[0], outs[3])
    for number in (1, 3, 10):
        (outs[3] / f"frame {number}.png").unlink()
    times = {name: (outs[3] / name).stat().st_mtime_ns for name in tree(outs[3])}
    assert run(tmp_path / "in", outs[3], "--temporal", model=film) == 0
    assert {name: (outs[3] / name).stat().st_mtime_ns for name in times} == times
    pixels = [{name: read(out / name) for name in tree(out)} for out in outs]
    assert len(pixels[0]) == 24
    for name, first in pixels[0].items():
        assert np.array_equal(pixels[1][name], first)
        assert np.array_equal(pixels[3][name], first)
    assert np.array_equal(pixels[2]["frame 0.png"], pixels[0]["frame 0.png"])  # a sequence begins unsteadied
    assert np.array_equal(pixels[2]["other/0.png"], pixels[0]["other/0.png"])
    steadied = chroma.Steady()
    artefact = runtime.load(film, "cpu")
    for number in range(12):
        gray = read(tmp_path / "in" / f"frame {number}.png")[..., 0]
        cbcr = steadied(cv2.resize(gray, (64, 64), interpolation=cv2.INTER_AREA), artefact.chroma(gray))
        assert np.array_equal(chroma.merge(gray, cbcr), pixels[0][f"frame {number}.png"])


# --- kills, signals, full disks ------------------------------------------------------------------------------------


def many(folder: Path, count: int = 60) -> Path:
    draw(folder / "0.jpg", 600, 800)
    for number in range(1, count):
        shutil.copy(folder / "0.jpg", folder / f"{number}.jpg")
    return folder


SOME = 4096  # bytes that a pipe holds: so a run is never more than some ten records ahead of who reads them


def start(*arguments: object, model: Path, **more: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "recolor_fast.colorize", *map(str, arguments), "--model", str(model)]
    return subprocess.Popen(
        [*command, "--provider", "cpu"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, **more
    )


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no POSIX signals")
@pytest.mark.parametrize(
    ("number", "code"), [("SIGINT", 130), pytest.param("SIGTERM", 143, marks=pytest.mark.slow), ("SIGKILL", -9)]
)
def test_stopped_in_the_middle_nothing_is_damaged_and_it_goes_on(
    number: str, code: int, model: Path, tmp_path: Path, capsys
) -> None:
    source, out = many(tmp_path / "in"), tmp_path / "out"
    with start(source, out, "--json", "--threads", 2, model=model, pipesize=SOME) as process:
        for _ in range(5):
            assert '"ok"' in process.stdout.readline()
        process.send_signal(getattr(signal, number))
        _, told = process.communicate(timeout=300)
    assert process.returncode == code
    assert "Traceback" not in told
    done = [name for name in tree(out) if not name.startswith(".")]
    assert 5 <= len(done) < 60
    assert all(read(out / name).shape == (600, 800, 3) for name in done)
    if code > 0:
        assert told.splitlines()[-1].endswith("the same command resumes from there")
        assert done == tree(out)
    assert run(source, out, model=model) == 0
    assert f"{60 - len(done)} colored, {len(done)} skipped" in capsys.readouterr().err


def test_a_full_disk_is_a_failure_of_what_did_not_fit(photos: Path, model: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    assert run(photos, out, model=model) == 0
    old = {name: (out / name).read_bytes() for name in tree(out)}
    fsync = os.fsync

    def full(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert run(photos, out, "--overwrite", "--quality", 30, model=model) == 3
    assert capsys.readouterr().err.count("No space left on device") == 3
    assert {name: (out / name).read_bytes() for name in tree(out)} == old


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(photos: Path, model: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "out").mkdir(mode=0o555)
    assert run(photos, tmp_path / "out", model=model) == 3
    assert capsys.readouterr().err.count("Permission denied") == 3


def test_a_folder_that_refuses_files(photos: Path, model: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """As a read-only folder, which stops no root."""

    def refuse(path: Path, **how: bool) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(outputs, "replacing", refuse)
    assert run(photos, tmp_path / "out", model=model) == 3
    assert capsys.readouterr().err.count("Permission denied") == 3


def test_memory_that_runs_out_is_one_pictures_failure(photos: Path, model: Path, tmp_path: Path, monkeypatch) -> None:
    read = pictures.read

    def scarce(data: bytes, *rest: int, **named: bool) -> pictures.Picture:
        picture = read(data, *rest, **named)
        if picture.gray.shape == (60, 90):
            raise MemoryError
        return picture

    monkeypatch.setattr(pictures, "read", scarce)
    assert run(photos, tmp_path / "out", model=model) == 3
    assert tree(tmp_path / "out") == ["a.png", "sub/deep/b.png"]


@pytest.mark.parametrize("kind", ["ValueError", "TypeError"])
def test_a_bug_is_a_traceback_and_what_a_user_can_mend_is_one_line(kind: str, photos: Path, tmp_path: Path) -> None:
    program = f"""
import sys
from recolor_fast import colorize
from recolor_fast.coloring import folder
def broken(*arguments):
    raise {kind}("a bug")
folder.jobs = broken
sys.exit(colorize.main(sys.argv[1:]))
"""
    words = [sys.executable, "-c", program, str(photos), str(tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.endswith(f"{kind}: a bug\n")
    done = subprocess.run([*words, "--quality", "0"], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (2, "error: quality 0: expected 1 to 100\n")


def test_a_failing_disk_is_one_line(photos: Path, model: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    def broken(*arguments: object) -> None:
        raise OSError(5, "Input/output error", "a.jpg")

    monkeypatch.setattr(folder, "jobs", broken)
    assert run(photos, tmp_path / "out", model=model) == 1
    told = capsys.readouterr().err
    assert "Input/output error: 'a.jpg'\n" in told
    assert "no image files" not in told  # nobody has looked


def test_a_folder_without_images_is_told(model: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "in").mkdir()
    for number in range(2):
        assert run(tmp_path / "in", tmp_path / "out", model=model) == 0
        printed = capsys.readouterr().err
        assert f"no image files in {tmp_path / 'in'}\n0 colored, {number} skipped" in printed
        (tmp_path / "in" / "notes.txt").write_text("hello")
    draw(tmp_path / "in" / "a.png")
    for _ in range(2):  # the second time it is done before
        assert run(tmp_path / "in", tmp_path / "out", model=model) == 0
        assert "no image files" not in capsys.readouterr().err


def test_an_output_below_a_file_is_refused_at_once(photos: Path, model: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "file").touch()
    for output in (tmp_path / "file" / "out", tmp_path / "file" / "deep" / "a.png"):
        source = photos / "a.png" if output.suffix else photos
        assert run(source, output, model=model) == 2
        printed = capsys.readouterr().err
        assert printed.startswith(f"error: output {output}: {tmp_path / 'file'} is no folder")
        assert printed.count("\n") == 1


def test_nobody_reads_the_records(photos: Path, model: Path, tmp_path: Path) -> None:
    with start(many(tmp_path / "many", 30), tmp_path / "out", "--json", model=model) as process:
        process.stdout.close()
        told = process.stderr.read()
        assert process.wait(300) == 1
    assert "nobody reads the output" in told
    assert "Traceback" not in told
    assert "Exception ignored" not in told
    assert all(read(path).shape == (600, 800, 3) for path in (tmp_path / "out").iterdir())


# --- watch ---------------------------------------------------------------------------------------------------------


FOLLOWED = """
import os, sys
from recolor_fast import colorize
from recolor_fast.photographs import walk
watch = walk.watch
def asking(look, stopped, again):
    def one():
        print("look?", file=sys.stderr, flush=True)
        if not sys.stdin.readline() and not stopped.wait(60):  # whoever followed is gone
            os._exit(1)
        return look()
    return watch(one, stopped, 0.001, again)
walk.watch = asking
sys.exit(colorize.main([*sys.argv[1:], "--watch", "--json"]))
"""


class Followed:
    """A command that follows a folder, and looks at it when it is told to."""

    def __init__(self, *arguments: object, model: Path) -> None:
        command = [sys.executable, "-c", FOLLOWED, *map(str, arguments), "--model", str(model), "--provider", "cpu"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, text=True, cwd=ROOT, **pipes)
        assert self.process.stderr.readline().endswith(", on the processor\n")
        assert self.process.stderr.readline() == "look?\n"

    def look(self, times: int = 1) -> None:
        """Once a file was the same in two looks it is colored."""
        for _ in range(times):
            self.process.stdin.write("\n")
            self.process.stdin.flush()
            assert self.process.stderr.readline() == "look?\n"

    def record(self) -> tuple[str, str, str]:
        record = json.loads(self.process.stdout.readline())
        return Path(record["input"]).name, record["status"], record["reason"]

    def stopped(self) -> tuple[int, str, str]:
        """Its exit code, and what it has still to say."""
        self.process.send_signal(signal.SIGINT)
        rest, told = self.process.communicate(timeout=300)
        return self.process.returncode, rest, told


def test_watch_colors_what_comes_once_it_is_whole(photos: Path, model: Path, tmp_path: Path) -> None:
    data = (photos / "a.jpg").read_bytes()
    followed = Followed(photos, tmp_path / "out", model=model)
    followed.look(2)
    assert sorted(followed.record() for _ in range(3)) == [(name, "ok", "") for name in ("a.jpg", "a.png", "b.png")]
    with open(photos / "slow.jpg", "wb") as file:  # a slow copy: more of it at each look
        for at in range(0, len(data), len(data) // 6 + 1):
            file.write(data[at : at + len(data) // 6 + 1])
            file.flush()
            followed.look()
    shutil.copy(photos / "a.png", photos / "sub" / "late.png")
    followed.look(2)
    assert sorted(followed.record() for _ in range(2)) == [("late.png", "ok", ""), ("slow.jpg", "ok", "")]
    code, rest, told = followed.stopped()
    assert (code, rest) == (130, "")
    assert "5 colored, 0 skipped, 0 failed" in told
    assert tree(tmp_path / "out") == ["a.jpg", "a.png", "slow.jpg", "sub/deep/b.png", "sub/late.png"]


def test_watch_takes_a_replaced_input_and_leaves_what_others_changed(photos: Path, model: Path, tmp_path: Path) -> None:
    out, checker = tmp_path / "out", artefacts.echo(tmp_path / "echo.onnx")
    assert run(photos / "a.png", out / "a.png", model=checker) == 0  # before it is watched
    followed = Followed(photos, out, model=checker)
    followed.look(2)
    first = sorted(followed.record() for _ in range(3))
    assert first == [("a.jpg", "ok", ""), ("a.png", "skipped", "done before"), ("b.png", "ok", "")]
    for name in ("a.png", "sub/deep/b.png"):
        wanted = draw(tmp_path / "new" / name, *read(photos / name).shape[:2])
        old = (photos / name).stat().st_mtime - 1000
        os.utime(tmp_path / "new" / name, (old, old))  # older than the output, as copies often are
        os.replace(tmp_path / "new" / name, photos / name)
        followed.look(2)
        assert followed.record() == (Path(name).name, "ok", "")
        gray = pictures.read((out / name).read_bytes()).gray
        assert np.abs(gray.astype(int) - wanted).max() <= 1
    edited = draw(out / "a.jpg", 60, 90)
    draw(photos / "a.jpg", 60, 90)
    followed.look(2)
    name, status, reason = followed.record()
    assert (name, status, "older than the input" in reason) == ("a.jpg", "failed", True)
    assert np.abs(read(out / "a.jpg")[..., 0].astype(int) - edited).max() < 20
    assert followed.stopped()[0] == 130
    assert not (out / claims.FILE).exists()


# --- several runs at once ------------------------------------------------------------------------------------------


TOGETHER = """
import sys
from recolor_fast import colorize
from recolor_fast.photographs.claims import Claims
begin = Claims._open
def together(claims):
    begin(claims)
    print("ready", flush=True)
    sys.stdin.readline()
Claims._open = together
sys.exit(colorize.main(sys.argv[1:]))
"""


def together(
    *arguments: object, model: Path, each: bool = False
) -> tuple[list[int], list[list[dict[str, object]]], list[str]]:
    """Two runs of a command, each begun before the other is done: their exit codes, records and what they told. `each`:
    neither goes far before the other has a record."""
    command = [sys.executable, "-c", TOGETHER, *map(str, arguments), "--json", "--threads", "2", "--model", str(model)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "pipesize": SOME}
    runs = [subprocess.Popen([*command, "--provider", "cpu"], text=True, cwd=ROOT, **pipes) for _ in range(2)]
    for process in runs:
        assert process.stdout.readline() == "ready\n"
    for process in runs:
        process.stdin.write("\n")
        process.stdin.flush()
    begun = [os.read(process.stdout.fileno(), 1).decode() if each else "" for process in runs]
    with ThreadPoolExecutor(2) as pool:  # each waits for what the other has begun
        told = [*pool.map(lambda process: process.communicate(timeout=300), runs)]
    records = [[json.loads(line) for line in (first + rest).splitlines()] for first, (rest, _) in zip(begun, told)]
    return [process.returncode for process in runs], records, [stderr for _, stderr in told]


@pytest.mark.parametrize("more", [(), ("--overwrite", "--format", "bmp"), ("--temporal",)])
def test_two_runs_into_one_folder_share_the_work(more: tuple[str, ...], model: Path, tmp_path: Path) -> None:
    source, out = many(tmp_path / "in", 60), tmp_path / "out"
    (source / "sub").mkdir()
    for number in range(30, 60):
        (source / f"{number}.jpg").rename(source / "sub" / f"{number}.jpg")
    sequences = more == ("--temporal",)  # one may have both
    codes, records, told = together(source, out, *more, model=model, each=not sequences)
    assert codes == [0, 0], told
    colored = [{record["input"] for record in each if record["status"] == "ok"} for each in records]
    assert colored[0].isdisjoint(colored[1])  # none is colored twice
    assert len(colored[0] | colored[1]) == 60
    assert all(len(each) == 60 for each in records)
    reasons = {record["reason"] for each in records for record in each}
    assert reasons <= {"", folder.DONE, folder.MEANWHILE}
    assert not any(record["notes"] for each in records for record in each)
    assert len(tree(out)) == 60
    assert all(read(path).shape == (600, 800, 3) for path in out.rglob("[0-9]*.*"))
    assert sequences or min(map(len, colored)) > 0  # each has some


def test_a_killed_run_blocks_none_and_what_it_had_begun_is_done_by_the_other(model: Path, tmp_path: Path) -> None:
    source, out = many(tmp_path / "in", 40), tmp_path / "out"
    one, other = (start(source, out, "--json", model=model) for _ in range(2))
    with one, other:
        assert one.stdout.readline()
        one.kill()
        told, _ = other.communicate(timeout=300)
        assert other.returncode == 0
    assert len([line for line in told.splitlines() if '"failed"' not in line]) == 40
    assert [name for name in tree(out) if not name.startswith(".")] == sorted(f"{number}.jpg" for number in range(40))
    assert not (out / claims.FILE).exists()
    assert run(source, out, model=model) == 0


def test_an_output_that_comes_meanwhile_is_done_if_it_is_the_same_and_else_named(
    photos: Path, model: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    """As where folders have no locks."""
    out, other = tmp_path / "out", tmp_path / "other"
    assert run(photos, other, model=model) == 0
    draw(other / "a.png", 50, 34)
    encode = pictures.encode

    def late(*arguments: object) -> object:
        if not (out / "a.png").exists():
            shutil.copytree(other, out, dirs_exist_ok=True)
        return encode(*arguments)

    monkeypatch.setattr(pictures, "encode", late)
    assert run(photos, out, "--threads", 1, model=model) == 3
    told = capsys.readouterr().err
    assert "done meanwhile by another run" in told
    assert "a.png exists and is not this picture (34 x 50 pixels, expected 33 x 50)" in told
    assert {name: (out / name).read_bytes() for name in tree(out)} == {
        name: (other / name).read_bytes() for name in tree(other)
    }


def test_two_runs_in_place(model: Path, tmp_path: Path) -> None:
    source = many(tmp_path / "in", 30)
    codes, records, told = together(source, "--in-place", model=model)
    assert codes == [0, 0], told
    assert sum(record["status"] == "ok" for each in records for record in each) == 30
    assert tree(source) == sorted(f"{number}.jpg" for number in range(30))
    assert all(provenance.of(path.read_bytes()) for path in source.iterdir())


def test_a_file_that_changes_while_it_is_read_is_read_again_or_named(
    photos: Path, model: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    fetch, times = outputs.fetch, []

    def changing(job: folder.Job, *rest: object) -> bytes:
        data = fetch(job, *rest)
        if job.source.name == "b.png" or (job.source.name == "a.png" and not times):
            times.append(job.source)
            with open(job.source, "ab") as file:
                file.write(b" ")
        return data

    monkeypatch.setattr(outputs, "fetch", changing)
    assert run(photos, tmp_path / "out", model=model) == 3
    assert "b.png: it changes while it is being read" in capsys.readouterr().err
    assert tree(tmp_path / "out") == ["a.jpg", "a.png"]
    assert len(times) == 1 + coloring.READS


def test_in_place_a_file_that_was_changed_meanwhile_is_left_as_it_is(
    photos: Path, model: Path, monkeypatch, capsys
) -> None:
    encode = pictures.encode

    def late(picture: pictures.Picture, *rest: object) -> object:
        if picture.gray.shape == (60, 90):
            (photos / "a.jpg").write_bytes(b"the user's own change")
        return encode(picture, *rest)

    monkeypatch.setattr(pictures, "encode", late)
    assert run(photos, "--in-place", model=model) == 3
    assert "a.jpg: " in capsys.readouterr().err
    assert (photos / "a.jpg").read_bytes() == b"the user's own change"


# --- from Python ---------------------------------------------------------------------------------------------------


def test_the_example_of_the_docstring_works(photos: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (photos / "a.jpg").unlink()
    photos.rename("photographs")
    for dtype in (np.uint8, np.uint16):
        gray = RANDOM.integers(0, np.iinfo(dtype).max, (30, 40), dtype=dtype)
        shutil.rmtree("colored", ignore_errors=True)
        finder = doctest.DocTestFinder(recurse=False)
        (example,) = finder.find(colorize.Colorizer, globs={"gray": gray})
        assert len(example.examples) == 5
        assert doctest.DocTestRunner().run(example).failed == 0


def test_arrays(model: Path) -> None:
    colorizer = colorize.Colorizer(model, provider="cpu", upsample="bilinear")
    rgb = RANDOM.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    look = chroma.Look("bilinear")
    assert np.array_equal(colorizer(rgb), colorize.colorize(colorizer.artefact, images.gray(rgb), look))
    deep = colorizer(rgb.astype(np.uint16) * 257)
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257 - colorizer(rgb)).max() <= 1.5
    for wrong in (rgb.astype(float), rgb[..., :2], rgb[None]):
        with pytest.raises(ValueError, match=r"expected uint8 or uint16, \(H,W\) or \(H,W,3\)"):
            colorizer(wrong)
    with pytest.raises(ValueError, match="saturation 9"):
        colorize.Colorizer(model, saturation=9)


def test_folders_from_python(photos: Path, model: Path, tmp_path: Path) -> None:
    colorizer = colorize.Colorizer(model, provider="cpu", threads=2)
    threads = cv2.getNumThreads()
    records = colorizer.folder([photos, photos / "a.jpg"], tmp_path / "out", format="png")
    assert cv2.getNumThreads() == threads
    assert {record.output for record in records} == {str(path) for path in (tmp_path / "out").rglob("*.png")}
    assert [record.status for record in colorizer.folder(photos, in_place=True)] == ["ok"] * 3
    with pytest.raises(ValueError, match="where to write to"):
        colorizer.folder(photos)
    with pytest.raises(ValueError, match="quality"):
        colorizer.folder(photos, tmp_path / "out", quality=0)
    with pytest.raises((TypeError, ValueError), match="qualty"):
        colorizer.folder(photos, tmp_path / "out", qualty=9)


# --- everything a disk may hold ------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here to ask for peak memory")
@pytest.mark.parametrize("every", [12, pytest.param(1, marks=pytest.mark.slow)])
def test_a_folder_of_odd_images(every: int, model: Path, tmp_path: Path) -> None:
    """Each, or one of twelve."""
    source, out = shared("odd-images"), tmp_path / "out"
    if every > 1:
        files = [path for path in sorted(source.rglob("*")) if path.is_file()][::every]
        for path in files:
            copy = tmp_path / "odd" / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        source = tmp_path / "odd"
    script = tmp_path / "run.py"
    script.write_text(
        "import sys\n"
        "from recolor_fast import colorize\n"
        "from recolor_fast.machine import memory\n"
        "memory.available = lambda *places: 2**32\n"  # so large ones take no more of a machine that has more
        "code = colorize.main(sys.argv[1:])\n"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')), file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    command = [sys.executable, script, source, out, *RECOLOR, "--model", model, "--provider", "cpu", "--json"]
    command += ["--threads", "2"]
    regular = {str(path) for path in source.rglob("*") if path.is_file()}
    statuses = []
    for _ in range(2):
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=900, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        assert done.returncode == 3, done.stderr[-2000:]
        records = [json.loads(line) for line in done.stdout.splitlines()]
        assert sorted(record["input"] for record in records) == sorted(regular)
        assert int(done.stderr.split("VmHWM:")[1].split()[0]) < 2 * 1024**2  # kB
        statuses.append({record["input"]: (record["status"], record["reason"]) for record in records})
    first, second = statuses
    assert sum(status == "ok" for status, _ in first.values()) > 900 / every
    assert {path for path, (status, _) in first.items() if status == "ok"} == {
        path for path, (_, reason) in second.items() if reason == folder.DONE
    }


# --- no torch ------------------------------------------------------------------------------------------------------


def left_out(name: str) -> bool:
    package = name.split(".")[0].split("-")[0]
    return package.startswith(LEFT_OUT) or package in ("onnx", "scikit_image") or name.endswith(".pth")


def isolated(packages: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run python with no other site-packages than `packages` (-S: no site module, so none of the usual ones)."""
    environment = {"PYTHONPATH": os.pathsep.join([str(packages), str(ROOT)]), "PATH": os.environ.get("PATH", "")}
    return subprocess.run(
        [sys.executable, "-S", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,  # not the packages: OpenCV refuses to be imported from the working folder
        timeout=300,
    )


def test_it_works_where_torch_is_not_installed(photos: Path, model: Path, tmp_path: Path) -> None:
    packages = tmp_path / "site"
    packages.mkdir()
    for entry in Path(np.__file__).parents[1].iterdir():
        if not left_out(entry.name):
            (packages / entry.name).symlink_to(entry)
    for missing in ("torch", "torchvision", "onnx", "lpips"):
        assert f"No module named '{missing}'" in isolated(packages, "-c", f"import {missing}").stderr
    arguments = (photos, tmp_path / "out", "--model", model, "--provider", "cpu")
    done = isolated(packages, "-m", "recolor_fast.colorize", *arguments)
    assert done.returncode == 0, done.stderr
    gray = pictures.read((photos / "a.png").read_bytes()).gray
    want = chroma.merge(gray, np.array(artefacts.SEPIA, np.uint8).reshape(2, 1, 1))
    assert np.array_equal(read(tmp_path / "out" / "a.png"), want)


def test_the_test_above_can_fail() -> None:
    code = "import sys; from importlib.util import find_spec; sys.exit(find_spec('torch') is None)"
    done = isolated(Path(np.__file__).parents[1], "-c", code)
    assert done.returncode == 0, done.stderr


def test_in_place_nothing_is_lost(model: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 30), 30000, np.uint16)).save(tmp_path / "a.ppm")
    planes = np.dstack([np.full((20, 30), 90, np.uint8), np.arange(600).reshape(20, 30).astype(np.uint8)])
    Image.fromarray(planes).save(tmp_path / "b.avif")
    before = {path: path.read_bytes() for path in tmp_path.glob("?.*[pf]")}
    done = verb(*before, "--in-place", "--json", model=model)
    assert done.returncode == 3
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert {record["status"] for record in records} == {"failed"}
    assert all("in place there would be a loss" in record["reason"] for record in records)
    assert before == {path: path.read_bytes() for path in before}


def test_an_output_older_than_its_input_is_not_taken_for_done(
    photos: Path, model: Path, tmp_path: Path, capsys
) -> None:
    assert run(photos / "a.jpg", tmp_path / "out.jpg", model=model) == 0
    written = (tmp_path / "out.jpg").read_bytes()
    later = (tmp_path / "out.jpg").stat().st_mtime + 10
    os.utime(photos / "a.jpg", (later, later))
    assert run(photos / "a.jpg", tmp_path / "out.jpg", model=model) == 3
    assert "older than the input" in capsys.readouterr().err
    assert (tmp_path / "out.jpg").read_bytes() == written
    assert run(photos / "a.jpg", tmp_path / "out.jpg", "--overwrite", model=model) == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
def test_overwrite_replaces_files_only(photos: Path, model: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out.jpg")
    assert run(photos / "a.jpg", tmp_path / "out.jpg", "--overwrite", model=model) == 3
    assert (tmp_path / "out.jpg").is_fifo()


def test_a_named_output_has_the_format_of_its_suffix_or_is_refused(
    photos: Path, model: Path, tmp_path: Path, capsys
) -> None:
    assert run(photos / "a.png", tmp_path / "out.jfif", model=model) == 0
    assert (tmp_path / "out.jfif").read_bytes()[:2] == b"\xff\xd8"
    assert run(photos / "a.png", tmp_path / "out.gif", model=model) == 2
    assert ".gif is not written" in capsys.readouterr().err
    data = (photos / "a.jpg").read_bytes()
    assert verb("-", tmp_path / "new.jpg", "--format", "png", model=model, data=data).returncode == 2
    assert verb("-", tmp_path / "same.jpg", model=model, data=data).returncode == 0
    assert verb("-", tmp_path / "same.jpg", model=model, data=data).returncode == 3  # perhaps another picture's


def test_an_empty_array_is_a_value_error(model: Path) -> None:
    with pytest.raises(ValueError, match="not empty"):
        colorize.Colorizer(model)(np.zeros((0, 5), np.uint8))


def test_a_followed_folder_that_goes_away_leaves_the_others_where_they_are(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.jpg").touch()
    inputs = [str(tmp_path / "a"), str(tmp_path / "b")]
    both = {found.target for found in walk.find(inputs, str(tmp_path / "out"))}
    shutil.rmtree(tmp_path / "b")
    assert (
        {found.target for found in walk.find(inputs, str(tmp_path / "out"))}
        == {tmp_path / "out" / "a" / "x.jpg"}
        < both
    )


def test_large_photographs_share_the_processors_where_there_is_the_memory(monkeypatch):
    few = coloring.PIXELS * 2
    for free, room in ((None, few), (2**30, few), (14 * 10**9, 125_000_000), (10**12, 2 * images.MAX_PIXELS)):
        monkeypatch.setattr(coloring.memory, "available", lambda free=free: free)  # 56 bytes a pixel, of half of it
        assert coloring._room(2, True) == coloring._room(1, True) == room
        assert coloring._room(2, False) == few  # others take theirs


@pytest.mark.parametrize(("more", "alone"), [([], True), (["--shard", "0/1"], False)])
def test_shards_take_no_room_by_the_memory_that_is_free(monkeypatch, tmp_path, model, more, alone):
    seen = []
    monkeypatch.setattr(coloring, "_room", lambda workers, alone: seen.append(alone) or coloring.PIXELS)
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    assert colorize.main([str(tmp_path / "a.png"), str(tmp_path / "out"), "--model", str(model), *more]) == 0
    assert seen == [alone]
