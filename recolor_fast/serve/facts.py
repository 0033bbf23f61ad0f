"""What is known of a photograph on a desk, and how it is written down."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from recolor_fast.artefact import hints
from recolor_fast.artefact.hints import Hint
from recolor_fast.machine import files
from recolor_fast.machine.errors import UserError

VERSION = 1  # of the facts; another one is never read, nor removed
TRIES = 3  # starts of a photograph's work that ended with the server's end: it may be what ends it
LONGEST = 200  # characters of a name

Status = Literal["waiting", "working", "ready", "failed"]


class Photograph(NamedTuple):
    """The facts of a photograph."""

    id: str
    """16 hexadecimal digits."""
    name: str
    """What the visitor calls it; for people alone."""
    model: str
    """Name of the model that colors it."""
    arrived: int
    """Nanoseconds since 1970, and later than that of every photograph before it."""
    bytes: int
    """Of its file."""
    status: Status = "waiting"
    reason: str = ""
    """Why it failed."""
    notes: tuple[str, ...] = ()
    """What one should know of it: "first of 3 pictures"."""
    width: int = 0
    """Pixels, upright; until it has been read what its header says, 0 for nothing."""
    height: int = 0
    in_color: bool = False
    """Whether it came in color."""
    toned: bool = False
    """Whether it is a print with a tone of its own."""
    size: int = 0
    """Pixels a side of what the model paints; 0 until it has."""
    look: Mapping[str, float] = {}
    """Of settings.Look what the visitor chooses, by name; what is not in it is as usual."""
    hints: tuple[Hint, ...] = ()
    revision: int = 0
    """How often it was painted."""
    painter: tuple[str, str] = ("", "")
    """Name and SHA-256 of the artefact that painted it last."""
    prepared: tuple[int, str, str] = (0, "", "")
    """How what the model saw was made: size, equalize, blur."""
    tries: int = 0
    """How often its work began and did not end."""
    restore: bool = False
    """Whether the tones of a faded print are to be stretched before it is colored."""
    negative: bool = False
    """Whether it is a negative, to be inverted before it is colored."""
    curve: tuple[tuple[float, float], ...] = ()
    """restoring.Restored.points of what was done for these two."""


def as_json(photograph: Photograph) -> dict[str, Any]:
    return photograph._asdict() | {"hints": [hint._asdict() for hint in photograph.hints]}


def of_json(values: Mapping[str, Any]) -> Photograph:
    """Raises ValueError or TypeError for what is none."""
    photograph = Photograph(**values)
    texts = photograph.id, photograph.name, photograph.model
    counts = photograph.arrived, photograph.bytes, photograph.revision, photograph.tries
    numbers = *counts, photograph.restore, photograph.negative
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(number, int) for number in numbers):
        raise ValueError("id, name and model are texts, the counts, restore and negative are numbers")
    return photograph._replace(
        hints=hints.checked(photograph.hints),
        notes=tuple(photograph.notes),
        painter=(photograph.painter[0], photograph.painter[1]),
        prepared=(photograph.prepared[0], photograph.prepared[1], photograph.prepared[2]),
        curve=tuple((float(before), float(after)) for before, after in photograph.curve),
    )


def title(name: str) -> str:
    """What a visitor calls a file as one legible line: the last part of a path, its end if it is long."""
    return files.legible(re.split(r"[/\\]", name.strip())[-1])[-LONGEST:] or "photograph"


def read(path: Path) -> Photograph | None:
    """The facts in a file; None, and a word to whoever runs the server, where they are damaged. Raises UserError for
    those of another version."""
    try:
        values = json.loads(path.read_bytes())
        version = values.pop("version")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        version, values = VERSION, {}
    if version != VERSION:
        advice = "use the recolor_fast that wrote it, or another folder with --state, or clear this one with --clear"
        raise UserError(f"{path}: of version {version}, expected {VERSION}; {advice}")
    try:
        photograph = of_json(values)
        if f"{photograph.id}.json" != path.name:
            raise ValueError("the id is another one's")
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        files.say(f"{path}: damaged ({error}); its photograph is left out, and lies beside it")
        return None
    if photograph.status != "working":
        return photograph
    if photograph.tries < TRIES:
        return photograph._replace(status="waiting")
    reason = f"the server ended {TRIES} times while it worked on this photograph"
    return photograph._replace(status="failed", reason=reason)
