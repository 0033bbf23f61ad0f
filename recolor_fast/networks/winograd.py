"""Convolutions by Winograd's minimal filtering, F(m, r) in each dimension, as plain matrix products (on a CPU).

In one dimension, m outputs of a filter of r taps need n = m + r - 1 products instead of m r (Winograd 1980; Lavin and
Gray 2016, eq. 5):

    y = A^T ((G w) . (B^T d)),   d the n inputs, w the r taps, . element by element.

It is Toom and Cook's product of polynomials, transposed: evaluate both at n points (one of them infinity), multiply,
interpolate. In two dimensions each matrix acts on rows and columns, which is its Kronecker square on n x n numbers in
one vector. Over channels the products become, at each of the n^2 points p, one matrix product over all tiles:

    V = (B^T x B^T) D   input tiles      (tiles, n^2, C)
    U = (G x G) W       weights          (K, n^2, C)
    Y = (A^T x A^T) M,  M_p = V_p U_p^T  (tiles, m^2, K)

The other two passes of training are the adjoints of this one bilinear map. With the cotangent's tiles E = (A x A) dY,

    dD = (B x B) [E_p U_p]     overlapping tiles added: the gradient of the input
    dW = (G^T x G^T) [E_p^T V_p]                        the gradient of the weight

so forward, both gradients and a tangent pass share U, V and E, each made once.

A convolution of stride s whose kernel is s r taps wide is s^2 convolutions of stride 1 with r taps, one for each phase
of rows and columns, added: s^2 times the channels. F(4, 4) takes 49 products for 256, F(4, 2) of a 4x4 kernel of stride
2 takes 100 for 256.

Which layers are computed so: PAYS, of the strides that `paying` finds. Which points, besides 0 and infinity, decides
how it rounds: those of POINTS had the smallest error of all sets of a few small fractions. In float32 a layer is within
4e-6 of float64 (directly within 1e-6). In half precision it would be a few percent, so inputs of half precision are
widened first.

The fused critic composes these passes itself (step/convolutions.py); for networks that autograd differentiates there
are `convolution` and its transpose, whose forward is the gradient of the input and the other way round.
"""

from __future__ import annotations  # a compiled function must not evaluate the annotations of inner functions

import math
from fractions import Fraction
from functools import cache
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from recolor_fast.machine.timing import least, seconds

POINTS = {2: "0 -1 2 1/2", 4: "0 -1 -1/2 -3 4/3 3/4"}  # by taps; and infinity
TILE = 4  # outputs of a tile in each dimension, m
# By the option winograd: strides of the convolutions that are computed so. None: what else is faster than torch's own
# convolutions on a CPU is left out, too.
Level = Literal["on", "stride1", "last", "off"]
STRIDES: dict[Level, tuple[int, ...] | None] = {"on": (1, 2), "stride1": (1,), "last": (), "off": None}
# By stride: how many times the rate of matrix products torch's own convolution may have (bench/LOG.md).
RATES = {1: 3.8, 2: 2.1}
LONG = 0.2  # seconds that tell of a type that this processor does not know, whose rate is not close to any of these
# (stride, whether the type is wider than 16 bits) -> the fewest channels on either side, places of the output in all
# photographs, and products of channels, channels and places, from which on it is faster (bench/LOG.md).
PAYS = {(1, True): (64, 500, 2e6), (1, False): (128, 900, 1e8), (2, True): (64, 1000, 3.3e7)}


class Shape(NamedTuple):
    """A convolution's kernel side, stride and padding."""

    kernel: int
    stride: int
    padding: int

    @property
    def taps(self) -> int:
        """r, of each phase."""
        return self.kernel // self.stride

    @property
    def points(self) -> int:
        """n, in each dimension."""
        return TILE + self.taps - 1

    def sides(self, height: int, width: int) -> tuple[int, int]:
        """Of the output."""
        return tuple((side + 2 * self.padding - self.kernel) // self.stride + 1 for side in (height, width))  # type: ignore[return-value]


def fits(shape: Shape) -> bool:
    """Whether its phases have equally many taps, as many as there are transforms for."""
    return shape.kernel % shape.stride == 0 and shape.taps in SQUARES


def pays(strides: tuple[int, ...], shape: Shape, channels: int, out: int, places: int, wide: bool) -> bool:
    """Whether a CPU for which it pays at these `strides` computes it faster so: `channels` to `out` at so many places
    of the output in all photographs, in a type `wide`r than 16 bits or not."""
    fewest = PAYS.get((shape.stride, wide)) if shape.stride in strides else None
    has = min(channels, out), places, channels * out * places
    return fewest is not None and fits(shape) and all(one >= least for one, least in zip(has, fewest))


@cache
def paying(kind: torch.dtype) -> Level:
    """What is fastest on this processor of STRIDES but "off", where torch's own convolutions are in this type."""
    rate = convolutions_rate(kind)
    strides = tuple(stride for stride, most in RATES.items() if rate <= most)
    return next(name for name, found in STRIDES.items() if found == strides)


def convolutions_rate(kind: torch.dtype, turns: int = 7) -> float:
    """How many times as many products a second torch's own convolution makes in this type as float32 matrices do.

    Measured on one thread, in 50 ms: a layer of 128 to 256 channels, and what it is by Winograd. 3 and 4.6 in float32
    and bfloat16 on a processor with vectors of 512 bits that the matrix library does not use (AMD's of Zen 5); about 1
    and 2, by other measurements, on one that computes them by halves; more in bfloat16 with matrix units (AMX).
    """
    shape, side = Shape(4, 1, 1), 32
    x, weight = torch.zeros(1, 128, side, side, dtype=kind), torch.zeros(256, 128, 4, 4, dtype=kind)
    inputs, weights = of_input(shape, x), of_weight(shape, weight)
    products = len(inputs) * shape.points**2, math.prod(shape.sides(side, side)) * shape.kernel**2
    x, weight = (one.to(memory_format=torch.channels_last) for one in (x, weight))
    by_products, direct = least(
        lambda: seconds(lambda: torch.bmm(inputs.permute(1, 0, 2), weights.permute(1, 2, 0))),
        lambda: seconds(lambda: F.conv2d(x, weight, None, shape.stride, shape.padding)),
        turns=turns,
        long=LONG,
    )
    return products[1] / direct / (products[0] / by_products)


def transforms(taps: int) -> tuple[list[list[Fraction]], list[list[Fraction]], list[list[Fraction]]]:
    """A^T (m,n), G (n,r) and B^T (n,n) of F(TILE, taps), exact: y = A^T ((G w) . (B^T d)) for all d and w."""
    count = TILE + taps - 1
    finite = [Fraction(point) for point in POINTS[taps].split()]

    def evaluate(length: int) -> list[list[Fraction]]:
        """Values at the points, the last at infinity, of a polynomial from its coefficients."""
        rows = [[point**power for power in range(length)] for point in finite]
        return [*rows, [Fraction(int(power == length - 1)) for power in range(length)]]

    interpolate = _inverse(evaluate(count))
    outputs, filters = evaluate(TILE), evaluate(taps)
    inputs = [[interpolate[column][row] for column in range(count)] for row in range(count)]
    for row in range(count):  # denominators go from the inputs, of which there are many, to the weights
        scale = math.lcm(*(value.denominator for value in inputs[row]))
        inputs[row] = [value * scale for value in inputs[row]]
        filters[row] = [value / scale for value in filters[row]]
    return [list(column) for column in zip(*outputs)], filters, inputs


def _inverse(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    """By Gauss and Jordan, exactly."""
    size = len(matrix)
    rows = [[*row, *(Fraction(int(i == k)) for k in range(size))] for i, row in enumerate(matrix)]
    for column in range(size):
        pivot = next(i for i in range(column, size) if rows[i][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [value / rows[column][column] for value in rows[column]]
        for i in range(size):
            if i != column:
                factor = rows[i][column]
                rows[i] = [a - factor * b for a, b in zip(rows[i], rows[column])]
    return [row[size:] for row in rows]


def _square(matrix: list[list[Fraction]]) -> Tensor:
    exact = torch.tensor([[float(value) for value in row] for row in matrix], dtype=torch.float64)
    return torch.kron(exact, exact)


# by taps: A^T x A^T, G x G and B^T x B^T in float64. Made once: a compiled function takes them as they are.
SQUARES = {taps: tuple(_square(matrix) for matrix in transforms(taps)) for taps in POINTS}


def _tiles(shape: Shape, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of tiles that cover the output of an input of this size."""
    rows, columns = shape.sides(height, width)
    return -(-rows // TILE), -(-columns // TILE)


def _each(transform: Tensor, blocks: Tensor) -> Tensor:
    """A transform of each block, (B,k,C) -> (B,n,C). A product each, as MKL's threads do not share a single one of few
    rows and very many columns."""
    return torch.bmm(transform.to(blocks.dtype).expand(len(blocks), -1, -1), blocks)


def _wide(blocks: Tensor) -> Tensor:
    """A copy of at least float32, in the order of the dimensions."""
    kind = torch.promote_types(blocks.dtype, torch.float32)
    return blocks.to(kind, memory_format=torch.contiguous_format).contiguous()


def of_input(shape: Shape, x: Tensor) -> Tensor:
    """V (tiles, n^2, s^2 C) of an input (N,C,H,W)."""
    height, width = x.shape[2:]
    down, across = _tiles(shape, height, width)
    step, n, edge = shape.stride, shape.points, shape.padding
    tall, wide = (step * (TILE * tiles + shape.taps - 1) for tiles in (down, across))
    # What no output sees, an odd last row for instance, is cut off by a padding below 0.
    padded = F.pad(x, (edge, wide - width - edge, edge, tall - height - edge))
    rows = padded.permute(0, 2, 3, 1).contiguous()
    count, _, _, channels = rows.shape
    photograph, row, column, _ = rows.stride()
    seen = rows.as_strided(
        (count, down, across, n, n, step, step, channels),
        (photograph, TILE * step * row, TILE * step * column, step * row, step * column, row, column, 1),
    )
    return _each(SQUARES[shape.taps][2], _wide(seen).view(-1, n * n, step * step * channels))


def of_weight(shape: Shape, weight: Tensor) -> Tensor:
    """U (K, n^2, s^2 C) of a weight (K,C,k,k)."""
    out, channels = weight.shape[:2]
    step, r = shape.stride, shape.taps
    phases = weight.permute(0, 2, 3, 1).reshape(out, r, step, r, step, channels).permute(0, 1, 3, 2, 4, 5)
    return _each(SQUARES[r][1], _wide(phases).view(out, r * r, step * step * channels))


def of_cotangent(shape: Shape, cotangent: Tensor) -> Tensor:
    """E (tiles, n^2, K) of the cotangent (N,K,H',W') of an output."""
    count, out, height, width = cotangent.shape
    down, across = -(-height // TILE), -(-width // TILE)
    padded = F.pad(cotangent, (0, TILE * across - width, 0, TILE * down - height))
    tiles = padded.permute(0, 2, 3, 1).reshape(count, down, TILE, across, TILE, out).permute(0, 1, 3, 2, 4, 5)
    return _each(SQUARES[shape.taps][0].T, _wide(tiles).view(-1, TILE * TILE, out))


def output(shape: Shape, inputs: Tensor, weights: Tensor, sides: tuple[int, int], bias: Tensor | None = None) -> Tensor:
    """The convolution's output (N,K,H',W') from V and U, `sides` being those of its input (H,W)."""
    (height, width), (down, across) = shape.sides(*sides), _tiles(shape, *sides)
    products = torch.bmm(inputs.permute(1, 0, 2), weights.permute(1, 2, 0))
    made = _each(SQUARES[shape.taps][0], products.transpose(0, 1))
    if bias is not None:
        made += bias
    tiles = made.view(-1, down, across, TILE, TILE, len(weights)).permute(0, 1, 3, 2, 4, 5)
    whole = tiles.reshape(-1, TILE * down, TILE * across, len(weights))
    return whole[:, :height, :width].permute(0, 3, 1, 2)


def input_gradient(shape: Shape, cotangents: Tensor, weights: Tensor, sides: tuple[int, int]) -> Tensor:
    """The gradient (N,C,H,W) by the input, of `sides` (H,W), from E and U."""
    down, across = _tiles(shape, *sides)
    step, n = shape.stride, shape.points
    channels = weights.shape[2] // (step * step)
    products = torch.bmm(cotangents.permute(1, 0, 2), weights.permute(1, 0, 2))
    made = _each(SQUARES[shape.taps][2].T, products.transpose(0, 1))
    tiles = made.view(-1, down, across, n, n, step, step, channels).permute(0, 1, 3, 5, 2, 4, 6, 7)
    # A tile reaches taps - 1, less than TILE, into the next one: four quarters, none of which overlaps itself.
    added = made.new_zeros(len(tiles), down + 1, TILE, step, across + 1, TILE, step, channels)
    for low, rows in enumerate((slice(0, TILE), slice(TILE, n))):
        for right, columns in enumerate((slice(0, TILE), slice(TILE, n))):
            part = tiles[:, :, rows, :, :, columns]
            added[:, low : low + down, : part.shape[2], :, right : right + across, : part.shape[5]] += part
    whole = added.view(-1, (down + 1) * TILE * step, (across + 1) * TILE * step, channels)
    edge, (height, width) = shape.padding, sides
    return whole[:, edge : edge + height, edge : edge + width].permute(0, 3, 1, 2)


def weight_gradient(shape: Shape, inputs: Tensor, cotangents: Tensor) -> Tensor:
    """The gradient (K,C,k,k) by the weight, from V and E."""
    step, r, k = shape.stride, shape.taps, shape.kernel
    channels, out = inputs.shape[2] // (step * step), cotangents.shape[2]
    products = torch.bmm(cotangents.permute(1, 2, 0), inputs.permute(1, 0, 2))
    made = _each(SQUARES[r][1].T, products.transpose(0, 1))
    phases = made.view(out, r, r, step, step, channels).permute(0, 1, 3, 2, 4, 5)
    return phases.reshape(out, k, k, channels).permute(0, 3, 1, 2)


def convolution(shape: Shape, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """F.conv2d of x (N,C,H,W) with a weight (K,C,k,k), to be differentiated once; float32 at least, autocast or not."""
    return _Convolution.apply(shape, x, weight, bias)


def transposed(shape: Shape, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """F.conv_transpose2d of x (N,K,H',W') with a weight (K,C,k,k), likewise, to the fewest rows and columns that have
    an output of H' x W'."""
    return _Transposed.apply(shape, x, weight, bias)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, shape: Shape, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.shape, ctx.sides = shape, (x.shape[2], x.shape[3])
        with torch.autocast("cpu", enabled=False):
            inputs, weights = of_input(shape, x), of_weight(shape, weight)
            _keep(ctx, inputs, weights)
            return _laid_out_as(x, output(shape, inputs, weights, ctx.sides, bias))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weights = ctx.saved_tensors
        by_input = by_weight = None
        with torch.autocast("cpu", enabled=False):
            cotangents = of_cotangent(ctx.shape, cotangent)
            if weights is not None:
                by_input = _laid_out_as(cotangent, input_gradient(ctx.shape, cotangents, weights, ctx.sides))
            if inputs is not None:
                by_weight = weight_gradient(ctx.shape, inputs, cotangents)
            return None, by_input, by_weight, cotangent.sum((0, 2, 3)) if ctx.needs_input_grad[3] else None


class _Transposed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, shape: Shape, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.shape = shape
        ctx.sides = tuple((side - 1) * shape.stride + shape.kernel - 2 * shape.padding for side in x.shape[2:])
        with torch.autocast("cpu", enabled=False):
            cotangents, weights = of_cotangent(shape, x), of_weight(shape, weight)
            _keep(ctx, cotangents, weights)
            made = input_gradient(shape, cotangents, weights, ctx.sides)
            return _laid_out_as(x, made if bias is None else made + bias[:, None, None])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        cotangents, weights = ctx.saved_tensors
        by_input = by_weight = None
        with torch.autocast("cpu", enabled=False):
            inputs = of_input(ctx.shape, cotangent)
            if weights is not None:
                by_input = _laid_out_as(cotangent, output(ctx.shape, inputs, weights, ctx.sides))
            if cotangents is not None:
                by_weight = weight_gradient(ctx.shape, inputs, cotangents)
            return None, by_input, by_weight, cotangent.sum((0, 2, 3)) if ctx.needs_input_grad[3] else None


def _keep(ctx: Any, taken: Tensor, weights: Tensor) -> None:
    """For the gradients that are asked for: that of a frozen critic's weights is not."""
    _, by_input, by_weight, _ = ctx.needs_input_grad
    ctx.save_for_backward(taken if by_weight else None, weights if by_input else None)


def _laid_out_as(x: Tensor, made: Tensor) -> Tensor:
    """Whole, as torch's own kernels leave it: of a view, its batch norm's gradient is slow, or wrong."""
    last = x.is_contiguous(memory_format=torch.channels_last)
    return made.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
