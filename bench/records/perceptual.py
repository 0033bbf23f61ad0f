"""Whether `lpips_mini` sees what larger networks see, and what it costs: python bench/records/perceptual.py [--quick].

With --photographs, --squeezenet and --vgg19, agreement. Photographs that lpips_mini was not trained on are distorted in
six families at four strengths each (distortions.py), and every distance of the copies from their photographs is
compared with the LPIPS-style distance (unit-normalized features, no linear heads) of SqueezeNet 1.1 and of VGG19 up to
its third block, the teachers of train_lpips_mini.py. Rows of a case:

lpips_mini  as it is shipped, or --weights.
untrained   the same structure with random weights and heads of 1.
L2          the mean squared difference of RGB.
SSIM        1 minus the structural similarity.
VGG19, SqueezeNet   the other teacher: how well two trained networks agree.

`rank` is Spearman's correlation over all photographs, families and strengths, `ordered` the share of pairs of copies of
the same photograph that both distances put in the same order (0.5 is chance); `low` and `high` are 95 % bootstrap
intervals over photographs. A case such as `SqueezeNet, jpeg` is one family alone; `taught` says whether lpips_mini was
shown it in training: jpeg and warp never.

Always, cost: milliseconds of one term, forward and backward to the fake, at 256 pixels and batch 1, in alternating
runs; `ratio` is AlexNet's over the row's own, more than 1 is cheaper. AlexNet has random weights here.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script, only this folder is there
from bench.arguments import parse
from bench.records.arguments import Perceptual as Arguments

if __name__ == "__main__":
    parse(Arguments)  # --help and wrong options end here, before what takes seconds is imported


from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
import torch
from scipy.stats import rankdata  # comes with scikit-image
from skimage.metrics import structural_similarity
from torch import Tensor

from bench.common import alternate, jpegs, report
from bench.records.distortions import HELD_OUT, JUDGED, levels
from bench.records.train_lpips_mini import unit, vgg19
from recolor_fast.losses.features import Lpips, build_lpips
from recolor_fast.machine import starting
from recolor_fast.machine.environment import device_name
from recolor_fast.machine.errors import UserError
from recolor_fast.photographs import images

RESAMPLES = 500
Distance = Callable[[np.ndarray, Sequence[np.ndarray]], np.ndarray]
"""A photograph (S,S,3) uint8 and copies of it -> how far each is."""


@starting.verb()
def main(argv: list[str]) -> int:
    """Parse the command line, measure agreement where it can be, then cost, and report."""
    arguments = parse(Arguments, argv)
    count = arguments.count or (3 if arguments.quick else 50)
    size = arguments.size or (64 if arguments.quick else 128)
    for name in ("count", "size", "runs"):
        if (value := getattr(arguments, name)) is not None and value < 1:
            raise UserError(f"{name} {value}: expected 1 or more")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rows: list[dict[str, object]] = []
    if arguments.photographs and not (arguments.squeezenet and arguments.vgg19):
        raise UserError("photographs needs --squeezenet FILE and --vgg19 FILE, which lpips_mini is compared with")
    paths = [path for folder in arguments.photographs for path in chosen(folder, count)]
    if paths and arguments.squeezenet and arguments.vgg19:
        teachers = {
            "SqueezeNet": of_network(build_lpips("lpips_style_squeeze", str(arguments.squeezenet))),
            "VGG19": of_network(vgg19(arguments.vgg19)),
        }
        rows += agreement(measured(paths, size, teachers | judges(arguments.weights)), list(teachers))
    rows += cost(arguments.runs or (3 if arguments.quick else 25))
    note = f"medians of runs in turn; agreement on {len(paths)} photographs, {size} pixels"
    report("perceptual", device_name(torch.device("cpu")), len(paths), rows, note, arguments.save)
    return 0


def chosen(folder: Path, count: int) -> list[Path]:
    """`count` JPEGs of a folder and those below, evenly chosen in sorted order; all where there are fewer."""
    paths = jpegs(folder, "--photographs")
    return [paths[k * len(paths) // count] for k in range(count)] if len(paths) > count else paths


def judges(weights: str) -> dict[str, Distance]:
    """The distances that are compared with the teachers'."""
    torch.manual_seed(0)  # of the untrained one
    return {
        "lpips_mini": of_network(build_lpips("lpips_mini", weights)),
        "untrained": of_network(build_lpips("lpips_mini", "random")),
        "L2": lambda photograph, copies: np.array(
            [np.square(photograph.astype(np.float32) - copy).mean() for copy in copies]
        ),
        "SSIM": lambda photograph, copies: np.array(
            [1 - structural_similarity(photograph, copy, channel_axis=2) for copy in copies]
        ),
    }


def of_network(network: Lpips) -> Distance:
    def distance(photograph: np.ndarray, copies: Sequence[np.ndarray]) -> np.ndarray:
        with torch.no_grad():
            return network.distances(unit(copies), unit([photograph])).numpy()

    return distance


def measured(paths: Sequence[Path], size: int, distances: Mapping[str, Distance]) -> dict[str, np.ndarray]:
    """Every distance (photographs, families, strengths) of the distorted copies of photographs."""
    result: dict[str, list[np.ndarray]] = {name: [] for name in distances}
    for number, path in enumerate(paths):
        photograph = images.resize(images.read_rgb(path.read_bytes()), size, size)
        chance = np.random.default_rng(number)
        copies = [
            levels(family.apply(photograph.astype(np.float32), strength, chance))
            for family in JUDGED.values()
            for strength in family.strengths
        ]
        for name, distance in distances.items():
            result[name].append(distance(photograph, copies).reshape(len(JUDGED), -1))
    return {name: np.stack(values) for name, values in result.items()}


def agreement(values: Mapping[str, np.ndarray], teachers: Sequence[str]) -> list[dict[str, object]]:
    """The rows of all distances against each teacher: over all families, then over each alone."""
    rows: list[dict[str, object]] = []
    parts = [("", slice(None)), *((f", {name}", slice(k, k + 1)) for k, name in enumerate(JUDGED))]
    for teacher in teachers:
        for said, part in parts:
            for name in values:
                if name == teacher:
                    continue
                ours, theirs = (value[:, part].reshape(len(value), -1) for value in (values[name], values[teacher]))
                rank, low, high = bootstrap(spearman, ours, theirs)
                row = {"case": teacher + said, "name": name, "rank": rank, "low": low, "high": high}
                if not said:
                    share, below, above = bootstrap(ordered, ours, theirs)
                    row |= {"ordered": share, "ordered low": below, "ordered high": above}
                row["taught"] = "no" if said.removeprefix(", ") in HELD_OUT else "yes" if said else "in part"
                rows.append(row)
    return rows


def bootstrap(
    statistic: Callable[[np.ndarray, np.ndarray], float], ours: np.ndarray, others: np.ndarray
) -> tuple[float, float, float]:
    """A statistic of two arrays (photographs, copies) with its 95 % interval over photographs."""
    chance = np.random.default_rng(0)
    draws = chance.integers(0, len(ours), (RESAMPLES, len(ours)))
    low, high = np.percentile([statistic(ours[draw], others[draw]) for draw in draws], [2.5, 97.5])
    return statistic(ours, others), float(low), float(high)


def spearman(ours: np.ndarray, others: np.ndarray) -> float:
    """The correlation of ranks over all values."""
    return float(np.corrcoef(rankdata(ours), rankdata(others))[0, 1])


def ordered(ours: np.ndarray, others: np.ndarray) -> float:
    """The share of pairs of columns in the same order, over all rows."""
    first, second = np.triu_indices(ours.shape[1], 1)
    same = np.sign(ours[:, first] - ours[:, second]) == np.sign(others[:, first] - others[:, second])
    return float(same.mean())


def cost(runs: int) -> list[dict[str, object]]:
    """Forward and backward to the fake of either term, in float32 and in bfloat16."""
    torch.manual_seed(0)
    networks = {name: build_lpips(name, "random") for name in ("lpips_alex", "lpips_mini")}
    fake, real = (torch.rand(1, 3, 256, 256) * 2 - 1 for _ in range(2))
    rows: list[dict[str, object]] = []
    for case, amp in (("cost, float32", False), ("cost, bfloat16", True)):
        seconds = alternate({name: backward(network, fake, real, amp) for name, network in networks.items()}, runs)
        rows += [
            {"case": case, "name": name, "ms": 1e3 * taken, "ratio": seconds["lpips_alex"] / taken}
            for name, taken in seconds.items()
        ]
    return rows


def backward(network: Lpips, fake: Tensor, real: Tensor, amp: bool) -> Callable[[], None]:
    def case() -> None:
        leaf = fake.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            loss = network(leaf, real)
        loss.backward()

    return case


if __name__ == "__main__":
    sys.exit(main())
