"""The sentences of the server that the page says in its own language: their English texts are what the server says."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from recolor_fast.photographs import formats, images, libraries, pictures, raw, restoring
from recolor_fast.serve import facts, painter
from tests.browsing import PAGE
from tests.serving import file_of, gray_photograph
from tests.test_pages import scan

ROOT = PAGE.parent
ENGLISH = json.loads((PAGE / "texts" / "en.json").read_text("utf-8"))
HEARD = {key: text for key, text in ENGLISH.items() if key.startswith("heard.")}
JPEG, PNG = file_of(gray_photograph(height=120, width=160)), file_of(gray_photograph(), "PNG")


def fault(data: bytes, most: int = images.MAX_PIXELS) -> str:
    with pytest.raises(images.UnreadableImage) as caught:
        pictures.read(data, most, strict=False)
    return str(caught.value)


def refusal(data: bytes) -> str:
    return libraries.refusal(formats.kind(io.BytesIO(data)))


def pages() -> str:
    (note,) = pictures.read(scan(gray_photograph(1), gray_photograph(2))).notes
    return note


def cut() -> str:
    return pictures.read(JPEG[:-40], strict=False).notes[0]


def stopped(tmp_path: Path) -> str:
    known = facts.Photograph("0" * 16, "a.jpg", "m", 1, 1, status="working", tries=facts.TRIES)
    path = tmp_path / f"{known.id}.json"
    path.write_text(json.dumps({"version": facts.VERSION} | facts.as_json(known)))
    read = facts.read(path)
    assert read
    return read.reason


SAID: dict[str, Callable[[], str]] = {
    "color": lambda: painter.IN_COLOR,
    "cut": lambda: fault(PNG[:-40]),
    "cut_jpeg": lambda: fault(JPEG[: len(JPEG) // 2]),
    "cut_note": cut,
    "damaged": lambda: fault(b"P5 cut"),
    "damaged_head": lambda: fault(PNG[:12]),
    "border": lambda: restoring.NOTES["border"],
    "developed": lambda: raw.DEVELOPED,
    "empty": lambda: fault(b""),
    "faded": lambda: restoring.NOTES["levels"],
    "format": lambda: refusal(b"v/1\x01" + bytes(99)),
    "negative": lambda: restoring.NOTES["negative"],
    "no_image": lambda: fault(b"\xff\xd8"),
    "no_photograph": lambda: refusal(b"%PDF-1.7"),
    "pages": pages,
    "pixels": lambda: fault(PNG, 100),
    "text": lambda: fault(b"hello"),
}


def keys(sentence: str) -> list[str]:
    """Of the texts that a sentence fits, the longest one first."""
    fitting = [
        key
        for key, text in HEARD.items()
        if re.fullmatch(re.sub(r"\\\{\w+\\\}", "(.+)", re.escape(text)), sentence, re.DOTALL)
    ]
    return sorted(fitting, key=lambda key: -len(HEARD[key]))


@pytest.mark.parametrize("key", SAID)
def test_what_the_server_says_is_found_by_its_english_text(key: str) -> None:
    assert keys(SAID[key]())[0] == f"heard.{key}"


def test_what_is_said_of_a_photograph_that_ends_servers_is_found(tmp_path: Path) -> None:
    assert keys(stopped(tmp_path)) == ["heard.again"]


def test_what_a_missing_library_needs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "find_spec", lambda name: None)
    assert keys(refusal(b"\xff\x0a" + bytes(20))) == ["heard.library"]


def test_every_other_text_is_in_the_source_of_what_says_it() -> None:
    sources = [path.read_text("utf-8") for path in (*ROOT.glob("*/*.py"), *PAGE.glob("browser/*.js"))]
    for key in HEARD.keys() - {f"heard.{key}" for key in (*SAID, "again", "library")}:
        parts = re.split(r"\{\w+\}", HEARD[key])
        assert any(all(part in source for part in parts) for source in sources), key
