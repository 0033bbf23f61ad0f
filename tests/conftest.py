"""Tests that need a GPU, a C++ compiler or a browser are skipped by name where there is none."""

import shutil
import sysconfig
from pathlib import Path

import pytest
import torch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = {}
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


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """No test uses what a machine happens to have in its cache, nor leaves anything there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECOLOR_FAST_CACHE", str(tmp_path_factory.mktemp("cache") / "recolor_fast"))
        yield
