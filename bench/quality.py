"""Whether a speed-up changes what is trained: python bench/quality.py --data FOLDER [--preset ...] [--quick].

For every preset and seed the paper's way and each of ours train together: from the same initial weights, each batch by
one after the other. Then all color the same validation photographs, as train.py validates. The seeds differ in initial
weights, dropout and penalty points; photographs and their order are the same for all, so that the spread is of the
training and not of which photographs came last. Rows of a preset:

paper         float32, the paper's way (bench/paper.py).
ours          the whole system as `python -m recolor_fast.train --amp` runs it here, but for keeping freed memory.
ours float32  the same without --amp.
ours lazy     as ours, with the penalty in every 4th critic step: another objective, for presets with a penalty.

Columns: `ms` per photograph (median of all steps of all seeds, taken in turns), `ratio` of paper's ms to the row's own
(more than 1 is faster), then means over the seeds of each loss part (its mean over the last quarter of training) and of
each validation metric (metrics.compare in recolor_fast/evaluation), each with its spread beside it, the standard
deviation over the seeds.

`agrees` is a two-sample t test of every one of these quantities: the difference of means to paper's is at most q
standard errors, where the standard error is sqrt((s_paper^2 + s_row^2) / seeds) and q Student's quantile with
2 seeds - 2 degrees of freedom, 5 % being shared by the quantities tested (Bonferroni). So a row whose true means are
paper's fails by chance in at most one of twenty calls. What it sees depends on the seeds: with 3 and eight quantities
q is 5.3, a difference of about 4 spreads, with 8 seeds 1.6 spreads; `True` says that no larger one was found, not that
there is none. `farthest` names the quantity with the largest difference and `of_limit` is that difference over what is
allowed: above 1 does not agree. A number that is not finite does not agree either.

Presets with LPIPS train with lpips_mini in its place where its weights are missing, after a warning. Weights of the
adversary wgan are scaled with the size as docs/papers.md says, 20 / size at 1 for the preset.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only bench/ itself is there
from bench.arguments import Quality as Arguments
from bench.arguments import parse

if __name__ == "__main__":
    parse(Arguments)  # --help and wrong options end here, before what takes seconds is imported


import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain, islice
from typing import Any, NamedTuple, cast

import torch
from scipy.stats import t as student  # comes with scikit-image

from bench.common import report
from bench.paper import PaperStep
from bench.steps import DECIDED
from recolor_fast import resolve
from recolor_fast.data import chosen, loader
from recolor_fast.losses.features import FEATURES, LPIPS
from recolor_fast.losses.terms import build_terms
from recolor_fast.machine import starting
from recolor_fast.machine.environment import device_name
from recolor_fast.machine.errors import UserError
from recolor_fast.networks.layers import pick
from recolor_fast.options import Options
from recolor_fast.presets import PAPERS
from recolor_fast.runs import validation
from recolor_fast.step.iteration import Step

# name -> what it changes in the options that the paper's way is trained with
VARIANTS: dict[str, dict[str, Any]] = {
    "ours float32": {"amp": False},
    "ours": {"amp": True},
    "ours lazy": {"amp": True, "penalty_every": 4},
}
CHANCE = 0.05  # of a row whose true means are paper's not to agree


class Run(NamedTuple):
    """One training: the seconds of each step, and every quantity it is judged by."""

    seconds: list[float]
    quantities: dict[str, float]


@starting.verb()
def main(argv: list[str]) -> int:
    """Parse the command line, train every preset with every seed, and report."""
    arguments = parse(Arguments, argv)
    if arguments.quick:
        arguments = replace(arguments, width=8, images=16, seeds=2)
    if arguments.seeds < 2:
        raise UserError(f"seeds {arguments.seeds}: expected 2 or more, one has no spread")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    # All of them before hours are spent on the first.
    systems = [resolve.resolve(small(pick(PAPERS, preset, "preset"), arguments)) for preset in arguments.preset]
    rows = []
    for options in systems:
        lazy = {name for name, changes in VARIANTS.items() if "penalty_every" in changes}
        variants = {k: v for k, v in VARIANTS.items() if options.gradient_penalty or k not in lazy}
        open_again = replace(options, **dict.fromkeys(DECIDED, "auto"))  # type: ignore[arg-type]
        rows += measure(open_again, variants, arguments.seeds)
    note = (
        f"{arguments.size} pixels, width {arguments.width}, {arguments.images} photographs seen, {arguments.seeds} "
        "seeds; ratio = ms of paper / ms; sd: over the seeds; agrees: as the head of this script says"
    )
    report("quality", device_name(torch.device(systems[0].device)), arguments.images, rows, note, arguments.save)
    return 0


def small(preset: Options, arguments: Arguments) -> Options:
    """The preset at the scale of the command line, not resolved."""
    names = {name for name, weight in preset.terms if weight}
    weight = preset.adversary_weight
    return replace(
        preset,
        data=arguments.data,
        per_class=arguments.per_class,
        val_per_class=arguments.val_per_class,
        size=arguments.size,
        width=arguments.width,
        batch=min(preset.batch, arguments.batch),
        images=arguments.images,
        device=arguments.device,
        # L1's gradient at the fake falls with the size, the Wasserstein critic's does not.
        adversary_weight=weight * preset.size / arguments.size if preset.adversary == "wgan" else weight,
        lpips_weights=arguments.lpips_weights if names & set(LPIPS) else "",
        feature_weights=arguments.feature_weights if names & set(FEATURES) else "",
    )


def measure(options: Options, variants: Mapping[str, Mapping[str, Any]], seeds: int) -> list[dict]:
    """The rows of one preset: `paper` and every variant, trained `seeds` times (2 or more) as the options say.

    `options` are those of resolve.resolve; `variants` name what each changes in them. The options' own seed chooses the
    photographs and their order. Says each finished training on stderr.
    """
    photographs = chosen.choose(options, options.check)
    options = resolve.for_photographs(options, len(photographs.train))
    val_gray, val_rgb = loader.load(options, photographs.val, backend=options.loader)
    device = torch.device(options.device)

    def steps_of(seed: int) -> dict[str, Callable]:
        seeded = replace(options, seed=seed)

        def step(changes: Mapping[str, Any]) -> Step:
            torch.manual_seed(options.seed)  # of random loss networks; each its own, as a step lays them out in memory
            return Step(resolve.fastest(replace(seeded, **changes), device), build_terms(options), device)

        first = step({"channels_last": "off"})
        ours = {name: step(changes) for name, changes in variants.items()}
        return {"paper": PaperStep(seeded, first.terms, first), **ours}

    runs: dict[str, list[Run]] = {}
    for seed in range(seeds):
        steps = steps_of(seed)
        trained = train_together(steps, options, photographs.train)
        for name, run in trained.items():
            validated, _, _ = validation.validate(validation.planes(cast(Step, steps[name]), val_gray), val_rgb)
            del validated["ab_rmse/gray"]  # says nothing of the system
            runs.setdefault(name, []).append(Run(run.seconds, run.quantities | validated))
            said = ", ".join(f"{quantity} {value:.4g}" for quantity, value in runs[name][-1].quantities.items())
            print(f"{options.preset}, seed {seed}, {name}: {said}", file=sys.stderr, flush=True)
    return rows_of(options, runs)


def train_together(steps: Mapping[str, Callable], options: Options, paths: Sequence[Path]) -> dict[str, Run]:
    """Train all steps on the same batches to `options.images` photographs seen; the mean of each part's last quarter.

    Parts that are not in all steps, such as gradient norms, are left out. With critic/real and critic/fake comes their
    sum: what a linear critic adds to all its scores is free and cancels in it.
    """
    device = torch.device(options.device)
    count = math.ceil(options.images / options.batch)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    parts: dict[str, list[dict[str, float]]] = {name: [] for name in steps}
    with closing(
        loader.batches(options, options.batch, paths, device, 0, options.loader, options.cache == "on")
    ) as stream:
        for number, (gray, rgb) in enumerate(islice(stream, count)):
            for name, step in steps.items():
                started = time.perf_counter()
                told = step(gray, rgb, number * options.batch)
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                seconds[name].append(time.perf_counter() - started)
                if number >= count - math.ceil(count / 4):
                    parts[name].append({part: float(value) for part, value in told.items()})
    common = set.intersection(*(set(told[0]) for told in parts.values()))

    def ends(told: list[dict[str, float]]) -> dict[str, float]:
        means = {part: statistics.fmean(one[part] for one in told) for part in told[0] if part in common}
        halves = [means[half] for half in ("critic/real", "critic/fake") if half in means]
        return means | ({"critic/real+fake": sum(halves)} if halves else {})

    return {name: Run(seconds[name], ends(told)) for name, told in parts.items()}


def rows_of(options: Options, runs: Mapping[str, Sequence[Run]]) -> list[dict]:
    """A row for each entry of `runs`, whose first one, `paper`, the others are compared with."""
    rows = []
    ms = {
        name: 1000 * statistics.median(chain.from_iterable(run.seconds for run in some)) / options.batch
        for name, some in runs.items()
    }
    paper = values_of(runs["paper"])
    for name, some in runs.items():
        row: dict[str, Any] = {"case": options.preset, "name": name, "ms": ms[name], "images_per_s": 1000 / ms[name]}
        row["ratio"] = ms["paper"] / ms[name]
        values = values_of(some)
        agrees, farthest, of_limit = (None, None, None) if name == "paper" else compare(paper, values)
        row |= {"agrees": agrees, "farthest": farthest, "of_limit": of_limit}
        for quantity, numbers in values.items():
            row |= {quantity: statistics.fmean(numbers), f"{quantity} sd": _spread(numbers)}
        rows.append(row)
    return rows


def values_of(runs: Sequence[Run]) -> dict[str, list[float]]:
    """Quantity -> its value in each run."""
    return {name: [run.quantities[name] for run in runs] for name in runs[0].quantities}


def compare(paper: Mapping[str, Sequence[float]], ours: Mapping[str, Sequence[float]]) -> tuple[bool, str, float]:
    """Whether all quantities agree (see the head of this file), the farthest one, and its difference over the limit.

    As many values of each, 2 or more. Equal means are 0 of the limit, also where there is no spread at all.
    """
    shares: dict[str, float] = {}
    for name, values in paper.items():
        count = len(values)
        quantile = student.ppf(1 - CHANCE / len(paper) / 2, 2 * count - 2)
        limit = float(quantile) * math.sqrt((_spread(values) ** 2 + _spread(ours[name]) ** 2) / count)
        difference = abs(statistics.fmean(ours[name]) - statistics.fmean(values))
        shares[name] = 0.0 if difference == 0 else difference / limit if limit else math.inf
        if not math.isfinite(difference):
            shares[name] = math.inf
    farthest = max(shares, key=lambda name: shares[name])
    return shares[farthest] <= 1, farthest, shares[farthest]


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan


if __name__ == "__main__":
    sys.exit(main())
