"""The page of `serve`: its files, and in a browser photographs that come, are compared, looked at and downloaded.

The backend is page_backend.js, which colors by a rule.
"""

import json
import re

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.keys import Keys

from tests.browsing import (
    GRAY,
    PAGE,
    Browser,
    calls,
    color,
    divide,
    gray,
    hints,
    hue,
    messages,
    put,
    ready,
    settled,
    shared,
    spot,
)

TEXTS = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(PAGE.glob("texts/*.json"))}


def test_all_languages_have_the_same_texts_with_the_same_names_in_them():
    assert {"en", "de"} <= set(TEXTS)
    fields = {
        name: {key: sorted(set(re.findall(r"\{\w+\}", json.dumps(text)))) for key, text in table.items()}
        for name, table in TEXTS.items()
    }
    for name, table in fields.items():
        assert list(table) == list(fields["en"]), name
        assert table == fields["en"], name
    known = re.search(r"LANGUAGES = \{(.*?)\}", (PAGE / "texts.js").read_text("utf-8"))
    assert known
    assert set(re.findall(r"(\w+):", known[1])) == set(TEXTS)


def test_every_text_is_used_and_every_used_one_is_there():
    sources = [path.read_text("utf-8") for path in (*PAGE.glob("*.js"), PAGE / "index.html")]
    groups = "|".join(sorted({key.split(".")[0] for key in TEXTS["en"]}))
    heard = {key for key in TEXTS["en"] if key.startswith("heard.")}  # found by what a server says, see test_page_heard
    quoted = {word for source in sources for word in re.findall(rf"[\"'`]((?:{groups})(?:\.[a-z_]+)?)[\"'`]", source)}
    said = {
        word for source in sources for word in re.findall(r"(?:say\(|data-(?:text|label|title)=)\"([^\"]+)\"", source)
    }
    dotted = {word for word in quoted if "." in word}
    assert dotted | said <= set(TEXTS["en"])
    assert set(TEXTS["en"]) - heard <= dotted | said


def test_nothing_is_inline_and_nothing_is_fetched_from_elsewhere():
    html = (PAGE / "index.html").read_text("utf-8")
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", html)
    for path in (*PAGE.glob("*.js"), PAGE / "index.html", PAGE / "style.css"):
        source = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")  # a name, no address
        assert not re.search(r"https?:|//[a-z]+\.|innerHTML|\beval\b", source), path.name
        assert len(source.splitlines()) <= 400, path.name


@pytest.mark.browser
def test_photographs_come_in_order_and_are_compared_under_a_divider(browser, flat, tmp_path):
    assert browser.js("return document.documentElement.lang") == "en"
    assert "guesses" in browser.id("empty").text
    for name in "b", "a":
        Image.new("L", (300, 200), 60).save(tmp_path / f"{name}.png")
    browser.js("stub.coloring = 300")
    browser.add(flat, tmp_path / "b.png", tmp_path / "a.png")
    browser.wait("document.getElementById('progress').textContent.includes('of 3 done')")
    ready(browser, 3)
    assert browser.js("return document.getElementById('progress').hidden")
    names = browser.js(
        "return [...document.querySelectorAll('#strip button')].map((button) => button.getAttribute('aria-label'))"
    )
    assert names == ["flat.png", "b.png", "a.png"]
    assert browser.id("name").text == "flat.png"
    assert "guesses" in browser.id("panel").text

    divide(browser, 0.3)
    assert shared(browser) == 30
    assert color(browser, 0.28, 0.4) == (GRAY, GRAY, GRAY)
    assert hue(color(browser, 0.32, 0.4)) == "orange"
    assert hue(color(browser, 0.8, 0.4)) == "blue"
    divide(browser, 0.9)
    assert color(browser, 0.8, 0.4) == (GRAY, GRAY, GRAY)
    assert hue(color(browser, 0.95, 0.4)) == "blue"
    browser.js("document.getElementById('divider').focus()")
    browser.keys(Keys.HOME)
    assert shared(browser) == 0
    settled(browser)
    assert hue(color(browser, 0.02, 0.4)) == "orange"
    browser.keys(Keys.RIGHT, Keys.RIGHT)
    assert shared(browser) == 4
    assert browser.id("divider").get_attribute("aria-valuetext") == "4 % as it was"


@pytest.mark.browser
def test_a_photograph_that_waits_is_shown_gray_and_takes_no_colors_yet(browser, flat):
    browser.js("stub.coloring = 1e6")
    browser.add(flat)
    browser.wait("document.getElementById('pixels').textContent !== '100%'")
    settled(browser)
    assert browser.id("stage-note").text == TEXTS["en"]["status.waiting_long"]
    assert not browser.id("divider").is_displayed()
    assert color(browser, 0.2, 0.4) == color(browser, 0.8, 0.4) == (GRAY, GRAY, GRAY)
    browser.click_at(*spot(browser, 0.75, 0.3))
    assert calls(browser, "palette") == calls(browser, "chroma") == []
    browser.js("stub.finish()")
    ready(browser)
    divide(browser, 0)
    assert hue(color(browser, 0.8, 0.4)) == "blue"
    assert [call[1] for call in calls(browser, "gray")].count(1600) == 1
    assert not browser.id("stage-note").is_displayed()


@pytest.mark.browser
def test_a_look_is_seen_at_once_and_sent_when_it_is_chosen(browser, flat):
    browser.add(flat)
    ready(browser)
    divide(browser, 0)
    browser.js("stub.delay = 400")
    before = len(browser.js("return stub.calls"))
    browser.slide("saturation", 0, chosen=False)
    settled(browser)
    assert gray(color(browser, 0.2, 0.5))
    browser.slide("warmth", 100, chosen=False)
    settled(browser)
    red, green, blue = color(browser, 0.2, 0.5)
    assert red > green > blue
    browser.slide("warmth", 0, chosen=False)
    browser.slide("saturation", 100, chosen=False)
    settled(browser)
    strong = color(browser, 0.2, 0.5)
    assert browser.id("saturation-value").text == "400%"
    browser.slide("strength", 10, chosen=False)
    settled(browser)
    weak = color(browser, 0.2, 0.5)
    assert 10 < max(weak) - min(weak) < max(strong) - min(strong)
    assert len(browser.js("return stub.calls")) == before
    browser.js("document.getElementById('strength').dispatchEvent(new Event('change'))")
    browser.wait("stub.calls.at(-1)[0] === 'change'")
    (change,) = calls(browser, "change")
    assert change == [{"look": {"saturation": 4, "warmth": 0, "strength": 0.1, "keep_tone": 0.7}}]
    browser.control("z")
    settled(browser)
    assert browser.id("saturation-value").text == "100%"
    assert browser.id("plain").get_attribute("aria-disabled") == "true"


@pytest.mark.browser
def test_pixels_are_seen_as_squares_above_100_percent(browser, tmp_path):
    board = (np.indices((480, 640)).sum(0) % 2 * 200 + 20).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "board.png")
    browser.add(tmp_path / "board.png")
    ready(browser)
    divide(browser, 1)
    width, height = browser.js("return [canvas.clientWidth, canvas.clientHeight]")
    wheel = (
        "document.getElementById('stage').dispatchEvent(new WheelEvent('wheel',"
        "{ deltaY: arguments[0], clientX: 300, clientY: 300, cancelable: true, bubbles: true }))"
    )
    browser.js(wheel, -4000)
    assert browser.id("pixels").text == "3,200%"
    settled(browser)
    row = {browser.pixel(width / 2 - 100 + i, height / 2)[0] for i in range(0, 80, 3)}
    assert row == {20, 220}
    browser.js(wheel, 9000)
    assert browser.id("pixels").text == "100%"
    settled(browser)
    middle = [browser.pixel(width // 2 + i, height // 2)[0] for i in range(8)]
    assert middle in ([20, 220] * 4, [220, 20] * 4)
    for _ in range(4):
        browser.id("zoom-in").click()
    zoomed = browser.id("pixels").text
    browser.js("document.activeElement.blur()")
    browser.keys("0")
    assert browser.id("pixels").text != zoomed


@pytest.mark.browser
def test_a_large_photograph_is_loaded_whole_when_one_looks_closely(browser, tmp_path):
    Image.fromarray((np.indices((1200, 2400)).sum(0) % 2 * 200 + 20).astype(np.uint8)).save(tmp_path / "large.png")
    browser.add(tmp_path / "large.png")
    ready(browser)
    assert {call[1] for call in calls(browser, "gray")} == {1600, 176}
    divide(browser, 1)
    browser.id("pixels").click()
    settled(browser)
    assert [call[1] for call in calls(browser, "gray")].count(None) == 1
    width, height = browser.js("return [canvas.clientWidth, canvas.clientHeight]")
    assert [browser.pixel(width // 2 + i, height // 2)[0] for i in range(4)] in ([20, 220] * 2, [220, 20] * 2)


@pytest.mark.browser
def test_a_dropped_folder_gives_its_photographs_in_order(browser, tmp_path):
    folder = tmp_path / "old"
    (folder / "deeper").mkdir(parents=True)
    for name in ("10.png", "9.png", "deeper/1.png"):
        Image.new("L", (30, 20), 60).save(folder / name)
    (folder / "list.txt").write_text("a")
    data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver"):
        browser.execute_cdp_cmd("Input.dispatchDragEvent", {"type": kind, "x": 600, "y": 300, "data": data})
    assert browser.id("drop").is_displayed()
    browser.execute_cdp_cmd("Input.dispatchDragEvent", {"type": "drop", "x": 600, "y": 300, "data": data})
    ready(browser, 3)
    assert not browser.id("drop").is_displayed()
    assert [call[0] for call in calls(browser, "add")] == ["9.png", "10.png", "1.png"]
    assert messages(browser) == ["One file of the folder is no photograph and was left out."]
    browser.id("folders").send_keys(str(folder))
    ready(browser, 6)
    assert [call[0] for call in calls(browser, "add")[3:]] == ["9.png", "10.png", "1.png"]


@pytest.mark.browser
def test_one_is_downloaded_or_all_and_one_is_removed(browser, flat, downloads):
    browser.add(flat)
    ready(browser)
    browser.id("download").click()
    browser.wait(lambda: (downloads / "flat.colored.png").is_file())
    assert (downloads / "flat.colored.png").read_bytes() == flat.read_bytes()
    browser.id("download-all").click()
    browser.wait(lambda: (downloads / "photographs.zip").is_file())
    browser.id("remove").click()
    browser.find_element("css selector", "#question [value=no]").click()
    assert browser.id("name").text == "flat.png"
    browser.id("remove").click()
    browser.find_element("css selector", "#question [value=yes]").click()
    browser.wait("!document.getElementById('empty').hidden")
    assert len(calls(browser, "remove")) == 1


@pytest.mark.browser
def test_german_is_spoken_where_it_is_wanted_and_kept(page_address, flat):
    with Browser("de-DE") as browser:
        browser.open(page_address)
        assert browser.js("return [document.documentElement.lang, document.title]") == ["de", "Recolor"]
        assert browser.id("add-first").text == "Fotos hinzufügen"
        browser.add(flat)
        ready(browser)
        put(browser, 0.75, 0.3)
        assert hints(browser) == ["Rot, #c03028"]
        browser.find_element("css selector", ".hint").click()
        palette, last, first = map(browser.box, ("#palette", "#palette-dropper", "#palette .row label"))
        assert palette["left"] < first["left"] < last["right"] < palette["right"]
        assert first["top"] == last["top"]
        browser.keys(Keys.ESCAPE)
        browser.js(
            "const l = document.getElementById('language'); l.value = 'en'; l.dispatchEvent(new Event('change'))"
        )
        browser.wait("document.documentElement.lang === 'en'")
        browser.wait("document.querySelector('.hint').textContent === 'red, #c03028'")
        browser.open(page_address)
        assert browser.js("return document.documentElement.lang") == "en"
        assert browser.said() == []


@pytest.mark.browser
def test_a_photograph_is_pasted_and_the_strip_is_one_stop_for_keys(browser, flat, tmp_path):
    Image.new("L", (300, 200), 60).save(tmp_path / "other.png")
    browser.add(flat, tmp_path / "other.png")
    ready(browser, 2)
    code = """
        const canvas = new OffscreenCanvas(40, 30), done = arguments[0];
        canvas.getContext("2d").fillRect(0, 0, 40, 30);
        canvas.convertToBlob().then((blob) => {
          const clipboardData = new DataTransfer();
          clipboardData.items.add(new File([blob], "pasted.png", { type: "image/png" }));
          document.dispatchEvent(new ClipboardEvent("paste", { clipboardData }));
          done();
        })"""
    browser.execute_async_script(code)
    ready(browser, 3)
    assert [call[0] for call in calls(browser, "add")] == ["flat.png", "other.png", "pasted.png"]
    assert browser.js("return [...document.querySelectorAll('#strip button')].map((one) => one.tabIndex)") == [
        0,
        -1,
        -1,
    ]
    browser.js("document.querySelector('#strip button').focus()")
    browser.keys(Keys.RIGHT, Keys.ENTER)
    browser.wait("document.getElementById('name').textContent === 'other.png'")
    browser.keys(Keys.END, Keys.ENTER)
    browser.wait("document.getElementById('name').textContent === 'pasted.png'")
