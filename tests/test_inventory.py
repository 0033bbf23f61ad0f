"""What a file holds beside its picture is in its copy afterwards, or is named: for parts that nobody ever heard of."""

import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image

from recolor_fast.photographs import encoders, images, inventory, jpeg, libraries, metadata, pictures, profiles, tags
from tests.test_metadata import photoshop
from tests.test_xmp import packet

GRAY = np.add.outer(np.arange(24), 5 * np.arange(32)).astype(np.uint8)
CBCR = np.full((2, 4, 4), 140, np.uint8)
VIDEO = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 4


def saved(format: str, **settings: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(GRAY).save(out, format, **settings)
    return out.getvalue()


def colored(data: bytes, format: str = "", made=None, **writing: object) -> tuple[bytes, str]:
    """The copy and the losses that are told of."""
    picture = pictures.read(data)
    out, notes = pictures.encode(picture, CBCR, format or picture.format, pictures.Writing(**writing), made)
    assert pictures.read(out).gray.shape == picture.gray.shape
    return out, "; ".join(note for note in (*picture.notes, *notes) if note.startswith(pictures.LOSS))


def segment(marker: int, payload: bytes) -> Callable[[bytes], bytes]:
    return lambda data: jpeg.splice(data, [jpeg.Segment(marker, payload)])


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def tiff(
    more: tags.Tree, order: str = "<", big: bool = False, behind: bytes = b"", subtract: tuple[int, ...] = ()
) -> bytes:
    """A gray TIFF of one strip with more tags: (type, value in little-endian order)."""
    height, width = GRAY.shape
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(
        order + ("HHHQ" if big else "HI"), *((43, 8, 0) if big else (42,)), 0
    )
    tree = {
        tag: (3, struct.pack("<H", value))
        for tag, value in {256: width, 257: height, 258: 8, 259: 1, 262: 1, 277: 1, 278: height}.items()
    }
    tree |= {273: (4, struct.pack("<I", len(head))), 279: (4, struct.pack("<I", GRAY.size))} | more
    inline, at = (8, 20) if big else (4, 12), len(head) + GRAY.size
    inline, step = inline
    body, tail = struct.pack(order + ("Q" if big else "H"), len(tree)), b""
    after = at + len(body) + step * len(tree) + inline
    for tag, (kind, value) in sorted(tree.items()):
        word = tags.WORDS[kind]
        if order == ">":
            value = b"".join(value[i : i + word][::-1] for i in range(0, len(value), word))
        body += struct.pack(order + ("HHQ" if big else "HHI"), tag, kind, len(value) // tags.SIZES[kind])
        if len(value) > inline:
            body += struct.pack(order + ("Q" if big else "I"), after + len(tail))
            tail += value + bytes(len(value) % 2)
        else:
            body += value.ljust(inline, b"\0")
    head = head[: -(8 if big else 4)] + struct.pack(order + ("Q" if big else "I"), at)
    return head + GRAY.tobytes() + body + bytes(inline) + tail + behind


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def fits(*more: str) -> bytes:
    height, width = GRAY.shape
    cards = ["SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    2"]
    cards += [f"NAXIS1  = {width:20}", f"NAXIS2  = {height:20}", *more, "END"]
    return "".join(card.ljust(80) for card in cards).ljust(2880).encode() + GRAY.tobytes().ljust(2880, b"\0")


def psd(layers: bytes, resources: bytes = b"") -> bytes:
    head = b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 1, *GRAY.shape, 8, 1)
    parts = b"".join(struct.pack(">I", len(part)) + part for part in (b"", resources, layers))
    return head + parts + b"\0\0" + GRAY.tobytes()


GEO = {33550: (12, struct.pack("<3d", 0.5, 0.5, 0)), 34735: (3, struct.pack("<8H", 1, 1, 0, 1, 1024, 0, 1, 1))}


# --- JPEG ----------------------------------------------------------------------------------------------------------

SEGMENTS = {
    "APP12": (0xEC, b"OLYMPUS\0[picture info]\r\nTimeDate=909702006\r\n"),
    "FLIR": (0xE1, b"FLIR\0\1\0\0" + bytes(range(200))),
    "APP3": (0xE3, b"Meta\0\0" + bytes(50)),
    "APP4": (0xE4, b"QVCI" + bytes(50)),
    "CIFF": (0xE0, b"II\x1a\0\0\0HEAPJPGM" + bytes(20)),
    "Adobe_CM": (0xED, b"Adobe_CM\0\2"),
    "FPXR": (0xE2, b"FPXR\0\0"),
}


@pytest.mark.parametrize("name", SEGMENTS)
@pytest.mark.parametrize("lossless", [False, True])
def test_segments_that_nobody_knows_are_kept(name: str, lossless: bool) -> None:
    marker, payload = SEGMENTS[name]
    out, losses = colored(segment(marker, payload)(saved("JPEG")), lossless_luma=lossless)
    assert losses == ""
    assert [one.payload for one in jpeg.head(out) if one.marker == marker and one.payload == payload] == [payload]


@pytest.mark.parametrize(
    ("marker", "payload", "name"),
    [
        (0xEB, b"JP\0\1\0\0\0\1jumbc2pa", "content credentials"),
        (0xE1, b"Exif\0\0damaged", "EXIF, which is damaged"),
    ],
)
def test_segments_that_cannot_be_kept_are_named(marker: int, payload: bytes, name: str) -> None:
    out, losses = colored(segment(marker, payload)(saved("JPEG")))
    assert name in losses
    assert payload not in out


def test_a_video_behind_a_picture_is_named_and_xmp_does_not_claim_it() -> None:
    claims = packet(f' GCamera:MotionPhoto="1" GCamera:MicroVideoOffset="{len(VIDEO)}" dc:format="image/jpeg"')
    data = segment(jpeg.APP1, metadata.XMP + claims)(saved("JPEG")) + VIDEO
    for format in ("JPEG", "PNG", "TIFF", "WEBP"):
        out, losses = colored(data, format)
        assert losses == f"loss: dropped a video behind the picture ({len(VIDEO):,} bytes)"
        assert VIDEO not in out
        assert b"MotionPhoto=" not in out
        assert b"MicroVideoOffset" not in out
        assert b'dc:format="image/jpeg"' in out
    assert colored(data, metadata="drop")[1] == losses  # it is no metadata


@pytest.mark.parametrize("progressive", [False, True])
def test_what_is_behind_the_end_of_a_jpeg_is_counted_padding_is_not(progressive: bool) -> None:
    data = saved("JPEG", progressive=progressive)
    assert colored(data + bytes(512))[1] == ""
    assert "data behind the picture (7 bytes)" in colored(data + b"\0\0words")[1]
    assert "a picture behind the picture" in colored(data + data)[1]
    second = data[:-2] + bytes((255, jpeg.COM)) + struct.pack(">H", 9) + b"comment" + data[-2:]
    assert "dropped comments" in colored(second)[1]  # behind the scans


def test_an_index_of_pictures_and_thumbnails_are_left_out_knowingly() -> None:
    thumbnail = b"JFXX\0\x10" + saved("JPEG")
    data = segment(jpeg.APP2, b"MPF\0whatever")(segment(jpeg.APP0, thumbnail)(saved("JPEG", icc_profile=SRGB)))
    notes = pictures.encode(pictures.read(data), CBCR, "JPEG")[1]
    assert notes == ("left out, true of the picture as it was: index of further pictures, thumbnail, color profile",)


def test_a_map_for_brighter_screens_is_named_and_not_claimed() -> None:
    claims = packet(
        ' hdrgm:Version="1.0" dc:format="image/jpeg"', "<Container:Directory><rdf:Seq/></Container:Directory>"
    )
    data = segment(jpeg.APP1, metadata.XMP + claims)(saved("JPEG"))
    data = segment(jpeg.APP2, b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0")(segment(jpeg.APP2, b"MPF\0whatever")(data))
    out, losses = colored(data + saved("JPEG"))
    assert losses == f"loss: dropped a picture behind the picture ({len(saved('JPEG')):,} bytes)"
    for claim in (b"hdrgm:Version", b"Container:Directory", b"MPF\0", b"21496"):
        assert claim in data
        assert claim not in out
    assert b'dc:format="image/jpeg"' in out


SRGB = profiles.gray_profile()


def test_what_made_an_earlier_copy_is_no_loss() -> None:
    made = {"colored_by": "recolor_fast 0"}
    first, _ = colored(saved("JPEG"), made=made)
    again, losses = colored(first, made=made | {"saturation": 2})
    assert losses == ""
    assert b"saturation" in again


def test_a_second_block_of_a_kind_is_named() -> None:
    exif = Image.Exif()
    exif[271] = "Maker"
    block = exif.tobytes()
    data = jpeg.splice(saved("JPEG"), [jpeg.Segment(jpeg.APP1, block), jpeg.Segment(jpeg.APP1, block + b"more")])
    assert "APP1 Exif" in colored(data)[1]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_places_in_a_picture_are_turned_with_it_or_named(orientation: int) -> None:
    width, height = GRAY.shape[::-1]
    exif = Image.Exif()
    exif[274], exif[282], exif[283] = orientation, 300.0, 150.0
    exif.get_ifd(0x8769).update({37396: (5, 3, 4, 2), 41486: 10.0, 41487: 20.0})
    faces = packet(inside='<rs:Regions xmlns:rs="http://www.metadataworkinggroup.com/schemas/regions/">1</rs:Regions>')
    data = segment(jpeg.APP1, metadata.XMP + faces)(saved("JPEG", exif=exif, dpi=(300, 150)))
    out, losses = colored(data)
    assert losses == ("" if orientation == 1 else "loss: dropped XMP")
    with Image.open(io.BytesIO(out)) as image:
        got, inside = image.getexif(), image.getexif().get_ifd(0x8769)
        spot = np.zeros((height, width), np.uint8)
        spot[2:4, 3:7] = 1  # 4 x 2 pixels around (5, 3)
        turned = np.argwhere(images.upright(spot, orientation))
        (top, left), (bottom, right) = turned.min(axis=0), turned.max(axis=0)
        x, y, *sides = inside[37396]
        assert sides == [right - left + 1, bottom - top + 1]
        assert left <= x <= right + 1
        assert top <= y <= bottom + 1
        across = (300, 150) if orientation < 5 else (150, 300)
        assert (got[282], got[283]) == across
        assert image.info["dpi"] == pytest.approx(across)
        assert (inside[41486], inside[41487]) == ((10, 20) if orientation < 5 else (20, 10))
    out, losses = colored(data, lossless_luma=True)  # where they stay as they are
    assert losses == ""
    assert b"regions/" in out
    with Image.open(io.BytesIO(out)) as image:
        assert image.getexif().get_ifd(0x8769)[37396] == (5, 3, 4, 2)


def test_non_square_pixels_are_named() -> None:
    shape = jpeg.Segment(jpeg.APP0, b"JFIF\0\1\1\0\0\x02\0\x01\0\0")
    assert colored(jpeg.splice(saved("JPEG"), [shape]))[1] == "loss: dropped shape of its pixels"


# --- TIFF ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
def test_position_private_tags_and_texts_of_a_tiff_are_kept(order: str, big: bool) -> None:
    more = {
        **GEO,
        65000: (2, b"signature 1234/56\0"),
        270: (2, b"a description\0"),
        315: (2, b"somebody\0"),
        33432: (2, b"an archive\0"),
    }
    out, losses = colored(tiff(more, order, big))
    assert losses == ""
    assert {tag: tags.tree(out)[tag] for tag in more} == more
    with Image.open(io.BytesIO(out)) as image:
        assert image.tag_v2[33550] == (0.5, 0.5, 0)  # type: ignore[attr-defined]
        assert image.tag_v2[315] == "somebody"  # type: ignore[attr-defined]


def test_what_says_where_pixels_are_is_not_kept_with_turned_ones() -> None:
    out, losses = colored(tiff(GEO | {274: (3, b"\6\0")}))
    assert "tag 33550 (GeoTIFF's scale)" in losses
    assert "tag 34735" in losses
    assert not set(GEO) & set(tags.tree(out))


@pytest.mark.parametrize(
    ("tag", "field", "name"),
    [
        (37724, (7, bytes(range(1, 41))), "Photoshop's layers (tag 37724)"),
        (42113, (2, b"0\0"), "GDAL's value for no data (tag 42113)"),
        (330, (4, struct.pack("<I", 8)), "pictures below the picture (SubIFDs) (tag 330)"),
        (50721, (5, bytes(72)), "DNG's data (tag 50721)"),
        (65001, (13, struct.pack("<I", 8)), "tag 65001"),
        (65001, (16, struct.pack("<Q", 8)), "tag 65001"),
        (52545, (7, b"jumb1234"), "content credentials"),
    ],
)
def test_tags_that_would_be_false_are_named(tag: int, field: tuple[int, bytes], name: str) -> None:
    out, losses = colored(tiff({tag: field}))
    assert name in losses
    assert tag not in tags.tree(out)


def test_iptc_of_a_big_endian_tiff_is_read_as_it_lies() -> None:
    iptc = b"\x1c\x02\x78\0\x07caption\0\0\0\0"
    swapped = b"".join(iptc[at : at + 4][::-1] for at in range(0, len(iptc), 4))  # as the type LONG wants it
    out, losses = colored(tiff({33723: (4, swapped)}, ">"))
    assert losses == ""
    assert iptc in out


def test_iptc_beside_photoshops_resources_is_kept() -> None:
    iptc, other = b"\x1c\x02\x78\0\x07caption", photoshop((1005, b"", b"0123456789abcdef"))
    out, losses = colored(tiff({33723: (7, iptc), 34377: (7, other)}))
    assert losses == ""
    assert iptc in out
    assert other in out
    both = photoshop((1028, b"", b"\x1c\x02\x78\0\x05other"))
    assert "dropped IPTC beside" in colored(tiff({33723: (7, iptc), 34377: (7, both)}))[1]


def test_what_no_tag_speaks_of_is_named() -> None:
    assert colored(tiff(GEO, behind=bytes(9)))[1] == ""
    assert "data behind all that its tags speak of (5 bytes)" in colored(tiff({}, behind=b"words"))[1]


def test_moved_makers_notes_are_named() -> None:
    exif = Image.Exif()
    exif[271] = "Maker"
    exif.get_ifd(0x8769)[37500] = b"maker's notes"
    data = saved("JPEG", exif=exif)
    assert colored(data)[1] == ""
    assert "maker's notes" in colored(data, "TIFF")[1]


# --- anything ------------------------------------------------------------------------------------------------------


def random_part(random: np.random.Generator, format: str) -> tuple[bytes, bytes, str]:
    """A file with a part of no known kind, the part's content and a word of its name."""
    content = random.integers(1, 256, int(random.integers(8, 300)), dtype=np.uint8).tobytes()
    letters = bytes(random.integers(97, 123, 4).tolist())
    if format == "JPEG":
        marker = int(random.choice([*range(0xE0, 0xF0), jpeg.COM]))
        word = "comments" if marker == jpeg.COM else f"APP{marker - 0xE0}"
        return segment(marker, content)(saved("JPEG")), content, word
    if format == "PNG":
        kind = letters[:1] + bytes(random.permutation([*letters[1:2].upper(), letters[1]])[:1].tolist())
        kind += letters[2:3].upper() + bytes(random.choice([letters[3:], letters[3:].upper()]))
        data = saved("PNG")
        at = 33 if random.random() < 0.5 else -12
        return data[:at] + chunk(kind, content) + data[at:], content, kind.decode()
    if format == "TIFF":
        tag, kind = int(random.integers(32768, 65536)), int(random.choice([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]))
        if tag in tags.POINTERS or tag in (33723, 34377, 34675) or 32994 < tag < 33000:
            tag = 65000
        content = content[: len(content) // 8 * 8]
        order = "<>"[int(random.integers(2))]
        return tiff({tag: (kind, content)}, order, order == "<" and random.random() < 0.5), content, f"{tag}"
    if format == "WEBP":
        data = saved("WEBP")
        data += letters + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
        return data[:4] + struct.pack("<I", len(data) - 8) + data[8:], content, letters.decode()
    return saved(format) + box(letters, content), content, letters.decode()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "JPEG2000", "AVIF"])
def test_random_parts_are_there_afterwards_or_named(format: str) -> None:
    random = np.random.default_rng(zlib.crc32(format.encode()))
    kept = 0
    for _ in range(60 if format not in ("AVIF", "JPEG2000") else 12):
        data, content, word = random_part(random, format)
        out, losses = colored(data)
        assert content in out or word in losses, (word, losses)
        kept += content in out
    assert kept or format in ("WEBP", "JPEG2000", "AVIF")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "JPEG2000", "AVIF", "BMP", "PPM", "GIF"])
def test_random_bytes_behind_any_picture_are_named(format: str) -> None:
    random = np.random.default_rng(1)
    data = tiff({}) if format == "TIFF" else saved(format)
    target = "PNG" if format == "GIF" else format
    for size in (1, 9, 4000):
        tail = random.integers(1, 256, size, dtype=np.uint8).tobytes()
        assert "behind" in colored(data + tail, target)[1], size


@pytest.mark.parametrize("format", list(inventory.READERS))
def test_damage_raises_nothing(format: str) -> None:
    random = np.random.default_rng(2)
    exif = Image.Exif()
    exif[271] = "Maker"
    exif.get_ifd(0x8769)[37500] = b"notes"
    settings = {"exif": exif} if format in ("JPEG", "PNG", "WEBP", "AVIF") else {}
    pixels = np.dstack([GRAY] * 3) if format == "QOI" else GRAY
    out = io.BytesIO()
    made = {"TIFF": tiff(GEO), "PSD": psd(b"", photoshop((1028, b"", b"caption"))), "FITS": fits("DATE= 1")}
    if format in ("HEIF", "JXL"):  # not by Pillow's own plugins
        if lacks := libraries.missing(format):
            pytest.skip(lacks)
        out.write(encoders.encode(np.dstack([GRAY] * 3), None, format, 90, {"exif": exif.tobytes()[6:]}))
    elif format not in made:
        Image.fromarray(pixels).save(out, "ICO" if format == "CUR" else format, **settings)
    data = made.get(format) or out.getvalue()
    for _ in range(150):
        bad = bytearray(data)
        for at in random.integers(0, min(len(bad), 400), 4):
            bad[at] = random.integers(256)
        inventory.of(bytes(bad[: random.integers(1, len(bad) + 1)]), format)


def test_deep_tiffs_written_by_another_library_lose_nothing() -> None:
    deep = np.random.default_rng(3).integers(0, 65536, (24, 32), dtype=np.uint16)
    data = cv2.imencode(".tif", deep)[1].tobytes()
    assert colored(data)[1] == ""
