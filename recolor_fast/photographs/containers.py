"""PNG chunks, boxes and Photoshop's image resources: what files and blocks are made of; standard library only."""

import struct
import zlib
from collections.abc import Iterator

RAW_PROFILES = ("exif", "APP1", "xmp", "icc", "icm")  # ImageMagick's; others are texts like any


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of a PNG's chunks, to the last that is whole."""
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            return
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def chunk(kind: bytes, content: bytes) -> bytes:
    """A PNG's chunk."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def is_text(content: bytes) -> bool:
    """Whether a text chunk is that, and not a block that has a field of its own or would be stale."""
    return not content.startswith(
        (b"XML:com.adobe.xmp\0", *(f"Raw profile type {kind}\0".encode() for kind in RAW_PROFILES))
    )


def boxes(data: bytes, at: int = 0) -> Iterator[tuple[bytes, bytes, int]]:
    """Type, content and end of the boxes of a JPEG 2000, an AVIF or a HEIF, to the last that is whole."""
    while at + 8 <= len(data):
        length, head = int.from_bytes(data[at : at + 4], "big"), 8
        if length == 1:
            length, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        stop = at + length if length else len(data)
        if stop < at + head or stop > len(data):
            return
        yield data[at + 4 : at + 8], data[at + head : stop], stop
        at = stop


def resources(block: bytes) -> list[tuple[int, bytes]]:
    """Number of each of Photoshop's image resources, and its bytes, header and all. Raises ValueError."""
    blocks, at = [], 0
    while at < len(block):
        start = at
        if block[at : at + 4] != b"8BIM" or at + 12 > len(block):
            raise ValueError("damaged image resources")
        kind = int.from_bytes(block[at + 4 : at + 6], "big")
        at += 6 + (block[at + 6] | 1) + 1  # the name with its length byte, padded to even
        size = int.from_bytes(block[at : at + 4], "big")
        at += 4 + size + size % 2
        if at > len(block) + 1:
            raise ValueError("damaged image resources")
        blocks.append((kind, block[start:at]))
    return blocks
