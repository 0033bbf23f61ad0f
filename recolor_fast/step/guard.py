"""An iteration is applied whole or not at all: what it changes is copied, counted and put back, all on the device.

An iteration counts as bad where one of its losses or gradients is not finite. With float16, loss scales fall first.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

FIRST_SCALE, GROW_AFTER = 65536.0, 2000  # as torch.amp.GradScaler has them


class LossScale(NamedTuple):
    """What a network's losses are multiplied with in float16, and the iterations since it last changed: scalars."""

    value: Tensor
    good: Tensor


def begin(optimizer: torch.optim.Optimizer) -> None:
    """Give Adam the state that it otherwise makes in its first step: there is something to put back from the start."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter] = {
                "step": torch.zeros((), device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }


def copies(tensors: Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Each tensor with a copy of it."""
    return [(tensor, tensor.clone()) for tensor in tensors]


def put_back(kept: list[tuple[Tensor, Tensor]], condition: Tensor) -> None:
    """Each tensor as its copy beside it is, in place, where the scalar condition holds."""
    for tensor, before in kept:
        torch.where(condition, before, tensor, out=tensor)


def count(streak: Tensor, scales: dict[str, LossScale], wrong: dict[str, Tensor], left_out: Tensor, limit: int) -> None:
    """Update the streak of bad iterations and the loss scales after one whose networks went `wrong` or not, in place.

    What only lowers a loss scale does not count. Beyond `limit` nothing changes any more.
    """
    counts = streak > limit
    for name, bad in wrong.items():
        counts = counts | (bad & (scales[name].value <= 1) if scales else bad)
    streak.add_(counts).mul_(left_out)
    kept = copies(tensor for scale in scales.values() for tensor in scale)
    for name, scale in scales.items():
        torch._amp_update_scale_(scale.value, scale.good, wrong[name].float(), 2.0, 0.5, GROW_AFTER)
        scale.value.clamp_(min=1)
    put_back(kept, streak > limit)
