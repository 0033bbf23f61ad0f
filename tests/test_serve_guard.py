"""What `serve` does with clients that are hostile, slow or broken off: real sockets where that matters."""

import asyncio
import os
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from recolor_fast.photographs import images
from recolor_fast.serve import guard, work
from recolor_fast.serve.app import application
from tests.serving import ORIGIN, exchange, file_of, gray_photograph, served

GRAY = file_of(gray_photograph(), quality=95)
TOKEN = "0123456789abcdef-TOKEN"


@pytest.fixture
def client(models) -> Iterator[TestClient]:
    with TestClient(application(work.Work(models)), base_url=ORIGIN) as client:
        yield client


@pytest.fixture
def port(models) -> Iterator[int]:
    """Of a server whose patience is short: see Hasty."""
    limits, rules = work.Limits(bytes=10**6), guard.Rules(bytes=10**6, grace=0.3)
    with served(application(work.Work(models, limits), rules)) as port:
        yield port


def posted(data: bytes, *headers: str, length: int | None = None) -> bytes:
    """The bytes of a request to /color."""
    lines = ["POST /color HTTP/1.1", "Host: 127.0.0.1", *headers]
    lines += [f"Content-Length: {len(data) if length is None else length}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def alive(port: int) -> bool:
    return status(exchange(port, b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")) == 200


def open_files() -> int:
    """Of this process, sockets of client and server too."""
    return len(os.listdir("/proc/self/fd"))


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


# --- who asks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("127.0.0.1:8765", 200),
        ("localhost", 200),
        ("LOCALHOST:8765", 200),
        ("[::1]:8765", 200),
        ("192.168.7.7", 200),  # no page of another site comes by an address
        ("photos.example:80", 200),  # named at the start
        ("evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("localhost.evil.example", 400),
        ("localhost@evil.example", 400),
        ("evil.example:localhost", 400),
        ("", 400),
        ("[::1", 400),
    ],
)
def test_only_its_own_names_are_served(models, host, code):
    app = application(work.Work(models), guard.Rules(names=("Photos.example",)))
    with TestClient(app, base_url=ORIGIN) as client:
        for path in ("/", "/health", "/openapi.json", "/none"):
            answer = client.get(path, headers={"host": host})
            assert (answer.status_code == 400) == (code == 400)


def test_other_sites_pages_can_neither_send_nor_read(client):
    for headers in (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://localhost:8765"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
        {"origin": ORIGIN, "sec-fetch-site": "cross-site"},
    ):
        for kind in ("image/jpeg", "text/plain", "multipart/form-data; boundary=x"):
            assert client.post("/color", content=GRAY, headers={**headers, "content-type": kind}).status_code == 403
    for headers in ({}, {"origin": ORIGIN}, {"origin": ORIGIN, "sec-fetch-site": "same-origin"}):
        assert client.post("/color", content=GRAY, headers=headers).status_code == 200
    embedded = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert client.get("/health", headers=embedded).status_code == 403
    followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/", headers=followed).status_code == 200
    assert "access-control-allow-origin" not in client.options("/color", headers={"origin": ORIGIN}).headers


def test_every_answer_has_the_headers(client):
    for answer in (
        client.get("/"),
        client.get("/none"),
        client.post("/color", content=GRAY),
        client.post("/color", content=b"none"),
        client.get("/", headers={"host": "evil.example"}),
        client.post("/color", content=GRAY, headers={"origin": "null"}),
    ):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; ")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["cache-control"] in ("no-store", "no-cache")
        assert "server" not in answer.headers


def test_a_token_is_asked_for_and_a_browser_keeps_it(models):
    app = application(work.Work(models), guard.Rules(token=TOKEN))
    with TestClient(app, base_url=ORIGIN, follow_redirects=False) as client:
        assert client.get("/health").status_code == 200
        for path in ("/", "/metrics", "/openapi.json", "/none", "/?token=wrong", f"/metrics?token={TOKEN}"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        for given in ("Bearer wrong", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer ", "Bearer \xe9"):
            raw = {b"authorization": given.encode("latin-1")}
            assert client.post("/color", content=GRAY, headers=raw).status_code == 401
        assert client.post("/color", content=GRAY, headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert client.post(f"/?token={TOKEN}").status_code == 401
        entered = client.get(f"/?token={TOKEN}")
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        assert "HttpOnly" in entered.headers["set-cookie"]
        assert "SameSite=Lax" in entered.headers["set-cookie"]
        assert client.get("/").status_code == client.get("/metrics").status_code == 200
        assert client.post("/color", content=GRAY).status_code == 200
        assert client.post("/color", content=GRAY, headers={"origin": "http://evil.example"}).status_code == 403


def test_web_sockets_are_refused(client):
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/"):
        pass


# --- who is slow ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "begun", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nG"]
)
def test_a_head_that_does_not_come_is_not_waited_for(port, begun):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(begun)
        try:
            while client.recv(65536):
                pass
        except ConnectionResetError:
            pass
    assert alive(port)


def test_a_head_that_drips_is_not_waited_for(port):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")

        def drip() -> None:
            for number in range(400):
                client.sendall(b"A%d: b\r\n" % number)
                time.sleep(0.05)

        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            drip()
    assert alive(port)


def test_a_body_that_drips_or_does_not_come_is_408(port):
    for begun in (b"", GRAY[:10]):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            client.sendall(posted(begun, length=len(GRAY)))
            found = b""
            while part := client.recv(65536):
                found += part
            assert status(found) == 408
            assert b"connection: close" in found.lower()
    assert alive(port)


def test_a_body_that_comes_at_the_least_rate_may_take_longer():
    rules = guard.Rules(grace=100)
    scope = {"type": "http", "method": "POST", "headers": [(b"content-length", b"100")]}

    async def receive() -> dict[str, object]:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"x" * guard.RATE, "more_body": True}

    async def at(seconds: float) -> int:
        one = guard._Exchange(rules, scope, receive, None)  # type: ignore[arg-type]
        one.since -= seconds
        for _ in range(3):
            await one.receive()
        return one.length

    with pytest.raises(guard.Refused, match="slowly"):
        asyncio.run(at(150))
    assert asyncio.run(at(50)) == 3 * guard.RATE


def test_a_client_that_does_not_read_its_answer_is_dropped(port):
    large = file_of(np.random.default_rng(0).integers(0, 255, (900, 1000), np.uint8), quality=80)
    before = open_files()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(60)
        client.connect(("127.0.0.1", port))
        request = posted(large).replace(b"/color", b"/color?format=BMP")
        client.sendall(request)
        client.recv(1, socket.MSG_PEEK)  # it answers
        until(lambda: open_files() <= before + 1)  # and has dropped its end
        found = 0
        while part := client.recv(65536):
            found += len(part)
        assert found < 900 * 1000 * 3
    assert alive(port)


# --- who breaks off ------------------------------------------------------------------------------------------------


def test_uploads_that_break_off_leave_nothing(port, capfd):
    form = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + GRAY
    before = open_files()
    for _ in range(5):
        for sent in (
            posted(GRAY[:500], length=len(GRAY)),
            posted(form, "Content-Type: multipart/form-data; boundary=x", length=len(form) + 100),
            posted(GRAY),  # gone before the answer
        ):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
                client.sendall(sent)
    assert alive(port)
    until(lambda: open_files() <= before)
    assert capfd.readouterr().err == ""


def test_what_is_too_large_is_told_while_it_is_still_being_sent(port):
    for request in (
        posted(b"\0" * (5 * 10**6)),
        b"POST /color HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"186a0\r\n%b\r\n" % (b"\0" * 10**5) * 40
        + b"0\r\n\r\n",
    ):
        answer = exchange(port, request)
        assert status(answer) == 413
        assert answer.endswith(b'a body may have 2,048,576 bytes"}')
    assert alive(port)


@pytest.mark.parametrize(
    "sent",
    [
        b"\0\1\2\3\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: localhost\r\n\r\n",
        b"POST /color HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /color HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /color HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /%ff%00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * 10**6 + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /color HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ],
)
def test_odd_requests_end_in_an_answer_or_the_end_of_the_connection(port, sent):
    try:
        answer = exchange(port, sent)
    except (ConnectionResetError, BrokenPipeError):
        answer = b""
    assert not answer or 400 <= status(answer) < 500
    assert alive(port)


# --- files that are not what they seem -----------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_a_bomb_of_compressed_text_or_profile_does_no_harm(client):
    """Small files that unpack to gigabytes beside the picture."""
    plain = file_of(gray_photograph(), "PNG")
    bomb = zlib.compress(b"\0" * (50 * 2**20), 9)
    for kind, head in ((b"zTXt", b"Comment\0\0"), (b"iTXt", b"Comment\0\1\0\0\0"), (b"iCCP", b"name\0\0")):
        answer = client.post("/color", content=plain[:33] + chunk(kind, head + bomb) + plain[33:])
        assert answer.status_code in (200, 415)
        assert len(answer.content) < 10**6


def test_a_polyglot_is_answered_as_an_image_that_no_browser_runs(client):
    page = b"<html><script>alert(document.domain)</script></html>"
    archive = b"PK\x05\x06" + b"\0" * 18
    for data in (GRAY + page + archive, GRAY[:2] + b"\xff\xfe" + struct.pack(">H", len(page) + 2) + page + GRAY[2:]):
        for query in ("", "?color=skip"):
            answer = client.post(f"/color{query}", content=data)
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "image/jpeg"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-security-policy"].startswith("default-src 'none'")
            assert images.read_rgb(answer.content).shape == (60, 80, 3)


def test_scripts_in_metadata_are_text_and_in_no_header(client):
    script = "<script>alert(1)</script>\r\nSet-Cookie: a=b"
    exif = Image.Exif()
    exif[0x010E] = exif[0x013B] = script
    told = PngInfo()
    told.add_text("Comment", script)
    for data in (file_of(gray_photograph(), exif=exif), file_of(gray_photograph(), "PNG", pnginfo=told)):
        answer = client.post("/color", content=data)
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers
        assert not any("script>" in value for value in answer.headers.values())


def test_no_name_is_a_path(client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        "../up.jpg",
        "/tmp/abs.jpg",
        "C:\\a.jpg",
        "a\0b.jpg",
        "http://127.0.0.1:1/a.jpg",
        "." * 300,
        "con.jpg",
    ):
        answer = client.post("/color", files={"image": (name, GRAY)})
        assert answer.status_code == 200
        assert not any(name in value for value in answer.headers.values())
    assert [*tmp_path.iterdir()] == []
    assert not (tmp_path.parent / "up.jpg").exists()
    assert not Path("/tmp/abs.jpg").exists()


def test_uploads_have_no_names_on_the_disk(models, tmp_path, monkeypatch):
    """So nothing is left of them however the server ends."""
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    large = file_of(np.random.default_rng(0).integers(0, 255, (1200, 1500), np.uint8), quality=95)
    assert len(large) > 2**20
    seen: list[list[str]] = []
    encode = work.encoded

    def looked(*given: object) -> work.Done:
        seen.append(os.listdir(tmp_path))
        return encode(*given)

    monkeypatch.setattr(work, "encoded", looked)
    with TestClient(application(work.Work(models)), base_url=ORIGIN) as client:
        assert client.post("/color", content=large).status_code == 200
        assert client.post("/color", files={"image": large}).status_code == 200
    assert seen == [[], []]
