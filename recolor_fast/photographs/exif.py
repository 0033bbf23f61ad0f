"""EXIF blocks, patched where they lie: a camera's notes, which are full of offsets, stay where they were."""

import struct

from recolor_fast.photographs import tags


def order_of(block: bytes) -> str:
    """The byte order of an EXIF block. Raises ValueError for what is none."""
    layout = tags.layout(block)
    if layout.big:
        raise ValueError("EXIF with 64-bit offsets, which there is not")
    return layout.order


def patched(exif: bytes, values: dict[int, int]) -> bytes:
    """An EXIF block with other values of these tags, where it has them, and without its thumbnail's directory."""
    block, order = bytearray(exif), order_of(exif)
    entries, _, next_at = tags.directory(exif, tags.first(exif))
    for pointer in (tags.EXIF_IFD, tags.INTEROPERABILITY_IFD):
        places = [struct.unpack_from(order + "I", exif, e.start)[0] for e in entries if e.tag == pointer]
        try:
            entries += [entry for place in places for entry in tags.directory(exif, place).entries]
        except (ValueError, struct.error):
            continue  # a directory cut off: the others still count
    for entry in entries:
        width = tags.SIZES[entry.kind]
        if entry.tag in values and entry.kind in (3, 4) and values[entry.tag] < 2 ** (8 * width):
            struct.pack_into(order + "HI"[width == 4], block, entry.start, values[entry.tag])
        elif entry.tag == 1 and block[entry.start : entry.stop] == b"R03\0":  # interoperability: colors of Adobe RGB
            block[entry.start : entry.stop] = b"R98\0"
    return _without_thumbnail(block, order, next_at)


ACROSS = ((282, 283), (41486, 41487))  # resolutions: of the picture, of the sensor
AREAS = (37396, 41492)  # where the subject is: its middle, and its sides or none


def places_turned(exif: bytes, by: int, width: int, height: int) -> bytes:
    """An EXIF block whose picture has been turned `by` an orientation, to these sides: its resolutions and places too.

    Raises ValueError or struct.error where it is broken.
    """
    block, order = bytearray(exif), order_of(exif)
    entries = tags.directory(exif, tags.first(exif)).entries
    for place in [tags.numbers(exif, entry)[0] for entry in entries if entry.tag == tags.EXIF_IFD]:
        entries = entries + tags.directory(exif, place).entries
    by_tag = {entry.tag: entry for entry in entries}
    for pair in ACROSS if by > 4 else ():
        if all(tag in by_tag and by_tag[tag].stop - by_tag[tag].start == 8 for tag in pair):
            one, other = (slice(by_tag[tag].start, by_tag[tag].stop) for tag in pair)
            block[one], block[other] = exif[other], exif[one]
    for tag in AREAS:
        if tag in by_tag and by_tag[tag].kind == 3 and len(values := tags.numbers(exif, by_tag[tag])) > 1:
            (x, y), sides = values[:2], values[2:]
            x, y = (y, x) if by > 4 else (x, y)
            x = max(0, width - 1 - x) if by in (2, 3, 6, 7) else x
            y = max(0, height - 1 - y) if by in (3, 4, 7, 8) else y
            sides = sides[::-1] if by > 4 else sides
            struct.pack_into(f"{order}{len(values)}H", block, by_tag[tag].start, x, y, *sides)
    return bytes(block)


def _without_thumbnail(block: bytearray, order: str, next_at: int) -> bytes:
    """The block with its second directory out of reach, the thumbnail's pixels zeroed or, at the end, cut off."""
    if next_at + 4 > len(block):
        return bytes(block)
    (second,) = struct.unpack_from(order + "I", block, next_at)
    struct.pack_into(order + "I", block, next_at, 0)
    try:
        entries = tags.directory(bytes(block), second).entries if second else []
    except (ValueError, struct.error):
        entries = []
    numbers = {
        entry.tag: struct.unpack_from(order + "HI"[entry.kind == 4], block, entry.start)[0]
        for entry in entries
        if entry.kind in (3, 4) and entry.stop - entry.start == tags.SIZES[entry.kind]
    }
    for where, size in ((513, 514), (273, 279)):  # a JPEG; one strip of plain pixels
        start, stop = numbers.get(where, 0), numbers.get(where, 0) + numbers.get(size, 0)
        if next_at + 4 <= start < stop <= len(block):
            block[start:stop] = bytes(stop - start) if stop < len(block) else b""
    return bytes(block)
