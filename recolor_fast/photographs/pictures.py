"""Any image file as a picture to color, and the colored picture as a file: with all that has to survive; no torch.

Pixels are upright and sRGB: an embedded profile that means other colors is applied in reading, and what is written
has no profile, which means sRGB to whoever reads it (EXIF says so too). A gray or YCbCr JPEG that becomes a JPEG is
never RGB on the way: its Y samples are those of the new file.
"""

import io
import math
import re
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from recolor_fast.photographs import (
    avif,
    chroma,
    cut_jpeg,
    decoders,
    encoders,
    images,
    inventory,
    jpeg,
    jpeg2000,
    metadata,
    opening,
    profiles,
    provenance,
)
from recolor_fast.photographs.in_color import SIDE
from recolor_fast.photographs.metadata import Metadata
from recolor_fast.photographs.tones import judged
from recolor_fast.settings import Writing

LOSS = "loss: "  # what notes begin with that tell of something the written file does not hold any more
ROWS = 0.9  # share of a JPEG's rows that have to be there where its end is missing


class Picture(NamedTuple):
    """A picture to color: its luminance, and what has to survive."""

    gray: np.ndarray
    """uint8 or, of a file with more than 8 bits, uint16 (H,W), upright: Y' (Rec. 601) of sRGB; a gray file's values."""
    alpha: np.ndarray | None
    """The same type and size, highest is opaque; None where the file has no transparency."""
    format: str
    """Pillow's name of the file format: JPEG, PNG, ..."""
    is_color: bool | None
    """Whether the file shows colors, see photographs.in_color; None where `read` was not asked."""
    notes: tuple[str, ...] = ()
    """What a user should be told."""
    metadata: Metadata = Metadata()
    orientation: int = 1
    """EXIF orientation of the file's own pixels, by which `gray` has been turned."""
    original: bytes = b""
    """The file itself where it is a gray JPEG whose samples, turned, are `gray`."""
    lossless: bool = False
    """Whether it is a lossless WebP or JPEG XL, and so to be written as one where it becomes that again."""
    bits: int = 16
    """Of a channel of the file, where `gray` is uint16."""
    things: tuple[inventory.Thing, ...] = ()
    """What the file holds beside the picture."""
    tone: np.ndarray | None = None
    """A toned print's, see photographs.tones; None where `read` was not asked or colors were painted."""


AS_USUAL = Writing()


# --- reading -------------------------------------------------------------------------------------------------------


def read(data: bytes, max_pixels: int = images.MAX_PIXELS, judge: bool = True, strict: bool = True) -> Picture:
    """A file's bytes as a picture to color. Raises images.UnreadableImage and nothing else.

    Unless `strict`, a JPEG that is cut off is read where ROWS of its rows are there, with a note, and so is one with
    something before it.

    `judge` also tells whether it is in color already, and its tone, which a JPEG is decoded a second time for, at a
    fraction. More than `max_pixels` (or images.MAX_PIXELS) are refused before anything is decoded.
    """
    try:
        picture = _read(data, max_pixels, judge)
    except images.UnreadableImage as error:
        if strict:
            raise
        picture = _mended(data, max_pixels, judge, error)
    painted = picture.tone is not None and provenance.of(data)  # its colors are a model's
    return picture._replace(tone=None) if painted else picture


def _mended(data: bytes, max_pixels: int, judge: bool, error: images.UnreadableImage) -> Picture:
    """What there is of a JPEG that is cut off; raises the error that told so where that is too little."""
    try:
        mended = cut_jpeg.mended(data)
    except decoders.ERRORS:
        raise error from None
    header = images.header(io.BytesIO(data))
    if mended is None or header is None or header.format != "JPEG":  # what another format holds is no JPEG cut off
        raise error
    if mended.share < ROWS:
        raise images.UnreadableImage(f"{error}; {mended.share:.0%} of its rows are there, expected {ROWS:.0%} or more")
    notes: tuple[str, ...] = ()
    if not mended.before or mended.share < 1:
        notes = (f"{LOSS}the JPEG is cut off, {math.floor(100 * mended.share)} % of its rows are there",)
    notes += (f"{LOSS}{mended.before} bytes before the JPEG are not copied",) if mended.before else ()
    picture = _read(mended.data, max_pixels, judge)
    return picture._replace(notes=notes + picture.notes, original=b"")


def _read(data: bytes, max_pixels: int, judge: bool) -> Picture:
    picture = _fast_jpeg(data, max_pixels, judge) or _by_library(data, max_pixels, judge)
    if picture:
        return picture
    with opening.opened(data, max_pixels) as image:
        stored = images.orientation(image)
        profile = image.info.get("icc_profile") or b""
        if image.format == "JPEG2000":
            profile = jpeg2000.profile(data)
        raster = decoders.decode(data, image)
        turn = raster.orientation or images.orientation(image)
        pixels, alpha, notes = profiles.to_srgb(raster, profile)
        gray = images.gray(pixels) if pixels.ndim == 3 else pixels
        colored, tone = judged(pixels, alpha) if judge or gray is pixels else (None, None)
        return Picture(
            images.upright(gray, turn),
            None if alpha is None else images.upright(alpha, turn),
            opening.file_format(image),
            colored,
            raster.notes + notes + _notes(image) + _shallowed(data, image),
            metadata.of_image(data, image),
            stored,
            lossless=image.format == "WEBP" and _is_lossless_webp(data),
            bits=avif.bits(data) if image.format == "AVIF" else 16,
            things=inventory.of(data, opening.file_format(image)),
            tone=tone,
        )


def of_image(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels, uint8 or uint16, gray (H,W) or RGB (H,W,3), of a Pillow image of any mode, and alpha of the same type or
    None, as they lie in it, upright or not. Raises images.UnreadableImage where it cannot be loaded."""
    try:
        image.load()
        raster = decoders.of_pillow(image)
    except decoders.ERRORS as error:
        raise images.UnreadableImage(f"damaged or unsupported: {error}") from error
    return profiles.to_srgb(raster, image.info.get("icc_profile") or b"")[:2]


def _by_library(data: bytes, max_pixels: int, judge: bool) -> Picture | None:
    """A file that an optional library reads; None where Pillow should try."""
    more = images.decoded(data, max_pixels)
    if more is None:
        return None
    pixels, alpha, notes = profiles.to_srgb(more.raster, more.profile)
    turn = more.raster.orientation or 1
    colored, tone = judged(pixels) if judge or pixels.ndim == 2 else (None, None)
    jpeg_inside = more.carrier.startswith(jpeg.SOI)
    held = metadata.of_file(more.carrier) if more.carrier else Metadata(exif=more.exif, xmp=more.xmp)
    return Picture(
        images.upright(images.gray(pixels) if pixels.ndim == 3 else pixels, turn),
        None if alpha is None else images.upright(alpha, turn),
        more.format,
        colored,
        more.raster.notes + notes + tuple(f"{LOSS}{what}" for what in more.losses),
        held,
        lossless=more.lossless,
        bits=more.bits,
        things=inventory.of(more.carrier, "JPEG") if jpeg_inside else inventory.of(data, more.format),
        tone=tone,
    )


def _fast_jpeg(data: bytes, max_pixels: int, judge: bool) -> Picture | None:
    """A gray or YCbCr JPEG by libjpeg-turbo, without its chroma; None where Pillow should try.

    In strict mode libjpeg's warnings are errors, so a missing end marker costs no search of its own. Other warnings
    (stray bytes between segments) leave good pixels: Pillow decodes those.
    """
    if data[:2] != jpeg.SOI:
        return None
    segments = jpeg.head(data)
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    profile = metadata.profile(segments)
    if space not in ("Gray", "YCbCr"):
        return None
    opening.check_size(width, height, max_pixels)
    table: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    if profile:
        try:
            if space == "YCbCr" and profiles.transform(profile, "RGB") is not None:
                return None
            table = profiles.gray_table(profile) if space == "Gray" else None
        except ValueError as error:
            notes = (profiles.ignored(error),)
    try:
        gray = simplejpeg.decode_jpeg(data, "GRAY")[..., 0]
        colored, tone = None if space == "YCbCr" else False, None
        if judge and space == "YCbCr":
            by = next((by for by in (8, 4, 2) if min(height, width) >= by * SIDE), 1)  # others are slower than whole
            side = {"min_height": -(-height // by), "min_width": -(-width // by)}
            colored, tone = judged(simplejpeg.decode_jpeg(data, "RGB", **side))
    except ValueError as error:
        if "Premature end" in str(error):
            raise images.UnreadableImage("truncated: the JPEG data stops before its end marker") from None
        return None
    if gray.shape != (height, width):
        return None
    if table is not None:
        gray = profiles.looked_up(gray, table)
    held = metadata.of_jpeg(segments)
    turn = metadata.orientation(held)
    count = metadata.pictures(segments)
    notes += (f"first of {count} pictures; the others are not copied",) if count > 1 else ()
    original = data if space == "Gray" and table is None else b""
    things = inventory.of(data, "JPEG")
    return Picture(
        images.upright(gray, turn), None, "JPEG", colored, notes, held, turn, original, things=things, tone=tone
    )


def _notes(image: Image.Image) -> tuple[str, ...]:
    """What a user should know of a loaded file."""
    notes = []
    if (frames := opening.frames(image)) > 1:
        notes.append(f"first of {frames} pictures; the others are not copied")
    gamma = image.info.get("gamma")
    if isinstance(gamma, float) and abs(gamma - 1 / 2.2) > 0.02 and not image.info.get("icc_profile"):
        notes.append(f"{LOSS}gamma {gamma:g} ignored, taken as sRGB")
    return tuple(notes)


def _shallowed(data: bytes, image: Image.Image) -> tuple[str, ...]:
    """A note where Pillow has made 8 bits of deeper samples: PPM by its maximum, SGI by its bytes a channel."""
    bits = 8
    if image.format == "PPM" and (maximum := re.match(rb"P[36](?:\s|#[^\n]*\n)+\d+\s+\d+\s+(\d{1,5})\s", data)):
        bits = int(maximum[1]).bit_length()
    if image.format == "SGI":
        bits = 8 * data[3]
    return (f"{LOSS}{bits} bits a channel became 8, as {image.format} files are read",) if bits > 8 else ()


def _is_lossless_webp(data: bytes) -> bool:
    """Whether the first picture of a WebP file is coded without loss: its chunk is VP8L."""
    at = 12
    while at + 8 <= len(data):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind in (b"VP8 ", b"VP8L"):
            return kind == b"VP8L"
        at += 24 if kind == b"ANMF" else 8 + length + length % 2  # a frame's chunks come after its own 16 bytes
    return False


# --- writing -------------------------------------------------------------------------------------------------------


def encode(
    picture: Picture,
    cbcr: np.ndarray,
    format: str,
    writing: Writing = AS_USUAL,
    made: provenance.Made | None = None,
) -> tuple[bytes, tuple[str, ...]]:
    """A picture with chroma, uint8 (2,h,w) of any size, as the bytes of a file, and notes on what a user should know.

    The file says what `made` it where its metadata are kept. `format` is a key of encoders.WRITABLE. Luminance is kept:
    in a JPEG as the Y samples, before its own loss, in other formats within 1 level. Raises ValueError for another
    format or for sizes the format cannot hold.
    """
    if format not in encoders.WRITABLE:
        raise ValueError(f"format {format}: expected one of {', '.join(encoders.WRITABLE)}")
    data, notes = _encoded(picture, cbcr, format, writing, made if writing.metadata == "keep" else None)
    return data, notes + _lost(picture, data, format, writing)


def _lost(picture: Picture, data: bytes, format: str, writing: Writing) -> tuple[str, ...]:
    """Notes on what the picture's file held beside the picture and its copy `data` does not."""
    if not picture.things:
        return ()
    kept = writing.metadata == "keep"
    names = inventory.lost(picture.things, inventory.of(data, format), inventory.LOSSES if kept else ("content",))
    stale = inventory.stale(picture.things) if kept else []
    return (
        *([f"{LOSS}dropped {', '.join(names)}"] if names else []),
        *([f"left out, true of the picture as it was: {', '.join(stale)}"] if stale else []),
    )


def _encoded(
    picture: Picture, cbcr: np.ndarray, format: str, writing: Writing, made: provenance.Made | None
) -> tuple[bytes, tuple[str, ...]]:
    height, width = picture.gray.shape
    notes: tuple[str, ...] = ()
    if writing.lossless_luma:
        try:
            return _lossless(picture, cbcr, format, writing, made)
        except ValueError as error:
            notes = (f"luma encoded anew: {error}",)
    kept = _kept(picture, writing)
    held = metadata.settled(kept if format == "JPEG" else kept._replace(xmp_more=()), height, width)
    held = provenance.tagged(held, made, format) if made else held
    gray, alpha = picture.gray, picture.alpha
    most = encoders.BITS.get(format, 8)
    if gray.dtype != np.uint8 and picture.bits > most:
        notes += (f"{LOSS}{picture.bits} bits a channel became {most}, what {format} holds here",)
    if gray.dtype != np.uint8 and most == 8:
        gray, alpha = images.shallow(gray), None if alpha is None else images.shallow(alpha)
    if alpha is not None and format not in encoders.WITH_ALPHA:
        notes += (f"{LOSS}transparency dropped, {format} has none",)
    elif alpha is not None and format in ("AVIF", "HEIF"):
        notes += (f"{LOSS}transparency is kept about, {format} writes it with a loss",)
    if format == "JPEG":
        data = _yuv(gray, *chroma.subsampled(gray, cbcr, writing, picture.tone), writing.quality)
    else:
        rgb = chroma.merge(gray, cbcr, writing, picture.tone)
        lossless = {"lossless": True} if picture.lossless and format == picture.format else {}
        encoding = metadata.settings(held, format) | lossless
        data = encoders.encode(rgb, alpha, format, writing.quality, encoding, picture.bits)
    data, more = metadata.insert(data, held, format)
    return data, notes + more


def _yuv(gray: np.ndarray, cb: np.ndarray, cr: np.ndarray, quality: int) -> bytes:
    """A 4:2:0 JPEG of uint8 planes (H,W) and twice (ceil(H/2), ceil(W/2)). Raises ValueError for impossible sizes.

    TurboJPEG expects a luminance of even sides for 4:2:0 and reads beyond an odd one's end: wrong pixels, other bytes
    each time. So an odd one is padded, and the file's header then says what it was.
    """
    height, width = gray.shape
    odd = height % 2 or width % 2
    if odd:
        gray = cv2.copyMakeBorder(gray, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    try:
        data = simplejpeg.encode_jpeg_yuv_planes(*(np.ascontiguousarray(plane) for plane in (gray, cb, cr)), quality)
    except ValueError as error:
        raise ValueError(f"{width} x {height} pixels cannot be written as JPEG: {error}") from error
    return jpeg.cropped(data, height, width) if odd else data


def _kept(picture: Picture, writing: Writing) -> Metadata:
    return picture.metadata if writing.metadata == "keep" else Metadata()


def _lossless(
    picture: Picture, cbcr: np.ndarray, format: str, writing: Writing, made: provenance.Made | None
) -> tuple[bytes, tuple[str, ...]]:
    """A gray JPEG with chroma scans added. The pixels stay as they lie in the file, and so does the orientation tag.

    Raises ValueError saying why that is not possible.
    """
    if format != "JPEG" or picture.format != "JPEG":
        raise ValueError(f"{picture.format} to {format}: expected JPEG to JPEG")
    if not picture.original:
        raise ValueError("expected a sound gray JPEG without a color profile that had to be applied")
    frame = jpeg.gray_frame(picture.original)
    back = images.INVERSE[picture.orientation]
    gray = images.upright(picture.gray, back)
    as_stored = np.stack([images.upright(plane, back) for plane in cbcr])
    tables = _chroma_tables(writing.quality)
    files = []
    for plane in chroma.subsampled(gray, as_stored, writing):
        file = io.BytesIO()
        progressive = frame.marker == jpeg.PROGRESSIVE
        Image.fromarray(plane).save(file, "JPEG", qtables=tables, progressive=progressive)
        files.append(file.getvalue())
    held = metadata.settled(_kept(picture, writing), frame.height, frame.width, picture.orientation)
    held = provenance.tagged(held, made, format) if made else held
    segments, notes = metadata.segments_of(held)
    return jpeg.join(picture.original, files[0], files[1], segments), notes


@lru_cache
def _chroma_tables(quality: int) -> list[list[int]]:
    """The quantization table of libjpeg's chroma at a quality, as Pillow wants it: what ordinary encoding uses."""
    plane = np.zeros((8, 8), np.uint8)
    with Image.open(io.BytesIO(simplejpeg.encode_jpeg_yuv_planes(plane, plane, plane, quality))) as image:
        return [image.quantization[1]]  # type: ignore[attr-defined]
