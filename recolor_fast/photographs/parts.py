"""What becomes of each part of a file when its picture is colored: the table. What is not in it is kept as it is where
the format allows that, and is a loss where it does not.

PIXELS: how the picture is stored, written anew; nothing is said of it. STALE: shows or describes the gray picture
alone; left out, and said. GONE: not kept, as it would be false or point to nothing; a loss, so in place a refusal.
CONTENT: the same, and no metadata: dropping those does not mean it.
"""

from typing import Literal, NamedTuple

Role = Literal["pixels", "stale", "gone", "content"]


class Row(NamedTuple):
    """What becomes of a part, and what users call it."""

    role: Role
    name: str = ""


PIXELS = Row("pixels")
PROFILE, THUMBNAIL = Row("stale", "color profile"), Row("stale", "thumbnail")
SIGNED = Row("gone", "content credentials (C2PA) or other JUMBF boxes")

SEGMENTS: tuple[tuple[int, bytes, Row], ...] = (  # of a JPEG: marker, and how the payload begins
    (0xE0, b"JFIF\0", PIXELS),
    (0xE0, b"JFXX\0", THUMBNAIL),
    (0xE2, b"ICC_PROFILE\0", PROFILE),
    (0xE2, b"MPF\0", Row("stale", "index of further pictures")),
    (0xE2, b"urn:iso:std:iso:ts:21496", Row("stale", "index of a gain map")),
    (0xE8, b"SPIFF\0", PIXELS),
    (0xEA, b"HDR_RI", Row("content", "JPEG-HDR's ratio image")),
    (0xEB, b"HDR_RI", Row("content", "JPEG-HDR's ratio image")),
    (0xEB, b"JP", SIGNED),
    (0xEE, b"Adobe", PIXELS),
    *((marker, b"", PIXELS) for marker in (*range(0xC0, 0xD0), *range(0xDA, 0xE0)) if marker != 0xC8),
)

TAGS: dict[int, Row] = {  # of a TIFF's first directory, and of EXIF's
    # sizes, samples, compression, strips, tiles, orientation, resolution (kept in its own way)
    **dict.fromkeys((254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 274, 277, 278, 279, 280, 281), PIXELS),
    **dict.fromkeys((282, 283, 284, 288, 289, 292, 293, 296, 317, 320, *range(322, 330), 332, 334, 336, 338), PIXELS),
    **dict.fromkeys((339, 340, 341, 347, 351, *range(512, 522), *range(529, 533), *range(32995, 32999)), PIXELS),
    34675: PROFILE,
    318: Row("stale", "white point"),
    319: Row("stale", "primaries"),
    # what speaks of gray values, which are colors now
    290: Row("gone", "unit of its gray values"),
    291: Row("gone", "curve of its gray values"),
    300: Row("gone", "unit of its color values"),
    301: Row("gone", "transfer function"),
    333: Row("gone", "names of its inks"),
    342: Row("gone", "transfer range"),
    37439: Row("gone", "scale of luminance"),
    42112: Row("gone", "GDAL's metadata"),
    42113: Row("gone", "GDAL's value for no data"),
    50838: Row("gone", "ImageJ's metadata"),
    50839: Row("gone", "ImageJ's metadata"),
    # further pictures, layers
    330: Row("content", "pictures below the picture (SubIFDs)"),
    37724: Row("content", "Photoshop's layers"),
    # what points into the file as it was
    400: Row("gone", "directory of global parameters"),
    33424: Row("gone", "Kodak's directory"),
    34310: Row("gone", "Leaf's directory"),
    34361: Row("gone", "MetaMorph's header"),
    34412: Row("gone", "microscope's data (LSM)"),
    **dict.fromkeys(range(33628, 33632), Row("gone", "MetaMorph's data")),
    **dict.fromkeys(range(65420, 65459), Row("gone", "slide scanner's data (NDPI)")),
    # raw sensors, signatures
    **dict.fromkeys((33421, 33422, *range(50706, 51182), *range(52525, 52556)), Row("gone", "DNG's data")),
    52545: SIGNED,
}
TAG_NAMES = {
    33550: "GeoTIFF's scale",
    33922: "GeoTIFF's tie points",
    34264: "GeoTIFF's transformation",
    34735: "GeoTIFF's keys",
    34736: "GeoTIFF's numbers",
    34737: "GeoTIFF's texts",
}
REWRITTEN = {  # tags of the directories below the first that are patched: color space, sides, places; of Adobe RGB
    "EXIF": frozenset({37396, 40961, 40962, 40963, 41486, 41487, 41492}),
    "GPS": frozenset[int](),
    "interoperability": frozenset({1}),
}

RESOURCES: dict[int, Row] = {1033: THUMBNAIL, 1036: THUMBNAIL, 1039: PROFILE}  # Photoshop's, by number

CHUNKS: dict[bytes, Row] = {  # of a PNG
    **dict.fromkeys((b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iDOT"), PIXELS),
    **dict.fromkeys((b"acTL", b"fcTL", b"fdAT"), PIXELS),  # frames are counted elsewhere
    b"iCCP": PROFILE,
    b"sRGB": PIXELS,  # what the copy is too
    b"gAMA": PIXELS,  # reading says so where it means other colors
    b"cHRM": Row("stale", "primaries"),
    b"sBIT": Row("stale", "significant bits"),
    b"bKGD": Row("stale", "background color"),
    b"hIST": Row("stale", "histogram"),
    b"sPLT": Row("stale", "suggested palette"),
    b"cICP": Row("gone", "coding of its colors (cICP)"),
    b"pCAL": Row("gone", "calibration of its gray values"),
    b"caBX": SIGNED,
}
COPIED_CHUNKS = frozenset({b"tIME", b"sCAL", b"oFFs", b"sTER"})  # though unknown ones of such names are not
GEOMETRIC_CHUNKS = frozenset({b"sCAL", b"oFFs", b"sTER", b"vpAg"})  # false once the picture is turned

RIFF: dict[bytes, Row] = {  # chunks of a WebP
    **dict.fromkeys((b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"EXIF", b"XMP "), PIXELS),
    b"ICCP": PROFILE,
    b"C2PA": SIGNED,
}

BOXES: dict[bytes, Row] = {  # of JPEG 2000 and of AVIF and HEIF, at the top and inside of jp2h
    **dict.fromkeys((b"jP  ", b"ftyp", b"jp2h", b"jp2c", b"ihdr", b"bpcc", b"pclr", b"cmap", b"cdef"), PIXELS),
    **dict.fromkeys((b"meta", b"mdat", b"idat", b"free", b"skip", b"rreq"), PIXELS),
    **dict.fromkeys((b"moov", b"moof", b"mfra", b"sidx"), PIXELS),  # frames are counted elsewhere
    b"colr": PROFILE,
    b"res ": Row("gone", "resolution"),
    b"jumb": SIGNED,
}
COPIED_BOXES = frozenset({b"xml ", b"uuid", b"asoc"})  # of a JPEG 2000: what may follow the picture as it is


_BY_MARKER = {marker: [one[1:] for one in SEGMENTS if one[0] == marker] for marker, _, _ in SEGMENTS}


def of_segment(marker: int, payload: bytes) -> Row | None:
    """The row of a JPEG's segment; None where there is none."""
    return next((row for begins, row in _BY_MARKER.get(marker, ()) if payload.startswith(begins)), None)


def of_chunk(kind: bytes) -> Row | None:
    """The row of a PNG's chunk; None for one that is copied as it is.

    A chunk that the table does not have says by the case of its last letter whether it stays true when others change.
    """
    row = CHUNKS.get(kind)
    if row or kind in COPIED_CHUNKS or kind[3:].islower():
        return row
    return Row("gone", f"chunk {kind.decode('latin-1')}")
