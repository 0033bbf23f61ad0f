"""JPEG XL by pillow-jxl-plugin, an optional library; its header (ISO 18181-1, annexes B to D) is read here, as the
library decodes whatever it opens, however large."""

import io
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from recolor_fast.photographs.containers import boxes
from recolor_fast.photographs.opened import Decoded, Opened
from recolor_fast.photographs.samples import Raster, levels, unmultiplied

CONTAINER, BARE = b"\x00\x00\x00\x0cJXL \r\n\x87\n", b"\xff\x0a"
_MOST_METADATA = 2**26  # bytes that a compressed block may become


class Header(NamedTuple):
    """What a codestream begins with."""

    width: int
    """Pixels, upright."""
    height: int
    """Pixels."""
    bits: int
    """Of a channel."""
    animated: bool
    lossy: bool
    """Whether its colors have gone through the lossy transform (XYB)."""
    premultiplied: bool = False
    """Whether alpha has been multiplied into the colors."""
    ink: bool = False
    """Whether it has a black channel: CMYK."""


def header(data: bytes) -> Header:
    """That of a file. Raises ValueError where it is cut off or none."""
    stream = codestream(data)
    if not stream.startswith(BARE):
        raise ValueError("truncated: no JPEG XL codestream in it")
    bits = _Bits(stream[2:4096])
    height, width = _size(bits)
    orientation, animated, depth, lossy = 1, False, 8, True
    extra: list[tuple[int, bool]] = []
    if not bits.take(1):  # all_default
        if bits.take(1):  # extra_fields
            orientation = bits.take(3) + 1
            if bits.take(1):
                _size(bits)  # of the picture as it is meant to be shown
            if bits.take(1):
                _preview(bits)
            animated = bool(bits.take(1))
            if animated:
                bits.choice((0, 100), (0, 1000), (10, 1), (30, 1))  # ticks a second: numerator and denominator
                bits.choice((0, 1), (0, 1001), (8, 1), (10, 1))
                bits.choice((0, 0), (3, 0), (16, 0), (32, 0))  # loops
                bits.take(1)  # time codes
        depth = _depth(bits)
        bits.take(1)  # modular_16bit_buffers
        extra = [_extra_channel(bits) for _ in range(bits.choice((0, 0), (0, 1), (4, 2), (12, 1)))]
        lossy = bool(bits.take(1))
    if orientation >= 5:
        width, height = height, width
    return Header(
        width, height, depth, animated, lossy, (_ALPHA, True) in extra, any(kind == _BLACK for kind, _ in extra)
    )


def codestream(data: bytes) -> bytes:
    """A file's codestream, of its container's one or several boxes; empty where there is none."""
    if not data.startswith(CONTAINER):
        return data if data.startswith(BARE) else b""
    skip = {b"jxlc": 0, b"jxlp": 4}  # the latter begins with its number
    return b"".join(content[skip[kind] :] for kind, content, _ in boxes(data) if kind in skip)


class _Bits:
    """A stream of bits, each byte's lowest first."""

    def __init__(self, data: bytes) -> None:
        self.value, self.left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        if count > self.left:
            raise ValueError("truncated: the JPEG XL header is cut off")
        result = self.value & (1 << count) - 1
        self.value >>= count
        self.left -= count
        return result

    def choice(self, *of: tuple[int, int]) -> int:
        """The format's U32: which of four, then so many bits, plus a number."""
        count, plus = of[self.take(2)]
        return self.take(count) + plus


_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width to height


def _size(bits: _Bits) -> tuple[int, int]:
    """Height and width of a SizeHeader."""
    small = bits.take(1)

    def side() -> int:
        return (bits.take(5) + 1) * 8 if small else bits.choice((9, 1), (13, 1), (18, 1), (30, 1))

    height, ratio = side(), bits.take(3)
    return height, side() if not ratio else height * _RATIOS[ratio - 1][0] // _RATIOS[ratio - 1][1]


def _preview(bits: _Bits) -> None:
    eighths = bits.take(1)

    def side() -> None:
        bits.choice(*(((0, 16), (0, 32), (5, 1), (9, 33)) if eighths else ((6, 1), (8, 65), (10, 321), (12, 1345))))

    side()
    if not bits.take(3):
        side()


def _depth(bits: _Bits) -> int:
    if bits.take(1):  # floats
        depth = bits.choice((0, 32), (0, 16), (0, 24), (6, 1))
        bits.take(4)
        return depth
    return bits.choice((0, 8), (0, 10), (0, 12), (6, 1))


_ALPHA, _SPOT, _BLACK, _CFA = 0, 2, 4, 5  # what extra channels are


def _extra_channel(bits: _Bits) -> tuple[int, bool]:
    """What an extra channel is, and, of alpha, whether it has been multiplied into the colors."""
    if bits.take(1):
        return _ALPHA, False
    kind = bits.choice((0, 0), (0, 1), (4, 2), (6, 18))
    _depth(bits)
    bits.choice((0, 0), (0, 3), (0, 4), (3, 1))
    for _ in range(bits.choice((0, 0), (4, 0), (5, 16), (10, 48))):
        bits.take(8)
    multiplied = kind == _ALPHA and bool(bits.take(1))
    if kind == _SPOT:
        for _ in range(4):
            bits.take(16)
    elif kind == _CFA:
        bits.choice((0, 1), (2, 0), (4, 3), (8, 19))
    return kind, multiplied


# --- pixels --------------------------------------------------------------------------------------------------------


def opened(data: bytes) -> Opened:
    """A file's picture, not yet decoded. Raises ValueError, and ImportError without pillow-jxl-plugin."""
    import pillow_jxl

    head = header(data)
    if head.ink:
        raise ValueError("CMYK colors are not read: convert it, to TIFF say")

    def decode() -> Decoded:
        try:
            is_jpeg, info, content, profile, _ = pillow_jxl.Decoder(num_threads=0)(_of_pixels(data))
        except RuntimeError as error:  # it says to build the library anew
            raise ValueError("its data are damaged or cut off") from error
        if is_jpeg:  # it was made from one, which is in it bit for bit
            return _of_jpeg(content)
        planes = np.frombuffer(content, {"F": np.float32, "I;16": np.uint16}.get(info.mode, np.uint8))
        planes = planes.reshape(info.height, info.width, -1)
        if (info.width, info.height) != (head.width, head.height):
            raise ValueError(f"its pixels are {info.width} x {info.height}, not as its header says")
        if info.mode == "F":
            planes, _ = levels(np.clip(planes, 0, 1))
        alpha = planes[..., -1].copy() if info.has_alpha_channel else None
        pixels = np.ascontiguousarray(planes[..., :3] if planes.shape[2] >= 3 else planes[..., 0])
        if alpha is not None and head.premultiplied:
            pixels = unmultiplied(pixels, alpha)
        exif, xmp, losses = blocks(data)
        if head.animated:
            losses += ("all frames of an animation but the last dropped",)
        if head.bits > 8 and pixels.dtype == np.uint8:
            losses += (f"{head.bits} bits a channel became 8, as JPEG XL files are read",)
        return Decoded(
            Raster(pixels, alpha),
            profile=profile or b"",
            exif=exif,
            xmp=xmp,
            losses=losses,
            lossless=not head.lossy,
        )

    return Opened(head.width, head.height, head.bits, 1, decode)


def _of_pixels(data: bytes) -> bytes:
    """What pixels are made of: the codestream, whose metadata may be damaged; a JPEG inside needs all."""
    inside = data.startswith(CONTAINER) and any(kind == b"jbrd" for kind, _, _ in boxes(data))
    return data if inside else codestream(data)


def _of_jpeg(content: bytes) -> Decoded:
    with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
        orientation = image.getexif().get(274)
        pixels = np.array(image if image.mode == "L" else image.convert("RGB"))
        turn = orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
        return Decoded(Raster(pixels, orientation=turn), profile=image.info.get("icc_profile") or b"", carrier=content)


def blocks(data: bytes) -> tuple[bytes, bytes, tuple[str, ...]]:
    """EXIF, XMP and what else a container has. The codestream's orientation counts, not that of EXIF (annex D)."""
    known: dict[bytes, bytes] = {}
    losses = []
    for kind, content, _ in boxes(data) if data.startswith(CONTAINER) else ():
        if kind == b"brob":
            try:
                kind, content = content[:4], _unpacked(content[4:])
            except (ImportError, ValueError) as error:
                losses.append(f"compressed metadata dropped ({error})")
                continue
        if kind in (b"Exif", b"xml ") and content:
            known.setdefault(kind, content)
        elif kind in (b"jumb", b"jhgm"):
            losses.append(f"{'HDR gain map' if kind == b'jhgm' else 'JUMBF metadata'} dropped")
    exif = known.get(b"Exif", b"")
    start = 4 + int.from_bytes(exif[:4])
    exif = exif if exif[:4] in (b"II*\0", b"MM\0*") else exif[start:].removeprefix(b"Exif\0\0")
    return exif, known.get(b"xml ", b""), tuple(losses)


def _unpacked(content: bytes) -> bytes:
    """Of Brotli's, at most _MOST_METADATA bytes. Raises ImportError and ValueError."""
    import brotli

    decompressor, result = brotli.Decompressor(), b""
    try:
        result = decompressor.process(content, output_buffer_limit=_MOST_METADATA)
    except brotli.error as error:
        raise ValueError(str(error)) from None
    if not decompressor.is_finished():
        raise ValueError("damaged, or too long")
    return result


def _boxed(data: bytes, extra: Iterator[tuple[bytes, bytes]]) -> bytes:
    """A bare codestream in a container, behind boxes of metadata."""

    def box(kind: bytes, content: bytes) -> bytes:
        return (len(content) + 8).to_bytes(4) + kind + content

    head = CONTAINER + box(b"ftyp", b"jxl \0\0\0\0jxl ")
    return head + b"".join(box(kind, content) for kind, content in extra) + box(b"jxlc", data)


def encode(planes: np.ndarray, quality: int, lossless: bool, settings: dict[str, Any]) -> bytes:
    """uint8 (H,W,3) or, with alpha, (H,W,4) as a file in sRGB; `quality` 100 loses nothing, as `lossless` does.

    `settings`: exif and xmp, bytes. Raises ImportError without pillow-jxl-plugin, and what that raises.
    """
    import pillow_jxl

    height, width, count = planes.shape
    lossless = lossless or quality == 100
    make: Any = pillow_jxl.Encoder  # whose type stub is another version's
    encoder = make(
        mode="RGB" if count == 3 else "RGBA",
        lossless=lossless,
        quality=100 if lossless else quality,
        decoding_speed=0,
        effort=7 if math.prod(planes.shape) < 2**22 else 4,
        use_container=False,
        use_original_profile=False,
        num_threads=0,
    )
    data = encoder(np.ascontiguousarray(planes).tobytes(), width, height, jpeg_encode=False)
    names = {"exif": (b"Exif", bytes(4)), "xmp": (b"xml ", b"")}
    extra = [(names[key][0], names[key][1] + value) for key, value in settings.items()]
    return _boxed(data, iter(extra)) if extra else data
