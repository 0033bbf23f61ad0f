"""Colored points of the true photograph, drawn at random, for a generator that is to follow a person's hints.

As Zhang et al. 2017 (section 3.1) simulate a person: a geometric number of points, normal around the middle, each the
mean color of a square patch; now and then the whole photograph.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

MEAN_POINTS = 8  # p = 1/8 of the geometric distribution: one photograph in eight has no point
WHOLE = 0.01  # share of the photographs that are given whole
LARGEST = 9  # side of the largest patch, pixels
SPREAD = 0.25  # standard deviation of a point's place, sides of the photograph


def draw(real: Tensor, most: int, whole: int = 0, mine: Callable[[Tensor], Tensor] = lambda drawn: drawn) -> Tensor:
    """Hints of real (N,2,S,S), colors in network space: (N,3,S,S), both colors and a mask, 1 where there is a hint.

    Up to `most` points a photograph, from torch's global random state on real's device. Outside the mask all is 0; of
    patches that overlap the last one counts. Where real is a part of a batch of `whole` photographs, `mine` takes its
    part of what is drawn for all of them, (...,whole) -> (...,N).
    """
    count, _, size, _ = real.shape
    device, batch = real.device, whole or count
    # Geometric, from 0 on:
    number = (mine(torch.rand(batch, device=device)).log() / math.log(1 - 1 / MEAN_POINTS)).floor()
    entire = mine(torch.rand(batch, device=device)) < WHOLE
    places = (mine(torch.randn(2, most, batch, device=device)) * SPREAD + 0.5).clamp(0, 1)
    sides = mine(torch.randint(1, LARGEST + 1, (most, batch), device=device))
    low = (places * (size - 1)).round().long() - (sides - 1) // 2  # (2, most, N): y and x
    high = (low + sides).clamp(max=size)
    low = low.clamp(min=0)
    sums = F.pad(real.double().cumsum(2).cumsum(3), (1, 0, 1, 0)).flatten(2)  # (N,2,(S+1)^2)

    def corner(y: Tensor, x: Tensor) -> Tensor:
        at = (y * (size + 1) + x).T[:, None].expand(-1, 2, -1)
        return sums.gather(2, at)

    area = ((high - low).prod(0)).T[:, None]
    total = corner(high[0], high[1]) - corner(low[0], high[1]) - corner(high[0], low[1]) + corner(low[0], low[1])
    means = (total / area).to(real.dtype)  # (N,2,most)
    line = torch.arange(size, device=device)
    rows = (line >= low[0, ..., None]) & (line < high[0, ..., None])  # (most,N,S)
    columns = (line >= low[1, ..., None]) & (line < high[1, ..., None])
    shown = torch.arange(most, device=device)[:, None] < number  # (most,N)
    last = torch.zeros(count, size, size, dtype=torch.int64, device=device)  # the last point there, from 1 on; 0: none
    for point in range(most):
        here = (rows[point] & shown[point][:, None])[:, :, None] & columns[point][:, None]
        last.masked_fill_(here, point + 1)
    colors = F.pad(means, (1, 0, 0, 1), value=1.0)  # a row more: the mask
    colors[:, :, 0] = 0
    hints = colors.gather(2, last.flatten(1)[:, None].expand(-1, 3, -1)).view(count, 3, size, size)
    everything = F.pad(real, (0, 0, 0, 0, 0, 1), value=1.0)
    return torch.where(entire[:, None, None, None], everything, hints)
