"""Runs functions of the page's modules in node."""

import base64
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "recolor_fast/page"
NODE = shutil.which("node")
TYPES = {"uint8": "Uint8Array", "float32": "Float32Array"}
DTYPES = {"Uint8Array": np.uint8, "Uint8ClampedArray": np.uint8, "Float32Array": np.float32, "Float64Array": float}

needs_node = pytest.mark.skipif(NODE is None, reason="node is missing")


def call(calls: list[tuple[str, str, list[Any]]]) -> list[Any]:
    """The results of (module, function, arguments); an array goes in and comes out flat. One node for all of them.

    An error that a function throws is its result: {"error": "RangeError: ..."}.
    """
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(PAGE, folder, dirs_exist_ok=True)
        shutil.copy(Path(__file__).with_name("page_math.mjs"), folder)
        Path(folder, "package.json").write_text('{"type": "module"}')
        done = subprocess.run(
            [str(NODE), "page_math.mjs"],
            cwd=folder,
            input=json.dumps(calls, default=_packed).encode(),
            capture_output=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout, object_hook=_unpacked)
    return [one.get("result", one) if "error" in one else one.get("result") for one in found]


def _packed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"type": TYPES[value.dtype.name], "base64": base64.b64encode(np.ascontiguousarray(value)).decode()}
    return value._asdict()


def _unpacked(value: dict[str, Any]) -> Any:
    if "base64" not in value:
        return value
    return np.frombuffer(base64.b64decode(value["base64"]), DTYPES[value["type"]])
