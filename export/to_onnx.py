"""A run's newest checkpoint -> one self-contained ONNX file, proven against torch on real photographs.

`python export/to_onnx.py RUN` prints the artefact's path as its last line on stdout. Exit codes: 0 done, 1 the artefact
differs from torch by more than 1 level, 2 a run or data that cannot be used.
"""

import json
import sys
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import onnx
import torch
import tyro
from torch import Tensor
from torch.nn.utils.parametrize import is_parametrized

from recolor_fast import runs, runtime
from recolor_fast.data import index, loader, sources
from recolor_fast.environment import versions
from recolor_fast.files import replacing
from recolor_fast.networks.generators import Chroma, build_generator
from recolor_fast.options import Options, to_json

OPSET, IR = 18, 10  # onnxruntime from 1.14 on and TensorRT 10 take both
BOUND = 1  # levels


@dataclass(frozen=True)
class Arguments:
    """Export the newest checkpoint of a run as an ONNX artefact, and prove that it equals torch."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder, as train printed it."""
    graph: Literal["chroma"] = "chroma"
    """chroma: gray uint8 (N,1,S,S), prepared as the metadata's options say -> CbCr uint8 (N,2,S,S)."""
    out: Path | None = None
    """File to write; none set: RUN/<name>-<graph>.onnx."""
    photographs: int = 16
    """Validation photographs the artefact is proven on."""
    data: str = ""
    """Photographs to prove it on, as train's --data; none set: the run's own."""


def folded(options: Options, generator: torch.nn.Module) -> torch.nn.Module:
    """The same generator with the spectral norm divided out of its weights, where it has one."""
    plain = build_generator(replace(options, spectral_norm=False))
    state = generator.state_dict()
    for name, module in generator.named_modules():
        if is_parametrized(module, "weight"):
            state[f"{name}.weight"] = module.weight
    plain.load_state_dict({key: state[key] for key in plain.state_dict()})
    return plain.eval()


def export(options: Options, generator: torch.nn.Module, seen: int, graph: str) -> onnx.ModelProto:
    """The artefact: uint8 in and out, dynamic batch, batch norm folded, the options in its metadata."""
    example = torch.zeros(
        (2, 1, options.size, options.size), dtype=torch.uint8
    )  # of 1, the batch would become a constant
    with warnings.catch_warnings():  # the exporter warns of its own internals
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Chroma(folded(options, generator), options.space).eval(),
            (example,),
            input_names=["gray"],
            output_names=["cbcr"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    model.ir_version = min(model.ir_version, IR)
    onnx.helper.set_model_props(
        model,
        {
            "recolor_fast.graph": graph,
            "recolor_fast.options": to_json(_public(options)),
            "recolor_fast.images": str(seen),
            "recolor_fast.versions": json.dumps(versions()),
        },
    )
    onnx.checker.check_model(model)
    return model


def _public(options: Options) -> Options:
    """Without the paths of the machine it was trained on."""
    files = {name: Path(getattr(options, name)).name for name in ("data", "lpips_weights", "feature_weights")}
    return replace(options, runs="runs", **files)  # type: ignore[arg-type]


def difference(path: Path, options: Options, generator: torch.nn.Module, gray: Tensor) -> tuple[int, float]:
    """Largest and mean difference, levels, between the artefact in onnxruntime (CPU) and torch, one by one."""
    artefact, graph = runtime.load(path, "cpu"), Chroma(generator, options.space).eval()
    largest, total = 0, 0.0
    for one in gray.split(1):
        with torch.no_grad():
            expected = graph(one).numpy().astype(np.int16)
        levels = np.abs(expected - artefact.run(one.numpy()).astype(np.int16))
        largest, total = max(largest, int(levels.max())), total + float(levels.mean())
    return largest, total / len(gray)


class Differs(Exception):
    """The artefact is not what was trained."""


def main(argv: list[str] | None = None) -> int:
    """Run the verb; returns the exit code."""
    arguments = tyro.cli(Arguments, args=argv, prog="python export/to_onnx.py")
    try:
        options, generator, _, seen = runs.trained(arguments.run)
        out = arguments.out or arguments.run / f"{arguments.run.resolve().name}-{arguments.graph}.onnx"
        if out.suffix != ".onnx":
            raise ValueError(f"out {out}: expected a name that ends in .onnx")
        proof = replace(options, loader="host")
        if arguments.data:
            proof = replace(proof, data=sources.resolve(arguments.data), per_class=None, val_per_class=None)
        paths, _ = index.usable(sources.photographs(proof).val[: arguments.photographs])
        gray, _ = loader.load(proof, paths)
        with replacing(out) as file:
            file.write(export(options, generator, seen, arguments.graph).SerializeToString())
            file.flush()
            largest, mean = difference(Path(file.name), options, generator, gray)
            print(
                f"onnxruntime against torch on {len(gray)} photographs: largest difference {largest} "
                f"of 255 levels, mean {mean:.5f}",
                file=sys.stderr,
            )
            if largest > BOUND:
                raise Differs(f"the artefact differs by more than {BOUND} level: not written")
    except Differs as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
