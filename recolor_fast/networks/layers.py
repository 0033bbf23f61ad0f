"""Norms, the activation the critics share, and initial weights."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class LeakyReLU(nn.Module):
    """LeakyReLU (slope 0.2) written as a product with a detached slope.

    Same value and gradient as nn.LeakyReLU, but autograd sees that its second derivative is zero, so the
    double-backward of the penalty does not run every convolution's backward on zeros: 4 units of work instead of 6.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.where(x.detach() > 0, x.new_ones(()), x.new_full((), 0.2))


class InstanceNorm(nn.InstanceNorm2d):
    """Affine instance norm computed in float32: half precision costs the penalty's gradient four times its error."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(at_least_float32(x)).to(x.dtype)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision to float32; float32 and float64 as they are."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


# name -> (channels, keep running statistics) -> module. Critics keep none: they are never in eval mode, and torch.func
# cannot differentiate through the in-place update.
NORMS: dict[str, Callable[[int, bool], nn.Module]] = {
    "none": lambda channels, running: nn.Identity(),
    "batch": lambda channels, running: nn.BatchNorm2d(channels, track_running_stats=running),
    "instance": lambda channels, running: InstanceNorm(channels),
}


def pick(table: dict, name: str, option: str):
    """`table[name]`, or a ValueError that names the option, the value and the names there are."""
    if name not in table:
        raise ValueError(f"{option} {name!r}: expected one of {', '.join(table)}")
    return table[name]


def initialize(network: nn.Module, sigma: float) -> None:
    """Convolution weights N(0, sigma), norm weights N(1, sigma), biases 0 (Isola et al. 2017, section 6.2)."""
    for module in network.modules():
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        if isinstance(weight, nn.Parameter):
            is_norm = weight.dim() == 1
            nn.init.normal_(weight, 1.0 if is_norm else 0.0, sigma)
        if isinstance(bias, nn.Parameter):
            nn.init.zeros_(bias)
