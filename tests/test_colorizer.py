"""`Colorizer` from Python: arrays, Pillow images, paths and bytes, each given back as it was given; and pickled."""

import copy
import io
import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from recolor_fast import colorize
from recolor_fast.photographs import images, pictures, provenance
from tests import artefacts
from tests.photographs import pixels


@pytest.fixture(scope="module")
def colorizer(tmp_path_factory: pytest.TempPathFactory) -> colorize.Colorizer:
    return colorize.Colorizer(artefacts.constant(tmp_path_factory.mktemp("model") / "sepia.onnx"), provider="cpu")


def saved(image: Image.Image, format: str, **settings: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **settings)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16"])
def test_an_image_of_any_mode_gives_one_of_equal_luminance(mode: str, colorizer: colorize.Colorizer) -> None:
    rgb = Image.fromarray(pixels(2, 30, 40))
    image = Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257) if mode == "I;16" else None
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(rgb, *profiles, outputMode="LAB")
    image = image or rgb.convert(mode)
    assert image.mode == mode
    if mode == "I":  # 0 to 65535
        image = image.point(lambda value: value * 257 + 0)
    colored = colorizer(image)
    assert (type(colored), colored.mode, colored.size) == (Image.Image, "RGB", (40, 30))
    got = images.gray(np.asarray(colored)).astype(int)
    want = np.asarray((rgb if mode in ("I", "F", "I;16") else image.convert("RGB")).convert("L")).astype(int)
    assert np.abs(got - want).max() <= (6 if mode in ("LAB", "HSV", "CMYK") else 2)
    if mode != "1":  # black and white have no room for color
        assert np.ptp(np.asarray(colored).astype(int), axis=2).mean() > 5


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA"])
def test_transparency_stays(mode: str, colorizer: colorize.Colorizer) -> None:
    alpha = np.random.default_rng(0).integers(0, 256, (30, 40), dtype=np.uint8)
    image = Image.fromarray(np.dstack([pixels(2, 30, 40), alpha]))
    colored = colorizer(image if mode == "RGBA" else image.convert(mode))
    assert colored.mode == "RGBA"
    assert np.array_equal(np.asarray(colored)[..., 3], alpha)


def test_an_image_lies_as_it_did_and_keeps_its_info(colorizer: colorize.Colorizer) -> None:
    exif = Image.Exif()
    exif[274], exif[0x010E] = 6, "At the lake"
    with Image.open(io.BytesIO(saved(Image.fromarray(pixels(2, 30, 40)), "JPEG", exif=exif, dpi=(300, 300)))) as image:
        colored = colorizer(image)
        upright = colorizer(images.upright(np.asarray(image), 6))
    assert colored.size == (40, 30)
    assert (colored.getexif()[274], colored.getexif()[0x010E]) == (6, "At the lake")
    assert colored.info["dpi"] == (300, 300)
    assert np.array_equal(images.upright(np.asarray(colored), 6), upright)


def test_a_path_gives_an_upright_image(colorizer: colorize.Colorizer, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    path = tmp_path / "a.jpg"
    path.write_bytes(saved(Image.fromarray(pixels(2, 30, 40)), "JPEG", exif=exif))
    for given in (path, str(path)):
        colored = colorizer(given)
        assert (colored.mode, colored.size) == ("RGB", (30, 40))
        assert np.array_equal(np.asarray(colored), colorizer(pictures.read(path.read_bytes()).gray))
    deep = Image.fromarray(np.linspace(0, 65535, 1200).astype(np.uint16).reshape(30, 40))
    deep.save(tmp_path / "deep.png")
    got = images.gray(np.asarray(colorizer(tmp_path / "deep.png"))).astype(int)
    assert np.abs(got - np.asarray(deep) / 257).max() <= 1.5


def test_bytes_give_what_folder_writes(colorizer: colorize.Colorizer, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "At the lake"
    gray = Image.fromarray(pixels(2, 30, 40)).convert("L")
    for name, settings in (("a.jpg", {"quality": 90, "exif": exif}), ("a.png", {"exif": exif}), ("a.gif", {})):
        (tmp_path / "in").mkdir(exist_ok=True)
        gray.save(tmp_path / "in" / name, **settings)
        colored = colorizer((tmp_path / "in" / name).read_bytes())
        with Image.open(io.BytesIO(colored)) as image:
            assert image.format == ("JPEG" if name == "a.jpg" else "PNG")
            assert image.getexif().get(0x010E) == ("At the lake" if settings else None)
        made = provenance.of(colored)
        assert made is not None
        assert made["model"] == colorizer.artefact.name
    (record,) = colorizer.folder(tmp_path / "in" / "a.png", tmp_path / "out.png")
    written = images.read_rgb(Path(record.output).read_bytes())
    assert np.array_equal(images.read_rgb(colorizer((tmp_path / "in" / "a.png").read_bytes())), written)


def test_a_photograph_in_color_is_always_colored(colorizer: colorize.Colorizer) -> None:
    rgb = pixels(2, 60, 80)
    for given in (rgb, Image.fromarray(rgb)):
        assert np.array_equal(np.asarray(colorizer(given)), colorizer(images.gray(rgb)))
    assert not pictures.read(colorizer(saved(Image.fromarray(rgb), "PNG"))).is_color


def test_what_is_no_picture_is_an_error_that_says_so(colorizer: colorize.Colorizer, tmp_path: Path) -> None:
    for wrong, words in (
        ([1, 2], "image list: expected an array, a Pillow image, a path or a file's bytes"),
        (None, "image NoneType"),
        (b"no picture", "not an image"),
        (b"", "empty"),
    ):
        with pytest.raises(ValueError, match=words):
            colorizer(wrong)
    with pytest.raises(FileNotFoundError):
        colorizer(tmp_path / "gone.jpg")
    half = saved(Image.fromarray(pixels(2, 60, 80)), "PNG")[:3000]
    with Image.open(io.BytesIO(half)) as image, pytest.raises(images.UnreadableImage):
        colorizer(image)


def test_it_can_be_pickled_and_copied(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = artefacts.constant(Path("sepia.onnx"))
    one = colorize.Colorizer("sepia.onnx", "cpu", threads=1, upsample="bilinear", saturation=0.5)
    stored = pickle.dumps(one)
    assert len(stored) < 1000  # the model is not in it
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    gray = images.gray(pixels(2, 30, 40))
    for other in (pickle.loads(stored), copy.deepcopy(one)):
        assert (other.threads, other.settings, other.provider) == (1, one.settings, "cpu")
        assert np.array_equal(other(gray), one(gray))
    assert model.name == "sepia.onnx"


def test_worker_processes_take_it(colorizer: colorize.Colorizer) -> None:
    grays = [images.gray(pixels(number, 30, 40)) for number in range(3)]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.map(colorizer, grays)
    assert all(np.array_equal(one, colorizer(gray)) for one, gray in zip(found, grays))
