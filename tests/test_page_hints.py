"""Colors put on the page's picture by mouse, and what is undone and done again."""

import json

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.browsing import PAGE, calls, color, divide, hints, hue, put, ready, settled, spot

TEXTS = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(PAGE.glob("texts/*.json"))}


@pytest.mark.browser
def test_a_click_puts_a_color_there_and_nowhere_else(browser, flat):
    browser.add(flat)
    ready(browser)
    divide(browser, 0)
    far = color(browser, 0.9, 0.9)
    put(browser, 0.75, 0.3)
    assert hue(color(browser, 0.71, 0.3)) == "red"
    assert color(browser, 0.9, 0.9) == far
    assert hints(browser) == ["red, #c03028"]
    (x, y), = [(hint["x"], hint["y"]) for call in calls(browser, "change") for hint in call[0]["hints"]]  # fmt: skip
    assert abs(x - 480) <= 2
    assert abs(y - 144) <= 2

    browser.control("z")
    settled(browser)
    assert hue(color(browser, 0.71, 0.3)) == "blue"
    assert hints(browser) == []
    assert browser.id("undo").get_attribute("aria-disabled") == "true"
    browser.control("z", shift=True)
    settled(browser)
    assert hue(color(browser, 0.71, 0.3)) == "red"
    browser.id("undo").click()
    browser.id("redo").click()
    assert hints(browser) == ["red, #c03028"]

    browser.find_element("css selector", ".hint").click()  # its palette
    browser.wait("document.querySelector('#palette-colors [aria-pressed=true]')?.dataset.color === '#c03028'")
    browser.js("document.querySelectorAll('#palette-colors button')[4].click()")
    assert hints(browser) == ["green, #3a7a3a"]
    browser.slide("palette-radius", 100)
    settled(browser)
    assert calls(browser, "change")[-1][0]["hints"][0]["radius"] == 64
    browser.slide("palette-radius", 50)
    settled(browser)
    assert calls(browser, "change")[-1][0]["hints"][0]["radius"] is None
    browser.id("palette-delete").click()
    settled(browser)
    assert hints(browser) == []
    assert hue(color(browser, 0.71, 0.3)) == "blue"


@pytest.mark.browser
def test_a_hint_is_dragged_and_takes_its_color_along(browser, flat):
    browser.add(flat)
    ready(browser)
    divide(browser, 0)
    put(browser, 0.75, 0.3)
    box = browser.box("#stage")
    here, there = (
        tuple(int(box[side] + at) for side, at in zip(("left", "top"), spot(browser, x, y)))
        for x, y in ((0.75, 0.3), (0.25, 0.7))
    )
    chain = ActionChains(browser, duration=60)
    pointer = chain.w3c_actions.pointer_action
    pointer.move_to_location(*here)
    pointer.pointer_down()
    pointer.move_to_location((here[0] + there[0]) // 2, here[1])
    pointer.move_to_location(*there)
    pointer.pointer_up()
    chain.perform()
    settled(browser)
    assert hue(color(browser, 0.71, 0.3)) == "blue"
    assert hue(color(browser, 0.21, 0.7)) == "red"
    browser.control("z")  # one step, however many places it passed
    settled(browser)
    assert hue(color(browser, 0.71, 0.3)) == "red"


@pytest.mark.browser
def test_a_color_is_taken_from_the_picture(browser, flat):
    browser.add(flat)
    ready(browser)
    divide(browser, 0)
    orange = color(browser, 0.2, 0.8)
    browser.click_at(*spot(browser, 0.75, 0.3))
    browser.wait("document.querySelectorAll('#palette-colors button').length === 8")
    browser.id("palette-dropper").click()
    assert "arrow keys" in browser.id("stage-tip").text
    browser.click_at(*spot(browser, 0.2, 0.8))
    settled(browser)
    (hint,) = calls(browser, "change")[-1][0]["hints"]
    taken = tuple(int(hint["color"][at : at + 2], 16) for at in (1, 3, 5))
    assert np.abs(np.subtract(taken, orange)).max() <= 1
    browser.keys(Keys.ESCAPE)
    settled(browser)
    assert np.abs(np.subtract(color(browser, 0.71, 0.3), orange)).max() <= 3

    own = "const own = document.getElementById('palette-own'); own.value = '#208040';"
    browser.click_at(*spot(browser, 0.3, 0.3))
    browser.js(own + "for (const name of ['input', 'change']) own.dispatchEvent(new Event(name))")
    assert hints(browser)[1] == "green, #208040"


@pytest.mark.browser
def test_while_the_backend_works_the_newest_wish_waits_alone(browser, flat):
    browser.add(flat)
    ready(browser)
    browser.js("stub.delay = 250")
    code = """
        const own = document.getElementById("palette-own");
        for (const color of ["#100000", "#200000", "#300000", "#400000", "#c03028"]) {
          own.value = color;
          own.dispatchEvent(new Event("input"));
        }
        own.dispatchEvent(new Event("change"))"""
    browser.click_at(*spot(browser, 0.75, 0.3))
    browser.js(code)
    assert hints(browser) == ["red, #c03028"]  # before any answer
    browser.keys(Keys.ESCAPE)
    settled(browser)
    sent = [call[0]["hints"][0]["color"] for call in calls(browser, "change")]
    assert sent == ["#100000", "#c03028"]
    divide(browser, 0)
    settled(browser)
    assert hue(color(browser, 0.71, 0.3)) == "red"
    browser.control("z")
    assert hints(browser) == []


@pytest.mark.browser
def test_a_model_is_chosen_and_one_without_hints_takes_none(browser, flat):
    browser.add(flat)
    ready(browser)
    assert "Click a place" in browser.id("hints-how").text
    browser.js("const m = document.getElementById('model'); m.value = 'plain'; m.dispatchEvent(new Event('change'))")
    settled(browser)
    assert calls(browser, "change") == [[{"model": "plain"}]]
    assert browser.id("hints-how").text == TEXTS["en"]["hints.impossible"]
    browser.click_at(*spot(browser, 0.75, 0.3))
    assert not browser.id("palette").is_displayed()
    browser.control("z")
    assert browser.id("model").get_attribute("value") == "shipped"
