"""What made a picture: its tag in any format and in whatever XMP there was, and the list beside it."""

import io
import json
import os
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from recolor_fast.photographs import encoders, jpeg, metadata, pictures, provenance
from recolor_fast.photographs.metadata import Metadata

MADE = {"colored_by": "recolor_fast 1", "model": "a <model> & 'more' \udcff", "sha256": "0123456789abcdef"}
GRAY = np.add.outer(np.arange(24), 5 * np.arange(32)).astype(np.uint8)
CBCR = np.full((2, 4, 4), 140, np.uint8)
USUAL = pictures.Writing()
RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    f'<rdf:RDF {RDF}>\n<rdf:Description rdf:about="uuid:1" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'dc:title="Grandmother">\n</rdf:Description></rdf:RDF></x:xmpmeta>\n' + " " * 200 + '\n<?xpacket end="w"?>'
).encode()


def saved(format: str, **settings: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(GRAY).save(out, format, **settings)
    return out.getvalue()


def packet_of(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.tag_v2[700] if image.format == "TIFF" else image.info.get("xmp", b"")


def holding() -> list[str]:
    return [format for format in encoders.WRITABLE if "xmp" in metadata.HOLDS.get(format, ())]


@pytest.mark.parametrize("format", holding())
def test_a_picture_says_what_made_it_once_however_often_it_is_made(format: str) -> None:
    data, notes = pictures.encode(pictures.read(saved("PNG")), CBCR, format, USUAL, MADE)
    assert notes == ()
    assert provenance.of(data) == MADE
    later = MADE | {"model": "another"}
    again, _ = pictures.encode(pictures.read(data), CBCR, format, USUAL, later)
    assert provenance.of(again) == later
    assert again.count(b"<recolor:made>") == 1
    assert len(again) < len(data) + 100
    assert again == pictures.encode(pictures.read(data), CBCR, format, USUAL, later)[0]  # the same bytes each time


@pytest.mark.parametrize("format", list(encoders.WRITABLE))
def test_without_metadata_or_a_place_for_them_there_is_no_tag_and_no_loss(format: str) -> None:
    picture = pictures.read(saved("PNG"))
    dropped, notes = pictures.encode(picture, CBCR, format, pictures.Writing(metadata="drop"), MADE)
    assert notes == ()
    assert provenance.of(dropped) is None
    assert b"recolor" not in dropped
    assert pictures.encode(picture, CBCR, format, USUAL, MADE)[1] == ()


def test_kept_luma_is_tagged_too() -> None:
    data, notes = pictures.encode(
        pictures.read(saved("JPEG")), CBCR, "JPEG", pictures.Writing(lossless_luma=True), MADE
    )
    assert notes == ()
    assert provenance.of(data) == MADE


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_the_photographs_own_packet_keeps_every_byte(format: str) -> None:
    settings = {"xmp": PACKET}
    if format == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", PACKET.decode())
        settings = {"pnginfo": texts}
    data, notes = pictures.encode(pictures.read(saved(format, **settings)), CBCR, format, USUAL, MADE)
    assert notes == ()
    packet = packet_of(data)
    assert provenance.of(data) == MADE
    root = ElementTree.fromstring(packet)
    abouts = {one.get("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}about") for one in root[0]}
    assert (len(root[0]), abouts) == (2, {"uuid:1"})  # two descriptions of one thing
    start, end = packet.index(b'<rdf:Description rdf:about="uuid:1" xmlns:recolor'), packet.index(b"</rdf:RDF>")
    assert packet[:start] + packet[end:] == PACKET


@pytest.mark.parametrize(
    "packet",
    [
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf tiff:Orientation='1'/></x:xmpmeta>",  # no RDF, a prefix unbound
        PACKET.replace(b"</rdf:Description>", b""),
        PACKET.replace(b"<x:xmpmeta", b"<!DOCTYPE x [<!ENTITY a 'b'>]><x:xmpmeta"),
        PACKET.decode().encode("utf-16"),
        b"\xff\xfe nothing",
        PACKET.replace(b" " * 200, b" " * 65_000),  # no room in a JPEG's segment
    ],
)
def test_a_packet_that_cannot_take_the_tag_stays_as_it_is(packet: bytes) -> None:
    found = Metadata(xmp=packet)
    assert provenance.tagged(found, MADE, "JPEG") == found
    data = jpeg.splice(saved("JPEG"), [jpeg.Segment(jpeg.APP1, metadata.XMP + packet)])
    assert provenance.of(data) is None


def test_other_prefixes_and_tags_that_other_programs_have_written_again() -> None:
    plain = f'<RDF xmlns="{provenance.RDF}"></RDF>'.encode()
    tagged = provenance.tagged(Metadata(xmp=plain), MADE, "TIFF").xmp
    assert provenance.of(tagged) == MADE
    other = PACKET.replace(b"rdf:", b"r:").replace(b"xmlns:rdf", b"xmlns:r")
    tagged = provenance.tagged(Metadata(xmp=other), MADE, "JPEG").xmp
    assert provenance.of(tagged) == MADE
    text = json.dumps(MADE).replace("&", "&amp;").replace("<", "&lt;")
    quoted = text.replace('"', "&quot;")
    for head, body in (
        ("", f"<recolor:made>{text}</recolor:made>"),
        (f' recolor:made="{quoted}"', ""),
        ("", f"<recolor:made>\n {text}\n</recolor:made>"),
    ):
        block = f'<rdf:Description rdf:about="uuid:1" xmlns:recolor="{provenance.NAMESPACE}"{head}> {body}'
        again = PACKET.replace(b"</rdf:RDF>", f"{block}</rdf:Description></rdf:RDF>".encode())
        assert provenance.of(again) == MADE
        later = MADE | {"model": "later"}
        packet = provenance.tagged(Metadata(xmp=again), later, "JPEG").xmp
        assert provenance.of(packet) == later
        assert packet.count(b":made") == 2  # start and end


def test_random_damage_raises_nothing() -> None:
    random = np.random.default_rng(0)
    whole = provenance.tagged(Metadata(xmp=PACKET), MADE, "JPEG").xmp
    for _ in range(2000):
        bad = bytearray(whole)
        for at in random.integers(0, len(bad), 3):
            bad[at] = random.integers(256)
        packet = bytes(bad[: random.integers(1, len(bad) + 1)])
        made = provenance.of(packet)
        assert made is None or "colored_by" in made
        found = provenance.tagged(Metadata(xmp=packet), MADE, "JPEG")
        assert found.xmp == packet or provenance.of(found.xmp) == MADE


def test_differences_are_named_and_what_one_does_not_say_is_not_compared() -> None:
    old = MADE | {"saturation": 1.0, "quality": 95, "colored_by": "recolor_fast 0", "gone": 1}
    assert provenance.differences(old, MADE | {"saturation": 1.0, "quality": 95, "new": 2}) == []
    new = MADE | {"saturation": 1.5, "quality": 95, "model": "other", "sha256": "fedcba9876543210"}
    model, saturation = provenance.differences(old, new)
    assert model.startswith("by the model a <model>")
    assert model.endswith("(01234567), now other (fedcba98)")
    assert saturation == "saturation 1, now 1.5"
    sizes = provenance.differences({"input_bytes": 5}, {"input_bytes": 6})
    assert sizes == ["from an input of 5 bytes, now 6"]
    film = {"input_bytes": 5, "input_parts": "0123"}
    assert provenance.differences(film, film | {"input_parts": "4567"}) == ["from another film of the same size"]
    assert provenance.differences(film, {"input_bytes": 6, "input_parts": "4567"}) == sizes
    settings = MADE | {"quality": 95, "lossless_luma": True}
    assert provenance.written(settings, "PNG") == MADE | {"format": "PNG"}
    assert provenance.written(settings, "WEBP") == MADE | {"format": "WEBP", "quality": 95}
    assert provenance.written(settings, "JPEG") == settings | {"format": "JPEG"}


def test_the_list_of_a_folder(tmp_path: Path) -> None:
    lists, path = provenance.Lists(), tmp_path / "a\n\udcff.bmp"
    assert lists.of(path, b"one") is None
    provenance.enlist(path, b"one", MADE)
    provenance.enlist(path, b"two", MADE | {"quality": 3})
    assert (lists.of(path, b"one"), lists.of(path, b"two")) == (MADE, MADE | {"quality": 3})
    assert lists.of(path, b"changed since") is None
    provenance.enlist(tmp_path / "same.bmp", b"one", MADE | {"input_bytes": 7})  # the same of another input
    assert lists.of(path, b"one") == MADE
    place = tmp_path / provenance.LIST
    whole = place.read_bytes()
    with open(place, "ab") as file:
        file.write(b'{"sha256": 1}\n[]\n\xff\n{"half')
    assert lists.of(path, b"three") is None
    with open(place, "ab") as file:
        file.write(b" of it\n")
    provenance.enlist(path, b"three", MADE)
    assert lists.of(path, b"three") == MADE
    place.write_bytes(whole[: len(whole) // 3 + 20])  # another list, shorter
    assert lists.of(path, b"three") is None
    assert lists.of(path, b"one") == MADE
    assert provenance.Lists().of(path, b"one") == MADE


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
def test_a_list_that_is_a_link_or_a_fifo_is_not_written_to_or_waited_for(tmp_path: Path) -> None:
    (tmp_path / "else").write_text("somebody's\n")
    (tmp_path / provenance.LIST).symlink_to(tmp_path / "else")
    for _ in range(2):
        with pytest.raises(OSError):  # noqa: PT011 - its number is the system's
            provenance.enlist(tmp_path / "a.bmp", b"one", MADE)
        assert provenance.Lists().of(tmp_path / "a.bmp", b"one") is None
        (tmp_path / provenance.LIST).unlink()
        os.mkfifo(tmp_path / provenance.LIST)
    assert (tmp_path / "else").read_text() == "somebody's\n"


def test_sixteen_bits_and_transparency_are_tagged() -> None:
    for suffix, format in ((".png", "PNG"), (".tif", "TIFF")):
        deep = np.dstack([GRAY.astype(np.uint16) * 257] * 4)
        picture = pictures.read(cv2.imencode(suffix, deep)[1].tobytes())
        assert provenance.of(pictures.encode(picture, CBCR, format, USUAL, MADE)[0]) == MADE


def test_two_files_of_equal_bytes_have_a_line_each_and_a_renamed_one_is_known(tmp_path):
    names = [tmp_path / "a.bmp", tmp_path / "b.bmp"]
    for number, path in enumerate(names):
        provenance.enlist(path, b"same", MADE | {"input_bytes": number})
    for number, path in enumerate(names):
        assert provenance.Lists().of(path, b"same") == MADE | {"input_bytes": number}
    assert provenance.Lists().of(tmp_path / "renamed.bmp", b"same") == MADE | {"input_bytes": 1}


def test_a_picture_colored_before_there_was_a_choice_of_warmth_had_none() -> None:
    made = {"model": "m", "sha256": "0" * 16, "saturation": 1.0}
    now = {**made, "warmth": 0.0, "strength": 1.0}
    assert provenance.differences(made, now) == []
    assert provenance.differences(made, {**now, "warmth": -0.5}) == ["warmth 0, now -0.5"]
    assert provenance.differences(made, {**now, "strength": 0.5}) == ["strength 1, now 0.5"]
