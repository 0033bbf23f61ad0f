"""The gradient penalty of WGAN-GP, differentiable in the critic's parameters through torch.func."""

from __future__ import annotations  # a compiled function must not evaluate the annotations of inner functions

from collections.abc import Callable

import torch
from torch import Tensor

from recolor_fast.networks.layers import at_least_float32

# Under the root of the norm: the gradient of |g| at g = 0 is NaN otherwise.
EPSILON = 1e-12


def gradient_penalty(
    critic: Callable[[Tensor, Tensor], list[Tensor]], source: Tensor, real: Tensor, fake: Tensor, mix: Tensor
) -> Tensor:
    """Mean of (|d critic / d image| - 1)^2 at points `mix` of the way from fake to real (Gulrajani et al. 2017, eq. 3).

    source (N,1,H,W), real and fake (N,C,H,W); mix (N,1,1,1) uniform in [0, 1]; the critic's value is the sum over
    scales of the mean of its score map, as in the wgan loss. The gradient is with respect to the color image alone:
    the gray condition is not interpolated. Norm and reductions are float32. Returns a scalar.
    """

    def value(image: Tensor) -> Tensor:  # photographs do not mix in the critic, so the sum's gradient is each one's own
        return sum_of_means(critic(source, image)).sum()

    gradient = torch.func.grad(value)(torch.lerp(fake, real, mix))
    norm = (at_least_float32(gradient).square().sum((1, 2, 3)) + EPSILON).sqrt()
    return (norm - 1).square().mean()


def sum_of_means(scores: list[Tensor]) -> Tensor:
    """The critic as a function: (N,) float32, the sum over scales of the mean of each photograph's score map."""
    means = [at_least_float32(score).mean((1, 2, 3)) for score in scores]
    return torch.stack(means).sum(0)
