"""The HTTP API of `serve`, as programs meet it."""

import io
import json
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from recolor_fast import Colorizer, Hint
from recolor_fast.photographs import encoders, images, libraries
from recolor_fast.serve import app, colorizers, guard, work
from recolor_fast.serve.app import application
from tests.serving import ORIGIN, color_photograph, file_of, gray_photograph

GRAY = file_of(gray_photograph(), quality=95)
COLOR = file_of(color_photograph(), quality=95)


@pytest.fixture(scope="module")
def client(models) -> Iterator[TestClient]:
    limits = work.Limits(bytes=10**6, pixels=10**6)
    with TestClient(application(work.Work(models, limits), guard.Rules(bytes=10**6)), base_url=ORIGIN) as client:
        yield client


def chroma_of(data: bytes) -> float:
    """Mean distance of the channels of an image file, levels."""
    return float(np.ptp(images.read_rgb(data).astype(int), axis=2).mean())


# --- coloring ------------------------------------------------------------------------------------------------------


def test_raw_bytes_come_back_as_the_package_colors_them(client):
    answer = client.post("/color", content=GRAY)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert answer.content == Colorizer(threads=1)(GRAY)
    assert chroma_of(answer.content) > 1
    assert b"colored_by" in answer.content


def test_a_faded_negative_is_restored_where_it_is_asked(client):
    gray = gray_photograph()
    data = file_of((190 - gray.astype(float) / 2).astype(np.uint8), "PNG")
    plain, answer = client.post("/color", content=data), client.post("/color?restore=true&negative=true", content=data)
    assert (answer.status_code, json.loads(answer.headers["Recolor-Fast-Notes"])[0]) == (200, "a negative: inverted")
    off = [np.abs(images.gray(images.read_rgb(one.content)).astype(int) - gray).mean() for one in (plain, answer)]
    assert off[1] < 20 < off[0]
    assert b"restored" in answer.content
    assert client.post("/color?restore=perhaps", content=data).status_code == 422


def test_a_form_gives_what_raw_bytes_give_and_options_may_be_fields_or_query(client):
    wanted = client.post("/color?saturation=2&quality=80", content=GRAY).content
    image = {"image": ("../../etc/passwd", GRAY)}
    assert client.post("/color?saturation=2&quality=80", files=image).content == wanted
    assert client.post("/color", files=image, data={"saturation": "2", "quality": "80"}).content == wanted
    assert client.post("/color?quality=80", files=image, data={"saturation": "2"}).content == wanted
    assert wanted != client.post("/color", content=GRAY).content


def test_how_it_looks_follows_the_options(client):
    def mean(**options: float) -> np.ndarray:
        answer = client.post("/color", params={"format": "PNG", **options}, content=GRAY)
        assert answer.status_code == 200, answer.text
        return images.read_rgb(answer.content).reshape(-1, 3).mean(0)

    usual, warm, cool = mean(), mean(warmth=1), mean(warmth=-1)
    assert warm[0] - warm[2] > usual[0] - usual[2] > cool[0] - cool[2]
    for gray in (mean(saturation=0), mean(strength=0)):
        assert np.ptp(gray) < 0.01
    assert np.ptp(mean(saturation=2)) > np.ptp(usual)


def test_hints_are_followed_as_the_package_follows_them(client):
    given = [{"x": 40, "y": 30, "color": "#c03020", "radius": 12}]
    answer = client.post("/color", params={"hints": json.dumps(given)}, content=GRAY)
    assert answer.content == Colorizer(threads=1)(GRAY, hints=[Hint(**given[0])])
    assert client.post("/color", files={"image": GRAY}, data={"hints": json.dumps(given)}).content == answer.content
    assert answer.content != client.post("/color", content=GRAY).content


def test_many_hints_fit_into_a_field(client):
    given = [{"x": number % 80, "y": number % 60, "color": "#c03020", "radius": 1.25} for number in range(1000)]
    answer = client.post("/color", files={"image": GRAY}, data={"hints": json.dumps(given)})
    assert answer.status_code == 200


@pytest.mark.parametrize("format", [name for name in encoders.WRITABLE if name not in libraries.LIBRARIES])
def test_every_format_is_answered_by_its_name(client, format):
    answer = client.post("/color", params={"format": format}, content=GRAY)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == work.MEDIA[format]
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert images.header(io.BytesIO(answer.content)).format == format
    assert images.read_rgb(answer.content).shape == (60, 80, 3)


def test_a_picture_in_color_is_colored_unless_it_is_to_be_skipped(client):
    answer = client.post("/color", content=COLOR)
    assert answer.content == Colorizer(threads=1)(COLOR)
    skipped = client.post("/color?color=skip", content=COLOR)
    assert (skipped.content, skipped.headers["content-type"]) == (COLOR, "image/jpeg")
    assert json.loads(skipped.headers["recolor-fast-notes"]) == [work.IN_COLOR]
    assert client.post("/color?color=skip", content=GRAY).content != GRAY


def test_metadata_are_kept_or_dropped_and_the_picture_is_upright(client):
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "my aunt", 6
    sent = file_of(gray_photograph(), exif=exif)
    kept, dropped = (client.post("/color", params={"metadata": word}, content=sent) for word in ("keep", "drop"))
    assert b"my aunt" in kept.content
    assert b"my aunt" not in dropped.content
    assert b"colored_by" not in dropped.content
    assert images.read_rgb(dropped.content).shape == (80, 60, 3)


def test_what_one_should_know_is_in_a_header_of_ascii(client):
    frames = [Image.fromarray(gray_photograph(seed)) for seed in range(3)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    answer = client.post("/color", content=file.getvalue())
    assert answer.headers["content-type"] == "image/png"
    assert "first of 3 pictures" in json.loads(answer.headers["recolor-fast-notes"])[0]


def test_notes_that_do_not_fit_are_left_out():
    from recolor_fast.serve.color import notes

    assert json.loads(notes(("a\r\nSet-Cookie: b", "é"))) == ["a\r\nSet-Cookie: b", "é"]
    assert "\n" not in notes(("a\r\nb",))
    assert json.loads(notes(("a" * 3000, "b" * 3000))) == ["a" * 3000]
    assert json.loads(notes(("a" * 5000,))) == []


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ({"saturation": 4.1}, "saturation '4.1'"),
        ({"saturation": "nan"}, "saturation"),
        ({"warmth": -1.1}, "warmth"),
        ({"strength": 2}, "strength"),
        ({"keep_tone": -1}, "keep_tone"),
        ({"quality": 0}, "quality '0'"),
        ({"quality": "good"}, "quality 'good'"),
        ({"format": "GIF"}, "format 'GIF'"),
        ({"format": "../x"}, "format"),
        ({"color": "maybe"}, "color 'maybe'"),
        ({"metadata": "some"}, "metadata"),
        ({"model": "other"}, "model 'other': expected one of recolor_fast"),
        ({"hints": "{"}, "hints: not JSON"),
        ({"hints": "[" * 20000}, "hints"),
        ({"hints": "{}"}, "hints: expected a list"),
        ({"hints": '[{"x": 1}]'}, "hint"),
        ({"hints": '[{"x": 80, "y": 1, "color": "#c08040"}]'}, "hint at 80, 1: outside"),
        ({"hints": '[{"x": 1e400, "y": 1, "color": "#c08040"}]'}, "hint"),
        ({"hints": '[{"x": 1, "y": 1, "color": "red"}]'}, "color 'red'"),
        ({"url": "http://127.0.0.1/"}, "url"),
        ({"path": "/etc/passwd"}, "path"),
    ],
)
def test_bad_options_are_named(client, query, word):
    for answer in (
        client.post("/color", params=query, content=GRAY),
        client.post("/color", files={"image": GRAY}, data={name: str(value) for name, value in query.items()}),
    ):
        assert answer.status_code == 422
        assert word in answer.json()["detail"]


def test_forms_have_one_image_and_each_option_once(client):
    image = ("image", ("a.jpg", GRAY))
    for answer, word in (
        (client.post("/color", files={"photo": GRAY}), "image"),
        (client.post("/color", files={"photo": GRAY}, data={"image": "text"}), "image"),
        (client.post("/color?quality=80", files=[image], data={"quality": "80"}), "twice"),
        (client.post("/color", files=[image], data={"quality": ["80", "90"]}), "twice"),
    ):
        assert (answer.status_code, word in answer.json()["detail"]) == (422, True)
    assert client.post("/color", files=[image, image]).status_code == 400  # more files than one
    broken = client.post("/color", content=b"--x\r\n", headers={"content-type": "multipart/form-data; boundary=y"})
    assert broken.status_code in (400, 422)
    assert client.post("/color", content=GRAY, headers={"content-type": "multipart/form-data"}).status_code == 400


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"hello", "not an image"),
        (b"<html><script>alert(1)</script></html>", "web page"),
        (b"%PDF-1.7\n", "PDF"),
        (b"PK\x03\x04" + b"\0" * 60, "ZIP"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (GRAY[: len(GRAY) // 3], "truncated"),
        (file_of(gray_photograph(), "PNG")[:-40], ""),
    ],
    ids=["empty", "text", "html", "pdf", "zip", "svg", "cut jpeg", "cut png"],
)
def test_what_is_no_sound_image_is_415(client, data, word):
    for answer in (client.post("/color", content=data), client.post("/color", files={"image": ("a.jpg", data)})):
        assert answer.status_code == 415
        assert word in answer.json()["detail"]


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 10**6)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_what_is_too_large_is_413(client):
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b"\0" * 10**5

    for answer in (
        client.post("/color", content=b"\0" * (3 * 10**6)),
        client.post("/color", content=chunks()),
        client.post("/color", files={"image": b"\0" * (3 * 10**6)}),
        client.post("/color", content=png_claiming(1001, 1000)),
        client.post("/color", content=png_claiming(60_000, 60_000)),
        client.post("/color", content=png_claiming(2**31 - 1, 2**31 - 1)),
    ):
        assert answer.status_code == 413
        assert "too " in answer.json()["detail"]


@contextmanager
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A block in which photographs that have begun are not done."""
    go_on = threading.Event()
    encode = work.encoded

    def waiting(*given: object) -> work.Done:
        assert go_on.wait(60)
        return encode(*given)

    monkeypatch.setattr(work, "encoded", waiting)
    try:
        yield
    finally:
        go_on.set()


def test_a_full_server_says_so_and_when_to_try_again(models, monkeypatch):
    own = work.Work(models, work.Limits(queue=2))
    with TestClient(application(own), base_url=ORIGIN) as client, ThreadPoolExecutor(2) as pool:
        with stuck(monkeypatch):
            waiting = [pool.submit(client.post, "/color", content=GRAY) for _ in range(2)]
            while own.jobs < 2:
                time.sleep(0.01)
            refused = client.post("/color", content=GRAY)
            assert client.get("/health").json()["waiting"] == 2
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
        assert "waiting" in refused.json()["detail"]
        assert [one.result().status_code for one in waiting] == [200, 200]
        assert client.post("/color", content=GRAY).status_code == 200


def test_what_takes_too_long_is_given_up_and_its_room_comes_back(models, monkeypatch):
    own = work.Work(models, work.Limits(seconds=0.6))  # in which it comes to its last step
    with TestClient(application(own), base_url=ORIGIN) as client:
        with stuck(monkeypatch):
            late = client.post("/color", content=GRAY)
            assert own.jobs == 1  # its thread is at it still
        assert (late.status_code, late.headers["retry-after"]) == (503, "2")
        while own.jobs:
            client.get("/health")
        assert own.pixels == 0
        own.limits = work.LIMITS
        assert client.post("/color", content=GRAY).status_code == 200


def test_errors_of_our_own_are_500_without_words_about_them(models, monkeypatch):
    def broken(*given: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(colorizers, "see", broken)
    test_client = TestClient(application(work.Work(models)), base_url=ORIGIN, raise_server_exceptions=False)
    with test_client as client:
        answer = client.post("/color", content=GRAY)
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"


# --- beside it -----------------------------------------------------------------------------------------------------


def test_health_and_metrics(models):
    with TestClient(application(work.Work(models)), base_url=ORIGIN) as client:
        assert client.get("/health").json() | {"version": ""} == {
            "status": "ok",
            "version": "",
            "models": ["recolor_fast"],
            "waiting": 0,
        }
        client.post("/color", content=GRAY)
        client.post("/color", content=b"none")
        for number in range(3):
            client.get(f"/none/{number}")
        answer = client.get("/metrics")
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        lines = answer.text.splitlines()
        for line in (
            'recolor_fast_requests_total{method="POST",path="/color",status="200"} 1.0',
            'recolor_fast_requests_total{method="POST",path="/color",status="415"} 1.0',
            'recolor_fast_requests_total{method="GET",path="other",status="404"} 3.0',
            'recolor_fast_request_seconds_count{path="/color"} 2.0',
            "recolor_fast_jobs 0.0",
            "recolor_fast_jobs_limit 64.0",
            "recolor_fast_pixels_in_flight 0.0",
        ):
            assert line in lines
        assert any(line.startswith("process_resident_memory_bytes ") for line in lines)


def test_the_page_is_served_from_its_own_list(client):
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.content == (app.PAGE / "index.html").read_bytes()
    assert page.headers["cache-control"] == "no-cache"
    assert client.get("/", headers={"if-none-match": page.headers["etag"]}).status_code == 304
    for path in ("/../pyproject.toml", "/..%2f..%2fpyproject.toml", "/%2e%2e/cli.py", "//etc/passwd", "/index.html/.."):
        assert client.get(path).status_code in (404, 200)
        assert client.get(path).content in (page.content, b'{"detail":"Not Found"}')
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


def test_openapi_names_what_there_is(client):
    described = client.get("/openapi.json").json()
    color = described["paths"]["/color"]["post"]
    names = {one["name"] for one in color["parameters"]}
    assert names == {
        *(
            "saturation",
            "warmth",
            "strength",
            "keep_tone",
            "restore",
            "negative",
            "hints",
            "format",
            "quality",
            "metadata",
            "color",
            "model",
        )
    }
    assert set(color["responses"]) >= {"200", "413", "415", "422", "429"}
    assert "image" in color["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert {"/health", "/metrics"} <= set(described["paths"])


@pytest.mark.parametrize("word", ["jpg", "JPEG", "jpeg"])
def test_formats_are_named_as_the_command_takes_them(word: str) -> None:
    from recolor_fast.coloring.coloring import Settings
    from recolor_fast.serve.color import Options

    options = Options(format=word)  # type: ignore[arg-type]
    assert options.format is not None
    assert (options.format.value, options.quality) == ("JPEG", Settings().quality)
