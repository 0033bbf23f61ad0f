"""The study as a participant, their browser and the one who evaluates it meet it."""

import csv
import json
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from recolor_fast.photographs import images
from recolor_fast.study import __main__ as verb
from recolor_fast.study import making, page, report, study
from tests import photographs

ROOT = Path(__file__).parents[1]
ORIGIN = "http://127.0.0.1:8000"
SYSTEMS = ("gray", "sepia")


def write_folders(folder: Path, count: int, height: int = 36, width: int = 48) -> list[str]:
    """A truth of JPEGs with metadata, in subfolders, and two systems of PNGs; the arguments that name them."""
    for number in range(count):
        rgb = photographs.pixels(number, height, width)
        gray = images.gray(rgb)
        parent = f"class{number % 2}"
        for name in ("truth", *SYSTEMS):
            (folder / name / parent).mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[270] = "the truth"  # ImageDescription
        Image.fromarray(rgb).save(folder / "truth" / parent / f"{number}.jpg", exif=exif, comment=b"truth")
        Image.fromarray(gray).save(folder / "gray" / parent / f"{number}.png")
        sepia = (gray[..., None] * np.array([1, 0.9, 0.7])).astype(np.uint8)
        Image.fromarray(sepia).resize((width * 5 // 6, height * 5 // 6)).save(
            folder / "sepia" / parent / f"{number}.png"
        )
    systems = [f"{name}={folder / name}" for name in SYSTEMS]
    return ["--truth", str(folder / "truth"), "--systems", *systems]


def make(path: Path, folders: list[str], count: int = 6, size: int = 32) -> Path:
    making.make(path, Path(folders[1]), tuple(folders[3:]), count, size, 0)
    return path


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[str]:
    return write_folders(tmp_path_factory.mktemp("folders"), 12)


@pytest.fixture(scope="module")
def made(tmp_path_factory, folders) -> Path:
    return make(tmp_path_factory.mktemp("made") / "study.sqlite", folders)


@pytest.fixture
def path(made, tmp_path) -> Path:
    return Path(shutil.copy(made, tmp_path / "study.sqlite"))


@pytest.fixture
def client(path) -> Iterator[TestClient]:
    with TestClient(page.application(path), base_url=ORIGIN) as client:
        yield client


def answer(client: TestClient, image: str, word: str = "real", milliseconds: int = 1000):
    return client.post("/answer", json={"image": image, "answer": word, "milliseconds": milliseconds})


def take_part(client: TestClient, count: int | None = None) -> dict:
    """Begin where nobody has, and answer `count` images (None: all)."""
    now = client.post("/start", json={}).json()
    while now["image"] and count != 0:
        count = None if count is None else count - 1
        now = answer(client, now["image"]).json()
    return now


def rows(path: Path, query: str) -> list[tuple]:
    with study.database(path) as db:
        return db.execute(query).fetchall()


SHOWN = "SELECT participant, photograph, system FROM showing JOIN picture ON picture.id = picture"


# --- the draw ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "groups"), [(50, 4), (50, 3), (7, 4), (2, 5), (8, 4)])
def test_every_group_gets_its_share_and_what_is_left_goes_round(count, groups):
    quotas = np.array([study.quotas(count, groups, participant) for participant in range(groups)])
    assert (quotas.sum(1) == count).all()
    assert np.ptp(quotas, axis=1).max() <= 1
    assert np.ptp(quotas.sum(0)) == 0  # after as many participants as groups, all are even


def test_no_photograph_twice_and_the_least_shown_first():
    rng = np.random.default_rng(0)
    shown = np.zeros((4, 150), int)
    for participant in range(12):
        pairs = study.draw(shown, shown, study.quotas(50, 4, participant), rng)
        assert len({photograph for _, photograph in pairs}) == len(pairs) == 50
        assert [group for group, _ in pairs] != sorted(group for group, _ in pairs)
        for pair in pairs:
            shown[pair] += 1
    assert shown.sum() == 600
    assert (shown == 1).all()  # 12 x 50 = 600 pictures: each has been shown once


def test_participants_see_their_shares_and_coverage_is_even(path):
    definition = study.stored(path)
    with study.database(path, write=True) as db:
        for _ in range(12):
            study.enroll(db, definition)
    seen = rows(path, SHOWN)
    for participant in range(1, 13):
        own = [row for row in seen if row[0] == participant]
        assert len({photograph for _, photograph, _ in own}) == 6
        assert Counter(system for _, _, system in own) == {"truth": 2, "gray": 2, "sepia": 2}
    counts = Counter(row[1:] for row in seen)
    assert len(counts) == 36
    assert set(counts.values()) == {2}


def test_answers_count_before_showings():
    answers, showings = np.zeros((2, 4), int), np.zeros((2, 4), int)
    answers[:, 2:] = showings[:, 2:] = 1  # two photographs were answered once,
    showings[:, :2] = 5  # the others were begun five times and left
    pairs = study.draw(answers, showings, [1, 1], np.random.default_rng(0))
    assert {photograph for _, photograph in pairs} == {0, 1}


def test_a_picture_in_front_of_one_participant_is_not_the_next_one_s(path, client):
    take_part(client)
    for _ in range(5):  # each begins and leaves
        client.cookies.clear()
        client.post("/start", json={})
    assert set(Counter(row[1:] for row in rows(path, SHOWN)).values()) == {1}


# --- nothing tells -------------------------------------------------------------------------------------------------


def test_what_is_sent_does_not_tell_where_a_picture_comes_from(path, client):
    now = client.post("/start", json={}).json()
    headers, pictures = {}, {}
    while now["image"]:
        response = client.get(f"/image/{now['image']}")
        system = rows(path, f"SELECT system FROM picture JOIN showing ON picture = id WHERE token = '{now['image']}'")
        headers.setdefault(system[0][0], []).append(dict(response.headers))
        pictures.setdefault(system[0][0], []).append(response.content)
        assert re.fullmatch(r"[\w-]{22}", now["image"])
        sent = answer(client, now["image"])
        now = sent.json()
        assert set(now) == {"images", "answered", "image"}
        for word in ("truth", *SYSTEMS, "class"):
            assert word not in sent.text
            assert word.encode() not in response.content
    assert set(pictures) == {"truth", *SYSTEMS}
    all_headers = [header for group in headers.values() for header in group]
    assert all(header == all_headers[0] for header in all_headers)
    assert not {"etag", "last-modified", "content-disposition", "server"} & set(all_headers[0])
    assert all_headers[0]["cache-control"] == "no-store"
    assert len({len(content) for group in pictures.values() for content in group}) == 1
    for content in (content for group in pictures.values() for content in group):
        image = images.read_rgb(content)
        assert image.shape == (24, 32, 3)
        assert content[:54] == pictures["truth"][0][:54]  # the whole BMP header; pixels are all that follows
        assert len(content) == 54 + 24 * 32 * 3


def test_what_systems_leave_in_a_folder_is_no_photograph(tmp_path):
    for name in ("a.jpg", "sub/b.png", "._a.jpg", "@eaDir/a.jpg/SYNOPHOTO_THUMB_S.jpg", ".thumbnails/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert set(making.photographs(tmp_path)) == {"a", "sub/b"}


def test_versions_of_a_photograph_have_one_size_never_above_the_smallest():
    assert making.shown_size([(300, 400), (150, 200)], 256) == (150, 200)
    assert making.shown_size([(300, 400), (150, 200)], 128) == (96, 128)
    assert making.shown_size([(400, 300), (400, 300)], 256) == (256, 192)
    assert making.shown_size([(1, 900), (1, 900)], 64) == (1, 64)


def test_the_page_is_one_file_and_names_nothing(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert not re.search(r"https?://", page.text)
    for word in ("truth", *SYSTEMS, "sqlite", "pix2pix"):
        assert word not in page.text.replace("were gray", "")


# --- a participant's way -------------------------------------------------------------------------------------------


def test_before_the_start_nothing_is_drawn(path, client):
    assert client.get("/state").json() == {"images": 6, "answered": None, "image": None}
    assert rows(path, "SELECT * FROM participant") == []


def test_a_reload_and_a_second_start_show_the_same_image(path, client):
    take_part(client, 2)
    now = client.get("/state").json()
    assert now["answered"] == 2
    assert client.get("/state").json() == client.post("/start", json={}).json() == now
    first, second = (client.get(f"/image/{now['image']}").content for _ in range(2))
    assert first == second
    assert len(rows(path, "SELECT * FROM participant")) == 1


def test_a_second_answer_to_an_image_is_refused_and_changes_nothing(path, client):
    now = client.post("/start", json={}).json()
    assert answer(client, now["image"], "real").status_code == 200
    assert answer(client, now["image"], "colored").status_code == 409
    assert client.get("/state").json()["answered"] == 1
    assert rows(path, "SELECT answer, milliseconds FROM showing WHERE answer IS NOT NULL") == [("real", 1000)]


def test_of_many_equal_answers_at_once_one_is_stored(path, client):
    image = client.post("/start", json={}).json()["image"]
    with ThreadPoolExecutor(6) as pool:
        codes = [response.status_code for response in pool.map(lambda _: answer(client, image), range(6))]
    assert sorted(codes) == [200, 409, 409, 409, 409, 409]
    assert client.get("/state").json()["answered"] == 1


def test_a_study_goes_on_after_a_restart_of_the_server(path, client):
    now = take_part(client, 3)
    with TestClient(page.application(path), base_url=ORIGIN, cookies=client.cookies) as later:
        assert later.get("/state").json() == now
        assert take_part(later) == {"images": 6, "answered": 6, "image": None}
        assert later.get("/state").json()["answered"] == 6


def test_who_has_finished_can_hand_the_device_on(path, client):
    take_part(client)
    assert client.post("/start", json={}).json()["answered"] == 0
    assert len(rows(path, "SELECT * FROM participant")) == 2


def test_participants_at_the_same_time_do_not_meet(path):
    app = page.application(path)

    def one(_: int) -> dict:
        with TestClient(app, base_url=ORIGIN) as client:
            return take_part(client)

    with ThreadPoolExecutor(6) as pool:
        ends = list(pool.map(one, range(6)))
    assert ends == [{"images": 6, "answered": 6, "image": None}] * 6
    seen = rows(path, SHOWN + " WHERE answer IS NOT NULL")
    assert Counter(row[0] for row in seen) == dict.fromkeys(range(1, 7), 6)
    assert set(Counter(row[1:] for row in seen).values()) == {1}  # 36 answers, 36 pictures


# --- what is refused -----------------------------------------------------------------------------------------------


def test_images_and_answers_of_others_are_unknown(path, client):
    image = client.post("/start", json={}).json()["image"]
    with TestClient(client.app, base_url=ORIGIN) as other:
        assert answer(other, image).status_code == 404
        assert other.get(f"/image/{image}").status_code == 404
        other.post("/start", json={})
        assert answer(other, image).status_code == 404
        assert other.get(f"/image/{image}").status_code == 404
    assert client.get("/image/unknown").status_code == 404
    assert client.get("/image/..%2F..%2Fstudy.sqlite").status_code == 404
    assert client.get("/study.sqlite").status_code == 404
    assert client.get("/docs").status_code == client.get("/openapi.json").status_code == 404


def test_an_answer_out_of_order_is_refused(path, client):
    client.post("/start", json={})
    (later,) = rows(path, "SELECT token FROM showing WHERE position = 3")
    assert answer(client, later[0]).status_code == 409
    assert client.get("/state").json()["answered"] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"answer": "maybe"},
        {"answer": None},
        {"milliseconds": -1},
        {"milliseconds": 1e12},
        {"milliseconds": "5"},
        {"milliseconds": 86_400_001},
        {"milliseconds": 10**30},
        {"image": 7},
        {"image": "x" * 100},
        {"more": 1},
    ],
)
def test_bad_answers_are_refused(client, change):
    image = client.post("/start", json={}).json()["image"]
    body = {"image": image, "answer": "real", "milliseconds": 5} | change
    assert client.post("/answer", json=body).status_code == 422
    assert client.get("/state").json()["answered"] == 0


def test_only_short_json_is_read(client):
    kind = {"content-type": "application/json"}
    assert client.post("/answer", content="{", headers=kind).status_code == 422
    assert client.post("/answer", content="{}", headers={"content-type": "text/plain"}).status_code == 415
    assert client.post("/start", data={"a": "b"}).status_code == 415
    assert client.post("/answer", content=" " * 2000, headers=kind).status_code == 413
    assert client.post("/answer", content=iter([b"{}"]), headers=kind).status_code == 413  # of unknown length


def test_only_its_own_address_is_served(path):
    app = page.application(path, "192.168.7.7")
    for origin, code in (("http://evil.example", 400), ("http://192.168.7.7:80", 200), ("http://localhost", 200)):
        with TestClient(app, base_url=origin) as client:
            assert client.get("/").status_code == code


def test_the_cookie_is_for_this_study_and_no_script(client):
    cookie = client.post("/start", json={}).headers["set-cookie"]
    assert re.match(r"study_[0-9a-f]{16}=[\w-]{22};", cookie)
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie


# --- making one ----------------------------------------------------------------------------------------------------


def run(*words: object) -> int:
    return verb.main([str(word) for word in words])


@pytest.fixture
def unserved(monkeypatch) -> None:
    monkeypatch.setattr(verb.uvicorn.Server, "run", lambda self, sockets: None)


def test_a_study_is_made_once_and_gone_on_with(folders, tmp_path, unserved, capsys):
    path = tmp_path / "new.sqlite"
    assert run("serve", path, *folders, "--images", 5, "--size", 32, "--port", 0) == 0
    definition = study.stored(path)
    assert definition[1:5] == (5, 32, 0, ["truth", *SYSTEMS])
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", capsys.readouterr().out.splitlines()[-1])
    assert run("serve", path, "--port", 0) == 0
    assert run("serve", path, *folders, "--images", 5, "--port", 0) == 0
    moved = shutil.copytree(Path(folders[1]).parent, tmp_path / "moved")
    again = ["--truth", moved / "truth", "--systems", *(f"{name}={moved / name}" for name in reversed(SYSTEMS))]
    assert run("serve", path, *again, "--port", 0) == 0
    assert study.stored(path) == definition
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["new.sqlite"]


def test_another_study_under_the_same_name_is_refused(path, folders, tmp_path, unserved, capsys):
    def refused(*words: object) -> str:
        assert run("serve", path, "--port", 0, *words) == 2
        return capsys.readouterr().err

    before = path.read_bytes()
    assert "images 5" in refused("--images", 5)
    assert "size 64" in refused("--size", 64)
    assert "seed 3" in refused("--seed", 3)
    assert "both --truth and --systems" in refused("--truth", folders[1])
    assert "was made of truth, gray, sepia" in refused(*folders[:4])
    renamed = [folders[3].replace("gray=", "grey="), folders[4]]
    assert "was made of truth, gray, sepia" in refused(*folders[:3], *renamed)
    changed = shutil.copytree(folders[3].removeprefix("gray="), tmp_path / "changed")
    shutil.copy(changed / "class0" / "0.png", changed / "class0" / "2.png")
    assert "2.png: not the file" in refused(*folders[:3], f"gray={changed}", folders[4])
    fewer = shutil.copytree(folders[1], tmp_path / "fewer")
    (fewer / "class0" / "0.jpg").unlink()
    assert "11 photographs" in refused("--truth", fewer, *folders[2:])
    assert path.read_bytes() == before


def test_what_cannot_be_used_is_named_and_leaves_no_file(folders, tmp_path, unserved, capsys):
    path = tmp_path / "new.sqlite"
    truth, gray, sepia = Path(folders[1]), folders[3], folders[4]

    def refused(*words: object) -> str:
        assert run("serve", path, "--port", 0, "--images", 4, *words) == 2
        assert not [entry for entry in tmp_path.iterdir() if entry.is_file()]
        return capsys.readouterr().err

    def broken(name: str) -> Path:
        return Path(shutil.copytree(gray.removeprefix("gray="), tmp_path / name))

    assert "give --truth and --systems" in refused()
    assert "expected a folder" in refused("--truth", tmp_path / "none", "--systems", gray)
    assert "NAME=FOLDER" in refused("--truth", truth, "--systems", "gray")
    assert "'truth'" in refused("--truth", truth, "--systems", f"truth={truth}")
    assert "the name is taken" in refused("--truth", truth, "--systems", gray, gray)
    assert "byte for byte" in refused("--truth", truth, "--systems", f"a={truth}")
    assert "expected 1 to 12" in refused("--truth", truth, "--systems", gray, "--images", 13)
    assert "expected 1 to 12" in refused("--truth", truth, "--systems", gray, "--images", 0)
    assert "expected 32 to 1024" in refused("--truth", truth, "--systems", gray, "--size", 31)
    assert "seed -1" in refused("--truth", truth, "--systems", gray, "--seed", -1)
    folder = broken("missing")
    (folder / "class1" / "3.png").unlink()
    assert "1 of 12 photographs, the first is class1/3;" in refused("--truth", truth, "--systems", f"a={folder}")
    folder = broken("double")
    shutil.copy(folder / "class1" / "3.png", folder / "class1" / "3.bmp")
    assert "both called class1/3" in refused("--truth", truth, "--systems", f"a={folder}")
    folder = broken("damaged")
    (folder / "class1" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    assert "3.png: " in refused("--truth", truth, "--systems", f"a={folder}")
    folder = broken("square")
    Image.new("RGB", (48, 48)).save(folder / "class1" / "3.png")
    assert "3.png: 48 x 48 pixels are not the shape" in refused("--truth", truth, "--systems", f"a={folder}")
    (tmp_path / "empty").mkdir()
    assert "no images" in refused("--truth", tmp_path / "empty", "--systems", gray, sepia)


def test_images_only_a_system_has_are_left_out_aloud(folders, tmp_path, unserved, capsys):
    more = shutil.copytree(folders[3].removeprefix("gray="), tmp_path / "more")
    shutil.copy(more / "class0" / "0.png", more / "other.png")
    assert run("serve", tmp_path / "new.sqlite", *folders[:3], f"a={more}", "--images", 4, "--port", 0) == 0
    assert "system a: 1 images without a photograph" in capsys.readouterr().err


def test_files_that_are_no_study_are_refused(tmp_path, unserved, capsys):
    text, other = tmp_path / "a.txt", tmp_path / "b.sqlite"
    text.write_text("answers, in my own format, " * 100)
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE mine (a)")
    db.close()
    for path, reason in ((text, "cannot be read as an SQLite file"), (other, "not a file that `study serve` made")):
        for word in ("serve", "report"):
            assert run(word, path) == 2
            assert reason in capsys.readouterr().err
    assert run("report", tmp_path / "none") == 2
    assert not (tmp_path / "none").exists()


def test_addresses_that_cannot_be_used_are_refused(path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run("serve", path, "--port", taken.getsockname()[1]) == 2
    assert "already in use" in capsys.readouterr().err
    assert run("serve", path, "--host", "0.0.0.0") == 2
    assert "expected one address" in capsys.readouterr().err
    assert run("serve", path, "--port", 70000) == 2
    assert run("serve", path, "--host", "192.0.2.1") == 2  # no machine has it (RFC 5737)


@pytest.mark.parametrize("words", [[], ["serve"], ["report"], ["show", "a"], ["report", "a", "--images", "3"]])
def test_wrong_words_are_wrong_usage(words, capsys):
    assert run(*words) == 2


# --- the report ----------------------------------------------------------------------------------------------------


def test_wilson_intervals_are_the_formula_s():
    def wilson(k: int, n: int) -> tuple[float, float]:
        z = 1.959963984540054
        middle, half = (k + z * z / 2) / (n + z * z), z / (n + z * z) * (k * (n - k) / n + z * z / 4) ** 0.5
        return middle - half, middle + half

    table = [(1, 0, str(i), system, "real" if i < k else "colored", 1000 * (i + 1), "")
             for system, k, n in (("truth", 9, 10), ("a", 0, 7), ("b", 53, 100)) for i in range(n)]  # fmt: skip
    truth, a, b, c = report.summarize(table, ["truth", "a", "b", "c"])
    assert truth[:5] == ("truth", 10, 10, 9, 0.9)
    assert (truth.low, truth.high) == pytest.approx(wilson(9, 10))
    assert (truth.low, truth.high) == pytest.approx((0.59585, 0.98212), abs=1e-5)
    assert (a.low, a.high) == pytest.approx(wilson(0, 7))
    assert (b.low, b.high) == pytest.approx(wilson(53, 100))
    assert truth.median_seconds == 5.5
    assert c == ("c", 0, 0, 0, None, None, None, None)


def test_the_published_table_comes_out_of_answers_like_those(tmp_path, capsys):
    """The whole protocol: 150 photographs, three systems, 35 participants, 50 images each."""
    names = ("pix2pix", "gorriz", "vgg16")
    share = dict(zip(("truth", *names), (value for _, value in report.PUBLISHED)))
    for number, name in enumerate(share):
        (tmp_path / name).mkdir()
        for photograph in range(150):
            Image.new("RGB", (4, 3), (photograph, number, 0)).save(tmp_path / name / f"{photograph}.png")
    path = tmp_path / "study.sqlite"
    making.make(path, tmp_path / "truth", tuple(f"{name}={tmp_path / name}" for name in names), 50, 32, 0)
    definition = study.stored(path)
    counts: Counter[str] = Counter()
    with study.database(path, write=True) as db:
        for _ in range(35):
            participant = study.enroll(db, definition)
            now = study.state(db, definition, participant)
            while now["image"]:
                query = "SELECT system FROM picture JOIN showing ON picture = id WHERE token = ?"
                (system,) = db.execute(query, [now["image"]]).fetchone()
                counts[system] += 1  # the nth answer is "real" where the share of n steps up
                real = int(counts[system] * share[system]) > int((counts[system] - 1) * share[system])
                sent = page.Answer(image=now["image"], answer="real" if real else "colored", milliseconds=2000)
                now = page.submit(db, definition, participant, sent)
    assert sum(counts.values()) == 1750
    assert set(counts.values()) == {437, 438}
    assert run("report", path) == 0
    printed = capsys.readouterr().out
    assert "35 participants, 35 complete" in printed
    for name, value in share.items():
        cells = next(line for line in printed.splitlines() if line.startswith(f"| {name} | ")).split(" | ")
        assert cells[1:3] == ["150", str(counts[name])]
        assert cells[4] == f"{value:.2f}"
        low, high = (float(number) for number in cells[5].split(" .. "))
        assert value - 0.06 < low < value < high < value + 0.06
    for name, value in report.PUBLISHED:
        assert f"| {name} | {value:.2f} |" in printed


def test_the_report_counts_whom_it_says_and_writes_files(path, client, tmp_path, capsys):
    take_part(client)
    client.cookies.clear()
    take_part(client, 2)
    assert run("report", path, "--csv", tmp_path / "new" / "a.csv", "--json", tmp_path / "more" / "a.json") == 0
    assert "2 participants, 1 complete\n" in capsys.readouterr().out
    with open(tmp_path / "new" / "a.csv", newline="") as file:
        answers = list(csv.DictReader(file))
    assert len(answers) == 8
    assert {row["system"] for row in answers} == {"truth", *SYSTEMS}
    assert {(row["answer"], row["milliseconds"]) for row in answers} == {("real", "1000")}
    values = json.loads((tmp_path / "more" / "a.json").read_text())
    assert sum(system["answers"] for system in values["systems"]) == 8
    assert values["participants"] == {"started": 2, "complete": 1, "complete_only": False}
    assert values["study"]["versions"]["python"]
    assert run("report", path, "--complete-only", "--json", tmp_path / "more" / "a.json") == 0
    assert "only these are counted" in capsys.readouterr().out
    assert [s["answers"] for s in json.loads((tmp_path / "more" / "a.json").read_text())["systems"]] == [2, 2, 2]


# --- in a browser --------------------------------------------------------------------------------------------------


@contextmanager
def served(path: Path, *words: object) -> Iterator[tuple[subprocess.Popen, str]]:
    command = [sys.executable, "-m", "recolor_fast.study", "serve", path, "--port", "0", *words]
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        try:
            assert server.stdout is not None
            yield server, server.stdout.readline().strip()
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(60)


def test_the_real_server_says_nothing_of_itself_and_stops_when_asked(path):
    with served(path) as (server, address), urllib.request.urlopen(f"{address}state") as response:
        assert json.load(response)["images"] == 6
        known = {"date", "content-length", "content-type", *(name.lower() for name in page.HEADERS)}
        assert {name.lower() for name in response.headers} <= known | {"connection"}
    assert server.returncode == 130


@pytest.mark.browser
def test_a_browser_takes_part_by_keyboard_and_by_finger(path):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,800"):
        options.add_argument(word)
    with served(path) as (server, address), webdriver.Chrome(options, Service(shutil.which("chromedriver"))) as browser:

        def find(name: str):
            return browser.find_element(By.ID, name)

        def wait(condition) -> None:
            WebDriverWait(browser, 60, poll_frequency=0.05).until(lambda _: condition())

        def await_image(number: int) -> None:
            wait(
                lambda: (
                    find("place").text == f"{number} of 6" and find("real").get_attribute("aria-disabled") == "false"
                )
            )
            browser.execute_async_script("setTimeout(arguments[0], 320)")  # sooner counts as a double click

        def fits() -> bool:
            return browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")

        def stored() -> list[str]:
            query = "SELECT answer FROM showing WHERE answer IS NOT NULL ORDER BY participant, position"
            return [word for (word,) in rows(path, query)]

        def keys(*words: str) -> None:
            ActionChains(browser).send_keys(*words).perform()

        browser.get(address)
        wait(lambda: find("start").is_displayed())
        assert "6 photographs" in find("intro").text
        find("start").click()
        await_image(1)
        source = find("image").get_attribute("src")
        browser.refresh()
        await_image(1)
        assert find("image").get_attribute("src") == source
        ActionChains(browser).key_down(Keys.CONTROL).send_keys("c").key_up(Keys.CONTROL).perform()  # copies
        keys("x", "r")
        await_image(2)
        keys(Keys.ARROW_RIGHT)
        await_image(3)
        assert fits()

        phone = {"width": 375, "height": 812, "deviceScaleFactor": 2, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        browser.refresh()
        await_image(3)
        assert fits()
        assert browser.execute_script("return document.documentElement.scrollHeight <= innerHeight")
        assert min(find(name).size["height"] for name in ("real", "colored")) >= 48
        ActionChains(browser).click(find("colored")).pause(0.15).click().perform()  # the next image has come by then
        await_image(4)
        assert stored() == ["real", "colored", "colored"]

        browser.execute_cdp_cmd("Network.enable", {})
        browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/image/*"]})
        find("real").click()
        wait(lambda: find("trouble").is_displayed())
        keys("c")  # of a photograph that is not there
        browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
        find("retry").click()
        await_image(5)
        browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/answer", "*/state"]})
        keys("c")
        wait(lambda: find("trouble").is_displayed())
        assert "cannot be reached" in find("trouble").text
        assert len(stored()) == 4
        browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
        find("retry").click()
        await_image(6)
        find("real").send_keys(Keys.ENTER)
        wait(lambda: find("end").is_displayed())
        assert stored() == ["real", "colored", "colored", "real", "colored", "real"]
        assert fits()
        assert not any(word in browser.page_source for word in ("truth", *SYSTEMS[1:]))
        browser.back()
        browser.get(address)
        wait(lambda: find("end").is_displayed())
        find("again").click()
        await_image(1)
        assert min(row[0] for row in rows(path, "SELECT milliseconds FROM showing WHERE answer IS NOT NULL")) >= 300
        severe = [entry for entry in browser.get_log("browser") if "ERR_BLOCKED_BY_CLIENT" not in entry["message"]]
        assert severe == []
    assert server.returncode == 130
