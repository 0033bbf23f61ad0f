"""What is downloaded: over https, of the pinned SHA-256, whole or not at all."""

import hashlib
import io
import threading
import urllib.request
from email.message import Message
from urllib.error import URLError
from urllib.response import addinfourl

import pytest

from recolor_fast.machine import download
from recolor_fast.machine.download import Pinned, fetch, https_alone, reachable, verify

CONTENT = bytes(range(256)) * 9000  # more than two pieces
WHOLE = hashlib.sha256(CONTENT).hexdigest()
URL = "https://example.org/folder/file.bin"
WHAT = Pinned(URL, WHOLE, len(CONTENT))


class Broken(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        raise ConnectionResetError("reset by peer")


class Server(urllib.request.BaseHandler):
    """Answers https instead of a network, address by address: contents, or where they are instead."""

    def __init__(self, answers: dict[str, bytes | str | io.BytesIO]) -> None:
        self.answers, self.asked = answers, []

    def https_open(self, request: urllib.request.Request) -> addinfourl:
        self.asked.append(request.full_url)
        answer, headers = self.answers.get(request.full_url), Message()
        code = 404 if answer is None else 302 if isinstance(answer, str) else 200
        if isinstance(answer, str):
            headers["Location"] = answer
        body = answer if isinstance(answer, io.BytesIO) else io.BytesIO(answer if isinstance(answer, bytes) else b"")
        response = addinfourl(body, headers, request.full_url, code)
        response.msg = "as asked"
        return response


@pytest.fixture
def server(monkeypatch):
    handler = Server({URL: CONTENT})
    monkeypatch.setattr(download, "OPENER", https_alone(handler))
    return handler


def test_what_was_expected_arrives_whole_and_alone(server, tmp_path):
    fetch(WHAT, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]
    verify(WHAT, tmp_path / "file.bin")
    assert WHAT.name == "file.bin"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"another" + CONTENT[7:], rf"SHA-256 is [0-9a-f]{{64}}, expected {WHOLE}; nothing of it is kept"),
        (CONTENT + b"1", f"longer than the {len(CONTENT)} bytes"),
        (None, "404"),
        (Broken(), "reset by peer"),
    ],
)
def test_anything_else_is_an_error_and_leaves_what_was_there(server, tmp_path, answer, said):
    server.answers = {} if answer is None else {URL: answer}
    (tmp_path / "file.bin").write_bytes(b"before")
    with pytest.raises(OSError, match=said):
        fetch(WHAT, tmp_path / "file.bin")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


def test_a_redirect_is_followed_to_https_and_nowhere_else(server, tmp_path):
    server.answers |= {"https://example.org/moved": URL}
    fetch(WHAT._replace(url="https://example.org/moved"), tmp_path / "file.bin")
    assert server.asked == ["https://example.org/moved", URL]
    server.answers |= {"https://example.org/down": "http://example.org/file.bin"}
    with pytest.raises(URLError, match="unknown url type: http"):
        fetch(WHAT._replace(url="https://example.org/down"), tmp_path / "other.bin")
    assert not (tmp_path / "other.bin").exists()


@pytest.mark.parametrize("scheme", ["http", "ftp", "file", "data"])
def test_the_real_opener_knows_https_alone(scheme, tmp_path):
    (tmp_path / "file.bin").write_bytes(CONTENT)
    address = f"{scheme}://{tmp_path}/file.bin" if scheme == "file" else f"{scheme}://127.0.0.1/file.bin"
    with pytest.raises(URLError, match=f"unknown url type: {scheme}"):
        fetch(WHAT._replace(url=address), tmp_path / "copy.bin")


def test_some_digits_of_a_sha_are_compared_where_no_more_are_known(tmp_path):
    (tmp_path / "file.bin").write_bytes(CONTENT)
    verify(WHAT._replace(sha256=WHOLE[:8]), tmp_path / "file.bin")
    with pytest.raises(ValueError, match=r"file\.bin: its SHA-256 is"):
        verify(WHAT._replace(sha256="0" * 8), tmp_path / "file.bin")


def test_reachable_gives_up_in_time(monkeypatch):
    over, looked_up = threading.Event(), []

    def hang(*arguments, **keywords):  # looking up a name has no timeout of its own
        looked_up.append(over.wait(60))
        raise OSError

    monkeypatch.setattr("urllib.request.urlopen", hang)
    assert not reachable("https://example.org", 0.1)
    assert looked_up == []
    over.set()


def test_reachable_tells_an_answer_from_an_error(tmp_path):
    assert not reachable((tmp_path / "absent").as_uri(), 5)
    (tmp_path / "present").touch()
    assert reachable((tmp_path / "present").as_uri(), 5)
