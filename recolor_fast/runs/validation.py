"""What a step's generator makes of the validation photographs: numbers, and a sheet to look at."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recolor_fast.artefact.graphs import Chroma
from recolor_fast.evaluation import metrics, plots
from recolor_fast.machine import bars
from recolor_fast.photographs import chroma, images
from recolor_fast.step.iteration import Step


def colored(step: Step, gray: Tensor, rgb: Tensor) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The photographs gray (N,1,S,S), rgb (N,3,S,S), uint8, colored by the generator as it will be exported, and true.

    In eval mode, chroma merged with the true luminance: uint8 (S,S,3) each. Nothing of the step changes.
    """
    step.generator.eval()
    graph = Chroma(step.generator, step.options.space)
    try:
        with torch.no_grad(), bars.bar(gray.split(1), "validating", len(gray)) as singles:
            cbcr = [graph(one.to(step.device)).cpu().numpy()[0] for one in singles]
    finally:
        step.generator.train()
    truth = list(rgb.permute(0, 2, 3, 1).cpu().numpy())
    return [chroma.merge(images.gray(photograph), planes) for photograph, planes in zip(truth, cbcr)], truth


def validate(step: Step, gray: Tensor, rgb: Tensor) -> tuple[dict[str, float], list[np.ndarray], list[np.ndarray]]:
    """The metrics of what `colored` returns, and that."""
    ours, truth = colored(step, gray, rgb)
    return metrics.compare(ours, truth), ours, truth


def grid(path: Path, colored: list[np.ndarray], truth: list[np.ndarray]) -> None:
    """Write a sheet of gray, colored and truth; nothing where there are no photographs."""
    if truth:
        columns = {"gray": [images.gray(one) for one in truth], "colored": colored, "truth": truth}
        plots.grid(path, columns)


def shown(photographs: Any, count: int) -> Any:
    """`count` of the photographs (or all, where they are fewer), evenly."""
    every = max(1, len(photographs) // max(count, 1))
    return photographs[::every][:count]


def told(numbers: dict[str, float]) -> str:
    """The metrics of `validate` in a line."""
    ratio = numbers["chroma"]
    chroma = "the truth holds no color" if math.isnan(ratio) else f"chroma {ratio:.2f} of the truth"
    return f"ab error {numbers['ab_rmse']:.2f} (gray {numbers['ab_rmse/gray']:.2f}), {chroma}"
