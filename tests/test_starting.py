"""How verbs start: --help and wrong words are answered before anything heavy is imported, missing extras in a line."""

import os
import signal
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path

import pytest

from recolor_fast.artefact import runtime
from recolor_fast.machine import extras, processors, starting

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "torchvision", "onnxruntime", "onnx", "matplotlib", "scipy", "fastapi", "skimage")
PROGRAMS = {
    "train": "runpy.run_module('recolor_fast.train', run_name='__main__')",
    "evaluate": "runpy.run_module('recolor_fast.evaluate', run_name='__main__')",
    "study": "runpy.run_module('recolor_fast.study', run_name='__main__')",
    "demo": "runpy.run_module('recolor_fast.demo', run_name='__main__')",
    "completion": "runpy.run_module('recolor_fast.arguments.completion', run_name='__main__')",
    "colorize": "runpy.run_module('recolor_fast.colorize', run_name='__main__')",
    "to_onnx": "runpy.run_path('export/to_onnx.py', run_name='__main__')",
    "to_safetensors": "runpy.run_path('export/to_safetensors.py', run_name='__main__')",
    "to_tensorrt": "runpy.run_path('export/to_tensorrt.py', run_name='__main__')",
}
NEEDS = {"train": "train", "evaluate": "train", "study": "serve"} | dict.fromkeys(
    ("to_onnx", "to_safetensors", "to_tensorrt"), "train"
)


def program(name: str, *words: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """A verb as a program, after some lines of Python; what it has imported of HEAVY is the last line on stdout."""
    text = (
        f"import atexit, runpy, sys\nsys.path.insert(0, {str(ROOT / 'export')!r})\nsys.argv[1:] = {list(words)}\n"
        f"atexit.register(lambda: print(*[name for name in {HEAVY} if sys.modules.get(name)], sep=','))\n{before}\n"
    )
    return subprocess.run([sys.executable, "-c", text + PROGRAMS[name]], capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name.startswith("to_")])  # verbs: test_cli.py
def test_help_imports_nothing_heavy(name):
    done = program(name, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == ""
    assert "--" in done.stdout or "serve" in done.stdout
    assert done.stderr == ""
    assert "{None}" not in done.stdout


@pytest.mark.parametrize("name", ["train", "evaluate", "to_onnx"])
def test_threads_of_a_verb_wait_for_each_other_briefly(name):
    before = "import os\nos.environ.pop('GOMP_SPINCOUNT', None)\nos.environ.pop('OMP_WAIT_POLICY', None)\n"
    before += "atexit.register(lambda: print('spins', os.environ.get('GOMP_SPINCOUNT')))"
    assert f"spins {processors.SPINS}" in program(name, "--help", before=before).stdout.splitlines()


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_unknown_option_is_named_before_anything_heavy_is_imported(name):
    first = ["run"] if name.startswith("to_") else ["bash"] if name == "completion" else []
    done = program(name, *first, "--frobnicate", "1")
    assert done.returncode == 2
    assert "frobnicate" in done.stderr
    assert done.stdout.splitlines()[-1] == ""


@pytest.mark.skipif(os.name != "posix", reason="no shell")
def test_help_that_nobody_reads_to_its_end_is_no_traceback():
    words = [sys.executable, "-m", "recolor_fast.train", "--help"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(write)
    assert done.stderr == ""


WITHOUT = """
class Absent:
    def find_spec(name, path=None, target=None):
        if name in {}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent)
"""


@pytest.mark.parametrize("name", NEEDS)
def test_without_its_extra_a_verb_names_it_in_one_line(name):
    extra = NEEDS[name]
    words = {"train": (), "evaluate": ("shipped",), "study": ("report", "none.sqlite")}.get(name, ("none",))
    blocked = WITHOUT.format(extras.MODULES[extra].split())
    done = program(name, *words, before=blocked)
    assert done.returncode == 2
    line = done.stderr.splitlines()
    assert len(line) == 1
    assert line[0].startswith("error: ")
    assert line[0].endswith(f" is not installed; {extras.advice(extra)}")
    assert program(name, "--help", before=blocked).returncode == 0


def test_without_a_checkout_an_extra_is_installed_by_the_packages_name(monkeypatch, tmp_path):
    monkeypatch.setattr(extras, "CHECKOUT", tmp_path / "constraints.txt")
    assert extras.lacking("torch") == "torch is not installed; pip install 'recolor-fast[train]'"


@pytest.mark.parametrize("dali", ["", "nvidia-dali-cuda120"])
def test_dali_is_damaged_only_where_it_is_installed(dali, monkeypatch):
    packages = ["nvidia-nvimgcodec-cu13", *filter(None, [dali])]
    monkeypatch.setattr(extras, "packages_distributions", lambda: {"nvidia": packages})
    monkeypatch.setattr(extras, "version", lambda package: "2.4.0")
    if dali:
        wanted = f"{dali} is damaged, it lacks nvidia.dali; {extras.reinstall(dali)}"
    else:
        wanted = f"nvidia.dali is not installed; {extras.advice('train')}"
    assert extras.lacking("nvidia.dali") == wanted


def test_a_package_is_installed_again_in_its_version_with_what_it_needs(monkeypatch, tmp_path):
    monkeypatch.setattr(extras, "CHECKOUT", tmp_path / "constraints.txt")
    monkeypatch.setattr(extras, "version", {"torch": "2.14.1+cpu", "numpy": "2.4.0"}.__getitem__)
    again = "pip install --force-reinstall --no-deps numpy==2.4.0 && pip install numpy==2.4.0"
    assert extras.reinstall("numpy") == again
    again = again.replace("numpy==2.4.0", "torch==2.14.1+cpu")
    assert extras.reinstall("torch") == f"with the index of packages that it came from: {again}"


def test_what_no_extra_brings_is_a_traceback(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x"])
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        starting.run("no_such_module")
    assert capsys.readouterr().err == ""


def test_an_interrupt_in_a_verb_without_an_answer_to_it_is_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "stopping.py").write_text(
        "import gc, signal\nassert not gc.isenabled()\n"
        "def main():\n    assert gc.isenabled()\n    signal.raise_signal(signal.SIGINT)\n    return 0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemExit) as stop:
        starting.run("stopping")
    assert stop.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.skipif(os.name != "posix", reason="no POSIX signals")
def test_an_interrupt_while_a_verb_imports_is_one_line():
    stopping = "import builtins, signal\nreal = builtins.__import__\ndef slow(name, *more, **others):\n"
    stopping += "    if name == 'numpy': signal.raise_signal(signal.SIGINT)\n    return real(name, *more, **others)\n"
    done = program("colorize", "in", "out", before=stopping + "builtins.__import__ = slow")
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr == "interrupted before it began\n"


# --- extras --------------------------------------------------------------------------------------------------------


def test_every_module_of_the_table_is_brought_by_its_extra():
    """By name, as far as package and module are called alike; all of them can be imported where they are installed."""
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras.MODULES) <= set(packages)
    for extra, names in extras.MODULES.items():
        known = " ".join(packages[extra]).replace("-", "_").replace("scikit_image", "skimage")
        for name in set(names.split()) - {"pydantic"}:  # which fastapi brings
            assert name in known
    assert set(extras.RUNTIMES.values()) <= set(packages)
    for package, extra in extras.RUNTIMES.items():
        assert any(requirement.split(">=")[0] == package for requirement in packages[extra])


@pytest.mark.parametrize(
    ("installed", "driver", "expected"),
    [
        ((), "", ["not installed", "[gpu]'"]),
        ((), "no libcuda", ["not installed", "[cpu]'"]),
        (("onnxruntime", "onnxruntime-gpu"), "", ["both", "uninstall -y onnxruntime onnxruntime-gpu", "[gpu]'"]),
        (("onnxruntime", "onnxruntime-gpu"), "no libcuda", ["both", "[cpu]'"]),
        (("onnxruntime",), "no libcuda", []),
        (("onnxruntime-gpu",), "no libcuda", []),
    ],
)
def test_which_onnxruntime_is_installed(installed, driver, expected, monkeypatch):
    def version(name: str) -> str:
        if name not in installed:
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(extras, "version", version)
    monkeypatch.setattr(extras, "find_spec", lambda name: find_spec(name) if installed else None)
    monkeypatch.setattr(extras.sys, "platform", "linux")
    monkeypatch.setattr(extras.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(extras, "nvidia_driver", lambda: driver)
    said = extras.no_onnxruntime()
    assert bool(said) == bool(expected)
    assert all(words in said for words in expected)
    assert said.count("\n") == 0


@pytest.mark.parametrize(
    ("installed", "driver", "machine", "expected"),
    [
        ((), "", "x86_64", "gpu"),
        ((), "no libcuda", "x86_64", "cpu"),
        ((), "", "aarch64", "cpu"),
        (("onnxruntime",), "", "x86_64", "cpu"),
        (("onnxruntime-gpu",), "no libcuda", "x86_64", "gpu"),
    ],
)
def test_what_make_installs_fits_the_machine_and_what_is_there(installed, driver, machine, expected, monkeypatch):
    monkeypatch.setattr(extras, "_installed", lambda package: package in installed)
    monkeypatch.setattr(extras, "nvidia_driver", lambda: driver)
    monkeypatch.setattr(extras.platform, "machine", lambda: machine)
    monkeypatch.setattr(extras.sys, "platform", "linux")
    assert extras.fitting() == expected


def test_make_asks_the_installed_table():
    done = subprocess.run(
        [sys.executable, "-I", "recolor_fast/machine/extras.py"], capture_output=True, text=True, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (0, f"{extras.fitting()}\n")


def test_an_onnxruntime_that_no_package_names_is_taken(monkeypatch):
    monkeypatch.setattr(extras, "_installed", lambda package: False)
    assert extras.no_onnxruntime() == ""


def test_without_onnxruntime_no_model_can_run_and_it_is_said(monkeypatch, capsys, tmp_path):
    from recolor_fast import colorize
    from tests.photographs import write_jpegs

    monkeypatch.setattr(extras, "no_onnxruntime", lambda: "onnxruntime is not installed")
    runtime.ort.cache_clear()
    try:
        write_jpegs(tmp_path / "in", 1)
        assert colorize.main([str(tmp_path / "in"), str(tmp_path / "out")]) == colorize.NO_MODEL
    finally:
        runtime.ort.cache_clear()
    assert capsys.readouterr().err == "error: onnxruntime is not installed\n"
    assert not (tmp_path / "out").exists()
