"""A static site in a headless browser: served on 127.0.0.1, and its backend called as its page calls it."""

import base64
import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.javascript import DTYPES

OTHER_NAME = "photographs.test"  # of 127.0.0.1: a browser trusts this one no more than any address of plain http

CALL = """
const [address, method, given, done] = arguments;
const packed = async (value) => {
  if (value instanceof Blob) {
    return { type: "Blob", media: value.type, base64: await packed64(new Uint8Array(await value.arrayBuffer())) };
  }
  if (ArrayBuffer.isView(value)) {
    const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    return { type: value.constructor.name, base64: await packed64(bytes) };
  }
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return Promise.all(value.map(packed));
  const entries = Object.entries(value).map(async ([name, one]) => [name, await packed(one)]);
  return Object.fromEntries(await Promise.all(entries));
};
const packed64 = (bytes) => new Promise((resolve) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result.split(",")[1] ?? "");
  reader.readAsDataURL(new Blob([bytes]));
});
const unpacked = (value) => {
  if (!value?.base64) return value;
  return new File([Uint8Array.from(atob(value.base64), (letter) => letter.charCodeAt(0))], value.name);
};
import(address + "backend.js")
  .then(({ backend }) => backend[method](...given.map(unpacked)))
  .then(packed)
  .then((result) => done({ result }), ({ status, message }) => done({ error: { status, message: String(message) } }));
"""


class Refusal(Exception):
    """An error of the backend: (status, message)."""


class _Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript"}
    headers_too: dict[str, str]
    seen: list[tuple[str, str]]

    def end_headers(self) -> None:
        for name, value in self.headers_too.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        pass

    def handle_one_request(self) -> None:
        super().handle_one_request()
        if getattr(self, "command", None):
            self.seen.append((self.command, self.path))


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A browser that is closed, or loads another page, hangs up."""


@contextmanager
def served(folder: Path, headers: dict[str, str] | None = None) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A folder served by Python's own server: its address, and the (method, path) of the requests that came."""
    seen: list[tuple[str, str]] = []
    handler = type("Handler", (_Handler,), {"headers_too": headers or {}, "seen": seen})
    with _Server(("127.0.0.1", 0), partial(handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", seen
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def chromium(*words: str, size: tuple[int, int] = (1280, 800)) -> Iterator[Any]:
    """A headless browser with a new profile that knows no address but 127.0.0.1, by the name OTHER_NAME, too."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
    rules = f"--host-resolver-rules=MAP {OTHER_NAME} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    window = f"--window-size={size[0]},{size[1]}"
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", window, rules, *quiet, *words):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, Service(shutil.which("chromedriver"))) as browser:
        browser.set_script_timeout(100)
        yield browser


class Desk:
    """The backend of the page that a browser shows."""

    def __init__(self, browser: Any, address: str) -> None:
        self.browser, self.address = browser, address
        browser.get(address)

    def __call__(self, method: str, *given: Any) -> Any:
        answer = self.browser.execute_async_script(CALL, self.address, method, [*given])
        if "error" in answer:
            raise Refusal(answer["error"]["status"], answer["error"]["message"])
        return _unpacked(answer["result"])

    def add(self, name: str, data: bytes) -> dict[str, Any]:
        """Add a file and wait until it is colored, or has failed."""
        facts = self("add", {"name": name, "base64": base64.b64encode(data).decode()})
        return self.wait(facts["id"])

    def wait(self, id: str) -> dict[str, Any]:
        for _ in range(1000):
            facts = self("photograph", id)
            if facts["status"] in ("ready", "failed"):
                return facts
            self.browser.execute_async_script("setTimeout(arguments[0], 50)")
        raise TimeoutError(facts["status"])

    def offline(self) -> None:
        """Wait until the service worker has all that a visit without a network needs."""
        self("desk")  # the backend's script starts it
        script = "navigator.serviceWorker.ready.then(() => arguments[0](true), () => arguments[0](false))"
        assert self.browser.execute_async_script(script)


def _unpacked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpacked(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "base64" not in value:
        return {name: _unpacked(one) for name, one in value.items()}
    data = base64.b64decode(value["base64"])
    return data if value["type"] == "Blob" else np.frombuffer(data, DTYPES[value["type"]])
