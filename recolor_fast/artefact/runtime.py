"""Exported artefacts in onnxruntime: load one and run it, without torch.

An artefact is one self-contained plain-ONNX file with one of three graphs (GRAPHS). Its metadata holds
`recolor_fast.graph`, `recolor_fast.options` (the run's options as JSON) and `recolor_fast.precision`. Files that would
bring code or other files along are refused.
"""

import ctypes
import hashlib
import importlib
import json
import os
import re
import shutil
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from functools import cache
from io import StringIO
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import cv2
import numpy as np

from recolor_fast.artefact.hints import Hint, draw
from recolor_fast.machine import extras, processors
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import SHIPPED, NotPrivate, private_folder
from recolor_fast.photographs import chroma, images
from recolor_fast.photographs.preparation import Preparation, from_options

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
    "image": (1, 1, 1),
    "hints": (1, 1, 8),
}  # least, usual and most of what a TensorRT engine takes at once
SIDES = (16, 1024, 4096)  # pixels, likewise, of the pictures that an "image" engine takes
MAX_BYTES = 2**31 - 1  # of an ONNX file: protobuf's own limit
_FATAL = 4  # onnxruntime's severity: its log tells of missing GPUs, and its errors come as exceptions as well


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


@cache
def ort() -> Any:
    """onnxruntime, imported when it is first needed. Raises NoRuntime."""
    if reason := extras.no_onnxruntime():
        raise NoRuntime(reason)
    return importlib.import_module("onnxruntime")


class Artefact(NamedTuple):
    """An exported generator, ready to run."""

    session: Any
    """What computes: its run(names of outputs, {name of input: batch}) is onnxruntime's."""
    options: Preparation
    """How `gray` is prepared (images.source); metadata["options"] are all of the run it was exported from, as JSON."""
    graph: str
    """What the graph computes, a key of GRAPHS."""
    provider: str
    """Execution provider that really runs it, as onnxruntime names it, or OPENVINO."""
    metadata: dict[str, str]
    """Of the file, without the prefix "recolor_fast."; "proof" is how far it is from what was trained (proof.py)."""
    precision: Precision = "fp32"
    """What the network inside computes in."""
    fallback: str = ""
    """Why auto took the CPU; empty otherwise."""
    name: str = ""
    """Of the file, without its suffix."""
    sha256: str = ""
    """Of the file, the first 16 digits."""

    def run(self, batch: np.ndarray, hints: np.ndarray | None = None) -> np.ndarray:
        """The graph itself. "chroma": prepared uint8 gray (N,1,S,S), S = options.size, to uint8 chroma (N,2,S,S), JFIF
        Cb and Cr, 128 neutral. "hints": the same with float32 hints (N,3,S,S) of hints.planes; None: no hints. "image":
        uint8 RGB (N,H,W,3) to uint8 RGB (N,H,W,3).

        TensorRT takes what BATCHES and SIDES say. RuntimeError with onnxruntime's reason where it fails (out of
        memory, say).
        """
        *given, (wanted, _, _) = GRAPHS[self.graph]
        feeds = {given[0][0]: batch}
        if len(given) > 1:
            size = self.options.size
            feeds["hints"] = np.zeros((len(batch), 3, size, size), np.float32) if hints is None else hints
        elif hints is not None:
            raise ValueError(f"model {self.name}: its graph {self.graph} follows no hints; export with --graph hints")
        try:
            return self.session.run([wanted], feeds)[0]
        except Exception as error:  # onnxruntime has a type for each of its status codes, with no common base
            name = OPENVINO if self.provider == OPENVINO else "onnxruntime"
            raise RuntimeError(f"{name} failed: {_one_line(error)[:200]}") from error

    def chroma(self, gray: np.ndarray, hints: Sequence[Hint] = ()) -> np.ndarray:
        """Chroma of uint8 luminance (H,W) of any size: uint8 (2,h,w), JFIF Cb and Cr, 128 neutral.

        h, w are options.size for the graph "chroma", and for "image" H, W, but reduced as images.source reduces: its
        chroma has no more detail, and its memory would know no bounds. `hints`, of the graph "hints" alone, have places
        in pixels of `gray`. Raises what `run` does, and ValueError for hints that lie outside.
        """
        options = self.options
        planes = draw(hints, gray.shape[1], gray.shape[0], options.size)[None] if hints else None
        if self.graph == "image":
            small = images.reduced(gray, images.reduction(gray.shape[1], gray.shape[0], options.size))
            return cbcr(self.run(cv2.cvtColor(small, cv2.COLOR_GRAY2RGB)[None], planes)[0])
        return self.run(images.source(gray, options)[None, None], planes)[0]


def shipped(graph: str = "chroma") -> Path:
    """The artefact of a graph (a key of GRAPHS) of the colorizer that comes with the package.

    Raises BadArtefact where it is missing, as a package without it is not whole, and ValueError for another graph.
    """
    if graph not in GRAPHS:
        raise ValueError(f"graph {graph}: expected {', '.join(GRAPHS)}")
    path = SHIPPED / f"colorizer-{graph}.onnx"
    if not path.is_file():
        raise BadArtefact(
            f"{path}: the colorizer that comes with recolor_fast is missing, so the install is broken; install it "
            "again, or give a model of your own"
        )
    return path


def cbcr(rgb: np.ndarray) -> np.ndarray:
    """JFIF Cb and Cr (ITU-T T.871, section 7), rounded, of uint8 RGB (H,W,3): uint8 (2,H,W)."""
    y = np.array([0.299, 0.587, 0.114])
    rows = [(np.eye(3)[2] - y) / chroma.BLUE, (np.eye(3)[0] - y) / chroma.RED]
    planes = cv2.transform(rgb, np.column_stack([rows, [128, 128]]))  # OpenCV's own YCrCb is up to a level off
    return np.ascontiguousarray(planes.transpose(2, 0, 1))


def load(path: str | Path, provider: Provider = "auto", threads: int | None = None) -> Artefact:
    """Load an artefact onto a provider. `threads` compute one inference on the CPU; None: processors.threads().

    auto is cuda where it works, else cpu (Artefact.provider, Artefact.fallback); cpu for int8, whose convolutions
    onnxruntime has for processors alone: on a GPU they are float32 between conversions; never tensorrt, which builds an
    engine when it first loads a model, for minutes, nor openvino. Raises BadArtefact for any file that is no artefact,
    NoProvider for a provider that cannot run here, saying what is missing, and ValueError for other arguments.
    """
    if provider not in get_args(Provider):
        raise ValueError(f"provider {provider}: expected {', '.join(get_args(Provider))}")
    threads = processors.threads() if threads is None else threads
    if threads < 1:
        raise ValueError(f"threads {threads}: expected 1 or more")
    ort()
    data = _read(path)
    _check_plain(data, path)
    try:
        session = _session(data, [CPU], threads)  # first: what the CPU refuses is the file's fault, not a GPU's
    except Exception as error:  # onnxruntime has a type for each of its status codes, with no common base
        raise BadArtefact(f"{path}: {_refusal(error)}") from error
    name, digest = Path(path).stem, hashlib.sha256(data).hexdigest()[:16]
    on_cpu = _artefact(session, path)._replace(name=name, sha256=digest)
    if provider == "cpu":
        return on_cpu
    if provider == "openvino":
        return on_cpu._replace(session=_OpenVINO(data, threads), provider=OPENVINO)
    if provider == "auto" and on_cpu.precision == "int8":
        reason = cuda_missing() or "int8 is computed as such on processors alone; export fp16 for a GPU"
        return on_cpu._replace(fallback=reason)
    try:
        session = _tensorrt(data, on_cpu, threads) if provider == "tensorrt" else _cuda(data, threads)
    except NoProvider as error:
        if provider != "auto":
            raise
        return on_cpu._replace(fallback=error.reason)
    return on_cpu._replace(session=session, provider=session.get_providers()[0])


def _session(data: bytes, providers: list[Any], threads: int) -> Any:
    """A session on a model's bytes that cannot reach any other file; onnxruntime's exceptions as they are."""
    settings = ort().SessionOptions()
    settings.log_severity_level = _FATAL
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    # Threads that wait in a loop take the processors from decoding and encoding: with other work on the machine that
    # made inference 1.5 times slower (bench/LOG.md).
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.add_session_config_entry("session.load_model_format", "ONNX")
    # For a model in memory, onnxruntime looks for external data in the working folder. No file lies below a device.
    settings.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    ort().set_default_logger_severity(_FATAL)
    # Without fallback: else what a GPU provider cannot do is done by another one, with lines on stdout.
    return ort().InferenceSession(data, settings, providers=providers, enable_fallback=0)


# --- files ---------------------------------------------------------------------------------------------------------

_ELSE = "give the .onnx file of an export"
_KINDS = (  # what files that are no ONNX begin with, byte by byte, and what they are
    (
        rb"PK\x03\x04|\x80[\x02-\x05]",
        "a PyTorch file, never loaded as it may hold code; export its run to .onnx",
    ),
    (rb".{4}ORTM", "a model in onnxruntime's own format (.ort); " + _ELSE),
    (rb"[fp]trt", "a TensorRT engine, which is never loaded as it is native code; " + _ELSE),
    (rb"\s*<", "a web page or other markup, perhaps of a failed download; " + _ELSE),
    (rb"version https://git-lfs", "a Git LFS pointer, not the file itself; fetch it with git lfs pull"),
)
_SUFFIXES = {  # for files whose first bytes say nothing
    **dict.fromkeys((".engine", ".plan", ".trt"), _KINDS[2][1]),
    **dict.fromkeys((".pt", ".pt2", ".pth", ".ckpt"), _KINDS[0][1]),
    ".ort": _KINDS[1][1],
}


def _read(path: str | Path) -> bytes:
    """The bytes of a regular file that may be a model. Raises BadArtefact."""
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # a folder; reading a FIFO would wait, and a device has no end
            raise BadArtefact(f"{path}: a folder or no regular file; {_ELSE}")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(64)
            kind = next((what for start, what in _KINDS if re.match(start, head, re.S)), None)
            if kind := kind or _SUFFIXES.get(path.suffix.lower()):
                raise BadArtefact(f"{path}: {kind}")
            if not head:
                raise BadArtefact(f"{path}: the file is empty; {_ELSE}")
            if size > MAX_BYTES:
                raise BadArtefact(f"{path}: {size:,} bytes, an ONNX file has at most {MAX_BYTES:,}; {_ELSE}")
            return head + file.read(MAX_BYTES)
    except OSError as error:
        raise BadArtefact(f"{path}: cannot be read ({error.strerror}); {_ELSE}") from error
    except MemoryError as error:
        raise BadArtefact(f"{path}: {size:,} bytes do not fit into memory; {_ELSE}") from error


# The fields of ONNX's messages below which code and other files can be referred to (onnx.proto3): the number of a field
# and what it is. "refused" and "external" are what an artefact must not have.
_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "functions"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute", 7: "domain"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external", 14: "location"},
}
_REFUSED = {
    "training": "a training graph",
    "functions": "functions of its own",
    "external": "external data, tensors that lie in other files",
    "location": "external data, tensors that lie in other files",
}
_DEEPEST = 32  # messages inside each other; an If inside an If takes three
_MOST_FIELDS = 4_000_000  # of all messages: an export has some thousands; keeps the walk below some seconds


def _check_plain(data: bytes, path: str | Path) -> None:
    """Raises BadArtefact unless these are the bytes of one plain ONNX model: standard operators, everything inside.

    Walks protobuf's wire format, as onnxruntime would take operators of its own (among them EPContext, native code)
    and files that tensors name. Any occurrence counts, also one that a parser would overwrite by a later one.
    """
    budget = _MOST_FIELDS
    waiting = [("model", 0, len(data), 0)]
    try:
        while waiting:
            message, at, end, depth = waiting.pop()
            if depth > _DEEPEST:
                raise BadArtefact(f"{path}: graphs nested more than {_DEEPEST} deep; export it again")
            known = _MESSAGES[message]
            while at < end:
                budget -= 1
                if not budget:
                    raise BadArtefact(f"{path}: more than {_MOST_FIELDS:,} values, as no export has; {_ELSE}")
                tag, at = _varint(data, at, end)
                field, wire, start = tag >> 3, tag & 7, at
                if wire == 0:
                    value, at = _varint(data, at, end)
                elif wire == 2:
                    value, start = _varint(data, at, end)
                    at = start + value
                elif wire in (1, 5):
                    at += 8 if wire == 1 else 4
                if wire not in (0, 1, 2, 5) or not 0 < field < 2**29 or at > end:
                    raise IndexError
                kind = known.get(field)
                if kind in _REFUSED and not (kind == "location" and wire == 0 and value == 0):
                    raise BadArtefact(f"{path}: it has {_REFUSED[kind]}, which is refused; export it again as one file")
                if kind == "domain" and wire == 2 and (domain := data[start:at]) not in (b"", b"ai.onnx"):
                    name = domain[:40].decode(errors="replace")
                    raise BadArtefact(
                        f"{path}: it has operators of {name!r}, expected those of ONNX alone (no custom operators, no "
                        "compiled EPContext); export it again"
                    )
                if kind in _MESSAGES and wire == 2:
                    waiting.append((kind, start, at, depth + 1))
    except IndexError:
        raise BadArtefact(f"{path}: cut off, damaged or no ONNX model at all; {_ELSE}") from None


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A protobuf integer and where it ends. IndexError where there is none before `end`."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise IndexError
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise IndexError


def _refusal(error: Exception) -> str:
    """Why onnxruntime takes no session on a model whose bytes are in order, and what to do."""
    reason = _one_line(error)
    newer = re.search(r"Opset \d+ is under|support for domain \S+ is till opset \d+|max supported IR version", reason)
    if newer:
        what = re.search(r"till opset \d+|max supported IR version: \d+", reason)
        limit = f" ({what.group()})" if what else ""
        return f"newer than onnxruntime {ort().__version__} takes{limit}; install a newer one or export it again"
    return f"onnxruntime {ort().__version__} refuses it, export it again ({reason[:200]})"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _shape(lengths: Sequence[int | None]) -> str:
    return f"({','.join('any' if length is None else str(length) for length in lengths)})"


def _artefact(session: Any, path: str | Path) -> Artefact:
    """A session of the CPU as an artefact, once it is sure to be what it says. Raises BadArtefact."""
    try:
        metadata = session.get_modelmeta().custom_metadata_map
        values = [*session.get_inputs(), *session.get_outputs()]
        found = [(value.name, value.type, [d if isinstance(d, int) else None for d in value.shape]) for value in values]
    except UnicodeDecodeError as error:
        raise BadArtefact(f"{path}: its texts are damaged ({error.reason}); export it again") from error
    graph = metadata.get("recolor_fast.graph")
    if graph is None or "recolor_fast.options" not in metadata:
        raise BadArtefact(f"{path}: an ONNX model, but not an export of recolor_fast; make one from a checkpoint")
    precision = metadata.get("recolor_fast.precision", "fp32")
    for name, value, known in (("graph", graph, (*GRAPHS,)), ("precision", precision, get_args(Precision))):
        if value not in known:
            raise BadArtefact(
                f"{path}: {name} {value[:40]!r}, expected {' or '.join(known)}; use the version of recolor_fast that "
                "exported it"
            )
    try:
        options = from_options(json.loads(metadata["recolor_fast.options"]))  # the others say how it was trained
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadArtefact(f"{path}: its options cannot be read ({_one_line(error)[:200]}); export it again") from error
    expected = [
        (name, f"tensor({type})", [options.size if length == 0 else length for length in shape])
        for name, type, shape in GRAPHS[graph]
    ]
    if found != expected:
        both = zip_longest(found, expected, ("output", *["input"] * (len(expected) - 1))[::-1])
        got, wanted, kind = next(one for one in both if one[0] != one[1])
        text = "nothing more" if wanted is None else f"{wanted[0]}, {_shape(wanted[2])}"
        raise BadArtefact(f"{path}: {kind or 'value'} {got}, expected {text}; export it again")
    own_metadata = {key.removeprefix("recolor_fast."): value for key, value in metadata.items()}
    return Artefact(session, options, graph, session.get_providers()[0], own_metadata, precision)


# --- providers -----------------------------------------------------------------------------------------------------


def cuda_missing() -> str:
    """What keeps onnxruntime from CUDA on this machine, as half a sentence; empty if nothing is found missing."""
    if CUDA not in ort().get_available_providers():
        return f"onnxruntime {ort().__version__} has no CUDA provider (install onnxruntime-gpu in its place)"
    return extras.nvidia_driver() and f"no NVIDIA driver is installed ({extras.DRIVER} is missing)"


_WINDOWS = sys.platform == "win32"


def _load_error(library: str) -> str:
    """The system's words for why a shared library cannot be loaded; empty if it can."""
    try:
        ctypes.CDLL(library)
    except OSError as error:
        return str(error)
    return ""


def _library(provider: str) -> Path:
    """The shared library of an onnxruntime provider, "cuda" or "tensorrt"."""
    name = f"onnxruntime_providers_{provider}.dll" if _WINDOWS else f"libonnxruntime_providers_{provider}.so"
    return Path(ort().__file__).parent / "capi" / name


def _need_cuda(provider: str) -> None:
    """Load what onnxruntime's GPU providers link to. Raises NoProvider where there is no CUDA."""
    if missing := cuda_missing():
        raise NoProvider(provider, missing, "or use provider cpu")
    with redirect_stdout(StringIO()):  # it prints what it does not find
        ort().preload_dlls()  # the CUDA libraries of NVIDIA's wheels


# float32 is not rounded to TF32, so that a GPU gives what the CPU gives. A convolution's algorithm is looked up, not
# searched for by timing, which happens anew for every batch size that comes.
CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}


def _cuda(data: bytes, threads: int) -> Any:
    _need_cuda("cuda")
    return _checked("cuda", data, [(CUDA, CUDA_OPTIONS), CPU], threads, "use provider cpu")


def _checked(provider: str, data: bytes, providers: list[Any], threads: int, advice: str) -> Any:
    """A session that really runs on the first of `providers`. Raises NoProvider."""
    wanted = providers[0] if isinstance(providers[0], str) else providers[0][0]
    try:
        session = _session(data, providers, threads)
    except Exception as error:  # onnxruntime has a type for each of its status codes, with no common base
        raise NoProvider(provider, f"onnxruntime failed ({_one_line(error)[:300]})", advice) from error
    if session.get_providers()[0] != wanted:  # it leaves out, in silence, a provider that does not start
        # Asked only now: loaded before onnxruntime itself loads it, a provider would start up without its host.
        reason = _load_error(str(_library(provider))) or f"its {provider} provider does not start"
        raise NoProvider(provider, f"onnxruntime cannot use it ({reason})", advice)
    return session


def _tensorrt(data: bytes, artefact: Artefact, threads: int) -> Any:
    """A session on TensorRT, its engine from the private cache or built now. Raises NoProvider."""
    _need_cuda("tensorrt")
    if TENSORRT not in ort().get_available_providers() or not _library("tensorrt").is_file():
        raise NoProvider("tensorrt", f"onnxruntime {ort().__version__} has none", "use provider cuda")
    library, major, wheel = needed_tensorrt(_library("tensorrt").read_bytes())
    with suppress(ImportError, OSError):
        importlib.import_module("tensorrt_libs")  # of NVIDIA's wheels: it loads the libraries that lie in it
    try:
        version = ctypes.CDLL(library).getInferLibVersion()
    except (OSError, AttributeError) as error:
        raise NoProvider("tensorrt", str(error), f"pip install '{wheel}', or use provider cuda") from error
    sm, profile = _compute_capability(), profiles(artefact.graph, artefact.options.size)
    key = json.dumps([hashlib.sha256(data).hexdigest(), sm, version, ort().__version__, profile])
    try:
        with _engines(hashlib.sha256(key.encode()).hexdigest()[:32], f"timing-{version}-sm{sm}") as folder:
            settings = tensorrt_options(artefact, profile, folder, major)
            advice = f"remove {private_cache()} to build its engine anew, or use provider cuda"
            return _checked("tensorrt", data, [(TENSORRT, settings), (CUDA, CUDA_OPTIONS), CPU], threads, advice)
    except OSError as error:
        raise NoProvider("tensorrt", f"its cache cannot be used ({error})", "set RECOLOR_FAST_CACHE") from error


class _OpenVINO:
    """A model in OpenVINO on the CPU, with onnxruntime's `run`. As many inferences at a time as processors allow."""

    def __init__(self, data: bytes, threads: int) -> None:
        """Raises NoProvider where the package is missing or does not take the model."""
        try:
            openvino = importlib.import_module("openvino")
            streams = max(1, processors.threads() // threads)
            settings = {
                "INFERENCE_NUM_THREADS": streams * threads,
                "NUM_STREAMS": streams,
                "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 where the processor has it
            }
            core = openvino.Core()
            self._model = core.compile_model(core.read_model(data), "CPU", settings)
        except ImportError as error:
            raise NoProvider("openvino", _one_line(error), "pip install openvino, or use provider cpu") from error
        except Exception as error:  # RuntimeErrors of its C++
            raise NoProvider("openvino", f"it failed ({_one_line(error)[:300]})", "use provider cpu") from error
        self._requests = threading.local()  # a request computes one batch at a time

    def run(self, wanted: list[str], given: dict[str, np.ndarray]) -> list[np.ndarray]:
        if not hasattr(self._requests, "own"):
            self._requests.own = self._model.create_infer_request()
        results = self._requests.own.infer(given)
        return [np.array(results[name]) for name in wanted]


def needed_tensorrt(provider: bytes) -> tuple[str, int, str]:
    """The TensorRT library that onnxruntime's provider, given as bytes, links to, its major version, and the pip
    requirement that has it. Raises NoProvider."""
    found = re.search(rb"libnvinfer\.so\.(\d+)|nvinfer_(\d+)\.dll", provider)
    if not found:
        raise NoProvider("tensorrt", "onnxruntime's provider links to no TensorRT known here", "use provider cuda")
    major = int(found.group(1) or found.group(2))
    cuda = str(getattr(ort(), "cuda_version", "") or "13").split(".")[0]
    return found.group().decode(), major, f"tensorrt-cu{cuda}>={major},<{major + 1}"


def profiles(
    graph: str, size: int, batch: tuple[int, int, int] | None = None, sides: tuple[int, int, int] = SIDES
) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Shapes a TensorRT engine is built for: each input's name, and its least, usual and largest shape.

    `size` is that of the options; `batch` (None: BATCHES) and `sides`, pixels, are least, usual and largest too.
    """
    return {
        name: tuple(
            (count, *(side if length is None else length or size for length in shape[1:]))
            for count, side in zip(batch or BATCHES[graph], sides)
        )
        for name, _, shape in GRAPHS[graph][:-1]
    }


def tensorrt_options(
    artefact: Artefact, profile: dict[str, tuple[tuple[int, ...], ...]], folder: Path, major: int
) -> dict[str, Any]:
    """Options of onnxruntime's TensorRT provider that keeps its engine and timing cache in a folder."""
    texts = [",".join(f"{name}:{'x'.join(map(str, shapes[i]))}" for name, shapes in profile.items()) for i in range(3)]
    return {
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(folder),
        "trt_engine_hw_compatible": False,
        **dict(zip(("trt_profile_min_shapes", "trt_profile_opt_shapes", "trt_profile_max_shapes"), texts)),
        # With TensorRT 10 onnxruntime builds weakly typed networks, which refuse types of the file that no flag allows
        # (microsoft/onnxruntime issue 13381); from 11 on the file's types alone count.
        "trt_fp16_enable": artefact.precision == "fp16" and major < 11,
        "trt_int8_enable": artefact.precision == "int8" and major < 11,
    }


def private_cache() -> Path:
    """The folder of TensorRT's engines, native code that is loaded unseen: made for this user alone (mode 0700).

    Raises OSError where it cannot be made, and NoProvider where others own it or may write to it.
    """
    try:
        return private_folder("tensorrt")
    except NotPrivate as error:
        advice = "remove it, or chmod 700 it if only you ever wrote to it"
        raise NoProvider("tensorrt", f"{error}, and engines are native code", advice) from error


@contextmanager
def _engines(key: str, timing: str) -> Iterator[Path]:
    """The private folder of one engine; while it is built another one, which takes its place when it is complete.

    onnxruntime writes engines in place: a kill would leave half of one, and two processes would mix theirs.
    `timing` names TensorRT's measurements of its kernels, which all engines of one GPU and version share.
    """
    cache = private_cache()
    if (cache / key).is_dir():
        yield cache / key
        return
    part = cache / f".{uuid.uuid4().hex}.part"
    part.mkdir(mode=0o700)
    try:
        for known in (cache / timing).glob("*.timing"):
            shutil.copy(known, part)
        yield part
        (cache / timing).mkdir(mode=0o700, exist_ok=True)
        for measured in part.glob("*.timing"):
            os.replace(measured, cache / timing / measured.name)
        with suppress(OSError):  # another process was faster: its engine is as good
            part.rename(cache / key)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def place(artefact: Artefact) -> str:
    """Where an artefact computes, in words: "on the processor", "on the GPU (NVIDIA H200)"; and why not on the GPU,
    where NVIDIA's driver is there."""
    if artefact.provider in GPUS:
        by = " by TensorRT" if artefact.provider == TENSORRT else ""
        return f"on the GPU ({gpu_name() or 'CUDA'}){by}"
    reason = artefact.fallback if artefact.fallback and not extras.nvidia_driver() else ""
    return f"on the processor{' by OpenVINO' if artefact.provider == OPENVINO else ''}{reason and f' ({reason})'}"


def gpu_name() -> str:
    """The first visible NVIDIA GPU as its driver calls it; empty without one."""
    try:
        driver = ctypes.CDLL(extras.DRIVER)
    except OSError:
        return ""
    device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    failed = driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0)
    failed = failed or driver.cuDeviceGetName(name, len(name), device)
    return "" if failed else name.value.decode(errors="replace")


def _compute_capability() -> str:
    """Of the first visible NVIDIA GPU, as in "90" for 9.0, from the driver. Raises NoProvider without one."""
    driver = ctypes.CDLL(extras.DRIVER)
    device, values = ctypes.c_int(), []
    failed = driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0)
    for attribute in (75, 76):  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
        value = ctypes.c_int()
        failed = failed or driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        values.append(str(value.value))
    if failed:
        raise NoProvider("tensorrt", f"the NVIDIA driver sees no GPU (CUDA error {failed})", "use provider cpu")
    return "".join(values)
