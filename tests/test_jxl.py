"""JPEG XL: the header against another decoder, pixels as they were made, metadata, JPEGs inside, damage and bombs."""

import base64
import io
from contextlib import suppress

import imagecodecs
import numpy as np
import pillow_jxl
import pytest
from PIL import Image, ImageCms

from recolor_fast.photographs import encoders, images, jxl, metadata, pictures
from tests.faults import damaged
from tests.test_heif import NEUTRAL, XMP, distance, exif, scene

# Written by libjxl's cjxl, which alone makes them: three flat frames, 60, 120 and 180, 12 x 9, of an animation; a gray
# picture that is stored 12 x 9, with a white corner, and to be turned by a quarter (its codestream says so).
ANIMATION = base64.b64decode(
    "/wpAMMEAAopLAggCkgkAAGwASxiLFQBUjYqK5QVCAKCYk0FBUINghPZvBUBWCAKSCQAAeABLGIsVAJSKilEULxACQMBEAAAGNULSipZqFCkKgEcI"
    "ApIFAHgASxiLFQDUjYoxNooXCAEAYhIoBQExjH0E2F4EAFYE"
)
TURNED = base64.b64decode(
    "AAAADEpYTCANCocKAAAAFGZ0eXBqeGwgAAAAAGp4bCAAAAA3anhsY/8KQDALBMUlAQgCAQCAAEsYixUA1LYVg3gBIAACcjsEmH4wcikqyFQiWVU0"
    "BQoD"
)


def encoded(pixels: np.ndarray, container: bool = False, **settings: object) -> bytes:
    """A lossless file of uint8 pixels, gray or RGB, with or without alpha."""
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[1 if pixels.ndim == 2 else pixels.shape[2]]
    encoder = pillow_jxl.Encoder(
        mode=mode, lossless=True, quality=100, decoding_speed=0, effort=3, use_container=container,
        use_original_profile=False, num_threads=0,
    )  # fmt: skip
    return encoder(
        np.ascontiguousarray(pixels).tobytes(), pixels.shape[1], pixels.shape[0], jpeg_encode=False, **settings
    )


SIDES = [(1, 1), (8, 8), (9, 12), (64, 64), (66, 98), (300, 200), (240, 320), (1080, 1920), (200, 8200), (2, 70000)]


@pytest.mark.parametrize("size", SIDES)
@pytest.mark.parametrize("lossless", [True, False])
def test_the_header_says_what_another_decoder_finds(size: tuple[int, int], lossless: bool) -> None:
    pixels = np.zeros(size, np.uint8)
    data = imagecodecs.jpegxl_encode(pixels, lossless=lossless, effort=1)
    assert imagecodecs.jpegxl_decode(data).shape == size
    assert jxl.header(data)[:5] == (size[1], size[0], 8, False, not lossless)
    assert jxl.header(encoded(pixels, container=True))[:2] == (size[1], size[0])
    assert images.header(io.BytesIO(data)) == ("JXL", size[1], size[0])


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 2), (20, 30, 3), (20, 30, 4)])
def test_channels(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    data = imagecodecs.jpegxl_encode(pixels, lossless=True)
    assert jxl.header(data)[:5] == (30, 20, 8, False, False)
    picture = pictures.read(data)
    gray = pixels[..., 0] if len(shape) == 3 and shape[2] == 2 else pixels
    gray = np.ascontiguousarray(gray if gray.ndim == 2 else images.gray(gray[..., :3].copy()))
    assert distance(picture.gray, gray) == 0
    assert (picture.notes, picture.lossless) == ((), True)
    if len(shape) == 3 and shape[2] in (2, 4):
        assert picture.alpha is not None
        assert distance(picture.alpha, pixels[..., -1].copy()) == 0
    colored, _ = pictures.encode(picture, NEUTRAL, "JXL")
    assert distance(pictures.read(colored).gray, picture.gray) <= 1  # lossless stays lossless


def srgb(light: np.ndarray) -> np.ndarray:
    """The tone curve of sRGB, 0..1."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3)])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_depth(shape: tuple[int, ...], dtype: type) -> None:
    """That library says of deep samples that they are linear light: their profile is applied."""
    light = np.random.default_rng(0).uniform(0.1, 1, shape)
    stored = light.astype(np.float32) if dtype == np.float32 else np.rint(light * 65535).astype(np.uint16)
    data = imagecodecs.jpegxl_encode(stored, lossless=True)
    assert jxl.header(data)[:5] == (30, 20, 8 * stored.itemsize, False, False)
    picture = pictures.read(data)
    want = srgb(light)
    if len(shape) == 2:
        assert picture.gray.dtype == np.uint16
        assert np.abs(picture.gray - want * 65535).max() < 100
    else:
        assert f"loss: {8 * stored.itemsize} bits a channel became 8, as JPEG XL files are read" in picture.notes
        assert np.abs(picture.gray - want @ (0.299, 0.587, 0.114) * 255).max() < 3


def made(*fields: tuple[int, int]) -> bytes:
    """A codestream of (bits, value) fields, the lowest bit first."""
    value = at = 0
    for bits, field in fields:
        value |= field << at
        at += bits
    return b"\xff\x0a" + value.to_bytes(-(-at // 8) + 8, "little")


def test_premultiplied_alpha_and_ink_are_seen_in_the_header() -> None:
    sides = [(1, 1), (5, 3), (3, 1)]  # small: 32 pixels high, square
    plain = [(1, 0), (1, 0), (1, 0), (2, 0), (1, 1)]  # not all default; no extra fields; 8 bits
    alpha = [(1, 0), (2, 0), (1, 0), (2, 0), (2, 0), (2, 0), (1, 1)]  # of 8 bits, whole size, no name, multiplied
    black = [(1, 0), (2, 2), (4, 2), (1, 0), (2, 0), (2, 0), (2, 1), (4, 1), (8, 75)]  # called K
    one, two = [(2, 1)], [(2, 2), (4, 0)]
    assert jxl.header(made(*sides, *plain, *one, *alpha, (1, 1))) == (32, 32, 8, False, True, True, False)
    ink = made(*sides, *plain, *two, *alpha, *black, (1, 0))
    assert jxl.header(ink) == (32, 32, 8, False, False, True, True)
    with pytest.raises(images.UnreadableImage, match="CMYK colors are not read"):
        pictures.read(ink)
    opaque = [(1, 1)]
    assert jxl.header(made(*sides, *plain, *one, *opaque, (1, 1)))[5:] == (False, False)


@pytest.mark.parametrize("container", [False, True])
def test_pixels_are_those_it_was_made_of(container: bool) -> None:
    rgb = scene()
    data = encoded(rgb, container)
    assert data[:2] == (b"\0\0" if container else b"\xff\x0a")
    assert distance(images.read_rgb(data), rgb) == 0
    assert distance(images.read_rgb(data), imagecodecs.jpegxl_decode(data)) == 0


@pytest.mark.parametrize("compress", [False, True])
def test_metadata(compress: bool) -> None:
    data = encoded(scene(), True, exif=bytes(4) + exif(6)[6:], xmp=XMP, compress=compress)
    assert (b"brob" in data) == compress
    picture = pictures.read(data)
    assert picture.gray.shape == (66, 98)  # the codestream's orientation counts, not that of EXIF
    assert picture.metadata.xmp == XMP
    assert picture.notes == ()
    colored, notes = pictures.encode(picture, NEUTRAL, "JXL")
    assert notes == ()
    again = pictures.read(colored)
    assert (again.metadata.xmp, metadata.orientation(again.metadata)) == (XMP, 1)
    with Image.open(io.BytesIO(pictures.encode(picture, NEUTRAL, "JPEG")[0])) as image:
        assert image.getexif()[271] == "Maker"
    import pillow_jxl.JpegXLImagePlugin as plugin  # another reader of the boxes

    assert plugin.JXLImageFile(io.BytesIO(colored)).getexif()[271] == "Maker"


def test_compressed_metadata_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(scene(), True, exif=bytes(4) + exif()[6:], xmp=XMP + b" " * 10**6, compress=True)
    monkeypatch.setattr(jxl, "_MOST_METADATA", 10**5)
    picture = pictures.read(data)
    assert picture.notes == ("loss: compressed metadata dropped (damaged, or too long)",)
    assert (bool(picture.metadata.exif), picture.metadata.xmp) == (True, b"")
    monkeypatch.undo()
    at = data.index(b"brobxml ") + 8
    broken = pictures.read(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
    assert "compressed metadata dropped" in broken.notes[0]


def test_a_jpeg_inside_is_read_as_that_jpeg() -> None:
    file = io.BytesIO()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(scene()).save(file, "JPEG", quality=90, exif=exif(6), icc_profile=profile)
    encoder = pillow_jxl.Encoder(
        mode="RGB", lossless=True, quality=100, decoding_speed=0, effort=3, use_container=True,
        use_original_profile=True, num_threads=0,
    )  # fmt: skip
    data = encoder(file.getvalue(), 98, 66, jpeg_encode=True)
    jpeg = pictures.read(file.getvalue())
    picture = pictures.read(data)
    assert picture.format == "JXL"
    assert picture.gray.shape == (98, 66)
    assert distance(picture.gray, jpeg.gray) <= 1
    assert picture.metadata.exif == jpeg.metadata.exif


def test_the_codestreams_orientation_counts() -> None:
    assert jxl.header(TURNED)[:5] == (9, 12, 8, False, False)
    picture = pictures.read(TURNED)
    assert picture.gray.shape == (12, 9)
    assert picture.gray[:5, 5:].min() > 190
    assert picture.gray[5:].max() < 10
    assert picture.gray[:, :5].max() < 10


def test_an_animations_last_frame_is_read_and_the_others_are_named() -> None:
    assert jxl.header(ANIMATION).animated
    picture = pictures.read(ANIMATION)
    assert set(np.unique(picture.gray)) == {20, 180}
    assert picture.notes == ("loss: all frames of an animation but the last dropped",)


def test_a_profile_is_applied() -> None:
    linear = ImageCms.createProfile("sRGB")
    profile = ImageCms.ImageCmsProfile(linear).tobytes().replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ")
    profile = profile.replace(b"????", b"bXYZ")
    file = io.BytesIO()
    Image.fromarray(scene()).save(file, "JPEG", quality=95, icc_profile=profile)
    encoder = pillow_jxl.Encoder(
        mode="RGB", lossless=True, quality=100, decoding_speed=0, effort=3, use_container=True,
        use_original_profile=True, num_threads=0,
    )  # fmt: skip
    data = encoder(file.getvalue(), 98, 66, jpeg_encode=True)
    assert distance(pictures.read(data).gray, pictures.read(file.getvalue()).gray) <= 1
    assert distance(pictures.read(data).gray, images.gray(scene())) > 10


@pytest.mark.parametrize("quality", [1, 60, 95, 99, 100])
def test_every_quality_is_written(quality: int) -> None:
    rgb = scene()
    data = encoders.encode(rgb, None, "JXL", quality)
    assert distance(images.read_rgb(data), rgb) <= (0 if quality == 100 else 60 if quality < 50 else 20)


def test_truncated_and_damaged_files_are_refused_or_read() -> None:
    for data in (encoded(scene()), encoded(scene(), True, exif=bytes(4) + exif()[6:], xmp=XMP)):
        for end in range(12, len(data) - 1, max(1, len(data) // 40)):
            with pytest.raises(images.UnreadableImage, match=r"^a JPEG XL: (truncated|damaged)[^\n]*$"):
                pictures.read(data[:end])
        for bad in damaged(data):
            with suppress(images.UnreadableImage):
                assert images.read_rgb(bad).shape[2] == 3


def test_bombs_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("decoded")

    huge = encoded(np.zeros((1, 70000), np.uint8))
    monkeypatch.setattr(pillow_jxl, "Decoder", refuse)
    with pytest.raises(images.UnreadableImage, match="too many pixels: 70000 x 1, expected at most 60,000"):
        pictures.read(huge, max_pixels=60_000)
    bits = 0 | 3 << 1 | (2**30 - 1) << 3 | 1 << 33  # not small; 30 bits of height; as wide
    claim = b"\xff\x0a" + (bits | 1 << 36).to_bytes(8, "little")
    assert jxl.header(claim)[:2] == (2**30, 2**30)
    with pytest.raises(images.UnreadableImage, match="too many pixels"):
        images.read_rgb(claim)
