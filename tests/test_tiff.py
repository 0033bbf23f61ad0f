"""TIFF files of every kind, written by tifffile or here byte by byte, held against what went in and what tifffile and
imagecodecs read out."""

import io
import itertools
import struct
import zlib
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from recolor_fast.photographs import images, opening, pictures, tiff

HEIGHT, WIDTH = 37, 53  # no multiple of a tile, a byte or a subsampling
KINDS = [
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
]
LOSSLESS: list[tuple[str | None, bool]] = [  # compression, and whether with a predictor
    (None, False),
    ("lzw", False),
    ("lzw", True),
    ("zlib", False),
    ("zlib", True),
    ("packbits", False),
    ("lzma", True),
    ("zstd", True),
]


def noise(kind: str, *more: int) -> np.ndarray:
    """(H,W,...) over all values of a type, its lowest and highest among them; floats from 0 to 1."""
    random = np.random.default_rng(len(kind) + sum(more))
    share = random.random((HEIGHT, WIDTH, *more))
    share.flat[:2] = 0, 1
    if kind == "bool":
        return share > 0.5
    if kind.startswith("float"):
        return share.astype(kind)
    low, high = float(np.iinfo(kind).min), float(np.iinfo(kind).max)
    values = np.rint(low + share * (high - low))
    return np.minimum(values, np.nextafter(high, 0) if "64" in kind else high).astype(kind)


def shares(samples: np.ndarray, bits: int = 0) -> np.ndarray:
    """The samples of `noise` from 0, black, to 1."""
    if samples.dtype.kind in "bf":
        return samples.astype(float)
    if samples.dtype == np.int8:  # taken as unsigned, as Pillow and libtiff take them
        return samples.view(np.uint8) / 255
    low = np.iinfo(samples.dtype).min
    return (samples.astype(float) - low) / (2 ** (bits or 8 * samples.dtype.itemsize) - 1)


def luminance(rgb: np.ndarray) -> np.ndarray:
    return rgb @ (0.299, 0.587, 0.114)


def written(samples: np.ndarray, **settings: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, samples, **settings)  # type: ignore[arg-type]
    return file.getvalue()


def assert_read(data: bytes, expected: np.ndarray, name: object, exact: bool = True) -> pictures.Picture:
    """Both ways of reading a file give this luminance, (H,W) from 0 to 1."""
    picture = pictures.read(data)
    top = np.iinfo(picture.gray.dtype).max
    assert picture.gray.shape == expected.shape, name
    assert np.abs(picture.gray / top - expected).max() <= (0.75 / top if exact else 1.01 / 255), name
    seen = images.gray(images.read_rgb(data))
    assert np.abs(seen / 255 - expected).max() <= 1.01 / 255, name
    return picture


def layouts() -> Iterator[dict[str, object]]:
    """Every byte order, size of offsets and shape of segments."""
    for order, big, shape in itertools.product(
        "<>", (False, True), ({"tile": (16, 32)}, {"rowsperstrip": 5}, {"rowsperstrip": HEIGHT})
    ):
        yield {"byteorder": order, "bigtiff": big, **shape}


@pytest.mark.parametrize("kind", KINDS)
def test_gray_of_every_type_in_every_layout(kind: str) -> None:
    samples = noise(kind)
    for number, (where, photometric) in enumerate(itertools.product(layouts(), ("minisblack", "miniswhite"))):
        compressions = LOSSLESS if number % 5 == 0 else LOSSLESS[number % 8 : number % 8 + 1]
        for compression, predictor in compressions:
            if predictor and kind in ("bool", "float16", "uint64", "int64"):
                continue  # tifffile writes none
            settings = where | {"photometric": photometric, "compression": compression, "predictor": predictor}
            data = written(samples, **settings)
            assert np.array_equal(tifffile.imread(io.BytesIO(data)), samples), settings
            black = shares(samples)
            assert_read(data, black if photometric == "minisblack" else 1 - black, settings)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "uint32", "int16", "float32", "float64"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_colors_of_every_type_in_every_layout(kind: str, planar: str) -> None:
    samples = noise(kind, 3)
    stored = samples if planar == "contig" else np.moveaxis(samples, 2, 0)
    for number, where in enumerate(layouts()):
        compression, predictor = LOSSLESS[number % 8]
        settings = where | {"photometric": "rgb", "planarconfig": planar, "compression": compression}
        data = written(stored, predictor=predictor, **settings)
        assert np.array_equal(tifffile.imread(io.BytesIO(data)), stored), settings
        assert_read(data, luminance(shares(samples)), settings, exact=False)
        rgb = images.read_rgb(data)
        assert np.abs(rgb / 255 - shares(samples)).max() <= 0.51 / 255, settings


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("colors", [1, 3])
def test_alpha_and_other_samples_beyond_the_colors(kind: str, planar: str, colors: int) -> None:
    samples = noise(kind, colors + 2)
    photometric = "minisblack" if colors == 1 else "rgb"
    for extra in itertools.product(("unspecified", "assocalpha", "unassalpha"), repeat=2):
        stored = samples.copy()
        hidden = next((number for number, name in enumerate(extra) if "alpha" in name), None)
        alpha = None if hidden is None else shares(samples[..., colors + hidden])
        if hidden is not None and extra[hidden] == "assocalpha":
            assert alpha is not None
            top = 1 if kind == "float32" else np.iinfo(kind).max
            stored[..., :colors] = (shares(samples[..., :colors]) * alpha[..., None] * top).astype(kind)
        data = written(
            stored if planar == "contig" else np.moveaxis(stored, 2, 0),
            photometric=photometric,
            planarconfig=planar,
            extrasamples=extra,
            compression="lzw",
        )
        picture = pictures.read(data)
        top = np.iinfo(picture.gray.dtype).max
        assert (picture.alpha is None) == (alpha is None), extra
        seen = shares(samples[..., :colors])
        truth = luminance(seen) if colors == 3 else seen[..., 0]
        where = np.ones(truth.shape, bool) if alpha is None else alpha > 0.5  # below, a color of 8 bits is not known
        assert np.abs(picture.gray / top - truth)[where].max() <= (3.5 if "assocalpha" in extra else 1.01) / 255, extra
        if alpha is not None and picture.alpha is not None:
            assert picture.alpha.dtype == picture.gray.dtype
            assert np.abs(picture.alpha / top - alpha).max() <= 0.75 / top, extra
        assert images.read_rgb(data).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float64"])
def test_every_orientation_is_turned_once(kind: str, orientation: int) -> None:
    samples = noise(kind, 3)
    data = written(samples, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    assert_read(data, images.upright(luminance(shares(samples)), orientation), orientation, exact=False)
    with opening.opened(data) as image:
        assert image.size == (WIDTH, HEIGHT)
    header = images.header(io.BytesIO(data))
    assert header == ("TIFF", *((HEIGHT, WIDTH) if orientation > 4 else (WIDTH, HEIGHT)))


# --- what tifffile does not write ----------------------------------------------------------------------------------


def packed(values: np.ndarray, bits: int) -> bytes:
    """Rows (H,N) of unsigned values, each row's bits in order and filled up to a byte."""
    rows = []
    for row in values:
        text = "".join(f"{value:0{bits}b}" for value in row.tolist())
        text += "0" * (-len(text) % 8)
        rows.append(int(text, 2).to_bytes(len(text) // 8, "big"))
    return b"".join(rows)


def made(
    strips: Sequence[bytes], bits: int, photometric: int, order: str = "<", count: int = 1, **more: tuple[int, ...]
) -> bytes:
    """A TIFF of WIDTH x HEIGHT, one strip or one a plane; `more`: further tags, t338=(2,), of 16 bits each."""
    tags: dict[int, tuple[int, ...]] = {
        256: (WIDTH,),
        257: (HEIGHT,),
        258: (bits,) * count,
        259: (1,),
        262: (photometric,),
        277: (count,),
        278: (HEIGHT,),
    } | {int(name[1:]): values for name, values in more.items()}
    body = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 0)
    offsets = []
    for strip in strips:
        offsets.append(len(body))
        body += strip + bytes(len(strip) % 2)
    longs = {273: tuple(offsets), 279: tuple(len(strip) for strip in strips)}
    table, tail = b"", b""
    at = len(body) + 2 + 12 * (len(tags) + 2) + 4
    for tag, values in sorted((tags | longs).items()):
        letter, kind = ("I", 4) if tag in longs else ("H", 3)
        value = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(value) > 4:
            value, tail = struct.pack(order + "I", at + len(tail)), tail + value
        table += struct.pack(order + "HHI", tag, kind, len(values)) + value.ljust(4, b"\0")
    body = body[:4] + struct.pack(order + "I", len(body)) + body[8:]
    return body + struct.pack(order + "H", len(tags) + 2) + table + bytes(4) + tail


REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 15, 16, 20, 24, 32])
@pytest.mark.parametrize("photometric", [0, 1, 2])
def test_unsigned_samples_of_every_depth(bits: int, photometric: int) -> None:
    count = 3 if photometric == 2 else 1
    values = np.random.default_rng(bits).integers(0, 2**bits, (HEIGHT, WIDTH * count))
    values[0, :2] = 0, 2**bits - 1
    expected = (values / (2**bits - 1)).reshape(HEIGHT, WIDTH, count)
    expected = luminance(expected) if count == 3 else expected[..., 0]
    if photometric == 0:
        expected = 1 - expected
    for order in "<>":
        strip = packed(values, bits)
        if order == "<" and bits == 24:
            continue  # refused
        if order == "<" and bits in (16, 32):
            strip = b"".join(strip[at : at + bits // 8][::-1] for at in range(0, len(strip), bits // 8))
        for fill in (1, 2):
            stored = strip.translate(REVERSED) if fill == 2 else strip
            data = made([stored], bits, photometric, order, count, t266=(fill,))
            assert_read(data, expected, (order, fill), exact=count == 1)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_palettes(bits: int) -> None:
    values = np.random.default_rng(bits).integers(0, 2**bits, (HEIGHT, WIDTH))
    colors = np.random.default_rng(9).integers(0, 256, (3, 2**bits))
    colors[0, 0] = 255
    expected = luminance(colors.T[values] / 255)
    strip = packed(values, bits) if bits < 16 else values.astype("<u2").tobytes()
    for factor in (1, 256, 257):  # old writers, and two ways to make 16 bits of 8
        if bits < 16:
            data = made([strip], bits, 3, t320=tuple((colors * factor).ravel().tolist()))
        else:
            data = written(values.astype("<u2"), photometric="palette", colormap=(colors * factor).astype(np.uint16))
        assert_read(data, expected, factor, exact=False)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planar", [1, 2])
def test_inks(bits: int, planar: int) -> None:
    values = noise(f"uint{bits}", 5)
    share = shares(values)
    expected = luminance((1 - share[..., :3]) * (1 - share[..., 3:4]))
    settings = {"photometric": "separated", "extrasamples": ["unassalpha"], "compression": "zlib"}
    stored = values if planar == 1 else np.moveaxis(values, 2, 0)
    data = written(stored, planarconfig="contig" if planar == 1 else "separate", **settings)
    picture = assert_read(data, expected, planar, exact=False)
    assert picture.alpha is not None


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("photometric", [8, 9])
def test_lab(bits: int, photometric: int) -> None:
    """Against a computation of its own, for colors within sRGB."""
    lab = np.stack(np.meshgrid(np.linspace(30, 70, WIDTH), np.linspace(-15, 15, HEIGHT)), axis=-1)
    lab = np.dstack([lab, np.full((HEIGHT, WIDTH), 10.0)])
    scale = {(8, 8): 255, (8, 9): 255, (16, 8): 65535, (16, 9): 65280}[bits, photometric] / 100
    ab = np.rint(lab[..., 1:] * (1 if bits == 8 else 256)).astype(int)
    ab += 0 if photometric == 8 else 2 ** (bits - 1)
    values = np.dstack([np.rint(lab[..., :1] * scale).astype(int), ab % 2**bits]).astype(f"<u{bits // 8}")
    data = made([values.tobytes()], bits, photometric, count=3)
    fy = (lab[..., 0] + 16) / 116
    xyz = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], axis=-1)
    xyz = np.where(xyz > 6 / 29, xyz**3, 3 * (6 / 29) ** 2 * (xyz - 4 / 29)) * (0.9642, 1, 0.8249)
    linear = (
        xyz
        @ np.linalg.inv(
            [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.7141]]  # sRGB's for D50
        ).T
    )
    rgb = np.where(linear > 0.0031308, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055, 12.92 * linear)
    picture = pictures.read(data)
    assert np.abs(picture.gray / 255 - luminance(rgb.clip(0, 1))).max() <= 2 / 255
    assert any("16 bits" in note for note in picture.notes) == (bits == 16)


def test_samples_of_five_kinds_of_range() -> None:
    """Floats of 0..255, floats a little beyond 0..1, and signed integers that say no white."""
    share = shares(noise("uint16"))
    assert_read(written((share * 255).astype(np.float32)), share, "0..255")
    beyond = share.copy()
    beyond[3, :5] = 1.3, 4, -0.2, 1.01, 9
    assert_read(written(beyond.astype(np.float32)), beyond.clip(0, 1), "beyond")
    picture = assert_read(written((share * 5000 - 1000).astype(np.float32)), share, "any", exact=False)
    assert picture.notes == (
        "float samples: black is -1000, white 4000",
        "loss: float samples of 32 bits became integers of 16",
    )
    assert_read(written((share * 32767).astype(np.int16)), share, "no negative one", exact=False)
    assert_read(written((share * 65535).astype(np.uint32)), share, "16 in 32 bits", exact=False)


# --- codecs that are pictures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite", "rgb", "ycbcr"])
@pytest.mark.parametrize("tile", [None, (16, 32)])
def test_jpeg_inside(photometric: str, tile: tuple[int, int] | None) -> None:
    smooth = cv2.GaussianBlur(noise("uint8", 3), (0, 0), 5)
    stored = smooth if photometric in ("rgb", "ycbcr") else smooth[..., 0]
    data = written(stored, photometric=photometric, compression="jpeg", compressionargs={"level": 95}, tile=tile)
    other = tifffile.imread(io.BytesIO(data)) / 255
    truth = luminance(other) if other.ndim == 3 else 1 - other if photometric == "miniswhite" else other
    assert_read(data, truth, photometric, exact=False)


@pytest.mark.parametrize("told", [True, False])
def test_old_style_jpeg_inside(told: bool) -> None:
    """A whole JPEG file, which a tag of its own points to; the number of samples told or left out."""
    file = io.BytesIO()
    smooth = cv2.GaussianBlur(noise("uint8", 3), (0, 0), 5)
    Image.fromarray(smooth).save(file, "JPEG", quality=95, subsampling=0)
    jpeg = file.getvalue()
    data = made([jpeg], 8, 6, count=3, t259=(6,), t512=(1,), t513=(8,), t514=(len(jpeg),), t530=(1, 1))
    if not told:
        at = data.index(struct.pack("<HHI", 277, 3, 1))
        data = data[:at] + struct.pack("<HHI", 276, 3, 1) + data[at + 8 :]
    truth = luminance(np.asarray(Image.open(file)) / 255)
    assert_read(data, truth, told, exact=False)


def test_webp_inside() -> None:
    for count in (3, 4):
        samples = noise("uint8", count)
        data = written(
            samples, photometric="rgb", compression="webp", tile=(16, 32), compressionargs={"lossless": True}
        )
        assert np.array_equal(tifffile.imread(io.BytesIO(data)), samples)
        picture = pictures.read(data)
        where = slice(None) if picture.alpha is None else picture.alpha > 0  # elsewhere WebP keeps no color
        assert np.abs(picture.gray / 255 - luminance(shares(samples[..., :3])))[where].max() <= 1 / 255


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
@pytest.mark.parametrize("photometric", [0, 1])
def test_fax(compression: str, photometric: int) -> None:
    bits = cv2.GaussianBlur(noise("uint8"), (0, 0), 3) > 127
    file = io.BytesIO()
    Image.fromarray(bits).save(file, "TIFF", compression=compression, tiffinfo={262: photometric})
    with opening.opened(file.getvalue()) as image:
        stored = tiff.layout(image.tag_v2).photometric  # type: ignore[attr-defined]
    other = tifffile.imread(io.BytesIO(file.getvalue()))
    assert_read(file.getvalue(), (other if stored == 1 else ~other).astype(float), compression)


@pytest.mark.parametrize(("horizontal", "vertical"), [(1, 1), (2, 1), (2, 2)])
def test_ycbcr_without_jpeg(horizontal: int, vertical: int) -> None:
    """Data units of subsampled YCbCr (TIFF 6.0, section 21)."""
    height, width = 36, 52
    y = cv2.GaussianBlur(noise("uint8"), (0, 0), 2)[:height, :width]
    units = y.reshape(height // vertical, vertical, width // horizontal, horizontal).swapaxes(1, 2)
    chroma = np.full((*units.shape[:2], 2), 128, np.uint8)
    strip = np.concatenate([units.reshape(*units.shape[:2], -1), chroma], axis=2).tobytes()
    data = made([strip], 8, 6, count=3, t256=(width,), t257=(height,), t278=(height,), t530=(horizontal, vertical))
    assert_read(data, y / 255, (horizontal, vertical), exact=False)


# --- what is refused -----------------------------------------------------------------------------------------------

GRAY = noise("uint8").tobytes()


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (made([GRAY], 8, 1, t259=(34661,)), r"compression 34661 \(JBIG\)"),
        (made([GRAY], 16, 1, t259=(6,)), "1 sample of 16 bits, old-style JPEG compression"),
        (made([GRAY * 4], 16, 6, count=2), "2 samples of 16 bits"),
        (made([GRAY * 3], 16, 6, count=3), "YCbCr, 3 samples of 16 bits"),
        (made([GRAY * 3], 8, 2, count=3, t258=(5, 6, 5)), "3 samples of 5, 6, 5 bits"),
        (made([GRAY * 8], 48, 1), "1 sample of 48 bits"),
        (made([GRAY * 3], 24, 1), "1 sample of 24 bits, lowest byte first"),
        (made([GRAY], 8, 1, t317=(2,)), "predictor 2 without the compression it is for"),
        (made([GRAY * 8], 64, 1, t339=(5,)), "complex"),
        (made([GRAY * 5], 8, 5, count=5, t332=(2,)), "inks, 5 samples of 8 bits"),
        (made([GRAY], 8, 4), "a transparency mask, 1 sample of 8 bits"),
        (made([GRAY], 8, 1, t259=(5,), t317=(7,)), "predictor 7"),
    ],
)
@pytest.mark.parametrize("read", [images.read_rgb, pictures.read])
def test_other_kinds_are_named(read, data: bytes, word: str) -> None:
    with pytest.raises(images.UnreadableImage, match=f"^a TIFF of a kind that cannot be read: .*{word}"):
        read(data)
    assert images.header(io.BytesIO(data)) == ("TIFF", WIDTH, HEIGHT)  # and so no folder takes it for no image


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "lzma", "zstd"])
def test_data_that_end_early_are_refused_not_filled(compression: str | None) -> None:
    samples = noise("uint16", 3)
    for settings in ({"rowsperstrip": 5}, {"tile": (16, 32)}, {"planarconfig": "separate"}):
        stored = np.moveaxis(samples, 2, 0) if "planarconfig" in settings else samples
        data = written(stored, photometric="rgb", compression=compression, **settings)
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages[0]
            last = max(page.dataoffsets)  # type: ignore[union-attr]
        assert last > len(data) // 3  # the directory comes first
        for length in (len(data) - 200, last, last - 10):
            with pytest.raises(images.UnreadableImage):
                pictures.read(data[:length])


def test_tiles_that_are_said_to_be_strips() -> None:
    """As old writers have it: the tags of strips, and the sides of a tile."""
    samples = noise("uint8")
    tiles = [
        np.pad(samples[y : y + 16, x : x + 32], ((0, max(0, y + 16 - HEIGHT)), (0, max(0, x + 32 - WIDTH)))).tobytes()
        for y in range(0, HEIGHT, 16)
        for x in range(0, WIDTH, 32)
    ]
    assert_read(made(tiles, 8, 1, t322=(32,), t323=(16,)), shares(samples), "tiles")


def test_a_jpeg_inside_of_what_is_refused_is_not_read_instead() -> None:
    jpeg = io.BytesIO()
    Image.fromarray(noise("uint8")).save(jpeg, "JPEG")
    data = made([jpeg.getvalue()], 8, 1, t259=(34661,))
    with pytest.raises(images.UnreadableImage, match="JBIG"):
        pictures.read(data, strict=False)


def test_a_loop_of_directories_ends() -> None:
    data = bytearray(made([GRAY], 8, 1))
    at = int.from_bytes(data[4:8], "little")
    entries = int.from_bytes(data[at : at + 2], "little")
    data[at + 2 + 12 * entries : at + 6 + 12 * entries] = at.to_bytes(4, "little")
    assert images.frames(bytes(data)) == 1
    assert_read(bytes(data), shares(noise("uint8")), "loop")


def test_pages_are_counted_and_the_first_is_read() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file, bigtiff=True, byteorder=">") as writer:
        for kind in ("float32", "uint16", "uint8"):
            writer.write(noise(kind), photometric="miniswhite")
    assert images.frames(file.getvalue()) == 3
    assert_read(file.getvalue(), 1 - shares(noise("float32")), "the first of three")


@pytest.mark.parametrize("length", [0, 2, 4, 7, 8, 12, 15])
@pytest.mark.parametrize("head", [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"])
def test_a_header_alone_is_no_image(head: bytes, length: int) -> None:
    data = (head + bytes(16))[:length]
    with pytest.raises(images.UnreadableImage):
        pictures.read(data)


# --- damage and losses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", [1, 2])
def test_deflate_is_held_to_its_checksum(fill: int) -> None:
    """Of a stream that decodes to other pixels after a bit has flipped, only the checksum behind it tells."""
    stream = zlib.compress(GRAY, 0)  # stored: every bit of it is a pixel's
    flipped = bytearray(stream)
    flipped[50] ^= 4
    turned = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256)) if fill == 2 else None
    tags = {"t259": (8,), "t266": (fill,)}
    sound = made([stream.translate(turned)], 8, 1, **tags)
    assert pictures.read(sound).gray.tobytes() == GRAY
    for data in (bytes(flipped), stream[:-1] + b"\0"):
        with pytest.raises(images.UnreadableImage, match=r"^damaged: .*incorrect data check$"):
            pictures.read(made([data.translate(turned)], 8, 1, **tags))
    with pytest.raises(images.UnreadableImage, match=r"^truncated: "):
        pictures.read(made([stream[:-40].translate(turned)], 8, 1, **tags))


@pytest.mark.parametrize(
    ("samples", "loss"),
    [
        (shares(noise("uint16")).astype(np.float32), "float samples of 32 bits became integers of 16"),
        (noise("uint32"), "integer samples of 32 bits became integers of 16"),
        (noise("uint8", 2), "1 of its 2 samples a pixel hold no color and are not copied"),
        (noise("uint16"), ""),
    ],
)
def test_what_of_the_samples_is_not_written_is_a_loss(samples: np.ndarray, loss: str) -> None:
    data = written(samples, photometric="minisblack", planarconfig="contig", metadata=None)
    notes = pictures.read(data).notes
    assert notes == ((f"loss: {loss}",) if loss else ())
