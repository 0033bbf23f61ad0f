"""Tiny artefacts for tests: real ONNX files whose chroma is known in advance."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from recolor_fast.options import Options

SEPIA = (110, 148)  # Cb, Cr of a warm brown
OPTIONS = Options(size=64)


def constant(path: Path, cbcr: tuple[int, int] = SEPIA, options: Options = OPTIONS) -> Path:
    """An artefact that paints everything in one color: gray - gray + (Cb, Cr)."""
    nodes = [
        helper.make_node("Sub", ["gray", "gray"], ["zero"]),
        helper.make_node("Add", ["zero", "color"], ["cbcr"]),
    ]
    return _save(path, nodes, {"color": np.array(cbcr, np.uint8).reshape(1, 2, 1, 1)}, options)


def echo(path: Path, options: Options = OPTIONS) -> Path:
    """An artefact whose Cb and Cr both are the gray it was given."""
    return _save(path, [helper.make_node("Concat", ["gray", "gray"], ["cbcr"], axis=1)], {}, options)


def painter(path: Path, color: tuple[int, int, int] = (40, 10, 0), options: Options = OPTIONS) -> Path:
    """An artefact with the graph "image" that adds a color to what it is given, of any size and number."""
    nodes = [
        helper.make_node("Cast", ["rgb"], ["wide"], to=TensorProto.INT32),
        helper.make_node("Add", ["wide", "color"], ["sum"]),
        helper.make_node("Clip", ["sum", "black", "white"], ["clipped"]),
        helper.make_node("Cast", ["clipped"], ["colored"], to=TensorProto.UINT8),
    ]
    values = {"color": np.array(color, np.int32), "black": np.array(0, np.int32), "white": np.array(255, np.int32)}
    return _save(path, nodes, values, options, "image")


def obedient(path: Path, options: Options = OPTIONS) -> Path:
    """An artefact with the graph "hints": gray, but Cb = 128 + a and Cr = 128 + b where a hint says so."""
    nodes = [
        helper.make_node("Slice", ["hints", "first", "third", "channels"], ["ab"]),
        helper.make_node("Add", ["ab", "neutral"], ["levels"]),
        helper.make_node("Round", ["levels"], ["whole"]),
        helper.make_node("Clip", ["whole", "black", "white"], ["clipped"]),
        helper.make_node("Cast", ["clipped"], ["cbcr"], to=TensorProto.UINT8),
    ]
    integers = {"first": 0, "third": 2, "channels": 1}
    floats = {"neutral": np.float32(128), "black": np.float32(0), "white": np.float32(255)}
    values = {name: np.array([value], np.int64) for name, value in integers.items()}
    values |= {name: np.array(value) for name, value in floats.items()}
    return _save(path, nodes, values, options, "hints")


def change(path: Path, edit: Callable[[onnx.ModelProto], None]) -> Path:
    """Edit a saved artefact in place."""
    model = onnx.load(path, load_external_data=False)
    edit(model)
    path.write_bytes(model.SerializeToString())
    return path


def _save(
    path: Path, nodes: list[onnx.NodeProto], tensors: dict[str, np.ndarray], options: Options, kind: str = "chroma"
) -> Path:
    side = options.size
    shapes = {
        "chroma": {"gray": ["N", 1, side, side], "cbcr": ["N", 2, side, side]},
        "image": {"rgb": ["N", "H", "W", 3], "colored": ["N", "H", "W", 3]},
        "hints": {"gray": ["N", 1, side, side], "hints": ["N", 3, side, side], "cbcr": ["N", 2, side, side]},
    }[kind]
    types = {name: TensorProto.FLOAT if name == "hints" else TensorProto.UINT8 for name in shapes}
    *given, wanted = (helper.make_tensor_value_info(name, types[name], shape) for name, shape in shapes.items())
    constants = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    graph = helper.make_graph(nodes, kind, given, [wanted], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    metadata = {"recolor_fast.graph": kind, "recolor_fast.options": json.dumps(asdict(options))}
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path
