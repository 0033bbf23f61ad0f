"""Pictures: pixels as Pillow and plain arithmetic have them, and a colored copy with all that has to survive."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageCms

from recolor_fast.photographs import chroma, encoders, images, jpeg, metadata, pictures, profiles
from tests.photographs import shared

CBCR = np.stack([np.full((6, 9), 110, np.uint8), np.full((6, 9), 150, np.uint8)])
NEUTRAL = np.full((2, 4, 4), 128, np.uint8)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
CURVE = SRGB[SRGB.index(b"para") + 12 :][:20]  # exponent and coefficients of sRGB's curve, 16.16 fixed point
KEEP = pictures.Writing()
DROP = pictures.Writing(metadata="drop")
LOSSLESS = pictures.Writing(lossless_luma=True)


def smooth(height: int, width: int) -> np.ndarray:
    """uint8 (H,W,3) of slow gradients; no two corners alike."""
    y, x = np.mgrid[0:height, 0:width]
    planes = (40 + 180 * x / width, 60 + 150 * y / height, 90 + 80 * (x + y) / (width + height))
    return np.stack(planes, axis=-1).round().astype(np.uint8)


def saved(pixels: np.ndarray | Image.Image, format: str, **settings: object) -> bytes:
    file = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(file, format, **settings)
    return file.getvalue()


def distance(a: np.ndarray, b: np.ndarray) -> int:
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    return int(np.abs(a.astype(int) - b).max())


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def deep(height: int = 24, width: int = 40, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 65536, (height, width, channels), dtype=np.uint16)


def opencv(pixels: np.ndarray, suffix: str) -> bytes:
    """A file of RGB(A) or gray pixels of any depth."""
    order = {2: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[4 if pixels.shape[-1] == 4 else pixels.ndim]
    return cv2.imencode(suffix, pixels if order is None else cv2.cvtColor(pixels, order))[1].tobytes()


def unchanged(data: bytes) -> np.ndarray:
    """The pixels of a file at their own depth, RGB(A), by OpenCV."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[-1] == 4 else cv2.COLOR_BGR2RGB)


# --- the JPEG path -------------------------------------------------------------------------------------------------


def ycbcr(data: bytes) -> np.ndarray:
    """(H,W,3) samples of a color JPEG, chroma upsampled."""
    image = Image.open(io.BytesIO(data))
    image.draft("YCbCr", None)
    return np.asarray(image)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1", "gray"])
@pytest.mark.parametrize("progressive", [False, True])
def test_luminance_of_a_jpeg_is_its_y_plane(subsampling: str, progressive: bool) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (45, 67, 3), dtype=np.uint8)
    if subsampling == "gray":
        data = saved(rgb[..., 0], "JPEG", progressive=progressive)
        want = np.asarray(opened(data))
    else:
        data = saved(rgb, "JPEG", subsampling=subsampling, progressive=progressive)
        want = ycbcr(data)[..., 0]
    picture = pictures.read(data)
    assert distance(picture.gray, want) == 0
    assert (picture.format, picture.alpha, picture.notes) == ("JPEG", None, ())
    assert bool(picture.original) == (subsampling == "gray")


@pytest.mark.parametrize("size", [(1, 1), (8, 1), (1, 8), (2, 3), (17, 33), (64, 48)])
@pytest.mark.parametrize("writing", [KEEP, LOSSLESS])
def test_jpegs_of_any_size_are_420_with_the_luminance_and_the_chroma(
    size: tuple[int, int], writing: pictures.Writing
) -> None:
    gray = images.gray(smooth(*size))
    picture = pictures.read(saved(gray, "JPEG", quality=95))
    data, notes = pictures.encode(picture, CBCR, "JPEG", writing)
    assert notes == ()
    planes = ycbcr(data)
    assert distance(planes[..., 0], picture.gray) <= (0 if writing.lossless_luma else 2)
    assert np.abs(planes[..., 1:].astype(int) - (110, 150)).max() <= 2
    got = simplejpeg.decode_jpeg(data, "RGB")
    assert np.abs(got.astype(int) - chroma.merge(picture.gray, CBCR)).max() <= 6
    assert simplejpeg.decode_jpeg_header(data)[3] == "420"
    assert pictures.encode(picture, CBCR, "JPEG", writing)[0] == data  # of odd sizes too, which need padding


def test_quality_is_that_of_the_chroma_too_when_luma_is_kept() -> None:
    noise = np.random.default_rng(2).integers(60, 196, (64, 64), dtype=np.uint8)
    picture = pictures.read(saved(noise, "JPEG", quality=70))
    cbcr = np.random.default_rng(3).integers(60, 196, (2, 32, 32), dtype=np.uint8)
    sizes = []
    for quality in (30, 95):
        data, _ = pictures.encode(picture, cbcr, "JPEG", pictures.Writing(quality=quality, lossless_luma=True))
        plain, _ = pictures.encode(picture, cbcr, "JPEG", pictures.Writing(quality=quality))
        assert opened(data).quantization[1] == opened(plain).quantization[1]
        assert opened(data).quantization[0] == opened(picture.original).quantization[0]
        sizes.append(len(data))
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("mode", ["keep", "drop"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_kept_luma_keeps_the_orientation_tag(mode: str, progressive: bool, orientation: int) -> None:
    stored = images.gray(smooth(33, 50))
    cbcr = np.random.default_rng(4).integers(110, 146, (2, 5, 7), dtype=np.uint8)
    exif = Image.Exif()
    exif[274], exif[271] = orientation, "maker"
    data = saved(stored, "JPEG", exif=exif, quality=95, progressive=progressive)
    picture = pictures.read(data)
    assert distance(picture.gray, images.upright(np.asarray(opened(data)), orientation)) == 0
    writing = pictures.Writing(metadata=mode, lossless_luma=True)  # type: ignore[arg-type]
    got, notes = pictures.encode(picture, cbcr, "JPEG", writing)
    assert notes == ()
    assert opened(got).getexif().get(274, 1) == orientation
    assert opened(got).getexif().get(271) == ("maker" if mode == "keep" else None)
    scans = [segment.scan for segment in jpeg.parse(data) if segment.scan]
    assert [segment.scan for segment in jpeg.parse(got) if segment.scan][: len(scans)] == scans
    shown = images.read_rgb(got)
    assert np.abs(shown.astype(int) - chroma.merge(picture.gray, cbcr)).mean() < 2.5
    turned, _ = pictures.encode(picture, cbcr, "JPEG", KEEP)
    assert opened(turned).getexif()[274] == 1
    assert np.abs(images.read_rgb(turned).astype(int) - shown).mean() < 2.5


def test_kept_luma_is_refused_with_a_reason() -> None:
    gray = images.gray(smooth(20, 30))
    cases = {
        saved(smooth(20, 30), "JPEG"): "JPEG",
        saved(gray, "PNG"): "JPEG",
        saved(gray, "JPEG", icc_profile=gray_gamma(1.0)): "JPEG",
        saved(gray, "JPEG"): "PNG",
    }
    for data, format in cases.items():
        picture = pictures.read(data)
        out, notes = pictures.encode(picture, CBCR, format, LOSSLESS)
        assert [note for note in notes if "luma encoded anew" in note], (format, notes)
        assert pictures.read(out).gray.shape == picture.gray.shape


def test_rgb_and_cmyk_jpegs_are_converted_exactly() -> None:
    rgb = smooth(40, 50)
    plain = saved(rgb, "JPEG", quality=95, keep_rgb=True)
    assert simplejpeg.decode_jpeg_header(plain)[2] == "RGB"
    assert distance(pictures.read(plain).gray, images.gray(np.asarray(opened(plain)))) == 0
    for data in (
        saved(Image.fromarray(rgb).convert("CMYK"), "JPEG"),
        saved(Image.fromarray(rgb).convert("CMYK"), "TIFF"),
    ):
        want = images.gray(np.asarray(opened(data).convert("RGB")))
        assert distance(pictures.read(data).gray, want) == 0


def test_impossible_sizes_and_formats_are_named() -> None:
    long = pictures.Picture(np.zeros((1, 70_000), np.uint8), None, "PNG", False)
    with pytest.raises(ValueError, match="70000 x 1 pixels cannot be written as JPEG"):
        pictures.encode(long, NEUTRAL, "JPEG")
    with pytest.raises(ValueError, match="GIF"):
        pictures.encode(long, NEUTRAL, "GIF")


# --- depth, alpha, frames ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_colors_stay_sixteen_bit(suffix: str, channels: int) -> None:
    pixels = deep(channels=channels)
    data = opencv(pixels, suffix)
    if suffix == ".tif" and channels == 4:  # OpenCV does not say what the fourth channel is; our own files do
        data = metadata.insert(data, metadata.Metadata(), "TIFF")[0]
    picture = pictures.read(data)
    assert picture.gray.dtype == np.uint16
    want = np.rint(pixels[..., :3] @ np.array([0.299, 0.587, 0.114])).astype(np.uint16)
    assert distance(picture.gray, want) <= 2
    assert picture.is_color
    assert picture.notes == ()
    if channels == 4:
        assert picture.alpha is not None
        assert distance(picture.alpha, pixels[..., 3]) == 0
    else:
        assert picture.alpha is None
    out, notes = pictures.encode(picture, CBCR, picture.format)
    assert notes == ()
    got = unchanged(out)
    assert got.dtype == np.uint16
    assert distance(got[..., :3], chroma.merge(picture.gray, CBCR)) == 0
    again = pictures.read(out)
    assert distance(again.gray, picture.gray) <= 2
    if channels == 4:
        assert distance(got[..., 3], pixels[..., 3]) == 0
        assert again.alpha is not None
        assert distance(again.alpha, pixels[..., 3]) == 0


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_sixteen_bit_gray_is_kept_or_reduced_with_a_note(format: str) -> None:
    values = deep()[..., 0]
    picture = pictures.read(saved(values, format))
    assert distance(picture.gray, values) == 0
    assert not picture.is_color
    out, notes = pictures.encode(picture, NEUTRAL, format)
    if format in encoders.BITS:
        assert notes == ()
        assert distance(unchanged(out), np.dstack([values] * 3)) == 0
    else:
        assert notes == (f"loss: 16 bits a channel became 8, what {format} holds here",)
        assert distance(images.read_rgb(out)[..., 0], np.rint(values / 257).astype(np.uint8)) == 0


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_sixteen_bit_colors_are_turned_once(suffix: str, orientation: int) -> None:
    pixels = deep()
    format = {".png": "PNG", ".tif": "TIFF"}[suffix]
    exif = metadata.settled(metadata.Metadata(), 24, 40, orientation)
    picture = pictures.read(metadata.insert(opencv(pixels, suffix), exif, format)[0])
    upright = images.upright(pixels, orientation)
    assert distance(picture.gray, np.rint(upright @ np.array([0.299, 0.587, 0.114])).astype(np.uint16)) <= 2
    again = pictures.read(pictures.encode(picture, NEUTRAL, format)[0])
    assert distance(again.gray, picture.gray) == 0


def png(depth: int, kind: int, rows: bytes, width: int, height: int, *more: tuple[bytes, bytes]) -> bytes:
    """A PNG from raw rows (each begins with its filter byte)."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)), *more]
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = [struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def test_sixteen_bit_gray_with_alpha_and_one_transparent_color() -> None:
    values = deep(3, 5, 2)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    picture = pictures.read(png(16, 4, rows, 5, 3))
    assert picture.alpha is not None
    assert distance(picture.gray, values[..., 0]) == 0
    assert distance(picture.alpha, values[..., 1]) == 0
    assert not picture.is_color
    colors = deep(3, 5, 3)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colors)
    picture = pictures.read(png(16, 2, rows, 5, 3, (b"tRNS", colors[1, 2].astype(">u2").tobytes())))
    assert picture.alpha is not None
    assert np.argwhere(picture.alpha == 0).tolist() == [[1, 2]]
    assert set(np.unique(picture.alpha)) == {0, 65535}
    assert picture.gray.dtype == np.uint16


def test_a_damaged_sixteen_bit_file_is_unreadable_not_half_black() -> None:
    data = opencv(deep(), ".png")
    with pytest.raises(images.UnreadableImage, match=r"truncated|damaged"):
        pictures.read(data[: len(data) // 2])


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP", "JPEG", "BMP", "AVIF"])
def test_alpha_is_kept_or_its_loss_noted(format: str) -> None:
    alpha = np.linspace(0, 255, 30 * 40).astype(np.uint8).reshape(30, 40)
    picture = pictures.read(saved(np.dstack([smooth(30, 40), alpha]), "PNG"))
    out, notes = pictures.encode(picture, CBCR, format)
    got = pictures.read(out)
    if format in encoders.WITH_ALPHA:
        assert got.alpha is not None
        assert distance(got.alpha, alpha) <= (8 if format == "AVIF" else 0)
        assert notes == (("loss: transparency is kept about, AVIF writes it with a loss",) if format == "AVIF" else ())
    else:
        assert got.alpha is None
        assert notes == (f"loss: transparency dropped, {format} has none",)


def test_palettes_with_alpha_bilevel_and_float() -> None:
    palette = Image.fromarray(smooth(30, 40)).quantize(16)
    data = saved(palette, "PNG", transparency=bytes(range(0, 256, 16)))
    want = np.asarray(opened(data).convert("RGBA"))
    picture = pictures.read(data)
    assert picture.alpha is not None
    assert distance(picture.alpha, want[..., 3]) == 0
    assert distance(picture.gray, images.gray(np.ascontiguousarray(want[..., :3]))) == 0
    bits = pictures.read(saved(Image.fromarray(smooth(30, 40)[..., 0] > 128), "TIFF"))
    assert set(np.unique(bits.gray)) == {0, 255}
    floats = np.linspace(0, 1, 1200, dtype=np.float32).reshape(30, 40)
    got = pictures.read(saved(floats, "TIFF")).gray
    assert distance(got, np.rint(floats * 65535.0).astype(np.uint16)) <= 1


@pytest.mark.parametrize(("format", "frames"), [("GIF", 3), ("PNG", 2), ("WEBP", 4), ("TIFF", 2), ("MPO", 2)])
def test_first_of_several_pictures_says_so(format: str, frames: int) -> None:
    all_ = [Image.new("RGB", (20, 10), color) for color in ("red", "blue", "lime", "black")[:frames]]
    picture = pictures.read(saved(all_[0], format, save_all=True, append_images=all_[1:]))
    assert abs(int(picture.gray[0, 0]) - 76) <= 2  # of red
    assert picture.notes == (f"first of {frames} pictures; the others are not copied",)
    if format == "MPO":
        out, _ = pictures.encode(picture, CBCR, "JPEG")
        assert b"MPF\0" not in out
        assert opened(out).format == "JPEG"


def test_too_many_pixels_are_refused_from_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    def decoder(*_: object, **__: object) -> None:
        raise AssertionError("decoded")

    files = [saved(smooth(40, 50), format) for format in ("JPEG", "PNG", "TIFF")]
    monkeypatch.setattr(simplejpeg, "decode_jpeg", decoder)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoder)
    for data in files:
        with pytest.raises(images.UnreadableImage, match="50 x 40, expected at most 1,999 in all"):
            pictures.read(data, 1999)
    with pytest.raises(AssertionError, match="decoded"):
        pictures.read(files[0], 2000)
    with pytest.raises(images.UnreadableImage, match="decoded"):
        pictures.read(files[1], 2000)


# --- is it a color picture -----------------------------------------------------------------------------------------


def test_toned_and_noisy_photographs_are_not_color() -> None:
    random = np.random.default_rng(5)
    gray = cv2.GaussianBlur(random.integers(0, 256, (300, 400), dtype=np.uint8), (0, 0), 6)
    gray = cv2.normalize(gray, None, 0, 255, cv2.NORM_MINMAX)
    sepia = np.clip(gray[..., None] * np.array([1.08, 0.92, 0.68]) + np.array([20, 8, 0]), 0, 255).astype(np.uint8)
    noisy = np.clip(sepia + random.normal(0, 4, sepia.shape), 0, 255).astype(np.uint8)
    stamped = np.dstack([gray] * 3)
    stamped[130:170, 150:200] = (200, 30, 40)  # 1.7 % of the pixels
    for rgb, want in ((np.dstack([gray] * 3), False), (sepia, False), (noisy, False), (stamped, True)):
        for data in (saved(rgb, "PNG"), saved(rgb, "JPEG", quality=50), saved(rgb, "WEBP", quality=80)):
            assert pictures.read(data).is_color is want
    assert not pictures.read(saved(gray, "JPEG")).is_color


# --- color profiles ------------------------------------------------------------------------------------------------


def with_gamma(profile: bytes, gamma: float) -> bytes:
    """A profile with a plain exponent in place of sRGB's curve."""
    assert profile.count(CURVE) == 1
    return profile.replace(CURVE, struct.pack(">5i", round(gamma * 65536), 65536, 0, 0, 0))


def rgb_gamma(gamma: float) -> bytes:
    return with_gamma(SRGB, gamma)


def gray_gamma(gamma: float) -> bytes:
    return with_gamma(profiles.gray_profile(), gamma)


def to_srgb(values: np.ndarray, gamma: float) -> np.ndarray:
    """0..1 with that exponent, in sRGB's curve."""
    light = values**gamma
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_profiles_of_srgb_leave_pixels_alone(format: str) -> None:
    settings = {"WEBP": {"lossless": True}}.get(format, {})
    data = saved(smooth(30, 40), format, icc_profile=SRGB, **settings)
    plain = saved(smooth(30, 40), format, **settings)
    assert distance(pictures.read(data).gray, pictures.read(plain).gray) == 0
    assert pictures.read(data).notes == ()
    gray = smooth(30, 40)[..., 0]
    for profile in (SRGB, profiles.gray_profile()):
        picture = pictures.read(saved(gray, "JPEG", icc_profile=profile, quality=100))
        assert picture.original
        assert picture.notes == ()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_other_profiles_are_applied_and_the_copy_has_none(format: str) -> None:
    rgb = smooth(30, 40)
    settings = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(format, {})
    data = saved(rgb, format, icc_profile=rgb_gamma(1.6), **settings)
    want = images.gray(np.rint(to_srgb(rgb / 255, 1.6) * 255).astype(np.uint8))
    picture = pictures.read(data)
    assert distance(picture.gray, want) <= (4 if format == "JPEG" else 2)
    assert distance(picture.gray, images.gray(rgb)) > 20
    assert picture.notes == ()
    out, _ = pictures.encode(picture, CBCR, format)
    assert "icc_profile" not in opened(out).info


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("make", [gray_gamma, rgb_gamma])
def test_profiles_of_gray_pictures(bits: int, make) -> None:
    white = 2**bits - 1
    values = np.linspace(0, white, 64 * 64).astype(np.uint16 if bits == 16 else np.uint8).reshape(64, 64)
    for format in ("PNG", "TIFF"):
        picture = pictures.read(saved(values, format, icc_profile=make(1.6)))
        want = to_srgb(values / white, 1.6) * white
        assert picture.gray.dtype == values.dtype
        off = np.abs(picture.gray - want).max()
        assert off <= {8: 1.01, 16: 2 if make is gray_gamma else 300}[bits]
    with_alpha = saved(np.dstack([values, values]), "PNG", icc_profile=make(1.6)) if bits == 8 else None
    if with_alpha:
        picture = pictures.read(with_alpha)
        assert picture.alpha is not None
        assert distance(picture.alpha, values) == 0
        assert np.abs(picture.gray - want).max() <= 1.01


def test_deep_colors_with_a_profile_become_shallow_with_a_note() -> None:
    image = opencv(deep(), ".png")
    name = b"iCCP"
    content = b"x\0\0" + zlib.compress(rgb_gamma(1.6))
    chunk = struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    picture = pictures.read(image[:33] + chunk + image[33:])
    assert picture.gray.dtype == np.uint8
    assert "16 bits a channel became 8" in picture.notes[0]


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_broken_and_foreign_profiles_are_ignored_with_a_note(format: str) -> None:
    gray = smooth(30, 40)[..., 0]
    for pixels, profile in ((smooth(30, 40), b"nonsense"), (gray, b"nonsense"), (smooth(30, 40), gray_gamma(1.0))):
        picture = pictures.read(saved(pixels, format, icc_profile=profile))
        assert distance(picture.gray, pictures.read(saved(pixels, format)).gray) == 0
        assert len(picture.notes) == 1
        assert "taken as sRGB" in picture.notes[0]


def test_a_png_gamma_is_ignored_with_a_note() -> None:
    data = png(8, 0, b"\0\x80", 1, 1, (b"gAMA", struct.pack(">I", 100_000)))
    assert pictures.read(data).notes == ("loss: gamma 1 ignored, taken as sRGB",)
    assert pictures.read(png(8, 0, b"\0\x80", 1, 1, (b"gAMA", struct.pack(">I", 45_455)))).notes == ()


# --- everything ----------------------------------------------------------------------------------------------------


NOT_OPENED = "BLP FLI FTEX GBR IM IMT MCIDAS MSP PIXAR SPIDER XBM XPM XVTHUMB".split()  # formats.SIGNED says why


@pytest.mark.parametrize("every", [12, pytest.param(1, marks=pytest.mark.slow)])
def test_every_odd_file_is_read_as_pillow_does_or_refused(every: int) -> None:
    """Each, or one of twelve."""
    folder = shared("odd-images")
    lines = (folder / "manifest.tsv").read_text().splitlines()[1:]
    known = {line.split("\t")[0]: line.split("\t")[2:6] for line in lines}
    read, refused = 0, []
    paths = sorted(path for path in folder.rglob("*") if path.is_file())[::every]
    for path in paths:
        name = path.relative_to(folder).as_posix()
        outcome, format, _, size = known.get(name, ("", "", "", ""))
        try:
            picture = pictures.read(path.read_bytes())
        except images.UnreadableImage as refusal:
            refused.append((name, "not opened" if format in NOT_OPENED else outcome, str(refusal)))
            continue
        assert format not in NOT_OPENED, name
        read += 1
        height, width = picture.gray.shape
        assert picture.gray.dtype in (np.uint8, np.uint16), name
        assert picture.alpha is None or picture.alpha.shape == picture.gray.shape, name
        assert picture.alpha is None or picture.alpha.dtype == picture.gray.dtype, name
        if outcome == "ok":
            assert sorted((width, height)) == sorted(int(side) for side in size.split("x")), name
            assert picture.format == ("JPEG" if format == "MPO" else format), name
        if height * width > 4_000_000:  # written like the others, only longer
            continue
        format = picture.format if picture.format in encoders.WRITABLE else "PNG"
        data, _ = pictures.encode(picture, CBCR, format, pictures.Writing(lossless_luma=True))
        assert images.read_rgb(data).shape == (height, width, 3), name
    sums = {name for name, _, reason in refused if "the checksum of its pixels is wrong" in reason}
    bad_sums = "pillow/broken_data_stream.png png-extra/bugfixes/x_interlaced_chck.png pngsuite/xcsn0g01.png"
    assert sums == {name for name in bad_sums.split() if folder / name in paths}  # libpng refuses these too
    assert [line for line in refused if (line[1] == "ok" and line[0] not in sums) or "\n" in line[2]] == []
    assert read > 1000 / every
    assert len(refused) > 100 / every


def test_any_truncation_or_flipped_byte_gives_a_picture_or_unreadable() -> None:
    random = np.random.default_rng(6)
    exif = Image.Exif()
    exif[274], exif[282] = 6, 72.0
    files = [
        saved(smooth(24, 32), "JPEG", exif=exif, icc_profile=SRGB, comment=b"x"),
        saved(smooth(24, 32)[..., 0], "JPEG", exif=exif),
        saved(smooth(24, 32), "PNG", exif=exif, icc_profile=SRGB),
        saved(smooth(24, 32), "TIFF", exif=exif),
        saved(smooth(24, 32), "WEBP", exif=exif),
        opencv(deep(), ".tif"),
    ]
    for data in files:
        for number in range(150):
            bad = bytearray(data)
            for at in random.integers(0, min(len(data), 1200), 2):
                bad[at] = random.integers(256)
            if number % 5 == 0:
                bad = bad[: random.integers(len(bad))]
            try:
                picture = pictures.read(bytes(bad), 10**6)
            except images.UnreadableImage:
                continue
            pictures.encode(picture, CBCR, picture.format, LOSSLESS)


def test_depth_that_is_dropped_is_said() -> None:
    """By Pillow, as it reads PPM, or in writing JPEG 2000."""
    deep = np.full((64, 64, 3), 30000, np.uint16)
    for suffix, format in ((".ppm", "PPM"), (".jp2", "JPEG2000")):
        picture = pictures.read(cv2.imencode(suffix, deep)[1].tobytes())
        assert (picture.gray.dtype == np.uint8) == (format == "PPM")
        notes = (*picture.notes, *pictures.encode(picture, CBCR, format)[1])
        assert sum(note.startswith("loss: 16 bits a channel became 8") for note in notes) == 1
        eight = cv2.imencode(suffix, smooth(64, 64))[1].tobytes()
        assert pictures.read(eight).notes == ()


def test_a_lossless_webp_stays_lossless() -> None:
    alpha = np.arange(1200).astype(np.uint8).reshape(30, 40)
    for planes in (smooth(30, 40), np.dstack([smooth(30, 40), alpha])):
        for lossless in (False, True):
            picture = pictures.read(saved(planes, "WEBP", lossless=lossless))
            assert picture.lossless == lossless
            out = pictures.read(pictures.encode(picture, CBCR, "WEBP")[0])
            assert out.lossless == lossless
            if lossless:
                assert distance(out.gray, picture.gray) <= 1
