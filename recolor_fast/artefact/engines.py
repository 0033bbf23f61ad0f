"""TensorRT's engines: the shapes and options they are built for, and the private cache they are kept in."""

import ctypes
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from recolor_fast.artefact.signatures import BATCHES, GRAPHS, NoProvider, ort
from recolor_fast.machine import extras
from recolor_fast.machine.files import NotPrivate, private_folder


def needed_tensorrt(provider: bytes) -> tuple[str, int, str]:
    """The TensorRT library that onnxruntime's provider, given as bytes, links to, its major version, and the pip
    requirement that has it. Raises NoProvider."""
    match = re.search(rb"libnvinfer\.so\.(\d+)|nvinfer_(\d+)\.dll", provider)
    if not match:
        raise NoProvider("tensorrt", "onnxruntime's provider links to no TensorRT known here", "use provider cuda")
    major = int(match.group(1) or match.group(2))
    cuda = str(getattr(ort(), "cuda_version", "") or "13").split(".")[0]
    return match.group().decode(), major, f"tensorrt-cu{cuda}>={major},<{major + 1}"


def profiles(
    graph: str, size: int, batch: tuple[int, int, int] | None = None
) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Shapes a TensorRT engine is built for: each input's name, and its least, usual and largest shape.

    `size` is that of the options; `batch` (None: BATCHES) is least, usual and largest too. Raises NoProvider for the
    graph "image": its input and output are interleaved bytes, which TensorRT cannot transpose, and the photograph is
    made small by a resize that it lacks.
    """
    if graph not in BATCHES:
        reason = f"TensorRT takes no graph {graph} (8 bits, interleaved, of any size)"
        raise NoProvider("tensorrt", reason, "give an artefact of --graph chroma, which leaves both ends to you")
    return {
        name: tuple((count, *(length or size for length in shape[1:])) for count in batch or BATCHES[graph])
        for name, _, shape in GRAPHS[graph][:-1]
    }


def tensorrt_options(
    precision: str, profile: dict[str, tuple[tuple[int, ...], ...]], folder: Path, major: int
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
        "trt_fp16_enable": precision == "fp16" and major < 11,
        "trt_int8_enable": precision == "int8" and major < 11,
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
def engines(key: str, timing: str) -> Iterator[Path]:
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


def compute_capability() -> str:
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
