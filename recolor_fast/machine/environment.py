"""What a number depends on: versions, device, commit; and how it comes out the same again."""

import contextlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from recolor_fast.machine import memory, processors
from recolor_fast.machine.files import private_folder
from recolor_fast.machine.versions import versions


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's with the threads torch uses."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    threads = torch.get_num_threads()
    return f"{name}, {threads} thread{'s' * (threads != 1)}"


def peak_memory(device: torch.device) -> float:
    """The most memory so far, MiB: that torch has reserved of a GPU, else that of this process. Waits for nothing."""
    return torch.cuda.max_memory_reserved(device) / 2**20 if device.type == "cuda" else memory.peak()


def threads(asked: int, device: str, beside: int = 1) -> int:
    """Threads to train with on "cpu" or "cuda": `asked`, at most as many as there are processors for this process.

    Of `beside` processes like it each has its part of them.

    With `asked` 0 all of them; on a CPU those that $OMP_NUM_THREADS or torch says (a core's second hyperthread is left
    out), without processors that others keep busy, which is said on stderr: a team of threads waits for its slowest.
    """
    usable = max(1, processors.threads() // beside)
    if asked > usable:
        print(f"warning: threads {asked}: this process may use {usable} processors: taking {usable}", file=sys.stderr)
    if asked or device == "cuda":
        return min(asked or usable, usable)
    if os.environ.get("OMP_NUM_THREADS"):
        return torch.get_num_threads()
    usable = min(usable, torch.get_num_threads())
    busy = processors.taken()
    idle = min(usable, processors.free(busy))
    if idle < usable:
        print(
            f"warning: other processes keep {busy:.1f} processors busy: computing with {idle} of {usable} threads; "
            "--threads N takes more, which is slower unless they end",
            file=sys.stderr,
        )
    return idle


@contextlib.contextmanager
def computing(threads: int, device: str) -> Iterator[None]:
    """In the block torch computes with so many threads (on a GPU, at most), and at most so many decode files."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads if device == "cpu" else min(threads, before))
    try:
        with processors.limited(threads):
            yield
    finally:
        torch.set_num_threads(before)


def environment(device: torch.device) -> dict[str, Any]:
    """Versions, device, platform and, in a git checkout of this package, its commit."""
    root = Path(__file__).resolve().parents[2]
    commit = ""
    if (root / ".git").exists():
        asked = ["git", "-C", str(root), "rev-parse", "HEAD"]
        with contextlib.suppress(OSError):  # no git program
            commit = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return {"versions": versions(), "device": device_name(device), "platform": platform.platform(), "commit": commit}


def deterministic() -> None:
    """Let torch use only algorithms that give the same numbers each time; call it before any work on a CUDA device.

    On the same GPU, driver and versions. Slower: cuDNN's and Inductor's choice by timing is off, and convolutions take
    deterministic kernels. An operation that has none on CUDA raises RuntimeError where it is used; by torch's
    documentation those are, differentiated, the linear, bilinear and bicubic modes of interpolate, adaptive pooling,
    reflection padding and grid_sample, none of which an iteration has: its networks use nearest-neighbor upsampling,
    avg_pool2d and max_pool2d. On a CPU the numbers are the same for the same number of threads with or without it.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts; torch insists on it
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)
    # It would write every new tensor an extra time; nothing here reads memory that it has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def fastest_kernels(device: torch.device | str) -> None:
    """Let cuDNN time its convolutions for each shape that it has not met, and take the fastest; nothing on a CPU.

    Before the first iterations, as a recorded graph holds what was chosen by then. The choice, so the last digits too,
    may be another one the next time.
    """
    torch.backends.cudnn.benchmark = torch.device(device).type == "cuda"


@contextlib.contextmanager
def float32_proper(proper: bool) -> Iterator[None]:
    """In the block, where it is `proper`, float32 convolutions on a GPU are in float32.

    Else they are as torch has them by itself, in TF32 (inputs rounded to 10 bits) on any since Ampere, unless
    $NVIDIA_TF32_OVERRIDE is 0.
    """
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = before and not proper
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


COMPILED_FORMS = 64  # of one function, by the pieces, networks and shapes it is called with; torch stops at 8


def prepare_compiler() -> None:
    """Let torch.compile keep its native code in the private cache, unless $TORCHINDUCTOR_CACHE_DIR says where.

    By itself it takes a folder of the shared temporary folder whose name anyone can guess, and have made before, and
    runs what it finds there. Also raises torch's limit on the forms of one function: a step that begins again with
    smaller pieces, for lack of memory, reaches it. Call it before anything is compiled. OSError where the cache is not
    private.
    """
    from torch._dynamo import config as dynamo
    from torch._inductor import config
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    guessable = default_cache_dir()  # torch sets the variable to it on import
    if os.environ.get("TORCHINDUCTOR_CACHE_DIR", guessable) == guessable:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(private_folder("compiled").resolve())
    dynamo.recompile_limit = max(dynamo.recompile_limit, COMPILED_FORMS)
    config.cpp_cache_precompile_headers = False  # they lie in the guessable folder whatever the variable says
