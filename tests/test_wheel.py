"""The wheel: built, installed into a fresh environment with the pinned versions, and used from its console script."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from recolor_fast.photographs import encoders, images
from tests.photographs import pixels

ROOT = Path(__file__).parent.parent
NO_INDEX = re.compile(r"NewConnectionError|ConnectionError|NameResolutionError|ConnectTimeout|Network is unreachable")


def run(*command: object, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """A command outside of the project, which must end with this code. Skips where pip reaches no index."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=cwd, env=environment)
    if "pip" in command and done.returncode and NO_INDEX.search(done.stderr):
        pytest.skip("pip reaches no package index")
    assert done.returncode == code, f"{command}: {done.stdout}{done.stderr}"
    return done


@pytest.mark.slow
def test_a_wheel_in_a_fresh_environment_colors_a_photograph(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(ROOT / "recolor_fast", source / "recolor_fast", ignore=shutil.ignore_patterns("__pycache__"))
    pip = ("-m", "pip", "--disable-pip-version-check")
    run(sys.executable, *pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, source, cwd=tmp_path)
    (wheel,) = tmp_path.glob("recolor_fast-*.whl")
    files = {path.relative_to(source).as_posix() for path in (source / "recolor_fast").rglob("*") if path.is_file()}
    assert files <= {*zipfile.ZipFile(wheel).namelist()}  # the page, texts and models as well
    shutil.rmtree(source)

    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    programs = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    wanted = f"recolor-fast[cpu] @ {wheel.as_uri()}"
    run(programs / "python", *pip, "install", "--quiet", "-c", ROOT / "constraints.txt", wanted, cwd=tmp_path)
    fresh = programs / "recolor-fast"

    told = run(fresh, "--version", cwd=tmp_path).stdout
    assert re.search(rf"^recolor-fast +{re.escape(version('recolor-fast'))}$", told, re.M)
    assert re.search(r"^onnxruntime +\d", told, re.M)
    assert re.search(r"^torch +not installed$", told, re.M)

    (tmp_path / "photographs").mkdir()
    gray = np.repeat(images.gray(pixels(0, 240, 320))[..., None], 3, 2)
    encoders.write(tmp_path / "photographs" / "a.png", gray, None, "PNG", 95)
    done = run(fresh, "colorize", "photographs", "colored", cwd=tmp_path)
    assert "1 colored" in done.stderr
    colored = images.read_rgb((tmp_path / "colored" / "a.png").read_bytes())
    assert colored.shape == gray.shape
    assert np.abs(images.gray(colored).astype(int) - gray[..., 0]).max() <= 1
    assert np.ptp(colored.astype(int), axis=2).mean() > 1

    for verb in ("train", "export", "evaluate"):  # their words are known without torch; to run, they need it
        assert run(fresh, verb, "--help", cwd=tmp_path).stdout.startswith(f"usage: recolor-fast {verb} ")
    said = run(fresh, "export", "none", cwd=tmp_path, code=2).stderr
    assert said.count("\n") == 1
    assert said.endswith("is not installed; pip install 'recolor-fast[train]'\n")
    assert "complete -F" in run(fresh, "completion", "bash", cwd=tmp_path).stdout
