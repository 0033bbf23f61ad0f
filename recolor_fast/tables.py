"""What an evaluation says: a short table at its end, and tables.md with every metric and the papers' own tables."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from recolor_fast import metrics
from recolor_fast.files import legible
from recolor_fast.metrics import METRICS, Columns, Metric
from recolor_fast.options import Options
from recolor_fast.presets import PRESETS

PADOVA = ("padova_generator", "padova_critic")
SWAPPED = ("padova_generator_swapped", "padova_critic_swapped")
BRIEF = ("psnr_rgb", "lpips", "fid", "colorfulness_ratio")  # of METRICS, in the short table where any system has them


class System(Protocol):
    """What the tables say of a system (evaluate.System)."""

    @property
    def name(self) -> str:
        """As in the outputs."""

    @property
    def options(self) -> Options | None:
        """Of a run, or of what was made of one."""


class Published(NamedTuple):
    """A row of a paper's table, its figures as printed, and the presets that train that system."""

    label: tuple[str, ...]
    figures: tuple[str, ...]
    presets: tuple[str, ...]


class Table(NamedTuple):
    """A paper's table: its own columns, and the metrics that measure the same here."""

    title: str
    labels: tuple[str, ...]
    figures: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[Published, ...]
    note: str


TABLES = (
    Table(
        "Padova, Table 1: estimations of the generalization errors",
        ("Model",),
        ("Generator error", "Discriminator error"),
        (*PADOVA, *SWAPPED),
        (
            Published(("Original",), ("8.9982", "0.3435"), ("pix2pix", "padova-code-pix2pix", "padova-paper-pix2pix")),
            Published(("LPIPS",), ("10.4122", "0.4239"), ("pix2pix-lpips", "padova-code-lpips", "padova-paper-lpips")),
            Published(("WGAN",), ("11.0813", "0.6886"), ("wgan-gp", "padova-code-wgan", "padova-paper-wgan")),
            Published(("WGAN + LPIPS",), ("10.6731", "0.8153"), ("wgan-gp-lpips", "padova-code", "padova-paper")),
        ),
        "Errors as the paper's code computes them: 0.5 BCE + 100 L1, and the mean of 0.5 BCE on real and on fake pairs "
        "(0.3466 is chance), no LPIPS term for any system; the scores of a linear critic go through a sigmoid that it "
        "was not trained with. The published ones are of 150 photographs of one class with the pair swapped (the color "
        "photograph is the input, gray the target), so the swapped columns are nearest to them; they need a generator "
        "that takes three channels. Its code compared every photograph with one fixed target, ours with its own.",
    ),
    Table(
        "Tarres et al., Table 1: quantitative metrics for the models",
        ("Models", "Backbone"),
        ("JS a", "JS b", "PSNR"),
        ("js_a", "js_b", "sqrt_js_a", "sqrt_js_b", "psnr_ab"),
        (
            Published(("pix2pix", "-"), ("0.13", "0.13", "26.70"), ("pix2pix-lab",)),
            Published(
                ("Gorriz et al.", "-"),
                ("0.06", "0.06", "25.14"),
                ("gorriz", "gorriz-bn", "gorriz-in", "gorriz-bn-sn", "gorriz-in-sn"),
            ),
            Published(
                ("Our model", "VGG16"), ("0.009", "0.05", "25.13"), ("features-vgg16", "features-vgg16-torchvision")
            ),
            Published(("Our model", "ResNet"), ("0.12", "0.13", "25.23"), ("features-resnet50",)),
            Published(("Our model", "Unet"), ("0.23", "0.19", "25.19"), ("features-unet",)),
            Published(("Our model", "FPN"), ("0.15", "0.19", "25.24"), ("features-fpn",)),
        ),
        "Published on 10,000 photographs of ImageNet. The paper does not say whether its JS is the divergence or its "
        "square root (both fit its figures), nor which PSNR it means: that of a and b against 255, as in the code of "
        "Gorriz et al., fits its figures.",
    ),
)

DEFINITIONS = """\
psnr_rgb: dB, peak 255, mean over photographs of each one's PSNR (100 where there is no error)
psnr_ab: dB, 20 log10(255 / RMSE of CIE Lab a and b), mean over photographs
ab_rmse, ab_mae: errors of a and b over all photographs, Lab units
ssim: on RGB, 11x11 Gaussian window, sigma 1.5, where it fits into the picture
colorfulness: Hasler and Suesstrunk 2003, signed opponent colors; colorfulness_abs: of their absolute values
chroma: mean chroma of Lab, divided by the truth's
js, kl: histograms of a and b in 219 bins of width 1 over all photographs, natural logarithm
kl: KL(truth || system); an empty bin of the system counts as 1e-8
top1: SqueezeNet 1.1 finds the true class of ImageNet's 1,000; top1_agreement: the class it finds on the truth
gray, sepia: baselines, one Lab a, b for all pixels: 0, 0 and 3.35, 7.27 (hue of #704214, half of photographs' chroma)
padova_*: errors of Table 1 as its code computes them, photograph by photograph at the run's size, critic as in training
fid: torch-fidelity's Inception v3, 2,048 features; biased for few photographs, and without an interval
low, high: 2.5 and 97.5 percentiles of 1,000 bootstrap resamples of the photographs""".splitlines()


class Results(NamedTuple):
    """What is written."""

    protocol: dict[str, Any]
    caption: str
    """The protocol in a line, for tables and figures."""
    columns: dict[str, Columns]
    metrics: dict[str, dict[str, dict[str, Any]]]


def brief(results: Results, systems: Sequence[System], seed: int) -> str:
    """A table for people to read at once: how far each system's ab error is below gray's, and a few metrics.

    With 95 % intervals; the ab error's is over the same resamples of the photographs for gray and system.
    """
    chosen = [name for name in BRIEF if any("mean" in results.metrics[one.name][name] for one in systems)]
    rows = [["system", "ab error below gray", *(METRICS[name].title for name in chosen)]]
    for system in systems:
        found = results.metrics[system.name]
        rows.append([system.name, below_gray(results, system.name, seed), *(_shown(found[name]) for name in chosen)])
    rows = [[legible(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def below_gray(results: Results, name: str, seed: int) -> str:
    """By how many percent the RMSE of a and b is below gray's, and the 95 % interval; negative: above it."""
    own, gray = results.columns[name]["ab_square"], results.columns["gray"]["ab_square"]
    if not gray.mean():
        return "-"  # the truth holds no color
    columns = {"own": own, "gray": gray}
    metric = Metric("", "", ("own", "gray"), _below)
    resampled = metrics.resample(columns, {"below": metric}, seed)["below"]
    low, high = np.percentile(resampled[np.isfinite(resampled)], [2.5, 97.5])
    return f"{_below(own.mean(), gray.mean()):.1f} % [{low:.1f}, {high:.1f}]"


def _below(own: Any, gray: Any) -> Any:
    return 100 * (1 - np.sqrt(own / gray))


def tables(results: Results, systems: Sequence[System]) -> str:
    """Every metric, then the papers' tables beside their published figures, as Markdown."""
    blocks = []
    names = [system.name for system in systems] + ["truth"]
    lines = [_row(["Metric", "better", *names]), _row(["---"] * (2 + len(names)))]
    for name, metric in METRICS.items():
        lines.append(_row([metric.title, metric.better, *(_shown(results.metrics[one][name]) for one in names)]))
    blocks.append("## All metrics, with 95 % intervals over photographs\n\n" + "\n".join(lines))
    reasons: dict[str, tuple[dict[str, None], dict[str, None]]] = {}  # reason -> metrics and systems, in order
    for one in names[:-1]:
        for name, found in results.metrics[one].items():
            if "missing" in found:
                those, of = reasons.setdefault(found["missing"], ({}, {}))
                those[name] = of[one] = None
    if reasons:
        listing = "\n".join(
            f"- {', '.join(those)} ({', '.join(of) if len(of) < len(names) - 1 else 'all'}): {reason}"
            for reason, (those, of) in reasons.items()
        )
        blocks.append(f"## Missing\n\n{listing}")
    blocks += [paper_table(table, results, systems) for table in TABLES]
    blocks.append("## Definitions\n\n" + "\n".join(f"- {line}" for line in DEFINITIONS))
    return "# Evaluation\n\n" + "\n\n".join(blocks) + f"\n\n---\n{results.caption}\n"


def paper_table(table: Table, results: Results, systems: Sequence[System]) -> str:
    """A paper's rows with their published figures, and below each the systems here that its presets trained."""
    titles = [METRICS[name].title for name in table.metrics]
    header = [*table.labels, *(f"{name} (published)" for name in table.figures), "system here", *titles]
    lines = [_row(header), _row(["---"] * len(header))]

    def measured(system: System) -> list[str]:
        return [system.name, *(_shown(results.metrics[system.name][name]) for name in table.metrics)]

    for row in table.rows:
        ours = [system for system in systems if _is_of(system, row.presets)]
        first = [*row.label, *row.figures]
        lines.append(_row([*first, *(measured(ours[0]) if ours else [""] * (1 + len(titles)))]))
        lines += [_row([*row.label, *[""] * len(row.figures), *measured(system)]) for system in ours[1:]]
    empty = [""] * (len(table.labels) + len(table.figures))
    known = {name for row in table.rows for name in row.presets}
    for system in systems:  # those of no row
        some = any("mean" in results.metrics[system.name][name] for name in table.metrics)
        if some and not _is_of(system, known):
            lines.append(_row([*empty, *measured(system)]))
    return f"## {table.title}\n\n" + "\n".join(lines) + f"\n\n{table.note}"


# What a run has in common with its preset where it stands beside a paper's figures. Sizes and weights it need not have,
# nor the loss network, which is another one where the paper's is missing (bench/reproduce.py).
DEFINING = "space generator critic adversary generator_norm critic_norm spectral_norm critic_gradients".split()


def _is_of(system: System, presets: Iterable[str]) -> bool:
    """Whether a system is what one of the presets trains, and not something else that was begun from its options."""
    options = system.options
    if options is None or options.preset not in presets:
        return False
    preset = PRESETS[options.preset]
    return all(getattr(options, name) == getattr(preset, name) for name in DEFINING)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(legible(cell).replace("|", "\\|") for cell in cells) + " |"


def _shown(found: dict[str, Any]) -> str:
    if "missing" in found:
        return "-"
    mean, low, high = (None if found[key] is None else f"{round(found[key], 6):.4g}" for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]" if low else f"{mean}"
