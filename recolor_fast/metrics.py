"""Numbers for colored photographs against the truth."""

from collections.abc import Iterable

import numpy as np
import torch

from recolor_fast.color import to_lab, to_rgb01


def compare(colored: Iterable[np.ndarray], truth: Iterable[np.ndarray]) -> dict[str, float]:
    """Metrics over pairs of RGB photographs, uint8 (H,W,3):

    - ab_rmse: root mean square error of a and b, CIE Lab units; ab_rmse/gray: the same for no color at all;
    - chroma: mean Lab chroma divided by the truth's (1 is as colorful, 0 is gray);
    - psnr: dB on RGB, peak 255, of the mean square error over all photographs.

    ValueError where there is no photograph.
    """
    squares, grays, chromas, truths, errors, count = 0.0, 0.0, 0.0, 0.0, 0.0, 0
    for ours, theirs in zip(colored, truth, strict=True):
        pair = to_rgb01(torch.from_numpy(np.stack((ours, theirs))).permute(0, 3, 1, 2))
        ab, true_ab = to_lab(pair)[:, 1:].double()
        squares += (ab - true_ab).square().mean().item()
        grays += true_ab.square().mean().item()
        chromas += ab.square().sum(0).sqrt().mean().item()
        truths += true_ab.square().sum(0).sqrt().mean().item()
        errors += (pair[0] - pair[1]).double().square().mean().item()
        count += 1
    if not count:
        raise ValueError("no photographs to compare")
    return {
        "ab_rmse": (squares / count) ** 0.5,
        "ab_rmse/gray": (grays / count) ** 0.5,
        "chroma": chromas / max(truths, 1e-9),
        "psnr": -10 * float(np.log10(max(errors / count, 1e-10))),
    }
