"""The page by keys alone and by fingers, and what axe-core says of it."""

from functools import partial

import pytest
from PIL import Image
from selenium.webdriver.common.keys import Keys

from tests import npm
from tests.browsing import DESKTOP, PHONE, Browser, calls, color, divide, hints, hue, put, ready, settled, spot

AXE = (
    "axe-core",
    "4.14.1",
    "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
)


def finger(browser: Browser, kind: str, *places: tuple[float, float]) -> None:
    """Fingers at places of the window, CSS pixels."""
    points = [{"x": left, "y": top, "id": i} for i, (left, top) in enumerate(places)]
    browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def white(browser: Browser, left: float, top: float) -> bool:
    """Whether there is the white edge of a ring around a place of the stage."""
    return any(min(browser.pixel(left + 26 + step / 2, top)) > 200 for step in range(12))


@pytest.mark.browser
def test_two_fingers_zoom_and_one_moves(browser, flat):
    browser.device(PHONE)
    browser.add(flat)
    ready(browser)
    assert browser.js("return document.documentElement.scrollWidth <= innerWidth")
    box = browser.box("#stage")
    before = int(browser.id("pixels").text.rstrip("%"))
    x, y = box["left"] + box["width"] / 2, box["top"] + box["height"] / 3
    touch = partial(finger, browser)
    touch("touchStart", (x - 20, y), (x + 20, y))
    for apart in (40, 60, 80):
        touch("touchMove", (x - apart, y), (x + apart, y))
    touch("touchEnd")
    after = int(browser.id("pixels").text.replace(",", "").rstrip("%"))
    assert after == pytest.approx(4 * before, rel=0.1)
    assert not browser.id("palette").is_displayed()
    settled(browser)
    blue = browser.pixel(box["width"] - 20, 20)
    assert hue(blue) == "blue"
    touch("touchStart", (x - 140, y))
    for moved in (0, 150, 300):
        touch("touchMove", (x - 140 + moved, y))
    touch("touchEnd")
    settled(browser)
    assert hue(browser.pixel(box["width"] - 20, 20)) == "orange"
    browser.id("fit").click()
    touch("touchStart", (x + 60, y))
    touch("touchEnd")
    browser.wait("document.getElementById('palette').open")
    low = browser.box("#palette")
    assert low["left"] == 0
    assert low["bottom"] == 844
    assert browser.js("return document.documentElement.scrollWidth <= innerWidth")
    small = browser.js(
        "return [...document.querySelectorAll('button, select')]"
        ".filter((button) => button.checkVisibility() && button.offsetHeight < 36).map((button) => button.id)"
    )
    assert small == []


@pytest.mark.browser
def test_the_eyedropper_shows_its_color_above_the_finger_that_hides_it(browser, flat):
    browser.device(PHONE)
    browser.add(flat)
    ready(browser)
    divide(browser, 0)
    blue, (left, top) = color(browser, 0.75, 0.6), spot(browser, 0.25, 0.6)
    box = browser.box("#stage")
    browser.click_at(*spot(browser, 0.1, 0.3))
    browser.wait("document.querySelectorAll('#palette-colors button').length === 8")
    browser.id("palette-dropper").click()
    finger(browser, "touchStart", (box["left"] + left, box["top"] + top))
    settled(browser)
    assert white(browser, left, top - 80)
    left, top = spot(browser, 0.75, 0.6)
    finger(browser, "touchMove", (box["left"] + left, box["top"] + top))
    settled(browser)
    assert white(browser, left, top - 80)
    assert not white(browser, left, top)
    assert browser.pixel(left + 24, top - 80) == pytest.approx(blue, abs=1)
    finger(browser, "touchEnd")
    settled(browser)
    (hint,) = calls(browser, "change")[-1][0]["hints"]
    assert [int(hint["color"][at : at + 2], 16) for at in (1, 3, 5)] == pytest.approx(blue, abs=1)


@pytest.mark.browser
def test_everything_goes_by_keys_alone(browser, flat, tmp_path):
    Image.new("L", (300, 200), 60).save(tmp_path / "other.png")
    assert browser.js("return document.activeElement === document.body")
    reached = []
    for _ in range(4):
        browser.keys(Keys.TAB)
        reached.append(browser.js("return document.activeElement.id"))
    assert {"language", "help-first", "add-first", "folder-first"} == set(reached)
    browser.add(flat, tmp_path / "other.png")
    ready(browser, 2)
    browser.js("document.activeElement.blur()")
    reached = []
    for _ in range(30):
        browser.keys(Keys.TAB)
        reached.append(browser.js("return document.activeElement.id || document.activeElement.className"))
        if reached[-1] == "stage":
            break
    assert {"add", "folder", "download-all", "clear", "undo", "redo", "fit"} <= set(reached)
    browser.keys(Keys.RIGHT, Keys.RIGHT, Keys.SHIFT, Keys.RIGHT, Keys.UP, Keys.SHIFT)
    browser.wait("document.getElementById('status').textContent.startsWith('Column ')")
    browser.keys(Keys.ENTER)
    browser.wait("document.activeElement.className === 'swatch'")
    browser.keys(Keys.RIGHT, Keys.RIGHT, Keys.RIGHT, Keys.ENTER, Keys.ESCAPE)
    settled(browser)
    assert hints(browser) == ["red, #c03028"]
    assert browser.js("return document.activeElement.id") == "stage"
    (before,) = calls(browser, "change")[-1][0]["hints"]
    browser.keys(" ", Keys.DOWN, Keys.DOWN, " ")
    settled(browser)
    (after,) = calls(browser, "change")[-1][0]["hints"]
    assert after["x"] == before["x"]
    assert after["y"] > before["y"]
    browser.keys(" ", Keys.DOWN, Keys.ESCAPE)
    settled(browser)
    assert calls(browser, "change")[-1][0]["hints"] == [after]
    browser.keys(Keys.UP, Keys.DELETE)
    settled(browser)
    assert hints(browser) == []
    browser.control("z")
    assert hints(browser) == ["red, #c03028"]
    browser.keys(Keys.PAGE_DOWN)
    browser.wait("document.getElementById('name').textContent === 'other.png'")
    browser.js("document.getElementById('stage').focus()")
    browser.keys("?")
    assert browser.js("return document.getElementById('help').matches(':modal')")
    assert "Undo" in browser.id("help").text
    browser.keys(Keys.ESCAPE)
    browser.js("document.getElementById('clear').focus()")
    browser.keys(Keys.ENTER)
    assert browser.id("question").is_displayed()
    browser.keys(Keys.ESCAPE)
    assert len(browser.js("return [...document.querySelectorAll('#strip button')]")) == 2
    browser.wait("document.activeElement.id === 'clear'")
    browser.keys(Keys.ENTER)
    browser.wait("document.getElementById('question').contains(document.activeElement)")
    browser.js("document.getElementById('question').dispatchEvent(new Event('close'))")  # late, of the one before
    browser.keys(Keys.TAB, Keys.ENTER)
    browser.wait("!document.getElementById('empty').hidden")
    assert calls(browser, "clear") == [[]]


@pytest.mark.browser
@pytest.mark.parametrize(
    ("device", "dark"),
    [
        pytest.param(DESKTOP, False, id="desktop-light"),
        pytest.param(DESKTOP, True, id="desktop-dark", marks=pytest.mark.slow),
        pytest.param(PHONE, False, id="phone-light", marks=pytest.mark.slow),
        pytest.param(PHONE, True, id="phone-dark"),
    ],
)
def test_axe_finds_nothing(browser, flat, device, dark):
    axe = (npm.packed(*AXE) / "axe.min.js").read_text("utf-8")
    browser.device(device, dark)

    def violations(where: str) -> list[str]:
        if not browser.js("return window.axe !== undefined"):
            browser.js(axe)
        found = browser.execute_async_script("axe.run().then(({ violations }) => arguments[0](violations))")
        return [f"{where}: {one['id']}: {one['nodes'][0]['html'][:120]}" for one in found]

    browser.set_script_timeout(60)
    found = violations("empty")
    browser.add(flat)
    ready(browser)
    found += violations("photograph")
    browser.click_at(*spot(browser, 0.75, 0.3))
    browser.wait("document.querySelectorAll('#palette-colors button').length === 8")
    found += violations("palette")
    browser.js("document.querySelectorAll('#palette-colors button')[3].click()")
    found += violations("hint")
    browser.keys(Keys.ESCAPE)
    browser.js(
        "stub.failing = { only: 'file', status: 500, message: 'disk' }; document.getElementById('download').click()"
    )
    browser.wait("document.querySelector('.message')")
    found += violations("message")
    for button, dialog in (("help-first", "help"), ("clear", "question")):
        browser.js("document.getElementById(arguments[0]).click()", button)
        browser.wait(f"document.getElementById('{dialog}').matches(':modal')")
        found += violations(dialog)
        browser.keys(Keys.ESCAPE)
    assert found == []


@pytest.mark.browser
def test_nothing_is_cut_off_at_any_size(browser, flat):
    browser.js("const l = document.getElementById('language'); l.value = 'de'; l.dispatchEvent(new Event('change'))")
    browser.add(flat)
    ready(browser)
    put(browser, 0.75, 0.3)
    browser.js("stub.failing = { only: 'file', status: 500, message: 'disk' }")
    browser.js("document.getElementById('download').click()")
    browser.wait("document.querySelector('.message')")
    wide = """
        return [...document.querySelectorAll("button, select, input[type=range], .message p, h2, p")]
          .filter((one) => one.checkVisibility() && !one.closest("#strip") && !one.classList.contains("unseen"))
          .filter((one) => one.getBoundingClientRect().right > innerWidth || one.getBoundingClientRect().left < 0)
          .map((one) => one.id || one.textContent)"""
    for width, height in ((1920, 1080), (844, 390), (390, 844), (320, 568), (320, 200)):
        browser.device({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})
        settled(browser)
        assert browser.js("return [innerWidth, innerHeight]") == [width, height]
        assert browser.js("return document.querySelectorAll('.message').length") == 1
        assert browser.js("return document.documentElement.scrollWidth <= innerWidth"), (width, height)
        assert browser.box("#canvas")["height"] > 100, (width, height)
        assert browser.js(wide) == [], (width, height)
