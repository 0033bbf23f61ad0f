"""An artefact -> a TensorRT engine for this GPU, proven against onnxruntime on real photographs, and timed.

`recolor-fast export-tensorrt FILE.onnx` writes FILE.engine, FILE.engine.json (what it was made of and measured), and
prints the engine's path as its last line on stdout. Engines are native code for one GPU and one TensorRT: nothing in
recolor_fast loads them, they are for programs of your own. Exit codes: 0 done, 1 TensorRT refuses the artefact or
differs by more than it may, 2 arguments or data that cannot be used, 4 a bad artefact, no TensorRT or no GPU.
"""

if __name__ == "__main__":
    from recolor_fast.machine import starting

    starting.run("recolor_fast.export.to_tensorrt", arguments="to_tensorrt")

import hashlib
import importlib
import json
import sys
from dataclasses import asdict
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recolor_fast import resolve
from recolor_fast.arguments.to_tensorrt import Arguments, parse
from recolor_fast.artefact import card, engines, proof, runtime, signatures
from recolor_fast.data import loader
from recolor_fast.machine import starting
from recolor_fast.machine.errors import Failed, UserError
from recolor_fast.machine.files import print_path, replacing
from recolor_fast.machine.versions import versions
from recolor_fast.options import Data

Shapes = tuple[tuple[int, ...], ...]


def modules() -> Any:
    """The tensorrt package. Raises runtime.NoProvider where it, or a GPU, is missing."""
    missing = [] if torch.cuda.is_available() else ["torch sees no CUDA device"]
    trt = None
    try:
        trt = importlib.import_module("tensorrt")
    except Exception as error:  # ImportError, or whatever its loader raises without its libraries
        missing.append(f"the package tensorrt cannot be imported ({error})")
    if missing:
        advice = "on a machine with an NVIDIA GPU, pip install 'tensorrt-cu13>=10,<11' (what onnxruntime takes; 11 too)"
        raise runtime.NoProvider("tensorrt", " and ".join(missing), advice)
    return trt


def build(trt: Any, model: bytes, profile: dict[str, Shapes], workspace: int, timing: bytes) -> tuple[bytes, bytes]:
    """An ONNX model as a serialized engine, and TensorRT's timings of this GPU's kernels to build the next one with.

    `profile` is the least, usual and largest shape of each input, `workspace` in bytes, 0 is no limit; `timing` is what
    an earlier call returned, or empty. Raises Failed.
    """
    logger = trt.Logger(trt.Logger.WARNING)
    try:
        builder = trt.Builder(logger)
    except TypeError as error:  # what its constructor raises where TensorRT gives it none
        raise Failed("TensorRT does not start (a driver too old for it?); its reasons are above") from error
    # Types as the file has them: the only way in TensorRT 11, where the flag may go; 10 would choose by builder flags.
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        reasons = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise Failed(f"TensorRT cannot read it: {'; '.join(reasons[:3])}")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # fp32 means fp32: TF32 has no more digits than fp16
    if workspace:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    shapes = builder.create_optimization_profile()
    for name, (least, usual, largest) in profile.items():
        shapes.set_shape(name, least, usual, largest)
    if config.add_optimization_profile(shapes) < 0:
        raise Failed(f"TensorRT does not take the shapes {profile}")
    for known in (timing, b""):  # what it cannot use (damaged, another GPU) it refuses
        cache = config.create_timing_cache(known)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            break
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise Failed("TensorRT cannot build it; its reasons are above")
    measured = config.get_timing_cache()
    return bytes(plan), b"" if measured is None else bytes(measured.serialize())


class Engine:
    """A serialized engine of one input and one output, both uint8, ready to run in one CUDA stream."""

    def __init__(self, trt: Any, plan: bytes, stream: int):
        self.runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))  # must outlive the engine
        self.engine = self.runtime.deserialize_cuda_engine(plan)
        if self.engine is None:
            raise Failed("TensorRT cannot load what it built; its reasons are above")
        self.context = self.engine.create_execution_context()
        if self.context is None:
            raise Failed("TensorRT has not the memory to run what it built; its reasons are above")
        names = [self.engine.get_tensor_name(i) for i in range(self.engine.num_io_tensors)]
        modes = [self.engine.get_tensor_mode(name) for name in names]
        self.input = names[modes.index(trt.TensorIOMode.INPUT)]
        self.output = names[modes.index(trt.TensorIOMode.OUTPUT)]
        self.stream = stream

    def __call__(self, batch: Tensor) -> Tensor:
        """uint8 of a shape in the profile to uint8, on the batch's device, queued in the stream. Raises Failed."""
        batch = batch.contiguous()
        if not self.context.set_input_shape(self.input, tuple(batch.shape)):
            raise Failed(f"TensorRT does not take the shape {tuple(batch.shape)}")
        result = torch.empty(tuple(self.context.get_tensor_shape(self.output)), dtype=torch.uint8, device=batch.device)
        bound = [
            self.context.set_tensor_address(name, tensor.data_ptr())
            for name, tensor in ((self.input, batch), (self.output, result))
        ]
        if not all(bound) or not self.context.execute_async_v3(self.stream):
            raise Failed(f"TensorRT cannot run the shape {tuple(batch.shape)}; its reasons are above")
        return result


def photographs(artefact: runtime.Artefact, data: str, count: int, shapes: Shapes) -> list[proof.View]:
    """What an artefact takes: photographs in the least batch, and all in one as far as the largest allows.

    Raises UserError.
    """
    options = Data(data=resolve.data(data), **asdict(artefact.options))
    paths = proof.photographs(options, count)
    (least, *_), _, (largest, *_) = shapes
    gray = loader.load(artefact.options, paths)[0].numpy()
    most = min(largest, max(least, len(gray)))
    takes = [range(start, start + least) for start in range(0, len(gray), least)] + [range(most)]
    chosen = [gray[np.array(take) % len(gray)] for take in takes]
    return [proof.View((batch,), batch[:, 0]) for batch in chosen]


def milliseconds(engine: Engine, shape: tuple[int, ...], runs: int = 50) -> float:
    """Median time of one run of random bytes of a shape, by CUDA events in the current stream; 10 runs come before."""
    batch = torch.randint(0, 256, shape, dtype=torch.uint8, device="cuda")
    for _ in range(10):
        engine(batch)
    pairs = [tuple(torch.cuda.Event(enable_timing=True) for _ in range(2)) for _ in range(runs)]
    for start, end in pairs:
        start.record()
        engine(batch)
        end.record()
    torch.cuda.synchronize()
    return median(start.elapsed_time(end) for start, end in pairs)


@starting.verb(stopped="interrupted; nothing is written", told={OSError: 2})
def main(argv: list[str]) -> int:
    """Run the verb; returns the exit code."""
    arguments = parse(argv)
    artefact = runtime.load(arguments.model, "cpu")
    shapes = profile(artefact, arguments)
    out = arguments.out or arguments.model.with_suffix(".engine")
    if out.suffix != ".engine" or (out.exists() and not arguments.overwrite):
        raise UserError(f"out {out}: expected a name that ends in .engine, of no file that exists (or --overwrite)")
    batches = photographs(artefact, arguments.data, arguments.photographs, next(iter(shapes.values())))
    try:
        told, plan = prove(modules(), artefact, arguments, shapes, batches)
    except Failed as error:
        raise Failed(f"{arguments.model}: {error}") from error
    for key, value in told.items():
        print(f"{key:24} {value}", file=sys.stderr)
    if excess := proof.excess(proof.Proof(**told["difference"]), artefact.precision):
        raise Failed(f"{excess}: not written")
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as file, replacing(out.with_name(out.name + ".json")) as note:
        note.write(json.dumps(told, indent=2).encode())
        file.write(plan)
    card.write(card.path_of(out), card.text(out.name, artefact.metadata, engine=told))
    print_path(out)
    return 0


def profile(artefact: runtime.Artefact, arguments: Arguments) -> dict[str, Shapes]:
    """The shapes to build for. Raises UserError for batches that do not grow, and for another graph than chroma."""
    if artefact.graph != "chroma":
        raise UserError(f"{arguments.model}: graph {artefact.graph} runs in onnxruntime; give one of --graph chroma")
    least, usual, largest = batch = arguments.batch or signatures.BATCHES[artefact.graph]
    if not 1 <= least <= usual <= largest:
        raise UserError(f"batch {batch}: expected least, usual and largest, 1 or more")
    return engines.profiles(artefact.graph, artefact.options.size, batch)


def prove(
    trt: Any, artefact: runtime.Artefact, arguments: Arguments, shapes: dict[str, Shapes], views: list[proof.View]
) -> tuple[dict[str, Any], bytes]:
    """Build, compare and time: the results, and the engine."""
    model = arguments.model.read_bytes()
    capability = ".".join(map(str, torch.cuda.get_device_capability()))
    timings = engines.private_cache() / f"builder-{trt.__version__}-sm{capability}.timing"
    timing = timings.read_bytes() if timings.is_file() else b""
    plan, timing = build(trt, model, shapes, arguments.workspace * 2**20, timing)
    if timing:
        with replacing(timings) as file:
            file.write(timing)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        engine = Engine(trt, plan, stream.cuda_stream)

        def run(batch: np.ndarray) -> np.ndarray:
            return engine(torch.from_numpy(batch).cuda()).cpu().numpy()

        differs = proof.prove(artefact.run, run, artefact.graph, views)
        least, _, largest = next(iter(shapes.values()))
        single, many = milliseconds(engine, least), milliseconds(engine, largest)
    told = {
        "model": arguments.model.name,
        "sha256": hashlib.sha256(model).hexdigest(),
        "graph": artefact.graph,
        "precision": artefact.precision,
        "gpu": torch.cuda.get_device_name(),
        "compute_capability": capability,
        "versions": {**versions(), "tensorrt": trt.__version__},
        "profile": shapes,
        "difference": differs._asdict(),
        f"ms_of_batch_{least[0]}": round(single, 4),
        f"images_per_s_of_batch_{largest[0]}": round(1000 * largest[0] / many, 1),
    }
    return told, plan
