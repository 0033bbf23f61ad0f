"""Critics (a GAN's discriminator, whatever its loss): (source, image) -> scores; a table of builders."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recolor_fast.networks.layers import NORMS, SLOPE, LeakyReLU, at_least_float32, initialize, pick
from recolor_fast.networks.space import SPACES
from recolor_fast.options import System


def patchgan(options: System) -> nn.Sequential:
    """PatchGAN (Isola et al. 2017, section 6.1.2): pairs (N,C,H,W) -> a map of scores, one per overlapping patch.

    Three layers score 70x70 patches, 30x30 of them at 256 pixels. Linear output: the loss applies its own squashing.
    """
    return _convolutions(options, [2] * options.critic_layers + [1], nn.Identity())


def strided(options: System) -> nn.Sequential:
    """The critic of Gorriz et al. (2019, their code): every layer halves; 94x94 patches, 16x16 of them at 256."""
    return _convolutions(options, [2] * (options.critic_layers + 1), SAME)


SAME = nn.ZeroPad2d((0, 1, 0, 1))  # with padding 1, a 4x4 convolution of stride 1 keeps the size ("same" of Keras)


def _convolutions(options: System, strides: list[int], last_padding: nn.Module) -> nn.Sequential:
    """4x4 convolutions, padding 1, of these strides, norms on all but the first, and one more to a score."""
    channels = options.source_channels + pick(SPACES, options.space, "space").channels
    norms = ["none", options.critic_first_norm or options.critic_norm] + [options.critic_norm] * len(strides)
    modules: list[nn.Module] = []
    for level, (stride, norm) in enumerate(zip(strides, norms)):
        width = options.width * min(2**level, 8)
        bias = options.conv_bias == "on" or level == 0 or norm == "none"  # a norm takes any offset away again
        modules += [nn.Conv2d(channels, width, 4, stride, 1, bias=bias)]
        # Ours for the penalty's double-backward; without one, torch's is a single operation.
        activation = LeakyReLU() if options.gradient_penalty else nn.LeakyReLU(SLOPE)
        modules += [pick(NORMS, norm, "critic_norm")(width, False), activation]
        channels = width
    return nn.Sequential(*modules, last_padding, Scores(channels, 1, 4, 1, 1, bias=options.critic_bias))


class Scores(nn.Conv2d):
    """The critic's last convolution, in float32 under autocast too: scores drift far from 0 and differ by little."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(at_least_float32(x))


class Critic(nn.Module):
    """One PatchGAN per scale on the pair (source, image), the pair halved by average pooling from scale to scale."""

    def __init__(self, scales: list[nn.Module], source_channels: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(scales)
        self.source_channels = source_channels

    def forward(self, source: Tensor, image: Tensor) -> list[Tensor]:
        """source (N,1,H,W), image (N,C,H,W) in network space -> scores: one map (N,1,h,w) a scale."""
        pair = torch.cat((source.expand(-1, self.source_channels, -1, -1), image), 1)
        scores = []
        for index, scale in enumerate(self.scales):
            pair = F.avg_pool2d(pair, 2) if index else pair
            scores.append(scale(pair))
        return scores


# name -> the critic of one scale
CRITICS: dict[str, Callable[[System], nn.Module]] = {"patch": patchgan, "strided": strided}


def build_critic(options: System) -> nn.Module:
    """The critic of `options`, initial weights from torch's global random state. UserError for unknown names."""
    build = pick(CRITICS, options.critic, "critic")
    return initialize(Critic([build(options) for _ in range(options.critic_scales)], options.source_channels), options)
