"""Layers whose numbers are of a whole batch, of which each rank has a part: dropout's draws, batch norm's statistics.

torch's own SyncBatchNorm takes no tensors of a CPU, and its gradient cannot be taken by torch.func.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recolor_fast.machine.ranks import Ranks
from recolor_fast.networks.layers import CriticBatchNorm, at_least_float32


class Dropout(nn.Dropout):
    """Dropout that draws for the photographs of all ranks, and takes what is drawn for its own."""

    ranks: Ranks

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.p):
            return x
        rank, count, mine = self.ranks.rank, self.ranks.count, len(x)
        layout = torch.contiguous_format if x.is_contiguous() else torch.channels_last
        whole = torch.ones((count * mine, *x.shape[1:]), dtype=x.dtype, device=x.device).to(memory_format=layout)
        return x * F.dropout(whole, self.p)[rank * mine : (rank + 1) * mine]


class BatchNorm(nn.BatchNorm2d):
    """Batch norm whose mean and variance in training are of the photographs of all ranks, float32 or wider."""

    ranks: Ranks

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        wide = at_least_float32(x)
        mean = self._over_all(wide.mean((0, 2, 3)))
        centered = wide - mean[:, None, None]
        variance = self._over_all(centered.square().mean((0, 2, 3)))
        if self.track_running_stats:
            count = self.ranks.count * wide[:, 0].numel()
            seen = (self.running_mean, mean), (self.running_var, variance * (count / (count - 1)))
            with torch.no_grad():
                self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
                for running, value in seen:
                    running.lerp_(value, self.momentum)  # type: ignore[union-attr, arg-type]
        scale = (variance + self.eps).rsqrt() * self.weight
        return (centered * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    def _over_all(self, value: Tensor) -> Tensor:
        return Summed.apply(value, self.ranks) / self.ranks.count


class Summed(torch.autograd.Function):
    """The sum of a tensor over all ranks; its gradient is the sum of theirs."""

    @staticmethod
    def forward(value: Tensor, ranks: Ranks) -> Tensor:
        return ranks.sum_(value.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Ranks], output: Tensor) -> None:
        ctx.ranks = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return Summed.apply(gradient, ctx.ranks), None


SHARED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Dropout: Dropout,
    nn.BatchNorm2d: BatchNorm,
    CriticBatchNorm: BatchNorm,
}


def share(network: nn.Module, ranks: Ranks) -> None:
    """Make the layers of a network that have one in SHARED that one, in place: their weights and names stay."""
    for module in network.modules():
        if type(module) in SHARED:
            module.__class__ = SHARED[type(module)]
            module.ranks = ranks  # type: ignore[assignment]
