"""Every format's kinds of samples, made here or by imagecodecs, held against what went in."""

import io
import itertools
import struct
import zlib
from collections.abc import Callable

import cv2
import imagecodecs
import numpy as np
import pytest
from PIL import Image

from recolor_fast.photographs import decoders, images, jpeg2000, pictures, profiles, samples

HEIGHT, WIDTH = 13, 19


def drawn(bits: int, *more: int, seed: int = 0) -> np.ndarray:
    """(H,W,...) over all values of so many bits, the lowest and the highest among them."""
    values = np.random.default_rng(seed + bits).integers(0, 2**bits, (HEIGHT, WIDTH, *more))
    values[0, 0], values[0, 1] = 0, 2**bits - 1
    return values


def colors(values: np.ndarray) -> np.ndarray:
    """(H,W) or (H,W,N) as (H,W,3)."""
    return (
        values[..., :3]
        if values.ndim == 3 and values.shape[2] >= 3
        else np.dstack([values.reshape(HEIGHT, WIDTH, -1)[..., 0]] * 3)
    )


def assert_read(data: bytes, share: np.ndarray, alpha: np.ndarray | None, name: object, levels: float = 1.01) -> None:
    """Both ways of reading give these colors, (H,W,3) from 0 to 1."""
    picture = pictures.read(data)
    top = np.iinfo(picture.gray.dtype).max
    assert np.abs(picture.gray / top - share @ (0.299, 0.587, 0.114)).max() <= levels / 255, name
    assert np.abs(images.read_rgb(data) / 255 - share).max() <= levels / 255, name
    assert (picture.alpha is None) == (alpha is None), name
    if alpha is not None and picture.alpha is not None:
        assert np.abs(picture.alpha / top - alpha).max() <= 0.51 / 255, name


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "HSV"])
def test_bands_of_a_pillow_image_are_the_whole_of_it(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.fromarray(drawn(8, 4).astype(np.uint8), "RGBA")
    image = (image if "A" in mode else image.convert("RGB")).convert(mode)
    wanted = image.convert({"1": "L", "P": "RGB", "HSV": "RGB"}.get(mode, mode))
    monkeypatch.setattr(decoders, "BAND", 3 * WIDTH)  # three rows of thirteen
    raster = decoders.of_pillow(image)
    planes = np.asarray(wanted).reshape(HEIGHT, WIDTH, -1)
    if raster.alpha is not None:
        assert np.array_equal(raster.alpha, planes[..., -1])
        planes = planes[..., :-1]
    assert np.array_equal(raster.pixels.reshape(planes.shape), planes)


# --- samples as levels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", range(1, 33))
def test_unsigned_samples_as_levels(bits: int) -> None:
    values = np.array([0, 1, 2**bits // 2, 2**bits - 1], np.min_scalar_type(2**bits - 1))
    levels, notes = samples.levels(values, bits)
    top = np.iinfo(levels.dtype).max
    assert levels.dtype == (np.uint8 if bits <= 8 else np.uint16)
    assert np.abs(levels - values / (2**bits - 1) * top).max() <= 0.51
    assert notes == ((f"loss: integer samples of {bits} bits became integers of 16",) if bits > 16 else ())


@pytest.mark.parametrize(
    ("values", "expected", "noted"),
    [
        (np.array([False, True]), [0, 255], False),
        (np.array([0, 32767], np.int16), [0, 65535], False),
        (np.array([-5, 5, 0], np.int16), [0, 65535, 32768], True),
        (np.array([0, 65535, 257], np.int32), [0, 65535, 257], False),
        (np.array([0, 70000, 35000], np.int32), [0, 65535, 32768], True),
        (np.array([0, 0.5, 1], np.float32), [0, 32768, 65535], True),
        (np.array([0, 51, 255], np.float64), [0, 13107, 65535], True),
        (np.array([-1, 1], np.float32), [0, 65535], True),
        (np.array([0, 1000], np.float16), [0, 65535], True),
        (np.array([0, np.nan, 1, np.inf, -np.inf], np.float32), [0, 0, 65535, 65535, 0], True),
        (np.array([np.nan] * 2, np.float32), [0, 0], True),
        (np.array([7.0, 7.0], np.float32), [1799, 1799], True),
        (np.array([], np.float32), [], True),
    ],
)
def test_other_samples_as_levels(values: np.ndarray, expected: list[int], noted: bool) -> None:
    levels, notes = samples.levels(values)
    assert levels.tolist() == expected
    assert bool(notes) == noted
    if values.dtype.byteorder != "|":
        assert samples.levels(values.astype(values.dtype.newbyteorder()))[0].tolist() == expected


def test_alpha_that_is_multiplied_in_is_taken_out() -> None:
    color = np.random.default_rng(0).integers(0, 65536, (20, 20, 3))
    alpha = np.random.default_rng(1).integers(6000, 65536, (20, 20))
    stored = np.rint(color * (alpha[..., None] / 65535)).astype(np.uint16)
    assert np.abs(samples.unmultiplied(stored, alpha.astype(np.uint16)).astype(int) - color).max() <= 6
    assert not samples.unmultiplied(stored, np.zeros((20, 20), np.uint16)).any()


def test_inks_take_light_away() -> None:
    values = drawn(8, 4).astype(np.uint8)
    pillow = np.asarray(Image.frombytes("CMYK", (WIDTH, HEIGHT), values.tobytes()).convert("RGB"))
    assert np.abs(samples.ink_to_rgb(values).astype(int) - pillow).max() <= 1
    assert np.abs(samples.ink_to_rgb(values.astype(np.uint16) * 257) / 257 - pillow).max() <= 1


# --- PNG -----------------------------------------------------------------------------------------------------------

GRAY, RGB, PALETTE, GRAY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
PASSES = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def png(values: np.ndarray, bits: int, kind: int, interlaced: bool, *chunks: tuple[bytes, bytes]) -> bytes:
    """(H,W,N) as a PNG."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    def rows(part: np.ndarray) -> bytes:
        texts = ["".join(f"{value:0{bits}b}" for value in row.ravel().tolist()) for row in part]
        return b"".join(b"\0" + int(t + "0" * (-len(t) % 8), 2).to_bytes(-(-len(t) // 8), "big") for t in texts)

    parts = [values[y::dy, x::dx] for y, x, dy, dx in PASSES] if interlaced else [values]
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, kind, 0, 0, interlaced)
    data = b"".join(rows(part) for part in parts if part.size)
    more = b"".join(chunk(*one) for one in chunks)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize(
    ("kind", "bits"),
    [
        *((GRAY, bits) for bits in (1, 2, 4, 8, 16)),
        *((PALETTE, bits) for bits in (1, 2, 4, 8)),
        *((kind, bits) for kind in (RGB, GRAY_ALPHA, RGB_ALPHA) for bits in (8, 16)),
    ],
)
def test_png(kind: int, bits: int, interlaced: bool, transparent: bool) -> None:
    """Of all color types and depths; with tRNS, where there may be one."""
    values = drawn(bits, {RGB: 3, RGB_ALPHA: 4, GRAY_ALPHA: 2}.get(kind, 1))
    chunks, alpha = [], None
    if kind == PALETTE:
        palette = drawn(8, 3, seed=5).reshape(-1, 3)[: 2**bits]
        values %= len(palette)
        share = palette[values[..., 0]] / 255
        chunks.append((b"PLTE", palette.astype(np.uint8).tobytes()))
        if transparent:
            clear = drawn(8, seed=6).ravel()[: len(palette)]
            chunks.append((b"tRNS", clear.astype(np.uint8).tobytes()))
            alpha = clear[values[..., 0]] / 255
    else:
        share = colors(values / (2**bits - 1))
        if kind in (GRAY_ALPHA, RGB_ALPHA):
            alpha = values[..., -1] / (2**bits - 1)
        elif transparent:
            key = values[3, 4]
            chunks.append((b"tRNS", struct.pack(f">{len(key)}H", *key.tolist())))
            alpha = 1.0 - (values == key).all(axis=2)
    data = png(values, bits, kind, interlaced, *chunks)
    other = imagecodecs.png_decode(data)
    if alpha is None or kind in (GRAY_ALPHA, RGB_ALPHA):
        assert np.abs(colors(other) / np.iinfo(other.dtype).max - share).max() < 1 / 255
    assert_read(data, share, alpha, (kind, bits))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("read", [pictures.read, images.read_rgb])
def test_a_png_is_held_to_the_checksum_of_its_pixels(read: Callable[[bytes], object], bits: int) -> None:
    """Coded data that may say other pixels than were written are refused."""
    data = png(drawn(bits, 3), bits, RGB, False)
    at = data.index(b"IDAT") + 40
    with pytest.raises(images.UnreadableImage, match=r"^damaged: the checksum of its pixels is wrong$"):
        read(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
    assert read(data) is not None


def test_a_moving_png_of_16_bits_is_its_first_picture() -> None:
    values = drawn(16, 3)
    size = struct.pack(">II", WIDTH, HEIGHT)
    control = (b"fcTL", struct.pack(">I", 0) + size + struct.pack(">IIHHBB", 0, 0, 1, 1, 2, 1))
    data = png(values, 16, RGB, False, (b"acTL", struct.pack(">II", 1, 0)), control)
    assert_read(data, values / 65535, None, "moving")


# --- JPEG 2000 -----------------------------------------------------------------------------------------------------


def jp2(values: np.ndarray, bits: int, **settings: object) -> bytes:
    kind = "i" if values.min() < 0 else "u"
    space = "GRAY" if values.shape[2] < 3 else "SRGB"
    stored = values.astype(f"{kind}{1 if bits <= 8 else 2}").squeeze()
    return imagecodecs.jpeg2k_encode(stored, level=0, reversible=True, bitspersample=bits, colorspace=space, **settings)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("bits", [1, 4, 8, 10, 12, 16])
def test_jpeg_2000(bits: int, count: int) -> None:
    values = drawn(bits, count)
    data = jp2(values, bits, codecformat="jp2")
    if bits > 8 and count == 2:
        for read in (pictures.read, images.read_rgb):
            with pytest.raises(images.UnreadableImage, match=f"cannot be read: 2 components of {bits} bits"):
                read(data)
        return
    share = values / (2**bits - 1)
    assert_read(data, colors(share), share[..., -1] if count in (2, 4) else None, (bits, count))
    assert (pictures.read(data).gray.dtype == np.uint16) == (bits > 8)


@pytest.mark.parametrize("bits", [8, 16])
def test_signed_jpeg_2000(bits: int) -> None:
    values = drawn(bits, 1) - 2 ** (bits - 1)
    assert_read(jp2(values, bits, codecformat="jp2"), colors((values + 2 ** (bits - 1)) / (2**bits - 1)), None, bits)
    if bits == 16:
        with pytest.raises(images.UnreadableImage, match="3 signed components of 16 bits"):
            pictures.read(jp2(drawn(16, 3) - 32768, 16, codecformat="jp2"))


def boxed(codestream: bytes, *boxes: tuple[bytes, bytes], count: int = 3, bits: int = 8) -> bytes:
    """A JP2 of a codestream and of boxes of its header (ISO 15444-1, annex I)."""

    def box(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", 8 + len(content)) + name + content

    header = box(b"ihdr", struct.pack(">IIHBBBB", HEIGHT, WIDTH, count, bits - 1, 7, 0, 0))
    header += b"".join(box(*one) for one in boxes)
    head = box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    return head + box(b"jp2h", header) + box(b"jp2c", codestream)


def test_jpeg_2000_with_palette_profile_and_other_orders() -> None:
    indexes = drawn(8, 1)
    palette = drawn(8, 3, seed=4).reshape(-1, 3)
    palette = np.vstack([palette, palette])[:256]
    srgb = (b"colr", struct.pack(">BBBI", 1, 0, 0, 16))
    table = (b"pclr", struct.pack(">HB3B", 256, 3, 7, 7, 7) + palette.astype(np.uint8).tobytes())
    mapped = (b"cmap", b"".join(struct.pack(">HBB", 0, 1, column) for column in range(3)))
    codestream = jp2(indexes, 8, codecformat="j2k")
    assert_read(boxed(codestream, srgb, table, mapped, count=1), palette[indexes[..., 0]] / 255, None, "palette")
    values = drawn(8, 3)
    rgb = jp2(values, 8, codecformat="j2k", mct=False)
    assert_read(boxed(rgb, srgb), values / 255, None, "boxed here")
    turned = (b"cdef", struct.pack(">10H", 3, 0, 0, 3, 1, 0, 2, 2, 0, 1))
    with pytest.raises(images.UnreadableImage, match="components in another order"):
        pictures.read(boxed(rgb, srgb, turned))
    gray = jp2(indexes, 8, codecformat="j2k")
    data = boxed(gray, (b"colr", b"\2\0\0" + profiles.gray_profile()), count=1)
    assert jpeg2000.profile(data) == profiles.gray_profile()
    assert_read(data, colors(indexes / 255), None, "a profile that says sRGB")


def test_subsampled_jpeg_2000_is_refused_unless_it_is_usual_chroma() -> None:
    data = bytearray(jp2(drawn(8, 3), 8, codecformat="j2k", mct=False))
    at = data.find(b"\xff\x4f\xff\x51") + 42
    data[at + 1] = data[at + 4] = data[at + 7] = 4
    with pytest.raises(images.UnreadableImage, match="components of other sizes than the picture"):
        pictures.read(bytes(data))
    data[at + 1] = data[at + 4] = data[at + 7] = 1
    data[at] = 4
    with pytest.raises(images.UnreadableImage, match="components of 5, 8 bits"):
        pictures.read(bytes(data))


# --- PNM, SGI, TGA, BMP, GIF, WebP ---------------------------------------------------------------------------------


@pytest.mark.parametrize("top", [1, 3, 7, 100, 255, 256, 1023, 4095, 40000, 65535])
@pytest.mark.parametrize("count", [1, 3])
def test_pnm(top: int, count: int) -> None:
    values = np.random.default_rng(top).integers(0, top + 1, (HEIGHT, WIDTH, count))
    raw = values.astype(">u2" if top > 255 else ">u1").tobytes()
    text = " ".join(map(str, values.ravel())).encode()
    for magic, content in ((b"P5" if count == 1 else b"P6", raw), (b"P2" if count == 1 else b"P3", text)):
        for gap in (b"\n", b" # a comment\n# and another\n"):
            data = magic + gap + f"{WIDTH} {HEIGHT}\n{top}\n".encode() + content
            assert_read(data, colors(values / top), None, (magic, top))


def test_bitmaps_and_floats_of_pnm() -> None:
    bits = drawn(1)
    assert_read(f"P4 {WIDTH} {HEIGHT}\n".encode() + np.packbits(bits, axis=1).tobytes(), colors(1 - bits), None, "P4")
    text = "\n".join("".join(map(str, row)) for row in bits.tolist())
    assert_read(f"P1 {WIDTH} {HEIGHT}\n{text}".encode(), colors(1 - bits), None, "P1")
    share = np.random.default_rng(0).random((HEIGHT, WIDTH))
    for order, scale in itertools.product("<>", (1, 2)):
        head = f"Pf\n{WIDTH} {HEIGHT}\n{'-' if order == '<' else ''}{scale}\n".encode()
        assert_read(head + share[::-1].astype(f"{order}f4").tobytes(), colors(share), None, (order, scale))


@pytest.mark.parametrize("top", [1, 15, 255, 1000, 65535])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_pam(top: int, count: int) -> None:
    values = np.random.default_rng(top).integers(0, top + 1, (HEIGHT, WIDTH, count))
    kind = ["GRAYSCALE", "GRAYSCALE_ALPHA", "RGB", "RGB_ALPHA"][count - 1]
    head = f"P7\n# a comment\nWIDTH {WIDTH}\nHEIGHT {HEIGHT}\nDEPTH {count}\nMAXVAL {top}\nTUPLTYPE {kind}\nENDHDR\n"
    data = head.encode() + values.astype(">u2" if top > 255 else "u1").tobytes()
    share = values / top
    assert_read(data, colors(share), share[..., -1] if count in (2, 4) else None, (top, count))
    assert images.header(io.BytesIO(data)) == ("PAM", WIDTH, HEIGHT)
    for wrong, word in ((data[:-1], "truncated"), (data.replace(b"DEPTH", b"DEPT"), "PAM|not an image")):
        with pytest.raises(images.UnreadableImage, match=word):
            pictures.read(wrong)


@pytest.mark.parametrize("order", "<>")
def test_pfm_of_colors(order: str) -> None:
    share = np.random.default_rng(1).random((HEIGHT, WIDTH, 3))
    head = f"PF\n{WIDTH} {HEIGHT}\n{'-' if order == '<' else ''}1.0\n".encode()
    assert_read(head + share[::-1].astype(f"{order}f4").tobytes(), share, None, order)


@pytest.mark.parametrize("count", [1, 3, 4])
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("packed", [False, True])
def test_sgi(count: int, size: int, packed: bool) -> None:
    values = drawn(8 * size, count)
    planes = np.moveaxis(values, 2, 0)[:, ::-1].astype(f">u{size}")
    head = struct.pack(
        ">HBBHHHHii84x", 474, packed, size, 2 if count == 1 else 3, WIDTH, HEIGHT, count, 0, 256**size - 1
    ).ljust(512, b"\0")
    body = planes.tobytes()
    if packed:  # each row one literal run
        rows = [np.array([128 + WIDTH, *row, 0], f">u{size}").tobytes() for row in planes.reshape(-1, WIDTH)]
        start = 512 + 8 * len(rows) + np.cumsum([0, *map(len, rows)])[:-1]
        body = struct.pack(f">{2 * len(rows)}I", *start, *map(len, rows)) + b"".join(rows)
    share = values / (256**size - 1)
    alpha = share[..., 3] if count == 4 and size == 1 else None
    if count == 4 and size == 2:
        share = share[..., :3]
        assert np.abs(images.read_rgb(head + body) / 255 - share).max() <= 1.01 / 255
    else:
        assert_read(head + body, colors(share), alpha, (count, size), levels=1.2)
    noted = any("16 bits a channel became 8" in note for note in pictures.read(head + body).notes)
    assert noted == (size == 2)


@pytest.mark.parametrize("corner", [0x00, 0x10, 0x20, 0x30])
@pytest.mark.parametrize("packed", [False, True])
def test_tga(corner: int, packed: bool) -> None:
    """From each corner: gray, gray with alpha, 16, 24 and 32 bits, palettes."""
    values = drawn(8, 4)
    few = values >> 3
    palette = drawn(8, 3, seed=2).reshape(-1, 3)[:247]
    index = drawn(8) % 247
    words = (few[..., 0] << 10 | few[..., 1] << 5 | few[..., 2]).astype("<u2").view(np.uint8).reshape(HEIGHT, WIDTH, 2)
    clear = values.copy()
    clear[..., 3] = 0
    kinds = [
        (3, 8, 0, values[..., :1], colors(values[..., 0] / 255), None, b""),
        (3, 16, 8, values[..., :2], colors(values[..., 0] / 255), values[..., 1] / 255, b""),
        (2, 24, 0, values[..., 2::-1], values[..., :3] / 255, None, b""),
        (2, 32, 8, values[..., [2, 1, 0, 3]], values[..., :3] / 255, values[..., 3] / 255, b""),
        (2, 32, 0, clear[..., [2, 1, 0, 3]], values[..., :3] / 255, None, b""),  # no bit is alpha, it says
        (2, 16, 0, words, few[..., :3] / 31, np.ones((HEIGHT, WIDTH)), b""),
        (1, 8, 0, index[..., None], palette[index] / 255, None, palette[:, ::-1].astype(np.uint8).tobytes()),
    ]
    for kind, bits, hidden, stored, share, alpha, table in kinds:
        rows = stored[:, ::-1] if corner & 0x10 else stored
        rows = (rows if corner & 0x20 else rows[::-1]).astype(np.uint8)
        body = b"".join(bytes([WIDTH - 1]) * packed + row.tobytes() for row in rows)
        head = struct.pack("<BBBHHB", 0, bool(table), kind + 8 * packed, 0, len(table) // 3, 24 if table else 0)
        head += struct.pack("<HHHHBB", 0, 0, WIDTH, HEIGHT, bits, corner | hidden)
        data = head + table + body + bytes(8) + b"TRUEVISION-XFILE.\0"
        assert_read(data, share, alpha, (kind, bits), levels=1.5)


@pytest.mark.parametrize("format", ["GIF", "BMP", "WEBP"])
def test_what_is_lossless_is_what_the_second_decoder_reads(format: str) -> None:
    values = drawn(8, 3).astype(np.uint8)
    file = io.BytesIO()
    image = Image.fromarray(values)
    image.save(file, format, **({"lossless": True} if format == "WEBP" else {}))
    other = imagecodecs.imread(file.getvalue()) if format != "GIF" else imagecodecs.gif_decode(file.getvalue())
    if format == "BMP":
        other = cv2.cvtColor(
            cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB
        )
    assert_read(file.getvalue(), other.reshape(-1, HEIGHT, WIDTH, other.shape[-1])[0][..., :3] / 255, None, format)
