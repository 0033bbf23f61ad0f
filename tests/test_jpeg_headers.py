"""The header of a JPEG by its own bytes, against the one that Pillow's whole parser gives of it."""

import io
import random
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from recolor_fast.photographs import images, jpeg, jpeg_headers
from tests.photographs import pixels

WIDTH, HEIGHT = 52, 37
PICTURE = Image.fromarray(pixels(3, HEIGHT, WIDTH))


def saved(image: Image.Image = PICTURE, **settings: object) -> bytes:
    file = io.BytesIO()
    image.save(file, settings.pop("format", "JPEG"), **settings)
    return file.getvalue()


PLAIN = saved()
FRAME = PLAIN.index(b"\xff\xc0")
FRAME_END = jpeg.mark(PLAIN, FRAME).end
SCAN = jpeg_headers.read(PLAIN).scan  # type: ignore[union-attr]


def segment(marker: int, payload: bytes = b"") -> bytes:
    return bytes((0xFF, marker)) + (len(payload) + 2).to_bytes(2, "big") + payload


def with_one(added: bytes, at: int = 2) -> bytes:
    """The plain JPEG with something among its headers, first if not said otherwise."""
    return PLAIN[:at] + added + PLAIN[at:]


def with_frame(frame: bytes) -> bytes:
    return PLAIN[:FRAME] + frame + PLAIN[FRAME_END:]


def exif(orientation: int, thumbnail: bool = False) -> bytes:
    block = Image.Exif()
    block[274] = orientation
    data = block.tobytes()
    return data + saved(PICTURE.resize((16, 12))) if thumbnail else data


def xmp(said: str) -> bytes:
    return b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description ' + said.encode() + b"</x:xmpmeta>"


def made() -> Iterator[tuple[str, bytes]]:
    yield "plain", PLAIN
    yield "gray", saved(PICTURE.convert("L"))
    yield "progressive", saved(progressive=True)
    yield "restarts", saved(restart_marker_blocks=2)
    yield "a long comment", saved(comment=b"c" * 60_000)
    yield "fill bytes", with_one(b"\xff\xff\xff", FRAME)
    yield "fill bytes behind SOI", with_one(b"\xff\xff")
    for number in range(10):
        yield f"EXIF orientation {number}", saved(exif=exif(number))
    yield "a thumbnail", saved(exif=exif(6, thumbnail=True))
    yield "EXIF in two", with_one(segment(0xE1, exif(1)) + segment(0xE1, exif(8)))
    yield "XMP attribute", saved(xmp=xmp('tiff:Orientation="6"/>'))
    yield "XMP element", saved(xmp=xmp("/><tiff:Orientation>8</tiff:Orientation>"))
    yield "MPO", saved(format="MPO", save_all=True, append_images=[PICTURE, PICTURE])
    for index in (b"MPF\0", b"MPF\0II*\0", b"MPF\0" + b"II*\0\x08\0\0\0\xff\xff" + bytes(40)):
        yield f"broken MPF {index!r}", with_one(segment(0xE2, index))
    yield "CMYK", saved(PICTURE.convert("CMYK"))
    cmyk = saved(PICTURE.convert("CMYK"))
    at = cmyk.index(b"Adobe") + 11
    yield "YCCK", cmyk[:at] + b"\x02" + cmyk[at + 1 :]
    yield "RGB", saved(keep_rgb=True)
    frame = PLAIN[FRAME:FRAME_END]
    for code in (*jpeg.FRAMES, 0xF7):
        yield f"frame {code:02x}", with_frame(bytes((0xFF, code)) + frame[2:])
        yield f"frame {code:02x} first", with_one(bytes((0xFF, code)) + frame[2:])
        yield f"frame {code:02x} again", with_one(bytes((0xFF, code)) + frame[2:5] + b"\0\x10\0\x20" + frame[9:], SCAN)
    yield "12 bits", with_frame(frame[:4] + b"\x0c" + frame[5:])
    yield "12 bits first", with_one(frame[:4] + b"\x0c" + frame[5:])
    for sides in (b"\0\0\0\x34", b"\0\x25\0\0", bytes(4), b"\xff\xff\xff\xff", b"\x20\0\x20\0"):
        yield f"sides {sides!r}", with_frame(frame[:5] + sides + frame[9:])
    yield "number of lines", with_frame(frame[:5] + b"\0\0" + frame[7:]) + segment(0xDC, b"\0\x25")
    for count in (0, 1, 2, 4, 5):
        yield f"{count} components said", with_frame(frame[:9] + bytes((count,)) + frame[10:])
    for length in range(len(frame) - 4):
        yield f"a frame of {length} bytes", with_frame(segment(0xC0, frame[4 : 4 + length]))
    yield "two components", with_frame(segment(0xC0, frame[4:9] + b"\x02" + frame[10:16]))
    for marker in range(0x100):
        yield f"marker {marker:02x}", with_one(segment(marker, b"\0" * 9))
        yield f"marker {marker:02x} with a frame inside", with_one(segment(marker, frame), FRAME)
        yield f"marker {marker:02x} alone", with_one(bytes((0xFF, marker)), FRAME)
    for junk in (b"\0", b"\r\n", b"\xd8", frame[4:]):
        yield f"stray {junk!r}", with_one(junk, FRAME)
        yield f"before SOI {junk!r}", junk + PLAIN
    for length in (0, 1):
        yield f"length {length}", with_one(b"\xff\xe5" + length.to_bytes(2, "big"))
    yield "no scan", PLAIN[:SCAN] + jpeg.EOI
    yield "two SOI", jpeg.SOI + PLAIN
    yield "JPEG-LS", b"\xff\xd8" + PLAIN[FRAME : FRAME + 1] + b"\xf7" + PLAIN[FRAME + 2 :]


def test_made_up_jpegs_have_the_headers_that_pillow_says(monkeypatch):
    for name, data in made():
        check(name, data, monkeypatch)


def test_a_jpeg_cut_anywhere_in_its_headers_has_the_header_that_pillow_says(monkeypatch):
    for data in (PLAIN, saved(exif=exif(6, thumbnail=True), progressive=True)):
        for length in range(jpeg_headers.read(data).scan + 40):
            check(f"{length} bytes", data[:length], monkeypatch)


def test_a_jpeg_with_bytes_changed_at_random_has_the_header_that_pillow_says_or_none(monkeypatch):
    rng = random.Random(0)
    for _ in range(3000):
        data = bytearray(PLAIN)
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(2, SCAN + 12)] = rng.choice((0, 1, 0xFF, rng.randrange(256)))
        check(bytes(data), bytes(data), monkeypatch)


def check(name: object, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    found = images._plain_jpeg(io.BytesIO(data))
    if found is None:
        return
    with monkeypatch.context() as patch:
        patch.setattr(images, "_plain_jpeg", lambda file: None)
        assert images.header(io.BytesIO(data)) == found, name


def test_most_jpegs_need_no_other_parser():
    for data in (PLAIN, saved(PICTURE.convert("L")), saved(progressive=True), with_one(b"\xff\xff\xff", FRAME)):
        assert images._plain_jpeg(io.BytesIO(data)) == ("JPEG", WIDTH, HEIGHT)
    np.testing.assert_array_equal(images.read_rgb(with_one(b"\xff\xff\xff", FRAME)), images.read_rgb(PLAIN))
