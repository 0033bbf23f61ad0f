"""Exported artefacts in onnxruntime: load one and run it, without torch.

An artefact is one self-contained plain-ONNX file. Its metadata holds `recolor_fast.graph` ("chroma") and
`recolor_fast.options` (the run's options as JSON); input `gray` uint8 (N,1,S,S), output `cbcr` uint8 (N,2,S,S).
"""

import ctypes
import json
import os
import sys
from contextlib import redirect_stdout
from dataclasses import fields
from io import StringIO
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import onnxruntime

from recolor_fast import images
from recolor_fast.options import Options, from_dict

Device = Literal["auto", "cpu", "cuda"]
Provider = Literal["auto", "cpu", "cuda", "tensorrt"]
GRAPHS = ("chroma",)
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_FATAL = 4  # onnxruntime's severity: its log tells of missing GPUs, and its errors come as exceptions as well


class BadArtefact(ValueError):
    """A file that is no usable artefact; the text is one sentence that names it and says what to do."""


class Artefact(NamedTuple):
    """An exported generator, ready to run."""

    session: onnxruntime.InferenceSession
    options: Options
    """Options of the run it was exported from; size, equalize and blur say how `gray` is prepared (images.source)."""
    graph: str
    """What the graph computes: "chroma"."""
    provider: str
    """Execution provider that runs it, as onnxruntime names it."""

    def chroma(self, gray: np.ndarray) -> np.ndarray:
        o = self.options
        return self.run(images.source(gray, o.size, o.equalize != "none", o.blur != "none")[None, None])[0]

    def run(self, gray: np.ndarray) -> np.ndarray:
        """Prepared uint8 gray (N,1,S,S), S = options.size, to uint8 chroma (N,2,S,S), JFIF Cb and Cr, 128 neutral.

        RuntimeError with onnxruntime's reason where it fails (out of memory, say).
        """
        try:
            return self.session.run(["cbcr"], {"gray": gray})[0]
        except Exception as error:  # onnxruntime has a type for each of its status codes, with no common base
            raise RuntimeError(f"onnxruntime failed: {' '.join(str(error).split())[:200]}") from error


def load(path: str | Path, device: Provider = "auto", threads: int | None = None) -> Artefact:
    """Load an artefact onto a device; auto is CUDA where it works, else the CPU (see Artefact.provider).

    Raises BadArtefact for any file that is no artefact, and ValueError, naming what is missing, for device "cuda"
    where CUDA cannot run.
    """
    if device not in get_args(Device):
        raise ValueError(f"device {device}: expected auto, cpu or cuda")
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise BadArtefact(f"{path}: cannot be read ({error.strerror}); give the .onnx file of an export") from error
    missing = "" if device == "cpu" else cuda_missing()
    if device == "cpu" or (device == "auto" and missing):
        session = _session(data, path, [CPU])
    elif missing:
        raise ValueError(f"device cuda: {missing}; or use device cpu")
    else:
        with redirect_stdout(StringIO()):  # it prints what it does not find
            onnxruntime.preload_dlls()  # the CUDA libraries of NVIDIA's wheels
        session = _session(data, path, [CUDA, CPU])
    provider = session.get_providers()[0]
    if device == "cuda" and provider != CUDA:  # onnxruntime falls back in silence
        raise ValueError(f"device cuda: onnxruntime cannot use it ({_fallback_reason()}); or use device cpu")
    options, graph = _contract(session, path)
    return Artefact(session, options, graph, provider)


def _session(data: bytes, path: str | Path, providers: list[str]) -> onnxruntime.InferenceSession:
    """A session on a model's bytes that cannot reach any other file."""
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = _FATAL
    settings.intra_op_num_threads = images.threads()
    settings.add_session_config_entry("session.load_model_format", "ONNX")
    # For a model in memory, onnxruntime looks for external data in the working folder. No file lies below a device.
    settings.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    onnxruntime.set_default_logger_severity(_FATAL)
    try:
        return onnxruntime.InferenceSession(data, settings, providers=providers)
    except Exception as error:  # onnxruntime has a type for each of its status codes, with no common base
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BadArtefact(f"{path}: not a complete ONNX model in one file; export it again ({reason})") from error


def _contract(session: onnxruntime.InferenceSession, path: str | Path) -> tuple[Options, str]:
    """Options and graph of a loaded model, once it is sure to be what it says."""
    metadata = session.get_modelmeta().custom_metadata_map
    graph = metadata.get("recolor_fast.graph")
    if graph is None or "recolor_fast.options" not in metadata:
        raise BadArtefact(f"{path}: an ONNX model, but not an export of recolor_fast; make one from a checkpoint")
    if graph not in GRAPHS:
        raise BadArtefact(
            f"{path}: graph {graph!r}, expected {' or '.join(GRAPHS)}; use the version of recolor_fast that exported it"
        )
    try:
        stored = json.loads(metadata["recolor_fast.options"])
        own = {field.name for field in fields(Options)}  # others are of another version and say how it was trained
        options = from_dict({name: value for name, value in stored.items() if name in own})
    except (ValueError, TypeError, AttributeError) as error:
        raise BadArtefact(f"{path}: its options cannot be read ({error}); export it again") from error
    for kind, values, name, channels in (
        ("input", session.get_inputs(), "gray", 1),
        ("output", session.get_outputs(), "cbcr", 2),
    ):
        got = [(value.name, value.type, list(value.shape)[1:]) for value in values]
        if got != [(name, "tensor(uint8)", [channels, options.size, options.size])]:
            raise BadArtefact(
                f"{path}: {kind} {got}, expected {name}, uint8, (N,{channels},{options.size},{options.size}); "
                "export it again"
            )
    return options, graph


def cuda_missing() -> str:
    """What keeps onnxruntime from CUDA on this machine, as half a sentence; empty if nothing is found missing."""
    if CUDA not in onnxruntime.get_available_providers():
        return f"onnxruntime {onnxruntime.__version__} has no CUDA provider (install onnxruntime-gpu in its place)"
    driver = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    return _load_error(driver) and f"no NVIDIA driver is installed ({driver} is missing)"


def _load_error(library: str) -> str:
    """The system's words for why a shared library cannot be loaded; empty if it can."""
    try:
        ctypes.CDLL(library)
    except OSError as error:
        return str(error)
    return ""


def _fallback_reason() -> str:
    """Why onnxruntime fell back from CUDA, as the loader of its provider tells. Only after it tried: loaded before
    onnxruntime itself loads it, the provider would start up without its host."""
    library = "onnxruntime_providers_cuda.dll" if sys.platform == "win32" else "libonnxruntime_providers_cuda.so"
    return _load_error(str(Path(onnxruntime.__file__).parent / "capi" / library)) or "its CUDA provider does not start"
