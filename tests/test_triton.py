"""A Triton repository: its config.pbtxt read by a strict parser, and held against the ONNX file that it is of."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from recolor_fast.artefact import runtime
from recolor_fast.export import to_onnx, triton
from recolor_fast.machine.errors import UserError
from recolor_fast.options import Options
from recolor_fast.runs import learned
from tests import artefacts
from tests.photographs import write_jpegs
from tests.test_export import trained_generator

MAKERS = {"chroma": artefacts.constant, "image": artefacts.painter, "hints": artefacts.obedient}
NUMBERS = {onnx.TensorProto.UINT8: "TYPE_UINT8", onnx.TensorProto.FLOAT: "TYPE_FP32"}
# What we write of Triton's ModelConfig, by its field numbers (model_config.proto of its repository `common`).
ENUMS = {
    "DataType": {"TYPE_INVALID": 0, "TYPE_UINT8": 2, "TYPE_FP32": 11},
    "Kind": {"KIND_AUTO": 0, "KIND_GPU": 1, "KIND_CPU": 2},
}
MESSAGES: dict[str, dict[str, tuple[int, str, bool]]] = {
    "ModelInput": {"name": (1, "string", False), "data_type": (2, "DataType", False), "dims": (4, "int64", True)},
    "ModelOutput": {"name": (1, "string", False), "data_type": (2, "DataType", False), "dims": (3, "int64", True)},
    "ModelInstanceGroup": {"count": (2, "int32", False), "kind": (4, "Kind", False)},
    "ModelDynamicBatching": {"max_queue_delay_microseconds": (2, "uint64", False)},
    "ModelConfig": {
        **{"name": (1, "string", False), "max_batch_size": (4, "int32", False), "backend": (17, "string", False)},
        **{"input": (5, "ModelInput", True), "output": (6, "ModelOutput", True)},
        "instance_group": (7, "ModelInstanceGroup", True),
        "dynamic_batching": (11, "ModelDynamicBatching", False),
    },
}


@cache
def written_here() -> Any:
    """ModelConfig with the fields above: whatever else a text says does not parse."""
    file = descriptor_pb2.FileDescriptorProto(name="model_config.proto", syntax="proto3")
    for name, values in ENUMS.items():
        kind = file.enum_type.add(name=name)
        for key, number in values.items():
            kind.value.add(name=key, number=number)
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, repeated) in fields.items():
            label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            named = {"type_name": kind} if kind[0].isupper() else {}
            plain = kinds.TYPE_ENUM if kind in ENUMS else kinds.TYPE_MESSAGE
            type_ = plain if named else getattr(kinds, f"TYPE_{kind.upper()}")
            message.field.add(name=field, number=number, label=label, type=type_, **named)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("ModelConfig"))


def parsed(text: str, definition: str = "written here") -> Any:
    if definition == "Triton's":
        reason = "needs tritonclient[grpc], which asks for an older protobuf"
        config = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason=reason).ModelConfig
    else:
        config = written_here()
    return text_format.Parse(text, config())


@pytest.mark.parametrize("definition", ["written here", "Triton's"])
@pytest.mark.parametrize("graph", MAKERS)
def test_the_config_says_what_the_file_takes(graph, definition, tmp_path):
    model = onnx.load(MAKERS[graph](tmp_path / "a.onnx"))
    found = parsed(triton.config('a "name"', graph, artefacts.OPTIONS.size, "fp32"), definition)
    assert (found.name, found.backend, found.max_batch_size) == ('a "name"', "onnxruntime", triton.MOST[graph])
    for ours, theirs in ((found.input, model.graph.input), (found.output, model.graph.output)):
        assert [one.name for one in ours] == [value.name for value in theirs]
        for one, value in zip(ours, theirs):
            tensor = value.type.tensor_type
            batch, *dims = [length.dim_value or -1 for length in tensor.shape.dim]
            assert batch == -1
            assert list(one.dims) == dims
            kind = type(one).DESCRIPTOR.fields_by_name["data_type"].enum_type
            assert kind.values_by_number[one.data_type].name == NUMBERS[tensor.elem_type]
    assert found.HasField("dynamic_batching") == (found.max_batch_size > 1)
    assert [(group.count, group.kind) for group in found.instance_group] == [(1, ENUMS["Kind"]["KIND_AUTO"])]


def test_int8_stays_on_the_processor():
    [group] = parsed(triton.config("a", "chroma", 64, "int8")).instance_group
    assert group.kind == ENUMS["Kind"]["KIND_CPU"]


def test_the_parser_refuses_what_triton_does_not_know():
    with pytest.raises(text_format.ParseError):
        parsed(triton.config("a", "chroma", 64, "fp32").replace("dims", "shape"))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A folder that stands for a run; what is trained in it, `trained` says."""
    folder = tmp_path_factory.mktemp("runs") / "r"
    folder.mkdir()
    write_jpegs(folder / "photographs", 10, height=70, width=90)
    return folder


@pytest.fixture
def export(run, monkeypatch):
    options = Options(size=64, width=4, preset="pix2pix", data=str(run / "photographs"))
    trained = learned.Trained(options, trained_generator(options), None, 0)
    monkeypatch.setattr(learned, "trained", lambda *_: trained)
    monkeypatch.setattr(learned, "named", lambda path: (path, path.name))
    return lambda *words: to_onnx.main([str(run), "--photographs", "1", *map(str, words)])


def test_an_export_is_a_model_of_the_repository_and_never_over_another(export, tmp_path, capsys):
    assert export("--triton", tmp_path / "models") == 0
    model = tmp_path / "models" / "r-chroma-fp32"
    assert capsys.readouterr().out.splitlines()[-1] == str(model / "1" / "model.onnx")
    assert sorted(path.name for path in model.rglob("*")) == ["1", "README.md", "config.pbtxt", "model.onnx"]
    artefact = runtime.load(model / "1" / "model.onnx", "cpu")
    found = parsed((model / "config.pbtxt").read_text())
    assert found.name == model.name
    batch = np.zeros((2, *found.input[0].dims), np.uint8)
    assert artefact.run(batch).shape == (2, *found.output[0].dims)
    before = (model / "1" / "model.onnx").read_bytes()
    assert export("--triton", tmp_path / "models") == 2
    assert f"{model} is there already" in capsys.readouterr().err
    assert (model / "1" / "model.onnx").read_bytes() == before
    assert [path.name for path in (tmp_path / "models").iterdir()] == [model.name]


def written(repository: Path, then: Callable[[], None]) -> None:
    with triton.model(repository, "a", "") as part:
        part.write_bytes(b"half")
        then()


def test_a_model_that_fails_leaves_nothing(tmp_path):
    def full() -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        written(tmp_path, full)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_came_meanwhile_is_left_alone(tmp_path):
    with pytest.raises(UserError, match="is there already"):
        written(tmp_path, (tmp_path / "a").mkdir)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_repository_goes_with_no_other_place(export, tmp_path, capsys):
    assert export("--triton", tmp_path, "--out", tmp_path / "a.onnx") == 2
    assert "triton with out: a repository has files of its own" in capsys.readouterr().err
