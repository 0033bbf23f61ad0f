"""Headless chromium on the page, with what its tests do again and again."""

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

PAGE = Path(__file__).parent.parent / "recolor_fast" / "page"
STUB = Path(__file__).with_name("page_backend.js")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "worker-src 'self'; manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
GRAY = 120  # luminance of the flat photograph
DESKTOP = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}


@contextmanager
def page_with_stub() -> Iterator[str]:
    """The address of the page's files with the backend of these tests, under the policy that the server sends."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given, directory=str(PAGE))

        def translate_path(self, path: str) -> str:
            return str(STUB) if path == "/backend.js" else super().translate_path(path)

        def end_headers(self) -> None:
            self.send_header("Content-Security-Policy", POLICY)
            self.send_header("Cache-Control", "no-store")
            super().end_headers()

        def log_message(self, *given: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()


class Browser(webdriver.Chrome):
    """Chromium with shorthands."""

    def __init__(self, language: str = "en-US", downloads: Path | None = None, site_data: bool = True) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--force-color-profile=srgb"):
            options.add_argument(word)
        options.add_argument(f"--lang={language}")
        blocked = {} if site_data else {"profile.default_content_setting_values.cookies": 2}
        options.add_experimental_option("prefs", {"intl.accept_languages": language, **blocked})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        super().__init__(options, Service(shutil.which("chromedriver")))
        self.device(DESKTOP)
        if downloads:
            allowed = {"behavior": "allow", "downloadPath": str(downloads), "eventsEnabled": False}
            self.execute_cdp_cmd("Browser.setDownloadBehavior", allowed)

    def device(self, size: dict[str, Any], dark: bool = False) -> None:
        self.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": size["mobile"]})
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})

    def fresh(self, address: str) -> None:
        """The page on a desktop, as if never opened before."""
        self.device(DESKTOP)
        self.get(address + "style.css")
        self.js("localStorage.clear(); sessionStorage.clear()")
        self.said()
        self.open(address)

    def open(self, address: str) -> None:
        """The page, once it is there."""
        self.get(address)
        self.wait("document.body.dataset.ready !== undefined")

    def wait(self, condition: str | Callable[[], Any], seconds: float = 60) -> Any:
        """Until JavaScript or a function is true; its value."""

        def true(_: Any) -> Any:
            return self.execute_script(f"return {condition}") if isinstance(condition, str) else condition()

        return WebDriverWait(self, seconds, poll_frequency=0.03).until(true, str(condition))

    def js(self, code: str, *given: Any) -> Any:
        return self.execute_script(code, *given)

    def id(self, name: str) -> Any:
        return self.find_element(By.ID, name)

    def add(self, *files: Path) -> None:
        self.id("files").send_keys("\n".join(map(str, files)))

    def keys(self, *words: str) -> None:
        ActionChains(self).send_keys(*words).perform()

    def control(self, *words: str, shift: bool = False) -> None:
        chain = ActionChains(self).key_down(Keys.CONTROL)
        chain = chain.key_down(Keys.SHIFT) if shift else chain
        chain.send_keys(*words)
        (chain.key_up(Keys.SHIFT) if shift else chain).key_up(Keys.CONTROL).perform()

    def click_at(self, left: float, top: float) -> None:
        """Click a place of the picture, in CSS pixels of the stage."""
        box = self.box("#stage")
        chain = ActionChains(self)
        chain.w3c_actions.pointer_action.move_to_location(int(box["left"] + left), int(box["top"] + top))
        chain.click().perform()

    def pixel(self, left: float, top: float) -> tuple[int, int, int]:
        """RGB of the canvas at a place of the stage, in CSS pixels."""
        code = (
            "const c = document.getElementById('canvas'), r = c.width / c.clientWidth;"
            "return [...c.getContext('2d').getImageData(arguments[0] * r, arguments[1] * r, 1, 1).data]"
        )
        red, green, blue, _ = self.js(code, left, top)
        return red, green, blue

    def slide(self, name: str, value: float, chosen: bool = True) -> None:
        """Move a slider there, and let it go if it is `chosen`."""
        code = """
            const slider = document.getElementById(arguments[0]);
            slider.value = arguments[1];
            slider.dispatchEvent(new Event("input"));
            if (arguments[2]) slider.dispatchEvent(new Event("change"));"""
        self.js(code, name, value, chosen)

    def box(self, selector: str) -> dict[str, float]:
        return self.js("return document.querySelector(arguments[0]).getBoundingClientRect().toJSON()", selector)

    def picture(self, path: Path) -> None:
        shot = self.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        path.write_bytes(base64.b64decode(shot["data"]))

    def said(self) -> list[str]:
        """What the console got that is wrong."""
        entries = (entry for entry in self.get_log("browser") if entry["level"] in ("SEVERE", "WARNING"))
        # these tests read canvases, and open a file that names no icon
        noise = ("getImageData", "favicon.ico")
        return [json.dumps(entry) for entry in entries if not any(word in entry["message"] for word in noise)]


# --- a photograph of 4:3 that is shown whole, half orange and half blue ---------------------------------------------


def ready(browser: Browser, photographs: int = 1) -> None:
    """Until so many are colored and the shown one is painted."""
    browser.wait(f"document.querySelectorAll('#strip button[data-status=ready]').length === {photographs}")
    browser.wait(
        lambda: (
            not browser.id("divider").get_attribute("hidden")
            and browser.js("return document.getElementById('busy').hidden")
        )
    )
    settled(browser)


def settled(browser: Browser) -> None:
    """Until nothing is asked for and nothing is painted any more."""
    browser.js("window.quiet = 0")
    code = """
        const c = document.getElementById("canvas"), x = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
        let sum = 0;
        for (let i = 0; i < x.length; i += 401) sum = (sum * 31 + x[i]) % 1000003;
        window.quiet = sum === window.before && document.getElementById("busy").hidden ? window.quiet + 1 : 0;
        window.before = sum;
        return window.quiet > 4"""
    browser.wait(lambda: browser.js(code))


def spot(browser: Browser, across: float, down: float) -> tuple[float, float]:
    """Where a place of the shown whole picture, in shares of it, is on the stage, CSS pixels. It is 4:3."""
    width, height = browser.js("return [canvas.clientWidth, canvas.clientHeight]")
    scale = min(0.97 * width / 640, 0.97 * height / 480)
    return width / 2 + (across - 0.5) * 640 * scale, height / 2 + (down - 0.5) * 480 * scale


def color(browser: Browser, across: float, down: float) -> tuple[int, int, int]:
    return browser.pixel(*spot(browser, across, down))


def divide(browser: Browser, share: float) -> None:
    """Drag the divider to a share of the picture."""
    box = browser.box("#stage")
    handle = browser.box("#divider .handle")
    chain = ActionChains(browser, duration=20)
    pointer = chain.w3c_actions.pointer_action
    pointer.move_to_location(int(handle["left"] + handle["width"] / 2), int(handle["top"] + handle["height"] / 2))
    pointer.pointer_down()
    pointer.move_to_location(int(box["left"] + spot(browser, share, 0.5)[0]), int(box["top"] + 60))
    pointer.pointer_up()
    chain.perform()


def shared(browser: Browser) -> float:
    return float(browser.id("divider").get_attribute("aria-valuenow"))


def calls(browser: Browser, name: str) -> list[Any]:
    return [call[1:] for call in browser.js("return stub.calls") if call[0] == name]


def hints(browser: Browser) -> list[str]:
    return browser.js("return [...document.querySelectorAll('.hint')].map((hint) => hint.textContent)")


def messages(browser: Browser) -> list[str]:
    return browser.js("return [...document.querySelectorAll('.message p')].map((words) => words.textContent)")


def put(browser: Browser, across: float, down: float, swatch: int = 3) -> None:
    """Click a place and one of its colors: the fourth is red."""
    browser.click_at(*spot(browser, across, down))
    browser.wait("document.querySelectorAll('#palette-colors button').length === 8")
    browser.js(f"document.querySelectorAll('#palette-colors button')[{swatch}].click()")
    browser.keys(Keys.ESCAPE)
    settled(browser)


def gray(rgb: tuple[int, int, int]) -> bool:
    return max(rgb) - min(rgb) <= 2


def hue(rgb: tuple[int, int, int]) -> str:
    red, green, blue = rgb
    return (
        "gray"
        if gray(rgb)
        else "blue"
        if blue > red
        else "red"
        if red - green > 1.6 * (green - blue) + 20
        else "orange"
    )
