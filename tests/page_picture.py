"""The picture of docs/serving.md, docs/page.jpg: python -m tests.page_picture [FILE]. Needs chromium.

The photograph, the astronaut of scikit-image (NASA, public domain), is gray when it is added. Four hints say that the
suit is orange.
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from selenium.webdriver.common.keys import Keys
from skimage import data

from recolor_fast.photographs import images
from tests.browsing import Browser, ready, settled
from tests.test_page_served import serving

OTHERS = ("coffee", "chelsea", "rocket")
SUIT = ((0.24, 0.62), (0.3, 0.86), (0.62, 0.7), (0.66, 0.54))  # shares of the photograph's sides
ORANGE = "#d0602a"
DIVIDER = 35  # percent
QUALITY = 88


def gray(name: str, folder: Path) -> Path:
    path = folder / f"{name}.png"
    Image.fromarray(images.gray(getattr(data, name)())).save(path)
    return path


def main(out: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "state") as address, Browser() as browser:
        browser.fresh(address)
        browser.add(*(gray(name, Path(folder)) for name in ("astronaut", *OTHERS)))
        ready(browser, 1 + len(OTHERS))
        browser.js("document.getElementById('divider').focus()")
        browser.keys(Keys.HOME, *(Keys.RIGHT,) * (DIVIDER // 2))
        box = browser.box("#stage")
        side = 0.97 * box["height"]
        own = "const own = document.getElementById('palette-own'); own.value = arguments[0];"
        for across, down in SUIT:
            browser.keys(Keys.ESCAPE)
            browser.click_at(box["width"] / 2 + (across - 0.5) * side, box["height"] / 2 + (down - 0.5) * side)
            browser.wait("document.querySelectorAll('#palette-colors button').length > 1")
            browser.js(own + "for (const name of ['input', 'change']) own.dispatchEvent(new Event(name))", ORANGE)
        browser.js("document.activeElement.blur()")
        settled(browser)
        browser.picture(Path(folder) / "page.png")
        encoded = io.BytesIO()
        Image.open(Path(folder) / "page.png").convert("RGB").save(encoded, "JPEG", quality=QUALITY, optimize=True)
        out.write_bytes(encoded.getvalue())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "docs" / "page.jpg")
