"""Time to color one photograph at the model's size: python bench/inference.py [--run RUN] [--quick].

Every row is the same generator from uint8 gray to uint8 Cb and Cr, in a process of its own, in turns. Rows:

torch eager      as a peer's code runs its generator: eval mode, float32.
torch compiled   the same by torch.compile (inductor; needs a C++ compiler).
torch bf16       the deployed generator (norms folded, no transposed convolution) in bfloat16, channels-last.
ort fp32, ort fp16, ort int8     the artefacts of export/to_onnx.py, in onnxruntime.
openvino fp32, openvino int8     the same files in OpenVINO, where it is installed.

`ratio` is torch eager's ms over the row's own, `to_ort` ort fp32's, of the same case: more than 1 is faster. `of_peak`
is the share of the fastest float32 matrix product measured on as many threads: int8 and bfloat16 may exceed 1.
`ciede2000` and `levels` are the mean CIEDE2000 and the largest difference to torch eager on photographs (`--data`, or
the sample); without `--run`, weights are random: times are the same, but colors are nearly gray and these say little.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only bench/ itself is there
from bench.arguments import Inference as Arguments
from bench.arguments import parse

if __name__ == "__main__":
    parse(Arguments)  # --help and wrong options end here, before what takes seconds is imported


import importlib.util
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.common import Case, alternate_apart, matmul_peak, report
from recolor_fast.artefact import proof, runtime
from recolor_fast.artefact.graphs import Chroma, deployed
from recolor_fast.data import sources
from recolor_fast.export import to_onnx
from recolor_fast.machine import processors, starting
from recolor_fast.machine.environment import device_name, prepare_compiler
from recolor_fast.machine.errors import UserError
from recolor_fast.networks.generators import build_generator
from recolor_fast.options import Options, from_dict
from recolor_fast.presets import DEFAULT, PRESETS
from recolor_fast.runs import learned

BASELINE, ORT = "torch eager", "ort fp32"


@starting.verb()
def main(argv: list[str]) -> int:
    """Print the table and the line of JSON."""
    arguments = parse(Arguments, argv)
    prepare_compiler()
    with tempfile.TemporaryDirectory() as folder:
        names = [name for name in known(arguments.rows, ROWS) if can_run(name)]
        options = prepare(Path(folder), arguments.run, arguments.quick, arguments.data, names)
        rows = []
        for threads in arguments.threads or sorted({1, processors.threads()}):
            for batch in arguments.batch:
                rows += measure(Path(folder), options, names, batch, threads, 2 if arguments.quick else arguments.runs)
        differences(Path(folder), options, rows, arguments.data, arguments.photographs)
    torch.set_num_threads(processors.threads())
    missing = [name for name in ROWS if not can_run(name)]
    note = f"not installed: {', '.join(missing)}" if missing else ""
    report("inference", device_name(torch.device("cpu")), arguments.runs, rows, note, arguments.save)
    return 0


def known(names: Sequence[str], rows: Mapping[str, Any]) -> list[str]:
    """The rows of these names (none: all). UserError for one that there is not."""
    for name in names:
        if name not in rows:
            raise UserError(f"rows {name}: expected some of {', '.join(rows)}")
    return list(names or rows)


def prepare(folder: Path, run: Path | None, quick: bool, data: str, names: Sequence[str]) -> Options:
    """Write the generator, and the artefacts that the rows of these names need, to a folder."""
    if run:
        trained = learned.trained(run)
    else:
        made = PRESETS[DEFAULT] if not quick else replace(PRESETS[DEFAULT], size=64, width=8)
        torch.manual_seed(0)
        trained = learned.Trained(made, build_generator(made).eval(), None, 0)
    options, generator, _, _ = trained
    torch.save({"options": asdict(options), "generator": generator.state_dict()}, folder / "generator.pt")
    calibration = to_onnx.with_photographs(options, data)
    for precision in proof.BOUNDS:
        if not any(name.endswith(precision) for name in names):
            continue
        model = to_onnx.export(options, generator, "chroma", precision)
        if precision == "int8":
            model = to_onnx.quantized(model, to_onnx.calibration(calibration, 32, "chroma"))
        metadata = {"graph": "chroma", "precision": precision, "options": json.dumps(asdict(options))}
        (folder / f"{precision}.onnx").write_bytes(to_onnx.finish(model, metadata))
    return options


def can_run(name: str) -> bool:
    """Whether the runtime of a row is installed."""
    if name == "torch compiled":
        return shutil.which("g++") is not None
    return not name.startswith("openvino") or importlib.util.find_spec("openvino") is not None


def measure(
    folder: Path, options: Options, names: Sequence[str], batch: int, threads: int, rounds: int
) -> list[dict[str, Any]]:
    """A row for each name, of one case."""
    timed = alternate_apart({name: partial(_case, name, folder, batch, threads) for name in names}, rounds)
    torch.set_num_threads(threads)
    peak = matmul_peak(torch.device("cpu"), torch.float32)
    generator = stored_generator(folder)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        generator(torch.zeros(1, 1, options.size, options.size))
    count = counter.get_total_flops() / 1e9
    case = f"{options.generator}{options.size} b{batch} {threads} thread{'s' * (threads > 1)}"
    rows = []
    for name, timing in timed.items():
        row = {"case": case, "name": name, "ms": 1000 * timing.seconds / batch, "images/s": batch / timing.seconds}
        for column, baseline in (("ratio", BASELINE), ("to_ort", ORT)):
            row[column] = timed[baseline].seconds / timing.seconds if baseline in timed else None
        rows.append(row | {"gflops": count * batch / timing.seconds, "of_peak": count * batch / timing.seconds / peak})
    return rows


def differences(folder: Path, options: Options, rows: list[dict[str, Any]], data: str, count: int) -> None:
    """Add ciede2000 and levels to the rows."""
    split = sources.photographs(to_onnx.with_photographs(options, data))
    paths = (split.val or split.train)[:count]
    torch.set_num_threads(processors.threads())
    eager = ROWS[BASELINE](folder, processors.threads())
    proofs = {
        name: proof.prove(
            eager, ROWS[name](folder, processors.threads()), "chroma", proof.views(paths, options, "chroma")
        )
        for name in dict.fromkeys(row["name"] for row in rows)
    }
    for row in rows:
        row["ciede2000"], row["levels"] = proofs[row["name"]].ciede2000, proofs[row["name"]].largest


# --- what is timed -------------------------------------------------------------------------------------------------


def _case(name: str, folder: Path, batch: int, threads: int) -> Case:
    torch.set_num_threads(threads)
    run, side = ROWS[name](folder, threads), stored_options(folder).size
    gray = np.random.default_rng(0).integers(0, 256, (batch, 1, side, side), dtype=np.uint8)

    def once() -> None:
        run(gray)

    return Case(once, dict)


def stored_options(folder: Path) -> Options:
    return from_dict(torch.load(folder / "generator.pt", weights_only=True)["options"])


def stored_generator(folder: Path) -> torch.nn.Module:
    generator = build_generator(stored_options(folder))
    generator.load_state_dict(torch.load(folder / "generator.pt", weights_only=True)["generator"])
    return generator.eval()


def _in_torch(change: Callable[[Options, torch.nn.Module], Any], folder: Path, threads: int) -> proof.Run:
    options = stored_options(folder)
    graph = Chroma(change(options, stored_generator(folder)), options.space).eval()

    def run(gray: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return graph(torch.from_numpy(gray)).numpy()

    return run


class _BFloat16(torch.nn.Module):
    """Between float32 source and fake."""

    def __init__(self, options: Options, generator: torch.nn.Module) -> None:
        super().__init__()
        self.generator = deployed(options, generator).to(torch.bfloat16).to(memory_format=torch.channels_last)

    def forward(self, source: torch.Tensor) -> torch.Tensor:
        return self.generator(source.to(torch.bfloat16)).float()


def _in_onnxruntime(precision: str, folder: Path, threads: int) -> proof.Run:
    return runtime.load(folder / f"{precision}.onnx", "cpu", threads).run


def _in_openvino(precision: str, folder: Path, threads: int) -> proof.Run:
    return runtime.load(folder / f"{precision}.onnx", "openvino", threads).run


# name -> (folder, threads) -> uint8 gray (N,1,S,S) to Cb and Cr
ROWS: dict[str, Callable[[Path, int], proof.Run]] = {
    BASELINE: partial(_in_torch, lambda options, generator: generator),
    "torch compiled": partial(_in_torch, lambda options, generator: torch.compile(generator)),
    "torch bf16": partial(_in_torch, _BFloat16),
    ORT: partial(_in_onnxruntime, "fp32"),
    "ort fp16": partial(_in_onnxruntime, "fp16"),
    "ort int8": partial(_in_onnxruntime, "int8"),
    "openvino fp32": partial(_in_openvino, "fp32"),
    "openvino int8": partial(_in_openvino, "int8"),
}


if __name__ == "__main__":
    sys.exit(main())
