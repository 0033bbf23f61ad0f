"""What the page says and does when files or the backend fail."""

import json

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browsing import PAGE, calls, color, divide, hints, hue, messages, ready, settled, spot

TEXTS = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(PAGE.glob("texts/*.json"))}


@pytest.mark.browser
def test_files_that_fail_are_named_until_one_has_read_it(browser, flat, tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    browser.add(tmp_path / "notes.txt", flat)
    ready(browser)
    assert messages(browser) == ["notes.txt: no image"]
    assert browser.id("messages").get_attribute("role") == "alert"
    browser.js("stub.failing = { only: 'add', status: 413 }")
    browser.add(flat)
    browser.wait("document.querySelectorAll('.message').length === 2")
    assert messages(browser)[1] == "flat.png: The file is too large: at most 50 MB and 100 megapixels are taken."
    browser.js("stub.failing = { only: 'file', status: 500, message: 'disk' }")
    browser.id("download").click()
    browser.wait("document.querySelectorAll('.message').length === 3")
    assert messages(browser)[2] == "Something went wrong: disk"
    for close in browser.find_elements("css selector", ".message button"):
        close.click()
    assert messages(browser) == []


@pytest.mark.browser
def test_a_full_backend_is_asked_again(browser, flat):
    browser.js(
        "stub.failing = { only: 'add', status: 429, retryAfter: 0.2 }; setTimeout(() => { stub.failing = null }, 500)"
    )
    browser.add(flat)
    ready(browser)
    assert len(calls(browser, "add")) >= 2
    assert messages(browser) == []


@pytest.mark.browser
def test_what_is_changed_while_the_backend_is_gone_is_sent_when_it_answers(browser, flat):
    browser.add(flat)
    ready(browser)
    divide(browser, 0)
    browser.js("stub.failing = { only: 'change', status: 0 }")
    browser.click_at(*spot(browser, 0.75, 0.3))
    browser.wait("document.querySelectorAll('#palette-colors button').length === 8")
    browser.js("stub.failing = { status: 0 }; document.querySelectorAll('#palette-colors button')[3].click()")
    browser.wait("document.querySelector('.message')")
    assert messages(browser) == [TEXTS["en"]["error.gone"]]
    assert hints(browser) == ["red, #c03028"]
    browser.js("stub.failing = null")
    browser.wait(f"document.querySelector('.message p').textContent === {json.dumps(TEXTS['en']['error.back'])}")
    browser.keys(Keys.ESCAPE)
    settled(browser)
    assert hue(color(browser, 0.71, 0.3)) == "red"
