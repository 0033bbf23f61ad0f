"""Image files and pixel arithmetic: what is read is what was drawn, and what is merged keeps its luminance."""

import io
import struct
import threading
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
import torch
import torchvision.transforms.v2.functional as F
from PIL import Image

from recolor_fast.photographs import encoders, images, pictures
from recolor_fast.photographs.preparation import Applied, Preparation

ODD = Path(__file__).parents[1] / ".." / "shared" / "data" / "odd-images"


LOSSY = ("JPEG", "WEBP", "AVIF", "HEIF", "JXL")


def smooth(height: int, width: int) -> np.ndarray:
    """uint8 (H,W,3) of slow gradients, so that lossy formats come close; no two corners alike."""
    y, x = np.mgrid[0:height, 0:width]
    planes = (40 + 180 * x / width, 60 + 150 * y / height, 90 + 80 * (x + y) / (width + height))
    return np.stack(planes, axis=-1).round().astype(np.uint8)


def encoded(image: Image.Image, format: str, **settings: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **settings)
    return file.getvalue()


def turned(upright: np.ndarray, orientation: int, format: str) -> bytes:
    """A file whose EXIF orientation says how to get the upright pixels."""
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's transpose() that the orientation undoes
    stored = Image.fromarray(upright)
    stored = stored.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else stored
    exif = Image.Exif()
    exif[274] = orientation
    return encoded(stored, format, exif=exif, quality=100)


def distance(a: np.ndarray, b: np.ndarray) -> int:
    assert a.shape == b.shape
    assert a.dtype == b.dtype == np.uint8
    return int(np.abs(a.astype(int) - b).max())


def luma(rgb: np.ndarray) -> np.ndarray:
    """Rec. 601 Y' in floating point."""
    return rgb @ np.array([0.299, 0.587, 0.114])


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has next to no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def jpeg_claiming(width: int, height: int) -> bytes:
    data = encoded(Image.fromarray(smooth(48, 64)), "JPEG")
    at = data.index(b"\xff\xc0") + 5  # baseline frame header: length, precision, then height and width
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


# --- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP", "BMP", "JPEG", "PPM"])
def test_content_decides_the_format(format: str) -> None:
    rgb = smooth(60, 90)
    settings = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}}.get(format, {})
    data = encoded(Image.fromarray(rgb), format, **settings)
    assert distance(images.read_rgb(data), rgb) <= (6 if format == "JPEG" else 0)
    assert pictures.read(data).format == format


def test_jpeg_equals_pillow() -> None:
    data = encoded(Image.fromarray(smooth(61, 83)), "JPEG", quality=90)
    assert distance(images.read_rgb(data), np.asarray(Image.open(io.BytesIO(data)))) == 0


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientations_give_the_same_upright_pixels(format: str, orientation: int) -> None:
    upright = smooth(48, 80)
    data = turned(upright, orientation, format)
    assert distance(images.read_rgb(data), upright) <= 8
    assert distance(pictures.read(data).gray, images.gray(upright)) <= 8


@pytest.mark.parametrize(
    ("width", "height", "size", "by"),
    [
        (500, 375, 256, 1),
        (500, 375, 64, 1),
        (4000, 3000, 256, 4),
        (3000, 4000, 256, 4),
        (4000, 3000, 286, 4),
        (4000, 3000, 512, 2),
        (4096, 4096, 256, 8),
        (9000, 9000, 256, 8),
        (9000, 1024, 256, 2),
        (9000, 1023, 256, 1),
        (9000, 1023, 64, 1),
    ],
)
def test_reduction_leaves_at_least_twice_the_size(width: int, height: int, size: int, by: int) -> None:
    assert images.reduction(width, height, size) == by
    assert by == 1 or min(width, height) / by >= 2 * size


@pytest.mark.parametrize(
    ("side", "by", "mode"),
    [
        *((side, by, mode) for side, by in ((1023, 1), (1024, 2), (1029, 2)) for mode in ("RGB", "L")),
        *((2051, 4, "L"), (4099, 8, "RGB")),
    ],
)
def test_large_jpegs_are_decoded_at_a_fraction_only_if_asked(mode: str, side: int, by: int) -> None:
    small = Image.fromarray(smooth(side // 8, side // 8 + 5)).convert(mode)  # as smooth, made in less time
    data = encoded(small.resize((side + 38, side), Image.Resampling.BILINEAR), "JPEG", quality=95)
    whole = images.read_rgb(data)
    assert whole.shape == (side, side + 38, 3)
    got = images.read_rgb(data, 256)
    assert got.shape == (-(-side // by), -(-(side + 38) // by), 3)
    wanted = images.resize(whole, *got.shape[:2])
    assert distance(got[1:-1, 1:-1], wanted[1:-1, 1:-1]) <= 4


@pytest.mark.parametrize("side", [1100, 1101])
def test_other_formats_are_reduced_likewise_only_if_asked(side: int) -> None:
    rgb = smooth(side, side)
    png = encoded(Image.fromarray(rgb), "PNG")
    assert distance(images.read_rgb(png), rgb) == 0
    assert distance(images.read_rgb(png, 64), images.reduced(rgb, 2)) == 0
    jpeg = encoded(Image.fromarray(rgb), "JPEG", quality=100, subsampling=0)
    assert distance(images.read_rgb(png, 64), images.read_rgb(jpeg, 64)) <= 3
    cmyk = encoded(Image.fromarray(rgb).convert("CMYK"), "JPEG")  # which Pillow decodes, whole
    assert distance(images.read_rgb(cmyk, 64), images.reduced(images.read_rgb(cmyk), 2)) == 0


def test_a_truncated_jpeg_is_refused_at_a_fraction_too() -> None:
    whole = encoded(Image.fromarray(smooth(1100, 1100)), "JPEG")
    with pytest.raises(images.UnreadableImage, match="truncated"):
        images.read_rgb(whole[: len(whole) // 2], 64)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_large_jpegs_are_upright_too(orientation: int) -> None:
    upright = smooth(1040, 1200)
    got = images.read_rgb(turned(upright, orientation, "JPEG"), 256)
    assert distance(got, images.resize(upright, 520, 600)) <= 4


def test_broken_exif_does_not_lose_the_picture() -> None:
    image = Image.fromarray(smooth(40, 40))
    data = encoded(image, "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert images.read_rgb(data).shape == (40, 40, 3)
    exif = Image.Exif()
    exif[274] = 9
    assert distance(images.read_rgb(encoded(image, "PNG", exif=exif)), smooth(40, 40)) == 0


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(format: str) -> None:
    deep = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    want = np.rint(deep / 257).astype(np.uint8)
    data = encoded(Image.fromarray(deep), format)
    assert distance(images.read_rgb(data), np.dstack([want] * 3)) == 0


def test_sixteen_bit_rgb_is_scaled() -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    data = cv2.imencode(".png", deep[..., ::-1])[1].tobytes()
    assert distance(images.read_rgb(data), (deep / 257).round().astype(np.uint8)) <= 1


def test_float_images_survive_infinities() -> None:
    values = np.linspace(0, 1, 100, dtype=np.float32).reshape(10, 10)
    want = np.rint(values * 255).astype(np.uint8)
    values[0, 0], values[4, 4], values[9, 9] = np.nan, -np.inf, np.inf
    want[4, 4] = 3  # the darkest finite value, 1/99
    got = images.read_rgb(encoded(Image.fromarray(values), "TIFF"))[..., 0]
    assert (got[0, 0], got[9, 9]) == (0, 252)  # 98/99 is the brightest finite value
    got[9, 9] = want[9, 9]
    assert distance(got, want) == 0


def test_a_float_image_without_any_finite_value_is_black() -> None:
    values = np.full((4, 4), np.nan, np.float32)
    assert not images.read_rgb(encoded(Image.fromarray(values), "TIFF")).any()


def test_thirty_two_bits() -> None:
    values = np.array([[0, 65535], [32768, 257]], np.int32)
    gray = images.read_rgb(encoded(Image.fromarray(values), "TIFF"))[..., 0]
    assert gray.tolist() == [[0, 255], [128, 1]]
    stretched = images.read_rgb(encoded(Image.fromarray(values * 1000 - 5), "TIFF"))
    assert (stretched.min(), stretched.max()) == (0, 255)


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk(format: str) -> None:
    image = Image.fromarray(smooth(40, 60)).convert("CMYK")
    got = images.read_rgb(encoded(image, format))
    assert distance(got, np.asarray(image.convert("RGB"))) <= 8


def test_palette_bilevel_and_gray() -> None:
    palette = Image.fromarray(smooth(40, 60)).quantize(32)
    assert distance(images.read_rgb(encoded(palette, "PNG")), np.asarray(palette.convert("RGB"))) == 0
    bits = Image.fromarray(smooth(40, 60)[..., 0] > 128)
    assert set(np.unique(images.read_rgb(encoded(bits, "PNG")))) == {0, 255}
    own = smooth(40, 60)[..., 0]
    assert distance(pictures.read(encoded(Image.fromarray(own), "PNG")).gray, own) == 0
    jpeg = images.read_rgb(encoded(Image.fromarray(own), "JPEG", quality=100))
    assert distance(jpeg, np.dstack([own] * 3)) <= 2


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_kept_for_coloring_and_dropped_for_training(mode: str) -> None:
    rgb = smooth(30, 50)
    alpha = np.linspace(0, 255, 1500).astype(np.uint8).reshape(30, 50)
    pixels = np.dstack([rgb, alpha]) if mode == "RGBA" else np.dstack([rgb[..., 0], alpha])
    data = encoded(Image.fromarray(pixels), "PNG")
    picture = pictures.read(data)
    assert picture.alpha is not None
    assert distance(picture.alpha, alpha) == 0
    assert distance(picture.gray, images.gray(rgb) if mode == "RGBA" else rgb[..., 0]) == 0
    assert distance(images.read_rgb(data), rgb if mode == "RGBA" else np.dstack([rgb[..., 0]] * 3)) == 0


def test_transparent_color_is_alpha() -> None:
    data = encoded(Image.fromarray(np.array([[10, 20]], np.uint8)), "PNG", transparency=20)
    alpha = pictures.read(data).alpha
    assert alpha is not None
    assert alpha.tolist() == [[255, 0]]


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_of_an_animation(format: str) -> None:
    frames = [Image.new("RGB", (20, 10), color) for color in ("red", "blue")]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:])
    assert distance(images.read_rgb(data), np.full((10, 20, 3), (255, 0, 0), np.uint8)) <= 4


PNG = encoded(Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)), "PNG")
JPEG = encoded(Image.fromarray(smooth(64, 64)), "JPEG")


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"<html>not found</html>", "a web page, not a photograph"),
        (b"\xff\xd8", "not an image"),
        (PNG[: len(PNG) // 2], "truncated"),
        (JPEG[: len(JPEG) // 2], "truncated"),
        (JPEG[:-2], "truncated"),
        (JPEG[:-1], "truncated"),
        (png_header(100_000, 100_000), "too many pixels"),
        (jpeg_claiming(65_500, 65_500), "too many pixels"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "a PostScript file"),
    ],
)
@pytest.mark.parametrize("read", [images.read_rgb, pictures.read])
def test_unreadable_says_why(read, data: bytes, word: str) -> None:
    with pytest.raises(images.UnreadableImage, match=word) as caught:
        read(data)
    assert "\n" not in str(caught.value)


def test_trailing_bytes_are_harmless() -> None:
    assert distance(images.read_rgb(JPEG + b"\xff\xda garbage"), images.read_rgb(JPEG)) == 0


@pytest.mark.parametrize("limit", ["Pillow's", "ours"])
def test_size_is_refused_before_decoding(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def decoder(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(simplejpeg, "decode_jpeg", decoder)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoder)
    if limit == "ours":
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    for data in (png_header(20_000, 20_000), jpeg_claiming(20_000, 20_000)):
        with pytest.raises(images.UnreadableImage, match="too many pixels"):
            images.read_rgb(data)
    with pytest.raises(images.UnreadableImage, match="decoded"):  # the same hooks do see a small file
        images.read_rgb(PNG)


def test_no_warning_leaks_from_threads_and_filters_are_restored() -> None:
    before = list(warnings.filters)
    data = png_header(10_000, 10_000)  # Pillow warns of these 100 million pixels
    results: list[str] = []

    def work() -> None:
        for _ in range(20):
            try:
                images.read_rgb(data)
            except images.UnreadableImage as error:
                results.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 80
    assert not [text for text in results if "bomb" in text]
    assert warnings.filters == before


def test_header_reads_headers_only() -> None:
    assert images.header(io.BytesIO(PNG[:100])) == ("PNG", 64, 64)
    assert images.header(io.BytesIO(b"plain text")) is None
    assert images.header(io.BytesIO(png_header(100_000, 100_000))) == ("", 0, 0)
    tga = encoded(Image.fromarray(smooth(8, 8)), "TGA")
    assert images.header(io.BytesIO(tga)).format == "TGA"
    assert images.header(io.BytesIO(tga), trust_suffix=False) is None


def test_the_header_of_a_jpeg_is_that_of_the_upright_picture() -> None:
    image = Image.fromarray(smooth(30, 50))
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
    for given in ({}, {"exif": {274: 6}}, {"xmp": xmp}, {"exif": {270: "a" * 60_000}, "comment": b"b" * 60_000}):
        exif = Image.Exif()
        exif.update(given.get("exif", {}))
        data = encoded(image, "JPEG", **{**given, "exif": exif})
        expected = (30, 50) if given.get("exif", {}).get(274) or "xmp" in given else (50, 30)
        for trust in (True, False):
            assert images.header(io.BytesIO(data), trust) == ("JPEG", *expected)
    assert images.header(io.BytesIO(encoded(image.convert("CMYK"), "JPEG"))) == ("JPEG", 50, 30)
    at = data.index(b"\xff\xc0") + 5
    too_many = data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :]
    assert images.header(io.BytesIO(too_many)) == ("", 0, 0)


@pytest.mark.skipif(not ODD.is_dir(), reason=f"no {ODD.name} beside the repository")
def test_odd_files_give_pixels_or_unreadable() -> None:
    paths = sorted(path for path in ODD.rglob("*") if path.is_file())
    sample = sorted({*paths[::10], *(path for path in paths if path.parent.name == "made")})
    read = 0
    for path in sample:
        try:
            rgb = images.read_rgb(path.read_bytes())
        except images.UnreadableImage:
            continue
        read += 1
        assert rgb.dtype == np.uint8, path
        assert rgb.ndim == 3, path
        assert rgb.size, path
    assert len(sample) / 2 < read < len(sample)


# --- pixel arithmetic ----------------------------------------------------------------------------------------------


NOISE = np.random.default_rng(2).integers(0, 256, (75, 101, 3), dtype=np.uint8)


@pytest.mark.parametrize("image", [NOISE, smooth(120, 97), NOISE[..., 0], smooth(120, 97)[..., 1]])
def test_blur_is_torchvisions(image: np.ndarray) -> None:
    planes = torch.from_numpy(np.atleast_3d(image).transpose(2, 0, 1).copy())
    want = F.gaussian_blur(planes, [5, 5], [0.7, 0.7]).numpy().transpose(1, 2, 0)
    assert distance(np.atleast_3d(images.blur(image)), want) <= 1
    assert distance(images.blur(NOISE), NOISE) > 30  # it does blur


@pytest.mark.parametrize("image", [NOISE, smooth(120, 97), NOISE[..., 0], smooth(120, 97)[..., 1]])
@pytest.mark.parametrize("size", [(64, 64), (40, 150), (256, 256)])
def test_resize_is_torchvisions(image: np.ndarray, size: tuple[int, int]) -> None:
    planes = torch.from_numpy(np.atleast_3d(image).transpose(2, 0, 1).copy())
    want = F.resize(planes, list(size), antialias=True).numpy().transpose(1, 2, 0)
    assert distance(np.atleast_3d(images.resize(image, *size)), want) <= 2


def test_gray_is_rec_601() -> None:
    assert np.abs(luma(NOISE) - images.gray(NOISE)).max() <= 0.51
    flat = np.dstack([NOISE[..., 0]] * 3)
    assert distance(images.gray(flat), NOISE[..., 0]) == 0


def test_equalize_is_per_channel_and_flattens_the_histogram() -> None:
    dark = smooth(100, 100) // 4
    got = images.equalize(dark)
    for channel in range(3):
        assert distance(got[..., channel], cv2.equalizeHist(dark[..., channel].copy())) == 0
    assert (got.min(), got.max()) == (0, 255)


@pytest.mark.parametrize("by", [1, 2, 4, 8])
@pytest.mark.parametrize("shape", [(64, 40), (75, 101), (75, 101, 3), (1, 9)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_reduced_is_the_mean_of_squares(by: int, shape: tuple[int, ...], dtype: type) -> None:
    image = np.random.default_rng(by).integers(0, np.iinfo(dtype).max + 1, shape, dtype)
    got = images.reduced(image, by)
    assert got.dtype == dtype
    assert got.shape == (-(-shape[0] // by), -(-shape[1] // by), *shape[2:])
    padded = np.pad(image, ((0, -shape[0] % by), (0, -shape[1] % by), (0, 0))[: image.ndim], mode="edge")
    want = padded.reshape(got.shape[0], by, got.shape[1], by, *shape[2:]).mean((1, 3))
    assert np.abs(got - want).max() <= 0.51


@pytest.mark.parametrize("side", [(1536, 2048), (1601, 2047)])
@pytest.mark.parametrize("prepare", ["source", "none"])
def test_a_large_photograph_is_the_same_to_training_and_to_coloring(side: tuple[int, int], prepare: Applied) -> None:
    """A JPEG decoded at a fraction, then made gray, and its whole gray: within 0.5 level on average, 3 at most."""
    piece = (NOISE[:60, :80] // 4 + 3 * (smooth(60, 80) // 4)).astype(np.uint8)
    rgb = cv2.resize(piece, side[::-1], interpolation=cv2.INTER_CUBIC)
    data = encoded(Image.fromarray(rgb), "JPEG", quality=95)
    assert images.read_rgb(data, 256).shape[0] == -(-side[0] // 2)
    trained = images.source(images.gray(images.read_rgb(data, 256)), Preparation(256, prepare, prepare))
    colored = images.source(pictures.read(data).gray, Preparation(256, prepare, prepare))
    assert np.abs(trained.astype(int) - colored).mean() < 0.5
    assert distance(trained, colored) <= 3
    other = images.source(images.gray(rgb)[:, ::-1], Preparation(256, prepare, prepare))
    assert distance(trained, other) > 30


def test_source_equalizes_then_blurs_then_resizes() -> None:
    gray = NOISE[..., 0] // 2
    got = images.source(gray, Preparation(64))
    assert distance(got, images.resize(images.blur(images.equalize(gray)), 64, 64)) == 0
    assert distance(got, images.resize(images.equalize(images.blur(gray)), 64, 64)) > 3
    assert distance(images.source(gray, Preparation(64, "none", "none")), images.resize(gray, 64, 64)) == 0
    assert distance(images.source(gray, Preparation(64, "none", "both")), images.resize(images.blur(gray), 64, 64)) == 0


# --- writing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", encoders.WRITABLE)
@pytest.mark.parametrize("with_alpha", [False, True])
def test_what_is_written_can_be_read(format: str, with_alpha: bool, tmp_path: Path) -> None:
    rgb = smooth(50, 70)
    alpha = np.tile(np.linspace(255, 55, 70).astype(np.uint8), (50, 1)) if with_alpha else None
    path = tmp_path / f"a{encoders.WRITABLE[format]}"
    encoders.write(path, rgb, alpha, format, 95)
    picture = pictures.read(path.read_bytes())
    assert picture.format == format
    assert distance(images.read_rgb(path.read_bytes()), rgb) <= (12 if format in LOSSY else 0)
    if with_alpha and format in encoders.WITH_ALPHA:
        assert picture.alpha is not None
        assert alpha is not None
        assert distance(picture.alpha, alpha) <= (8 if format == "AVIF" else 0)
    else:
        assert picture.alpha is None
    assert list(tmp_path.iterdir()) == [path]


def test_quality_counts() -> None:
    sizes = [len(encoders.encode(NOISE, None, "JPEG", quality)) for quality in (30, 95)]
    assert sizes[0] < sizes[1] / 2


def test_unknown_format_and_impossible_size_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="GIF"):
        encoders.write(tmp_path / "a.gif", NOISE, None, "GIF", 95)
    with pytest.raises(ValueError, match="20000 x 1 pixels cannot be written as WEBP"):
        encoders.encode(np.zeros((1, 20_000, 3), np.uint8), None, "WEBP", 95)


@pytest.mark.parametrize("step", ["os.fsync", "os.replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file(
    step: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(step, fail)
        with pytest.raises(type(error)):
            encoders.write(path, NOISE, None, "PNG", 95)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    encoders.write(path, NOISE, None, "PNG", 95)
    assert distance(images.read_rgb(path.read_bytes()), NOISE) == 0


def test_a_long_name_leaves_room_for_the_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 251 + ".png")
    encoders.write(path, NOISE, None, "PNG", 95)
    assert path.exists()
