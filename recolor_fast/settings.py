"""How pictures are colored and written: the settings of colorize and of Python, each with its default and its text.

As options.py for training. Importing it imports nothing that takes time.
"""

from dataclasses import dataclass
from typing import Literal

MAX_PIXELS = 178_956_970  # Pillow's own limit for an error: 2 x 89,478,485 pixels, half a gigabyte of RGB

Codec = Literal["auto", "h264", "h265", "av1", "ffv1"]  # what a film is compressed with


@dataclass(frozen=True)
class Look:
    """How chroma is spread over the luminance, and how strong it is."""

    # The true chroma of 67 photographs, reduced 8 (4) times and enlarged again: guided is nearer in 91 %, by 0.76
    # (0.73) dB on average, and off by 11 (13) % less at edges. A window of 5x5 gains 0.5 dB, one of 9x9 0.2.
    upsample: Literal["guided", "bilinear"] = "guided"
    """How chroma is enlarged: along the edges of the luminance, or evenly."""
    saturation: float = 1.0
    """Factor of the colors' strength, 0 (gray) to 4."""
    keep_tone: float = 0.7
    """Share of a toned print's own tone (sepia, cyanotype) that fills in where the model paints little, 0 to 1."""
    warmth: float = 0.0
    """Light of another color: -1 (bluer) to 1 (more orange)."""
    strength: float = 1.0
    """Share of the colored picture, 0 to 1; the rest is the print as it was, gray or toned."""

    @property
    def takes_tone(self) -> bool:
        """Whether a print's tone shows."""
        return self.keep_tone > 0 or self.strength < 1


@dataclass(frozen=True)
class Writing(Look):
    """How pictures are written."""

    quality: int = 95
    """Quality of JPEG, WebP, AVIF, HEIF and JXL files, 1 to 100; other formats lose nothing."""
    metadata: Literal["keep", "drop"] = "keep"
    """EXIF, XMP, IPTC, resolution and texts of the file: keep or drop. Kept, they also say what colored the file; a
    hidden list in its folder does where they cannot."""
    lossless_luma: bool = False
    """Keep the very coefficients of a gray JPEG's luminance instead of encoding it again."""


@dataclass(frozen=True)
class Handling:
    """What becomes of files and what they are written as."""

    format: str = ""
    """Write everything in this format: JPEG, PNG, TIFF, WEBP, BMP, AVIF, HEIF, JXL, JPEG2000, PPM, QOI, SGI or TGA. A
    file of another one has the suffix added: a.jpg becomes a.jpg.png. Empty: each file's own; TIFF of a camera's raw
    file, PNG of others that are not written."""
    overwrite: bool = False
    """Color again what exists in the output. Otherwise it is checked and skipped where this command would make the
    same, and fails where it was made with another model or other settings, which it says itself (see metadata)."""
    in_place: bool = False
    """Give no OUT: replace every input, in its own format. Pictures with any color, even a tint, are left alone, so a
    second run changes nothing; so are links. New files keep owner, mode, access list and extended attributes. What
    cannot be written back whole (GIF, several frames, a video behind the picture, a file of several names) fails,
    named."""
    keep_times: bool = False
    """Give outputs the times of their inputs: last read, last written."""
    pages: Literal["first", "all"] = "first"
    """Of a TIFF of several pages: color the first alone, as a note then says, or all, written as a TIFF of as many."""
    temporal: bool = False
    """The images of a folder are frames of a film, in natural order: steady their colors."""
    max_pixels: int = MAX_PIXELS
    """Larger pictures fail, pixels in all."""


@dataclass(frozen=True)
class Settings(Handling, Writing):
    """How pictures are colored and written."""

    color: Literal["skip", "copy", "recolor"] = "skip"
    """What becomes of photographs in color: skip leaves them out, copy copies the whole file to OUT under its own name,
    recolor gives them new colors. Toned, yellowed and faded prints are not in color. To stdout, skip passes them on."""
    skip_color: bool = False
    """The old name of --color skip."""
    beside: bool = False
    """Give no OUT: what becomes of a.jpg is a.colored.jpg beside it. What is so called is never colored itself."""
    restore: bool = False
    """Before coloring, stretch the tones of faded prints from black to white: one curve for all pixels, by the picture
    without the border of its scan. What was done is in --json and in the file."""
    negative: bool = False
    """The photographs are negatives: invert them before coloring, with or without --restore."""
    strict: bool = False
    """JPEGs without their end fail. Otherwise one of which nine tenths of the rows are there is colored, with a note,
    unless that is in place."""
    include: tuple[str, ...] = ()
    """Color only what matches this pattern of a name, or of a path below IN where it has a slash, or lies in a folder
    that does: --include '*.tif'. Repeatable. Hidden files and folders, and thumbnails and trash of systems, are taken
    where a pattern says their name: --include .picasaoriginals."""
    exclude: tuple[str, ...] = ()
    """Leave out files and folders that match this pattern: --exclude 'scans/raw' --exclude '*.gif'. Repeatable."""

    @property
    def no_out(self) -> str:
        """The setting with which there is no OUT to give, empty where there is none."""
        return "in_place" if self.in_place else "beside" if self.beside else ""
