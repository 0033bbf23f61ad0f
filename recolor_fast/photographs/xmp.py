"""XMP packets (ISO 16684-1): what a packet says that is no longer true of a copy is cut out, byte for byte.

A copy holds one picture, in other colors: no video or further pictures behind it, no thumbnail, no signature.
"""

import re
from collections.abc import Iterator
from xml.etree import ElementTree
from xml.parsers import expat

NOTE, RDF = "http://ns.adobe.com/xmp/note/", "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
EXTENDED = (re.escape(NOTE), "HasExtendedXMP")
BEHIND = (  # patterns of a namespace and of the names in it: a video or pictures behind the picture, and where
    ("http://ns.google.com/photos/1.0/camera/", "(Motion|Micro).*"),
    ("http://ns.google.com/photos/1.0/container/.*", ".*"),
    ("http://ns.google.com/photos/dd/1.0/.*", ".*"),
    ("http://ns.(xiaomi|oplus|oppo|vivo).com/photos/1.0/(camera|vendor)/", ".*"),
    # one of them makes it brighter on some screens
    ("http://ns.adobe.com/hdr-gain-map/1.0/", ".*"),
    ("http://ns.apple.com/HDRGainMap/1.0/", ".*"),
    ("http://ns.apple.com/pixeldatainfo/1.0/", ".*"),
)
UNTRUE = (
    *BEHIND,
    # the old colors, how pixels are stored, digests of both
    ("http://ns.adobe.com/xap/1.0/", "Thumbnails"),
    ("http://ns.adobe.com/photoshop/1.0/", "ColorMode|ICCProfile"),
    (
        "http://ns.adobe.com/tiff/1.0/",
        "ImageWidth|ImageLength|BitsPerSample|Compression|PhotometricInterpretation|SamplesPerPixel|"
        "PlanarConfiguration|YCbCr.*|TransferFunction|WhitePoint|PrimaryChromaticities|ReferenceBlackWhite|NativeDigest",
    ),
    ("http://ns.adobe.com/exif/1.0/", "ColorSpace|Pixel[XY]Dimension|CompressedBitsPerPixel|NativeDigest"),
    # where the signature of its content is
    ("http://purl.org/dc/terms/", "provenance"),
    # what colored it before
    ("urn:recolor-fast:xmp:.*", ".*"),
)
PLACES = (  # where something is in the picture, false once that is turned: faces, a depth map, the whole panorama
    ("http://www.metadataworkinggroup.com/schemas/regions/", "Regions"),
    ("http://ns.microsoft.com/photo/1.2/", "RegionInfo"),
    ("http://ns.acdsee.com/regions/", ".*"),
    ("http://ns.apple.com/faceinfo/1.0/", ".*"),
    ("http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "ImageRegion"),
    ("http://ns.google.com/photos/1.0/(panorama|depthmap)/", ".*"),
)

_start_tag = re.compile(rb"<[^\s/>]+(?:\s+[^\s=/>]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*\s*/?>")
_attribute = re.compile(rb"\s+([^\s=/>]+)\s*=\s*(?:\"[^\"]*\"|'[^']*')")
_mention = re.compile(
    "|".join(["GCamera:M(otion|icro)", "Container:Directory", "hdrgm:", *(space for space, _ in BEHIND)]).encode()
)


def true(packet: bytes, extended: bool = False, turned: bool = False) -> bytes:
    """The packet without what is in UNTRUE, in PLACES where the picture has been turned, and without the mention of its
    extension unless the copy has that.

    All else stays as it is, byte for byte. Empty where a packet that cannot be parsed has anything of the kind.
    """
    if not packet:
        return packet
    untrue = (*UNTRUE, *(() if extended else (EXTENDED,)), *(PLACES if turned else ()))
    try:
        cuts = list(_cuts(packet, _matcher(untrue)))
    except (ValueError, expat.ExpatError):
        return b"" if _mention.search(packet) else packet
    for start, stop in reversed(cuts):
        packet = packet[:start] + packet[stop:]
    return packet


def properties(packet: bytes) -> list[tuple[str, bytes]]:
    """Name, as {namespace}name, and content of each property. Raises ValueError where it cannot be parsed."""
    try:
        root = ElementTree.fromstring(_parsable(packet))
    except (ElementTree.ParseError, expat.ExpatError, LookupError) as error:
        raise ValueError(str(error)) from error
    result = []
    for description in _outer(root):
        result += [(name, value.encode()) for name, value in description.items() if name != f"{{{RDF}}}about"]
        for one in description:
            one.tail = None
            result.append((one.tag, one.text.encode() if one.text and not len(one) and not one.attrib else _plain(one)))
    return result


def _plain(element: ElementTree.Element) -> bytes:
    """An element's content without the white space between its parts."""
    text = ElementTree.tostring(element)
    return re.sub(rb">\s+<", b"><", text)


def _outer(root: ElementTree.Element) -> list[ElementTree.Element]:
    """The descriptions that are no value of a property of another."""
    outer, left = [], [root]
    while left:
        one = left.pop()
        if one.tag == f"{{{RDF}}}Description":
            outer.append(one)
        else:
            left.extend(reversed(one))
    return outer


def _short(name: str) -> str:
    """Expat's namespace, name and prefix without the prefix."""
    return " ".join(name.split(" ")[:2])


def _parsable(packet: bytes) -> bytes:
    if b"<!DOCTYPE" in packet or b"<!ENTITY" in packet:
        raise ValueError("an XMP packet that declares entities")
    return packet.rstrip(b"\0")


def _matcher(untrue: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{space} (?:{names}))" for space, names in untrue))


def _cuts(packet: bytes, untrue: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """Where the untrue elements and attributes lie, in order. Raises ValueError and expat.ExpatError."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.namespace_prefixes = True
    cuts: list[tuple[int, int]] = []
    inside: list[int] = []  # start of an element that is cut, then one more for each element in it

    def start(name: str, attributes: dict[str, str]) -> None:
        at = parser.CurrentByteIndex
        tag = _start_tag.match(packet, at)
        if not tag:
            raise ValueError("a tag that cannot be found again, of another encoding perhaps")
        if inside or untrue.fullmatch(_short(name)):
            inside.append(at)
            if len(inside) == 1 and tag[0].endswith(b"/>"):
                cuts.append((at, tag.end()))
            return
        raw = [
            ":".join(reversed(name.split(" ")[1:])).encode() for name in attributes if untrue.fullmatch(_short(name))
        ]
        spans = [match.span() for match in _attribute.finditer(tag[0]) if match[1] in raw]
        cuts.extend((at + begin, at + stop) for begin, stop in spans)

    def end(name: str) -> None:
        if inside:
            at = inside.pop()
            if not inside and not (cuts and cuts[-1][0] == at):
                cuts.append((at, packet.index(b">", parser.CurrentByteIndex) + 1))

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.Parse(_parsable(packet), True)
    yield from sorted(cuts)
