"""Artefacts: what is one runs, and what is none is refused with a sentence that names it."""

import importlib.util
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.external_data_helper import set_external_data

from recolor_fast.artefact import engines, plain, runtime
from recolor_fast.machine import processors
from recolor_fast.options import Options, only
from recolor_fast.photographs import images
from recolor_fast.photographs.preparation import Preparation
from tests import artefacts

GRAY = np.random.default_rng(0).integers(0, 256, (3, 1, 64, 64), dtype=np.uint8)


def test_an_artefact_runs_and_carries_its_options(tmp_path: Path) -> None:
    options = replace(artefacts.OPTIONS, equalize="none", blur="both", terms=(("l1", 7.0),))
    loaded = runtime.load(artefacts.echo(tmp_path / "a.onnx", options), "cpu")
    assert loaded.options == only(Preparation, options)
    assert (loaded.graph, loaded.provider) == ("chroma", "CPUExecutionProvider")
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


def fix_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def custom(op: str, domain: str):
    def edit(model: onnx.ModelProto) -> None:
        model.opset_import.append(helper.make_opsetid(domain, 1))
        model.graph.node[0].op_type, model.graph.node[0].domain = op, domain

    return edit


def inside_an_if(node: onnx.NodeProto):
    """The node, dead, in a branch of an If in a branch of an If."""

    def branch(nodes: list[onnx.NodeProto]) -> onnx.GraphProto:
        one = helper.make_node("Constant", [], ["one"], value=helper.make_tensor("one", TensorProto.FLOAT, [], [1]))
        return helper.make_graph(
            [*nodes, one], "branch", [], [helper.make_tensor_value_info("one", TensorProto.FLOAT, [])]
        )

    def edit(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
        inner = helper.make_node("If", ["yes"], ["x"], then_branch=branch([node]), else_branch=branch([]))
        outer = helper.make_node("If", ["yes"], ["unused"], then_branch=branch([inner]), else_branch=branch([]))
        model.graph.node.append(outer)

    return edit


def external(tensor: onnx.TensorProto) -> onnx.TensorProto:
    set_external_data(tensor, "secret.bin", length=4)
    tensor.ClearField("raw_data")
    return tensor


def floats(count: int = 1) -> onnx.TensorProto:
    return helper.make_tensor("t", TensorProto.FLOAT, [count], b"\0" * 4 * count, raw=True)


def add_sparse(model: onnx.ModelProto) -> None:
    values, indices = floats(), helper.make_tensor("i", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(external(values), indices, [4]))


def add_function(model: onnx.ModelProto) -> None:
    relu, opset = helper.make_node("Relu", ["a"], ["b"]), helper.make_opsetid("", 18)
    model.functions.append(helper.make_function("", "Concat", ["a"], ["b"], [relu], [opset]))


CHANGES = {
    "no metadata": (lambda model: model.ClearField("metadata_props"), "not an export of recolor_fast"),
    "unknown graph": (set_metadata(graph="rgb"), "graph 'rgb', expected chroma or image"),
    "other graph": (set_metadata(graph="image"), "input .*'gray'.*, expected rgb"),
    "unknown precision": (set_metadata(precision="fp4"), "precision 'fp4', expected fp32 or fp16 or int8"),
    "options no JSON": (set_metadata(options="{"), "options cannot be read"),
    "options a list": (set_metadata(options="[1]"), "options cannot be read"),
    "options too deep": (set_metadata(options="[" * 100_000), "options cannot be read"),
    "other size": (set_metadata(options=json.dumps(asdict(Options(size=128)))), r"\(any,1,128,128\)"),
    "other output": (rename_output, "output .*'rgb'.*, expected cbcr"),
    "batch of one only": (fix_batch, r"input .*\[1, 1, 64, 64\].*, expected gray"),
    "unknown operator": (lambda model: model.graph.node[0].MergeFromString(b"\x22\x03Foo"), "export it again"),
    "custom operator": (custom("Concat", "mine"), "operators of 'mine', expected those of ONNX alone"),
    "onnxruntime's own operator": (custom("Gelu", "com.microsoft"), "operators of 'com.microsoft'"),
    "compiled code": (custom("EPContext", "com.microsoft"), "operators of 'com.microsoft'"),
    "custom operator in a branch": (inside_an_if(helper.make_node("Foo", [], ["y"], domain="mine")), "'mine'"),
    "functions": (add_function, "functions of its own"),
    "training": (lambda model: model.training_info.add(), "a training graph"),
    "external data": (lambda model: model.graph.initializer.append(external(floats())), "external data"),
    "external data in a branch": (
        inside_an_if(helper.make_node("Constant", [], ["y"], value=external(floats()))),
        "external data",
    ),
    "external sparse data": (add_sparse, "external data"),
    "opset of the future": (
        lambda model: setattr(model.opset_import[0], "version", 99),
        "newer than onnxruntime .*install a newer one",
    ),
    "format of the future": (lambda model: setattr(model, "ir_version", 99), "newer than onnxruntime .*IR version"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_model_is_refused_by_name(name: str, tmp_path: Path) -> None:
    change, words = CHANGES[name]
    path = artefacts.change(artefacts.echo(tmp_path / "odd.onnx"), change)
    with pytest.raises(runtime.BadArtefact, match=rf"odd\.onnx: .*{words}") as caught:
        runtime.load(path, "cpu")
    assert "\n" not in str(caught.value)


FILES = {
    "empty.onnx": (b"", "empty"),
    "page.onnx": (b"<!DOCTYPE html><html>404</html>", "a web page"),
    "text.onnx": (b"Not found\n", "no ONNX model at all"),
    "photo.jpg": (b"\xff\xd8\xff\xe0\0\x10JFIF", "no ONNX model at all"),
    "zeros.onnx": (b"\0" * 100_000, "no ONNX model at all"),
    "a.ort": (b"\x18\0\0\0ORTM" + b"\0" * 100, r"\.ort"),
    "renamed.onnx": (b"\x18\0\0\0ORTM" + b"\0" * 100, r"\.ort"),
    "a.engine": (b"anything at all", "native code"),
    "a.plan": (b"anything at all", "native code"),
    "engine.onnx": (b"ftrt" + b"\0" * 100, "native code"),
    "a.pt2": (b"PK\x03\x04 a zip", "PyTorch"),
    "weights.onnx": (b"\x80\x02}q\0.", "PyTorch"),
    "pointer.onnx": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_model_is_refused_by_name(name: str, tmp_path: Path) -> None:
    content, words = FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(runtime.BadArtefact, match=rf"{name}: .*{words}") as caught:
        runtime.load(tmp_path / name, "cpu")
    assert "\n" not in str(caught.value)


def test_a_file_larger_than_any_model_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = artefacts.constant(tmp_path / "huge.onnx")
    with open(path, "r+b") as file:
        file.truncate(2**31)  # a hole: it takes no room
    with pytest.raises(runtime.BadArtefact, match=r"huge.onnx: 2,147,483,648 bytes, an ONNX file has at most"):
        runtime.load(path, "cpu")


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(runtime.BadArtefact, match="no regular file"):
        runtime.load(tmp_path / "pipe.onnx", "cpu")


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    """Cut anywhere: the walk sees it, or what is left is whole messages, and onnxruntime or the contract see it."""
    whole = artefacts.constant(tmp_path / "a.onnx").read_bytes()
    for length in [*range(0, 300, 3), *np.random.default_rng(0).integers(300, len(whole), 60)]:
        (tmp_path / "a.onnx").write_bytes(whole[:length])
        with pytest.raises(runtime.BadArtefact):
            runtime.load(tmp_path / "a.onnx", "cpu")


@pytest.mark.parametrize("make", [artefacts.constant, artefacts.echo, artefacts.painter])
def test_flipped_bits_are_refused_or_harmless(make, tmp_path: Path) -> None:
    path, random = make(tmp_path / "a.onnx"), np.random.default_rng(1)
    whole = path.read_bytes()
    used = whole.index(b"recolor_fast.options")  # what follows is mostly training options, which load whatever they say
    refused = 0
    for _ in range(120):
        damaged = bytearray(whole)
        for at in random.integers(0, used + 40, random.integers(1, 4)):
            damaged[at] ^= 1 << random.integers(8)
        path.write_bytes(damaged)
        try:
            loaded = runtime.load(path, "cpu")
        except runtime.BadArtefact as error:
            assert "\n" not in str(error)  # noqa: PT017
            refused += 1
        else:
            assert loaded.graph in runtime.GRAPHS
    assert refused > 40


def test_random_bytes_are_refused(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    for length in (1, 2, 10, 1000, 1000, 1000, 100_000):
        (tmp_path / "a.onnx").write_bytes(b"\x08\x0a\x3a" + random.bytes(length))
        with pytest.raises(runtime.BadArtefact):
            runtime.load(tmp_path / "a.onnx", "cpu")


def test_a_model_made_to_keep_the_check_busy_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Millions of tiny values, and graphs in graphs in graphs."""
    monkeypatch.setattr(plain, "MOST_FIELDS", 10_000)
    path = artefacts.constant(tmp_path / "odd.onnx")
    whole = path.read_bytes()
    path.write_bytes(whole + b"\x28\0" * 10_000)
    with pytest.raises(runtime.BadArtefact, match="more than 10,000 values"):
        runtime.load(path, "cpu")
    node = helper.make_node("Identity", ["x"], ["y"])
    for _ in range(20):
        node = helper.make_node("If", ["x"], ["y"], then_branch=helper.make_graph([node], "g", [], []))
    artefacts.change(artefacts.constant(path), lambda model: model.graph.node.append(node))
    with pytest.raises(runtime.BadArtefact, match="nested more than 32 deep"):
        runtime.load(path, "cpu")


def test_the_check_reads_what_protobuf_reads() -> None:
    """Overlong numbers, the last one of several, fields out of order: what a parser takes is not missed."""
    tensor = b"\x70\x81\x80\x80\x80\x00"  # data_location 1 in five bytes
    parsed = onnx.TensorProto.FromString(tensor)
    assert parsed.data_location == TensorProto.EXTERNAL

    def nested(*path: int, inside: bytes) -> bytes:
        for field in reversed(path):
            inside = bytes([field << 3 | 2, len(inside)]) + inside
        return inside

    for places in ((7, 5), (7, 1, 5, 5), (7, 1, 5, 10), (7, 1, 5, 6, 5), (7, 1, 5, 11, 5), (7, 15, 1), (7, 15, 2)):
        data = nested(*places, inside=tensor)
        assert onnx.ModelProto.FromString(data).SerializeToString()
        with pytest.raises(runtime.BadArtefact, match="external data"):
            plain.check(data, "a.onnx")
        overlong = data.replace(b"\x3a", b"\xba\x80\x00", 1)  # the graph's tag in three bytes
        assert onnx.ModelProto.FromString(overlong).graph == onnx.ModelProto.FromString(data).graph
        with pytest.raises(runtime.BadArtefact, match="external data"):
            plain.check(overlong, "a.onnx")
    domain = nested(7, 1, 7, inside=b"mine")
    standard = nested(7, 1, 7, inside=b"")
    with pytest.raises(runtime.BadArtefact, match="'mine'"):
        plain.check(domain + standard, "a.onnx")
    plain.check(standard + nested(7, 1, 7, inside=b"ai.onnx"), "a.onnx")


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
    with pytest.raises(runtime.BadArtefact, match="external data"):
        runtime.load(path, "cpu")
    monkeypatch.setattr(plain, "check", lambda data, path: None)  # and were it not seen, it would not be read
    with pytest.raises(runtime.BadArtefact, match=r"onnxruntime .* refuses it"):
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
    session = runtime.ort().InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(None, {})[0][0] == 9


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_gpu_provider_without_cuda_says_what_is_missing(provider, tmp_path: Path) -> None:
    missing = runtime.cuda_missing()
    if not missing:
        pytest.skip("CUDA is here")
    path = artefacts.constant(tmp_path / "a.onnx")
    with pytest.raises(runtime.NoProvider, match=f"provider {provider}: .*; or use provider cpu") as caught:
        runtime.load(path, provider)
    assert missing in str(caught.value)
    assert not isinstance(caught.value, runtime.BadArtefact)
    loaded = runtime.load(path, "auto")
    assert (loaded.provider, loaded.fallback) == ("CPUExecutionProvider", missing)


def test_where_it_computes_is_told_in_words(tmp_path: Path, monkeypatch) -> None:
    loaded = runtime.load(artefacts.constant(tmp_path / "a.onnx"), "cpu")
    assert runtime.place(loaded) == "on the processor"
    fell = loaded._replace(fallback="cuDNN is missing")
    monkeypatch.setattr(runtime.extras, "nvidia_driver", lambda: "no libcuda")
    assert runtime.place(fell) == "on the processor"  # where there is no GPU there is nothing to tell
    monkeypatch.setattr(runtime.extras, "nvidia_driver", lambda: "")
    assert runtime.place(fell) == "on the processor (cuDNN is missing)"
    monkeypatch.setattr(runtime, "gpu_name", lambda: "NVIDIA H200")
    assert runtime.place(loaded._replace(provider=runtime.CUDA)) == "on the GPU (NVIDIA H200)"
    assert runtime.place(loaded._replace(provider=runtime.TENSORRT)) == "on the GPU (NVIDIA H200) by TensorRT"
    assert runtime.place(loaded._replace(provider=runtime.OPENVINO)) == "on the processor by OpenVINO"


@pytest.mark.gpu
def test_the_gpu_has_the_name_that_torch_gives_it() -> None:
    import torch

    assert runtime.gpu_name() == torch.cuda.get_device_name(0)


@pytest.mark.skipif(not runtime.cuda_missing(), reason="CUDA can be used here")
def test_without_a_gpu_it_has_no_name() -> None:
    assert runtime.gpu_name() == ""


def test_cuda_computes_in_float32_proper_and_searches_for_no_algorithms(tmp_path: Path, monkeypatch) -> None:
    """onnxruntime's own names and values; int8 stays on the processor unless cuda is asked for by name."""
    given = []

    def session(data, providers, threads):
        given.append(providers)
        return SimpleNamespace(get_providers=lambda: [runtime.CUDA, runtime.CPU])

    on_cpu = runtime.new_session
    monkeypatch.setattr(runtime, "_need_cuda", lambda provider: None)
    monkeypatch.setattr(runtime, "cuda_missing", lambda: "")
    monkeypatch.setattr(runtime, "new_session", lambda *all: (on_cpu if all[1] == [runtime.CPU] else session)(*all))
    path = artefacts.constant(tmp_path / "a.onnx")
    assert runtime.load(path, "auto").provider == runtime.CUDA
    assert given == [[(runtime.CUDA, {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}), runtime.CPU]]
    whole = runtime.described
    monkeypatch.setattr(runtime, "described", lambda *all: whole(*all)._replace(precision="int8"))
    loaded = runtime.load(path, "auto")
    assert (loaded.provider, len(given)) == (runtime.CPU, 1)
    assert "export fp16 for a GPU" in loaded.fallback
    assert runtime.load(path, "cuda").provider == runtime.CUDA


def test_a_bad_file_is_bad_on_every_provider(tmp_path: Path) -> None:
    path = artefacts.change(artefacts.echo(tmp_path / "odd.onnx"), rename_output)
    for provider in ("auto", "cpu", "cuda", "tensorrt"):
        with pytest.raises(runtime.BadArtefact):
            runtime.load(path, provider)  # type: ignore[arg-type]


def test_a_silent_fallback_is_an_error_for_cuda_and_told_by_auto(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not runtime.cuda_missing():
        pytest.skip("CUDA is here")
    monkeypatch.setattr(runtime, "cuda_missing", lambda: "")
    path = artefacts.constant(tmp_path / "a.onnx")
    with pytest.raises(runtime.NoProvider, match="provider cuda: onnxruntime"):
        runtime.load(path, "cuda")
    loaded = runtime.load(path, "auto")
    assert loaded.provider == "CPUExecutionProvider"
    assert loaded.fallback.startswith("onnxruntime")
    assert "use provider" not in loaded.fallback


def test_tensorrt_without_its_libraries_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("tensorrt_libs") or not runtime.provider_library("tensorrt").is_file():
        pytest.skip("TensorRT is here, or onnxruntime has no provider for it")
    monkeypatch.setattr(runtime, "_need_cuda", lambda provider: None)
    with pytest.raises(runtime.NoProvider, match=r"libnvinfer.*; pip install 'tensorrt-cu\d+>=\d+,<\d+'"):
        runtime.load(artefacts.constant(tmp_path / "a.onnx"), "tensorrt")


def test_the_tensorrt_that_onnxruntime_links_to_is_read_from_its_provider() -> None:
    for data, library, major in (
        (b"...libnvinfer.so.10\0libnvinfer_plugin.so.10", "libnvinfer.so.10", 10),
        (b"libnvinfer_plugin.so.11\0libnvinfer.so.11\0", "libnvinfer.so.11", 11),
        (b"nvinfer_plugin_10.dll\0nvinfer_10.dll\0", "nvinfer_10.dll", 10),
    ):
        found = engines.needed_tensorrt(data)
        assert found[:2] == (library, major)
        assert found[2].endswith(f">={major},<{major + 1}")
    with pytest.raises(runtime.NoProvider, match="links to no TensorRT"):
        engines.needed_tensorrt(b"nothing")


def test_tensorrt_options_are_ones_that_onnxruntime_knows(tmp_path: Path) -> None:
    """A key that it does not know is an error when the provider starts, which needs a GPU."""
    loaded = runtime.load(artefacts.painter(tmp_path / "a.onnx"), "cpu")
    options = engines.tensorrt_options(loaded.precision, engines.profiles("hints", 64), tmp_path, 10)
    assert options["trt_profile_min_shapes"] == "gray:1x1x64x64,hints:1x3x64x64"
    assert options["trt_profile_max_shapes"] == "gray:8x1x64x64,hints:8x3x64x64"
    library = runtime.provider_library("tensorrt")
    if not library.is_file():
        pytest.skip("onnxruntime has no TensorRT provider here")
    known = library.read_bytes()
    for key in options:
        assert key.encode() + b"\0" in known, key
    assert engines.profiles("chroma", 64) == {"gray": ((1, 1, 64, 64), (8, 1, 64, 64), (32, 1, 64, 64))}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_tensorrt_10_is_allowed_the_types_of_the_file_and_no_others(precision: str, tmp_path: Path) -> None:
    path = artefacts.change(artefacts.echo(tmp_path / "a.onnx"), set_metadata(precision=precision))
    loaded = runtime.load(path, "cpu")
    assert loaded.precision == precision
    profile = engines.profiles("chroma", 64)
    for major in (10, 11):
        options = engines.tensorrt_options(loaded.precision, profile, tmp_path, major)
        allowed = {name for name in ("fp16", "int8") if options[f"trt_{name}_enable"]}
        assert allowed == ({precision} - {"fp32"} if major == 10 else set())
    assert options["trt_profile_opt_shapes"] == "gray:8x1x64x64"


def test_engines_lie_in_a_folder_of_the_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "getuid"):
        pytest.skip("this system has no owners of files")
    monkeypatch.setenv("RECOLOR_FAST_CACHE", str(tmp_path / "cache"))
    folder = engines.private_cache()
    assert folder.parent == tmp_path / "cache"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert engines.private_cache() == folder
    folder.chmod(0o755)
    with pytest.raises(runtime.NoProvider, match=r"open to other users.*chmod 700"):
        engines.private_cache()
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(runtime.NoProvider, match="is a link"):
        engines.private_cache()
    folder.unlink()
    folder.mkdir(mode=0o700)
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    with pytest.raises(runtime.NoProvider, match="open to other users"):
        engines.private_cache()


def test_an_engine_is_cached_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOLOR_FAST_CACHE", str(tmp_path))
    cache = engines.private_cache()

    def stopped() -> None:
        with engines.engines("key", "timing") as folder:
            (folder / "half.engine").write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert list(cache.iterdir()) == []
    with engines.engines("key", "timing") as folder:
        assert not (cache / "key").exists()
        (folder / "a.engine").write_bytes(b"whole")
        (folder / "sm90.timing").write_bytes(b"measured")
    assert [path.name for path in (cache / "key").iterdir()] == ["a.engine"]
    with engines.engines("key", "timing") as folder:
        assert folder == cache / "key"
    with engines.engines("other", "timing") as folder, engines.engines("other", "timing") as second:
        assert (folder / "sm90.timing").read_bytes() == (second / "sm90.timing").read_bytes() == b"measured"
        (folder / "first").touch()
        (second / "second").touch()
    assert [path.name for path in (cache / "other").iterdir()] == ["second"]  # the one that was complete first
    assert sorted(path.name for path in cache.iterdir()) == ["key", "other", "timing"]


def test_an_engine_is_built_once_for_a_model_a_gpu_and_the_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything around TensorRT, with a stand-in for it: which folder it is given and what stays in there."""
    monkeypatch.setenv("RECOLOR_FAST_CACHE", str(tmp_path / "cache"))
    (tmp_path / "provider.so").write_bytes(b"libnvinfer.so.10")
    gpu = {"sm": "90", "version": 101600}
    built: list[Path] = []
    given: list[Path] = []
    on_cpu = runtime.new_session

    def session(data, providers, threads):
        if providers == [runtime.CPU]:
            return on_cpu(data, providers, threads)
        name, settings = providers[0]
        assert (name, providers[1:]) == (runtime.TENSORRT, [(runtime.CUDA, runtime.CUDA_OPTIONS), runtime.CPU])
        given.append(Path(settings["trt_engine_cache_path"]))
        assert settings["trt_timing_cache_path"] == str(given[-1])
        assert given[-1].stat().st_mode & 0o077 == 0
        if not list(given[-1].glob("*.engine")):
            built.append(given[-1])
            (given[-1] / "kernel.engine").touch()
        return SimpleNamespace(get_providers=lambda: [runtime.TENSORRT, runtime.CUDA, runtime.CPU])

    monkeypatch.setattr(runtime, "new_session", session)
    monkeypatch.setattr(runtime, "_need_cuda", lambda provider: None)
    monkeypatch.setattr(runtime, "provider_library", lambda provider: tmp_path / "provider.so")
    monkeypatch.setattr(engines, "compute_capability", lambda: gpu["sm"])
    monkeypatch.setattr(runtime.ort(), "get_available_providers", lambda: [runtime.TENSORRT])
    monkeypatch.setattr(runtime.ctypes, "CDLL", lambda name: SimpleNamespace(getInferLibVersion=lambda: gpu["version"]))
    one, other = artefacts.constant(tmp_path / "a.onnx"), artefacts.echo(tmp_path / "b.onnx")
    for changes, path, builds in (
        ({}, one, 1),
        ({}, one, 1),
        ({}, other, 2),
        ({"sm": "89"}, one, 3),
        ({"sm": "90", "version": 101700}, one, 4),
        ({"version": 101600}, one, 4),
    ):
        gpu.update(changes)
        assert runtime.load(path, "tensorrt").provider == runtime.TENSORRT
        assert len(built) == builds
    kept = [folder for folder in engines.private_cache().iterdir() if not folder.name.startswith("timing")]
    assert len(kept) == 4
    assert not list(engines.private_cache().glob(".*"))
    assert given[1] == given[-1]  # the same model found its engine again
    assert given[1] in kept


def test_compute_capability_is_the_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Driver:
        fails = 0

        def cuInit(self, flags):
            return self.fails

        def cuDeviceGet(self, device, ordinal):
            device._obj.value = 5
            return 0

        def cuDeviceGetAttribute(self, value, attribute, device):
            assert device.value == 5
            value._obj.value = {75: 12, 76: 1}[attribute]
            return 0

    driver = Driver()
    monkeypatch.setattr(runtime.ctypes, "CDLL", lambda name: driver)
    assert engines.compute_capability() == "121"
    driver.fails = 100
    with pytest.raises(runtime.NoProvider, match="CUDA error 100"):
        engines.compute_capability()


def test_an_unknown_provider_and_no_threads_are_named(tmp_path: Path) -> None:
    path = artefacts.constant(tmp_path / "a.onnx")
    with pytest.raises(ValueError, match="provider gpu: expected auto, cpu, openvino, cuda, tensorrt"):
        runtime.load(path, "gpu")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="threads 0: expected 1 or more"):
        runtime.load(path, "cpu", 0)


def test_threads_are_those_asked_for(tmp_path: Path) -> None:
    path = artefacts.constant(tmp_path / "a.onnx")
    for asked, used in ((None, processors.threads()), (1, 1), (3, 3)):
        settings = runtime.load(path, "cpu", asked).session.get_session_options()
        assert (settings.intra_op_num_threads, settings.inter_op_num_threads) == (used, 1)
        assert settings.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_int8_has_kernels_whose_sums_fit_where_others_saturate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = artefacts.constant(tmp_path / "a.onnx")
    for found in (False, True):
        monkeypatch.setattr(processors, "saturates", lambda found=found: found)
        settings = runtime.load(path, "cpu", 1).session.get_session_options()
        assert settings.get_session_config_entry("session.x64quantprecision") == str(int(found))


# --- chroma of a picture -------------------------------------------------------------------------------------------


def exact_cbcr(rgb: np.ndarray) -> np.ndarray:
    """ITU-T T.871, section 7, in float64."""
    red, green, blue = (rgb[..., channel].astype(float) for channel in range(3))
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    return np.stack([128 + (blue - y) / 1.772, 128 + (red - y) / 1.402]).clip(0, 255)


def test_cbcr_is_rounded() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (300, 301, 3), dtype=np.uint8)
    rgb[0, :8] = [[255 * (i >> 2), 255 * (i >> 1 & 1), 255 * (i & 1)] for i in range(8)]
    planes = runtime.cbcr(rgb)
    assert planes.shape == (2, 300, 301)
    assert planes.dtype == np.uint8
    assert np.abs(planes - exact_cbcr(rgb)).max() <= 0.5 + 1e-4
    assert planes.flags.c_contiguous


@pytest.mark.parametrize("shape", [(1, 1), (37, 64), (300, 200)])
def test_the_image_graph_gives_chroma_of_the_pictures_own_size(shape: tuple[int, int], tmp_path: Path) -> None:
    loaded = runtime.load(artefacts.painter(tmp_path / "a.onnx"), "cpu")
    assert loaded.graph == "image"
    gray = np.random.default_rng(0).integers(0, 200, shape, dtype=np.uint8)
    planes = loaded.chroma(gray)
    colored = np.stack([gray + 40, gray + 10, gray], -1).astype(np.uint8)
    assert planes.shape == (2, *shape)
    assert np.abs(planes - exact_cbcr(colored)).max() <= 0.5 + 1e-4
    batch = np.random.default_rng(1).integers(0, 200, (3, 20, 30, 3), dtype=np.uint8)
    assert np.array_equal(loaded.run(batch), batch + np.array([40, 10, 0], np.uint8))


@pytest.mark.parametrize("equalize", ["none", "source"])
@pytest.mark.parametrize("blur", ["none", "both"])
def test_the_chroma_graph_is_given_the_prepared_luminance(equalize: str, blur: str, tmp_path: Path) -> None:
    options = replace(artefacts.OPTIONS, equalize=equalize, blur=blur)  # type: ignore[arg-type]
    loaded = runtime.load(artefacts.echo(tmp_path / "a.onnx", options), "cpu")
    gray = np.random.default_rng(0).integers(50, 200, (90, 120), dtype=np.uint8)
    seen = images.source(gray, options)
    assert np.array_equal(loaded.chroma(gray), np.stack([seen, seen]))


# --- on a GPU ------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
@pytest.mark.parametrize("make", [artefacts.constant, artefacts.echo, artefacts.painter])
def test_a_gpu_gives_what_the_cpu_gives(make, provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOLOR_FAST_CACHE", str(tmp_path / "cache"))
    path = make(tmp_path / "a.onnx")
    try:
        loaded = runtime.load(path, provider)
    except runtime.NoProvider as error:
        pytest.skip(str(error))
    assert loaded.provider == {"cuda": runtime.CUDA, "tensorrt": runtime.TENSORRT}[provider]
    gray = np.random.default_rng(0).integers(0, 256, (90, 120), dtype=np.uint8)
    expected = runtime.load(path, "cpu").chroma(gray).astype(int)
    assert np.abs(loaded.chroma(gray) - expected).max() <= 1
    again = runtime.load(path, provider)  # its engine from the cache
    assert np.array_equal(again.chroma(gray), loaded.chroma(gray))


@pytest.mark.parametrize("provider", ["cpu", "auto"])
def test_loading_prints_nothing(provider: str, tmp_path: Path) -> None:
    path = artefacts.constant(tmp_path / "a.onnx")
    code = f"from recolor_fast import runtime; runtime.load({str(path)!r}, {provider!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=Path(__file__).parents[1])
    assert (done.stdout, done.stderr) == (b"", b"")


def test_openvino_computes_the_same_or_says_what_to_install(tmp_path: Path) -> None:
    path = artefacts.echo(tmp_path / "a.onnx")
    if importlib.util.find_spec("openvino") is None:
        with pytest.raises(runtime.NoProvider, match=r"provider openvino: .*pip install openvino"):
            runtime.load(path, "openvino")
        pytest.skip("the package openvino is not installed; that it is missing was said")
    artefact, other = runtime.load(path, "openvino", 1), runtime.load(path, "cpu")
    assert artefact.provider == runtime.OPENVINO
    batches = [np.random.default_rng(i).integers(0, 256, (i % 3 + 1, 1, 64, 64), dtype=np.uint8) for i in range(24)]
    with ThreadPoolExecutor(4) as pool:  # each thread has its own results
        for batch, found in zip(batches, pool.map(artefact.run, batches)):
            np.testing.assert_array_equal(found, other.run(batch))
    with pytest.raises(RuntimeError, match="OpenVINO failed"):
        artefact.run(batches[0][..., :60])


def test_threads_follow_the_affinity() -> None:
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system has no affinity")
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert processors.threads() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert processors.threads() == len(before)


def test_an_artefact_of_a_version_with_other_training_options_loads(tmp_path):
    path = artefacts.constant(tmp_path / "newer.onnx")
    values = asdict(artefacts.OPTIONS) | {"option_of_a_later_version": 9}
    artefacts.change(path, set_metadata(options=json.dumps(values)))
    assert runtime.load(path, "cpu").options == only(Preparation, artefacts.OPTIONS)


def test_an_image_graph_is_given_no_more_than_its_chroma_needs(tmp_path: Path) -> None:
    artefact = runtime.load(artefacts.painter(tmp_path / "a.onnx"), "cpu")
    gray = np.full((1030, 2050), 100, np.uint8)
    assert artefact.chroma(gray).shape == (2, 515, 1025)
    assert artefact.chroma(gray[:500, :700]).shape == (2, 500, 700)


@pytest.mark.parametrize("change", [{"keep": 1}, {"critic_steps": 0}, {"data": ""}, {"preset": 7}])
def test_an_artefact_loads_whatever_its_training_options_say(change, tmp_path):
    path = tmp_path / "copy.onnx"
    path.write_bytes(runtime.shipped().read_bytes())
    stored = runtime.load(path, "cpu").metadata["options"]
    artefacts.change(path, set_metadata(options=json.dumps(json.loads(stored) | change)))
    loaded = runtime.load(path, "cpu")
    assert loaded.options == runtime.load(runtime.shipped(), "cpu").options
    assert json.loads(loaded.metadata["options"]) == json.loads(stored) | change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": 100}, "size 100: expected a multiple of 32"),
        ({"size": "64"}, "size 64: expected a multiple of 32"),
        ({"equalize": "some"}, "equalize 'some': expected none, source, both"),
        ({"blur": True}, "blur True: expected none, source, both"),
        ({"equalize": None, "blur": None}, "equalize None: expected none, source, both"),
    ],
)
def test_an_artefact_that_does_not_say_how_gray_is_prepared_is_refused(change, words, tmp_path):
    path = artefacts.constant(tmp_path / "a.onnx")
    artefacts.change(path, set_metadata(options=json.dumps(asdict(artefacts.OPTIONS) | change)))
    with pytest.raises(runtime.BadArtefact, match=words):
        runtime.load(path, "cpu")
    values = {name: value for name, value in asdict(artefacts.OPTIONS).items() if name not in change}
    artefacts.change(path, set_metadata(options=json.dumps(values)))
    with pytest.raises(runtime.BadArtefact, match=f"no {', '.join(change)} among them"):
        runtime.load(path, "cpu")
