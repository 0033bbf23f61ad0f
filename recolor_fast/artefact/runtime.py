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
import sys
import threading
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from io import StringIO
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, get_args

import cv2
import numpy as np

from recolor_fast.artefact import engines, plain
from recolor_fast.artefact.hints import Hint, draw
from recolor_fast.artefact.signatures import (
    CPU,
    CUDA,
    GPUS,
    GRAPHS,
    OPENVINO,
    TENSORRT,
    BadArtefact,
    NoProvider,
    Precision,
    Provider,
    one_line,
    ort,
)
from recolor_fast.machine import extras, processors
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import SHIPPED
from recolor_fast.photographs import chroma, images
from recolor_fast.photographs.preparation import Preparation, from_options

_FATAL = 4  # onnxruntime's severity: its log tells of missing GPUs, and its errors come as exceptions as well


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

        TensorRT takes what BATCHES says. RuntimeError with onnxruntime's reason where it fails (out of
        memory, say).
        """
        *inputs, (output, _, _) = GRAPHS[self.graph]
        feeds = {inputs[0][0]: batch}
        if len(inputs) > 1:
            size = self.options.size
            feeds["hints"] = np.zeros((len(batch), 3, size, size), np.float32) if hints is None else hints
        elif hints is not None:
            raise UserError(f"model {self.name}: its graph {self.graph} follows no hints; export with --graph hints")
        try:
            return self.session.run([output], feeds)[0]
        except Exception as error:  # onnxruntime has a type for each of its status codes, with no common base
            name = OPENVINO if self.provider == OPENVINO else "onnxruntime"
            raise RuntimeError(f"{name} failed: {one_line(error)[:200]}") from error

    def chroma(self, gray: np.ndarray, hints: Sequence[Hint] = (), border: images.Border | None = None) -> np.ndarray:
        """Chroma of uint8 luminance (H,W) of any size: uint8 (2,h,w), JFIF Cb and Cr, 128 neutral.

        h, w are options.size for the graph "chroma", and for "image" H, W, but reduced as images.source reduces: its
        chroma has no more detail, and its memory would know no bounds. `hints`, of the graph "hints" alone, have places
        in pixels of `gray`. `border` is left out where `gray` is equalized (but in the graph "image", which does that
        itself). Raises what `run` does, and ValueError for hints that lie outside.
        """
        options = self.options
        planes = draw(hints, gray.shape[1], gray.shape[0], options.size)[None] if hints else None
        if self.graph == "image":
            small = images.reduced(gray, images.reduction(gray.shape[1], gray.shape[0], options.size))
            return cbcr(self.run(cv2.cvtColor(small, cv2.COLOR_GRAY2RGB)[None], planes)[0])
        return self.run(images.source(gray, options, border)[None, None], planes)[0]


def shipped(graph: str = "chroma") -> Path:
    """The artefact of a graph (a key of GRAPHS) of the colorizer that comes with the package.

    Raises BadArtefact where it is missing, as a package without it is not whole, and ValueError for another graph.
    """
    if graph not in GRAPHS:
        raise UserError(f"graph {graph}: expected {', '.join(GRAPHS)}")
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
        raise UserError(f"provider {provider}: expected {', '.join(get_args(Provider))}")
    threads = processors.threads() if threads is None else threads
    if threads < 1:
        raise UserError(f"threads {threads}: expected 1 or more")
    ort()
    data = plain.read(path)
    plain.check(data, path)
    try:
        session = new_session(data, [CPU], threads)  # first: what the CPU refuses is the file's fault, not a GPU's
    except Exception as error:  # onnxruntime has a type for each of its status codes, with no common base
        raise BadArtefact(f"{path}: {_refusal(error)}") from error
    name, digest = Path(path).stem, hashlib.sha256(data).hexdigest()[:16]
    on_cpu = described(session, path)._replace(name=name, sha256=digest)
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


def new_session(data: bytes, providers: list[Any], threads: int) -> Any:
    """A session on a model's bytes that cannot reach any other file; onnxruntime's exceptions as they are."""
    settings = ort().SessionOptions()
    settings.log_severity_level = _FATAL
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    # Threads that wait in a loop take the processors from decoding and encoding: with other work on the machine that
    # made inference 1.5 times slower (bench/LOG.md).
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.add_session_config_entry("session.load_model_format", "ONNX")
    # Else int8 is 2.7 levels off there: unsigned weights have other kernels, half as fast, whose sums always fit.
    settings.add_session_config_entry("session.x64quantprecision", "1" if processors.saturates() else "0")
    # For a model in memory, onnxruntime looks for external data in the working folder. No file lies below a device.
    settings.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    ort().set_default_logger_severity(_FATAL)
    # Without fallback: else what a GPU provider cannot do is done by another one, with lines on stdout.
    return ort().InferenceSession(data, settings, providers=providers, enable_fallback=0)


def _refusal(error: Exception) -> str:
    """Why onnxruntime takes no session on a model whose bytes are in order, and what to do."""
    reason = one_line(error)
    newer = re.search(r"Opset \d+ is under|support for domain \S+ is till opset \d+|max supported IR version", reason)
    if newer:
        what = re.search(r"till opset \d+|max supported IR version: \d+", reason)
        limit = f" ({what.group()})" if what else ""
        return f"newer than onnxruntime {ort().__version__} takes{limit}; install a newer one or export it again"
    return f"onnxruntime {ort().__version__} refuses it, export it again ({reason[:200]})"


def _shape(lengths: Sequence[int | None]) -> str:
    return f"({','.join('any' if length is None else str(length) for length in lengths)})"


def described(session: Any, path: str | Path) -> Artefact:
    """A session of the CPU as an artefact, once it is sure to be what it says. Raises BadArtefact."""
    try:
        metadata = session.get_modelmeta().custom_metadata_map
        values = [*session.get_inputs(), *session.get_outputs()]
        signature = [
            (value.name, value.type, [d if isinstance(d, int) else None for d in value.shape]) for value in values
        ]
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
        raise BadArtefact(f"{path}: its options cannot be read ({one_line(error)[:200]}); export it again") from error
    expected = [
        (name, f"tensor({type})", [options.size if length == 0 else length for length in shape])
        for name, type, shape in GRAPHS[graph]
    ]
    if signature != expected:
        both = zip_longest(signature, expected, ("output", *["input"] * (len(expected) - 1))[::-1])
        got, declared, kind = next(one for one in both if one[0] != one[1])
        text = "nothing more" if declared is None else f"{declared[0]}, {_shape(declared[2])}"
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


def provider_library(provider: str) -> Path:
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
    asked = providers[0] if isinstance(providers[0], str) else providers[0][0]
    try:
        session = new_session(data, providers, threads)
    except Exception as error:  # onnxruntime has a type for each of its status codes, with no common base
        raise NoProvider(provider, f"onnxruntime failed ({one_line(error)[:300]})", advice) from error
    if session.get_providers()[0] != asked:  # it leaves out, in silence, a provider that does not start
        # Asked only now: loaded before onnxruntime itself loads it, a provider would start up without its host.
        reason = _load_error(str(provider_library(provider))) or f"its {provider} provider does not start"
        raise NoProvider(provider, f"onnxruntime cannot use it ({reason})", advice)
    return session


def _tensorrt(data: bytes, artefact: Artefact, threads: int) -> Any:
    """A session on TensorRT, its engine from the private cache or built now. Raises NoProvider."""
    profile = engines.profiles(artefact.graph, artefact.options.size)
    _need_cuda("tensorrt")
    if TENSORRT not in ort().get_available_providers() or not provider_library("tensorrt").is_file():
        raise NoProvider("tensorrt", f"onnxruntime {ort().__version__} has none", "use provider cuda")
    library, major, wheel = engines.needed_tensorrt(provider_library("tensorrt").read_bytes())
    with suppress(ImportError, OSError):
        importlib.import_module("tensorrt_libs")  # of NVIDIA's wheels: it loads the libraries that lie in it
    try:
        version = ctypes.CDLL(library).getInferLibVersion()
    except (OSError, AttributeError) as error:
        raise NoProvider("tensorrt", str(error), f"pip install '{wheel}', or use provider cuda") from error
    sm = engines.compute_capability()
    key = json.dumps([hashlib.sha256(data).hexdigest(), sm, version, ort().__version__, profile])
    try:
        with engines.engines(hashlib.sha256(key.encode()).hexdigest()[:32], f"timing-{version}-sm{sm}") as folder:
            settings = engines.tensorrt_options(artefact.precision, profile, folder, major)
            advice = f"remove {engines.private_cache()} to build its engine anew, or use provider cuda"
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
            raise NoProvider("openvino", one_line(error), "pip install openvino, or use provider cpu") from error
        except Exception as error:  # RuntimeErrors of its C++
            raise NoProvider("openvino", f"it failed ({one_line(error)[:300]})", "use provider cpu") from error
        self._requests = threading.local()  # a request computes one batch at a time

    def run(self, outputs: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        if not hasattr(self._requests, "own"):
            self._requests.own = self._model.create_infer_request()
        results = self._requests.own.infer(feeds)
        return [np.array(results[name]) for name in outputs]


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
