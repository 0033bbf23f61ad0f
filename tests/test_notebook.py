"""The notebook of docs/examples, run from its first cell to its last, at the smallest size."""

import base64
import io
import os
from pathlib import Path

import pytest
from PIL import Image

from tests.commands import ROOT

NOTEBOOK = ROOT / "docs" / "examples" / "notebook.ipynb"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of jupyter_client's and traitlets' own
def test_the_notebook_leaves_a_colored_folder_and_shows_it(tmp_path, monkeypatch):
    pytest.importorskip("ipykernel", reason="needs ipykernel, of the extra engines")
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient, of the extra engines")
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    [parameters] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    parameters.source += "\nsize, width, images = 64, 4, 4"
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    pictures = [one.data["image/png"] for one in outputs if one.output_type == "execute_result"]
    sizes = [Image.open(io.BytesIO(base64.b64decode(data))).size for data in pictures]
    assert len(sizes) == 4
    gray, colored = (
        {path.name for path in (tmp_path / "first-colorizer" / name).iterdir()} for name in ("gray", "colored")
    )
    assert gray == colored
    assert sizes[-1] == (150 * len(gray), 450)
    said = "".join(one.text for one in outputs if one.output_type == "stream" and one.name == "stdout")
    assert "{'ok'}" in said
    assert "# wgan-gp-lpips-1-chroma-fp32.onnx" in said


def test_the_notebook_is_kept_without_outputs():
    nbformat = pytest.importorskip("nbformat", reason="needs nbclient, of the extra engines")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    assert Path(NOTEBOOK).stat().st_size < 20_000
