"""The page on the real server: what is seen is what is downloaded, and neither a reload nor a restart loses it."""

import base64
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.keys import Keys
from skimage import data

from recolor_fast.coloring.colorizer import Colorizer
from recolor_fast.photographs import images
from tests import artefacts
from tests.browsing import Browser, divide, hints, messages, ready, settled
from tests.serving import file_of
from tests.test_pages import scan

ROOT = Path(__file__).parent.parent
ALL = """
    const [name, ...given] = arguments, done = given.pop();
    import("./backend.js").then(({ backend }) => backend[name](...given)).then(done);
"""


@contextmanager
def serving(state: Path, port: int = 0, models: Sequence[Path] = ()) -> Iterator[str]:
    command = [sys.executable, "-m", "recolor_fast.serve", "--no-open", "--port", port, "--state", state]
    command += [word for model in models for word in ("--model", model)]
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(60)


@pytest.fixture(scope="module")
def page_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("state") / "desks") as address:
        yield address


@pytest.fixture
def portrait(browser: Browser, tmp_path: Path) -> Path:
    """A gray photograph, 320x240, for the empty desk of this browser."""
    browser.execute_async_script(ALL, "clear")
    browser.refresh()
    browser.wait("document.body.dataset.ready !== undefined")
    browser.said()  # of what it was showing when that was removed
    path = tmp_path / "portrait.png"
    Image.fromarray(images.gray(data.astronaut()[:480, 30:])).resize((320, 240), Image.Resampling.BOX).save(path)
    return path


def canvas(browser: Browser) -> np.ndarray:
    """All of the canvas at 100 %, where the picture is: RGB (240,320,3)."""
    code = """
        document.getElementById("pixels").click();
        const hints = document.getElementById("show-hints");
        if (hints.getAttribute("aria-pressed") === "true") hints.click();"""
    browser.js(code)
    settled(browser)
    code = """
        const left = Math.round(canvas.width / 2 - 160), top = Math.round(canvas.height / 2 - 120);
        const { data } = canvas.getContext("2d").getImageData(left, top, 320, 240);
        return btoa(Array.from(data, (byte) => String.fromCharCode(byte)).join(""))"""
    rgba = np.frombuffer(base64.b64decode(browser.js(code)), np.uint8)
    return rgba.reshape(240, 320, 4)[..., :3].astype(int)


def file(browser: Browser) -> bytes:
    """The colored file, as the API gives it."""
    code = """
        const done = arguments[0], { photographs } = await (await fetch("desk")).json();
        const bytes = new Uint8Array(await (await fetch(`desk/photographs/${photographs[0].id}/file`)).arrayBuffer());
        done(btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")))"""
    return base64.b64decode(browser.execute_async_script(f"(async () => {{ {code} }}).apply(null, arguments)"))


@pytest.mark.browser
def test_what_is_seen_is_what_is_downloaded_and_it_is_there_again_after_a_reload(browser, portrait, downloads):
    browser.add(portrait)
    ready(browser)
    divide(browser, 0)
    plain = canvas(browser)
    assert np.ptp(plain, axis=2).mean() > 3
    (photograph,) = browser.execute_async_script(ALL, "desk")["photographs"]
    code = """
        const [id, done] = arguments;
        import("./backend.js").then(({ backend }) => backend.gray(id, null)).then(({ luma }) =>
          done(btoa(Array.from(luma, (level) => String.fromCharCode(level)).join(""))))"""
    luma = browser.execute_async_script(code, photograph["id"])
    expected = images.gray(images.read_rgb(portrait.read_bytes()))
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(luma), np.uint8).reshape(240, 320), expected)

    box = browser.box("#stage")
    browser.click_at(box["width"] / 2 - 110, box["height"] / 2 + 20)  # the flag's dark
    browser.wait("document.querySelectorAll('#palette-colors button').length > 1")
    own = "const own = document.getElementById('palette-own'); own.value = '#2040c0';"
    browser.js(own + "for (const name of ['input', 'change']) own.dispatchEvent(new Event(name))")
    browser.slide("saturation", 60)
    browser.js("document.getElementById('palette-close').click()")
    ready(browser)
    shown = canvas(browser)
    assert np.abs(shown - plain).max() > 30
    browser.id("download").click()
    saved = downloads / "portrait.colored.png"
    browser.wait(saved.is_file)
    assert saved.read_bytes() == file(browser)
    assert b"guess" in saved.read_bytes() or b"urn:recolor-fast" in saved.read_bytes()
    assert np.abs(shown - images.read_rgb(saved.read_bytes())).max() <= 2

    browser.refresh()
    ready(browser)
    assert len(hints(browser)) == 1
    assert browser.id("saturation-value").text == "144%"
    np.testing.assert_array_equal(canvas(browser), shown)
    browser.control("z")
    browser.control("z")
    settled(browser)
    assert hints(browser) == []
    np.testing.assert_array_equal(canvas(browser), plain)


@pytest.mark.browser
def test_the_tone_of_a_print_is_shown_and_can_be_kept(browser, portrait, tmp_path):
    gray = images.gray(images.read_rgb(portrait.read_bytes())).astype(float) / 255
    sepia = np.stack([255 * gray**0.8, 235 * gray**0.95, 200 * gray**1.15], 2)
    Image.fromarray(np.rint(sepia).astype(np.uint8)).save(tmp_path / "sepia.png")
    browser.add(tmp_path / "sepia.png")
    ready(browser)
    assert "toned" in browser.id("facts").text
    assert browser.id("keep_tone").is_displayed()
    divide(browser, 1)
    before = canvas(browser)
    assert np.abs(before - sepia).mean() < 4  # as it was, left of the divider
    divide(browser, 0)
    assert np.abs(canvas(browser) - images.read_rgb(file(browser))).max() <= 2


@pytest.mark.browser
def test_a_faded_print_is_restored_beside_what_it_was(browser, portrait, tmp_path):
    gray = images.gray(images.read_rgb(portrait.read_bytes())).astype(float) / 255
    faded = np.rint(np.stack([110 + 90 * gray, 100 + 90 * gray, 80 + 85 * gray], 2)).astype(np.uint8)
    Image.fromarray(faded).save(tmp_path / "faded.png")
    browser.add(tmp_path / "faded.png")
    ready(browser)
    divide(browser, 0)
    plain = canvas(browser)
    browser.js("document.getElementById('restore').focus()")
    browser.keys(Keys.SPACE)
    ready(browser)
    browser.wait("document.getElementById('notes').textContent.includes('faded')")
    restored = canvas(browser)
    assert np.ptp(restored.mean(2)) > 2 * np.ptp(plain.mean(2))
    written = file(browser)
    assert written == Colorizer(restore=True)((tmp_path / "faded.png").read_bytes())
    assert np.abs(restored - images.read_rgb(written)).max() <= 2
    divide(browser, 1)
    assert np.abs(canvas(browser) - faded).mean() < 4  # as it was, left of the divider
    browser.control("z")
    ready(browser)
    assert not browser.id("restore").is_selected()
    divide(browser, 0)
    np.testing.assert_array_equal(canvas(browser), plain)


@pytest.mark.browser
def test_a_negative_is_inverted_beside_what_it_was(browser, portrait, tmp_path):
    gray = images.gray(images.read_rgb(portrait.read_bytes())) // 2 + 60
    Image.fromarray(255 - gray).save(tmp_path / "negative.png")
    browser.add(tmp_path / "negative.png")
    ready(browser)
    for box, said in (("negative", "inverted"), ("restore", "faded")):
        browser.js(f"document.getElementById('{box}').focus()")
        browser.keys(Keys.SPACE)
        ready(browser)
        browser.wait(f"document.getElementById('notes').textContent.includes('{said}')")
    written = file(browser)
    assert written == Colorizer(negative=True, restore=True)((tmp_path / "negative.png").read_bytes())
    divide(browser, 0)
    assert np.abs(canvas(browser) - images.read_rgb(written)).max() <= 2
    divide(browser, 1)
    assert np.abs(canvas(browser) - (255 - gray)[..., None]).max() <= 2  # as it was, left of the divider
    for _ in range(2):
        browser.control("z")
        ready(browser)
    assert not browser.id("negative").is_selected()
    assert not browser.id("restore").is_selected()
    divide(browser, 0)
    assert file(browser) == Colorizer()((tmp_path / "negative.png").read_bytes())


@pytest.mark.browser
def test_each_of_two_models_is_chosen_on_the_page(chromium, portrait, tmp_path):
    models = artefacts.constant(tmp_path / "brown.onnx"), artefacts.obedient(tmp_path / "obedient.onnx")
    brown, gray = (images.read_rgb(Colorizer(model)(portrait.read_bytes())).astype(int) for model in models)
    assert np.ptp(brown, axis=2).mean() > 30 > 3 > np.ptp(gray, axis=2).max()
    with serving(tmp_path / "state", models=models) as address:
        chromium.fresh(address)
        chromium.add(portrait)
        ready(chromium)
        divide(chromium, 0)
        assert [one.text for one in chromium.id("model").find_elements("tag name", "option")] == ["brown", "obedient"]
        assert "takes no hints" in chromium.id("hints-how").text
        assert np.abs(canvas(chromium) - brown).max() <= 2
        for name, expected, how in (("obedient", gray, "Click a place"), ("brown", brown, "takes no hints")):
            chromium.id("model").find_element("css selector", f"[value={name}]").click()
            ready(chromium)
            assert np.abs(canvas(chromium) - expected).max() <= 2
            assert how in chromium.id("hints-how").text
            np.testing.assert_array_equal(images.read_rgb(file(chromium)), expected)
        chromium.refresh()
        ready(chromium)
        assert chromium.id("model").get_attribute("value") == "brown"
    assert chromium.said() == []


@pytest.mark.browser
def test_a_server_that_stops_and_starts_again_loses_nothing(chromium, portrait, tmp_path):
    with serving(tmp_path / "state") as address:
        chromium.fresh(address)
        chromium.add(portrait)
        ready(chromium)
    chromium.slide("warmth", 40)
    chromium.wait("document.querySelector('.message')")
    assert messages(chromium)[0].startswith("The server does not answer.")
    with serving(tmp_path / "state", int(address.rstrip("/").rsplit(":", 1)[1])):
        chromium.wait("document.querySelector('.message p').textContent.startsWith('The server answers again')")
        ready(chromium)
        look = "fetch('desk').then((answer) => answer.json()).then((desk) => done(desk.photographs[0].look.warmth))"
        chromium.wait(lambda: chromium.execute_async_script(f"const done = arguments[0]; {look}") == 0.4)
        chromium.refresh()
        ready(chromium)
        assert chromium.id("warmth-value").text == "+40"
    assert [entry for entry in chromium.said() if "net::ERR_" not in entry] == []


@pytest.mark.browser
def test_files_that_the_server_refuses_are_named(browser, portrait, tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    browser.add(tmp_path / "notes.txt")
    browser.wait("document.querySelector('.message')")
    (message,) = messages(browser)
    assert message == 'notes.txt: not an image but a text: it begins with "no image"'
    assert browser.execute_async_script(ALL, "desk")["photographs"] == []
    assert all("a status of 415" in entry for entry in browser.said())


@pytest.mark.browser
def test_a_browser_that_keeps_nothing_of_the_page_shows_it_and_says_what_the_server_lacks(page_address, flat):
    with Browser(site_data=False) as browser:
        browser.open(page_address)
        with pytest.raises(WebDriverException, match="Access is denied"):
            browser.js("localStorage.length")
        browser.add(flat)
        browser.wait("document.querySelector('.message')")
        (message,) = messages(browser)
        assert message.startswith("flat.png: The server knows your photographs by a cookie")
        browser.js(
            "const l = document.getElementById('language'); l.value = 'de'; l.dispatchEvent(new Event('change'))"
        )
        browser.wait("document.documentElement.lang === 'de'")
        assert browser.id("add-first").text == "Fotos hinzufügen"


@pytest.mark.browser
def test_a_german_page_says_in_german_what_the_server_says_in_english(page_address, tmp_path):
    jpeg = file_of(images.gray(data.astronaut()))
    (tmp_path / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "pages.tif").write_bytes(scan(*(images.gray(data.astronaut()[:90, side:99]) for side in (0, 9))))
    with Browser("de-DE") as browser:
        browser.open(page_address)
        browser.add(tmp_path / "notes.txt", tmp_path / "pages.tif", tmp_path / "cut.jpg")
        ready(browser)
        browser.wait("document.querySelectorAll('.message').length === 2")
        text, cut = messages(browser)
        assert text == 'notes.txt: Kein Bild, sondern ein Text; er beginnt mit "no image".'
        assert cut.startswith("cut.jpg: Das JPEG ist abgeschnitten: ")
        assert cut.endswith("% seiner Zeilen sind da, nötig sind mindestens 90%.")
        assert browser.id("notes").text == "Das erste von 2 Bildern; die anderen kommen nicht mit."
        assert browser.id("notes").find_element("css selector", "li").get_attribute("lang") == "de"
        browser.find_element("css selector", "#strip button[data-status=failed]").click()
        assert browser.id("stage-note").text.endswith(cut.removeprefix("cut.jpg: "))
