"""The programs of docs/examples that color with an artefact of graph "image" give the pixels that Python does.

The JavaScript one takes onnxruntime-node from npm. The C++ one takes onnxruntime's headers from $ONNXRUNTIME/include
(a release's folder), and its library from $ONNXRUNTIME/lib or, where that has none, from the same npm package.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recolor_fast.artefact import runtime
from tests import artefacts, npm
from tests.commands import ROOT
from tests.photographs import pixels

EXAMPLES = ROOT / "docs" / "examples"
LEVELS = 2  # of 255: what another build of onnxruntime may round otherwise
VERSION = "1.30.0"
NODE = (
    "onnxruntime-node",
    VERSION,
    "twhs1C2C/BFkz1yc5OY0KIU2GUq6DURO7hD4bx5Q2Qy3nAMJwRXW8xU3NVczE29VA9lolLOYepoD8fjTGOfIqw==",
)
COMMON = (
    "onnxruntime-common",
    VERSION,
    "7fdVWjAID1dVhH/G8qK3APARunV4VkBFoCQAP7qp4Wkab0mrorvmc+sqiT+mKXOzDqdjN5j+/Z9nb4gzNPWcyA==",
)
ENVIRONMENT = os.environ | {"ORT_DISABLE_TELEMETRY": "1"}

pytestmark = pytest.mark.slow


def node_package() -> Path:
    """onnxruntime-node's folder; its library beside what node loads."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("onnxruntime-node's own binaries are looked for on x86-64 Linux alone")
    return npm.packed(*NODE)


def ran(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, words)], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)


@pytest.fixture
def javascript(tmp_path: Path) -> list[object]:
    if not shutil.which("node"):
        pytest.skip("needs node")
    for name, folder in (("onnxruntime-node", node_package()), ("onnxruntime-common", npm.packed(*COMMON))):
        shutil.copytree(folder, tmp_path / "node_modules" / name)
    shutil.copy(EXAMPLES / "image.mjs", tmp_path)
    return ["node", "image.mjs"]


@pytest.fixture
def cpp(tmp_path: Path) -> list[object]:
    release = Path(os.environ.get("ONNXRUNTIME", "/usr"))
    [header] = [*release.rglob("include/**/onnxruntime_cxx_api.h")][:1] or [None]
    if header is None:
        pytest.skip("needs onnxruntime's headers: ONNXRUNTIME=FOLDER of its release for C and C++")
    library = next(release.rglob("lib*/**/libonnxruntime.so*"), None)
    if library is None:
        folder = node_package() / "bin" / "napi-v6" / "linux" / "x64"
        library = folder / "libonnxruntime.so.1"
    words = ["g++", "-std=c++17", "-O1", "-Wall", EXAMPLES / "image.cpp", "-isystem", header.parent, library]
    built = ran(*words, f"-Wl,-rpath,{library.parent}", "-o", "image", cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    assert not built.stderr
    return ["./image"]


@pytest.mark.parametrize("program", ["javascript", pytest.param("cpp", marks=pytest.mark.compiler)])
def test_a_program_in_another_language_colors_as_python_does(program, request, tmp_path):
    words = request.getfixturevalue(program)
    rgb = np.repeat(pixels(3, 97, 151)[..., :1], 3, 2)
    Image.fromarray(rgb).save(tmp_path / "gray.ppm")
    for model in (runtime.shipped("image"), artefacts.painter(tmp_path / "painter.onnx")):
        done = ran(*words, model, "gray.ppm", "colored.ppm", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        with Image.open(tmp_path / "colored.ppm") as image:
            colored = np.asarray(image).astype(int)
        expected = runtime.load(model, "cpu").run(rgb[None])[0]
        assert np.abs(colored - expected).max() <= LEVELS
        assert np.ptp(colored, axis=2).mean() > 1
    (tmp_path / "gray.ppm").write_bytes(b"P5 2 2 255\n1234")
    done = ran(*words, model, "gray.ppm", "none.ppm", cwd=tmp_path)
    assert done.returncode == 1
    assert "expected a binary PPM" in done.stderr
    assert not (tmp_path / "none.ppm").exists()
    assert ran(*words, cwd=tmp_path).returncode == 2
