"""A Triton model repository: a folder of an artefact and the config.pbtxt that Triton's onnxruntime backend reads.

DIR/NAME/config.pbtxt, DIR/NAME/1/model.onnx and its card, DIR/NAME/README.md. The fields of the
config are those of ModelConfig in Triton's model_config.proto.
"""

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recolor_fast.artefact.signatures import GRAPHS, Precision
from recolor_fast.machine import files
from recolor_fast.machine.errors import UserError

MODEL = Path("1", "model.onnx")  # version 1 of a model, where the backend looks for it
CARD = "README.md"  # in the folder of a model, which Triton looks for nothing else in
TYPES = {"uint8": "TYPE_UINT8", "float": "TYPE_FP32"}
MOST = {"chroma": 32, "hints": 8, "image": 1}  # of a batch; the photographs of "image" have sizes of their own
DELAY = 2000  # microseconds that a request may wait for others to be computed with


def config(name: str, graph: str, size: int, precision: Precision) -> str:
    """config.pbtxt of an artefact: `graph` a key of GRAPHS, `size` the side in pixels that its options say.

    The batch is Triton's own dimension, so it is not among `dims`; -1 is any length. int8 stays on the processor, as in
    runtime.load; anything else goes to the GPUs where there are some.
    """
    *inputs, output = GRAPHS[graph]
    most = MOST[graph]
    lines = [f"name: {json.dumps(name, ensure_ascii=False)}", 'backend: "onnxruntime"', f"max_batch_size: {most}"]
    for kind, values in (("input", inputs), ("output", [output])):
        for field, numbers, (_, *shape) in values:
            dims = ", ".join(str({None: -1, 0: size}.get(length, length)) for length in shape)
            lines += [f"{kind} [", f'  {{ name: "{field}", data_type: {TYPES[numbers]}, dims: [ {dims} ] }}', "]"]
    if most > 1:  # requests that wait at the same time are computed together
        lines.append(f"dynamic_batching {{ max_queue_delay_microseconds: {DELAY} }}")
    lines.append(f"instance_group [ {{ count: 1, kind: {'KIND_CPU' if precision == 'int8' else 'KIND_AUTO'} }} ]")
    return "\n".join(lines) + "\n"


def check(repository: Path, name: str) -> None:
    """Raise UserError where a repository has a model of this name: it may be one that a server has loaded."""
    if os.path.lexists(repository / name):
        raise UserError(f"{repository / name} is there already: remove it, or give --triton another folder")


def card(file: Path) -> Path:
    """Where the card of a model is whose file is this MODEL."""
    return file.parents[len(MODEL.parts) - 1] / CARD


@contextmanager
def model(repository: Path, name: str, text: str) -> Iterator[Path]:
    """Where to write the artefact of a new model, whose config.pbtxt is `text`. When the block ends, the model is in
    the repository, whole; on any error nothing is. Raises OSError, and UserError as `check` does."""
    check(repository, name)
    repository.mkdir(parents=True, exist_ok=True)
    part = repository / f".{uuid.uuid4().hex}.part"
    try:
        (part / MODEL).parent.mkdir(parents=True)
        yield part / MODEL
        files.write_text(part / "config.pbtxt", text)
        check(repository, name)  # once more: an export takes a while
        files.moved(part, repository / name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
