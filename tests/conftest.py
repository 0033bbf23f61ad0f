"""Tests that need a GPU, a C++ compiler or a browser are skipped by name where there is none; no test uses the cache of
whoever runs it."""

import gc
import random
import shutil
import signal
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

if TYPE_CHECKING:
    from recolor_fast.serve.colorizers import Model
    from tests.browsing import Browser


def pytest_configure() -> None:
    """In the background and under nohup some signals are ignored, by all that tests start as well: not here."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)
    gc.disable()  # until all tests are imported, of which nothing is garbage


def pytest_collection_finish() -> None:
    """Garbage is looked for in what tests make, not in all their modules: that would take half a second each time."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = {}
    if any("gpu" in item.keywords for item in items):
        import torch

        if not torch.cuda.is_available():
            missing["gpu"] = "needs a CUDA device; torch sees none"
    if not shutil.which("g++"):
        missing["compiler"] = "needs a C++ compiler; there is no g++"
    elif not Path(sysconfig.get_path("include"), "Python.h").is_file():
        missing["compiler"] = "needs Python's headers; there is no Python.h"
    absent = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    if absent:
        missing["browser"] = f"needs a browser; there is no {' and no '.join(absent)}"
    for item in items:
        for marker in missing.keys() & set(item.keywords):
            item.add_marker(pytest.mark.skip(reason=missing[marker]))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Numbers drawn without a seed are the same in any order of tests, and alone."""
    random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECOLOR_FAST_CACHE", str(tmp_path_factory.mktemp("cache") / "recolor_fast"))
        yield


@pytest.fixture(autouse=True, scope="session")
def no_pictures_of_runs() -> Iterator[None]:
    """A training in this process draws no results.png, which takes a second of another; tests of it draw it."""
    from recolor_fast.runs import watch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch, "draw", lambda folder, *words: None)
        yield


# --- artefacts and photographs --------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An artefact that paints everything brown."""
    from tests import artefacts

    return artefacts.constant(tmp_path / "sepia.onnx")


@pytest.fixture(scope="session")
def models() -> dict[str, "Model"]:
    """Those of a server that is given none: the one of this package."""
    from recolor_fast.serve import colorizers

    return colorizers.models(threads=1)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder "in" of the working folder, with three photographs in "sub"."""
    from tests.photographs import write_jpegs

    monkeypatch.chdir(tmp_path)
    write_jpegs(tmp_path / "in" / "sub", 3, height=40, width=30)
    return tmp_path / "in"


# --- the page in a browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def page_address() -> Iterator[str]:
    """Where the page is, with a backend of these tests."""
    from tests.browsing import page_with_stub

    with page_with_stub() as address:
        yield address


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="session")
def chromium(downloads: Path) -> Iterator["Browser"]:
    from tests.browsing import Browser

    with Browser(downloads=downloads) as browser:
        yield browser


@pytest.fixture
def browser(chromium: "Browser", page_address: str) -> Iterator["Browser"]:
    """The empty page on a desktop, as if never opened before; after the test the console must have nothing wrong."""
    chromium.fresh(page_address)
    yield chromium
    assert chromium.said() == []


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """A photograph of one gray, 640x480."""
    from tests.browsing import GRAY

    Image.new("L", (640, 480), GRAY).save(tmp_path / "flat.png")
    return tmp_path / "flat.png"
