"""The desk over HTTP, as the page meets it."""

import asyncio
import errno
import io
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import httpx2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from recolor_fast.artefact import runtime
from recolor_fast.coloring.colorizer import Colorizer
from recolor_fast.photographs import images, pictures, provenance, restoring
from recolor_fast.serve import __main__, colorizers, work
from recolor_fast.serve.app import application
from recolor_fast.serve.desk import LIMITS, Desks, Limits
from recolor_fast.serve.desk_routes import folder_of
from recolor_fast.serve.facts import Photograph
from recolor_fast.serve.painter import Painter
from tests import artefacts, photographs, serving
from tests.test_heif import heic
from tests.test_jxl import encoded as jxl
from tests.test_pages import scan
from tests.test_raw import dng, linear

ROOT = Path(__file__).parents[1]
ORIGIN = "http://127.0.0.1:8765"
SIZE = 160  # of the model that comes with the package
HINT = {"x": 20.0, "y": 15.0, "color": "#c03020", "radius": 6.0}


@pytest.fixture(scope="module")
def colorizer() -> Colorizer:
    return Colorizer(threads=1)


class Server:
    """A server's application over a state folder, and the browsers of its visitors."""

    def __init__(self, models: dict[str, colorizers.Model], state: Path, limits: Limits = LIMITS) -> None:
        self.desks = Desks(state, limits)
        self.work = work.Work(models)
        self.client = TestClient(application(self.work, desks=self.desks), base_url=ORIGIN)

    def __enter__(self) -> TestClient:
        return self.client.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.client.__exit__(*error)
        self.desks.close()


@pytest.fixture
def client(models, tmp_path) -> Iterator[TestClient]:
    with Server(models, tmp_path / "state") as client:
        client.get("/desk")
        yield client


def jpeg(seed: int = 0, height: int = 60, width: int = 80, color: bool = False, **settings: Any) -> bytes:
    file = io.BytesIO()
    rgb = photographs.pixels(seed, height, width)
    Image.fromarray(rgb if color else images.gray(rgb)).save(file, "JPEG", quality=95, **settings)
    return file.getvalue()


def sepia(seed: int = 0, height: int = 60, width: int = 80) -> bytes:
    gray = images.gray(photographs.pixels(seed, height, width))
    file = io.BytesIO()
    Image.fromarray((gray[..., None] * np.array([1, 0.86, 0.64])).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def add(client: TestClient, data: bytes, name: str = "old.jpg") -> dict[str, Any]:
    answer = client.post("/desk/photographs", params={"name": name}, content=data)
    assert answer.status_code == 201, answer.text
    return answer.json()


def keep(desks: Desks, key: str, data: bytes) -> Photograph:
    """A photograph that is put on a desk without a server."""
    with closing(desks.begin(key)) as arriving:
        arriving.write(data)
        return arriving.keep("late.jpg", "recolor_fast")


def done(client: TestClient, id: str) -> dict[str, Any]:
    """The photograph once it is no more worked on."""
    for _ in range(20_000):
        photograph = client.get(f"/desk/photographs/{id}").json()
        if photograph["status"] in ("ready", "failed"):
            return photograph
        time.sleep(0.01)
    raise AssertionError(photograph)


def ready(client: TestClient, data: bytes, name: str = "old.jpg") -> dict[str, Any]:
    photograph = done(client, add(client, data, name)["id"])
    assert photograph["status"] == "ready", photograph
    return photograph


def put(client: TestClient, id: str, status: int = 200, **change: Any) -> dict[str, Any]:
    answer = client.put(f"/desk/photographs/{id}", json=change)
    assert answer.status_code == status, answer.text
    return answer.json()


def part(client: TestClient, id: str, what: str, **query: Any) -> bytes:
    answer = client.get(f"/desk/photographs/{id}/{what}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.content


def test_an_empty_desk_says_what_the_server_takes(client):
    desk = client.get("/desk").json()
    assert desk["version"] == 1
    assert desk["models"] == [{"name": "recolor_fast", "hints": True}]
    assert {".jpg", ".png", ".heic", ".dng"} <= {*desk["formats"]}
    assert desk["limits"] == {"bytes": 64 * 2**20, "pixels": 64 * 10**6, "photographs": 500}
    assert desk["photographs"] == []


def test_a_photograph_is_colored(client):
    data = jpeg()
    first = add(client, data, "Großmutter 祖母.jpg")
    assert (first["status"], first["name"], first["width"], first["height"]) == (
        "waiting",
        "Großmutter 祖母.jpg",
        80,
        60,
    )
    photograph = done(client, first["id"])
    assert photograph == {
        "id": first["id"],
        "name": "Großmutter 祖母.jpg",
        "status": "ready",
        "reason": "",
        "notes": [],
        "width": 80,
        "height": 60,
        "in_color": False,
        "toned": False,
        "size": SIZE,
        "model": "recolor_fast",
        "look": {"saturation": 1.0, "warmth": 0.0, "strength": 1.0, "keep_tone": 0.7},
        "hints": [],
        "revision": 1,
        "restore": False,
        "negative": False,
        "curve": [],
    }
    assert client.get("/desk").json()["photographs"] == [photograph]


def test_the_file_is_byte_for_byte_the_colorizers(client, colorizer):
    data = jpeg(exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0")  # turned
    id = ready(client, data)["id"]
    assert part(client, id, "file") == colorizer(data)
    look = {"saturation": 1.4, "warmth": 0.3, "strength": 0.8, "keep_tone": 0.5}
    photograph = put(client, id, look=look, hints=[HINT])
    assert (photograph["look"], photograph["hints"], photograph["revision"]) == (look, [HINT], 2)
    assert (photograph["width"], photograph["height"]) == (60, 80)
    expected = Colorizer(threads=1, **look)(data, hints=[HINT])
    written = part(client, id, "file")
    assert written == expected
    assert provenance.of(written)["model"] == "colorizer-hints"


FILES: dict[str, Callable[[], bytes]] = {
    "sepia.png": lambda: sepia(),
    "deep.tif": lambda: deep(),
    "color.jpg": lambda: jpeg(color=True),
    "pages.tif": lambda: scan(*(images.gray(photographs.pixels(number)) for number in range(3))),
    "phone.heic": lambda: heic(photographs.pixels(5)),
    "small.jxl": lambda: jxl(photographs.pixels(6)),
    "camera.dng": lambda: dng(linear()),
    "moving.gif": lambda: gif(),
}
NOTES = {
    "color.jpg": "it came in color; these are a model's colors, not its own",
    "pages.tif": "first of 3 pictures; the others are not copied",
    "moving.gif": "first of 2 pictures; the others are not copied",
}


@pytest.mark.parametrize("name", FILES)
def test_so_are_files_of_other_kinds(client, colorizer, name):
    data = FILES[name]()
    photograph = ready(client, data, name)
    written = part(client, photograph["id"], "file")
    assert written == colorizer(data)
    assert photograph["toned"] == (name == "sepia.png")
    assert NOTES.get(name, "") in "; ".join(photograph["notes"])
    assert pictures.read(written).gray.dtype == (np.uint16 if name in ("deep.tif", "camera.dng") else np.uint8)


def gif() -> bytes:
    file = io.BytesIO()
    frames = [Image.fromarray(images.gray(photographs.pixels(number))) for number in (7, 8)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def deep() -> bytes:
    gray = images.gray(photographs.pixels(3)).astype(np.uint16) * 257 + np.arange(64, dtype=np.uint16)
    return cv2.imencode(".tif", gray)[1].tobytes()


def test_the_page_gets_what_it_colors_with(client, colorizer):
    data = sepia()
    photograph = ready(client, data, "print.png")
    id, size = photograph["id"], photograph["size"]
    picture = pictures.read(data)
    answer = client.get(f"/desk/photographs/{id}/gray.png")
    assert answer.headers["content-type"] == "image/png"
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(answer.content, np.uint8), -1), picture.gray)
    chroma = part(client, id, "chroma")
    assert len(chroma) == 2 * size * size + 4 * 2 * 256
    cbcr = np.frombuffer(chroma, np.uint8, 2 * size * size).reshape(2, size, size)
    np.testing.assert_array_equal(cbcr, colorizer.artefact.chroma(picture.gray))
    np.testing.assert_array_equal(np.frombuffer(chroma, "<f4", offset=2 * size * size).reshape(2, 256), picture.tone)


def test_gray_at_a_side_is_averaged(client):
    data = jpeg(height=40, width=80)
    id = ready(client, data)["id"]
    answer = client.get(f"/desk/photographs/{id}/gray.png", params={"side": 20})
    small = cv2.imdecode(np.frombuffer(answer.content, np.uint8), -1)
    expected = cv2.resize(pictures.read(data).gray, (20, 10), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(small, expected)
    whole = client.get(f"/desk/photographs/{id}/gray.png", params={"side": 5000})
    assert cv2.imdecode(np.frombuffer(whole.content, np.uint8), -1).shape == (40, 80)


def test_no_browser_keeps_what_shows_a_photograph(client):
    id = ready(client, jpeg())["id"]
    for what in ("", "/gray.png", "/chroma", "/file", "/palette?x=1&y=1"):
        assert client.get(f"/desk/photographs/{id}{what}").headers["cache-control"] == "no-store", what
    assert client.get("/desk/photographs.zip").headers["cache-control"] == "no-store"


def test_hints_paint_anew_and_without_them_it_is_as_before(client, colorizer):
    data = jpeg(1)
    id = ready(client, data)["id"]
    before = part(client, id, "chroma")
    assert put(client, id, hints=[HINT])["revision"] == 2
    after = np.frombuffer(part(client, id, "chroma"), np.uint8).reshape(2, SIZE, SIZE)
    gray = pictures.read(data).gray
    following = colorizer._following
    np.testing.assert_array_equal(after, following.chroma(gray, work_hints([HINT])))
    assert put(client, id, hints=[HINT])["revision"] == 2  # nothing to paint
    assert put(client, id, hints=[])["revision"] == 3
    assert part(client, id, "chroma") == before


def work_hints(values: list[dict[str, Any]]):
    from recolor_fast.artefact import hints

    return hints.checked(values)


def test_a_faded_print_is_restored_as_the_colorizer_does_it_and_back(models, tmp_path):
    sepia_ = cv2.cvtColor(cv2.imdecode(np.frombuffer(sepia(4), np.uint8), 1), cv2.COLOR_BGR2RGB)
    faded = cv2.copyMakeBorder(90 + sepia_ // 3, 8, 8, 10, 10, cv2.BORDER_CONSTANT, value=(236, 230, 214))
    data = serving.file_of(faded, "PNG")
    colorizer = Colorizer(threads=1, restore=True)
    with Server(models, tmp_path) as client:
        client.get("/desk")
        plain = ready(client, data)
        id, before = plain["id"], part(client, plain["id"], "chroma")
        changed = put(client, id, restore=True)
        assert (changed["restore"], changed["revision"], changed["toned"]) == (True, 2, True)
        assert changed["notes"] == [restoring.NOTES["levels"], restoring.NOTES["border"]]
        picture, new = restoring.of_picture(pictures.read(data), True, False)
        assert changed["curve"] == [*map(list, zip(*new.curve))] == [*map(list, new.points)]
        painted = part(client, id, "chroma")
        np.testing.assert_array_equal(np.frombuffer(painted, "<f4", offset=2 * SIZE**2).reshape(2, 256), picture.tone)
        gray = cv2.imdecode(np.frombuffer(part(client, id, "gray.png"), np.uint8), -1)
        np.testing.assert_array_equal(gray, pictures.read(data).gray)  # the print as it was
        written = part(client, id, "file")
        assert written == colorizer(data)
        assert provenance.of(written)["restored"] == new.done
        cookies = dict(client.cookies)
    with Server(models, tmp_path) as client:
        client.cookies.update(cookies)
        assert client.get("/desk").json()["photographs"] == [changed]
        put(client, id, hints=[HINT])
        assert part(client, id, "file") == colorizer(data, hints=[HINT])
        back = put(client, id, restore=False, hints=[])
        assert (back["curve"], back["notes"], part(client, id, "chroma")) == ([], [], before)
        sound = serving.file_of(np.indices((60, 256))[1].astype(np.uint8), "PNG")
        assert put(client, ready(client, sound)["id"], restore=True)["curve"] == []


def test_a_negative_is_inverted_as_the_colorizer_does_it_and_restored_and_back(client):
    sepia_ = cv2.cvtColor(cv2.imdecode(np.frombuffer(sepia(4), np.uint8), 1), cv2.COLOR_BGR2RGB)
    data = serving.file_of(255 - (90 + sepia_ // 3), "PNG")
    plain = ready(client, data)
    id, before = plain["id"], part(client, plain["id"], "chroma")
    changed = put(client, id, negative=True)
    assert (changed["negative"], changed["toned"], changed["notes"]) == (True, False, [restoring.NOTES["negative"]])
    assert changed["curve"] == [[0, 255], [255, 0]]
    assert len(part(client, id, "chroma")) == 2 * SIZE**2  # no tone
    written = part(client, id, "file")
    assert written == Colorizer(threads=1, negative=True)(data)
    assert provenance.of(written)["restored"] == {"negative": True}
    both = put(client, id, restore=True, hints=[HINT])
    assert (both["negative"], both["restore"], len(both["curve"])) == (True, True, 4)
    assert both["notes"] == [restoring.NOTES["negative"], restoring.NOTES["levels"]]
    assert part(client, id, "file") == Colorizer(threads=1, negative=True, restore=True)(data, hints=[HINT])
    back = put(client, id, restore=False, negative=False, hints=[])
    assert (back["toned"], back["curve"], back["notes"]) == (plain["toned"], [], [])
    assert part(client, id, "chroma") == before


def test_plausible_colors_are_the_colorizers(client, colorizer):
    data = jpeg(2)
    id = ready(client, data)["id"]
    colors = client.get(f"/desk/photographs/{id}/palette", params={"x": 33.5, "y": 21}).json()["colors"]
    assert len(colors) > 1
    assert colors == colorizer.palette(pictures.read(data).gray, 33.5, 21)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"hints": [{**HINT, "x": 80}]}, "hint at 80, 15: outside the photograph of 80 x 60 pixels"),
        ({"hints": [{**HINT, "x": -1}]}, "hints.0.x -1"),
        ({"hints": [{**HINT, "color": "red"}]}, "hints.0.color 'red'"),
        ({"hints": [{"x": 1, "y": 1}]}, "hints.0.color"),
        ({"hints": [HINT] * 1001}, "hints"),
        ({"hints": "none"}, "hints 'none'"),
        ({"look": {"saturation": 4.1}}, "look.saturation 4.1"),
        ({"look": {"warmth": "hot"}}, "look.warmth 'hot'"),
        ({"look": {"upsample": "bilinear"}}, "look.upsample"),
        ({"model": "another"}, "model 'another': expected one of recolor_fast"),
        ({"restore": 1}, "restore 1"),
        ({"negative": 1}, "negative 1"),
        ({"name": "new"}, "name 'new'"),
    ],
)
def test_a_bad_value_is_named_and_changes_nothing(client, change, says):
    photograph = ready(client, jpeg())
    answer = put(client, photograph["id"], 422, **change)
    assert says in answer["detail"]
    assert client.get(f"/desk/photographs/{photograph['id']}").json() == photograph


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_no_number_is_a_bad_value_too(client, number):
    photograph = ready(client, jpeg())
    body = f'{{"look": {{"saturation": {number}}}}}'
    answer = client.put(
        f"/desk/photographs/{photograph['id']}", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422
    for query in ({"x": number, "y": 1}, {"x": 1, "y": -1}, {"x": 80, "y": 1}, {"x": 1}):
        assert client.get(f"/desk/photographs/{photograph['id']}/palette", params=query).status_code == 422


def test_what_cannot_be_colored_says_why(client):
    whole = jpeg(height=120, width=160)
    cases = {
        "odd.jpg": (b"no \0 text", "not an image, or cut off in its header: it begins with 6E 6F 20 00 20 74 65 78"),
        "cut.jpg": (whole[: len(whole) // 2], "of its rows are there, expected 90%"),
        "bomb.png": (bomb(), "too many pixels: expected at most 64,000,000 in all"),
    }
    for name, (data, reason) in cases.items():
        photograph = done(client, add(client, data, name)["id"])
        assert photograph["status"] == "failed", name
        assert reason in photograph["reason"]
        for what in ("file", "chroma"):
            answer = client.get(f"/desk/photographs/{photograph['id']}/{what}")
            assert answer.status_code == 409
            assert reason in answer.json()["detail"]
        put(client, photograph["id"], 409, hints=[HINT])
        assert client.get(f"/desk/photographs/{photograph['id']}/gray.png").status_code in (413, 415)
    assert [one["name"] for one in client.get("/desk").json()["photographs"]] == [*cases]


def bomb() -> bytes:
    """A PNG of 400 megapixels in 50 kB."""
    file = io.BytesIO()
    Image.new("1", (20000, 20000)).save(file, "PNG")
    return file.getvalue()


def test_what_is_surely_no_image_is_refused_at_once(client):
    for data, what in (
        (b"%PDF-1.7\n", "a PDF, not a photograph"),
        (b"PK\x03\x04" + bytes(30), "a ZIP archive"),
        (b"hello", 'not an image but a text: it begins with "hello"'),
        ("Großmutter, 1931\n".encode(), "not an image but a text: it begins with 47 72 6F C3 9F 6D 75 74"),
        (b"", "the file is empty"),
    ):
        answer = client.post("/desk/photographs", params={"name": "x.jpg"}, content=data)
        assert answer.status_code == 415
        assert what in answer.json()["detail"]
    assert client.get("/desk").json()["photographs"] == []


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_body_of_another_type_than_a_file_is_refused(client, kind):
    answer = client.post("/desk/photographs", content=jpeg(), headers={"content-type": kind})
    assert answer.status_code == 415
    assert "application/octet-stream" in answer.json()["detail"]
    assert client.get("/desk").json()["photographs"] == []
    for kind in ("image/jpeg", "Application/Octet-Stream", "image/x-dcraw; charset=binary"):
        assert client.post("/desk/photographs", content=jpeg(), headers={"content-type": kind}).status_code == 201


def test_headers_that_take_the_whole_file_are_read_within_the_bounds_of_work(models, tmp_path, monkeypatch):
    server, held = Server(models, tmp_path / "state"), []
    run = server.work.run

    async def noting(function, *given, pixels=0, patient=False):
        held.append((function.__name__, pixels))
        return await run(function, *given, pixels=pixels, patient=patient)

    monkeypatch.setattr(server.work, "run", noting)
    files = [make() for name, make in FILES.items() if name in ("phone.heic", "small.jxl", "camera.dng")]
    with server as client:
        client.get("/desk")
        assert all(add(client, data)["width"] for data in (jpeg(), *files))
    assert [room for name, room in held if name == "sides"] == [0, *(len(data) / 4 for data in files)]


def test_a_file_is_offered_under_its_own_name(client):
    id = ready(client, jpeg(), '../"Großmutter" 祖母.JPG')["id"]
    answer = client.get(f"/desk/photographs/{id}/file")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["content-disposition"] == (
        'attachment; filename="_Gro_mutter_ __.colored.JPG"; '
        "filename*=UTF-8''_Gro%C3%9Fmutter_%20%E7%A5%96%E6%AF%8D.colored.JPG"
    )


def test_all_that_is_ready_comes_as_one_archive(client, colorizer):
    datas = [jpeg(seed) for seed in range(3)]
    for data, name in zip(datas, ("a.jpg", "A.jpg", "a.JPG")):
        ready(client, data, name)
    done(client, add(client, b"broken\0", "broken.jpg")["id"])
    answer = client.get("/desk/photographs.zip")
    assert answer.headers["content-type"] == "application/zip"
    assert "photographs.colored.zip" in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a.colored.jpg", "A.colored-2.jpg", "a.colored-3.JPG"]
        for entry in archive.infolist():  # the head of each says its length: programs may unpack while it comes
            *_, flags, _, _, _, check, length, _, _, _ = struct.unpack_from(
                "<4s5H3I2H", answer.content, entry.header_offset
            )
            assert (flags, check, length) == (0, entry.CRC, entry.file_size)
        assert [archive.read(name) for name in archive.namelist()] == [colorizer(data) for data in datas]


def test_an_empty_archive_is_one(client):
    with zipfile.ZipFile(io.BytesIO(client.get("/desk/photographs.zip").content)) as archive:
        assert archive.namelist() == []


def test_removed_is_gone(client, tmp_path):
    first, second = (ready(client, jpeg(seed))["id"] for seed in (0, 1))
    assert client.delete(f"/desk/photographs/{first}").status_code == 204
    for what in ("", "/file", "/chroma", "/gray.png", "/palette?x=1&y=1"):
        assert client.get(f"/desk/photographs/{first}{what}").status_code == 404
    assert client.delete(f"/desk/photographs/{first}").status_code == 404
    assert [one["id"] for one in client.get("/desk").json()["photographs"]] == [second]
    assert client.delete("/desk").status_code == 204
    assert client.get("/desk").json()["photographs"] == []
    assert [*(tmp_path / "state" / "desks").rglob("*")] == []


def test_visitors_see_their_own_desks_alone(client):
    id = ready(client, jpeg())["id"]
    mine = dict(client.cookies)
    client.cookies.clear()
    assert client.get("/desk").json()["photographs"] == []
    theirs = dict(client.cookies)
    assert len(theirs["desk"]) == 43
    assert theirs != mine
    for method, what in (
        ("GET", ""),
        ("GET", "/file"),
        ("GET", "/gray.png"),
        ("GET", "/chroma"),
        ("GET", "/palette?x=1&y=1"),
        ("DELETE", ""),
    ):
        assert client.request(method, f"/desk/photographs/{id}{what}").status_code == 404
    put(client, id, 404, look={"saturation": 2})
    client.delete("/desk")
    client.cookies.clear()
    client.cookies.update(mine)
    assert [one["id"] for one in client.get("/desk").json()["photographs"]] == [id]


def test_the_cookie_is_for_the_server_alone(client):
    cookie = client.get("/desk").headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/desk" in cookie
    assert "max-age=7776000" in cookie
    client.cookies.set("desk", "chosen-by-somebody")
    assert len(client.get("/desk").cookies["desk"]) == 43


def test_what_nobody_could_find_again_is_not_taken(client, tmp_path):
    client.cookies.clear()
    answer = client.post("/desk/photographs", content=jpeg())
    assert (answer.status_code, "GET /desk gives one" in answer.text) == (428, True)
    client.cookies.set("desk", "x")
    assert client.post("/desk/photographs", content=jpeg()).status_code == 428
    assert [*(tmp_path / "state" / "desks").iterdir()] == []


@pytest.mark.parametrize("id", ["0" * 16, "../../../etc", "0" * 15 + "G", "%2e%2e", "a" * 17])
def test_an_id_is_no_path(client, id):
    assert client.get(f"/desk/photographs/{id}").status_code in (404, 422)
    assert client.get(f"/desk/photographs/{id}/file").status_code in (404, 422)


def test_a_restart_loses_nothing_and_does_the_rest(models, tmp_path, colorizer):
    datas = [jpeg(seed) for seed in range(4)]
    with Server(models, tmp_path) as client:
        client.get("/desk")
        first = ready(client, datas[0])
        first = put(client, first["id"], hints=[HINT], look={"warmth": -0.5})
        cookies = dict(client.cookies)
    desks = Desks(tmp_path)  # what a killed server leaves: some wait, one was worked on
    key = next((tmp_path / "desks").iterdir()).name
    for data in datas[1:]:
        keep(desks, key, data)
    desks.take()
    desks.close()
    with Server(models, tmp_path) as client:
        client.cookies.update(cookies)
        listed = client.get("/desk").json()["photographs"]
        assert listed[0] == first
        for one, data in zip(listed[1:], datas[1:]):
            assert done(client, one["id"])["status"] == "ready"
            assert part(client, one["id"], "file") == colorizer(data)
        assert part(client, first["id"], "file") == Colorizer(threads=1, warmth=-0.5)(datas[0], hints=[HINT])


def test_another_servers_models_color_what_waits_and_what_was_painted_stays(models, tmp_path):
    with Server(models, tmp_path) as client:
        client.get("/desk")
        id = ready(client, jpeg())["id"]
        written = part(client, id, "file")
        cookies = dict(client.cookies)
    with Server({"another": models["recolor_fast"]}, tmp_path) as client:
        client.cookies.update(cookies)
        assert client.get(f"/desk/photographs/{id}").json()["model"] == "recolor_fast"
        assert part(client, id, "file") == written
        assert "not there any more" in put(client, id, 422, hints=[HINT])["detail"]
        changed = put(client, id, hints=[HINT], model="another")
        assert (changed["model"], changed["revision"]) == ("another", 2)


def test_a_model_of_another_size_paints_what_it_sees(models, tmp_path):
    echo = runtime.load(artefacts.echo(tmp_path / "echo.onnx"), "cpu", 1)
    both = models | {"echo": colorizers.Model(echo, None)}
    with Server(both, tmp_path / "state") as client:
        assert client.get("/desk").json()["models"] == [
            {"name": "recolor_fast", "hints": True},
            {"name": "echo", "hints": False},
        ]
        data = jpeg()
        id = ready(client, data)["id"]
        before = part(client, id, "chroma")
        photograph = put(client, id, model="echo")
        assert (photograph["model"], photograph["size"], photograph["revision"]) == ("echo", 64, 2)
        seen = images.source(pictures.read(data).gray, echo.options)
        assert part(client, id, "chroma") == 2 * seen.tobytes()
        says = "model echo: it follows no colors that one chooses; choose a model that does"
        assert put(client, id, 422, hints=[HINT])["detail"] == says
        assert client.get(f"/desk/photographs/{id}/palette", params={"x": 1, "y": 1}).json()["detail"] == says
        assert put(client, id, hints=[HINT], model="recolor_fast")["hints"] == [HINT]
        assert put(client, id, 422, model="echo")["detail"] == says
        put(client, id, hints=[])
        assert part(client, id, "chroma") == before


def test_a_desk_has_room_for_so_many(models, tmp_path):
    with Server(models, tmp_path, Limits(photographs=1, desks=1)) as client:
        client.get("/desk")
        add(client, jpeg())
        answer = client.post("/desk/photographs", content=jpeg())
        assert (answer.status_code, answer.json()["detail"]) == (507, "a desk holds 1 photographs; remove some")
        client.cookies.clear()
        client.get("/desk")
        assert client.post("/desk/photographs", content=jpeg()).status_code == 507


def test_too_many_at_a_time_come_again_later(models, tmp_path):
    with Server(models, tmp_path, Limits(arriving=0)) as client:
        client.get("/desk")
        answer = client.post("/desk/photographs", content=jpeg())
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0


def test_small_answers_are_not_held_back():
    with __main__.listening("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_full_disk_is_said_and_leaves_nothing(client, tmp_path, monkeypatch):
    id = ready(client, jpeg())["id"]
    before = client.get("/desk").json()["photographs"]

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        answers = [
            client.post("/desk/photographs", content=jpeg(1)),
            client.put(f"/desk/photographs/{id}", json={"look": {"warmth": 1}}),
            client.put(f"/desk/photographs/{id}", json={"hints": [HINT]}),
        ]
    for answer in answers:
        assert (answer.status_code, answer.json()["detail"]) == (507, "the server's disk is full")
    assert client.get("/desk").json()["photographs"] == before
    assert not list((tmp_path / "state").rglob("*.part"))
    put(client, id, hints=[HINT])


def test_an_upload_that_breaks_off_leaves_nothing(models, tmp_path):
    server = Server(models, tmp_path)
    head = (
        f"POST /desk/photographs HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: desk={'x' * 43}\r\nContent-Length: 5000\r\n\r\n"
    )
    with serving.served(server.client.app) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(head.encode() + jpeg()[:1000])
            while not list(tmp_path.rglob("*.part")):
                time.sleep(0.01)
        while list(tmp_path.rglob("*.part")):
            time.sleep(0.01)
    server.desks.close()
    assert not [path for path in (tmp_path / "desks").rglob("*") if path.is_file()]


def test_photographs_are_colored_in_the_order_they_came(models, tmp_path):
    """One thread works on one photograph at a time, and on the next one's reading."""
    begun = []
    server = Server(models, tmp_path)
    taken = server.desks.take

    def take():
        found = taken()
        begun.extend([found[1].id] if found else [])
        return found

    server.desks.take = take
    with server as client:
        client.get("/desk")
        ids = [add(client, jpeg(seed))["id"] for seed in range(6)]
        assert [done(client, id)["status"] for id in ids] == ["ready"] * 6
    assert begun == ids


def test_a_choice_made_before_its_turn_counts(models, tmp_path, monkeypatch):
    """It has been taken, but somebody else's change comes first."""
    server = Server(models | {"another": models["recolor_fast"]}, tmp_path)
    taken = server.desks.take

    def take():
        found = taken()
        if found:
            server.desks.change(found[0], found[1].id, model="another", look={"warmth": 0.5})
        return found

    server.desks.take = take
    with server as client:
        client.get("/desk")
        photograph = ready(client, jpeg())
        assert (photograph["model"], photograph["look"]["warmth"], photograph["notes"]) == ("another", 0.5, [])


def test_what_is_removed_while_it_is_worked_on_stays_removed(models, tmp_path, monkeypatch):
    started, go_on = threading.Event(), threading.Event()
    read = pictures.read

    def slowly(*given: Any, **more: Any) -> pictures.Picture:
        started.set()
        go_on.wait(60)
        return read(*given, **more)

    monkeypatch.setattr(pictures, "read", slowly)
    with Server(models, tmp_path) as client:
        client.get("/desk")
        first = add(client, jpeg())
        assert started.wait(60)
        assert client.get(f"/desk/photographs/{first['id']}").json()["status"] == "working"
        assert client.delete(f"/desk/photographs/{first['id']}").status_code == 204
        second = add(client, jpeg(1))
        go_on.set()
        assert done(client, second["id"])["status"] == "ready"
        assert [one["id"] for one in client.get("/desk").json()["photographs"]] == [second["id"]]
    names = {path.name.split(".")[0] for path in (tmp_path / "desks").rglob("*.*")}
    assert names == {second["id"]}


def test_a_server_that_stops_in_mid_work_has_not_failed(models, tmp_path, monkeypatch):
    paint, read, painting = Painter.run, pictures.read, []

    async def noted(painter: Painter) -> None:
        painting.append(asyncio.current_task())
        await paint(painter)

    def late(*given: Any, **more: Any) -> pictures.Picture:
        """Only when the server stops."""
        while not painting[-1].cancelling():
            time.sleep(0.01)
        return read(*given, **more)

    monkeypatch.setattr(Painter, "run", noted)
    monkeypatch.setattr(pictures, "read", late)
    for _ in range(4):
        server = Server(models, tmp_path)
        with server as client:
            client.get("/desk")
            if not server.desks._desks:
                client.post("/desk/photographs", content=jpeg())
                cookies = dict(client.cookies)
            client.cookies.update(cookies)
            while client.get("/desk").json()["photographs"][0]["status"] != "working":
                time.sleep(0.01)
    monkeypatch.undo()
    with Server(models, tmp_path) as client:
        client.cookies.update(cookies)
        assert done(client, client.get("/desk").json()["photographs"][0]["id"])["status"] == "ready"


def test_a_bug_fails_its_photograph_alone_and_is_told(models, tmp_path, monkeypatch, capsys):
    read = pictures.read

    def broken(data: bytes, *given: Any, **more: Any) -> pictures.Picture:
        if len(data) == 3:
            raise KeyError("a bug")
        return read(data, *given, **more)

    monkeypatch.setattr(pictures, "read", broken)
    with Server(models, tmp_path) as client:
        client.get("/desk")
        bad, good = add(client, b"\0\1\2"), add(client, jpeg())
        assert done(client, bad["id"])["reason"] == (
            "an unexpected error, KeyError, of which the server's messages say more"
        )
        assert done(client, good["id"])["status"] == "ready"
        again = put(client, bad["id"], model="recolor_fast")
        assert again["status"] in ("waiting", "working", "failed")
    assert "KeyError: 'a bug'" in capsys.readouterr().err


def test_all_photographs_are_removed_at_once(tmp_path, capsys):
    state = tmp_path / "state"
    desks = Desks(state)
    keep(desks, "a" * 64, jpeg())
    assert __main__.main(["--clear", "--state", str(state)]) == 2
    assert "another server uses it; stop that one" in capsys.readouterr().err
    desks.close()
    assert __main__.main(["--clear", "--state", str(state)]) == 0
    assert capsys.readouterr().err == f"{state}: 1 desk removed, with all photographs\n"
    assert [*(state / "desks").iterdir()] == []


def started(state: Path) -> tuple[subprocess.Popen[str], str]:
    """The verb as a program of its own, and its address."""
    words = [sys.executable, "-m", "recolor_fast.serve", "--port", "0", "--no-open", "--state", str(state)]
    program = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert program.stdout is not None
    return program, program.stdout.readline().strip().rstrip("/")


@pytest.mark.slow
def test_a_kill_in_mid_job_damages_nothing_and_the_job_is_done_anew(tmp_path, colorizer):
    data, cookies = jpeg(0, 3000, 4000), {"desk": "x" * 43}
    desks = Desks(tmp_path)
    sent = [keep(desks, folder_of(cookies["desk"]), data).id for _ in range(12)]
    desks.close()
    ready = 0
    for _ in range(3):
        program, address = started(tmp_path)
        with httpx2.Client(base_url=address, cookies=cookies, timeout=60) as client:
            found: list[dict[str, Any]] = []
            while sum(one["status"] == "ready" for one in found) <= ready:
                found = client.get("/desk").json()["photographs"]
            program.kill()
        program.communicate()
        assert [one["id"] for one in found] == sent
        assert [one["status"] for one in found].count("working") > 0, "the kill came too late"
        ready = sum(one["status"] == "ready" for one in found)
    program, address = started(tmp_path)
    with httpx2.Client(base_url=address, cookies=cookies, timeout=60) as client:
        while {"waiting", "working"} & {one["status"] for one in client.get("/desk").json()["photographs"]}:
            time.sleep(0.05)
        expected = colorizer(data)
        for id in sent:
            assert client.get(f"/desk/photographs/{id}/file").content == expected
    program.terminate()
    program.communicate()
    assert program.returncode == 143
