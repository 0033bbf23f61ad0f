"""Checks of what colors photographs: decoders, the GPU's driver, and onnxruntime's providers. No torch."""

import ctypes
import importlib
import io
import shlex
import statistics
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec
from typing import Any

import numpy as np

from recolor_fast.artefact import engines, runtime
from recolor_fast.artefact.signatures import CUDA, TENSORRT, NoProvider, Provider, one_line, ort
from recolor_fast.doctor.findings import Finding, State
from recolor_fast.films.codecs import CODECS
from recolor_fast.machine import extras
from recolor_fast.photographs import encoders, images, libraries

CLOSE = 6.0  # levels that lossy formats may be off on average
TIMES = 5  # inferences whose median is told
CUDA_LIBRARIES = "'onnxruntime-gpu[cuda,cudnn]'"  # with what its provider loads
GPU = "with an NVIDIA GPU: "


# --- formats -------------------------------------------------------------------------------------------------------


def picture(height: int = 48, width: int = 64) -> np.ndarray:
    """A smooth picture in color, uint8 (H,W,3)."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([40 + 3 * x, 60 + 2 * y, 200 - x - y], -1).clip(0, 255).astype(np.uint8)


def formats() -> Iterator[Finding]:
    """What is written and read without an optional library."""
    of: dict[str, list[str]] = {}  # the formats, by why they do not work; by nothing where they do
    for name in encoders.WRITABLE:
        if name not in libraries.LIBRARIES:
            of.setdefault(_round_trip(name), []).append(name)
    for reason, names in of.items():
        if not reason:
            yield Finding("formats", "ok", f"written and read: {' '.join(names)}")
            continue
        mend = extras.reinstall("pillow opencv-python-headless simplejpeg")
        found = f"{', '.join(names)}: {reason}" if len(names) > 1 else reason
        yield Finding(f"format {names[0]}", "fault", found, mend)


def library(name: str) -> Iterator[Finding]:
    """One of photographs.libraries: a picture is written and read by it; a camera's raw file is read."""
    package, what = libraries.LIBRARIES[name].package, f"format {name}"
    if libraries.missing(name):
        yield Finding(what, "absent", f"{package} is not installed", f"{extras.pip()} {package}")
        return
    reason = _round_trip(name) if name in encoders.WRITABLE else _develops()
    if reason:
        yield Finding(what, "fault", f"{package}: {reason}", extras.reinstall(package))
    else:
        done = "written and read" if name in encoders.WRITABLE else "read"
        yield Finding(what, "ok", f"{done} by {package} {metadata.version(package)}")


def _round_trip(name: str) -> str:
    """Why a format cannot be written and read again; empty where it can."""
    expected = picture()
    try:
        found = images.read_rgb(encoders.encode(expected, None, name, 95))
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        return one_line(error)[:300]
    if found.shape != expected.shape:
        return f"{expected.shape} was written and {found.shape} read"
    off = float(np.abs(found.astype(int) - expected).mean())
    return f"what is read is {off:.1f} levels from what was written" if off > CLOSE else ""


def _develops() -> str:
    """Why a raw file cannot be developed; empty where it can."""
    try:
        found = images.read_rgb(raw_file(np.full((64, 64), 4000, np.uint16)))
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        return one_line(error)[:300]
    return "" if found.shape == (64, 64, 3) else f"a sensor of 64 x 64 became {found.shape}"


def raw_file(mosaic: np.ndarray) -> bytes:
    """A sensor's samples, uint16 (H,W), colors in squares of red, green, green and blue, as an uncompressed DNG."""
    height, width = mosaic.shape
    matrix = (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1)  # nine fractions
    tags: list[tuple[int, str, tuple]] = [
        (254, "I", (0,)),
        (256, "I", (width,)),
        (257, "I", (height,)),
        (258, "H", (16,)),  # BitsPerSample
        (259, "H", (1,)),  # Compression: none
        (262, "H", (32803,)),  # PhotometricInterpretation: a color filter array
        (271, "s", (b"Maker\0",)),
        (272, "s", (b"Model\0",)),
        (273, "I", (0,)),  # StripOffsets, below
        (277, "H", (1,)),
        (278, "I", (height,)),
        (279, "I", (2 * height * width,)),
        (33421, "H", (2, 2)),  # CFARepeatPatternDim
        (33422, "B", (0, 1, 1, 2)),  # CFAPattern
        (50706, "B", (1, 4, 0, 0)),  # DNGVersion
        (50708, "s", (b"Maker Model\0",)),  # UniqueCameraModel
        (50717, "I", (16383,)),  # WhiteLevel
        (50721, "2i", matrix),  # ColorMatrix1
        (50728, "2I", (1, 1, 1, 1, 1, 1)),  # AsShotNeutral
        (50778, "H", (21,)),  # CalibrationIlluminant1: D65
    ]
    kinds = {"B": (1, 1), "s": (2, 1), "H": (3, 2), "I": (4, 4), "2I": (5, 8), "2i": (10, 8)}  # type, bytes of one
    start = 8 + 2 + 12 * len(tags) + 4
    entries, beyond = b"", b""
    for tag, letters, values in tags:
        kind, size = kinds[letters]
        letter = letters[-1]
        data = values[0] if letter == "s" else struct.pack(f"<{len(values)}{letter}", *values)
        if tag == 273:
            place = len(entries)
        if len(data) > 4:
            beyond += b"\0" * (len(beyond) % 2)
            data, beyond = struct.pack("<I", start + len(beyond)), beyond + data
            count = (len(values[0]) if letter == "s" else struct.calcsize(f"<{len(values)}{letter}")) // size
        else:
            count = len(data) // size
        entries += struct.pack("<HHI", tag, kind, count) + data.ljust(4, b"\0")
    entries = entries[: place + 8] + struct.pack("<I", start + len(beyond)) + entries[place + 12 :]
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    return head + entries + bytes(4) + beyond + mosaic.astype("<u2").tobytes()


def films() -> Iterator[Finding]:
    """Two frames by each of the encoders that films are written with, read again."""
    av = importlib.import_module("av")
    lacking, broken = [], {}
    for name, codec in CODECS.items():
        try:
            if (count := _film(av, codec.encoder)) != 2:
                broken[name] = f"{count} of 2 frames are read"
        except av.codec.codec.UnknownCodecError:  # FFmpeg can be built without it
            lacking.append(name)
        except (OSError, ValueError, RuntimeError) as error:  # PyAV's other errors are of these
            broken[name] = one_line(error)[:200]
    if broken:
        found = "; ".join(f"{name}: {reason}" for name, reason in broken.items())
        yield Finding("films", "fault", found, extras.reinstall("av"))
    elif lacking:
        mend = f"{extras.pip()} --force-reinstall --no-deps --only-binary av av"  # PyPI's own has them all
        yield Finding("films", "absent", f"PyAV {av.__version__} has no encoder for {', '.join(lacking)}", mend)
    else:
        yield Finding("films", "ok", f"written and read by PyAV {av.__version__}: {' '.join(CODECS)}")


def _film(av: Any, encoder: str) -> int:
    """How many of two frames that an encoder writes are read again."""
    from recolor_fast.films.encoding import at_own_priority  # needs PyAV

    file = io.BytesIO()
    with av.open(file, "w", "matroska") as written:
        stream = written.add_stream(encoder, 25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        with at_own_priority():
            written.start_encoding()
        for _ in range(2):
            written.mux(stream.encode(av.VideoFrame.from_ndarray(picture(64, 64), "rgb24")))
        written.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as read:
        return sum(1 for _ in read.decode(video=0))


# --- GPU and providers ---------------------------------------------------------------------------------------------


def driver() -> Iterator[Finding]:
    """NVIDIA's driver, the CUDA it takes, and the GPUs it sees."""
    if missing := extras.nvidia_driver():
        yield Finding("NVIDIA driver", "absent", missing, "with an NVIDIA GPU: install its driver, then `nvidia-smi`")
        return
    library, number = ctypes.CDLL(extras.DRIVER), ctypes.c_int()
    failed = library.cuInit(0) or library.cuDeviceGetCount(ctypes.byref(number))
    if failed or not number.value:
        reason = f"CUDA error {failed}" if failed else "none"
        mend = "`nvidia-smi` says what the driver sees; in a container: docker run --gpus all"
        yield Finding("NVIDIA driver", "fault", f"it is installed and sees no GPU ({reason})", mend)
        return
    count = number.value
    library.cuDriverGetVersion(ctypes.byref(number))
    cuda = f"{number.value // 1000}.{number.value % 1000 // 10}"
    capability = engines.compute_capability()
    facts = {"cuda": cuda, "gpus": count, "name": runtime.gpu_name(), "compute_capability": capability}
    found = f"CUDA {cuda}, {count} GPU{'s' * (count > 1)}, the first {runtime.gpu_name()} (compute {capability})"
    yield Finding("NVIDIA driver", "ok", found, facts=facts)


def has_gpu() -> bool:
    """Whether the driver is there and sees a GPU."""
    return not extras.nvidia_driver() and bool(runtime.gpu_name())


def listed() -> Iterator[Finding]:
    """What onnxruntime says it has."""
    names = [name.removesuffix("ExecutionProvider") for name in ort().get_available_providers()]
    yield Finding(
        "providers", "ok", f"onnxruntime {ort().__version__} lists {', '.join(names)}", facts={"names": names}
    )


def provider(name: Provider) -> Iterator[Finding]:
    """A session of the shipped artefact on a provider, and a photograph through it."""
    started = time.perf_counter()
    try:
        artefact = runtime.load(runtime.shipped(), name)
        loaded = time.perf_counter() - started
        gray = np.full((1, 1, artefact.options.size, artefact.options.size), 128, np.uint8)
        milliseconds = 1000 * _median(artefact, gray)
    except NoProvider as error:
        state: State = "fault" if meant(name) else "absent"
        yield Finding(f"provider {name}", state, error.reason, mending(name))
        return
    found = f"loads the shipped model in {loaded:.2f} s, colors a photograph in {milliseconds:.3g} ms"
    facts = {"load_seconds": round(loaded, 3), "milliseconds": round(milliseconds, 3), "precision": artefact.precision}
    yield Finding(f"provider {name}", "ok", found, facts=facts)


def _median(artefact: runtime.Artefact, gray: np.ndarray) -> float:
    times = []
    for _ in range(TIMES + 1):
        started = time.perf_counter()
        artefact.run(gray)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def meant(name: Provider) -> bool:
    """Whether all that a provider needs seems to be here, so that it should work."""
    if name == "openvino":
        return find_spec("openvino") is not None
    if name == "cuda":
        return has_gpu() and CUDA in ort().get_available_providers()
    return name == "cpu"  # TensorRT need not take an int8 model, which the shipped one is


def mending(name: Provider) -> str:
    """What brings a provider."""
    if name == "openvino":
        return f"{extras.pip()} openvino"
    if name == "tensorrt":
        return f"{_tensorrt()}, and export with --precision fp16 --graph chroma"
    if name == "cuda":
        there = CUDA in ort().get_available_providers()
        other = f"pip uninstall -y onnxruntime && {extras.advice('gpu')}"
        return f"{'' if has_gpu() else GPU}{f'{extras.pip()} {CUDA_LIBRARIES}' if there else other}"
    return extras.reinstall("onnxruntime")


def _tensorrt() -> str:
    return f"{extras.pip()} {shlex.quote(tensorrt_wheel())}"


def tensorrt_wheel() -> str:
    """The pip requirement of the TensorRT that onnxruntime is built for; a likely one where it has none."""
    path = runtime.provider_library("tensorrt")
    with suppress(NoProvider, OSError):
        return engines.needed_tensorrt(path.read_bytes())[2]
    return "tensorrt-cu13>=10,<11"


def tensorrt() -> Iterator[Finding]:
    """Whether TensorRT is here in the major version that onnxruntime is linked to."""
    path = runtime.provider_library("tensorrt")
    have = tensorrt_versions()
    if TENSORRT not in ort().get_available_providers() or not path.is_file():
        also = f" (TensorRT {', '.join(sorted(set(have.values())))} is installed)" if have else ""
        found = f"this onnxruntime has no TensorRT provider{also}"
        yield Finding("TensorRT", "absent", found, mending("cuda"), {"installed": have})
        return
    library, major, _ = engines.needed_tensorrt(path.read_bytes())
    with suppress(ImportError, OSError):
        importlib.import_module("tensorrt_libs")  # it loads the libraries that lie in it
    facts = {"needed": major, "installed": have}
    try:
        number = int(ctypes.CDLL(library).getInferLibVersion())
    except (OSError, AttributeError) as error:
        others = {number.split(".")[0] for number in have.values()} - {str(major)}
        if others:
            found = f"onnxruntime takes TensorRT {major}, {', '.join(sorted(others))} is installed"
            yield Finding("TensorRT", "fault", found, _tensorrt(), facts)
        else:
            yield Finding("TensorRT", "fault" if have else "absent", one_line(error), _tensorrt(), facts)
        return
    yield Finding("TensorRT", "ok", f"{library} of version {number}, as onnxruntime takes", facts=facts)


def tensorrt_versions() -> dict[str, str]:
    """The installed wheels of TensorRT, by name."""
    names = {one.metadata["Name"].lower(): one.version for one in metadata.distributions() if one.metadata["Name"]}
    return {name: number for name, number in names.items() if name.startswith("tensorrt")}
