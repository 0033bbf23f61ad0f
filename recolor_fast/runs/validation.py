"""What a step's generator makes of the validation photographs: numbers, and a sheet to look at."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recolor_fast.artefact.graphs import Chroma
from recolor_fast.data.loader import on_device
from recolor_fast.evaluation import metrics, plots
from recolor_fast.machine import bars
from recolor_fast.photographs import chroma, images
from recolor_fast.step.iteration import Step

PIXELS = 8 * 256**2  # that are colored at a time: twice as fast as one by one, in less memory than an iteration takes


def planes(step: Step, gray: Tensor, generator: nn.Module | None = None) -> list[Tensor]:
    """Cb and Cr (n,2,S,S), uint8, of gray photographs (N,1,S,S), uint8, by the generator as it will be exported: the
    step's, or another one of it.

    On the step's device and in eval mode, in batches of so many n as PIXELS says. Nothing of the step changes, and
    nothing waits for the device.
    """
    generator = generator or step.generator
    generator.eval()
    graph, batch = Chroma(generator, step.options.space), max(1, PIXELS // gray[:1].numel())
    try:
        with torch.no_grad(), bars.bar(None, "validating", len(gray)) as bar:
            colored = []
            for some in gray.split(batch):
                colored.append(graph(on_device(some, step.device)))
                bar.update(len(some))
    finally:
        generator.train()
    return colored


def colored(planes: list[Tensor], rgb: Tensor) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The photographs rgb (N,3,S,S), uint8, colored with such `planes`, merged with the true luminance, and true.

    uint8 (S,S,3) each.
    """
    truth = list(rgb.permute(0, 2, 3, 1).cpu().numpy())
    each = [one for some in planes for one in some.cpu().numpy()]
    return [chroma.merge(images.gray(photograph), cbcr) for photograph, cbcr in zip(truth, each)], truth


def validate(planes: list[Tensor], rgb: Tensor) -> tuple[dict[str, float], list[np.ndarray], list[np.ndarray]]:
    """The metrics of what `colored` returns, and that."""
    ours, truth = colored(planes, rgb)
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
