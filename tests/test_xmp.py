"""XMP: what is no longer true of a copy is cut out, all else stays byte for byte."""

import struct

import pytest

from recolor_fast.photographs import inventory, xmp

SPACES = {
    "GCamera": "http://ns.google.com/photos/1.0/camera/",
    "Container": "http://ns.google.com/photos/1.0/container/",
    "Item": "http://ns.google.com/photos/1.0/container/item/",
    "Device": "http://ns.google.com/photos/dd/1.0/device/",
    "OpCamera": "http://ns.oplus.com/photos/1.0/camera/",
    "MiCamera": "http://ns.xiaomi.com/photos/1.0/camera/",
    "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
    "HDRGainMap": "http://ns.apple.com/HDRGainMap/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "dcterms": "http://purl.org/dc/terms/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmpNote": xmp.NOTE,
}


def packet(attributes: str = "", inside: str = "", prefix: dict[str, str] | None = None) -> bytes:
    spaces = " ".join(f'xmlns:{(prefix or {}).get(name, name)}="{space}"' for name, space in SPACES.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF xmlns:rdf="{xmp.RDF}"><rdf:Description rdf:about="" {spaces}{attributes}>{inside}'
        '</rdf:Description></rdf:RDF></x:xmpmeta>   <?xpacket end="w"?>'
    ).encode()


KEPT = ' dc:format="a &gt; b" tiff:Make="M" GCamera:BurstID="7" exif:FNumber="8/1" xmp:Rating="5" photoshop:City="Ü"'


@pytest.mark.parametrize(
    "name",
    "GCamera:MotionPhoto GCamera:MotionPhotoVersion GCamera:MicroVideoOffset OpCamera:VideoLength MiCamera:XMPMeta "
    "hdrgm:Version HDRGainMap:HDRGainMapVersion photoshop:ColorMode photoshop:ICCProfile tiff:ImageWidth "
    "tiff:NativeDigest exif:PixelXDimension exif:ColorSpace dcterms:provenance xmpNote:HasExtendedXMP".split(),
)
def test_an_untrue_property_is_cut_out_in_either_form_and_under_any_prefix(name: str) -> None:
    rest = "<dc:title>T</dc:title>\n"
    want = packet(KEPT, rest)
    assert xmp.true(want) == want
    assert xmp.true(packet(f"{KEPT}\n {name} = '1'", rest)) == want
    assert xmp.true(packet(KEPT, f"<{name}>1</{name}>{rest}")) == want
    assert xmp.true(packet(KEPT, f"{rest}<{name}/>")) == want
    prefix, local = name.split(":")
    renamed = packet(f' p:{local}="1"', prefix={prefix: "p"})
    assert xmp.true(renamed) == packet(prefix={prefix: "p"})


def test_a_container_and_thumbnails_are_cut_out_with_all_they_hold() -> None:
    item = '<rdf:li rdf:parseType="Resource"><Container:Item Item:Mime="video/mp4" Item:Length="5"/></rdf:li>'
    directory = f"<Container:Directory><rdf:Seq>{item}{item}</rdf:Seq></Container:Directory>"
    thumbnails = "<xmp:Thumbnails><rdf:Alt><rdf:li>R0lG</rdf:li></rdf:Alt></xmp:Thumbnails>"
    depth = "<Device:Profiles><rdf:Seq/></Device:Profiles>"
    assert xmp.true(packet(KEPT, directory + depth + "<dc:title>T</dc:title>" + thumbnails)) == packet(
        KEPT, "<dc:title>T</dc:title>"
    )


def test_an_extension_is_mentioned_where_there_is_one() -> None:
    given = packet(' xmpNote:HasExtendedXMP="00FF"')
    assert xmp.true(given, extended=True) == given
    assert xmp.true(given) == packet()


def test_text_that_looks_like_a_claim_stays() -> None:
    given = packet(""" dc:title=' GCamera:MotionPhoto="1"'""", "<dc:rights><![CDATA[<hdrgm:Version/>]]></dc:rights>")
    assert xmp.true(given) == given


def test_a_packet_that_cannot_be_parsed_stays_unless_it_speaks_of_more_pictures() -> None:
    harmless = b'<x:xmpmeta><rdf tiff:Orientation="6"/></x:xmpmeta>'
    assert xmp.true(harmless) == harmless
    for claim in (b'GCamera:MotionPhoto="1"', b"<Container:Directory>", SPACES["hdrgm"].encode()):
        assert xmp.true(b"<x " + claim) == b""
    entities = b'<!DOCTYPE a [<!ENTITY b "c">]>' + packet()
    assert xmp.true(entities.replace(b"GCamera", b"G").replace(b"ns.", b"n.")) != b""
    with pytest.raises(ValueError, match="entities"):
        xmp.properties(entities)


def test_deep_nesting_ends_soon() -> None:
    nested = f'<rdf:Description xmlns:rdf="{xmp.RDF}">'
    deep = packet().replace(b"</rdf:RDF>", (nested * 20_000 + "</rdf:Description>" * 20_000).encode() + b"</rdf:RDF>")
    assert xmp.true(deep) == deep
    assert [thing.kind for thing in inventory.of(deep_png(deep), "PNG")] == ["content"]


def deep_png(content: bytes) -> bytes:
    body = b"iTXtXML:com.adobe.xmp\0\0\0\0\0" + content
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(body) - 4) + body + bytes(4)


def test_properties_in_either_form() -> None:
    found = xmp.properties(packet(' tiff:Make="M"', "<dc:title>T</dc:title>\n <dc:subject><rdf:Bag/> </dc:subject>"))
    names = [name.rpartition("}")[2] for name, _ in found]
    assert names == ["Make", "title", "subject"]
    assert dict(zip(names, (content for _, content in found)))["title"] == b"T"
