"""Image files and the pixel arithmetic that loader, graphs and folder tool share: numpy, OpenCV, Pillow; no torch.

Arrays are uint8, 0..255, rows from the top: gray (H,W), rgb (H,W,3), cbcr (2,H,W).
Luminance is Y' of JFIF YCbCr (ITU-T T.871, section 7: Rec. 601 weights, full range, chroma 128 is neutral).
"""

import errno
import io
import re
import stat
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from recolor_fast.photographs import cut_jpeg, decoders, formats, jpeg_headers, libraries, opening, samples
from recolor_fast.photographs.formats import SIGNED, UNSIGNED
from recolor_fast.photographs.opened import Decoded
from recolor_fast.photographs.opening import MAX_PIXELS
from recolor_fast.photographs.preparation import Preparation
from recolor_fast.photographs.samples import TooManyPixels, UnreadableImage, shallow

LARGEST = 2**30  # bytes of a file of libraries.LIBRARIES whose header is read
SUFFIXES = frozenset(  # lower case: files with one of these are meant to be images, whatever they hold
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .tif .tiff .webp .gif .bmp .dib .avif .avifs .jp2 .j2k .jpc .jpf .jpx .j2c "
    ".ppm .pgm .pbm .pnm .pam .pfm .psd .qoi .dds .sgi .bw .ras .icns .fits .ico .cur .pcx .dcx .pcd .tga "
    ".heic .heif .heics .heifs .hif .jxl .dng .cr2 .cr3 .crw .nef .nrw .arw .sr2 .srf .raf .orf .rw2 .rwl .pef .srw "
    ".x3f .mrw .3fr .fff .iiq .erf .mef .mos .kdc .dcr .gpr".split()
)


# --- reading -------------------------------------------------------------------------------------------------------


def read_rgb(data: bytes, size: int = 0) -> np.ndarray:
    """A file's bytes as upright RGB, uint8 (H,W,3), without its alpha. Raises UnreadableImage.

    `size` is for a picture that will end as a square of so many pixels: one far larger then comes at a fraction of its
    sides, see `reduction`; a JPEG is decoded so, other formats are averaged (`reduced`). 0: whole.
    """
    if (more := decoded(data)) is not None:
        whole = shallow(samples.color(more.raster))
        by = reduction(whole.shape[1], whole.shape[0], size) if size else 1
        return _rgb(upright(reduced(whole, by), more.raster.orientation or 1))
    with opening.opened(data) as image:
        pixels = _fast_jpeg(data, image, size)
        if pixels is None:
            raster = decoders.decode(data, image)
            pixels = shallow(samples.color(raster))
            pixels = reduced(pixels, reduction(image.width, image.height, size) if size else 1)
            turn = raster.orientation or orientation(image)
        else:
            turn = orientation(image)
        return _rgb(upright(pixels, turn))


def _rgb(pixels: np.ndarray) -> np.ndarray:
    """uint8 (H,W) or (H,W,3) as (H,W,3)."""
    return pixels if pixels.ndim == 3 else cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)


def reduction(width: int, height: int, size: int) -> int:
    """By what the sides of a picture, pixels, are divided before it is made a square of `size` pixels: 1, 2, 4 or 8.

    The largest that leaves both sides at least 2 * size (as Pillow's thumbnail() does) and at least 512: 4000x3000 for
    256 becomes 1000x750, 500x375 stays. Of a JPEG, libjpeg-turbo then skips most of the inverse transform and all that
    follows has less to do: half the time or less at 12 megapixels, and for 256 a square of up to 8192x8192 pixels takes
    no more memory than 1024x1024. Nearer to `size` it shows: at 1/8, 12 megapixels take another sixth less time, but
    colors are two to three times as far from a whole decode's. Below 1024 pixels there is next to no time to win
    (bench/LOG.md, 2026-11-21).
    """
    return next((by for by in (8, 4, 2) if min(width, height) >= by * max(2 * size, 512)), 1)


class Header(NamedTuple):
    """What the header of an image file says."""

    format: str
    """Pillow's name of the format, or a key of libraries.LIBRARIES; empty where reading will fail and say why."""
    width: int
    """Pixels of the upright picture, 0 where not known."""
    height: int
    """Pixels."""


def header(file: BinaryIO, trust_suffix: bool = True) -> Header | None:
    """What a file's header says, or None where it is no image's; reads no more than the header, but for the formats of
    libraries.LIBRARIES.

    Without `trust_suffix`, only formats with a signature count: some of the others match nearly any bytes.
    """
    if (jpeg := _plain_jpeg(file)) is not None:
        return jpeg
    kind = formats.kind(file)
    if kind is not None and not kind.image:
        return None
    try:
        if libraries.refusal(kind):
            return Header("", 0, 0)
        if kind is not None and kind.reader in libraries.LIBRARIES:
            data = file.read(LARGEST + 1)
            more = libraries.opened(kind, data) if len(data) <= LARGEST else None
            return Header(kind.reader, more.width, more.height) if more else Header("", 0, 0)
        with opening.quiet(), opening.image(file, SIGNED + UNSIGNED if trust_suffix else SIGNED) as image:
            return _header_of(image)
    except UnidentifiedImageError:
        late = _later_jpeg(file) if trust_suffix and kind is None else None
        return late or (Header("", 0, 0) if kind else None)
    except Image.DecompressionBombError:
        return Header("", 0, 0)  # an image, and one that reading will refuse with a reason
    except decoders.ERRORS:  # Pillow's plugins and the libraries raise whatever their parsing runs into
        return Header("", 0, 0) if kind else None  # reading will say what is wrong


def _plain_jpeg(file: BinaryIO) -> Header | None:
    """The header of a JPEG that every decoder reads alike and that says nothing of its orientation; None of others,
    and of one with long headers."""
    file.seek(0)
    head = file.read(3)
    head += file.read(2**16) if head == b"\xff\xd8\xff" else b""
    file.seek(0)
    found = jpeg_headers.read(head)
    if found is None or not found.plain or found.width * found.height > MAX_PIXELS:
        return None
    turned = any(head.find(mark, 0, found.scan) >= 0 for mark in (b"Exif\0\0", b"tiff:Orientation"))
    return None if turned else Header("JPEG", found.width, found.height)


def _header_of(image: Image.Image) -> Header:
    return Header(opening.file_format(image), *(image.size[::-1] if orientation(image) >= 5 else image.size))


def _later_jpeg(file: BinaryIO) -> Header | None:
    """The header of a JPEG that does not begin where its file does; `pictures.read` reads it where asked to."""
    try:
        file.seek(0)
        head = file.read(cut_jpeg.JUNK)
        if (at := cut_jpeg.start(head)) < 0:
            return None
        with opening.quiet(), Image.open(io.BytesIO(head[at:] + file.read()), formats=["JPEG"]) as image:
            return _header_of(image)
    except decoders.ERRORS:
        return None


def frames(data: bytes) -> int:
    """How many pictures a file holds: an animation's frames, a TIFF's pages, an MPO's views; 1 where it cannot tell."""
    try:
        if more := libraries.opened(formats.kind(io.BytesIO(data)), data):
            return more.frames
        with opening.quiet(), opening.image(io.BytesIO(data), SIGNED + UNSIGNED) as image:
            return opening.frames(image)
    except decoders.ERRORS:  # Pillow's plugins and the libraries raise whatever their parsing runs into
        return 1


def decoded(data: bytes, max_pixels: int = MAX_PIXELS) -> Decoded | None:
    """A file's picture where one of libraries.LIBRARIES reads it; None where Pillow is to try.

    Raises UnreadableImage, also for what nothing reads: it names the kind of file, and what to install or to do.
    """
    kind = formats.kind(io.BytesIO(data))
    if refusal := libraries.refusal(kind):
        raise UnreadableImage(refusal)
    try:
        more = libraries.opened(kind, data)
        if more is None:
            return None
        opening.check_size(more.width, more.height, max_pixels)
        if more.stored > min(2 * max_pixels, MAX_PIXELS):
            raise TooManyPixels(f"too many pixels: {more.stored:,} on the sensor")
        result = more.decode()
        opening.check_size(result.raster.pixels.shape[1], result.raster.pixels.shape[0], max_pixels)
        return result._replace(format=kind.reader if kind else "", bits=more.bits)
    except UnreadableImage:
        raise
    except decoders.ERRORS as error:
        raise opening.unreadable(error, f"{kind.name}: " if kind else "") from error


def read(path: Path) -> bytes:
    """A regular file's bytes. Raises OSError, also for a folder, FIFO, device or socket, none of which is opened:
    reading one may never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path.read_bytes()


def fault(path: Path, max_pixels: int = MAX_PIXELS, strict: bool = False) -> str | None:
    """Why the file is no usable image of up to `max_pixels`, or None where it is one; see `check`."""
    try:
        check(read(path), max_pixels, strict)
    except (OSError, ValueError) as error:  # UnreadableImage, and a path that can be no file's
        return why(error)
    return None


def why(error: Exception) -> str:
    """The text of an error without the path and number of an OSError."""
    return str(getattr(error, "strerror", None) or error)


def check(data: bytes, max_pixels: int = MAX_PIXELS, strict: bool = False) -> np.ndarray | None:
    """Raise UnreadableImage where a file's bytes are no usable image of up to `max_pixels`; its pixels, as `read_rgb`
    gives them, where they had to be decoded for that, else None.

    A JPEG has its headers parsed and its end marker looked for, which costs next to nothing and does not find bit rot
    in its pixels; any other file is decoded. `strict` decodes JPEGs too (at an eighth of their sides, in gray) and
    refuses those whose coded data do not add up. Of sectors of 512 bytes overwritten at random that finds 99 in 100, of
    zeroed ones nine in ten, of single bits one in five: Huffman codes soon fall into step again, and what they then say
    is valid, if wrong. What is odd outside the coded data (a broken color profile, whatever follows the end marker) is
    no fault; with stray bytes between the headers, the coded data are not looked at strictly.
    """
    pixels = read_rgb(data) if jpeg_headers.plain(data, max_pixels) is None else None
    header = jpeg_headers.read(data) if strict else None
    if header is not None and header.width * header.height <= max_pixels:
        _check_scans(data)
    return pixels


# Of libjpeg's warnings (jerror.h) those that tell of entropy-coded data, between sound headers.
_DAMAGED = re.compile(
    "bad Huffman code|bad arithmetic code|premature end of data|extraneous bytes|instead of RST|Premature end of JPEG|"
    "Invalid SOS|Inconsistent progression"
)


def _check_scans(data: bytes) -> None:
    """Raise UnreadableImage where the coded data of a JPEG with sound headers do not add up, or cannot be decoded.

    All of them are read for the smallest gray picture as well: only the inverse transforms are fewer.
    """
    try:  # strict: warnings are errors
        simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        if _DAMAGED.search(str(error)):
            raise UnreadableImage(f"damaged: {error}") from None
        read_rgb(data)  # harmless, or more than libjpeg-turbo's simple interface can do: the full decoder judges


def _fast_jpeg(data: bytes, image: Image.Image, size: int) -> np.ndarray | None:
    """Pixels of a gray or RGB JPEG by libjpeg-turbo, None where Pillow should try; `image` is its parsed header.

    `size` as in `read_rgb`.

    In strict mode libjpeg's warnings are errors, so a missing end marker costs no search of its own. Other warnings
    (stray bytes between segments) leave good pixels: Pillow decodes those.
    """
    if opening.file_format(image) != "JPEG" or image.mode not in ("L", "RGB"):
        return None
    by = reduction(image.width, image.height, size) if size else 1
    height, width = -(-image.height // by), -(-image.width // by)
    try:
        pixels = simplejpeg.decode_jpeg(
            data, "GRAY" if image.mode == "L" else "RGB", min_height=height, min_width=width
        )
    except ValueError as error:
        if "Premature end" in str(error):
            raise UnreadableImage("truncated: the JPEG data stops before its end marker") from None
        return None
    if pixels.shape[:2] != (height, width):
        return None
    return pixels[..., 0] if image.mode == "L" else pixels


def orientation(image: Image.Image) -> int:
    """EXIF orientation (tag 274), 1..8; 1 where it is missing or nonsense."""
    try:
        value = image.getexif().get(274)
    except decoders.ERRORS:  # a broken EXIF block is no reason to refuse the pixels
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


INVERSE = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}  # the two quarter turns undo each other


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """(H,W,...) turned and mirrored as EXIF 2.32, tag 274, asks: the eight ways to lay a rectangle.

    `INVERSE[orientation]` undoes it.
    """
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


# --- pixel arithmetic ----------------------------------------------------------------------------------------------


def gray(rgb: np.ndarray) -> np.ndarray:
    """Rec. 601 luminance of uint8 (H,W,3), rounded: uint8 (H,W)."""
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)


class Border(NamedTuple):
    """What a scan shows around the photograph: shares of the width (left, right) and height (top, bottom)."""

    left: float
    top: float
    right: float
    bottom: float

    def inside(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (H,W,...) without the border."""
        height, width = pixels.shape[:2]
        rows = slice(round(self.top * height), height - round(self.bottom * height))
        return pixels[rows, round(self.left * width) : width - round(self.right * width)]


def equalize(image: np.ndarray) -> np.ndarray:
    """Histogram equalization (OpenCV's, up to 38 levels from PIL's) of uint8 (H,W), or each channel of (H,W,3)."""
    if image.ndim == 2:
        return cv2.equalizeHist(image)
    return cv2.merge([cv2.equalizeHist(np.ascontiguousarray(image[..., channel])) for channel in range(3)])


def equalized_as(gray: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """uint8 (H,W) by the curve that equalizes another's histogram, a part of it say."""
    levels, first = np.unique(inside, return_index=True)
    curve = np.interp(np.arange(256), levels, equalize(inside).ravel()[first])
    return cv2.LUT(gray, np.rint(curve).astype(np.uint8))


def blur(image: np.ndarray) -> np.ndarray:
    """Gaussian blur, 5x5, sigma 0.7 pixels, mirrored border (torchvision's gaussian_blur): uint8 (H,W) or (H,W,3)."""
    return cv2.GaussianBlur(image, (5, 5), 0.7, borderType=cv2.BORDER_REFLECT_101)


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Antialiased bilinear resize (torchvision's antialias=True) of uint8 (H,W) or (H,W,3) to height x width pixels."""
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def reduced(image: np.ndarray, by: int) -> np.ndarray:
    """uint8 or uint16 (H,W) or (H,W,3) averaged over squares of `by` pixels: (ceil(H/by), ceil(W/by)).

    Beyond the last row and column these repeat. It is what decoding a JPEG at 1/by gives, within 2 levels and 0.2 on
    average at 12 megapixels. (By halves it would be faster still, but OpenCV's rounding up would add 0.1 level each.)
    """
    height, width = image.shape[:2]
    if height % by or width % by:
        image = cv2.copyMakeBorder(image, 0, -height % by, 0, -width % by, cv2.BORDER_REPLICATE)
    return cv2.resize(image, (-(-width // by), -(-height // by)), interpolation=cv2.INTER_AREA) if by > 1 else image


def source(gray: np.ndarray, preparation: Preparation, border: Border | None = None) -> np.ndarray:
    """What a generator sees of uint8 gray (H,W): equalized, then blurred, then resized to uint8 (size, size).

    The order matters: another one differs by three levels and more. A gray far larger than `size` is reduced before all
    that (`reduction`), as `read_rgb` reduces what is trained on, so that both see the same of a large photograph. The
    histogram is that of what is inside the `border`.
    """
    size = preparation.size
    gray = reduced(gray, reduction(gray.shape[1], gray.shape[0], size))
    if preparation.equalize != "none":
        inside = gray if border is None else np.ascontiguousarray(border.inside(gray))
        gray = equalized_as(gray, inside) if 0 < inside.size < gray.size else equalize(gray)
    if preparation.blur != "none":
        gray = blur(gray)
    return resize(gray, size, size)
