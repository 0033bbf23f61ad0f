"""A run's newest or best checkpoint -> one self-contained ONNX file, proven against torch on real photographs.

`recolor-fast export [RUN]` prints the artefact's path as its last line on stdout. Exit codes: 0 done, 1 the
artefact differs from torch by more than its precision may, 2 a run or data that cannot be used.
"""

if __name__ == "__main__":
    from recolor_fast.machine import starting

    starting.run("recolor_fast.export.to_onnx", arguments="to_onnx")

import json
import logging
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from recolor_fast import resolve
from recolor_fast.arguments.to_onnx import Arguments, parse
from recolor_fast.artefact import card, proof, runtime
from recolor_fast.artefact.graphs import GRAPHS, Half, deployed
from recolor_fast.coloring import palette
from recolor_fast.data import index, loader, shards, sources
from recolor_fast.evaluation.metrics import compare
from recolor_fast.export import triton
from recolor_fast.machine import starting
from recolor_fast.machine.errors import Failed, UserError
from recolor_fast.machine.files import print_path, replacing
from recolor_fast.machine.versions import versions
from recolor_fast.networks.generators import without_hints
from recolor_fast.options import Data, Options, System, only, to_json
from recolor_fast.photographs import chroma, images
from recolor_fast.photographs.preparation import Preparation
from recolor_fast.runs import learned, run_folder

# Percent of the activations that int8 has levels for, where not all: a few strong hints would spread the 256 levels
# over values that hardly occur.
PERCENTILES = {"hints": 99.999}
OPSET, IR = 18, 10  # onnxruntime from 1.14 on and TensorRT 10 take both


def export(
    options: Options, generator: torch.nn.Module, graph: str, precision: str, saturation: float = 1.0
) -> onnx.ModelProto:
    """The graph of a generator: uint8 in and out, dynamic batch and sizes, of plain operators. int8 comes later."""
    if graph != "hints":
        options, generator = without_hints(options, generator)
    network = deployed(options, generator)
    module = GRAPHS[graph](Half(network) if precision == "fp16" else network, options, saturation).eval()
    # Of 1 photograph, the batch would become a constant; no side may be another's or the model's.
    dimensions = {0: torch.export.Dim("batch", min=1)}
    if graph == "image":
        examples = [torch.zeros((2, options.size + 22, options.size + 46, 3), dtype=torch.uint8)]
        dimensions |= {1: torch.export.Dim("height", min=1), 2: torch.export.Dim("width", min=1)}
    else:
        size = options.size
        examples = [torch.zeros((2, 1, size, size), dtype=torch.uint8), torch.zeros((2, 3, size, size))]
    *inputs, (output, _, _) = runtime.GRAPHS[graph]
    examples = examples[: len(inputs)]
    with warnings.catch_warnings():  # the exporter warns of its own internals
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            tuple(examples),
            input_names=[name for name, _, _ in inputs],
            output_names=[output],
            dynamic_shapes=(dimensions,) * len(inputs),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    model.ir_version = min(model.ir_version, IR)
    return model


def quantized(
    model: onnx.ModelProto, batches: Iterator[tuple[np.ndarray, ...]], percentile: float | None = None
) -> onnx.ModelProto:
    """The same with the network in int8: static, quantize and dequantize nodes, activations uint8, weights per channel.

    Color arithmetic and tanh stay float32: only nodes that the exporter names as the generator's are quantized.
    """

    from onnxruntime import quantization  # where it is missing, main has said so

    class Photographs(quantization.CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            inputs = next(batches, None)
            return None if inputs is None else {value.name: one for value, one in zip(model.graph.input, inputs)}

    def of_network(node: onnx.NodeProto) -> bool:
        scopes = next((pair.value for pair in node.metadata_props if pair.key == "pkg.torch.onnx.name_scopes"), "")
        return "'generator" in scopes or ".generator" in scopes

    names = [node.name for node in model.graph.node if of_network(node) and node.op_type != "Tanh"]
    if not names:
        raise ValueError("no node of the graph is named as the generator's: this version of torch names them otherwise")
    methods = quantization.CalibrationMethod
    level = logging.getLogger().level
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "int8.onnx")
        try:
            logging.getLogger().setLevel(logging.ERROR)  # it advises what the exporter has done: folding, shapes
            with redirect_stdout(StringIO()):  # it tells of its histograms
                quantization.quantize_static(
                    model,
                    path,
                    Photographs(),
                    quant_format=quantization.QuantFormat.QDQ,
                    activation_type=quantization.QuantType.QUInt8,
                    weight_type=quantization.QuantType.QInt8,
                    per_channel=True,
                    calibrate_method=methods.Percentile if percentile else methods.MinMax,
                    extra_options={"CalibPercentile": percentile} if percentile else {},
                    nodes_to_quantize=names,
                )
        finally:
            logging.getLogger().setLevel(level)
        return _moved_as_they_are(onnx.load(path))


def _moved_as_they_are(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give what only moves values the scale of its input: depth to space and cropping then move bytes.

    Calibration gives a crop a scale of its own, as it may cut the largest value off, and so much conversion.
    """
    makers = {output: node for node in model.graph.node for output in node.output}
    renamed: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear":
            continue
        maker = moving = makers.get(node.input[0])
        while maker is not None and maker.op_type in ("Slice", "DepthToSpace"):
            maker = makers.get(maker.input[0])
        if maker is not moving and maker is not None and maker.op_type == "DequantizeLinear":
            renamed |= {old: new for old, new in zip(node.input[1:], maker.input[1:]) if old != new}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.input[1:] = [renamed.get(name, name) for name in node.input[1:]]
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model


def finish(model: onnx.ModelProto, metadata: dict[str, str]) -> bytes:
    """The artefact's bytes: checked, with its metadata and without what the exporter wrote of this machine."""
    for node in model.graph.node:
        del node.metadata_props[:]  # stack traces, with paths
        node.ClearField("doc_string")
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    _shorten_names(model.graph)
    onnx.helper.set_model_props(model, {f"recolor_fast.{key}": value for key, value in metadata.items()})
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _shorten_names(graph: onnx.GraphProto) -> None:
    """Name what lies between input and output by numbers: the exporter's names are a fiftieth of an int8 file."""
    kept = {value.name for value in (*graph.input, *graph.output)} | {""}
    numbered: dict[str, str] = {}

    def short(name: str) -> str:
        return name if name in kept else numbered.setdefault(name, f"v{len(numbered)}")

    for number, node in enumerate(graph.node):
        node.name = f"n{number}"
        node.input[:] = [short(name) for name in node.input]
        node.output[:] = [short(name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = short(tensor.name)
    del graph.value_info[:]  # shapes that a runtime infers itself


def in_torch(options: System, generator: torch.nn.Module, graph: str, saturation: float = 1.0) -> proof.Run:
    """The graph with the generator as it was trained, by torch on the CPU."""
    module = GRAPHS[graph](generator, options, saturation).eval()

    @torch.no_grad()
    def run(*inputs: np.ndarray) -> np.ndarray:
        return module(*map(torch.from_numpy, inputs)).numpy()

    return run


def in_onnxruntime(path: Path) -> proof.Run:
    """An artefact in onnxruntime on the CPU."""
    return runtime.load(path, "cpu").run


def with_photographs(options: Data, data: str, option: str = "data") -> Data:
    """The photographs that a run was trained on, or others where `option` gives some. UserError where they are not."""
    if not data:
        advice = f"the run's photographs are not there any more: --{option} FOLDER takes others"
        return replace(only(Data, options), data=resolve.data(options.data, advice=advice))
    data = resolve.data(data, option)
    return replace(only(Data, options), data=data, per_class=None, val_per_class=None, classes=None)


def calibration(options: Data, count: int, graph: str) -> Iterator[tuple[np.ndarray, ...]]:
    """Inputs of one photograph to calibrate on, spread evenly over those there are."""
    paths = sources.photographs(options).train
    usable, _ = index.usable(paths[:: max(1, len(paths) // count)][:count])
    for path in usable:
        rgb = images.read_rgb(shards.read(path), options.size)
        yield proof.view(rgb, options, graph).inputs


def painted(paths: Sequence[Path], preparation: Preparation, run: proof.Run) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Up to PALETTE photographs, evenly picked, at the model's size and what graph hints paints of them without any."""
    size = preparation.size
    chosen, _ = index.usable(paths[:: max(1, len(paths) // PALETTE)][:PALETTE])
    for path in chosen:
        rgb = images.resize(images.read_rgb(shards.read(path), size), size, size)
        gray = images.gray(rgb)
        cbcr = run(images.source(gray, preparation)[None, None], np.zeros((1, 3, size, size), np.float32))[0]
        yield rgb, chroma.merge(gray, cbcr)


PALETTE = 400  # photographs that graph hints learns from which colors are plausible


def write(arguments: Arguments, trained: learned.Trained, out: Path) -> dict[str, str]:
    """Export, prove and write; the file's metadata. Raises Differs, UserError and OSError; then nothing is written."""
    options, generator, graph = trained.options, trained.generator, arguments.graph
    if graph == "hints" and not options.hints:
        raise UserError("graph hints: this run has not learned to follow hints; train one with --hints 30")
    paths = proof.photographs(with_photographs(options, arguments.data), arguments.photographs)
    seen = with_photographs(options, arguments.calibrate, "calibrate") if arguments.precision == "int8" else None
    model = export(options, generator, arguments.graph, arguments.precision, arguments.saturation)
    if seen:
        count = arguments.calibration_photographs
        model = quantized(model, calibration(seen, count, graph), PERCENTILES.get(graph))
    metadata = {
        "graph": arguments.graph,
        "precision": arguments.precision,
        "saturation": str(arguments.saturation),
        "options": to_json(learned.public(options)),
        "images": str(trained.images),
        "versions": json.dumps(versions()),
    }
    if graph == "hints":
        true = sources.photographs(with_photographs(options, arguments.data)).val
        run = in_torch(options, generator, graph, arguments.saturation)
        metadata["palette"] = json.dumps(palette.learn(painted(true, options, run)))
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as file:
        file.write(finish(model, metadata))
        file.flush()
        ours = in_onnxruntime(Path(file.name))
        expected = in_torch(options, generator, graph, arguments.saturation)
        proven = proof.prove(expected, ours, graph, proof.views(paths, options, graph))
        print(f"onnxruntime against torch on {proven}", file=sys.stderr)
        if excess := proof.excess(proven, arguments.precision):
            raise Differs(
                f"the artefact differs too much from torch ({excess}): not written{_ADVICE[arguments.precision]}"
            )
        file.seek(0)
        file.truncate()
        metadata["proof"] = proven.to_json()
        file.write(finish(model, metadata))
    return metadata


_ADVICE = {
    "fp32": "",
    "fp16": "; activations may be beyond float16, use --precision fp32",
    "int8": "; calibrate on more photographs of the kind to be colored (--calibrate), or use --precision fp16",
}


def table(trained_in: Path, arguments: Arguments, trained: learned.Trained) -> list[dict[str, Any]]:
    """A row for torch and one for each artefact of a run.

    images/s: at batch 1, median of rounds in which all take turns, on a square photograph of the model's size, with
    all processors. seen: photographs seen in training; a run may have gone on since an export.
    ab_rmse and psnr: against the true colors of such validation photographs.
    """
    options = trained.options
    folder, _ = learned.named(trained_in)
    artefacts = sorted(folder.glob("*.onnx"))
    if not artefacts:
        raise UserError(f"{folder}: no .onnx file in it; export one first")
    data = with_photographs(options, arguments.data)
    _, rgb = loader.load(data, proof.photographs(data, arguments.photographs))
    truth = list(rgb.permute(0, 2, 3, 1).numpy())
    nothing = dict.fromkeys(("MB", "largest", "mean", "ciede2000"))
    plain = {"artefact": "torch", "seen": trained.images, "graph": "chroma", "precision": "fp32", "saturation": 1.0}
    rows: list[dict[str, Any]] = [plain | nothing]
    computed = [in_torch(options, trained.generator, "chroma")]
    for path in artefacts:
        artefact = runtime.load(path, "cpu")
        stored = json.loads(artefact.metadata.get("proof", "{}"))
        row: dict[str, Any] = {"artefact": path.name, "seen": artefact.metadata.get("images")}
        row |= {"graph": artefact.graph, "precision": artefact.precision}
        row["saturation"] = float(artefact.metadata.get("saturation", 1))
        row |= {"MB": path.stat().st_size / 1e6} | {name: stored.get(name) for name in ("largest", "mean", "ciede2000")}
        rows.append(row)
        computed.append(artefact.run)
    times: list[list[float]] = [[] for _ in rows]
    for turn in range(ROUNDS + 1):
        for row, run, seconds in zip(rows, computed, times):
            inputs = proof.view(truth[turn % len(truth)], options, row["graph"]).inputs
            started = time.perf_counter()
            run(*inputs)
            if turn:  # the first is not timed
                seconds.append(time.perf_counter() - started)
    for row, run, seconds in zip(rows, computed, times):
        outputs = [run(*proof.view(one, options, row["graph"]).inputs)[0] for one in truth]
        if row["graph"] != "image":
            outputs = [chroma.merge(images.gray(one), cbcr) for one, cbcr in zip(truth, outputs)]
        quality = compare(outputs, truth)
        row["images/s"] = 1 / statistics.median(seconds)
        row |= {name: quality[name] for name in ("ab_rmse", "psnr")}
    return rows


ROUNDS = 10


def as_text(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as a table, its columns the keys of all of them; a missing value is -."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns]
    for row in rows:
        values = [row.get(name) for name in columns]
        lines.append(["-" if v is None else f"{v:.4g}" if isinstance(v, float) else str(v) for v in values])
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in lines)


class Differs(Failed):
    """The artefact is not what was trained."""


@starting.verb(
    stopped="interrupted; nothing is written", told={runtime.BadArtefact: 2, runtime.NoProvider: 2, OSError: 2}
)
def main(argv: list[str]) -> int:
    """Run the verb; returns the exit code."""
    arguments = parse(argv)
    runtime.ort()
    run = arguments.run or run_folder.newest()
    trained = learned.trained(run, arguments.best)
    for name in ("photographs", "calibration_photographs"):
        if getattr(arguments, name) < 1:
            raise UserError(f"{name} {getattr(arguments, name)}: expected 1 or more")
    if not 0 <= arguments.saturation <= 4:
        raise UserError(f"saturation {arguments.saturation}: expected 0 to 4")
    if arguments.triton is not None and (arguments.out or arguments.compare):
        other = "out" if arguments.out else "compare"
        raise UserError(f"triton with {other}: a repository has files of its own; leave one of the two out")
    if arguments.compare:
        print(as_text(table(run, arguments, trained)))
        return 0
    folder, name = learned.named(run)
    stronger = "" if arguments.saturation == 1 else f"-saturation-{arguments.saturation:g}"
    out = arguments.out or folder / f"{name}-{arguments.graph}-{arguments.precision}{stronger}.onnx"
    if out.suffix != ".onnx":
        raise UserError(f"out {out}: expected a name that ends in .onnx")
    known = card.measured(run, to_json(learned.public(trained.options)), trained.images)
    if arguments.triton is None:
        metadata = write(arguments, trained, out)
        card.write(card.path_of(out), card.text(out.name, metadata, known))
    else:
        text = triton.config(out.stem, arguments.graph, trained.options.size, arguments.precision)
        with triton.model(arguments.triton, out.stem, text) as part:
            metadata = write(arguments, trained, part)
            card.write(triton.card(part), card.text(part.name, metadata, known))
        out = arguments.triton / out.stem / triton.MODEL
    print_path(out)
    return 0
