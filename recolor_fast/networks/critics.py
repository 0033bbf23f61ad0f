"""Critics (a GAN's discriminator, whatever its loss): (source, image) -> scores; a table of builders."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recolor_fast.color import SPACES
from recolor_fast.networks.layers import NORMS, LeakyReLU, at_least_float32, initialize, pick
from recolor_fast.options import Options


def patchgan(channels: int, width: int, layers: int, norm: str, last_bias: bool) -> nn.Sequential:
    """PatchGAN (Isola et al. 2017, section 6.1.2): (N,channels,H,W) -> a map of scores, one per overlapping patch.

    Three layers score 70x70 patches, 30x30 of them at 256 pixels. Linear output: the loss applies its own squashing.
    """
    make_norm = pick(NORMS, norm, "critic_norm")
    bias = norm == "none"  # a norm takes any offset away again
    modules: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), LeakyReLU()]
    for level in range(1, layers + 1):
        before, after = (width * min(2**k, 8) for k in (level - 1, level))
        stride = 2 if level < layers else 1
        modules += [nn.Conv2d(before, after, 4, stride, 1, bias=bias), make_norm(after, False), LeakyReLU()]
    return nn.Sequential(*modules, Scores(after, 1, 4, 1, 1, bias=last_bias))


class Scores(nn.Conv2d):
    """The critic's last convolution, in float32 under autocast too: scores drift far from 0 and differ by little."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(at_least_float32(x))


class Critic(nn.Module):
    """One PatchGAN per scale on the pair (source, image), the pair halved by average pooling from scale to scale."""

    def __init__(self, scales: list[nn.Module]) -> None:
        super().__init__()
        self.scales = nn.ModuleList(scales)

    def forward(self, source: Tensor, image: Tensor) -> list[Tensor]:
        """source (N,1,H,W), image (N,C,H,W) in network space -> scores: one map (N,1,h,w) a scale."""
        pair = torch.cat((source, image), 1)
        scores = []
        for index, scale in enumerate(self.scales):
            pair = F.avg_pool2d(pair, 2) if index else pair
            scores.append(scale(pair))
        return scores


def _patch(options: Options) -> nn.Module:
    channels = 1 + pick(SPACES, options.space, "space").channels
    build = (channels, options.width, options.critic_layers, options.critic_norm, options.critic_bias)
    return Critic([patchgan(*build) for _ in range(options.critic_scales)])


CRITICS: dict[str, Callable[[Options], nn.Module]] = {"patch": _patch}


def build_critic(options: Options) -> nn.Module:
    """The critic of `options`, initial weights from torch's global random state. ValueError for unknown names."""
    critic = pick(CRITICS, options.critic, "critic")(options)
    initialize(critic, options.init_sigma)
    return critic
