"""The gradient penalty of WGAN-GP, differentiable in the critic's parameters."""

from __future__ import annotations  # a compiled function must not evaluate the annotations of inner functions

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from recolor_fast.losses.slopes import grad
from recolor_fast.networks.layers import at_least_float32

# Under the root of the norm: the gradient of |g| at g = 0 is NaN otherwise.
EPSILON = 1e-12


def gradient_penalty(
    value: Callable[[Tensor, Tensor], Tensor],
    source: Tensor,
    real: Tensor,
    fake: Tensor,
    mix: Tensor,
    on: Literal["image", "pair"] = "image",
    loss_scale: Tensor | None = None,
) -> Tensor:
    """Mean of (|d value / d image| - 1)^2 at points `mix` of the way from fake to real (Gulrajani et al. 2017, eq. 3).

    value: (source, image) -> (N,), the critic as a function; source (N,1 or 3,H,W), real and fake (N,C,H,W); mix
    (N,1,1,1) uniform in [0, 1]. The gradient is with respect to the color image alone, or `on` the pair of source and
    image; the source, being the same in both, is not interpolated. Norm and reductions are float32. `loss_scale`, a
    scalar, multiplies the value that is differentiated, so that its gradient does not underflow in float16, and
    divides that gradient before the norm. Returns a scalar.
    """

    def total(source: Tensor, image: Tensor) -> Tensor:
        summed = value(source, image).sum()  # photographs do not mix, so its gradient is each one's own
        return summed if loss_scale is None else summed * loss_scale

    by = (0, 1) if on == "pair" else (1,)
    gradients = grad(total, by)(source, torch.lerp(fake, real, mix))
    gradient = torch.cat([at_least_float32(gradient) for gradient in gradients], 1)
    return norm_penalty(gradient if loss_scale is None else gradient / loss_scale)


def norm_penalty(gradient: Tensor) -> Tensor:
    """Mean of (|g| - 1)^2 over photographs, of gradients g (N,C,H,W), float32 or wider."""
    return ((gradient.square().sum((1, 2, 3)) + EPSILON).sqrt() - 1).square().mean()
