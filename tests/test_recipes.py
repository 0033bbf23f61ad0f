"""The programs of docs/recipes.md, run as they stand there by the engines that they are for."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recolor_fast import Colorizer
from recolor_fast.artefact import runtime
from recolor_fast.photographs import images
from tests.commands import ROOT
from tests.photographs import write_jpegs

pytestmark = pytest.mark.slow

BEAM = Path(sys.prefix, "beam", "bin", "python")  # of the Makefile: Beam asks for an older Pillow than we do


def recipe(heading: str) -> str:
    """The Python of a section."""
    section = re.split(r"^## ", (ROOT / "docs" / "recipes.md").read_text(), flags=re.M)
    [text] = [one for one in section if one.startswith(f"{heading}\n")]
    [program] = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    return program


def run(heading: str, python: str | Path, folder: Path, **environment: str) -> None:
    (folder / "recipe.py").write_text(recipe(heading))
    done = subprocess.run(
        [str(python), "recipe.py"], cwd=folder, env=os.environ | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture
def photographs(tmp_path) -> list[Path]:
    """Five, of two sizes."""
    write_jpegs(tmp_path / "photos", 3)
    wide = write_jpegs(tmp_path / "wide", 2, height=70, width=130)
    return [
        *sorted((tmp_path / "photos").iterdir()),
        *(path.rename(tmp_path / "photos" / f"wide-{path.name}") for path in wide),
    ]


@pytest.mark.skipif(not BEAM.is_file(), reason="needs Beam, for which make test-all makes an environment of its own")
def test_beam(photographs, tmp_path):
    shutil.copy(runtime.shipped("image"), tmp_path)
    (tmp_path / "colored").mkdir()
    run("Beam", BEAM, tmp_path, ORT_DISABLE_TELEMETRY="1")
    assert len(list((tmp_path / "colored").iterdir())) == len(photographs)
    artefact = runtime.load(runtime.shipped("image"), "cpu")
    for path in photographs:
        rgb = images.read_rgb(path.read_bytes())
        colored = images.read_rgb((tmp_path / "colored" / f"{path.name}.png").read_bytes())
        assert not np.array_equal(colored, rgb)
        assert np.abs(colored.astype(int) - artefact.run(rgb[None])[0]).max() <= 1  # of another onnxruntime


@pytest.mark.skipif(not shutil.which("java"), reason="needs Java, which Spark runs on")
def test_spark(photographs, tmp_path):
    pytest.importorskip("pyspark", reason="needs pyspark, of the extra engines")
    from pyarrow import parquet

    places = {"PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    run("Spark", sys.executable, tmp_path, **places)
    rows = parquet.read_table(tmp_path / "colored.parquet").to_pylist()
    colored = {row["path"].rsplit("/", 1)[-1]: row["colored"] for row in rows}
    colorizer = Colorizer(threads=1)
    assert colored == {path.name: colorizer(path.read_bytes()) for path in photographs}


def test_dask(photographs, tmp_path):
    pytest.importorskip("dask", reason="needs dask, of the extra engines")
    run("Dask", sys.executable, tmp_path, PYTHONPATH=str(ROOT))
    colorizer = Colorizer(threads=1)
    colored = {path.name: path.read_bytes() for path in (tmp_path / "colored").iterdir()}
    assert colored == {path.name: colorizer(path.read_bytes()) for path in photographs}
