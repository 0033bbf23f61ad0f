"""What files of PNG, JPEG 2000, AVIF and other formats hold beside their picture is kept or named."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from recolor_fast.photographs import boxed, encoders, inventory, libraries, metadata, pictures, tags
from tests.test_inventory import GRAY, VIDEO, box, chunk, colored, fits, psd, saved
from tests.test_metadata import photoshop
from tests.test_xmp import packet


def test_chunks_of_a_png() -> None:
    data = saved("PNG")
    safe, unsafe, time = chunk(b"prVt", b"private"), chunk(b"prVT", b"private"), chunk(b"tIME", bytes(7))
    out, losses = colored(data[:33] + safe + time + data[33:-12] + safe + data[-12:])
    assert losses == ""
    assert out.count(safe) == 2
    assert out.index(safe) < out.index(b"IDAT") < out.rindex(safe)
    assert time in out
    out, losses = colored(data[:33] + unsafe + data[33:])
    assert losses == "loss: dropped chunk prVT"
    assert unsafe not in out
    assert "a video behind the picture" in colored(data + VIDEO)[1]


def test_texts_of_a_png_that_another_format_has_no_place_for_are_named() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "Somebody")
    info.add_text("Raw profile type iptc", "\niptc\n4\n00000000\n")
    data = saved("PNG", pnginfo=info)
    assert colored(data)[1] == ""
    assert colored(data, "JPEG")[1] == "loss: dropped text"


def test_boxes_of_a_jpeg_2000() -> None:
    data = saved("JPEG2000")
    claims = packet(' GCamera:MotionPhoto="1" dc:format="image/jp2"')
    more = [box(b"uuid", b"0123456789abcdef position"), box(b"xml ", b"<a/>"), box(b"uuid", metadata.XMP_UUID + claims)]
    out, losses = colored(data + b"".join(more))
    assert losses == ""
    assert more[0] in out
    assert more[1] in out
    assert b'dc:format="image/jp2"' in out
    assert b"MotionPhoto=" not in out
    assert pictures.read(out).metadata.xmp == pictures.read(colored(out)[0]).metadata.xmp
    assert "box what" in colored(data + box(b"what", b"ever"))[1]
    assert "data behind" in colored(data + b"words")[1]


def test_other_formats_name_what_they_lose() -> None:
    webp = saved("WEBP")
    odd = webp + b"odd!" + struct.pack("<I", 4) + b"data"
    odd = odd[:4] + struct.pack("<I", len(odd) - 8) + odd[8:]
    cases = {
        "chunk odd!": odd,
        "a video behind": webp + VIDEO,
        "data behind": saved("BMP") + b"words",
        "comments": b"P5\n# by somebody\n32 24\n255\n" + GRAY.tobytes(),
        "image ID": bytes((4,)) + saved("TGA")[1:18] + b"name" + saved("TGA")[18:],
        "image name": (sgi := saved("SGI"))[:24] + b"name".ljust(80, b"\0") + sgi[104:],
    }
    for name, data in cases.items():
        assert name in colored(data)[1], name
    icon = io.BytesIO()
    Image.fromarray(GRAY).save(icon, "ICO", sizes=[(16, 16), (24, 24)])
    assert "1 further pictures" in colored(icon.getvalue(), "PNG")[1]
    icon = io.BytesIO()
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(icon, "ICNS")
    assert "further pictures" in colored(icon.getvalue(), "PNG")[1]
    stars = fits("OBSERVER= 'somebody'")
    assert colored(fits(), "PNG")[1] == ""
    assert colored(stars, "PNG")[1] == "loss: dropped header cards (OBSERVER)"
    assert "data behind the picture" in colored(fits() + b"more".ljust(2880), "PNG")[1]
    assert "layers" in colored(psd(bytes(2) + b"layers"), "PNG")[1]
    assert "IPTC" in colored(psd(b"", photoshop((1028, b"", b"caption"))), "PNG")[1]
    assert colored(psd(b""), "PNG")[1] == ""
    for format in ("WEBP", "BMP", "TGA", "SGI", "PPM", "AVIF", "QOI", "JPEG2000", "PNG", "TIFF", "JPEG"):
        pixels = np.dstack([GRAY] * 3) if format == "QOI" else GRAY
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, format)
        assert colored(out.getvalue())[1] == "", format
    assert "data behind" in colored(saved("PPM") + b"words")[1]
    assert "application data ZOOM" in colored(gif(b"\x21\xff\x0bZOOMEXT1.0x\3abc\0"), "PNG")[1]
    assert colored(gif(b"\x21\xfe\5words\0"), "PNG")[1] == ""
    assert "plain text" in colored(gif(b"\x21\x01\5words\0"), "PNG")[1]


def gif(extension: bytes) -> bytes:
    data = saved("GIF")
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    return data[:at] + extension + data[at:]


def test_an_avif_with_more_than_its_picture() -> None:
    alpha = np.dstack([GRAY, GRAY, GRAY, np.full_like(GRAY, 200)])
    out = io.BytesIO()
    exif = Image.Exif()
    exif[271] = "Maker"
    Image.fromarray(alpha).save(out, "AVIF", exif=exif, xmp=packet(' dc:format="a"'))
    assert "dropped" not in colored(out.getvalue())[1]
    assert "box what" in colored(out.getvalue() + box(b"what", b"ever"))[1]
    names = [thing.name for thing in inventory.of(out.getvalue(), "AVIF")]
    assert "XMP format" in names
    assert "tag 271 (Make)" in names


def test_items_of_an_avif_or_heif() -> None:
    def full(kind: bytes, content: bytes, version: int = 0) -> bytes:
        return box(kind, bytes((version, 0, 0, 0)) + content)

    def link(kind: bytes, source: int, *targets: int) -> bytes:
        return box(kind, struct.pack(f">{2 + len(targets)}H", source, len(targets), *targets))

    kinds = [b"grid", b"av01", b"av01", b"av01", b"av01", b"tmap", b"Exif", b"mime", b"mime"]
    media = {8: b"application/rdf+xml\0", 9: b"text/plain\0"}
    infe = [
        full(b"infe", struct.pack(">HH4s", number, 0, kind) + b"\0" + media.get(number, b""), 2)
        for number, kind in enumerate(kinds, 1)
    ]
    links = [link(b"dimg", 1, 2), link(b"auxl", 3, 1), link(b"thmb", 4, 1), link(b"auxl", 5, 1), link(b"dimg", 6, 1, 5)]
    auxiliary = box(b"iprp", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0")
    parts = [full(b"pitm", b"\0\1"), full(b"iinf", struct.pack(">H", len(infe)) + b"".join(infe))]
    parts += [full(b"iref", b"".join(links)), auxiliary]
    things = list(boxed.items_of(bytes(4) + b"".join(parts)))
    assert [(thing.name, thing.kind) for thing in things] == [
        ("thumbnail", "stale"),
        ("an item av01 beside the picture", "content"),
        ("an item tmap beside the picture", "content"),
        ("an item mime text/plain beside the picture", "content"),
    ]


@pytest.mark.parametrize("format", ["HEIF", "JXL"])
def test_what_libraries_read_is_looked_through_too(format: str) -> None:
    if lacks := libraries.missing(format):
        pytest.skip(lacks)
    exif = metadata.Metadata(
        exif=tags.block({271: (2, b"Maker\0")}), xmp=packet(' dc:format="a" GCamera:MotionPhoto="1"')
    )
    data = encoders.encode(np.dstack([GRAY] * 3), None, format, 90, metadata.settings(exif, format))
    out, losses = colored(data)
    assert losses == ""
    assert b"Maker" in out
    assert b"MotionPhoto=" in data
    assert b"MotionPhoto=" not in out
    assert "data behind the picture (5 bytes)" in colored(data + b"words")[1]
    assert "box what" in colored(data + box(b"what", b"ever"))[1]
    assert "box uuid" in colored(data + box(b"uuid", b"0123456789abcdef position"))[1]
