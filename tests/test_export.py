"""From a trained run to an artefact to a colored photograph."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from recolor_fast import checkpoint, chroma, colorize, images, runs, runtime, train
from recolor_fast.networks.generators import Chroma, build_generator
from recolor_fast.networks.layers import NORMS
from recolor_fast.options import Options, from_dict
from recolor_fast.presets import PRESETS
from tests.photographs import pixels, write_jpegs

_spec = importlib.util.spec_from_file_location("to_onnx", Path(__file__).parent.parent / "export" / "to_onnx.py")
assert _spec is not None
assert _spec.loader is not None
to_onnx = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(to_onnx)


def trained_generator(options: Options) -> torch.nn.Module:
    """A generator whose batch norms hold statistics that are not the initial ones."""
    torch.manual_seed(0)
    generator = build_generator(options)
    with torch.no_grad():
        for _ in range(3):
            generator(torch.randn(2, 1, options.size, options.size))
    return generator.eval()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_jpegs(folder / "photographs", 10, height=70, width=90)
    arguments = (
        "--preset wgan-gp --size 64 --width 4 --images 4 --save-every 4 --device cpu --lpips off --name r".split()
    )
    assert train.main([*arguments, "--data", str(folder / "photographs"), "--runs", str(folder)]) == 0
    return folder / "r"


def test_a_run_becomes_a_proven_artefact(run, capsys):
    assert to_onnx.main([str(run)]) == 0
    said = capsys.readouterr()
    path = Path(said.out.splitlines()[-1])
    assert path == run / "r-chroma.onnx"
    assert "largest difference" in said.err
    assert not list(run.glob(".*"))
    model = onnx.load(path)
    assert model.ir_version <= 10
    assert [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")] == [18]
    assert {o.domain for o in model.opset_import} <= {"", "ai.onnx"}
    assert not any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer)
    artefact = runtime.load(path, "cpu")
    assert artefact.graph == "chroma"
    stored = from_dict(json.loads((run / "options.json").read_text()))
    assert artefact.options == replace(stored, data="photographs", runs="runs")


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("space", ["rgb", "lab"])
def test_onnxruntime_equals_torch_for_any_batch(norm, space, tmp_path):
    options = replace(PRESETS["pix2pix"], size=64, width=8, generator_norm=norm, space=space, equalize="none")
    generator = trained_generator(options)
    path = tmp_path / "a.onnx"
    model = to_onnx.export(options, generator, 0, "chroma")
    onnx.save(model, path)
    assert not any(node.op_type in ("BatchNormalization", "Dropout") for node in model.graph.node)
    artefact, graph = runtime.load(path, "cpu"), Chroma(generator, space).eval()
    for batch in (1, 3):
        gray = np.random.default_rng(batch).integers(0, 256, (batch, 1, 64, 64), dtype=np.uint8)
        with torch.no_grad():
            expected = graph(torch.from_numpy(gray)).numpy().astype(int)
        assert expected.std() > 0
        assert np.abs(artefact.run(gray).astype(int) - expected).max() <= 1


def test_an_artefact_that_differs_is_not_written(run, tmp_path, monkeypatch, capsys):
    class Shifted(Chroma):
        def forward(self, gray):
            return super().forward(gray) + 9

    right = to_onnx.Chroma
    export = to_onnx.export

    def wrong(*args):
        monkeypatch.setattr(to_onnx, "Chroma", Shifted)
        model = export(*args)
        monkeypatch.setattr(to_onnx, "Chroma", right)
        return model

    monkeypatch.setattr(to_onnx, "export", wrong)
    assert to_onnx.main([str(run), "--out", str(tmp_path / "a.onnx")]) == 1
    assert "more than 1 level" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_no_onnx_file_is_refused(run, tmp_path, capsys):
    (tmp_path / "photo.jpg").write_bytes(b"precious")
    assert to_onnx.main([str(run), "--out", str(tmp_path / "photo.jpg")]) == 2
    assert ".onnx" in capsys.readouterr().err
    assert (tmp_path / "photo.jpg").read_bytes() == b"precious"


def test_a_foreign_checkpoint_is_one_error(tmp_path, capsys):
    checkpoint.save(tmp_path / "checkpoints", 1, {"weights": torch.zeros(3)})
    assert to_onnx.main([str(tmp_path)]) == 2
    assert "not a checkpoint of this version" in capsys.readouterr().err


def test_no_run_is_one_error(tmp_path, capsys):
    assert to_onnx.main([str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert str(tmp_path) in said.err
    assert said.out == ""


def test_coloring_is_the_generators_chroma_on_the_full_size_luminance(run, tmp_path):
    """The folder tool's pixels, from the checkpoint by hand."""
    assert to_onnx.main([str(run), "--out", str(tmp_path / "m.onnx")]) == 0
    photograph = images.gray(pixels(3, 150, 210))
    colored = colorize.colorize(runtime.load(tmp_path / "m.onnx", "cpu"), photograph)
    options, generator, _, _ = runs.trained(run)
    prepared = images.source(photograph, 64, options.equalize != "none", options.blur != "none")
    with torch.no_grad():
        cbcr = Chroma(generator, options.space)(torch.from_numpy(prepared)[None, None]).numpy()[0]
    expected = chroma.merge(photograph, cbcr)
    assert colored.shape == (150, 210, 3)
    assert np.abs(colored.astype(int) - expected).max() <= 3  # a level of chroma is up to two of blue, and rounding
    assert np.abs(images.gray(colored).astype(int) - photograph).max() <= 1


def test_spectral_norm_is_divided_out_of_the_artefact(tmp_path):
    """A convolution is all that stays of a convolution: no singular value is computed when coloring."""
    options = Options(preset="gorriz", size=64, width=4, generator="nearest", spectral_norm=True)
    generator = build_generator(options).eval()
    model = to_onnx.export(options, generator, 0, "chroma")
    assert not {"MatMul", "Gemm"} & {node.op_type for node in model.graph.node}
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    gray = torch.randint(0, 256, (3, 1, 64, 64), dtype=torch.uint8)
    assert to_onnx.difference(path, options, generator, gray)[0] <= 1
