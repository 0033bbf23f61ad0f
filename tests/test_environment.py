"""What is recorded beside a number."""

import pytest
import torch

from recolor_fast import environment as module
from recolor_fast.environment import environment, versions


def test_versions_of_what_is_installed():
    found = versions()
    assert torch.__version__.startswith(found["torch"])
    assert "recolor-fast" in found
    assert "not-installed" not in found


def test_environment_without_a_git_program(monkeypatch):
    monkeypatch.setenv("PATH", "")
    found = environment(torch.device("cpu"))
    assert found["commit"] == ""
    assert "threads" in found["device"]


@pytest.mark.parametrize(
    ("most", "expected"),
    [(2**31, [(-3, 2**30), (-1, 2**31 - 1)]), (2**25, [(-3, 2**30), (-3, 2**25), (-1, 2**31 - 1)])],
)
def test_freed_memory_is_kept_as_far_as_the_library_allows(monkeypatch, most, expected):
    """A threshold that is refused must not be followed by the other setting: that alone would freeze the first low."""
    asked = []

    class Library:
        def __init__(self, name):
            pass

        def mallopt(self, what, value):
            asked.append((what, value))
            return int(what != -3 or value <= most)

    monkeypatch.setattr(module.ctypes, "CDLL", Library)
    module.keep_freed_memory()
    assert asked == expected
    most = 0
    asked.clear()
    module.keep_freed_memory()
    assert asked == [(-3, 2**30), (-3, 2**25)]


def test_without_glibc_nothing_happens(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(module.ctypes, "CDLL", missing)
    module.keep_freed_memory()
