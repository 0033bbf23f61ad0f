"""Norms, the activation the critics share, spectral norm, and initial weights."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from recolor_fast.machine.errors import UserError
from recolor_fast.networks import winograd
from recolor_fast.networks.winograd import Shape
from recolor_fast.options import System

SLOPE = 0.2  # of LeakyReLU below zero, in all networks


class LeakyReLU(nn.Module):
    """LeakyReLU written as a product with a detached slope.

    Same value and gradient as nn.LeakyReLU, but autograd sees that its second derivative is zero, so the
    double-backward of the penalty does not run every convolution's backward on zeros: 4 units of work instead of 6.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.where(x.detach() > 0, x.new_ones(()), x.new_full((), SLOPE))


# Photographs times positions of the smaller map up to which a convolution in training on a CPU is a matrix product: its
# own kernels, and their backward passes most of all, are made for large maps (bench/LOG.md).
SMALL_MAP = 64
HALVING = Shape(4, 2, 1)


class Convolving(nn.Conv2d):
    """A convolution (N,C,H,W) -> (N,C',H',W') that may be computed by Winograd's products, in training on a CPU."""

    winograd: tuple[int, ...] = ()
    """At which strides it is, where that pays; it can then be differentiated once alone."""

    def forward(self, x: Tensor) -> Tensor:
        shape = Shape(self.kernel_size[0], self.stride[0], self.padding[0])  # type: ignore[arg-type]
        if _by_winograd(self, shape, x, x.shape[2], x.shape[3]):
            return winograd.convolution(shape, x, self.weight, self.bias)
        return super().forward(x)


class Halving(Convolving):
    """4x4 convolution of stride 2: (N,C,H,W) -> (N,C',H/2,W/2). On small maps, training on a CPU, by unfolding."""

    def __init__(self, channels: int, out: int, bias: bool = True) -> None:
        super().__init__(channels, out, 4, 2, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2] // 2, x.shape[3] // 2
        if not _as_product(self, x, height * width):
            return super().forward(x)
        if _cast_for_one(x, height * width):
            with torch.autocast("cpu", enabled=False):
                return self(at_least_float32(x)).to(x.dtype)
        # (N, positions, C * 4 * 4) in rows: of columns the gradient would be columns, at up to a seventh of the speed.
        patches = F.unfold(x, 4, padding=1, stride=2).mT.contiguous()
        # Contiguous: a view has an odd stride where there is one photograph, and then torch's batch norm (2.14.1, CPU)
        # has a wrong gradient, in silence.
        return F.linear(patches, self.weight.flatten(1), self.bias).mT.contiguous().view(len(x), -1, height, width)


class Doubling(nn.ConvTranspose2d):
    """4x4 transposed convolution of stride 2: (N,C,H,W) -> (N,C',2H,2W). On small maps likewise, by folding."""

    winograd: tuple[int, ...] = ()

    def __init__(self, channels: int, out: int, bias: bool = True) -> None:
        super().__init__(channels, out, 4, 2, 1, bias=bias)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        height, width = x.shape[2:]
        if not _as_product(self, x, height * width):
            if _by_winograd(self, HALVING, x, 2 * height, 2 * width):
                return winograd.transposed(HALVING, x, self.weight, self.bias)
            return super().forward(x, output_size)
        if _cast_for_one(x, height * width):
            with torch.autocast("cpu", enabled=False):
                return self(at_least_float32(x)).to(x.dtype)
        # Not F.linear, whose weight gradient would come transposed: copying it back costs more than computing it.
        patches = (x.flatten(2).mT.contiguous() @ self.weight.flatten(1)).mT
        folded = F.fold(patches, (2 * height, 2 * width), 4, padding=1, stride=2)
        return folded if self.bias is None else folded + self.bias[:, None, None].to(folded.dtype)


def _by_winograd(module: Convolving | Doubling, shape: Shape, x: Tensor, height: int, width: int) -> bool:
    """Of the larger map, height x width."""
    if not module.winograd or not module.training or x.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    places = len(x) * math.prod(shape.sides(height, width))
    kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    return winograd.pays(module.winograd, shape, module.in_channels, module.out_channels, places, kind.itemsize >= 4)


def _as_product(module: nn.Module, x: Tensor, positions: int) -> bool:
    # Only in training may the batch be compared with a number: an export would be fixed to its example's.
    return module.training and x.device.type == "cpu" and x.shape[0] * positions <= SMALL_MAP


def _cast_for_one(x: Tensor, positions: int) -> bool:
    """Whether autocast would cast weights for a single position, which takes longer than their product in float32."""
    return x.shape[0] * positions == 1 and torch.is_autocast_enabled("cpu")


TAPS = 128  # channels from which on `by_taps` is faster than torch's convolutions on a CPU


def taps(weight: Tensor) -> Tensor:
    """The taps of a convolution (1,C,k,k) to one channel as rows (k^2,C), the last one first."""
    return weight[0].flip(1, 2).flatten(1).T


def by_taps(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """F.conv2d of x (N,C,H,W) with a weight (1,C,k,k), stride 1: all places times all taps, then each product added
    where it belongs."""
    kernel = weight.shape[2]
    sides = tuple(side + 2 * padding - kernel + 1 for side in x.shape[2:])
    # Not a matrix product, whose gradient autocast would compute in half precision.
    made = F.conv2d(x, taps(weight)[:, :, None, None])
    folded = F.fold(made.flatten(2), sides, kernel, padding=kernel - 1 - padding)
    return folded if bias is None else folded + bias


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


class CriticBatchNorm(nn.BatchNorm2d):
    """Batch norm of the batch alone. float16 is computed in float32: it does not hold the penalty's 1 / sigma^3.

    Without running statistics, as critics are never in eval mode and torch.func cannot differentiate through the
    in-place update.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).half() if x.dtype == torch.float16 else super().forward(x)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision to float32; float32 and float64 as they are."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


# name -> (channels, whether it is a generator's) -> module
NORMS: dict[str, Callable[[int, bool], nn.Module]] = {
    "none": lambda channels, generator: nn.Identity(),
    "batch": lambda channels, generator: nn.BatchNorm2d(channels) if generator else CriticBatchNorm(channels),
    "instance": lambda channels, generator: InstanceNorm(channels),
}


def pick(table: dict, name: str, option: str):
    """`table[name]`, or a UserError that names the option, the value and the names there are."""
    if name not in table:
        raise UserError(f"{option} {name!r}: expected one of {', '.join(table)}")
    return table[name]


def encoder(network: nn.Module) -> nn.Module:
    """The part of a network that is pretrained; one without parameters where it has none."""
    part = getattr(network, "encoder", None)
    return part if isinstance(part, nn.Module) else nn.Identity()


def initialize(network: nn.Module, options: System) -> nn.Module:
    """The network with the initial weights and the spectral norm that the options ask for, in place; biases are 0.

    normal: convolutions N(0, init_sigma), norms N(1, init_sigma) (Isola et al. 2017, section 6.2). glorot: convolutions
    uniform (Glorot and Bengio 2010, eq. 16), norms 1. he: convolutions N(0, 2 / inputs) (He et al. 2015, eq. 10; inputs
    that reach an output), times the module's `gain` if it has one, norms 1.
    """
    convolutions = []
    pretrained = {*encoder(network).modules()}
    for module in network.modules():
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        if isinstance(weight, nn.Parameter):
            is_norm = weight.dim() == 1
            if not is_norm and module not in pretrained:  # spectral norm would scale what it knows away
                convolutions.append(module)
            if weight.is_meta:
                continue  # shapes alone: to draw nothing torch would import its compiler
            if options.init == "normal":
                nn.init.normal_(weight, 1.0 if is_norm else 0.0, options.init_sigma)
            elif not is_norm and options.init == "glorot":
                nn.init.xavier_uniform_(weight)
            elif not is_norm:
                inputs = weight[0].numel()
                if isinstance(module, nn.ConvTranspose2d):  # of its kernel's taps, an output sees one a stride
                    inputs = weight[:, 0].numel() // math.prod(module.stride)
                nn.init.normal_(weight, 0.0, math.sqrt(2.0) / math.sqrt(inputs))
                with torch.no_grad():
                    weight.mul_(getattr(module, "gain", 1.0))
        if isinstance(bias, nn.Parameter):
            nn.init.zeros_(bias)
    if options.spectral_norm:
        for module in convolutions:
            parametrize.register_parametrization(module, "weight", SpectralNorm(module))
    return network


class SpectralNorm(nn.Module):
    """A convolution's weight divided by its largest singular value (Miyato et al. 2018, eq. 8 and algorithm 1).

    The singular vectors are buffers that `power_iteration` moves, once before each update, outside of what is
    differentiated: torch's own moves them inside the forward pass, which torch.func and captured graphs do not allow.
    """

    u: Tensor
    v: Tensor

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.output = 1 if isinstance(module, nn.ConvTranspose2d) else 0  # the dimension of the output channels
        rows, columns = self._matrix(module.weight.detach()).shape  # type: ignore[operator]
        self.register_buffer("u", nn.functional.normalize(torch.randn(rows), dim=0))
        self.register_buffer("v", nn.functional.normalize(torch.randn(columns), dim=0))
        for _ in range(15):
            self.power_iteration(module.weight.detach())  # type: ignore[operator]

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight.transpose(0, self.output).flatten(1)

    def forward(self, weight: Tensor) -> Tensor:
        device = weight.device.type
        with torch.autocast("cpu" if device == "meta" else device, enabled=False):  # shapes alone know no autocast
            return weight / torch.dot(self.u, self._matrix(weight) @ self.v)

    @torch.no_grad()
    def power_iteration(self, weight: Tensor) -> None:
        """Bring u and v nearer to the singular vectors of the largest singular value."""
        matrix = self._matrix(weight)
        self.v.copy_(nn.functional.normalize(matrix.T @ self.u, dim=0))
        self.u.copy_(nn.functional.normalize(matrix @ self.v, dim=0))


def power_iteration(network: nn.Module) -> None:
    """One power iteration of every spectral norm in a network; nothing where there is none."""
    for module in network.modules():
        if isinstance(module, parametrize.ParametrizationList) and isinstance(module[0], SpectralNorm):
            module[0].power_iteration(module.original.detach())
