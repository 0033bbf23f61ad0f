"""Several ranks: python bench/scaling.py [--quick] [--plot FILE].

Measured: 1 and 2 ranks of this machine, as torchrun starts them, each with as many photographs of every iteration.
`share` is the part of the time that the first rank spends in all-reduces, waiting for the other included.

Modelled: GPUs in machines of 8. An iteration computes for as long as one GPU does; then its all-reduces, whose number
and sizes are those just measured, go one after the other, and nothing overlaps. Each is reduced inside a machine, then
between machines, then spread inside:

    seconds = 2 (g-1)/g bytes / NVLINK  +  2 (m-1)/m (bytes/g) / NETWORK  +  2 (log2 g HOP + log2 m FAR)

with g GPUs in a machine and m machines. NVLINK is half of the published 900 GB/s of an H200's NVLink 4 (each way), and
NETWORK the published 400 Gbit/s of one NDR InfiniBand port for each GPU; both times REACHED, which is assumed, as are
HOP and FAR, the seconds a message takes. Loading photographs is assumed to keep up, and all GPUs to be equally fast.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only bench/ itself is there
from bench.arguments import Scaling as Arguments
from bench.arguments import parse

if __name__ == "__main__":
    parse(Arguments)  # --help and wrong options end here, before what takes seconds is imported

import json
import math
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from bench.common import report
from bench.steps import RANDOM, sample_batch
from recolor_fast.losses.terms import build_terms
from recolor_fast.machine import memory
from recolor_fast.machine.environment import device_name
from recolor_fast.machine.ranks import joined
from recolor_fast.presets import PAPERS
from recolor_fast.resolve import fastest, for_ranks, lpips
from recolor_fast.step.iteration import Step

CPU = torch.device("cpu")
NVLINK, NETWORK = 450e9, 50e9  # bytes/s each way
REACHED = 0.7
HOP, FAR = 5e-6, 15e-6  # s
MACHINE = 8  # GPUs
GPUS = (1, 8, 64, 1024)


def main(argv: list[str] | None = None) -> int:
    arguments = parse(Arguments, argv)
    if arguments.quick:
        arguments = replace(arguments, size=64, width=4, iterations=2)
    if arguments.told:
        measure(arguments, arguments.told)
        return 0
    told = {count: started(arguments, count) for count in (1, 2)}
    rows: list[dict[str, Any]] = []
    for count, found in told.items():
        rate = count * arguments.batch / found["seconds"]
        first = rows[0]["images_per_s"] if rows else rate
        facts = {"ms": 1000 * found["seconds"], "share": found["reducing"] / found["seconds"]}
        rows.append({"ranks": count, "where": "measured", **facts, "images_per_s": rate, "ratio": rate / first})
    # A network of another width or size sums as much as it has weights; what is modelled is what was measured.
    modelled = [predicted(count, told[2]["bytes"], arguments.images_per_s, arguments.model_batch) for count in GPUS]
    if arguments.plot:
        draw(arguments.plot, modelled)
    sums = f"{len(told[2]['bytes'])} all-reduces an iteration, {sum(told[2]['bytes']) / 1e6:.4g} MB"
    report("scaling", device_name(CPU), arguments.iterations, [*rows, *modelled], sums, arguments.save)
    return 0


def started(arguments: Arguments, count: int) -> dict[str, Any]:
    """What `measure` tells of so many ranks, started by torchrun. RuntimeError where one fails."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "told.json"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        command += [str(Path(__file__).resolve()), "--told", str(file)]
        for name in ("preset", "size", "width", "batch", "iterations"):
            command += [f"--{name}", str(getattr(arguments, name))]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise RuntimeError(f"{count} ranks failed:\n{ended.stderr}")
        return json.loads(file.read_text())


def measure(arguments: Arguments, file: Path) -> None:
    """As one of the ranks: seconds of an iteration, those of its all-reduces, and the bytes of each, by the first."""
    torch.set_num_threads(1)
    memory.keep_freed()
    with joined() as ranks:
        spent: list[tuple[float, int]] = []
        summed = ranks.sum_

        def timed(tensor: Tensor) -> Tensor:
            before = time.perf_counter()
            result = summed(tensor)
            spent.append((time.perf_counter() - before, tensor.numel() * tensor.element_size()))
            return result

        if ranks.count > 1:
            ranks.sum_ = timed  # type: ignore[method-assign]
        sizes: dict[str, Any] = {
            "size": arguments.size,
            "width": arguments.width,
            "batch": arguments.batch * ranks.count,
        }
        options = replace(PAPERS[arguments.preset], device="cpu", **sizes, **RANDOM)
        options = fastest(for_ranks(lpips(options), ranks.count), CPU)
        step = Step(options, build_terms(options), CPU, ranks)
        gray, rgb = (image[ranks.places(options.batch)] for image in sample_batch(options))
        for number in range(2 + arguments.iterations):
            if number == 2:
                spent.clear()
                begun = time.perf_counter()
            step(gray, rgb, number * options.batch)
        seconds = (time.perf_counter() - begun) / arguments.iterations
        if ranks.first:
            reducing = sum(one for one, _ in spent) / arguments.iterations
            sent = [number for _, number in spent[: len(spent) // arguments.iterations]]
            file.write_text(json.dumps({"seconds": seconds, "reducing": reducing, "bytes": sent}))


def predicted(count: int, sizes: Sequence[int], images_per_s: float, batch: int) -> dict[str, Any]:
    """The row of so many GPUs: `batch` photographs each an iteration, `images_per_s` alone, all-reduces of `sizes`."""
    computing = batch / images_per_s
    reducing = sum(all_reduce(size, count) for size in sizes)
    seconds = computing + reducing
    facts = {"ms": 1000 * seconds, "share": reducing / seconds, "images_per_s": count * batch / seconds}
    return {"ranks": count, "where": "modelled", **facts, "ratio": count * computing / seconds}


def all_reduce(size: int, count: int) -> float:
    """Seconds that the sum of `size` bytes over so many GPUs takes by the model above."""
    inside, machines = min(count, MACHINE), math.ceil(count / MACHINE)
    near = 2 * (inside - 1) / inside * size / (REACHED * NVLINK)
    far = 2 * (machines - 1) / machines * (size / inside) / (REACHED * NETWORK)
    return near + far + 2 * (math.log2(inside) * HOP + math.log2(machines) * FAR)


def draw(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Photographs a second by GPUs, beside as many times one's."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    counts = [row["ranks"] for row in rows]
    axes.loglog(counts, [row["images_per_s"] for row in rows], "o-", label="modelled")
    axes.loglog(counts, [count * rows[0]["images_per_s"] for count in counts], ":", label="as many times one GPU's")
    axes.set(xlabel="GPUs", ylabel="photographs a second")
    axes.legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())
