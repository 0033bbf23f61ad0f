"""Metadata: what was in the file is in its copy, but for what the copy would make untrue."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from recolor_fast.photographs import jpeg, metadata, pictures

CBCR = np.full((2, 4, 4), 140, np.uint8)
DROP = pictures.Writing(metadata="drop")
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6" dc:title="Title"/></x:xmpmeta>'
GRAY = np.add.outer(np.arange(24), 5 * np.arange(32)).astype(np.uint8)


def exif(orientation: int = 6) -> Image.Exif:
    block = Image.Exif()
    block[274], block[271], block[306], block[282] = orientation, "Maker", "2001:02:03 04:05:06", 300.0
    block.get_ifd(0x8769).update({33434: 0.01, 40961: 65535, 40962: 32, 40963: 24, 37500: b"maker's notes"})
    block.get_ifd(0x8769)[40965] = {1: "R03"}
    block.get_ifd(0x8825).update({1: "N", 2: (51.0, 28.0, 38.5)})
    return block


def photoshop(*resources: tuple[int, bytes, bytes]) -> bytes:
    """Image resources from kinds, names and contents."""
    parts = []
    for kind, name, content in resources:
        padded = bytes((len(name),)) + name + bytes((len(name) + 1) % 2)
        parts.append(b"8BIM" + struct.pack(">H", kind) + padded + struct.pack(">I", len(content)) + content)
        parts.append(bytes(len(content) % 2))
    return b"".join(parts)


IPTC = photoshop((1028, b"", b"\x1c\x02\x78\0\x07caption"), (1005, b"odd", b"0123456789abcdef"))


def file(format: str) -> bytes:
    """A gray file with everything the format holds."""
    settings: dict[str, object] = {"exif": exif()}
    if format in ("JPEG", "WEBP", "AVIF"):
        settings["xmp"] = XMP
    if format == "JPEG":
        settings |= {"comment": b"a comment", "dpi": (300, 200), "quality": 95}
    if format == "TIFF":
        settings |= {"tiffinfo": {700: XMP, 34377: IPTC}, "dpi": (300, 200)}
        settings.pop("exif")
        data = saved(format, **settings)
        return metadata.insert(data, metadata.Metadata(exif=exif().tobytes()[6:], xmp=XMP, iptc=IPTC), "TIFF")[0]
    if format == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_text("Author", "Somebody")
        texts.add_text("Long", "text " * 100, zip=True)
        texts.add_itxt("Ünï".encode().decode("latin-1"), "naïve", "de", "x")
        texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
        settings |= {"pnginfo": texts, "dpi": (300, 200)}
    data = saved(format, **settings)
    return jpeg.splice(data, [jpeg.Segment(jpeg.APP13, metadata.IPTC + IPTC)]) if format == "JPEG" else data


def saved(format: str, **settings: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(GRAY).save(out, format, **settings)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


FORMATS = ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"]


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_exif_and_xmp_travel_from_any_format_to_any(source: str, target: str) -> None:
    picture = pictures.read(file(source))
    assert picture.gray.shape == (32, 24)  # turned
    data, _ = pictures.encode(picture, CBCR, target)
    image = opened(data)
    assert image.size == (24, 32)
    got = image.getexif()
    assert got.get(274) == 1
    assert got[271] == "Maker"
    assert got[306] == "2001:02:03 04:05:06"
    inside = got.get_ifd(0x8769)
    assert (inside[40961], inside[40962], inside[40963]) == (1, 24, 32)
    assert inside[33434] == pytest.approx(0.01)
    assert inside[37500] == b"maker's notes"
    assert got.get_ifd(0x8825)[2] == (51.0, 28.0, 38.5)
    assert got.get_ifd(0xA005)[1] == "R98"
    packet = image.tag_v2[700] if target == "TIFF" else image.info["xmp"]  # type: ignore[attr-defined]
    assert packet == XMP.replace(b'"6"', b'"1"')
    again = pictures.read(data)
    assert again.gray.shape == (32, 24)


@pytest.mark.parametrize("format", FORMATS)
def test_dropped_is_everything(format: str) -> None:
    picture = pictures.read(file(format))
    data, notes = pictures.encode(picture, CBCR, format, DROP)
    assert notes == ()
    assert pictures.read(data).gray.shape == (32, 24)
    found = pictures.read(data).metadata
    assert found._replace(exif=b"") == metadata.Metadata()
    for word in (b"Maker", b"adobe:ns", b"caption", b"comment", b"Somebody", b"2001"):
        assert word in file(format) or word in (b"caption", b"comment", b"Somebody")
        assert word not in data


def test_jpeg_segments_survive_byte_for_byte() -> None:
    segments = [
        jpeg.Segment(jpeg.APP1, metadata.XMP_MORE + b"0123456789abcdef" * 4),
        jpeg.Segment(jpeg.APP13, metadata.IPTC + IPTC[:20]),
        jpeg.Segment(jpeg.APP13, metadata.IPTC + IPTC[20:]),
        jpeg.Segment(jpeg.COM, b"\xff\xfe first"),
        jpeg.Segment(jpeg.COM, b"second"),
        jpeg.Segment(jpeg.APP2, b"FPXR\0 of whatever kind"),
        jpeg.Segment(0xEB, b"JP signature of the old content"),
    ]
    data, notes = pictures.encode(pictures.read(jpeg.splice(saved("JPEG"), segments)), CBCR, "JPEG")
    assert notes == ("loss: dropped content credentials (C2PA) or other JUMBF boxes",)
    got = [(s.marker, s.payload) for s in jpeg.head(data) if 0xE0 < s.marker < 0xEF or s.marker == jpeg.COM]
    assert got == [
        (jpeg.APP1, segments[0].payload),
        (jpeg.APP13, metadata.IPTC + IPTC),
        (jpeg.COM, b"\xff\xfe first"),
        (jpeg.COM, b"second"),
        (jpeg.APP2, b"FPXR\0 of whatever kind"),
    ]


@pytest.mark.parametrize(("format", "within"), [("JPEG", 0.5), ("PNG", 0.02), ("TIFF", 0.02), ("BMP", 0.02)])
def test_resolution_is_kept(format: str, within: float) -> None:
    for source in ("JPEG", "PNG", "TIFF"):
        picture = pictures.read(saved(source, dpi=(300, 72)))
        data, _ = pictures.encode(picture, CBCR, format)
        assert np.abs(np.subtract(opened(data).info["dpi"], (300, 72))).max() <= within
    metric = jpeg.splice(saved("JPEG"), [jpeg.Segment(jpeg.APP0, b"JFIF\0\1\1\2\0\x64\0\x64\0\0")])
    assert pictures.read(metric).metadata.dpi == (254.0, 254.0)


def test_png_texts_are_copied_verbatim_and_what_describes_old_pixels_is_not() -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    data = file("PNG")
    texts = list(pictures.read(data).metadata.texts)
    assert [kind for kind, _ in texts] == [b"tEXt", b"zTXt", b"iTXt"]
    stale = chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"bKGD", b"\0\0") + chunk(b"sBIT", b"\x08")
    at = data.index(b"IDAT") - 4
    late = chunk(b"tEXt", b"Late\0after the pixels")
    data = data[:33] + stale + data[33:at] + data[at:-12] + late + data[-12:]
    out, notes = pictures.encode(pictures.read(data), CBCR, "PNG")
    assert notes == ("left out, true of the picture as it was: background color, significant bits",)
    for kind in (b"gAMA", b"bKGD", b"sBIT"):
        assert kind in data
        assert kind not in out
    assert opened(out).info["Author"] == "Somebody"
    assert opened(out).info["Late"] == "after the pixels"
    assert pictures.read(out).metadata.texts == (*texts, (b"tEXt", b"Late\0after the pixels"))


def test_imagemagicks_raw_profiles_are_read_as_what_they_are() -> None:
    block = b"Exif\0\0" + exif(8).tobytes().removeprefix(b"Exif\0\0")
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Raw profile type exif", f"\nexif\n{len(block):8}\n{block.hex()}\n")
    picture = pictures.read(saved("PNG", pnginfo=texts))
    assert picture.gray.shape == (32, 24)
    out, _ = pictures.encode(picture, CBCR, "PNG")
    assert b"Raw profile" not in out
    assert opened(out).getexif()[274] == 1
    assert opened(out).getexif()[271] == "Maker"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("at_the_end", [True, False])
def test_thumbnails_are_gone_and_all_else_stays_where_it_was(order: str, at_the_end: bool) -> None:
    thumbnail = b"\xff\xd8 a gray little picture \xff\xd9"
    tail = b"" if at_the_end else b"more"
    first = struct.pack(order + "HHHIHHI", 1, 274, 3, 1, 6, 0, 26) + struct.pack(order + "H", 2)
    second = b"".join(
        struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in ((513, 56), (514, len(thumbnail)))
    )
    block = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8) + first + second + bytes(4)
    block = block.ljust(56, b"\0") + thumbnail + tail
    found = metadata.settled(metadata.Metadata(exif=block), 24, 32)
    assert b"picture" not in found.exif
    assert len(found.exif) == (56 if at_the_end else len(block))
    assert found.exif.endswith(tail)
    got = Image.Exif()
    got.load(found.exif)
    assert dict(got) == {274: 1}
    assert not got.get_ifd(1)


def test_photoshops_thumbnail_and_profile_are_left_out() -> None:
    stale = photoshop((1036, b"", b"thumbnail"), (1028, b"", b"caption"), (1039, b"", b"profile"), (1005, b"", b"x"))
    data = jpeg.splice(saved("JPEG"), [jpeg.Segment(jpeg.APP13, metadata.IPTC + stale)])
    assert pictures.read(data).metadata.iptc == photoshop((1028, b"", b"caption"), (1005, b"", b"x"))
    damaged = stale[:-3]
    data = jpeg.splice(saved("JPEG"), [jpeg.Segment(jpeg.APP13, metadata.IPTC + damaged)])
    assert pictures.read(data).metadata.iptc == damaged


def test_orientation_of_xmp_counts_where_exif_has_none() -> None:
    data = jpeg.splice(saved("JPEG"), [jpeg.Segment(jpeg.APP1, metadata.XMP + XMP)])
    picture = pictures.read(data)
    assert picture.gray.shape == (32, 24)
    out, _ = pictures.encode(picture, CBCR, "JPEG")
    assert pictures.read(out).gray.shape == (32, 24)
    kept, _ = pictures.encode(picture, CBCR, "JPEG", pictures.Writing(lossless_luma=True))
    assert opened(kept).size == (32, 24)
    assert pictures.read(kept).gray.shape == (32, 24)


def test_what_a_format_cannot_hold_is_noted() -> None:
    picture = pictures.read(file("JPEG"))
    assert pictures.encode(picture, CBCR, "PNG")[1] == ("loss: dropped IPTC",)
    moved = "the place of its maker's notes, which hold offsets"
    assert pictures.encode(picture, CBCR, "TIFF")[1] == (f"loss: dropped {moved}, comments",)
    (note,) = pictures.encode(picture, CBCR, "PPM")[1]
    assert note == "loss: dropped resolution, EXIF, XMP, comments, IPTC"
    large = picture._replace(metadata=metadata.Metadata(xmp=bytes(70_000), comments=(b"short",)), things=())
    data, (note,) = pictures.encode(large, CBCR, "JPEG")
    assert note.startswith("loss: dropped metadata of 70,029 bytes")
    assert b"short" in data


def test_broken_exif_is_dropped_with_a_note() -> None:
    data = saved("JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    picture = pictures.read(data)
    out, notes = pictures.encode(picture, CBCR, "JPEG")
    assert notes == ("loss: dropped EXIF, which is damaged",)
    assert b"Exif" not in out


def test_random_damage_to_exif_raises_nothing_else() -> None:
    random = np.random.default_rng(0)
    block = exif().tobytes().removeprefix(b"Exif\0\0")
    plain = cv2.imencode(".tif", np.dstack([GRAY] * 3))[1].tobytes()
    for _ in range(3000):
        bad = bytearray(block)
        for at in random.integers(0, len(block), 3):
            bad[at] = random.integers(256)
        found = metadata.Metadata(exif=bytes(bad[: random.integers(8, len(bad) + 1)]))
        assert 1 <= metadata.orientation(found) <= 8
        found = metadata.settled(found, 24, 32, 6)
        assert opened(metadata.insert(plain, found, "TIFF")[0]).size in ((32, 24), (24, 32))
