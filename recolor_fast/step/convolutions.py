"""Three ways to compute a convolution of the fused critic, its two gradients and its tangent.

Each way splits a convolution where its passes share work: `taken` is what it makes of an input, for `output` and
`weight_gradient`; `met` what it makes of the output's cotangent, for both gradients. `way` picks the fastest one.
"""

from __future__ import annotations  # a compiled function must not evaluate the annotations of inner functions

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from recolor_fast.networks import winograd
from recolor_fast.networks.layers import TAPS, at_least_float32, by_taps, taps


class Convolution(NamedTuple):
    """A convolution: parameters of at least float32, geometry, and the type that it is to be computed in."""

    weight: Tensor
    bias: Tensor | None
    stride: int
    padding: int
    type: torch.dtype

    @property
    def shape(self) -> winograd.Shape:
        return winograd.Shape(self.weight.shape[2], self.stride, self.padding)


class Way(Protocol):
    """Of what it takes and what it makes of a cotangent the first dimension has the photographs one after the other."""

    def __init__(self, convolution: Convolution, sides: tuple[int, int]) -> None:
        """`sides`: (H,W) of the inputs to come."""

    def taken(self, x: Tensor) -> Tensor: ...
    def output(self, taken: Tensor, bias: bool = True) -> Tensor: ...
    def met(self, cotangent: Tensor) -> Tensor: ...
    def input_gradient(self, met: Tensor) -> Tensor: ...
    def weight_gradient(self, taken: Tensor, met: Tensor) -> Tensor: ...


class Direct:
    """As torch computes it."""

    def __init__(self, convolution: Convolution, sides: tuple[int, int]) -> None:
        weight, bias, stride, padding, kind = convolution
        self.weight, self.bias = weight.to(kind), None if bias is None else bias.to(kind)
        self.settings = (stride, stride), (padding, padding)
        self.sides = sides

    def taken(self, x: Tensor) -> Tensor:
        return x.to(self.weight.dtype)

    def output(self, taken: Tensor, bias: bool = True) -> Tensor:
        return F.conv2d(taken, self.weight, self.bias if bias else None, *self.settings)

    def met(self, cotangent: Tensor) -> Tensor:
        return cotangent.to(self.weight.dtype)

    def input_gradient(self, met: Tensor) -> Tensor:
        like = met.new_empty(()).expand(len(met), self.weight.shape[1], *self.sides)  # its shape alone is read
        return self._backward(like, met, 0)

    def weight_gradient(self, taken: Tensor, met: Tensor) -> Tensor:
        return self._backward(taken, met, 1)

    def _backward(self, x: Tensor, cotangent: Tensor, which: int) -> Tensor:
        masks = [which == 0, which == 1, False]
        settings = (*self.settings, (1, 1), False, (0, 0), 1)  # no dilation, not transposed, one group
        return torch.ops.aten.convolution_backward(cotangent, x, self.weight, None, *settings, masks)[which]


class Winograd:
    """By networks/winograd.py, in and to float32 whatever the type: half precision would cost it a few percent."""

    def __init__(self, convolution: Convolution, sides: tuple[int, int]) -> None:
        self.shape, self.bias, self.sides = convolution.shape, convolution.bias, sides
        self.weights = winograd.of_weight(self.shape, convolution.weight)

    def taken(self, x: Tensor) -> Tensor:
        return winograd.of_input(self.shape, x)

    def output(self, taken: Tensor, bias: bool = True) -> Tensor:
        return winograd.output(self.shape, taken, self.weights, self.sides, self.bias if bias else None)

    def met(self, cotangent: Tensor) -> Tensor:
        return winograd.of_cotangent(self.shape, cotangent)

    def input_gradient(self, met: Tensor) -> Tensor:
        return winograd.input_gradient(self.shape, met, self.weights, self.sides)

    def weight_gradient(self, taken: Tensor, met: Tensor) -> Tensor:
        return winograd.weight_gradient(self.shape, taken, met)


class Taps:
    """To one channel, stride 1: networks/layers.py's products with the taps."""

    def __init__(self, convolution: Convolution, sides: tuple[int, int]) -> None:
        self.weight, self.bias, self.padding = convolution.weight, convolution.bias, convolution.padding
        self.sides = sides

    def taken(self, x: Tensor) -> Tensor:
        """Without a copy where channels are last and nothing lies between them."""
        return at_least_float32(x).contiguous(memory_format=torch.channels_last)

    def output(self, taken: Tensor, bias: bool = True) -> Tensor:
        return by_taps(taken, self.weight, self.bias if bias else None, self.padding)

    def met(self, cotangent: Tensor) -> Tensor:
        """(N,1,H',W') -> what reaches each place through each tap, (N,k^2,H W)."""
        kernel = self.weight.shape[2]
        return F.unfold(cotangent, kernel, padding=kernel - 1 - self.padding)

    def input_gradient(self, met: Tensor) -> Tensor:
        return (met.mT @ taps(self.weight)).unflatten(1, self.sides).permute(0, 3, 1, 2)

    def weight_gradient(self, taken: Tensor, met: Tensor) -> Tensor:
        made = torch.bmm(met, taken.flatten(2).mT).sum(0)
        return made.T.reshape(self.weight.shape).flip(2, 3)


def way(convolution: Convolution, count: int, sides: tuple[int, int], strides: tuple[int, ...] | None) -> Way:
    """The fastest for a batch of `count` inputs (H,W), Winograd's at these strides alone; None: torch's own one."""
    out, channels = convolution.weight.shape[:2]
    if strides is None:
        return Direct(convolution, sides)
    wide = convolution.type.itemsize >= 4
    return fastest(strides, convolution.shape, channels, out, count, sides, wide)(convolution, sides)


def fastest(
    strides: tuple[int, ...],
    shape: winograd.Shape,
    channels: int,
    out: int,
    count: int,
    sides: tuple[int, int],
    wide: bool,
) -> type[Direct | Winograd | Taps]:
    """What a CPU does fastest, Winograd's at these strides alone: `channels` to `out`, `count` inputs (H,W), in a type
    `wide`r than 16 bits or not."""
    if out == 1:
        folds = not torch.compiler.is_compiling()  # compiled, a fold adds in any order (networks/critics.py)
        return Taps if folds and channels >= TAPS and shape.stride == 1 and wide else Direct
    height, width = shape.sides(*sides)
    return Winograd if winograd.pays(strides, shape, channels, out, count * height * width, wide) else Direct
