"""A broken download resumes where it was: urllib against a server on this machine that breaks off."""

import hashlib
import http.client
import http.server
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from recolor_fast.machine import download, files
from recolor_fast.machine.download import Pinned, fetch, https_alone, partial

CONTENT = bytes(range(251)) * 20000  # 5 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Plain(urllib.request.HTTPHandler):
    """Speaks plain HTTP where https is asked for: the server of this test has no certificate."""

    https_request = urllib.request.HTTPHandler.do_request_

    def https_open(self, request: urllib.request.Request):
        return self.do_open(http.client.HTTPConnection, request)


class Server(http.server.ThreadingHTTPServer):
    """Sends CONTENT, by ranges or not, and breaks off after so many bytes of each answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.ranges, self.say_length = CONTENT, True, True
        self.breaks: list[int] = []
        self.asked: list[str | None] = []


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, asked = self.server, self.headers.get("Range")
        server.asked.append(asked)
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges else 0
        if begin >= len(server.content):
            self.send_error(416)
            return
        rest = server.content[begin:]
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(server.content) - 1}/{len(server.content)}")
        if server.say_length:
            self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: server.breaks.pop(0)] if server.breaks else rest)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "OPENER", https_alone(Plain()))
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def pinned(server: Server) -> Pinned:
    return Pinned(f"https://127.0.0.1:{server.server_port}/file.bin", SHA256, len(CONTENT))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("say_length", [True, False])
def test_a_connection_that_breaks_is_made_again_for_the_rest(server: Server, tmp_path: Path, say_length: bool) -> None:
    server.breaks, server.say_length = [3_000_000, 1_000_000], say_length
    fetch(pinned(server), tmp_path / "file.bin")
    assert server.asked == [None, "bytes=3000000-", "bytes=4000000-"]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert names(tmp_path) == ["file.bin"]


def test_the_next_call_goes_on_where_the_last_one_broke(server: Server, tmp_path: Path) -> None:
    what, path = pinned(server), tmp_path / "file.bin"
    path.write_bytes(b"before")
    server.breaks = [3_000_000, 0]
    with pytest.raises(OSError, match=r"3,000,000 of 5,020,000 bytes are kept, and the next try resumes from there"):
        fetch(what, path)
    assert path.read_bytes() == b"before"
    assert files.is_part(partial(what, path))
    assert partial(what, path).read_bytes() == CONTENT[:3_000_000]
    fetch(what, path)
    assert server.asked == [None, "bytes=3000000-", "bytes=3000000-"]
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["file.bin"]
    fetch(what, path)  # it is there
    assert len(server.asked) == 3


def test_tries_come_to_an_end(server: Server, tmp_path: Path) -> None:
    server.breaks = [1000] * 50
    with pytest.raises(OSError, match="5,000 of 5,020,000 bytes are kept"):
        fetch(pinned(server), tmp_path / "file.bin")
    assert len(server.asked) == download.TRIES


def test_a_server_without_ranges_sends_all_of_it_again(server: Server, tmp_path: Path) -> None:
    server.breaks, server.ranges = [3_000_000], False
    fetch(pinned(server), tmp_path / "file.bin")
    assert server.asked == [None, "bytes=3000000-"]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("kept", [b"\1" * 1000, CONTENT[:-1] + b"\1", CONTENT + b"more"])
def test_what_was_kept_is_not_trusted(server: Server, tmp_path: Path, kept: bytes) -> None:
    what, path = pinned(server), tmp_path / "file.bin"
    partial(what, path).write_bytes(kept)
    fetch(what, path)
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["file.bin"]


def test_other_contents_are_not_kept(server: Server, tmp_path: Path) -> None:
    server.breaks, server.content = [3_000_000], b"\1" + CONTENT[1:]
    with pytest.raises(OSError, match=r"SHA-256 is .* nothing of it is kept"):
        fetch(pinned(server), tmp_path / "file.bin")
    assert names(tmp_path) == []


def test_a_shorter_file_than_the_pinned_one_is_asked_for_anew(server: Server, tmp_path: Path) -> None:
    what, path = pinned(server), tmp_path / "file.bin"
    partial(what, path).write_bytes(CONTENT[:4_000_000])
    server.content = CONTENT[:1000]
    with pytest.raises(OSError, match="416"):
        fetch(what, path)
    assert names(tmp_path) == []
    server.content = CONTENT
    fetch(what, path)
    assert path.read_bytes() == CONTENT


def test_two_downloads_of_one_file_do_not_mix(server: Server, tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    what, path = pinned(server), tmp_path / "file.bin"
    with open(partial(what, path), "wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="another process is downloading it"):
            fetch(what, path)
    fetch(what, path)
    assert path.read_bytes() == CONTENT
