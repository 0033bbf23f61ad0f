"""Critics (a GAN's discriminator, whatever its loss): (source, image) -> scores; a table of builders."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recolor_fast.machine.errors import UserError
from recolor_fast.networks.layers import (
    NORMS,
    SLOPE,
    TAPS,
    Convolving,
    LeakyReLU,
    at_least_float32,
    by_taps,
    initialize,
    pick,
)
from recolor_fast.networks.space import SPACES
from recolor_fast.networks.winograd import Shape, pays
from recolor_fast.options import Options, System


class Geometry(NamedTuple):
    """The convolutions of one scale, 4x4 with padding 1: pairs (N,C,H,W) -> a map of scores, one per overlapping patch.

    Linear output: the loss applies its own squashing.
    """

    strides: list[int]
    """Of all but the last, whose stride is 1."""
    more: int = 0
    """Zeros that are added to the last one's input, below and to the right."""


def patchgan(layers: int) -> Geometry:
    """PatchGAN (Isola et al. 2017, section 6.1.2): three layers score 70x70 patches, 30x30 of them at 256 pixels."""
    return Geometry([2] * layers + [1])


def strided(layers: int) -> Geometry:
    """The critic of Gorriz et al. (2019, their code): every layer halves; 94x94 patches, 16x16 of them at 256."""
    return Geometry([2] * (layers + 1), more=1)  # the last keeps the size ("same" of Keras)


# name -> by the number of layers, the critic of one scale
CRITICS: dict[str, Callable[[int], Geometry]] = {"patch": patchgan, "strided": strided}


def geometry(options: System) -> Geometry:
    """That of the critic of `options`. UserError for a name that is unknown."""
    return pick(CRITICS, options.critic, "critic")(options.critic_layers)


def norms(options: System) -> list[str]:
    """The norm behind each convolution but the last: the first has none."""
    count = len(geometry(options).strides)
    return ["none", options.critic_first_norm or options.critic_norm, *[options.critic_norm] * (count - 2)]


def channels(options: System) -> list[int]:
    """Of the pair, and after each convolution of a scale but the last."""
    pair = options.source_channels + pick(SPACES, options.space, "space").channels
    return [pair, *(options.width * min(2**level, 8) for level in range(len(geometry(options).strides)))]


def by_winograd(options: Options, fused: bool, strides: tuple[int, ...] | None) -> bool:
    """Whether a CPU computes a layer of the critic by Winograd's products at these strides, its update being `fused` or
    not."""
    if not options.critic or (options.gradient_penalty and not fused):
        return False
    sets = 3 if fused else 2
    count, side = sets * (options.micro_batch or options.batch), options.size
    widths = channels(options)
    for before, out, stride in zip(widths, widths[1:], geometry(options).strides):
        shape = Shape(4, stride, 1)
        side = shape.sides(side, side)[0]
        if pays(strides or (), shape, before, out, count * side**2, not options.amp):
            return True
    return False


def check_critic(options: System, batch: int) -> None:
    """UserError, naming the option, for a critic that cannot be built, or not run on a `batch` of the options' size."""
    used = geometry(options)
    for norm in norms(options):
        pick(NORMS, norm, "critic_norm")
    for scale in range(options.critic_scales):
        side = options.size // 2**scale
        for stride, norm in zip(used.strides, norms(options)):
            before, side = side, (side - 2) // stride + 1
            if before < 2 or (norm == "batch" and batch * side**2 < 2):
                raise UserError(_too_small(options, batch, scale))
        if side + used.more < 2:
            raise UserError(_too_small(options, batch, scale))


def _too_small(options: System, batch: int, scale: int) -> str:
    return (
        f"size {options.size} leaves no score map with critic {options.critic}, critic_layers {options.critic_layers}, "
        f"critic_scales {options.critic_scales} and batch {batch} (of {options.size // 2**scale} pixels little is left "
        "for the last layers): use fewer layers or scales, or a larger size"
    )


def _convolutions(options: System) -> nn.Module:
    """The convolutions of one scale, with norms on all but the first and the last."""
    used, widths = geometry(options), channels(options)
    modules: list[nn.Module] = []
    for level, (stride, norm) in enumerate(zip(used.strides, norms(options))):
        before, width = widths[level : level + 2]
        bias = options.conv_bias == "on" or level == 0 or norm == "none"  # a norm takes any offset away again
        modules += [Convolving(before, width, 4, stride, 1, bias=bias)]
        # Ours for the penalty's double-backward; without one, torch's is a single operation.
        activation = LeakyReLU() if options.gradient_penalty else nn.LeakyReLU(SLOPE)
        modules += [pick(NORMS, norm, "critic_norm")(width, False), activation]
    padding = nn.ZeroPad2d((0, used.more, 0, used.more)) if used.more else nn.Identity()
    return Scale(*modules, padding, Scores(widths[-1], 1, 4, 1, 1, bias=options.critic_bias))


class Scores(nn.Conv2d):
    """The critic's last convolution, in float32 under autocast too: scores drift far from 0 and differ by little."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            x = at_least_float32(x)
            # A compiler would add what it folds in any order: no run would repeat itself bit for bit.
            if x.device.type == "cpu" and self.in_channels >= TAPS and not torch.compiler.is_compiling():
                return by_taps(x, self.weight, self.bias, self.padding[0])  # type: ignore[arg-type]
            return super().forward(x)


class Scale(nn.Sequential):
    """The critic of one scale, on pairs of several sets of photographs: batch norm's statistics are each set's own."""

    def forward(self, pairs: Tensor, sets: int = 1) -> Tensor:
        """pairs (sets N,C,H,W), one set after the other -> scores (sets N,1,h,w)."""
        for module in self:
            if sets > 1 and isinstance(module, nn.BatchNorm2d):
                pairs = torch.cat([module(pair) for pair in pairs.chunk(sets)])
            else:
                pairs = module(pairs)
        return pairs


class Critic(nn.Module):
    """One PatchGAN per scale on the pair (source, image), the pair halved by average pooling from scale to scale."""

    def __init__(self, scales: list[nn.Module], source_channels: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(scales)
        self.source_channels = source_channels

    def forward(self, source: Tensor, *images: Tensor) -> list[Tensor]:
        """source (N,1,H,W), images (N,C,H,W) in network space -> scores: one map a scale, (N,1,h,w) for each image."""
        source = source.expand(-1, self.source_channels, -1, -1)
        pairs = torch.cat([torch.cat((source, image), 1) for image in images])
        scores = []
        for index, scale in enumerate(self.scales):
            pairs = F.avg_pool2d(pairs, 2) if index else pairs
            scores.append(scale(pairs, len(images)))
        return scores


def build_critic(options: System) -> nn.Module:
    """The critic of `options`, initial weights from torch's global random state. UserError for unknown names."""
    scales: list[nn.Module] = [_convolutions(options) for _ in range(options.critic_scales)]
    return initialize(Critic(scales, options.source_channels), options)
