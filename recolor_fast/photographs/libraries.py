"""The optional libraries that read further formats of photographs, in one table; imported when a file needs them."""

from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from typing import NamedTuple

from recolor_fast.photographs import heif, jxl, raw
from recolor_fast.photographs.formats import Kind
from recolor_fast.photographs.opened import Opened


class Library(NamedTuple):
    """What reads a format."""

    module: str
    package: str
    """Its name for pip."""
    opened: Callable[[bytes], Opened]


LIBRARIES = {
    "HEIF": Library("pillow_heif", "pillow-heif", heif.opened),
    "JXL": Library("pillow_jxl", "pillow-jxl-plugin", jxl.opened),
    "RAW": Library("rawpy", "rawpy", raw.opened),
}


def missing(format: str) -> str:
    """What is to be installed for a format of LIBRARIES, empty where that is there."""
    library = LIBRARIES[format]
    return "" if find_spec(library.module) else f"needs {library.package}: pip install {library.package}"


def versions() -> str:
    """Those of the libraries, 0 for one that is not installed: what is read changes with them."""
    return " ".join(version(one.package) if find_spec(one.module) else "0" for one in LIBRARIES.values())


def refusal(kind: Kind | None) -> str:
    """Why a file of a kind cannot be read at all, and what to do; empty where it may be."""
    if kind is None or kind.reader == "Pillow":
        return ""
    if kind.reader:
        lacks = missing(kind.reader)
        return f"{kind.name}, which {lacks}" if lacks else ""
    return f"{kind.name}{', which is not read here: convert it, to TIFF say' if kind.image else ', not a photograph'}"


def opened(kind: Kind | None, data: bytes) -> Opened | None:
    """A file's picture by the library of its kind; None where Pillow is to read it. Raises what the library raises."""
    return LIBRARIES[kind.reader].opened(data) if kind is not None and kind.reader in LIBRARIES else None
