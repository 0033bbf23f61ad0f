"""Cameras' raw photographs: DNGs that the tests make, developed, against the scene they were made of."""

import io
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import rawpy
import tifffile
from PIL import Image

from recolor_fast import colorize
from recolor_fast.photographs import images, metadata, pictures, raw
from tests import artefacts
from tests.faults import damaged
from tests.test_heif import NEUTRAL, distance

SRGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
)


def linear(height: int = 96, width: int = 128) -> np.ndarray:
    """A scene in linear light, (H,W,3) 0..1, without edges, so that any demosaicing finds it."""
    y, x = np.mgrid[0:height, 0:width]
    gray = 0.05 + 0.5 * x / width + 0.3 * y / height
    return np.stack([gray, gray, gray], -1)


def dng(light: np.ndarray, white: int = 16383, order: str = "<", **tags: object) -> bytes:
    """A DNG of a sensor whose colors are sRGB's: a Bayer mosaic of light (H,W,3)."""
    samples = np.rint(light * white).astype(np.uint16)
    mosaic = samples[..., 1].copy()
    mosaic[::2, ::2], mosaic[1::2, 1::2] = samples[::2, ::2, 0], samples[1::2, 1::2, 2]
    matrix = [part for value in np.linalg.inv(SRGB_TO_XYZ).ravel() for part in (round(value * 10_000), 10_000)]
    file = io.BytesIO()
    extra = [
        (271, "s", 0, "Maker", True),
        (272, "s", 0, "Model", True),
        (33421, "H", 2, (2, 2), True),  # CFARepeatPatternDim
        (33422, "B", 4, b"\0\1\1\2", True),  # CFAPattern: RGGB
        (50706, "B", 4, b"\1\4\0\0", True),  # DNGVersion
        (50708, "s", 0, "Maker Model", True),  # UniqueCameraModel
        (50714, "H", 1, 0, True),  # BlackLevel
        (50717, "H", 1, white, True),  # WhiteLevel
        (50721, "2i", 9, matrix, True),  # ColorMatrix1
        (50728, "2I", 3, (1, 1, 1, 1, 1, 1), True),  # AsShotNeutral
        (50778, "H", 1, 21, True),  # CalibrationIlluminant1: D65
        *((int(tag.removeprefix("t")), "H", 1, value, True) for tag, value in tags.items()),
    ]
    with tifffile.TiffWriter(file, byteorder=order) as writer:
        writer.write(mosaic, photometric=32803, extratags=extra, metadata=None)
    return file.getvalue()


def undone(srgb: np.ndarray) -> np.ndarray:
    """Levels of sRGB, uint16, as linear light 0..1."""
    value = srgb / 65535
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_development_is_the_scene_brightened_by_one_factor(order: str) -> None:
    light = linear()
    picture = pictures.read(dng(light, order=order))
    assert (picture.format, picture.gray.dtype, picture.gray.shape) == ("RAW", np.uint16, (96, 128))
    assert picture.notes == (raw.DEVELOPED,)
    assert picture.is_color is False
    ratio = (undone(picture.gray) / light[..., 1])[4:-4, 4:-4]
    below = picture.gray[4:-4, 4:-4] < 65000
    assert below.mean() > 0.9
    assert np.abs(ratio[below] / np.median(ratio[below]) - 1).max() < 0.02
    with rawpy.imread(io.BytesIO(dng(light, order=order))) as same:  # LibRaw without our settings
        assert same.raw_image_visible.shape == (96, 128)


def test_colors_are_those_of_the_scene() -> None:
    light = linear() * np.array([1.0, 0.5, 0.25])  # of one hue, which counts as toned
    rgb = images.read_rgb(dng(light))[8:-8, 8:-8]
    shares = undone(rgb.astype(np.float64) * 257)
    assert np.abs(shares[..., 1] / shares[..., 0] - 0.5).max() < 0.05
    assert np.abs(shares[..., 2] / shares[..., 0] - 0.25).max() < 0.05


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_orientation_is_applied_once(orientation: int) -> None:
    data = dng(linear(), t274=orientation)
    flat = pictures.read(dng(linear())).gray
    picture = pictures.read(data)
    want = images.upright(flat, orientation)
    assert picture.gray.shape == want.shape
    assert np.abs(picture.gray[8:-8, 8:-8].astype(int) - want[8:-8, 8:-8]).max() < 800
    assert images.header(io.BytesIO(data)) == ("RAW", want.shape[1], want.shape[0])
    colored, _ = pictures.encode(picture, NEUTRAL, "TIFF")
    again = pictures.read(colored)
    assert again.gray.shape == want.shape
    assert metadata.orientation(again.metadata) == 1


def test_it_is_written_as_a_deep_tiff_with_what_the_camera_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out, model = tmp_path / "in", tmp_path / "out", artefacts.constant(tmp_path / "m.onnx")
    folder.mkdir()
    (folder / "IMG_1.DNG").write_bytes(dng(linear()))
    (folder / "b.tif").write_bytes(dng(linear()))  # whatever its name: its mosaic is no picture
    arguments = ["--model", str(model), "--provider", "cpu"]
    assert colorize.main([str(folder), str(out), *arguments]) == 0
    assert f"2 x {raw.DEVELOPED}" in capsys.readouterr().err
    assert sorted(path.name for path in out.glob("[!.]*")) == ["IMG_1.DNG.tif", "b.tif.tif"]
    written = pictures.read((out / "IMG_1.DNG.tif").read_bytes())
    assert (written.format, written.gray.dtype) == ("TIFF", np.uint16)
    assert distance(written.gray, pictures.read(dng(linear())).gray) <= 257
    with Image.open(out / "IMG_1.DNG.tif") as image:
        assert image.getexif()[271] == "Maker"
    assert colorize.main([str(folder), str(tmp_path / "jpg"), "--format", "jpg", *arguments]) == 0
    assert colorize.main([str(folder), "--in-place", *arguments]) == 3
    assert "RAW files cannot be written, so not in place either" in capsys.readouterr().err


def test_a_preview_is_not_taken_for_the_photograph() -> None:
    """A DNG as cameras write them: a small picture first, the sensor's samples in a SubIFD."""
    file = io.BytesIO()
    mosaic = tifffile.TiffFile(io.BytesIO(dng(linear())))
    with tifffile.TiffWriter(file) as writer:
        preview = np.full((12, 16, 3), 200, np.uint8)
        extra = [(50706, "B", 4, b"\1\4\0\0", True), (271, "s", 0, "Maker", True), (50708, "s", 0, "Maker", True)]
        writer.write(preview, photometric="rgb", subfiletype=1, subifds=1, extratags=extra, metadata=None)
        cfa = [(33421, "H", 2, (2, 2), True), (33422, "B", 4, b"\0\1\1\2", True), (50717, "H", 1, 16383, True)]
        writer.write(mosaic.pages[0].asarray(), photometric=32803, subfiletype=0, extratags=cfa, metadata=None)
    picture = pictures.read(file.getvalue())
    assert (picture.format, picture.gray.shape) == ("RAW", (96, 128))


def test_truncated_and_damaged_files_are_refused_or_read() -> None:
    data = dng(linear(24, 32))
    for end in range(4, len(data), len(data) // 25):
        with suppress(images.UnreadableImage):
            assert pictures.read(data[:end]).gray.ndim == 2
    for bad in damaged(data):
        with suppress(images.UnreadableImage):
            assert images.read_rgb(bad).shape[2] == 3


def test_a_file_without_its_samples_is_truncated() -> None:
    """Its directories are whole, and LibRaw reads nothing as black: a stub that a preview tool left, say."""
    data = dng(linear(24, 32))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        places = {tag: file.pages[0].tags[tag].valueoffset for tag in (256, 257, 278, 279)}
    stub = bytearray(data)
    for tag, value in ((256, 3200), (257, 2400), (278, 2400)):
        struct.pack_into("<H", stub, places[tag], value)
    with pytest.raises(images.UnreadableImage, match="truncated"):
        pictures.read(bytes(stub))


def test_bombs_are_refused_before_they_are_developed() -> None:
    data = dng(linear(24, 32))
    with pytest.raises(images.UnreadableImage, match="too many pixels: 32 x 24, expected at most 700"):
        pictures.read(data, max_pixels=700)
    huge = bytearray(data)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        for tag in (256, 257):
            entry = file.pages[0].tags[tag]
            size = "<I" if entry.dtype == 4 else "<H"
            struct.pack_into(size, huge, entry.valueoffset, 30_000)
    with pytest.raises(images.UnreadableImage):
        pictures.read(bytes(huge))
