"""bench/reproduce.py --sweep: one system trained at several weights of a loss term, as a table and a plot."""

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from recolor_fast.machine.files import replacing
from recolor_fast.options import from_dict

# sweep -> preset, its term, the weights. Padova's paper reports 50 as the best of what it tried, without the others.
SWEEPS = {"lpips": ("wgan-gp-lpips", "lpips_alex", (0.0, 1.0, 5.0, 10.0, 25.0, 50.0))}
METRICS = {
    "ab_rmse": "ab error",
    "psnr_rgb": "PSNR, dB",
    "colorfulness_ratio": "colorfulness / truth's",
    "lpips_style_squeeze": "LPIPS-style (SqueezeNet, no heads)",
}


def name(sweep: str, weight: float) -> str:
    """The run of a weight."""
    return f"{sweep}-{weight:g}"


def report(sweep: str, out: Path, trained: list[str], failed: list[str], results: Path, hours: float) -> Path:
    """sweep-<sweep>-<device>.md and .png of the evaluation in out/evaluation; the first one's path."""
    told = json.loads((out / "evaluation" / "metrics.json").read_text())
    options = {run: from_dict(json.loads((out / "runs" / run / "options.json").read_text())) for run in trained}
    first = options[trained[0]]
    weights = {name(sweep, weight): weight for weight in SWEEPS[sweep][2]}
    target = results / f"sweep-{sweep}-{first.device}.md"
    results.mkdir(parents=True, exist_ok=True)
    lines = [
        f"# Preset {first.preset} at several weights of its {sweep} term, by bench/reproduce.py --sweep {sweep}",
        "",
        f"{first.size} pixels, width {first.width}, {first.images} photographs seen, batch {first.batch}; evaluated on "
        f"{told['protocol']['photographs']} photographs, in brackets 95 % intervals over them. One training for each "
        f"weight (seed {first.seed}): what lies within the intervals is no order. {hours:.2f} hours in this call."
        + (f" Failed: {', '.join(failed)}." if failed else ""),
        "",
        "| weight | terms trained with | " + " | ".join(METRICS.values()) + " |",
        "| --- " * (2 + len(METRICS)) + "|",
    ]
    for run in ("gray", *trained):
        terms = ", ".join(f"{term} {weight:g}" for term, weight in options[run].terms) if run in options else ""
        found = [_shown(told["systems"][run].get(metric, {})) for metric in METRICS]
        lines.append(f"| {f'{weights[run]:g}' if run in weights else run} | {terms} | " + " | ".join(found) + " |")
    _draw(target.with_suffix(".png"), told["systems"], {run: weights[run] for run in trained})
    with replacing(target) as file:
        file.write("\n".join([*lines, "", f"![by weight]({target.stem}.png)", ""]).encode())
    return target


def _shown(interval: dict[str, Any]) -> str:
    if "mean" not in interval:
        return "-"
    low, high = interval["low"], interval["high"]
    return f"{interval['mean']:.4g}" + ("" if low is None else f" [{low:.4g}, {high:.4g}]")


def _draw(path: Path, systems: dict[str, Any], weights: dict[str, float]) -> None:
    """A panel for each metric that was measured: mean and interval over the weight, gray's as a line."""
    measured = [metric for metric in METRICS if all("mean" in systems[run].get(metric, {}) for run in weights)]
    figure = Figure(figsize=(3.4 * len(measured), 3.2), layout="constrained")
    for axes, metric in zip(figure.subplots(1, len(measured), squeeze=False)[0], measured):
        for run, weight in weights.items():
            one = systems[run][metric]
            axes.plot([weight] * 2, [one["low"], one["high"]], color="tab:blue", linewidth=1)
        axes.plot([*weights.values()], [systems[run][metric]["mean"] for run in weights], "o-", color="tab:blue")
        if "mean" in systems["gray"].get(metric, {}):
            axes.axhline(systems["gray"][metric]["mean"], color="gray", linestyle="--", label="gray")
            axes.legend()
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xlim(-0.3, 1.3 * max(weights.values()))
        axes.set_xticks([*weights.values()], [f"{weight:g}" for weight in weights.values()])
        axes.set_xlabel("weight")
        axes.set_title(METRICS[metric], fontsize=9)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=100)
