"""The static site in a real browser: pixels against Python, memory, no network, nothing sent."""

import io
import json
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from recolor_fast.coloring.colorizer import Colorizer
from recolor_fast.machine.errors import UserError
from recolor_fast.photographs import images, metadata, pictures, provenance, restoring
from recolor_fast.photographs.preparation import Preparation
from recolor_fast.web import models, onnxruntime_web, site
from tests import artefacts, photographs
from tests.browsing import Browser, color, divide, gray, hints, ready, settled, spot
from tests.static_site import OTHER_NAME, Desk, Refusal, chromium, served

pytestmark = pytest.mark.browser

HINTS = [
    {"x": 120, "y": 80, "color": "#c04020", "radius": None},
    {"x": 300, "y": 200, "color": "#2040c0", "radius": 20},
]
MEGABYTES = 500  # that a process of the browser may take for 12 megapixels, with its 26 MB of files and all


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """A site; skipped where npm cannot fetch the runtime."""
    try:
        onnxruntime_web.taken(None, onnxruntime_web.PROCESSOR)
    except UserError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("web") / "out"
    site.write(folder, site.contents([*models.rows([])], None))
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """For all tests: each of the addresses served has storage of its own in it."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def desk(out, browser) -> Iterator[Desk]:
    with served(out) as (address, _):
        yield Desk(browser, address)


@pytest.fixture
def empty(desk) -> Desk:
    if not desk.browser.current_url.startswith(desk.address):
        desk.browser.get(desk.address)
    desk("clear")
    return desk


def file(pixels: np.ndarray, format: str = "PNG", **settings: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **settings)
    return buffer.getvalue()


def decoded(data: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(data)))


def apart(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    assert found.shape == expected.shape
    return np.abs(found.astype(int) - expected)


def gray_photograph(number: int, height: int = 300, width: int = 411) -> np.ndarray:
    return images.gray(photographs.pixels(number, height, width))


def sepia(number: int) -> np.ndarray:
    lab = cv2.cvtColor(photographs.pixels(number, 300, 400), cv2.COLOR_RGB2LAB)
    lab[..., 1], lab[..., 2] = 134, 150
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


# --- pixels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(4))
def test_pixels_are_pythons_within_two_levels(empty, number):
    gray = gray_photograph(number)
    facts = empty.add("old.png", file(gray))
    assert (facts["status"], facts["width"], facts["height"], facts["size"]) == ("ready", 411, 300, 160)
    assert not facts["in_color"]
    assert not facts["toned"]
    colored = empty("file", facts["id"])
    assert colored["name"] == "old.colored.png"
    assert apart(decoded(colored["blob"]), Colorizer()(gray)).max() <= 2


def test_hints_are_followed_as_in_python(empty):
    gray = gray_photograph(5)
    facts = empty.add("old.png", file(gray))
    changed = empty("change", facts["id"], {"hints": HINTS})
    assert (changed["hints"], changed["revision"]) == (HINTS, 2)
    found = apart(decoded(empty("file", facts["id"])["blob"]), Colorizer()(gray, HINTS))
    # its int8 convolutions round elsewhere than those of a processor with other instructions
    assert found.max() <= 8
    assert (found <= 2).mean() > 0.99
    assert empty("change", facts["id"], {"hints": []})["revision"] == 3
    assert apart(decoded(empty("file", facts["id"])["blob"]), Colorizer()(gray)).max() <= 2


def test_a_toned_print_and_a_color_photograph_are_judged_and_colored_as_in_python(empty):
    for pixels in (sepia(1), photographs.pixels(2, 300, 400)):
        facts = empty.add("old.png", file(pixels))
        picture = pictures.read(file(pixels))
        assert (facts["in_color"], facts["toned"]) == (picture.is_color, picture.tone is not None)
        look = {"warmth": 0.5, "saturation": 1.3, "strength": 0.8, "keep_tone": 0.9}
        assert empty("change", facts["id"], {"look": look})["look"] == look
        colorizer = Colorizer(saturation=1.3, keep_tone=0.9, warmth=0.5, strength=0.8)
        found = apart(decoded(empty("file", facts["id"])["blob"]), colorizer(pixels))
        assert found.max() <= 3
        assert (found <= 2).mean() > 0.999


def test_a_faded_print_is_restored_as_in_python(empty):
    faded = cv2.copyMakeBorder(90 + sepia(3) // 3, 20, 20, 30, 30, cv2.BORDER_CONSTANT, value=(240, 232, 214))
    facts = empty.add("old.png", file(faded))
    with pytest.raises(Refusal, match="restore 1: expected true or false"):
        empty("change", facts["id"], {"restore": 1})
    changed = empty("change", facts["id"], {"restore": True})
    assert (changed["restore"], changed["revision"], len(changed["curve"])) == (True, 2, 4)
    assert changed["notes"] == [restoring.NOTES["levels"], restoring.NOTES["border"]]
    data = empty("file", facts["id"])["blob"]
    expected = Colorizer(restore=True)(file(faded))
    found = apart(decoded(data), decoded(expected))
    assert (found <= 2).mean() > 0.99
    assert found.max() <= 6  # a level at the ends of the curve is three of the print restored
    made, theirs = provenance.of(data), provenance.of(expected)
    assert made["restore"] is True
    assert made["restored"]["levels"] == pytest.approx(theirs["restored"]["levels"], abs=0.5)
    assert made["restored"]["border"] == pytest.approx(theirs["restored"]["border"], abs=0.003)
    back = empty("change", facts["id"], {"restore": False})
    assert (back["curve"], back["notes"]) == ([], [])
    assert apart(decoded(empty("file", facts["id"])["blob"]), Colorizer()(faded)).max() <= 3


def test_a_negative_is_inverted_as_in_python_and_hints_stay(empty):
    negative = 255 - sepia(3)
    facts = empty.add("old.png", file(negative))
    assert facts["toned"]
    with pytest.raises(Refusal, match="negative 1: expected true or false"):
        empty("change", facts["id"], {"negative": 1})
    changed = empty("change", facts["id"], {"negative": True})
    assert (changed["negative"], changed["toned"], changed["revision"]) == (True, False, 2)
    assert (changed["curve"], changed["notes"]) == ([[0, 255], [255, 0]], [restoring.NOTES["negative"]])
    data, expected = empty("file", facts["id"])["blob"], Colorizer(negative=True)(file(negative))
    found = apart(decoded(data), decoded(expected))
    assert (found <= 2).mean() > 0.999
    assert found.max() <= 4
    assert provenance.of(data)["restored"] == provenance.of(expected)["restored"] == {"negative": True}
    empty("change", facts["id"], {"hints": HINTS})
    back = empty("change", facts["id"], {"negative": False})
    assert (back["toned"], back["curve"], back["notes"], len(back["hints"])) == (True, [], [], len(HINTS))
    plain = apart(decoded(empty("file", facts["id"])["blob"]), decoded(Colorizer()(file(negative), hints=HINTS)))
    assert (plain <= 2).mean() > 0.99


def test_what_the_page_is_given_makes_the_file(empty):
    gray = gray_photograph(6)
    facts = empty.add("old.png", file(gray))
    seen, chroma = empty("gray", facts["id"], None), empty("chroma", facts["id"])
    assert (seen["luma"].reshape(300, 411) == gray).all()
    assert chroma["cbcr"].shape == (2 * chroma["size"] ** 2,)
    assert chroma["tone"] is None
    small = empty("gray", facts["id"], 100)
    assert (small["width"], small["height"]) == (100, 73)
    expected = cv2.resize(gray, (100, 73), interpolation=cv2.INTER_AREA)
    assert apart(small["luma"].reshape(73, 100), expected).max() <= 1


def test_transparency_stays(empty):
    gray = gray_photograph(7)
    alpha = np.where(np.arange(411) < 200, 255, 0).astype(np.uint8) * np.ones((300, 1), np.uint8)
    facts = empty.add("cut.png", file(np.dstack([gray, gray, gray, alpha])))
    found = decoded(empty("file", facts["id"])["blob"])
    assert (found[..., 3] == alpha).all()
    assert apart(found[:, :200, :3] @ [0.299, 0.587, 0.114], gray[:, :200]).max() <= 1.5


def test_palettes_are_plausible(empty):
    gray = gray_photograph(8)
    facts = empty.add("old.png", file(gray))
    found, expected = empty("palette", facts["id"], 100, 50), Colorizer().palette(gray, 100, 50)
    assert len(found) == len(expected)
    assert (
        np.abs(np.array([[*bytes.fromhex(one[1:])] for one in found], int)[0] - [*bytes.fromhex(expected[0][1:])]).max()
        <= 4
    )


# --- files ---------------------------------------------------------------------------------------------------------


def test_a_jpeg_keeps_its_metadata_and_says_what_colored_it(empty):
    exif = Image.Exif()
    exif[270], exif[274], exif[305] = "Grandmother", 6, "a scanner"
    exif.get_ifd(0x8769)[36867] = "1931:05:04 10:00:00"
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    packet += (
        b'<r:Description r:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:creator="Ann"/></r:RDF></x:xmpmeta>'
    )
    settings = {"exif": exif, "comment": b"from the attic", "dpi": (300, 300), "quality": 95, "xmp": packet}
    facts = empty.add("Oma.JPG", file(gray_photograph(1), "JPEG", **settings))
    assert (facts["width"], facts["height"]) == (300, 411)
    empty("change", facts["id"], {"look": {"saturation": 1.5}})
    colored = empty("file", facts["id"])
    assert colored["name"] == "Oma.colored.JPG"
    found = Image.open(io.BytesIO(colored["blob"]))
    found.load()
    assert found.size == (300, 411)
    assert found.getexif()[274] == 1
    assert (found.getexif()[270], found.getexif()[305]) == ("Grandmother", "a scanner")
    assert found.getexif().get_ifd(0x8769)[36867] == "1931:05:04 10:00:00"
    assert found.info["dpi"] == (300, 300)
    assert found.info["comment"] == b"from the attic"
    assert b'dc:creator="Ann"' in metadata.of_file(colored["blob"]).xmp
    made = provenance.of(colored["blob"])
    assert made is not None
    assert made["colored_by"] == provenance.colored_by()
    assert made["model"] == "colorizer-chroma"
    assert (made["format"], made["saturation"], made["quality"]) == ("JPEG", 1.5, 95)
    # the same pixels, up to JPEG, as those of a lossless file
    upright = cv2.rotate(decoded(file(gray_photograph(1), "JPEG", quality=95)), cv2.ROTATE_90_CLOCKWISE)
    assert apart(np.array(found), Colorizer(saturation=1.5)(upright)).mean() < 1.5


def test_a_png_keeps_its_texts_and_says_what_colored_it(empty):
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    texts.add_text("Author", "Ann")
    facts = empty.add("old.png", file(gray_photograph(2), pnginfo=texts, dpi=(600, 600)))
    data = empty("file", facts["id"])["blob"]
    found = Image.open(io.BytesIO(data))
    found.load()
    assert found.mode == "RGB"
    assert found.info["Author"] == "Ann"
    assert round(found.info["dpi"][0]) == 600
    assert provenance.of(data)["model"] == "colorizer-chroma"


def test_all_come_as_a_zip_under_names_that_differ(empty):
    for name in ("a.png", "A.PNG", "../../b.webp"):
        format = "WEBP" if name.endswith("webp") else "PNG"
        empty.add(name, file(gray_photograph(3, 60, 80), format))
    made = empty("all")
    assert made["name"] == "photographs.colored.zip"
    with zipfile.ZipFile(io.BytesIO(made["blob"])) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a.colored.png", "A.colored-2.PNG", "b.colored.png"]
        assert all(decoded(archive.read(name)).shape == (60, 80, 3) for name in archive.namelist())


def test_what_is_no_picture_is_refused_and_what_is_broken_fails_by_itself(empty):
    with pytest.raises(Refusal) as refused:
        empty.add("notes.txt", b"no picture")
    assert refused.value.args[0] == 415
    whole = file(gray_photograph(4))
    assert empty.add("cut.png", whole[:200])["status"] == "failed"
    assert empty.add("old.png", whole)["status"] == "ready"
    with pytest.raises(Refusal) as large:
        empty.add("bomb.png", file(np.zeros((1, 1), np.uint8))[:16] + (60000).to_bytes(4, "big") * 2 + b"\0" * 20)
    assert large.value.args[0] == 413


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"look": {"saturation": 5}}, "look.saturation 5: expected 0 to 4"),
        ({"look": {"sepia": 1}}, "look.sepia"),
        ({"hints": [{"x": 999, "y": 0, "color": "#ffffff"}]}, "hint at 999, 0: outside"),
        ({"hints": [{"x": 1, "y": 0, "color": "red"}]}, "color red: expected #rrggbb"),
        ({"model": "another"}, "model another: there is none"),
    ],
)
def test_bad_values_are_refused_by_name(empty, parts, reason):
    facts = empty.add("old.png", file(gray_photograph(4, 60, 80)))
    with pytest.raises(Refusal) as refused:
        empty("change", facts["id"], parts)
    assert refused.value.args[0] == 422
    assert reason in refused.value.args[1]
    assert empty("photograph", facts["id"]) == facts


def test_removed_is_gone(empty):
    facts = [empty.add(name, file(gray_photograph(4, 60, 80))) for name in ("a.png", "b.png")]
    empty("remove", facts[0]["id"])
    assert [one["name"] for one in empty("desk")["photographs"]] == ["b.png"]
    with pytest.raises(Refusal) as refused:
        empty("file", facts[0]["id"])
    assert refused.value.args[0] == 404


# --- a visit -------------------------------------------------------------------------------------------------------


def test_without_a_network_after_the_first_load_and_nothing_is_ever_sent(out, tmp_path):
    gray, log = gray_photograph(9), tmp_path / "net.json"
    with chromium(f"--log-net-log={log}", "--net-log-capture-mode=IncludeSensitive") as browser:
        with served(out) as (address, seen):
            desk = Desk(browser, address)
            desk.offline()
            first = desk.add("old.png", file(gray))
            assert first["status"] == "ready"
            assert {method for method, _ in seen} == {"GET"}
            assert not any("?" in path for _, path in seen)
            count = len(seen)
        desk = Desk(browser, address)  # nobody listens there any more
        assert [one["id"] for one in desk("desk")["photographs"]] == [first["id"]]
        assert browser.execute_script("return crossOriginIsolated")  # as its own service worker says
        second = desk.add("again.png", file(gray))
        assert second["status"] == "ready"
        desk("change", second["id"], {"hints": HINTS})
        assert desk("palette", second["id"], 5, 5)
        assert apart(decoded(desk("file", first["id"])["blob"]), Colorizer()(gray)).max() <= 2
        threads = min(4, browser.execute_script("return navigator.hardwareConcurrency"))
        assert desk("runs") == {"provider": "wasm", "threads": threads, "reason": "int8"}
        assert len(seen) == count
    started = [event for event in json.loads(log.read_text())["events"] if "url" in event.get("params", {})]
    asked = {
        (event["params"].get("method", "GET"), event["params"]["url"])
        for event in started
        if event["params"].get("initiator", "").startswith("http://127.0.0.1")
    }
    assert len(asked) > 20
    assert all(method == "GET" and url.startswith(address) for method, url in asked)


def test_a_reload_in_the_middle_loses_nothing(out, browser):
    with served(out) as (address, _):
        desk = Desk(browser, address)
        script = """
            const [address, base64, done] = arguments;
            import(address + "backend.js").then(async ({ backend }) => {
              const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
              for (let i = 0; i < 3; i++) await backend.add(new File([bytes], `${i}.png`));
              done();
            });"""
        import base64

        browser.execute_async_script(script, address, base64.b64encode(file(gray_photograph(1))).decode())
        browser.refresh()
        names = []
        for facts in desk("desk")["photographs"]:
            names.append(facts["name"])
            assert desk.wait(facts["id"])["status"] == "ready"
        assert names == ["0.png", "1.png", "2.png"]


def test_a_host_that_sends_the_headers_has_threads_at_once(out, browser):
    lines = (out / "_headers").read_text().splitlines()
    headers = dict(line.strip().split(": ", 1) for line in lines if line.startswith("  "))
    with served(out, headers) as (address, _):
        browser.get_log("browser")  # of other tests
        desk = Desk(browser, address)
        assert browser.execute_script("return crossOriginIsolated")
        assert desk.add("old.png", file(gray_photograph(1)))["status"] == "ready"
        assert desk("runs")["threads"] >= 2
        assert not [line for line in browser.get_log("browser") if "favicon" not in line["message"]]


def test_a_new_version_takes_over_when_the_old_one_is_closed_and_a_damaged_one_never(out, browser, tmp_path):
    folder = tmp_path / "site"
    shutil.copytree(out, folder)
    with served(folder) as (address, _):
        desk = Desk(browser, address)
        desk.offline()
        first = desk("desk")["version"]
        kept = desk.add("old.png", file(gray_photograph(3)))

        own = [*models.rows([artefacts.constant(tmp_path / "sepia.onnx")])]
        site.write(folder, site.contents(own, None))
        (folder / "style.css").write_text("damaged on its way")
        assert visited(browser, address) == first
        assert visited(browser, address) == first
        site.write(folder, site.contents(own, None))
        browser.get(address)
        update = "navigator.serviceWorker.ready.then((one) => one.update()).then(() => arguments[0]())"
        browser.execute_async_script(update)
        wait = """navigator.serviceWorker.ready.then(async (one) => {
            while (!one.waiting) await new Promise((resolve) => setTimeout(resolve, 50));
            arguments[0]();
        })"""
        browser.execute_async_script(wait)
        assert desk("desk")["version"] == first
        for _ in range(50):  # the browser itself takes a moment to let the old one go
            browser.get("about:blank")
            browser.execute_async_script("setTimeout(arguments[0], 200)")
            if visited(browser, address) != first:
                break
        assert [model["name"] for model in desk("desk")["models"]] == ["sepia"]
        assert desk("file", kept["id"])["blob"]  # colored by a model that is no more


def visited(browser: Any, address: str) -> str:
    """The version that a visit shows."""
    return Desk(browser, address)("desk")["version"]


def test_thumbnails_are_the_same_after_a_reload_and_gone_with_the_photograph(out, browser):
    with served(out) as (address, _):
        desk = Desk(browser, address)
        facts = desk.add("old.png", file(gray_photograph(3)))
        before = desk("gray", facts["id"], 176)
        browser.refresh()
        after = desk("gray", facts["id"], 176)
        assert (after["width"], after["height"]) == (176, 128)
        assert (before["luma"] == after["luma"]).all()
        desk("remove", facts["id"])
        count = """indexedDB.open("recolor-fast").onsuccess = ({ target: { result } }) => {
            const names = [...result.objectStoreNames], counts = {}, all = result.transaction(names);
            const counted = (name) => ({ target }) => counts[name] = target.result;
            for (const name of names) all.objectStore(name).count().onsuccess = counted(name);
            all.oncomplete = () => arguments[0](counts);
        }"""
        assert set(browser.execute_async_script(count).values()) == {0}


def test_a_full_disk_is_told_and_nothing_of_the_photograph_stays(out, browser):
    with served(out) as (address, _):
        desk = Desk(browser, address)
        desk.offline()  # so that more than the quota is there
        quota = {"origin": address.rstrip("/"), "quotaSize": 1000}
        browser.execute_cdp_cmd("Storage.overrideQuotaForOrigin", quota)
        with pytest.raises(Refusal) as refused:
            desk.add("old.png", file(gray_photograph(3)))
        assert refused.value.args == (507, "this browser has no more room for photographs")
        assert desk("desk")["photographs"] == []


def test_over_plain_http_it_works_in_one_thread(out, browser):
    with served(out) as (address, _):
        desk = Desk(browser, address.replace("127.0.0.1", OTHER_NAME))
        assert not browser.execute_script("return isSecureContext")
        facts = desk.add("old.png", file(gray_photograph(2)))
        assert desk("file", facts["id"])["name"] == "old.colored.png"
        assert desk("runs") == {"provider": "wasm", "threads": 1, "reason": "int8"}


def test_models_of_full_precision_run_on_the_processor_where_there_is_no_graphics_card(out, browser, tmp_path):
    own = models.rows([artefacts.echo(tmp_path / "echo.onnx"), artefacts.constant(tmp_path / "sepia.onnx")])
    site.write(tmp_path / "own", site.contents([*own], None))
    with served(tmp_path / "own") as (address, seen):
        desk = Desk(browser, address)
        facts = desk.add("old.png", file(gray_photograph(2)))
        assert facts["model"] == "echo"
        assert desk("palette", facts["id"], 5, 5) == []
        seen_there = images.source(gray_photograph(2), Preparation(64, "source", "source")).ravel()
        assert apart(desk("chroma", facts["id"])["cbcr"][:4096], seen_there).max() <= 1
        changed = desk("change", facts["id"], {"model": "sepia"})
        assert (changed["model"], changed["revision"]) == ("sepia", 2)
        assert [*np.unique(desk("chroma", facts["id"])["cbcr"])] == sorted(artefacts.SEPIA)
        with pytest.raises(Refusal, match="follows none"):
            desk("change", facts["id"], {"hints": HINTS})
        assert desk("runs")["reason"] in ("card", "absent")
        assert not any("webgpu" in path for _, path in seen)


def test_the_page_adds_compares_corrects_and_saves(out, tmp_path):
    Image.fromarray(gray_photograph(1, 240, 320)).save(tmp_path / "portrait.png")
    with served(out) as (address, _), Browser(downloads=tmp_path) as browser:
        browser.open(address)
        assert "Nothing leaves this device" in browser.id("kept").text
        browser.add(tmp_path / "portrait.png")
        ready(browser)
        divide(browser, 0)
        assert not gray(color(browser, 0.5, 0.5)) or not gray(color(browser, 0.3, 0.7))
        browser.click_at(*spot(browser, 0.5, 0.5))
        browser.wait("document.querySelectorAll('#palette-colors button').length > 1")
        browser.js("document.querySelectorAll('#palette-colors button')[1].click()")
        browser.wait(lambda: len(hints(browser)) == 1)
        browser.js("document.getElementById('palette-close').click()")
        ready(browser)
        browser.slide("saturation", 60)
        settled(browser)
        browser.id("download").click()
        saved = tmp_path / "portrait.colored.png"
        browser.wait(saved.is_file)
        made = provenance.of(saved.read_bytes())
        assert made is not None
        assert made["model"] == "colorizer-hints"
        assert made["saturation"] == pytest.approx(1.44, abs=0.01)
        browser.id("help-first").click()
        browser.wait("!document.getElementById('runs').hidden")
        assert "on the processor of this device" in browser.id("runs").text
        assert "The model is made for processors." in browser.id("runs").text
        assert browser.said() == []


@contextmanager
def watched(pid: int) -> Iterator[dict[str, float]]:
    """The most memory, MB, that one of the browser's processes took of its own meanwhile."""
    peak, over = {"megabytes": 0.0}, threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            peak["megabytes"] = max(peak["megabytes"], *(_own_memory(one) for one in _family(pid)))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def _family(pid: int) -> list[int]:
    found = [pid]
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if parent == pid:
            found += _family(int(path.parent.name))
    return found


def _own_memory(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return sum(int(status.split(f"{name}:")[1].split()[0]) for name in ("RssAnon", "RssShmem")) / 1024


@pytest.mark.slow
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_12_megapixels_in_bounded_memory(out, format):
    large = np.clip(cv2.resize(gray_photograph(3), (4000, 3000), interpolation=cv2.INTER_CUBIC), 0, 255)
    data = file(large, format)
    with served(out) as (address, _), chromium() as browser:
        desk = Desk(browser, address)
        with watched(browser.service.process.pid) as peak:
            facts = desk.add("large", data)
            assert facts["status"] == "ready"
            colored = desk("file", facts["id"])
        assert peak["megabytes"] < MEGABYTES
        found = apart(decoded(colored["blob"]), Colorizer()(decoded(data)))
        assert found.max() <= 2 if format == "PNG" else found.mean() < 1
        print(f"{format}: {peak['megabytes']:.0f} MB, off by {found.mean():.3f}, at most {found.max()}")
        start = time.monotonic()
        desk("change", facts["id"], {"hints": HINTS})
        print(f"a hint: {time.monotonic() - start:.2f} s")
