"""TIFF files (TIFF 6.0 and its supplements, BigTIFF): what they say, and their samples as pixels.

Pillow parses the directory, and its libtiff decompresses, to bytes. What the bytes mean is told here (white level,
colors, alpha) and in tiff_segments.py (depth, sign, byte order, planes, tiles, predictor), since neither Pillow nor
OpenCV know every combination and both misread some without a word. Left to Pillow whole is JPEG. Every other kind is
refused, by name.
"""

import io
import struct
from typing import IO, Any

import numpy as np
from PIL import Image, ImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from recolor_fast.photographs import directories, samples
from recolor_fast.photographs.samples import Raster, UnreadableImage
from recolor_fast.photographs.tiff_segments import BILEVEL, JPEGS, PACKED, PREDICTED, WEBP, Layout, stored_samples

NAMES = {  # of compressions that are not read, or not everywhere
    6: "old-style JPEG",
    7: "JPEG",
    32766: "NeXT",
    32771: "CCITT, word-aligned",
    32809: "ThunderScan",
    32908: "PixarFilm",
    32909: "PixarLog",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34661: "JBIG",
    34676: "SGI LogLuv",
    34677: "SGI LogLuv",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG of a camera's raw data",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
COLORS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3, 9: 3}  # samples by photometric interpretation
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, INK, YCBCR, LAB, ICC_LAB = COLORS
OTHERS = {4: "a transparency mask", 10: "ITU Lab", 32803: "a camera's raw data", 32844: "LogL", 32845: "LogLuv"}
KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}  # of SampleFormat
UNSIGNED, SIGNED = 1, 2
DEPTHS = {"u": (*range(1, 33), 64), "i": (16, 32, 64), "f": (16, 32, 64)}
ORIENTATION = 274


class File(ImageFile.ImageFile):
    """A TIFF of any kind as Pillow's image class: size, tags, profile and pages. `read` gives the pixels."""

    format = "TIFF"

    def _open(self) -> None:
        assert self.fp is not None
        self.tag_v2 = directory(self.fp)
        where = layout(self.tag_v2)
        if where.width < 1 or where.height < 1:
            raise SyntaxError("a TIFF without width and height")
        self._size = where.width, where.height
        self._mode = "L" if COLORS.get(where.photometric) == 1 and where.photometric != PALETTE else "RGB"
        self.info |= {
            key: value
            for key, tag in (("icc_profile", 34675), ("xmp", 700))
            if isinstance(value := _value(self.tag_v2, tag), bytes)
        }
        if dpi := _dpi(self.tag_v2):
            self.info["dpi"] = dpi

    def getexif(self) -> Image.Exif:
        """The orientation alone."""
        exif = Image.Exif()
        exif[ORIENTATION] = _one(self.tag_v2, ORIENTATION, 1)
        return exif

    @property
    def n_frames(self) -> int:
        """How many pages the file has, as far as its directories can be followed."""
        assert self.fp is not None
        return len(list(directories.chain(self.fp)))


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins so, 4 bytes or more, is a TIFF."""
    return head[:4] in directories.LAYOUTS


def directory(file: IO[bytes]) -> ImageFileDirectory_v2:
    """The tags of the first page. Raises SyntaxError where the file is no TIFF or ends before its directory, and what
    Pillow runs into where it is broken."""
    try:
        form, at = directories.first(file)
    except ValueError:
        raise SyntaxError("no TIFF") from None
    except struct.error:
        raise SyntaxError("a TIFF that ends in its header") from None
    head = b"II+\0" + bytes(12) if form.big else b"II*\0" + bytes(4)  # by that of a MM file Pillow knows no BigTIFF
    tags = ImageFileDirectory_v2(head, prefix=b"II" if form.order == "<" else b"MM")
    file.seek(at)
    tags.load(file)
    return tags


def _value(tags: ImageFileDirectory_v2, tag: int, default: Any = None) -> Any:
    try:
        return tags.get(tag, default)
    except Exception:  # Pillow's parsing raises whatever it runs into
        return default


def _many(tags: ImageFileDirectory_v2, tag: int) -> tuple[int, ...]:
    value = _value(tags, tag, ())
    values = value if isinstance(value, tuple) else (value,)
    return tuple(int(one) for one in values if isinstance(one, int | float))


def _one(tags: ImageFileDirectory_v2, tag: int, default: int) -> int:
    return next(iter(_many(tags, tag)), default)


def _dpi(tags: ImageFileDirectory_v2) -> tuple[float, float] | None:
    x, y = _value(tags, 282), _value(tags, 283)
    try:
        by = {1: 0.0, 2: 1.0, 3: 2.54}[_one(tags, 296, 2)]
        return (float(x) * by, float(y) * by) if by else None
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def layout(tags: ImageFileDirectory_v2) -> Layout:
    """What the tags say of the samples, taken as it is said: `read` judges it."""
    ycbcr = _one(tags, 262, 0) == YCBCR
    count = _one(tags, 277, 3 if ycbcr else 1)  # left out by some writers of old-style JPEG
    bits, formats = (set(_many(tags, tag)[:count] or (1,)) for tag in (258, 339))
    if (bits, formats) == ({8}, {SIGNED}):  # in files that are met it is the tag that is wrong; libtiff looks away
        formats = {UNSIGNED}
    height, width = _one(tags, 257, 0), _one(tags, 256, 0)
    tiled = bool(_many(tags, 322))
    return Layout(
        width=width,
        height=height,
        photometric=_one(tags, 262, RGB if count in (3, 4) else BLACK_IS_ZERO),  # left out, as libtiff takes it
        samples=count,
        bits=bits.pop() if len(bits) == 1 else 0,
        kind=KINDS.get(formats.pop(), "") if len(formats) == 1 else "",
        order={b"II": "<", b"MM": ">"}[tags.prefix],
        compression=_one(tags, 259, 1),
        predictor=_one(tags, 317, 1),
        planar=_one(tags, 284, 1) == 2 and count > 1,
        tile=(_one(tags, 323, 0), _one(tags, 322, 0)) if tiled else None,
        rows=min(_one(tags, 278, height), height),
        segments=tuple(zip(_many(tags, 324), _many(tags, 325))) or _strips(tags),  # old tiles use the tags of strips
        extra=_many(tags, 338) or None,
        fill=_one(tags, 266, 1),
        options={tag: _one(tags, tag, 0) for tag in (292, 293) if _many(tags, tag)},
    )


def _strips(tags: ImageFileDirectory_v2) -> tuple[tuple[int, int], ...]:
    starts, counts = _many(tags, 273), _many(tags, 279)
    if len(starts) == 1 and not counts:  # old writers of a single strip leave the length out
        counts = (2**31,)
    return tuple(zip(starts, counts))


# --- pixels --------------------------------------------------------------------------------------------------------


def read(data: bytes) -> Raster:
    """The pixels of a TIFF file's first page. Raises UnreadableImage for a kind that is not read or data that end
    early, and what Pillow runs into where a file is broken."""
    tags = directory(io.BytesIO(data))
    where = layout(tags)
    if reason := _hindrance(where, tags):
        raise UnreadableImage(f"a TIFF of a kind that cannot be read: {reason}")
    if where.compression in JPEGS:
        return _by_pillow(data, where)
    colors, extra = COLORS[where.photometric], where.extra
    if extra is None and where.photometric == RGB and where.samples == 4:
        extra = (2,)  # as libtiff takes it
    hidden = next((number for number, kind in enumerate(extra or ()) if kind in (1, 2)), None)
    planes = [*range(colors), *([] if hidden is None else [colors + hidden])]
    stored = _units(data, where, tags) if where.photometric == YCBCR else stored_samples(data, where, planes)
    pixels, notes = _understood(stored[..., :colors], where, tags)
    if where.bits == 8 and SIGNED in _many(tags, 339):
        notes += ("signed samples of 8 bits, taken as unsigned, as other programs do",)
    if others := where.samples - len(planes):
        notes += (f"loss: {others} of its {where.samples} samples a pixel hold no color and are not copied",)
    alpha = None
    if hidden is not None:
        alpha, more = samples.levels(stored[..., colors], where.bits if where.kind == "u" else 0)
        notes += tuple(note for note in more if note not in notes)
        alpha = _alike(alpha, pixels)
        if extra is not None and extra[hidden] == 1 and pixels.shape[2:] in ((), (3,)):
            pixels = samples.unmultiplied(pixels, alpha)
    if where.photometric == WHITE_IS_ZERO:
        pixels = np.iinfo(pixels.dtype).max - pixels
    return Raster(pixels, alpha, None, notes, converted=where.photometric in (LAB, ICC_LAB))


def _alike(alpha: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Alpha of the pixels' type."""
    if alpha.dtype == pixels.dtype:
        return alpha
    return samples.shallow(alpha) if pixels.dtype == np.uint8 else alpha.astype(np.uint16) * 257


def _hindrance(where: Layout, tags: ImageFileDirectory_v2) -> str:
    """Why a TIFF is not read, in a few words; empty where it is."""
    depth = f"{where.bits}" if where.bits else ", ".join(map(str, _many(tags, 258)))
    sign = {"u": "", "i": "signed ", "f": "float ", "": "complex or mixed "}[where.kind]
    samples_of = f"{where.samples} {sign}sample{'s'[: where.samples != 1]} of {depth} bits"
    colors = COLORS.get(where.photometric)
    if 50706 in tags or where.photometric in (32803, 34892):
        return "a camera's raw data (DNG)"
    if colors is None:
        return f"{OTHERS.get(where.photometric, f'photometric interpretation {where.photometric}')}, {samples_of}"
    if where.compression not in PACKED | BILEVEL | JPEGS | {WEBP}:
        return f"compression {where.compression} ({NAMES.get(where.compression, 'not known')})"
    if where.bits not in DEPTHS.get(where.kind, ()) or where.samples < colors:
        return samples_of
    if where.compression in BILEVEL and (where.bits, where.samples) != (1, 1):
        return f"{samples_of}, CCITT compression"
    if where.compression in JPEGS | {WEBP} and (where.bits, where.kind) != (8, "u"):
        return f"{samples_of}, {NAMES[where.compression]} compression"
    if where.photometric == YCBCR and where.compression not in JPEGS and not _plain_ycbcr(where, tags):
        return f"YCbCr, {samples_of}, {'planar' if where.planar else 'subsampled'}"
    if where.photometric == PALETTE and (where.kind != "u" or where.bits > 16):
        return f"a palette, {samples_of}"
    if where.photometric in (LAB, ICC_LAB) and (where.kind == "f" or where.bits not in (8, 16)):
        return f"Lab, {samples_of}"
    if where.photometric == INK and (_one(tags, 332, 1) != 1 or where.kind != "u" or where.bits not in (8, 16)):
        return f"inks, {samples_of}"
    if where.bits == 24 and where.order == "<":  # libtiff turns their bytes around, others do not
        return f"{samples_of}, lowest byte first"
    predictable = {1: True, 2: where.bits in (8, 16, 32, 64), 3: where.kind == "f"}
    if where.compression in PACKED and not predictable.get(where.predictor, False):
        return f"predictor {where.predictor}, {samples_of}"
    if where.compression in PACKED - PREDICTED and where.predictor != 1:
        return f"predictor {where.predictor} without the compression it is for"
    return ""


def _understood(stored: np.ndarray, where: Layout, tags: ImageFileDirectory_v2) -> tuple[np.ndarray, tuple[str, ...]]:
    """Stored samples (H,W,colors) as levels of gray (H,W), RGB or CMYK, white not yet turned, and notes."""
    if where.photometric == PALETTE:
        colors = np.array(_many(tags, 320), np.uint16)
        if colors.size != 3 * 2**where.bits:
            raise UnreadableImage(f"damaged: a palette of {colors.size} values, expected {3 * 2**where.bits}")
        if colors.max() > 255:  # some writers have put 8-bit values into it
            colors >>= 8
        return colors.astype(np.uint8).reshape(3, -1).T[stored[..., 0]], ()
    if where.photometric == YCBCR:
        return _rgb(stored, tags), ()
    if where.photometric in (LAB, ICC_LAB):
        image = Image.frombytes("LAB", (where.width, where.height), _lab(stored, where).tobytes())
        note = "loss: 16 bits a channel became 8, as Lab colors are converted"
        return samples.lab_to_rgb(image), (note,) if where.bits == 16 else ()
    levels, notes = samples.levels(stored, where.bits if where.kind == "u" else 0)
    return levels[..., 0] if levels.shape[2] == 1 else levels, notes


def _lab(stored: np.ndarray, where: Layout) -> np.ndarray:
    """Lab samples (H,W,3) of 8 or 16 bits as uint8: L 0..255 for 0..100, a and b signed, as a TIFF holds them."""
    values = stored.view(stored.dtype.str.replace("i", "u")).astype(np.int32)
    if where.bits == 16 and where.photometric == LAB:  # signed a and b; L is 100 at 65535
        values[..., 1:] = np.clip((values[..., 1:] + 32768) % 65536 + 128, 0, 65535) // 256 + 128
        values[..., 0] = np.rint(values[..., 0] / 257)
    elif where.bits == 16:  # a and b are 0 at 32768; L is 100 at 65280
        values = np.clip((values + 128) // 256, 0, 255)
    if where.photometric == ICC_LAB:
        values[..., 1:] += 128
    return values.astype(np.uint8)


def _subsampling(tags: ImageFileDirectory_v2) -> tuple[int, int]:
    """Luma samples across and down for a chroma sample of a YCbCr TIFF."""
    across, down = (*_many(tags, 530), 2, 2)[:2] if len(_many(tags, 530)) == 2 else (2, 2)
    return across, down


def _plain_ycbcr(where: Layout, tags: ImageFileDirectory_v2) -> bool:
    across, down = _subsampling(tags)
    whole = (across, down) == (1, 1)
    fits = across in (1, 2, 4) and down in (1, 2, 4) and (whole or (where.predictor == 1 and where.samples == 3))
    return where.bits == 8 and where.kind == "u" and fits and (whole or not where.planar)


def _units(data: bytes, where: Layout, tags: ImageFileDirectory_v2) -> np.ndarray:
    """YCbCr of 8 bits as (H,W,3): chroma that holds for several pixels lies behind their luma (section 21)."""
    across, down = _subsampling(tags)
    if (across, down) == (1, 1):
        return stored_samples(data, where, range(3))
    height, width, rows = -(-where.height // down), -(-where.width // across), -(-where.rows // down)
    tile = where.tile and (where.tile[0] // down, where.tile[1] // across)
    count = across * down + 2
    units = stored_samples(
        data, where._replace(height=height, width=width, rows=rows, tile=tile, samples=count), range(count)
    )
    luma = units[..., :-2].reshape(height, width, down, across).swapaxes(1, 2).reshape(height * down, width * across)
    chroma = units[..., -2:].repeat(down, axis=0).repeat(across, axis=1)
    return np.dstack([luma, chroma])[: where.height, : where.width]


def _rgb(ycbcr: np.ndarray, tags: ImageFileDirectory_v2) -> np.ndarray:
    """uint8 YCbCr (H,W,3) as RGB, by the file's own coefficients and the values it has for black, white and gray."""
    red, green, blue = _floats(tags, 529, (0.299, 0.587, 0.114))
    reference = np.array(_floats(tags, 532, (0, 255, 128, 255, 128, 255)), np.float32)
    low, high = reference[::2], reference[1::2]
    y, cb, cr = np.moveaxis((ycbcr - low) * (np.array([255, 127, 127], np.float32) / np.maximum(high - low, 1)), -1, 0)
    r, b = y + (2 - 2 * red) * cr, y + (2 - 2 * blue) * cb
    return np.rint(np.clip(np.dstack([r, (y - red * r - blue * b) / green, b]), 0, 255)).astype(np.uint8)


def _floats(tags: ImageFileDirectory_v2, tag: int, default: tuple[float, ...]) -> tuple[float, ...]:
    """The numbers of a tag; the default where they are missing or cannot be."""
    try:
        values = tuple(float(value) for value in _value(tags, tag, ()))
    except (TypeError, ValueError, ZeroDivisionError):
        return default
    sound = len(values) == len(default) and np.isfinite(values).all() and values[1] > 0
    return values if sound else default


def _by_pillow(data: bytes, where: Layout) -> Raster:
    """JPEG of 8 bits as Pillow reads it, upright."""
    with Image.open(io.BytesIO(data), formats=["TIFF"]) as image:
        image.load()
        if image.mode not in ("L", "RGB", "YCbCr", "CMYK", "RGBA", "LA"):
            raise UnreadableImage(f"a TIFF of a kind that cannot be read: {where.samples} samples, {image.mode}")
        pixels = np.asarray(image.convert("RGB") if image.mode == "YCbCr" else image)
    alpha = pixels[..., -1].copy() if image.mode in ("RGBA", "LA") else None
    colors = pixels if alpha is None else pixels[..., 0] if image.mode == "LA" else pixels[..., :3]
    return Raster(np.ascontiguousarray(colors), alpha, 1)
