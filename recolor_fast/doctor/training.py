"""Checks of what trains: torch, its GPU, bfloat16, the compiler and CUDA graphs. They import torch."""

import os
import tempfile
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch.nn import functional

from recolor_fast.doctor.coloring import has_gpu
from recolor_fast.doctor.findings import Finding, State
from recolor_fast.doctor.installed import HEADERS
from recolor_fast.machine import extras, timing
from recolor_fast.machine.environment import device_name, prepare_compiler
from recolor_fast.step.graphed import Graphed

SIDE = 512  # of the matrices whose products are timed
TURNS = 20


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def of_torch() -> Iterator[Finding]:
    """torch, what it was built for, and the device that trainings take."""
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    facts = {"torch": torch.__version__, "cuda": torch.version.cuda, "device": device_name(device())}
    found = f"{torch.__version__}, {built}; trainings take {device_name(device())}"
    if device().type == "cpu" and has_gpu():
        state: State = "fault" if torch.version.cuda else "absent"
        mend = "`nvidia-smi`: a newer driver" if torch.version.cuda else _with_cuda()
        yield Finding("torch", state, f"{found}, though there is a GPU", mend, facts)
        return
    yield Finding("torch", "ok", found, facts=facts)


def _with_cuda() -> str:
    """What installs the same versions as PyPI has them, which is with CUDA."""
    names = " ".join(extras.exactly(package).partition("+")[0] for package in ("torch", "torchvision"))
    return f"{extras.pip()} --force-reinstall --no-deps {names} && {extras.pip()} {names}"


def of_torchvision() -> Iterator[Finding]:
    """That torchvision was built for this torch: it resizes what is loaded."""
    import torchvision
    from torchvision.transforms.v2.functional import resize

    gray = torch.zeros((1, 8, 8), dtype=torch.uint8)
    assert resize(gray, [4, 4], antialias=True).shape == (1, 4, 4)
    torchvision.ops.nms(torch.tensor([[0.0, 0, 1, 1]]), torch.ones(1), 0.5)  # of its own compiled code
    yield Finding("torchvision", "ok", torchvision.__version__)


def bfloat16() -> Iterator[Finding]:
    """Whether bfloat16, which --amp uses, computes rightly here, and how fast against float32."""
    where = device()
    left, right = (torch.randn(SIDE, SIDE, device=where) for _ in range(2))
    exact = left.double() @ right.double()
    off = float(((left.bfloat16() @ right.bfloat16()).double() - exact).norm() / exact.norm())
    ratio = _ratio((left, right), (left.bfloat16(), right.bfloat16()))
    facts = {"error": off, "speed": round(ratio, 2)}
    found = f"products {ratio:.2g} times as fast as float32, {100 * off:.2g} % off"
    if not off < 0.02:
        yield Finding("bfloat16", "fault", found, "train without --amp", facts)
    elif ratio < 0.8:
        yield Finding("bfloat16", "absent", f"slower than float32: {found}", "train without --amp", facts)
    else:
        yield Finding("bfloat16", "ok", found, facts=facts)


Pair = tuple[torch.Tensor, torch.Tensor]


def _ratio(one: Pair, other: Pair) -> float:
    """How many times as fast as the product of `one` that of `other` is."""
    slow, fast = timing.least(lambda: _seconds(*one), lambda: _seconds(*other), turns=TURNS)
    return slow / fast


def _seconds(left: torch.Tensor, right: torch.Tensor) -> float:
    return timing.seconds(lambda: (left @ right)[0, 0].item())  # waits for the device


def compiles() -> Iterator[Finding]:
    """A small graph by torch.compile, anew and in a folder of its own."""
    where = device()
    needless = "" if where.type == "cuda" else "; on a CPU only train --compile on uses it"
    state: State = "fault" if where.type == "cuda" else "absent"
    before = {name: os.environ.get(name) for name in ("TORCHINDUCTOR_CACHE_DIR", "TORCHINDUCTOR_COMPILE_THREADS")}
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"TORCHINDUCTOR_CACHE_DIR": folder, "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        started = time.perf_counter()
        try:
            prepare_compiler()
            from torch._inductor import config

            # No vector instructions: a compiler is asked by trial which of them it knows, for ten seconds.
            config.cpp.vec_isa_ok = False
            values = torch.randn(64, 64, device=where)
            right = torch.allclose(torch.compile(_graph)(values), _graph(values), atol=1e-5)
        except Exception as error:  # of inductor, triton and whatever compilers they start
            text = str(error).strip().splitlines() or [type(error).__name__]
            mend = f"sudo apt-get install g++ {HEADERS}, or train --compile off"
            yield Finding("torch.compile", state, f"{text[0][:300]}{needless}", mend)
            return
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
    seconds = time.perf_counter() - started
    if right:
        yield Finding("torch.compile", "ok", f"a small graph in {seconds:.1f} s", facts={"compile_seconds": seconds})
    else:
        yield Finding("torch.compile", "fault", "a compiled graph gives other numbers", "train --compile off")


def _graph(values: torch.Tensor) -> torch.Tensor:
    return functional.leaky_relu(2 * values + 1, 0.2)


def cuda_graphs() -> Iterator[Finding]:
    """A recorded iteration, replayed on other values."""
    if device().type == "cpu":
        yield Finding("CUDA graphs", "absent", "no CUDA device", "with an NVIDIA GPU: see torch")
        return
    graphed = Graphed(lambda kind, values: {"sum": _graph(values).sum()})
    for number in range(Graphed.WARM_UP + 2):
        values = torch.full((64,), float(number), device="cuda")
        found = float(graphed("check", values)["sum"])
    if graphed.failed or not np.isclose(found, float(_graph(values).sum())):
        found_out = "nothing can be recorded" if graphed.failed else "a replayed graph gives other numbers"
        yield Finding("CUDA graphs", "fault", found_out, "train --cuda-graph off")
    else:
        yield Finding("CUDA graphs", "ok", "recorded and replayed")
