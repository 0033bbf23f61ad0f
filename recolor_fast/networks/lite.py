"""Generators whose encoder knows photographs: EfficientNet-Lite, pretrained on ImageNet, and a light decoder.

EfficientNet-Lite (Tan and Le 2019, scaled as in TensorFlow's efficientnet/lite: no squeeze-and-excitation, ReLU6) is
made for processors and for int8. Its batch norms stand folded into the convolutions, here as in training: on statistics
of gray photographs in small batches a pretrained encoder first gets worse.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Stage:
    """Blocks of one width; the first of them has the stride."""

    channels: int
    blocks: int
    kernel: int
    stride: int
    expansion: int


STEM = 32  # channels, whatever the encoder's size
# Channels and blocks of each stage of EfficientNet-Lite 0 and 2, whose kernels, strides and expansions are the same.
CHANNELS = {
    "lite0": (16, 24, 40, 80, 112, 192, 320),
    "lite2": (16, 24, 48, 88, 120, 208, 352),
}
BLOCKS = {"lite0": (1, 2, 2, 3, 3, 4, 1), "lite2": (1, 3, 3, 4, 4, 5, 1)}
KERNELS, STRIDES, EXPANSIONS = (3, 3, 5, 3, 5, 5, 3), (1, 2, 2, 2, 1, 2, 1), (1, 6, 6, 6, 6, 6, 6)
STEPS = (0, 1, 2, 4, 6)  # the stages whose outputs the decoder takes: the last of strides 2, 4, 8, 16 and 32


def stages(name: str) -> list[Stage]:
    """The stages of an encoder, a key of CHANNELS."""
    return [Stage(*numbers) for numbers in zip(CHANNELS[name], BLOCKS[name], KERNELS, STRIDES, EXPANSIONS)]


class Convolution(nn.Conv2d):
    """Convolution of (N,C,H,W), H and W even at stride 2, padded as TensorFlow's SAME: more at the far end there."""

    def __init__(self, channels: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels, out, kernel, stride, 0 if stride > 1 else kernel // 2, groups=groups)
        near = (kernel - stride) // 2
        self.ends = (near, kernel - stride - near) * 2 if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if self.ends is None else F.pad(x, self.ends))


class Block(nn.Module):
    """Inverted residual block (Sandler et al. 2018, figure 3b): widened, convolved channel by channel, narrowed."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.expand = Convolution(channels, wide) if expansion > 1 else nn.Identity()
        self.depthwise = Convolution(wide, wide, kernel, stride, groups=wide)
        self.project = Convolution(wide, out)
        self.skips = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        wide = F.relu6(self.expand(x)) if isinstance(self.expand, Convolution) else x
        out = self.project(F.relu6(self.depthwise(wide)))
        return x + out if self.skips else out


class Encoder(nn.Module):
    """(N,C,H,W) in [-1, 1], C 1 or 3 -> maps of strides 2, 4, 8, 16 and 32.

    `frozen`: nothing is kept for a backward pass, and its parameters get no gradient. Not by their requires_grad: what
    torch before 2.14 has compiled does not notice when that changes.
    """

    def __init__(self, name: str, source_channels: int) -> None:
        super().__init__()
        self.frozen = False
        self.stem = Convolution(source_channels, STEM, 3, 2)
        self.stages = nn.ModuleList()
        before = STEM
        for stage in stages(name):
            blocks = []
            for number in range(stage.blocks):
                stride = stage.stride if number == 0 else 1
                blocks.append(Block(before, stage.channels, stage.kernel, stride, stage.expansion))
                before = stage.channels
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, source: Tensor) -> list[Tensor]:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            x, maps = F.relu6(self.stem(source)), []
            for number, stage in enumerate(self.stages):
                x = stage(x)
                if number in STEPS:
                    maps.append(x)
            return maps


def folded(weights: dict[str, Tensor], name: str, source_channels: int) -> dict[str, Tensor]:
    """The state_dict of an `Encoder` from the published one of EfficientNet-Lite `name`, whose names are TensorFlow's.

    Each batch norm (epsilon 1e-3) is folded into the convolution before it; into the stem also the normalization of its
    input (mean and spread of ImageNet's RGB in [0, 1]) and that our gray is in [-1, 1], in one channel or divided over
    three. The same function but at the border, where zero padding now stands for medium gray. KeyError for a name
    that is missing.
    """

    def fold(convolution: str, norm: str) -> tuple[Tensor, Tensor]:
        scale = weights[f"{norm}.weight"] * (weights[f"{norm}.running_var"] + 1e-3).rsqrt()
        kernel = weights[f"{convolution}.weight"] * scale[:, None, None, None]
        return kernel, weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale

    mean, spread = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    kernel, bias = fold("_conv_stem", "_bn0")
    bias = bias + (kernel * ((0.5 - mean) / spread)).sum((1, 2, 3))
    kernel = (kernel * (0.5 / spread)).sum(1, keepdim=True)
    state = {"stem.weight": kernel.expand(-1, source_channels, -1, -1) / source_channels, "stem.bias": bias}
    number = 0
    for place, stage in enumerate(stages(name)):
        for block in range(stage.blocks):
            parts = [("expand", "_expand_conv", "_bn0")] if stage.expansion > 1 else []
            parts += [("depthwise", "_depthwise_conv", "_bn1"), ("project", "_project_conv", "_bn2")]
            for ours, published, norm in parts:
                kernel, bias = fold(f"_blocks.{number}.{published}", f"_blocks.{number}.{norm}")
                state |= {f"stages.{place}.{block}.{ours}.weight": kernel, f"stages.{place}.{block}.{ours}.bias": bias}
            number += 1
    return state
