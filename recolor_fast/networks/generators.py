"""Generators: source (N,1,S,S) -> fake (N,C,S,S), both in [-1, 1]; a table of builders."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from recolor_fast.color import SPACES, to_cbcr, to_unit
from recolor_fast.networks.layers import NORMS, initialize, pick
from recolor_fast.options import Options


class UNet(nn.Module):
    """The U-Net of pix2pix (Isola et al. 2017, section 6.1.1): `halvings` 4x4 stride-2 convolutions and back, skips.

    At 256 pixels, width 64 and 3 output channels it has 8 halvings and 54.41 M parameters. Dropout sits on the
    decoder's inner blocks of full width, the innermost apart. With a norm, all but the last have no bias.
    """

    def __init__(self, channels: int, width: int, halvings: int, norm: str, dropout: float) -> None:
        super().__init__()
        make_norm = pick(NORMS, norm, "generator_norm")
        widths = [width * min(2**level, 8) for level in range(halvings)]
        bias = norm == "none"  # a norm takes any offset away again
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, out in enumerate(widths):
            first, last = level == 0, level == halvings - 1
            self.down.append(
                nn.Sequential(
                    nn.Identity() if first else nn.LeakyReLU(0.2),
                    nn.Conv2d(1 if first else widths[level - 1], out, 4, 2, 1, bias=bias),
                    nn.Identity() if first or last else make_norm(out, True),
                )
            )
        for level in reversed(range(1, halvings)):
            last = level == halvings - 1
            full = not last and widths[level] == widths[level - 1] == 8 * width
            self.up.append(
                nn.Sequential(
                    nn.ReLU(),
                    nn.ConvTranspose2d(widths[level] * (1 if last else 2), widths[level - 1], 4, 2, 1, bias=bias),
                    make_norm(widths[level - 1], True),
                    nn.Dropout(dropout) if full else nn.Identity(),
                )
            )
        self.up.append(nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(2 * width, channels, 4, 2, 1), nn.Tanh()))

    def forward(self, source: Tensor) -> Tensor:
        skips = []
        x = source
        for down in self.down:
            x = down(x)
            skips.append(x)
        x = skips.pop()
        for up in self.up:
            x = up(x)
            if skips:
                x = torch.cat((skips.pop(), x), 1)
        return x


def _unet(options: Options) -> nn.Module:
    halvings = min(8, options.size.bit_length() - 1)
    channels = pick(SPACES, options.space, "space").channels
    return UNet(channels, options.width, halvings, options.generator_norm, options.dropout)


GENERATORS: dict[str, Callable[[Options], nn.Module]] = {"unet": _unet}


def build_generator(options: Options) -> nn.Module:
    """The generator of `options`, initial weights from torch's global random state. ValueError for unknown names."""
    generator = pick(GENERATORS, options.generator, "generator")(options)
    initialize(generator, options.init_sigma)
    return generator


class Chroma(nn.Module):
    """What an artefact of graph "chroma" holds: a generator in eval mode between uint8 gray and uint8 CbCr."""

    def __init__(self, generator: nn.Module, space: str) -> None:
        super().__init__()
        self.generator = generator
        self.space = space

    def forward(self, gray: Tensor) -> Tensor:
        """gray uint8 (N,1,S,S), prepared as the options say -> JFIF Cb and Cr uint8 (N,2,S,S), 128 is neutral."""
        source = to_unit(gray)
        rgb01 = SPACES[self.space].decode(self.generator(source), source)
        return to_cbcr(rgb01).round().clamp(0, 255).to(torch.uint8)
