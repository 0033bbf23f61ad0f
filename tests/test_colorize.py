"""The folder colorizer, as a user meets it: files in, files out, exit codes, and no torch."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from recolor_fast import colorize, images, runtime
from tests import artefacts

ROOT = Path(__file__).parents[1]
LEFT_OUT = ("torch", "torchvision", "torchgen", "torchmetrics", "lpips", "skimage", "functorch", "nvidia", "triton")
RANDOM = np.random.default_rng(0)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return artefacts.constant(tmp_path / "sepia.onnx")


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


def run(*arguments: object, model: Path) -> int:
    return colorize.main([*map(str, arguments), "--model", str(model), "--provider", "cpu"])


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def read(path: Path) -> np.ndarray:
    return images.read_rgb(path.read_bytes())


# --- what comes out ------------------------------------------------------------------------------------------------


def test_a_folder_is_mirrored_and_every_picture_is_the_expected_one(photos: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(photos, out, model=model) == 0
    assert tree(out) == ["a.jpg", "a.png", "sub/deep/b.png"]
    for name in tree(out):
        gray = images.read_picture((photos / name).read_bytes()).gray
        want = images.merge(gray, np.array(artefacts.SEPIA, np.uint8).reshape(2, 1, 1))
        got = read(out / name)
        assert got.shape == want.shape
        assert np.abs(got.astype(int) - want).max() <= (12 if name.endswith("jpg") else 0), name
        assert np.ptp(got.astype(int), axis=2).mean() > 5, name  # it has color


@pytest.mark.parametrize(("equalize", "blur"), [("none", "none"), ("source", "both"), ("both", "none")])
def test_the_model_sees_what_its_options_say(equalize, blur, tmp_path: Path) -> None:
    options = artefacts.Options(size=64, equalize=equalize, blur=blur)
    artefact = runtime.load(artefacts.echo(tmp_path / "echo.onnx", options), "cpu")
    gray = draw(tmp_path / "a.png", 100, 80) // 2 + 30
    seen = images.source(gray, 64, equalize != "none", blur != "none")
    assert np.array_equal(colorize.colorize(artefact, gray), images.merge(gray, np.stack([seen, seen])))


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
    formats = {name: images.read_picture((out / name).read_bytes()).format for name in tree(out)}
    assert formats == {
        "a.tif": "TIFF",
        "b.webp": "WEBP",
        "c.bmp": "BMP",
        "d.gif.png": "PNG",
        "named.png": "JPEG",
        "noext": "TIFF",
        "clear.png": "PNG",
    }
    alpha = images.read_picture((out / "clear.png").read_bytes()).alpha
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
        picture = images.read_picture((tmp_path / made).read_bytes())
        assert picture.gray.shape == (60, 90)
        assert picture.format == ("PNG" if made.endswith("png") else "JPEG")


def test_quality(photos: Path, model: Path, tmp_path: Path) -> None:
    for quality in (10, 95):
        assert run(photos / "a.jpg", tmp_path / f"{quality}.jpg", "--quality", quality, model=model) == 0
    assert (tmp_path / "10.jpg").stat().st_size < (tmp_path / "95.jpg").stat().st_size


# --- what is skipped, and what fails -------------------------------------------------------------------------------


def test_existing_outputs_are_skipped_unless_overwrite(photos: Path, model: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.jpg").write_bytes(b"mine")
    assert run(photos, out, model=model) == 0
    assert (out / "a.jpg").read_bytes() == b"mine"
    printed = capsys.readouterr()
    assert "2 colored, 1 skipped" in printed.err
    assert printed.out == ""
    assert run(photos, out, "--overwrite", model=model) == 0
    assert read(out / "a.jpg").shape == (60, 90, 3)
    assert "3 colored, 0 skipped" in capsys.readouterr().err


def test_bad_images_are_named_and_the_others_done(photos: Path, model: Path, tmp_path: Path, capsys) -> None:
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "half.jpg").write_bytes((photos / "a.jpg").read_bytes()[:-40])
    (photos / "dangling.png").symlink_to(photos / "gone.png")
    (photos / "notes.txt").write_text("no image, and not meant to be one")
    (photos / "page.png").write_text("<html>")
    out = tmp_path / "out"
    assert run(photos, out, model=model) == 3
    assert tree(out) == ["a.jpg", "a.png", "sub/deep/b.png"]
    printed = capsys.readouterr().err
    assert "3 colored, 0 skipped" in printed
    assert "1 ignored" in printed
    assert "4 failed" in printed
    for words in ("empty.jpg: the file is empty", "half.jpg: truncated", "dangling.png: No such", "page.png: not an"):
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
    assert "b.png: " in capsys.readouterr().err
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
        assert "never overwritten" in capsys.readouterr().err
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
            timeout=60,
            cwd=ROOT,
        )
    assert done.returncode == 0, done.stderr
    assert "3 ignored" in done.stderr
    assert tree(tmp_path / "out") == ["a.jpg", "a.png", "sub/deep/b.png"]


# --- usage ---------------------------------------------------------------------------------------------------------


def test_wrong_usage_is_one_sentence_and_exit_2(photos: Path, model: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("")
    for arguments, words in (
        ((tmp_path / "gone", tmp_path / "out"), "gone: expected an image file or a folder"),
        ((photos, tmp_path / "file"), "is a file and input"),
        ((photos, tmp_path / "out", "--quality", 0), "quality 0: expected 1 to 100"),
        ((photos, tmp_path / "out", "--provider", "gpu"), "gpu"),
        ((photos,), "OUT"),
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
    assert "odd.onnx: not a complete ONNX model" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_help_lists_every_option(capsys) -> None:
    assert colorize.main(["--help"]) == 0
    text = capsys.readouterr().out
    for word in ("IN", "OUT", "--model", "--provider", "--quality", "1 to 100", "--overwrite"):
        assert word in text


def test_auto_says_which_device(photos: Path, model: Path, tmp_path: Path, capsys) -> None:
    assert colorize.main([str(photos), str(tmp_path / "out"), "--model", str(model)]) == 0
    assert capsys.readouterr().err.splitlines()[0].startswith("device: c")


def test_ctrl_c_is_exit_130_and_leaves_no_temporary_file(
    photos: Path, model: Path, tmp_path: Path, monkeypatch
) -> None:
    replaced = []

    def interrupted(source: Path, target: Path) -> None:
        if replaced:
            raise KeyboardInterrupt
        replaced.append(target)
        Path(source).rename(target)

    monkeypatch.setattr(os, "replace", interrupted)
    assert run(photos, tmp_path / "out", model=model) == 130
    assert tree(tmp_path / "out") == ["a.jpg"]
    assert read(tmp_path / "out" / "a.jpg").shape == (60, 90, 3)


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
        timeout=120,
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
    gray = images.read_picture((photos / "a.png").read_bytes()).gray
    want = images.merge(gray, np.array(artefacts.SEPIA, np.uint8).reshape(2, 1, 1))
    assert np.array_equal(read(tmp_path / "out" / "a.png"), want)


def test_the_test_above_can_fail() -> None:
    done = isolated(Path(np.__file__).parents[1], "-c", "import torch")
    assert done.returncode == 0, done.stderr


def test_importing_the_verb_does_not_import_torch() -> None:
    for module, imported in (("recolor_fast.colorize", 0), ("torch", 1)):
        code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == imported
