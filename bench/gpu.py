"""What a CUDA device has to show, in minutes: python bench/gpu.py [--seconds 280] [--out FOLDER].

Every part is a process of its own with a limit: one that fails or takes too long ends no other. First, all at once, as
they mostly wait for the compiler: the tests marked gpu (of the compiled ones three presets), a short training, stopped
and resumed, and the compilation of what is timed after them. Then, one after the other and alone:

exact  the relative error of the penalty's gradient to float64 on the same device, at critics whose own gradient has the
       norm `g`: by the update fused by hand and by torch.func, in float32 with TF32 and without, bfloat16 and float16
time   an iteration of 256 pixels: the paper's way (bench/paper.py), ours without torch.compile, and ours as
       `python -m recolor_fast.train --amp` runs it. `ratio` is the paper's ms over the row's own, `of_peak` what ours
       has to compute as a share of the fastest matrix product in bfloat16

LPIPS backbones have random weights where time is measured, and the training is pix2pix, which has none: nothing is
downloaded. DALI's tests are skipped by name where it is not installed. The tables come last on stdout; FOLDER gets
them, the rows (CSV), the log of every part and the training's pictures.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only bench/ itself is there
from bench.arguments import Gpu as Arguments
from bench.arguments import parse

if __name__ == "__main__":
    parse(Arguments)  # --help and wrong options end here, before what takes seconds is imported


import contextlib
import csv
import gc
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch

from bench import steps
from bench.common import file_name, matmul_peak, save_rows, table
from bench.paper import critic_loss, plain
from recolor_fast.losses.adversaries import ADVERSARIES
from recolor_fast.machine import starting
from recolor_fast.machine.environment import device_name, fastest_kernels
from recolor_fast.machine.errors import UserError
from recolor_fast.networks.critics import build_critic
from recolor_fast.options import Options
from recolor_fast.presets import PRESETS
from recolor_fast.runs import checkpoint
from recolor_fast.step import fused, guard
from recolor_fast.step.updates import critic_update

ROOT = Path(__file__).resolve().parents[1]
Row = dict[str, Any]
LOG = 100_000  # of each part's output, the last so many bytes are kept
PRESETS_TIMED = ("wgan-gp-lpips", "pix2pix")
ROWS = {
    "paper": steps.Row(),
    "ours, not compiled": steps.Row({"amp": True, "compile": "off"}),
    "ours": steps.Row({"amp": True}),
}
COMPILED = ("[wgan-gp-lpips-inductor]", "[pix2pix-inductor]", "[gorriz-inductor]")
TESTS = {
    "step": ("tests/test_step.py", "-k", "not inductor"),
    "compiled step": ("tests/test_step.py", "-k", " or ".join(COMPILED)),
    "graphs": [f"tests/test_{name}.py" for name in ("fused", "micro_batches", "nonfinite", "background")],
    "recording": ("tests/test_graphed.py",),  # alone: on torch 2.11 no random number follows one that fails
    "memory": ("tests/test_faults.py",),
    "deterministic": ("tests/test_environment.py",),  # alone: cuBLAS reads a setting when it starts
    "loader": ("tests/test_loader.py",),
}


class Part(NamedTuple):
    """A command, how long it may take in seconds, and whether others may run beside it."""

    name: str
    words: Sequence[str]
    seconds: float
    together: bool = False


@starting.verb()
def main(argv: list[str]) -> int:
    """Run all parts, print and save what they say; 0 if each came to its end and no test failed."""
    arguments = parse(Arguments, argv)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise UserError("torch sees no CUDA device; --device cpu runs the script's own plumbing")
    if arguments.part:
        for row in _functions(arguments)[arguments.part]():
            print(json.dumps(row), flush=True)
        return 0
    return _all(arguments)


def _parts(arguments: Arguments) -> list[Part]:
    """In order of worth, those that may run together first."""
    words = [f"--{name}={getattr(arguments, name)}" for name in ("device", "size", "width", "data", "images")]
    words += [f"--out={arguments.out.resolve()}", "--batch", *map(str, arguments.batch)]
    itself = [sys.executable, str(ROOT / "bench" / "gpu.py"), *words, "--part"]
    pytest = [sys.executable, "-m", "pytest", "-q", "-rfE", "-m", "gpu", "-p", "no:cacheprovider", "-W", "default"]
    half = arguments.seconds / 2
    parts = [Part(f"tests {name}", [*pytest, *words], half, True) for name, words in TESTS.items()]
    for name in _functions(arguments):
        together = not name.startswith(("exact", "time"))
        parts.append(Part(name, [*itself, name], half if together else 120.0, together))
    chosen = arguments.only
    return [part for part in parts if not chosen or any(word in part.name for word in chosen)]


def _functions(arguments: Arguments) -> dict[str, Callable[[], Iterator[Row]]]:
    """What each part does that is no test, by its name."""
    scale: Row = {"size": arguments.size, "width": arguments.width, "device": arguments.device}
    cases = {
        f"{preset} {arguments.size} b{batch}": replace(PRESETS[preset], **scale, batch=batch, **steps.RANDOM)
        for batch in arguments.batch
        for preset in PRESETS_TIMED
    }
    return {
        "training": partial(training, arguments),
        **{f"compile {case}": partial(compiled, options) for case, options in cases.items()},
        "exact": partial(exact, replace(PRESETS["wgan-gp"], **scale), arguments.batch),
        **{f"time {case}": partial(timed, case, options) for case, options in cases.items()},
    }


# --- the parts -----------------------------------------------------------------------------------------------------


def exact(options: Options, batches: Sequence[int]) -> Iterator[Row]:
    """Rows of the gradient of the penalty alone by the critic's weights."""
    device = torch.device(options.device)
    # That of real and fake is left out: where they cancel, it has errors of its own size.
    nothing: dict[str, Any] = {name: lambda scores: 0 * scores.mean() for name in ("critic_real", "critic_fake")}
    ADVERSARIES["none"] = ADVERSARIES["wgan"]._replace(**nothing)
    options = replace(options, adversary="none")
    kinds: list[tuple[str, torch.dtype | None]] = [
        ("float32 as TF32", None),
        ("float32", None),
        ("bfloat16", torch.bfloat16),
        ("float16", torch.float16),
    ]
    for batch in batches:
        for norm in (0.9, 1.3):
            torch.manual_seed(0)
            critic = plain(build_critic(options)).to(device, torch.float64)
            source, real = (torch.rand(batch, c, *2 * [options.size], device=device).double() * 2 - 1 for c in (1, 3))
            data = source, real, real, torch.full((batch, 1, 1, 1), 0.5, device=device).double()
            points = real.clone().requires_grad_()
            value = torch.stack([score.mean((1, 2, 3)) for score in critic(source, points)]).sum()
            found_norm = torch.autograd.grad(value, points)[0].flatten(1).norm(dim=1).mean()
            with torch.no_grad():  # proportional to each layer's weights, as there are no offsets yet
                layers = [one.data for name, one in critic.named_parameters() if name.endswith("weight")]
                torch._foreach_mul_(layers, ((norm / found_norm) ** (1 / len(layers))).item())
            names, parameters = zip(*critic.named_parameters())
            gradients = torch.autograd.grad(critic_loss(critic, options, *data)[0], parameters)
            expected = {name: one for name, one in zip(names, gradients) if name.endswith("weight")}
            single = build_critic(options).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            single.load_state_dict(critic.state_dict())
            weights = {name: parameter.detach() for name, parameter in single.named_parameters()}
            updates: dict[str, Callable] = {
                "fused": partial(fused.critic_update, fused.layers(single, options)),
                "torch.func": partial(critic_update, single),
            }
            for kind, dtype in kinds:
                torch.backends.cudnn.allow_tf32 = kind == "float32 as TF32"
                row: Row = {"batch": batch, "g": norm, "kind": kind}
                for way, update in updates.items():
                    found: steps.Gradients = {}
                    scale = guard.FIRST_SCALE if dtype == torch.float16 else 0.0
                    while not found or (scale > 1 and not all(one.isfinite().all() for one in found.values())):
                        scale /= 2 if found else 1  # as a training finds one that does not overflow
                        factor = torch.tensor(scale, device=device) if scale else None
                        with torch.no_grad(), torch.autocast(device.type, dtype, bool(dtype), cache_enabled=False):
                            found = update(options, weights, *(one.float() for one in data), loss_scale=factor)[1]
                    row |= {way: steps.relative_error(found, expected), f"{way} scale": scale or None}
                yield row


def compiled(options: Options) -> Iterator[Row]:
    """Seconds of an iteration that is compiled, which leaves what it compiled for those that come after."""
    started = time.perf_counter()
    _seconds(steps.build_step(ROWS["ours"], options), steps.sample_batch(options), options, 1)
    yield {"compiled in": time.perf_counter() - started}


def timed(case: str, options: Options) -> Iterator[Row]:
    """Rows of one case, each as soon as it is measured."""
    device, paper = torch.device(options.device), 0.0
    fastest_kernels(device)  # of all ways
    flop = steps.operations(steps.Row({"amp": True}), replace(options, batch=1))
    peak = matmul_peak(device, torch.bfloat16)
    for name, row in ROWS.items():
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        one, batch = steps.build_step(row, options), steps.sample_batch(options)
        gc.collect()  # the Step that the paper's way took its weights from
        _seconds(one, batch, options, 5)  # kernels are chosen, code is compiled, the graph is recorded
        runs = [_seconds(one, batch, options, 1) for _ in range(3)]
        count = max(1, min(20, int(0.5 / max(runs))))
        each = statistics.median(_seconds(one, batch, options, count) for _ in range(7)) / options.batch
        paper = paper or each
        yield {
            "case": case,
            "name": name,
            "images/s": 1 / each,
            "ms": 1000 * each,
            "ratio": paper / each,
            "peak_mb": steps.peak_mb(device),
            "of_peak": flop / each / 1e9 / peak,
        }
        del one


def _seconds(one: Callable, batch: steps.Batch, options: Options, iterations: int) -> float:
    """Seconds of an iteration, on average, the device waited for."""
    started = time.perf_counter()
    for index in range(iterations):
        parts = one(*batch, index * options.batch)
    next(iter(parts.values())).item()
    return (time.perf_counter() - started) / iterations


def training(arguments: Arguments) -> Iterator[Row]:
    """A training as users run it, and the same one that ends halfway and is resumed: is it the same to the bit?"""
    runs = arguments.out / "runs"
    batch = arguments.batch[-1]
    words = [sys.executable, "-m", "recolor_fast.train", "--preset", "pix2pix", "--amp", "--deterministic"]
    words += ["--loader", "host", "--data", arguments.data, "--device", arguments.device, "--batch", str(batch)]
    words += ["--size", str(arguments.size), "--width", str(arguments.width), "--runs", str(runs)]
    whole, half = arguments.images // batch * batch, arguments.images // batch // 2 * batch
    words += ["--log-every", str(batch), "--save-every", str(whole)]

    def train(name: str, images: int, *more: str) -> float:
        started = time.perf_counter()
        subprocess.run([*words, "--name", name, "--images", str(images), *more], check=True, cwd=ROOT)
        return time.perf_counter() - started

    seconds = train("whole", whole)
    with open(runs / "whole" / "results.csv", newline="") as file:
        rows = [*csv.DictReader(file)]
    with open(runs / "whole" / "validation.csv", newline="") as file:
        validation = [*csv.DictReader(file)][-1]
    said: Row = {"trained on": whole, "batch": batch, "seconds": seconds}
    said |= {name: float(rows[-1][name]) for name in ("images_per_s", "data_wait")}
    said |= {name: float(validation[name]) for name in ("ab_rmse", "ab_rmse/gray")}
    shutil.copy(sorted((runs / "whole" / "samples").iterdir())[-1], arguments.out / "training.png")
    shutil.copy(runs / "whole" / "results.csv", arguments.out / "training.csv")
    yield said
    train("broken", half)
    train("broken", whole, "--resume")
    ours, theirs = (checkpoint.newest(runs / name / "checkpoints")[1]["step"] for name in ("broken", "whole"))
    yield {"resumed equals unbroken": "yes" if _same(ours, theirs) else "NO"}


def _same(one: Any, other: Any) -> bool:
    """Whether two nests of dicts and lists hold the same numbers, tensors to the bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


# --- all of them ---------------------------------------------------------------------------------------------------


class Running:
    """A part's process, in a session of its own so that it can be ended with all that it started."""

    def __init__(self, part: Part, folder: Path, seconds: float) -> None:
        self.part, self.started, self.seconds = part, time.monotonic(), seconds
        self.log = folder / f"{part.name}.log"
        ours = {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
        plain = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # a machine's own plugins are no part of this
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                part.words, stdout=log, stderr=log, cwd=ROOT, env=os.environ | ours | plain, start_new_session=True
            )

    def wait(self) -> list[Row]:
        """What it said by its end or its limit, and how it ended."""
        try:
            code = self.process.wait(max(1.0, self.started + self.seconds - time.monotonic()))
            ended = "" if code in (0, 5) else f"exit {code}"
        except subprocess.TimeoutExpired:
            ended = f"took over {self.seconds:.0f} s"
        with contextlib.suppress(ProcessLookupError):  # compilers that it started, too
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        lines = self.log.read_text(errors="replace").splitlines()
        rows = [json.loads(line) for line in lines if line.startswith('{"')]
        if self.part.name.startswith("tests"):
            counts = re.findall(r"(\d+) (passed|failed|skipped|errors?)\b", lines[-1]) if lines else []
            rows = [{name: int(count) for count, name in counts}]
        took = time.monotonic() - self.started
        return [{"part": self.part.name, "took": took, "ended": ended or "well"} | row for row in rows or [{}]]


def _all(arguments: Arguments) -> int:
    deadline = time.monotonic() + arguments.seconds
    arguments.out.mkdir(parents=True, exist_ok=True)
    parts, rows = _parts(arguments), []
    with tempfile.TemporaryDirectory() as folder:
        logs = Path(folder)
        together = [part for part in parts if part.together]
        for running in [Running(part, logs, part.seconds) for part in together]:
            rows += _told(running.wait())
        for part in parts:
            left = deadline - time.monotonic()
            if not part.together and left < 5:
                rows += _told([{"part": part.name, "took": 0.0, "ended": "left out: no time left"}])
            elif not part.together:
                rows += _told(Running(part, logs, min(part.seconds, left)).wait())
        with open(arguments.out / "log.txt", "wb") as file:
            for log in sorted(logs.iterdir()):
                file.write(f"\n=== {log.stem}\n".encode() + log.read_bytes()[-LOG:])
    shutil.rmtree(arguments.out / "runs", ignore_errors=True)
    device = device_name(torch.device(arguments.device))
    text = "\n\n".join([f"{device}, torch {torch.__version__}", *_tables(rows)])
    (arguments.out / "table.txt").write_text(text + "\n")
    save_rows(arguments.out / file_name("gpu", device), "gpu", device, 1, rows)
    print(text)
    return int(any(row["ended"] != "well" for row in rows))


def _told(rows: list[Row]) -> list[Row]:
    """The rows of a part, whose end is told at once."""
    print(f"{rows[0]['part']}: {rows[0]['ended']}, {rows[0]['took']:.0f} s", file=sys.stderr, flush=True)
    return rows


def _tables(rows: list[Row]) -> Iterator[str]:
    """A table of each kind of part, the rows of a training and of what failed last."""
    kinds = dict.fromkeys(row["part"].split()[0] for row in rows)
    for kind in sorted(kinds, key=("tests", "compile", "exact", "time", "training").index):
        of_kind = [row for row in rows if row["part"].split()[0] == kind]
        hidden = {"part", "took", "ended"} if kind in ("exact", "time") else set()
        shown = [{k: v for k, v in row.items() if k not in hidden} for row in of_kind if len(row) > 3 or not hidden]
        yield "\n".join([kind, table(shown)] if shown else [kind])
        yield from (f"{row['part']}: {row['ended']}" for row in of_kind if hidden and row["ended"] != "well")


if __name__ == "__main__":
    sys.exit(main())
