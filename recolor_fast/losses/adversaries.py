"""Adversarial losses: functions of one score map each. The step sums them over the critic's scales."""

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class Adversary(NamedTuple):
    """The critic's loss on real and on fake photographs, and the generator's on fake ones: score map -> scalar."""

    critic_real: Callable[[Tensor], Tensor]
    critic_fake: Callable[[Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    value: Callable[[Tensor], Tensor] = lambda scores: scores.mean((1, 2, 3))
    """The critic as a function, which the gradient penalty differentiates: score map (N,1,h,w) -> (N,)."""
    linear: bool = True
    """Whether `value` is linear in the scores, as the fused critic update needs it."""


ADVERSARIES = {
    # -log sigmoid(s) on real, -log(1 - sigmoid(s)) on fake, halved to slow the critic (Isola et al. 2017, section 3.3)
    "bce": Adversary(
        lambda scores: 0.5 * F.softplus(-scores).mean(),
        lambda scores: 0.5 * F.softplus(scores).mean(),
        lambda scores: F.softplus(-scores).mean(),
    ),
    # (s - 1)^2 on real, s^2 on fake (Mao et al. 2017, eq. 9 with a=0, b=c=1)
    "lsgan": Adversary(
        lambda scores: 0.5 * (scores - 1).square().mean(),
        lambda scores: 0.5 * scores.square().mean(),
        lambda scores: (scores - 1).square().mean(),
    ),
    # E[D(fake)] - E[D(real)], the critic as a function being the mean of its map (Gulrajani et al. 2017, eq. 3)
    "wgan": Adversary(lambda scores: -scores.mean(), lambda scores: scores.mean(), lambda scores: -scores.mean()),
    # As the Padova paper says (section V): a Wasserstein critic, and still cross entropy for the generator.
    "wgan_bce": Adversary(
        lambda scores: -scores.mean(), lambda scores: scores.mean(), lambda scores: F.softplus(-scores).mean()
    ),
    # As the Padova code has it: BCELoss(weight=0.5) for both players, the critic's two halves averaged.
    "bce_code": Adversary(
        lambda scores: 0.25 * F.softplus(-scores).mean(),
        lambda scores: 0.25 * F.softplus(scores).mean(),
        lambda scores: 0.5 * F.softplus(-scores).mean(),
    ),
    # The same code's WGAN: output minus label on a sigmoid output, whatever the label, so the critic lowers its output
    # on real photographs too; the penalty differentiates the sum of the map.
    "wgan_code": Adversary(
        lambda scores: 0.5 * (scores.sigmoid().mean() - 1),
        lambda scores: 0.5 * scores.sigmoid().mean(),
        lambda scores: 0.5 * F.softplus(-scores).mean(),
        lambda scores: scores.sigmoid().sum((1, 2, 3)),
        linear=False,
    ),
}
