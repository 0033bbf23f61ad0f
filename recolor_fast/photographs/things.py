"""What files of several formats hold beside a picture: one list of names and digests for each kind of block."""

import struct
from collections.abc import Iterator
from hashlib import blake2b
from typing import Literal, NamedTuple

from PIL import ExifTags

from recolor_fast.photographs import containers, metadata, parts, tags, xmp


class Thing(NamedTuple):
    """Something in a file that is not how its picture is stored."""

    name: str
    """What users call it."""
    key: str
    """The same in every format that can hold it."""
    digest: bytes = b""
    """Of its content; empty where any content will do."""
    kind: Literal["metadata", "content", "stale"] = "metadata"
    """Content: further pictures, videos, bytes behind the picture. Stale: true of the gray picture alone."""
    group: str = ""
    """What it is a part of, which is named alone where all of it is lost."""


def digest(content: bytes) -> bytes:
    """Equal for equal content: the content itself where it is short, else longer than that ever is."""
    return content if len(content) <= 32 else blake2b(content, digest_size=33).digest()


def by_row(row: parts.Row | None, name: str, key: str, content: bytes, group: str = "") -> Iterator[Thing]:
    """A part by its row in the table, None where there is none."""
    if row is None:
        yield Thing(name, key, digest(content), group=group)
    elif row.role == "stale":
        yield Thing(row.name, key, kind="stale")
    elif row.role == "gone":
        yield Thing(row.name, f"gone: {key}")
    elif row.role == "content":
        yield Thing(row.name, f"gone: {key}", kind="content")


def behind(content: bytes, what: str = "the picture") -> Iterator[Thing]:
    """What follows a picture's end; zeros are padding."""
    if not content.strip(b"\0"):
        return
    kinds = {b"\xff\xd8\xff": "a picture", b"\x89PNG": "a picture", b"PK\3\4": "an archive"}
    kind = next((name for begins, name in kinds.items() if content.lstrip(b"\0").startswith(begins)), "")
    kind = kind or ("a video" if content[4:8] in (b"ftyp", b"moov", b"mdat", b"wide") else "data")
    yield Thing(f"{kind} behind {what} ({len(content):,} bytes)", "behind", digest(content), "content")


def of_exif(block: bytes) -> Iterator[Thing]:
    """EXIF's tags, of every directory but the thumbnail's."""
    if not block:
        return
    try:
        table = tags.directory(block, tags.first(block))
        yield from of_tags(block, table, "EXIF")
        (second,) = struct.unpack_from(tags.layout(block).order + "I", block, table.next_at)
        if second:
            yield Thing("thumbnail", "thumbnail", kind="stale")
    except (ValueError, struct.error):
        yield Thing("EXIF, which is damaged", "EXIF", digest(block))


def of_tags(block: bytes, table: tags.Table, group: str, depth: int = 0, where: str = "") -> Iterator[Thing]:
    """The tags of a directory that lies in a block, and of those below it."""
    for tag in table.unreadable:
        yield Thing(f"tag {tag}, which cannot be read", f"tag {where}{tag}", b"unreadable", group=group)
    for entry in table.entries:
        tag, name = entry.tag, tag_name(entry.tag)
        if tag in metadata.OWN_TAGS and not where:
            continue
        if tag in tags.POINTERS and depth < 2:
            below = tags.POINTERS[tag]
            try:
                inner = tags.directory(block, tags.numbers(block, entry)[0])
                rewritten = parts.REWRITTEN[below]
                entries = [one for one in inner.entries if one.tag not in rewritten]
                yield from of_tags(block, inner._replace(entries=entries), "EXIF", depth + 1, f"{below} ")
            except (IndexError, ValueError, struct.error):
                yield Thing(f"{below} directory, which is damaged", below, b"damaged", group=group)
            continue
        content = struct.pack("B", entry.kind) + tags.little(block, entry)
        if tag == 37500:  # full of offsets, in a file or a block: true where it was
            content += struct.pack("Q", entry.start)
            name = "the place of its maker's notes, which hold offsets"
        row = None if where else parts.TAGS.get(tag)
        row = row._replace(name=f"{row.name} (tag {tag})") if row and row.role in ("gone", "content") else row
        yield from by_row(row, name, f"tag {where}{tag}", content, "EXIF" if tag in metadata.DESCRIPTIVE else group)


def tag_name(tag: int) -> str:
    """A tag by number and name, where it has one."""
    name = parts.TAG_NAMES.get(tag) or ExifTags.TAGS.get(tag, "")
    return f"tag {tag}{name and f' ({name})'}"


REWRITTEN = ("tiff/1.0/}Orientation", "recolor-fast:xmp:1}made")  # properties; the other one says what made the copy


def of_xmp(packet: bytes) -> Iterator[Thing]:
    """The properties of an XMP packet that are true of a copy."""
    if not packet:
        return
    true = xmp.true(packet)
    try:
        properties = xmp.properties(true) if true else []
    except ValueError:
        yield Thing("XMP, which cannot be read", "XMP", digest(metadata.turned(packet, 1)), group="XMP")
        return
    if not true:
        yield Thing("XMP, which is damaged and speaks of a video or pictures behind the picture", "XMP")
    for name, content in properties:
        short = name.rpartition("}")[2]
        if not name.endswith(REWRITTEN):
            yield Thing(f"XMP {short}", f"XMP {name}", digest(content), group="XMP")


def of_resources(block: bytes) -> Iterator[Thing]:
    """Photoshop's image resources, of which IPTC is one."""
    try:
        blocks = containers.resources(block)
    except ValueError:
        yield Thing("image resources, which are damaged", "resources", digest(block), group="IPTC")
        return
    group = "IPTC" if 1028 in (kind for kind, _ in blocks) else "Photoshop's resources"
    for kind, content in blocks:
        name = "IPTC" if kind == 1028 else f"Photoshop's resource {kind}"
        yield from by_row(parts.RESOURCES.get(kind), name, f"resource {kind}", content, group)


def of_comment(content: bytes) -> Thing:
    return Thing("comments", "comment", digest(content), group="comments")


RESOLUTION = Thing("resolution", "resolution")
ASPECT = Thing("shape of its pixels", "aspect")
