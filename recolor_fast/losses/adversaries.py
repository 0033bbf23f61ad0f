"""Adversarial losses: three functions of one score map each. The step sums them over the critic's scales."""

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class Adversary(NamedTuple):
    """The critic's loss on real and on fake photographs, and the generator's on fake ones: score map -> scalar."""

    critic_real: Callable[[Tensor], Tensor]
    critic_fake: Callable[[Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


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
}
