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


class InstanceNorm(nn.Module):
    """Affine instance norm (Ulyanov et al. 2016), computed in float32: half precision costs the penalty dear.

    Written out because torch's own has a wrong gradient on the CPU for a batch of 1 whose gradient comes in
    channels-last layout (seen in 2.14.1; a test shows what ours gives there).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        wide = at_least_float32(x)
        centered = wide - wide.mean((2, 3), keepdim=True)
        scale = (centered.square().mean((2, 3), keepdim=True) + 1e-5).rsqrt()
        return (centered * (scale * self.weight[:, None, None]) + self.bias[:, None, None]).to(x.dtype)


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
