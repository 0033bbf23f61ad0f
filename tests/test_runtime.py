"""Artefacts: what is one runs, and what is none is refused with a sentence that names it."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.external_data_helper import set_external_data

from recolor_fast import images, runtime
from recolor_fast.options import Options
from tests import artefacts

GRAY = np.random.default_rng(0).integers(0, 256, (3, 1, 64, 64), dtype=np.uint8)


def test_an_artefact_runs_and_carries_its_options(tmp_path: Path) -> None:
    options = replace(artefacts.OPTIONS, equalize="none", blur="both", terms=(("l1", 7.0),))
    loaded = runtime.load(artefacts.echo(tmp_path / "a.onnx", options), "cpu")
    assert (loaded.options, loaded.graph, loaded.provider) == (options, "chroma", "CPUExecutionProvider")
    cbcr = loaded.run(GRAY)
    assert cbcr.dtype == np.uint8
    assert np.array_equal(cbcr, np.concatenate([GRAY, GRAY], axis=1))


def test_constant_chroma(tmp_path: Path) -> None:
    cbcr = runtime.load(artefacts.constant(tmp_path / "a.onnx", (3, 250)), "cpu").run(GRAY)
    assert cbcr.shape == (3, 2, 64, 64)
    assert (cbcr[:, 0] == 3).all()
    assert (cbcr[:, 1] == 250).all()


def set_metadata(**values: str):
    def edit(model: onnx.ModelProto) -> None:
        kept = {entry.key: entry.value for entry in model.metadata_props}
        helper.set_model_props(model, kept | {f"recolor_fast.{key}": value for key, value in values.items()})

    return edit


def rename_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = model.graph.node[-1].output[0] = "rgb"


CHANGES = {
    "no metadata": (lambda model: model.ClearField("metadata_props"), "not an export of recolor_fast"),
    "unknown graph": (set_metadata(graph="rgb"), "graph 'rgb', expected chroma"),
    "options no JSON": (set_metadata(options="{"), "options cannot be read"),
    "options a list": (set_metadata(options="[1]"), "options cannot be read"),
    "other size": (set_metadata(options=json.dumps(asdict(Options(size=128)))), r"\(N,1,128,128\)"),
    "other output": (rename_output, "output .*'rgb'.*, expected cbcr"),
    "unknown operator": (lambda model: model.graph.node[0].MergeFromString(b"\x22\x03Foo"), "export it again"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_model_is_refused_by_name(name: str, tmp_path: Path) -> None:
    change, words = CHANGES[name]
    path = artefacts.change(artefacts.echo(tmp_path / "odd.onnx"), change)
    with pytest.raises(runtime.BadArtefact, match=rf"odd\.onnx: .*{words}") as caught:
        runtime.load(path, "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html>404</html>", b"\x00" * 100, b"ORTM" * 20, "half"])
def test_a_file_that_is_no_model_is_refused_by_name(content: bytes | str, tmp_path: Path) -> None:
    path = artefacts.constant(tmp_path / "odd.onnx")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content == "half" else bytes(content))  # type: ignore[arg-type]
    with pytest.raises(runtime.BadArtefact, match=r"odd\.onnx"):
        runtime.load(path, "cpu")


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.onnx", tmp_path):
        with pytest.raises(runtime.BadArtefact, match=path.name):
            runtime.load(path, "cpu")


@pytest.mark.parametrize("place", ["beside the model", "working folder"])
def test_external_data_is_never_read(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def externalize(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        data = np.full(1024, 9, np.uint8).tobytes()
        (tmp_path / "secret.bin").write_bytes(data)
        tensor.raw_data = data
        tensor.dims[:] = [1024]
        set_external_data(tensor, "secret.bin", length=1024)
        tensor.ClearField("raw_data")
        model.graph.node.insert(0, helper.make_node("ReduceMax", ["long"], ["color"], keepdims=1))
        tensor.name = "long"

    if place == "working folder":
        monkeypatch.chdir(tmp_path)
    path = artefacts.change(artefacts.constant(tmp_path / "odd.onnx"), externalize)
    with pytest.raises(runtime.BadArtefact, match="one file"):
        runtime.load(path, "cpu")


def test_the_external_data_above_would_be_read_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = helper.make_tensor("color", TensorProto.FLOAT, [64], b"\0" * 256, raw=True)
    (tmp_path / "secret.bin").write_bytes(np.full(64, 9, np.float32).tobytes())
    set_external_data(tensor, "secret.bin")
    tensor.ClearField("raw_data")
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [64])
    graph = helper.make_graph([helper.make_node("Identity", ["color"], ["y"])], "g", [], [value], [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    monkeypatch.chdir(tmp_path)
    session = runtime.onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(None, {})[0][0] == 9


def test_device_cuda_without_cuda_says_what_is_missing(tmp_path: Path) -> None:
    missing = runtime.cuda_missing()
    if not missing:
        pytest.skip("CUDA is here")
    path = artefacts.constant(tmp_path / "a.onnx")
    with pytest.raises(ValueError, match="device cuda: ") as caught:
        runtime.load(path, "cuda")
    assert missing in str(caught.value)
    assert not isinstance(caught.value, runtime.BadArtefact)
    assert runtime.load(path, "auto").provider == "CPUExecutionProvider"


def test_a_silent_fallback_is_an_error_for_cuda_and_fine_for_auto(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not runtime.cuda_missing():
        pytest.skip("CUDA is here")
    monkeypatch.setattr(runtime, "cuda_missing", lambda: "")
    path = artefacts.constant(tmp_path / "a.onnx")
    with pytest.raises(ValueError, match="device cuda: onnxruntime cannot use it"):
        runtime.load(path, "cuda")
    assert runtime.load(path, "auto").provider == "CPUExecutionProvider"


def test_an_unknown_device_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="device gpu: expected auto, cpu or cuda"):
        runtime.load(artefacts.constant(tmp_path / "a.onnx"), "gpu")  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_loading_prints_nothing(device: str, tmp_path: Path) -> None:
    path = artefacts.constant(tmp_path / "a.onnx")
    code = f"from recolor_fast import runtime; runtime.load({str(path)!r}, {device!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=Path(__file__).parents[1])
    assert (done.stdout, done.stderr) == (b"", b"")


def test_threads_follow_the_affinity() -> None:
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system has no affinity")
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert images.threads() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert images.threads() == len(before)


def test_an_artefact_of_a_version_with_other_training_options_loads(tmp_path):
    path = artefacts.constant(tmp_path / "newer.onnx")
    values = asdict(artefacts.OPTIONS) | {"option_of_a_later_version": 9}
    artefacts.change(path, set_metadata(options=json.dumps(values)))
    assert runtime.load(path, "cpu").options == artefacts.OPTIONS
