"""What the page in the browser alone copies of a file's metadata, in node, against Python; also of damaged files."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from recolor_fast.photographs import containers, images, metadata, provenance
from tests import javascript, photographs

pytestmark = javascript.needs_node

MADE = {"colored_by": "recolor_fast 0", "model": "a <b> & 'c'", "saturation": 1.5}


def file(format: str, **settings) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(images.gray(photographs.pixels(0, 30, 40))).save(buffer, format, **settings)
    return buffer.getvalue()


def block(orientation: int, thumbnail: bytes = b"") -> bytes:
    """EXIF with what is turned (resolutions, places), what is not, and a thumbnail."""
    exif = Image.Exif()
    exif[271], exif[274], exif[282], exif[283] = "a maker", orientation, 300.0, 150.0
    inner = exif.get_ifd(0x8769)
    inner[36867], inner[37396], inner[40961] = "1931:05:04 10:00:00", (10, 20, 6, 4), 65535
    inner[40962], inner[40963] = 40, 30
    data = exif.tobytes().removeprefix(b"Exif\0\0")
    if not thumbnail:
        return data
    order = "<" if data[:2] == b"II" else ">"
    (first,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, first)
    second = len(data)
    rows = [(513, 4, 1, second + 2 + 24 + 4), (514, 4, 1, len(thumbnail))]
    directory = struct.pack(order + "H", 2) + b"".join(struct.pack(order + "HHII", *row) for row in rows) + bytes(4)
    whole = bytearray(data + directory + thumbnail + b"notes of a camera")
    struct.pack_into(order + "I", whole, first + 2 + 12 * count, second)
    return bytes(whole)


@pytest.mark.parametrize("thumbnail", [b"", b"\xff\xd8 the gray picture \xff\xd9"])
def test_exif_is_what_python_makes_of_it(thumbnail):
    blocks = [block(orientation, thumbnail) for orientation in range(1, 9)]
    sides = [(30, 40) if orientation > 4 else (40, 30) for orientation in range(1, 9)]
    found = javascript.call(
        [
            ("browser/exif", "settled", [np.frombuffer(one, np.uint8), *size])
            for one, size in zip(blocks, sides, strict=True)
        ]
    )
    for one, (width, height), got in zip(blocks, sides, found, strict=True):
        expected = metadata.settled(metadata.Metadata(exif=one), height, width).exif
        assert got.tobytes() == expected
        assert b"the gray picture" not in expected


def dressed(kind: str, old: bytes, width: int = 40, height: int = 30) -> tuple:
    fresh = {"jpeg": file("JPEG"), "png": file("PNG")}[kind]
    arrays = [np.frombuffer(data, np.uint8) for data in (fresh, old)]
    return (f"browser/{kind}", "dressed", [*arrays, MADE, width, height])


PACKET = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6" tiff:Make="M%s"/></rdf:RDF></x:xmpmeta>'
    b'<?xpacket end="w"?>'
)


def test_xmp_is_kept_and_says_what_colored_it_once_however_often():
    first, second = PACKET % b"", PACKET % b"\xc3\xa9"
    calls = [dressed("jpeg", file("JPEG", xmp=packet)) for packet in (first, second)]
    once = [one["bytes"].tobytes() for one in javascript.call(calls)]
    twice = [one["bytes"].tobytes() for one in javascript.call([dressed("jpeg", data) for data in once])]
    for data, make in zip(once + twice, [b"M", b"M\xc3\xa9"] * 2):
        packet = metadata.of_file(data).xmp
        assert b'tiff:Make="%s"' % make in packet
        assert b'tiff:Orientation="1"' in packet
        assert packet.count(b"recolor:made>") == 2
        assert provenance.of(data) == MADE


@pytest.mark.parametrize(
    "untrue",
    [b'xmlns:G="http://ns.google.com/photos/1.0/camera/" G:MotionPhoto="1"', b'xmlns:t="dc/terms/" t:provenance="x"'],
)
def test_xmp_that_may_be_untrue_is_left_out_with_a_note(untrue):
    packet = (PACKET % b"").replace(b'tiff:Make="M"', untrue)
    (found,) = javascript.call([dressed("jpeg", file("JPEG", xmp=packet))])
    assert found["notes"] == ["loss: its XMP speaks of more than the colored picture and is not kept"]
    assert untrue not in found["bytes"].tobytes()
    assert provenance.of(found["bytes"].tobytes()) == MADE


def test_what_travels_with_a_jpeg_and_what_does_not():
    resource = struct.pack(">4sHHI", b"8BIM", 1028, 0, 6) + b"\x1c\x02\x50\0\1A"
    stale = struct.pack(">4sHHI", b"8BIM", 1036, 0, 4) + b"gray"
    segments = [
        (0xE1, b"Exif\0\0" + block(1)),
        (0xE2, b"ICC_PROFILE\0\1\1profile"),
        (0xE4, b"a maker's own"),
        (0xEB, b"JP signed"),
        (0xED, b"Photoshop 3.0\0" + stale + resource),
        (0xFE, b"a comment"),
    ]
    old = file("JPEG", dpi=(300, 150))
    parts = [b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data for marker, data in segments]
    (found,) = javascript.call([dressed("jpeg", old[:20] + b"".join(parts) + old[20:])])
    data = found["bytes"].tobytes()
    kept = metadata.of_file(data)
    assert kept.dpi == (300, 150)
    assert kept.iptc == resource
    assert kept.comments == (b"a comment",)
    assert kept.parts == ((0xE4, b"a maker's own"),)
    assert kept.exif == metadata.settled(metadata.Metadata(exif=block(1)), 30, 40).exif
    assert b"ICC_PROFILE" not in data
    assert b"signed" not in data
    assert found["notes"] == ["loss: content credentials (C2PA) are not kept"]
    assert Image.open(io.BytesIO(data)).size == (40, 30)


def test_what_travels_with_a_png_and_what_does_not():
    old = file("PNG", dpi=(600, 600), exif=b"Exif\0\0" + block(1))
    extra = [
        (b"tIME", bytes(7)),
        (b"zTXt", b"Author\0\0x"),
        (b"caBX", b"signed"),
        (b"prIv", b"own"),
        (b"prIV", b"of pixels"),
    ]
    old = old[:33] + b"".join(containers.chunk(*one) for one in extra) + old[33:]
    (found,) = javascript.call([dressed("png", old)])
    data = found["bytes"].tobytes()
    chunks = dict(containers.chunks(data))
    assert {b"tIME", b"zTXt", b"prIv", b"pHYs", b"eXIf", b"iTXt"} <= set(chunks)
    assert not {b"caBX", b"prIV"} & set(chunks)
    assert provenance.of(data) == MADE
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.getexif()[271] == "a maker"


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_damaged_metadata_make_no_damaged_file(kind):
    random = np.random.default_rng(0)
    whole = file(kind.upper(), exif=b"Exif\0\0" + block(6, b"thumbnail"), dpi=(300, 300), xmp=PACKET % b"")
    olds = []
    for _ in range(150):
        data = np.frombuffer(whole, np.uint8).copy()
        places = random.integers(2, min(len(data), 900), random.integers(1, 6))
        data[places] = random.choice([0, 1, 255, random.integers(256)], len(places))
        olds.append(data[: random.integers(4, len(data))].tobytes() if random.random() < 0.3 else data.tobytes())
    for found in javascript.call([dressed(kind, old) for old in olds]):
        assert "error" not in found
        data = found["bytes"].tobytes()
        assert provenance.of(data) == MADE
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            assert image.size == (40, 30)
        exif = metadata.of_file(data).exif if kind == "jpeg" else dict(containers.chunks(data)).get(b"eXIf", b"")
        assert metadata.orientation(metadata.Metadata(exif=exif)) == 1
