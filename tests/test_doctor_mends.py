"""Every command that doctor can tell: that pip, apt-get and the shell take it, and that it is of known packages.

Those of findings that need a stand-in are looked at where the tests of doctor make them: `looked_at` of mends.py.
"""

from pathlib import Path

import pytest

from recolor_fast.doctor import coloring, training
from recolor_fast.doctor.apart import reinstall
from recolor_fast.doctor.table import GROUPS, speeds
from recolor_fast.machine import extras
from recolor_fast.photographs import libraries
from tests.mends import EXTRAS, ROOT, checked

EVERY = [check for group in (*GROUPS, *speeds(1, True)) for check in group]


@pytest.fixture(params=["checkout", "wheel"])
def place(request, monkeypatch) -> str:
    """Where the package lies."""
    if request.param == "wheel":
        monkeypatch.setattr(extras, "CHECKOUT", Path("/no/such/constraints.txt"))
    return request.param


def test_what_installs_an_extra_or_a_package_again(place):
    for extra in EXTRAS:
        [[program, *words]] = checked(extras.advice(extra))
        assert program == "pip"
        assert words[-1] == (f"{ROOT}[{extra}]" if place == "checkout" else f"recolor-fast[{extra}]")
    for package in {check.package for check in EVERY} - {""}:
        again, lacking = checked(reinstall(package))
        assert {"--force-reinstall", "--no-deps"} <= set(again)
        assert again[-len(package.split()) :] == lacking[-len(package.split()) :]
    assert checked(reinstall("")) == []


def test_what_brings_providers_and_libraries(place, monkeypatch):
    for gpu in (True, False):
        monkeypatch.setattr(coloring, "has_gpu", lambda gpu=gpu: gpu)
        for name in ("cpu", "cuda", "openvino", "tensorrt"):
            assert checked(coloring.mending(name)), name
    for library in libraries.LIBRARIES.values():
        assert checked(f"{extras.pip()} {library.package}")
    assert checked(training._with_cuda())[0][-2:] == checked(training._with_cuda())[1][-2:]


def test_a_runtime_is_installed_again_as_the_one_that_is_there(monkeypatch):
    monkeypatch.setattr(extras, "_installed", lambda name: "1.31.1" if name == "onnxruntime-gpu" else "")
    again, lacking = checked(reinstall("onnxruntime"))
    assert again[-1] == lacking[-1] == "onnxruntime-gpu==1.31.1"


def test_both_runtimes_at_once(monkeypatch):
    monkeypatch.setattr(extras, "_installed", lambda name: "1.31.1")
    remove, install = checked(extras.no_onnxruntime().partition("; ")[2])
    assert remove == ["pip", "uninstall", "-y", "onnxruntime", "onnxruntime-gpu"]
    assert install[-2] == "-e"


def test_a_torch_of_another_index_is_told_as_such(monkeypatch):
    monkeypatch.setattr(extras, "_installed", lambda name: "2.14.1+cpu")
    assert reinstall("torch").startswith("with the index of packages that it came from: ")
    assert checked(reinstall("torch"))[0][-1] == "torch==2.14.1+cpu"
    assert checked(training._with_cuda())[0][-2:] == ["torch==2.14.1", "torchvision==2.14.1"]


def test_the_packages_own_files_come_from_where_it_came(monkeypatch):
    assert checked(extras.reinstall_own())[0][0] == "git"
    monkeypatch.setattr(extras, "CHECKOUT", Path("/no/such/constraints.txt"))

    class Told:
        text: str | None = f'{{"url": "{ROOT.as_uri()}", "dir_info": {{}}}}'

        def read_text(self, name: str) -> str | None:
            return self.text

    monkeypatch.setattr(extras, "_installed", lambda name: "0.1.0")
    monkeypatch.setattr(extras, "distribution", lambda name: Told())
    assert checked(extras.reinstall_own()) == [["pip", "install", "--force-reinstall", "--no-deps", ROOT.as_uri()]]
    Told.text = None
    assert checked(extras.reinstall_own())[0][-1] == "recolor-fast"


def test_a_bad_command_is_found():
    for bad in ("pip install --no-such-option torch", "pip install no-such-package", "sudo apt-get install gcc-99"):
        with pytest.raises((AssertionError, SystemExit)):
            checked(bad)
    with pytest.raises(AssertionError):
        checked("type something")
