"""From a trained run to an artefact to a colored photograph."""

import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from recolor_fast import colorize, train
from recolor_fast.artefact import proof, runtime
from recolor_fast.artefact.graphs import GRAPHS, Chroma, Image
from recolor_fast.artefact.hints import Hint, draw
from recolor_fast.coloring.palette import colors
from recolor_fast.export import to_onnx
from recolor_fast.networks.generators import build_generator
from recolor_fast.networks.layers import NORMS
from recolor_fast.options import Options, from_dict, from_metadata, only
from recolor_fast.photographs import chroma, images
from recolor_fast.presets import PRESETS
from recolor_fast.runs import checkpoint, learned, run_folder
from tests.photographs import pixels, write_jpegs


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


@pytest.fixture(scope="module")
def following(run, tmp_path_factory) -> Path:
    """A run that has seen hints."""
    folder = tmp_path_factory.mktemp("following")
    flags = "--preset pix2pix-lab --generator lite0 --generator-norm none --init he --encoder-weights random --critic"
    flags = [*flags.split(), "", *"--hints 30 --size 64 --width 4 --batch 2 --images 4 --save-every 4".split()]
    flags += ["--device", "cpu", "--per-class", "None", "--val-per-class", "None", "--name", "f"]
    assert train.main([*flags, "--data", str(run.parent / "photographs"), "--runs", str(folder)]) == 0
    return folder / "f"


@pytest.fixture(scope="module")
def traced() -> Callable[..., onnx.ModelProto]:
    """In place of `to_onnx.export`, for what is made of the runs here: each graph is traced once, int8 as fp32."""
    trace, models = to_onnx.export, {}

    def export(options, generator, graph, precision, *rest):
        key = graph, precision == "fp16", rest
        if key not in models:
            models[key] = trace(options, generator, graph, precision, *rest)
        return copy.deepcopy(models[key])

    return export


@pytest.fixture(scope="module")
def exported(run, following, traced, tmp_path_factory) -> Callable[[str, str], Path]:
    """The artefact of a run, of a graph and precision; each is made once."""
    folder = tmp_path_factory.mktemp("artefacts")

    def export(graph: str, precision: str = "fp32") -> Path:
        path = folder / f"r-{graph}-{precision}.onnx"
        if not path.exists():
            source = following if graph == "hints" else run
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(to_onnx, "export", traced)
                assert to_onnx.main([str(source), "--graph", graph, "--precision", precision, "--out", str(path)]) == 0
        return path

    return export


def test_a_run_becomes_a_proven_artefact(run, traced, monkeypatch, capsys):
    monkeypatch.setattr(to_onnx, "export", traced)
    assert to_onnx.main([str(run)]) == 0
    said = capsys.readouterr()
    path = Path(said.out.splitlines()[-1])
    assert path == run / "r-chroma-fp32.onnx"
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
    assert from_metadata(artefact.metadata["options"]) == replace(only(Options, stored), data="photographs")


def test_saturation_is_part_of_the_artefact_and_of_its_proof(run, tmp_path, capsys):
    options = replace(run_folder.stored_options(run), init_sigma=0.2)
    trained = learned.Trained(options, trained_generator(options), None, 0)
    to_onnx.write(to_onnx.Arguments(run, saturation=0.5, photographs=1), trained, tmp_path / "half.onnx")
    artefact = runtime.load(tmp_path / "half.onnx", "cpu")
    assert artefact.metadata["saturation"] == "0.5"
    gray = images.source(images.gray(pixels(1)), options)[None, None]
    whole = to_onnx.in_torch(options, trained.generator, "chroma")(gray).astype(int) - 128
    half = artefact.run(gray).astype(int) - 128
    assert np.abs(whole).max() > 10
    assert np.abs(half - whole / 2).max() <= 1
    assert to_onnx.main([str(run), "--saturation", "5"]) == 2
    assert "saturation 5.0: expected 0 to 4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("norm", "space"),
    [
        pytest.param(norm, space, marks=[] if (norm == "none") == (space == "lab") else pytest.mark.slow)
        for norm in NORMS
        for space in ("rgb", "lab")
    ],
)
def test_onnxruntime_equals_torch_for_any_batch(norm, space, tmp_path):
    options = replace(PRESETS["pix2pix"], size=64, width=8, generator_norm=norm, space=space, equalize="none")
    generator = trained_generator(options)
    path = tmp_path / "a.onnx"
    model = to_onnx.export(options, generator, "chroma", "fp32")
    path.write_bytes(to_onnx.finish(model, metadata(options, "chroma", "fp32")))
    slow = {"BatchNormalization", "Dropout", "ConvTranspose"}
    assert not slow & {node.op_type for node in model.graph.node}
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    powers = [float(constants[node.input[1]]) for node in model.graph.node if node.op_type == "Pow"]
    assert set(powers) <= {2.0, 3.0}  # products in fact; others are exp and log
    artefact, graph = runtime.load(path, "cpu"), Chroma(generator, space).eval()
    for batch in (1, 3):
        gray = np.random.default_rng(batch).integers(0, 256, (batch, 1, 64, 64), dtype=np.uint8)
        with torch.no_grad():
            expected = graph(torch.from_numpy(gray)).numpy().astype(int)
        assert expected.std() > 0
        assert np.abs(artefact.run(gray).astype(int) - expected).max() <= 1


def test_an_artefact_that_differs_is_not_written(run, traced, tmp_path, monkeypatch, capsys):
    in_torch = to_onnx.in_torch
    monkeypatch.setattr(to_onnx, "export", traced)
    monkeypatch.setattr(to_onnx, "in_torch", lambda *given: lambda *inputs: in_torch(*given)(*inputs) + 9)
    assert to_onnx.main([str(run), "--out", str(tmp_path / "a.onnx")]) == 1
    assert "expected at most 1 for fp32" in capsys.readouterr().err
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


def test_coloring_is_the_generators_chroma_on_the_full_size_luminance(run, exported):
    """The folder tool's pixels, from the checkpoint by hand."""
    photograph = images.gray(pixels(3, 150, 210))
    colored = colorize.colorize(runtime.load(exported("chroma"), "cpu"), photograph)
    options, generator, _, _ = learned.trained(run)
    prepared = images.source(photograph, options)
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
    model = to_onnx.export(options, generator, "chroma", "fp32")
    assert not {"MatMul", "Gemm"} & {node.op_type for node in model.graph.node}
    path = tmp_path / "m.onnx"
    path.write_bytes(to_onnx.finish(model, metadata(options, "chroma", "fp32")))
    gray = np.random.default_rng(0).integers(0, 256, (3, 1, 64, 64), dtype=np.uint8)
    expected = to_onnx.in_torch(options, generator, "chroma")(gray).astype(int)
    assert np.abs(to_onnx.in_onnxruntime(path)(gray) - expected).max() <= 1


# --- graphs and precisions -----------------------------------------------------------------------------------------


SLOW = {("image", "fp16"), ("image", "int8"), ("hints", "fp16")}  # a network traced once more, or run for long


@pytest.mark.parametrize(
    ("graph", "precision"),
    [
        pytest.param(graph, precision, marks=pytest.mark.slow if (graph, precision) in SLOW else [])
        for graph in GRAPHS
        for precision in proof.BOUNDS
    ],
)
def test_every_graph_in_every_precision_carries_its_proof(graph, precision, exported):
    path = exported(graph, precision)
    artefact = runtime.load(path, "cpu")
    assert (artefact.graph, artefact.precision) == (graph, precision)
    stored = json.loads(artefact.metadata["proof"])
    assert stored["pictures"] == 3
    assert not proof.excess(proof.Proof(**stored), precision)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    kinds = {node.op_type for node in model.graph.node}
    types = {tensor.data_type for tensor in model.graph.initializer}
    assert ("QuantizeLinear" in kinds) == (precision == "int8")
    assert (onnx.TensorProto.FLOAT16 in types) == (precision == "fp16")
    assert "ConvTranspose" not in kinds
    assert str(Path(to_onnx.__file__).parent.parent).encode() not in path.read_bytes()  # no path of this machine


def test_int8_leaves_color_arithmetic_and_tanh_alone(exported):
    model = onnx.load(exported("chroma", "int8"))
    producers = {output: node for node in model.graph.node for output in node.output}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 12  # six halvings, six doublings
    for node in convolutions:
        assert {producers[name].op_type for name in node.input} == {"DequantizeLinear"}
    (tanh,) = (node for node in model.graph.node if node.op_type == "Tanh")
    after = {tanh.output[0]}
    for node in model.graph.node:  # in order of computation
        if after & set(node.input):
            assert node.op_type not in ("QuantizeLinear", "DequantizeLinear")
            after |= set(node.output)
    assert model.graph.output[0].name in after
    consumers = {name: node for node in model.graph.node for name in node.input}
    shuffles = [node for node in model.graph.node if node.op_type == "DepthToSpace"]
    assert len(shuffles) == 6
    for node in shuffles[:-1]:  # the last one goes to tanh
        after = consumers[node.output[0]]
        while after.op_type == "Slice":
            after = consumers[after.output[0]]
        assert after.op_type == "QuantizeLinear"
        assert list(after.input)[1:] == list(producers[node.input[0]].input)[1:]  # bytes are moved, not converted
    weights = [tensor for tensor in model.graph.initializer if len(tensor.dims) == 4]
    assert {tensor.data_type for tensor in weights} == {onnx.TensorProto.INT8}


def test_an_image_artefact_takes_any_number_and_size(run, exported):
    options, generator, _, _ = learned.trained(run)
    module, artefact = Image(generator, options), runtime.load(exported("image"), "cpu")
    for count, height, width in ((1, 1, 1), (3, 1, 7), (1, 64, 64), (2, 86, 110), (1, 301, 200)):
        rgb = np.stack([pixels(number, height, width) for number in range(count)])
        with torch.no_grad():
            expected = module(torch.from_numpy(rgb)).numpy().astype(int)
        found = artefact.run(rgb)
        assert found.dtype == np.uint8
        assert found.shape == rgb.shape
        assert np.abs(found - expected).max() <= 1


def test_a_run_without_hints_has_no_graph_that_follows_them(run, capsys):
    assert to_onnx.main([str(run), "--graph", "hints"]) == 2
    assert "has not learned to follow hints; train one with --hints 30" in capsys.readouterr().err


def test_an_export_that_follows_hints_has_them_and_a_palette(exported, tmp_path):
    artefact = runtime.load(exported("hints"), "cpu")
    gray = np.full((1, 1, 64, 64), 128, np.uint8)
    planes = draw([Hint(32, 32, "#b06080")], 64, 64, 64)[None]
    free, asked = artefact.run(gray).astype(int), artefact.run(gray, planes).astype(int)
    assert np.abs(asked - free)[0, :, 32, 32].max() > 10
    assert set(json.loads(artefact.metadata["palette"])) >= {"all"}
    assert colors(artefact, gray[0, 0], 3, 4)


def test_calibration_takes_the_photographs_it_is_given(run, traced, tmp_path, monkeypatch):
    monkeypatch.setattr(to_onnx, "export", traced)
    write_jpegs(tmp_path / "others", 5, first=20)
    seen = []
    quantized = to_onnx.quantized

    def watched(model, batches, percentile):
        seen.extend(batches)
        return quantized(model, iter(seen), percentile)

    monkeypatch.setattr(to_onnx, "quantized", watched)
    arguments = [str(run), "--precision", "int8", "--out", str(tmp_path / "m.onnx"), "--calibration-photographs", "3"]
    assert to_onnx.main([*arguments, "--calibrate", str(tmp_path / "others")]) == 0
    assert len(seen) == 3
    assert {batch.shape for (batch,) in seen} == {(1, 1, 64, 64)}


def test_a_folder_to_calibrate_on_that_is_missing_is_one_error(run, tmp_path, capsys):
    arguments = [
        str(run),
        "--precision",
        "int8",
        "--calibrate",
        str(tmp_path / "none"),
        "--out",
        str(tmp_path / "m.onnx"),
    ]
    assert to_onnx.main(arguments) == 2
    assert "none" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_compare_prints_a_row_for_torch_and_each_artefact(run, exported, capsys):
    for path in (exported("chroma", "fp32"), exported("chroma", "int8")):
        shutil.copy(path, run)
    before = sorted(run.iterdir())
    capsys.readouterr()
    assert to_onnx.main([str(run), "--compare"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    rows = [dict(zip(header.split(), line.split())) for line in lines]
    assert [row["artefact"] for row in rows] == ["torch", "r-chroma-fp32.onnx", "r-chroma-int8.onnx"]
    assert float(rows[2]["MB"]) < float(rows[1]["MB"])
    assert all(float(row["images/s"]) > 0 and float(row["psnr"]) > 5 for row in rows)
    assert float(rows[1]["psnr"]) == pytest.approx(float(rows[0]["psnr"]), abs=0.05)
    assert float(rows[1]["largest"]) <= 1
    assert [int(row["seen"]) for row in rows] == [learned.trained(run).images] * 3
    assert sorted(run.iterdir()) == before
    for path in run.glob("*.onnx"):
        path.unlink()


def test_no_photographs_to_calibrate_on_is_one_error(run, capsys):
    assert to_onnx.main([str(run), "--precision", "int8", "--calibration-photographs", "0"]) == 2
    assert "expected 1 or more" in capsys.readouterr().err


def test_compare_without_artefacts_is_one_error(tmp_path, run, capsys):
    shutil.copytree(run, tmp_path / "r", ignore=shutil.ignore_patterns("*.onnx"))
    assert to_onnx.main([str(tmp_path / "r"), "--compare"]) == 2
    assert "export one first" in capsys.readouterr().err


def metadata(options: Options, graph: str, precision: str) -> dict[str, str]:
    return {"graph": graph, "precision": precision, "options": json.dumps(asdict(options))}
