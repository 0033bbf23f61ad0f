"""Names of colored files, as browsers are told them and as archives hold them; none of them is a path here."""

import re
import unicodedata
from collections.abc import Set
from pathlib import PurePosixPath
from urllib.parse import quote

from recolor_fast.coloring.folder import FORMATS
from recolor_fast.photographs import encoders

LONGEST = 200  # bytes of a name, of the 255 that file systems take: there is room for what tells it from others
_RESERVED = re.compile(r"(?i)(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?")  # devices of Windows


def colored(name: str, format: str) -> str:
    """The name of a colored file: that of the photograph, which it may not take the place of, and a format's suffix.

    old.JPG becomes old.colored.JPG, and old.gif, of which PNG is written, old.colored.png. Every file system takes it.
    """
    path = PurePosixPath(unicodedata.normalize("NFC", name))
    suffix = path.suffix if FORMATS.get(path.suffix.lower()) == format else encoders.WRITABLE[format]
    stem = path.name.removesuffix(path.suffix) if path.suffix.lower() in FORMATS or len(path.suffix) < 6 else path.name
    stem = re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f]', "_", stem).strip(". ")
    stem = _shortened(stem, LONGEST) or "photograph"
    return f"{'_' if _RESERVED.fullmatch(stem) else ''}{stem}.colored{suffix}"


def _shortened(text: str, most: int) -> str:
    """As much of a text as `most` bytes of UTF-8 hold."""
    return text.encode(errors="replace")[:most].decode(errors="ignore")


def unique(name: str, taken: Set[str]) -> str:
    """The name, or with a number one that is not among those `taken`, which are folded: see `folded`."""
    path, number, found = PurePosixPath(name), 2, name
    while folded(found) in taken:
        found, number = f"{path.stem}-{number}{path.suffix}", number + 1
    return found


def folded(name: str) -> str:
    """Equal for names that some file system takes for one."""
    return unicodedata.normalize("NFD", name).casefold()


def disposition(name: str) -> str:
    """The value of Content-Disposition for a download (RFC 6266): the name, and what ASCII has of it."""
    plain = re.sub(r'["\\%]|[^ -~]', "_", unicodedata.normalize("NFC", name))
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"
