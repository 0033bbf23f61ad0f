"""What artefacts there are and how they fail: their graphs, precisions and providers, and the errors of loading one."""

import importlib
from functools import cache
from typing import Any, Literal

from recolor_fast.machine import extras
from recolor_fast.machine.errors import UserError

Provider = Literal["auto", "cpu", "openvino", "cuda", "tensorrt"]
Precision = Literal["fp32", "fp16", "int8"]
GRAPHS = {  # inputs and last the output: name, type and shape; None is any length, 0 the side of the options
    # prepared luminance -> JFIF Cb and Cr
    "chroma": (("gray", "uint8", (None, 1, 0, 0)), ("cbcr", "uint8", (None, 2, 0, 0))),
    # prepares and merges by itself
    "image": (("rgb", "uint8", (None, None, None, 3)), ("colored", "uint8", (None, None, None, 3))),
    # chroma that follows colors given at some places (hints.planes)
    "hints": (
        ("gray", "uint8", (None, 1, 0, 0)),
        ("hints", "float", (None, 3, 0, 0)),
        ("cbcr", "uint8", (None, 2, 0, 0)),
    ),
}
CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
OPENVINO = "OpenVINO"  # of the package openvino, not onnxruntime's provider
GPUS = (CUDA, TENSORRT)
BATCHES = {
    "chroma": (1, 8, 32),
    "hints": (1, 1, 8),
}  # least, usual and most of what a TensorRT engine takes at once; "image" is in no form that TensorRT takes


class BadArtefact(UserError):
    """A file that is no usable artefact; the text is one sentence that names it and says what to do."""

    exit_code = 4


class NoProvider(UserError):
    """A provider that cannot run here; the text is one sentence that names it and says what to install."""

    exit_code = 4

    def __init__(self, provider: str, reason: str, advice: str):
        super().__init__(f"provider {provider}: {reason}; {advice}")
        self.reason = reason


class NoRuntime(NoProvider):
    """No onnxruntime, so no provider at all."""

    def __init__(self, reason: str):
        ValueError.__init__(self, reason)
        self.reason = reason


def one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@cache
def ort() -> Any:
    """onnxruntime, imported when it is first needed. Raises NoRuntime."""
    if reason := extras.no_onnxruntime():
        raise NoRuntime(reason)
    return importlib.import_module("onnxruntime")
