"""HEIF, and AVIF of more than 8 bits: pixels as they were made, and what goes along."""

import io
import struct
from contextlib import suppress
from pathlib import Path

import imagecodecs
import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from recolor_fast import colorize
from recolor_fast.data import host, index, sources
from recolor_fast.photographs import avif, encoders, images, metadata, pictures
from tests import artefacts
from tests.faults import damaged

NEUTRAL = np.full((2, 4, 4), 128, np.uint8)
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta>'


def scene(height: int = 66, width: int = 98, top: int = 255) -> np.ndarray:
    """RGB (H,W,3) of slow gradients; no two corners alike."""
    y, x = np.mgrid[0:height, 0:width]
    planes = (0.15 + 0.7 * x / width, 0.2 + 0.6 * y / height, 0.3 + 0.3 * (x + y) / (width + height))
    return np.rint(np.stack(planes, -1) * top).astype(np.uint8 if top < 256 else np.uint16)


def heic(pixels: np.ndarray, *more: np.ndarray, lossless: bool = True, **settings: object) -> bytes:
    """A file of uint8 or uint16 (65535: white) pixels, gray or RGB(A)."""
    modes = {2: "L", 3: "RGB", 4: "RGBA"}
    given = {"quality": -1, "chroma": 444} if lossless else {"quality": 90}
    made = None
    for one in (pixels, *more):
        mode = modes[2 if one.ndim == 2 else one.shape[2]] + (";16" if one.dtype == np.uint16 else "")
        file = pillow_heif.from_bytes(mode, one.shape[1::-1], np.ascontiguousarray(one).tobytes())
        made = file if made is None else made.add_from_heif(file[0]) and made
    out = io.BytesIO()
    assert made is not None
    made.save(out, **given | settings)
    return out.getvalue()


def exif(orientation: int = 1) -> bytes:
    block = Image.Exif()
    block[274], block[271], block[306] = orientation, "Maker", "2020:02:03 04:05:06"
    return block.tobytes()


def distance(a: np.ndarray, b: np.ndarray) -> int:
    assert (a.shape, a.dtype) == (b.shape, b.dtype)
    return int(np.abs(a.astype(int) - b).max())


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (64, 64), (67, 131)])
def test_pixels_are_those_it_was_made_of(size: tuple[int, int]) -> None:
    rgb = scene(*size)
    assert distance(images.read_rgb(heic(rgb)), rgb) <= 2  # its colors are YCbCr of 8 bits
    picture = pictures.read(heic(rgb))
    assert (picture.format, picture.bits, picture.alpha) == ("HEIF", 8, None)
    assert distance(picture.gray, images.gray(rgb)) <= 1
    gray = rgb[..., 0].copy()
    assert distance(pictures.read(heic(gray)).gray, gray) == 0
    assert pictures.read(heic(gray)).is_color is False


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("format", ["HEIF", "AVIF"])
def test_depth_is_read_and_written(bits: int, format: str) -> None:
    deep = scene(top=65535)
    settings = {"exif": exif()[6:], "xmp": XMP}
    data = encoders.encode(deep, None, format, 100, settings, bits)
    picture = pictures.read(data)
    assert (picture.format, picture.bits, picture.gray.dtype, picture.notes) == (format, bits, np.uint16, ())
    assert distance(picture.gray, images.gray(deep)) <= 256  # a level of 8 bits
    assert picture.metadata.xmp == XMP
    colored, notes = pictures.encode(picture, NEUTRAL, format)
    assert notes == ()
    again = pictures.read(colored)
    assert (again.bits, again.gray.dtype) == (bits, np.uint16)
    assert np.abs(again.gray.astype(int) - picture.gray).mean() < 65535 / 2**bits * 4
    _, notes = pictures.encode(picture, NEUTRAL, "JPEG")
    assert f"loss: {bits} bits a channel became 8, what JPEG holds here" in notes
    if format == "AVIF":
        assert avif.bits(data) == bits
        other = imagecodecs.avif_decode(data)
        white = 2**bits - 1
        assert np.abs(other / white - deep / 65535).max() < 4 / 255
        theirs = images.gray(np.rint(other * (65535 / white)).astype(np.uint16))
        assert distance(picture.gray, theirs) <= 65535 // white + 1


def test_white_is_white_at_every_depth() -> None:
    for bits in (8, 10, 12):
        white = np.full((16, 16, 3), 255 if bits == 8 else 65535, np.uint16 if bits > 8 else np.uint8)
        assert pictures.read(heic(white, bit_depth=bits)).gray.min() == white.max()


def test_sixteen_bits_become_twelve_with_a_note() -> None:
    file = io.BytesIO()
    Image.fromarray(scene(top=65535)[..., 0].copy()).save(file, "PNG")
    data, notes = pictures.encode(pictures.read(file.getvalue()), NEUTRAL, "HEIF")
    assert notes == ("loss: 16 bits a channel became 12, what HEIF holds here",)
    assert pictures.read(data).bits == 12


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("deep", [False, True])
def test_orientation_is_applied_once(orientation: int, deep: bool) -> None:
    rgb = scene(top=65535 if deep else 255)
    data = heic(rgb, exif=exif(orientation))
    want = images.upright(rgb, orientation)
    picture = pictures.read(data)
    assert distance(picture.gray, images.gray(want)) <= (140 if deep else 1)
    assert distance(images.read_rgb(data), images.shallow(want)) <= 2
    assert images.header(io.BytesIO(data)) == ("HEIF", want.shape[1], want.shape[0])
    for format in ("HEIF", "JPEG", "PNG"):
        colored, _ = pictures.encode(picture, NEUTRAL, format)
        again = pictures.read(colored)
        assert again.gray.shape == want.shape[:2]
        assert metadata.orientation(again.metadata) == 1
        assert np.abs(images.shallow(again.gray).astype(int) - images.shallow(picture.gray)).max() < 12
        with (
            pillow_heif.read_heif(colored).to_pillow() if format == "HEIF" else Image.open(io.BytesIO(colored)) as image
        ):
            assert image.getexif()[271] == "Maker"
            assert image.getexif()[274] == 1


def _shown(data: bytes, format: str) -> Image.Image:
    return pillow_heif.read_heif(data).to_pillow() if format == "HEIF" else Image.open(io.BytesIO(data))


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha(channels: int) -> None:
    rgb = scene()
    alpha = np.tile(np.linspace(255, 55, 98).astype(np.uint8), (66, 1))
    mode = "RGBA" if channels == 4 else "LA"
    planes = np.dstack([rgb if channels == 4 else rgb[..., 0], alpha])
    out = io.BytesIO()
    chroma = {"chroma": 444} if channels == 4 else {}
    pillow_heif.encode(mode, (98, 66), planes.tobytes(), out, quality=-1, **chroma)
    picture = pictures.read(out.getvalue())
    assert picture.alpha is not None
    assert distance(picture.alpha, alpha) <= 1
    assert distance(picture.gray, images.gray(rgb) if channels == 4 else rgb[..., 0].copy()) <= 1
    data, notes = pictures.encode(picture, NEUTRAL, "HEIF")
    assert notes == ("loss: transparency is kept about, HEIF writes it with a loss",)
    again = pictures.read(data).alpha
    assert again is not None
    assert np.abs(again.astype(int) - alpha).max() <= 12


def test_a_profile_is_applied() -> None:
    srgb = ImageCms.createProfile("sRGB")
    swapped = _swapped(ImageCms.ImageCmsProfile(srgb).tobytes())
    rgb = scene()
    want = ImageCms.profileToProfile(
        Image.fromarray(rgb), ImageCms.ImageCmsProfile(io.BytesIO(swapped)), srgb, outputMode="RGB"
    )
    picture = pictures.read(heic(rgb, icc_profile=swapped))
    assert np.abs(picture.gray.astype(int) - images.gray(np.asarray(want))).max() <= 3
    assert np.abs(picture.gray.astype(int) - images.gray(rgb)).max() > 10


def _swapped(profile: bytes) -> bytes:
    """A profile whose red is blue: their entries in its table of tags, exchanged."""
    return profile.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")


def test_what_else_a_file_holds_is_named() -> None:
    rgb = scene()
    cases = {
        "1 of 2 pictures dropped": heic(rgb, 255 - rgb),
        "motion photo's video dropped": heic(rgb) + struct.pack(">I", 16) + b"mpvd" + bytes(8),
        "box abcd dropped": heic(rgb) + struct.pack(">I", 9) + b"abcdX",
    }
    for loss, data in cases.items():
        picture = pictures.read(data)
        assert f"loss: {loss}" in picture.notes, loss
        assert distance(picture.gray, images.gray(rgb)) <= 1
    assert images.frames(heic(rgb, rgb, rgb)) == 3
    assert pictures.read(heic(rgb, thumbnails=[32])).notes == ()


def test_the_main_picture_is_the_one_colored() -> None:
    rgb, other = scene(), 255 - scene()
    picture = pictures.read(heic(other, rgb, primary_index=1))
    assert distance(picture.gray, images.gray(rgb)) <= 1


def test_other_transfer_functions_are_named() -> None:
    out = io.BytesIO()
    pillow_heif.encode(
        "RGB;16", (98, 66), scene(top=65535).tobytes(), out, quality=90, bit_depth=10,
        color_primaries=9, transfer_characteristics=16, matrix_coefficients=9, full_range_flag=1,
    )  # fmt: skip
    assert pictures.read(out.getvalue()).notes == ("colors of PQ (HDR) and BT.2020 taken as sRGB",)


def test_in_place_and_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of a telephone: colored in place, each its own format; what would lose something is left, and named."""
    gray = images.gray(scene())
    folder, model = tmp_path / "in", artefacts.constant(tmp_path / "m.onnx")
    folder.mkdir()
    (folder / "IMG_1.HEIC").write_bytes(heic(gray, exif=exif(6), xmp=XMP))
    (folder / "b.jpg").write_bytes(heic(gray))  # whatever its name
    (folder / "live.heic").write_bytes(heic(gray) + struct.pack(">I", 16) + b"mpvd" + bytes(8))
    code = colorize.main([str(folder), "--in-place", "--model", str(model), "--provider", "cpu"])
    told = capsys.readouterr().err
    assert code == 3, told
    assert "2 colored, 0 skipped, 1 failed" in told
    assert "live.heic: in place there would be a loss: motion photo's video dropped" in told
    for name in ("IMG_1.HEIC", "b.jpg"):
        picture = pictures.read((folder / name).read_bytes())
        assert picture.format == "HEIF"
        want = images.upright(gray, 6) if name == "IMG_1.HEIC" else gray
        assert np.abs(picture.gray.astype(int) - want).mean() < 2
    code = colorize.main([str(folder), "--in-place", "--model", str(model), "--provider", "cpu"])
    assert "0 colored, 2 skipped" in capsys.readouterr().err


def test_truncated_and_damaged_files_are_refused_or_read() -> None:
    data = heic(scene(), lossless=False, exif=exif())
    for end in range(12, len(data), max(1, len(data) // 40)):
        with pytest.raises(images.UnreadableImage, match=r"^a HEIC photograph: (truncated|damaged)"):
            pictures.read(data[:end])
    for bad in damaged(data):
        with suppress(images.UnreadableImage):
            assert images.read_rgb(bad).shape[2] == 3


def test_bombs_are_refused_before_they_are_decoded() -> None:
    data = heic(scene())
    at = data.index(b"ispe") + 8
    bomb = data[:at] + struct.pack(">II", 30_000, 30_000) + data[at + 8 :]
    with pytest.raises(images.UnreadableImage, match="too many pixels: 30000 x 30000"):
        pictures.read(bomb)
    with pytest.raises(images.UnreadableImage, match="too many pixels: 98 x 66, expected at most 6,000"):
        pictures.read(data, max_pixels=6000)
    lie = data[:at] + struct.pack(">II", 30, 20) + data[at + 8 :]
    with pytest.raises(images.UnreadableImage, match="size"):
        pictures.read(lie)


def test_training_reads_what_coloring_does(tmp_path: Path) -> None:
    """HEIF, JPEG XL and AVIF of 10 bits are photographs to train on, listed by their names and read as RGB."""
    rgb = scene(70, 90)
    for name, format in (("a.heic", "HEIF"), ("b.jxl", "JXL"), ("c.hif", "HEIF")):
        (tmp_path / name).write_bytes(encoders.encode(rgb, None, format, 95))
    (tmp_path / "d.avif").write_bytes(encoders.encode(scene(70, 90, 65535), None, "AVIF", 95, bits=10))
    (tmp_path / "e.heic").write_bytes(encoders.encode(rgb, None, "HEIF", 95)[:-50])
    paths = sorted(tmp_path.iterdir())
    assert all(sources.is_image(path) for path in paths)
    good, bad = index.usable(paths, progress=False)
    assert [path.name for path in good] == ["a.heic", "b.jxl", "c.hif", "d.avif"]
    assert "a HEIC photograph: damaged" in bad[tmp_path / "e.heic"]
    for path in good:
        gray, color = host.decode(path, 64, "source", "source")
        assert (gray.shape[-2:], color.shape[-2:]) == ((64, 64), (64, 64))
        shown = images.read_rgb(path.read_bytes())
        assert np.abs(shown.astype(int) - rgb).mean() < 4
