"""What made a colored picture: a tag in its own metadata, or a line in a hidden list beside it; no pixels.

The tag is JSON in XMP, in a namespace of its own, so that whoever gets the picture can see that it was colored, and by
what. What cannot carry it (formats without XMP, pictures written without metadata, packets that are damaged or full)
has a line in LIST, in its folder, found by the file's SHA-256 and name: a file that was changed since has none.
"""

import errno
import hashlib
import html
import json
import os
import re
import stat
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from recolor_fast.photographs import jpeg, metadata
from recolor_fast.photographs.metadata import Metadata

NAMESPACE, RDF = "urn:recolor-fast:xmp:1", "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
LIST = ".recolor_fast.jsonl"
LOSSY = frozenset({"JPEG", "WEBP", "AVIF", "HEIF", "JXL"})  # formats that `quality` changes

Made = Mapping[str, Any]
"""By "colored_by", the package and its version, and what changes the written picture: model, settings, format."""
ANY, GRAY = "any", "gray"  # "input": whether pictures in color were colored as well
UNSAID = {
    "warmth": 0.0,
    "strength": 1.0,
    "restore": False,
    "negative": False,
}  # of pictures that were colored before there was a choice
UNCOMPARED = ("colored_by", "model", "input")  # a new version is no reason to color anew; a model is its SHA-256

_packet = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    f'<rdf:RDF xmlns:rdf="{RDF}"></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
).encode()
_end = re.compile(rb"</(?:([\w.-]+):)?RDF\s*>")
_about = re.compile(rb"<[\w.-]+:Description\s[^>]*?about\s*=\s*(\"[^\"]*\"|'[^']*')")
_tag = re.compile(rb"made(?:\s*=\s*(?:\"(\{[^\"]*\})\"|'(\{[^']*\})')|>\s*(\{[^<]*\})\s*<)")
_own = (  # ours as it is written here, with or without what it said, then as other programs may have written it again
    re.compile(
        rb'<[\w.-]+:Description [^>]*xmlns:recolor="urn:recolor-fast:xmp:1">(?:<recolor:made>[^<]*</recolor:made>)?'
        rb"</[\w.-]+:Description>"
    ),
    re.compile(rb"<recolor:made>[^<]*</recolor:made>|\srecolor:made\s*=\s*(?:\"[^\"]*\"|'[^']*')"),
)


def colored_by() -> str:
    """The name of this package and its version."""
    try:
        return f"recolor_fast {version('recolor-fast')}"
    except PackageNotFoundError:  # run from a copy of its files
        return "recolor_fast"


def written(made: Made, format: str) -> Made:
    """What makes a picture that is written in a format: without the settings that do not change such a file."""
    unused = ({"quality"} if format not in LOSSY else set()) | ({"lossless_luma"} if format != "JPEG" else set())
    return {name: value for name, value in made.items() if name not in unused} | ({"format": format} if format else {})


def differences(made: Made, planned: Made) -> list[str]:
    """In what a picture was made differently than is wanted now; what one of the two does not say is not compared,
    but for UNSAID."""
    made = {**UNSAID, **made}
    names = [name for name in planned if name in made and name not in UNCOMPARED and made[name] != planned[name]]
    implied = "input_parts" if "input_bytes" in names else ""  # a film of another size has other parts
    return [_difference(name, made, planned) for name in names if name != implied]


def _difference(name: str, made: Made, planned: Made) -> str:
    old, new = (f"{value:g}" if isinstance(value, float) else str(value) for value in (made[name], planned[name]))
    if name == "sha256":
        return f"by the model {made.get('model')} ({old[:8]}), now {planned.get('model')} ({new[:8]})"
    if name == "input_parts":
        return "from another film of the same size"
    return f"from an input of {old} bytes, now {new}" if name == "input_bytes" else f"{name} {old}, now {new}"


# --- in the file ---------------------------------------------------------------------------------------------------


def tagged(held: Metadata, made: Made, format: str) -> Metadata:
    """Metadata that also says what made the picture; as they are where the format or the packet has no room for it.

    A packet keeps every byte but an older tag.
    """
    if "xmp" not in metadata.HOLDS.get(format, ()):
        return held
    packet = held.xmp or _packet
    for pattern in _own:
        if NAMESPACE.encode() in packet:
            packet = pattern.sub(b"", packet)
    ends = list(_end.finditer(packet))
    if not ends:
        return held
    text = json.dumps(made)
    prefix = f"{ends[-1][1].decode()}:" if ends[-1][1] else ""
    about = _about.search(packet)
    block = f"<{prefix}Description {prefix}about={about[1].decode(errors='replace') if about else chr(34) * 2} "
    block += f'xmlns:recolor="{NAMESPACE}"><recolor:made>{escape(text)}</recolor:made></{prefix}Description>'
    packet = packet[: ends[-1].start()] + block.encode() + packet[ends[-1].start() :]
    fits = format != "JPEG" or len(metadata.XMP) + len(packet) <= jpeg.MAX_PAYLOAD
    return held._replace(xmp=packet) if fits and (not held.xmp or _says(packet, text)) else held


def _says(packet: bytes, text: str) -> bool:
    """Whether a packet is sound XML with the tag at its place."""
    if b"<!DOCTYPE" in packet or b"<!ENTITY" in packet:
        return False
    try:
        root = ElementTree.fromstring(packet.rstrip(b"\0"))
    except (ElementTree.ParseError, LookupError, ValueError):
        return False
    places = root.iterfind(f".//{{{RDF}}}Description/{{{NAMESPACE}}}made")
    return [place.text for place in places] == [text]


def of(data: bytes) -> Made | None:
    """What a file's own tag says made it; None where it has none. Any format: XMP lies in files as plain text."""
    at = data.find(NAMESPACE.encode())
    if at < 0 or not (match := _tag.search(data, max(0, at - 2**16), at + 2**16)):
        return None
    return _parsed(html.unescape((match[1] or match[2] or match[3]).decode(errors="replace")))


def _parsed(text: str) -> Made | None:
    try:
        made = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return made if isinstance(made, dict) and "colored_by" in made else None


# --- beside it -----------------------------------------------------------------------------------------------------


def enlist(path: Path, data: bytes, made: Made) -> None:
    """Add a file, by its name and bytes, to the list in its folder. Raises OSError.

    One line, appended in one piece: several runs may do so at the same time.
    """
    line = json.dumps({"file": path.name, "sha256": _digest(data), "made": made}) + "\n"
    handle = _opened(path.with_name(LIST), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


def _opened(place: Path, how: int) -> int:
    """A regular file's handle: no link's, which may lead anywhere, and no FIFO's, which waits. Raises OSError."""
    handle = os.open(place, how | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", str(place))
    return handle


class Lists:
    """The lists of the folders that are asked for, each read once as far as it goes, then what was added since."""

    def __init__(self) -> None:
        self._known: dict[
            Path, tuple[int, dict[str, str]]
        ] = {}  # how far; what made it, as JSON, by digest and by digest and name

    def of(self, path: Path, data: bytes) -> Made | None:
        """What the list in a file's folder says made these bytes; None where it says nothing or cannot be read."""
        place = path.with_name(LIST)
        at, entries = self._known.get(place, (0, {}))
        try:
            with open(_opened(place, os.O_RDONLY), "rb") as file:
                if at > os.fstat(file.fileno()).st_size:
                    at, entries = 0, {}  # another one
                file.seek(at)
                lines = file.read().splitlines(keepends=True)
        except OSError:
            return None
        for line in lines:
            if not line.endswith(b"\n"):
                break  # being written, or cut off by a kill
            at += len(line)
            try:
                entry = json.loads(line)
                made = sys.intern(json.dumps(entry["made"]))  # mostly the same
                entries[entry["sha256"]] = entries[f"{entry['sha256']} {entry['file']}"] = made
            except (ValueError, TypeError, KeyError, RecursionError):
                continue  # a line that two machines wrote at once, say
        self._known[place] = at, entries
        if not entries:
            return None
        digest = _digest(data)  # of two files of equal bytes each has a line of its own; a file may have been renamed
        return _parsed(entries.get(f"{digest} {path.name}") or entries.get(digest, ""))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
