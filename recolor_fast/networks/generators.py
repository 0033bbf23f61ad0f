"""Generators: source (N,1,S,S) -> fake (N,C,S,S), both in [-1, 1]; a table of builders."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recolor_fast.machine.errors import UserError
from recolor_fast.networks import lite
from recolor_fast.networks.layers import NORMS, SLOPE, Doubling, Halving, initialize, pick
from recolor_fast.networks.space import SPACES
from recolor_fast.options import System, Whole


class UNet(nn.Module):
    """Halvings and doublings of (N,*,S,S) with skips between: what both generators share."""

    def __init__(self, source_channels: int, down: list[nn.Module], up: list[nn.Module]) -> None:
        super().__init__()
        self.source_channels = source_channels
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up)

    def forward(self, source: Tensor) -> Tensor:
        skips = []
        x = source.expand(-1, self.source_channels, -1, -1)
        for down in self.down:
            x = down(x)
            skips.append(x)
        x = skips.pop()
        for up in self.up:
            x = up(x)
            if skips:
                x = torch.cat((skips.pop(), x), 1)
        return x


def unet(options: System) -> UNet:
    """The U-Net of pix2pix (Isola et al. 2017, section 6.1.1): up to 8 4x4 stride-2 convolutions and back, skips.

    At 256 pixels, width 64 and 3 output channels it has 8 halvings and 54.41 M parameters. Dropout sits on the
    decoder's inner blocks of full width, the innermost apart. With a norm, all but the last have no bias.
    """
    widths = _widths(options, options.size.bit_length() - 1)
    down: list[nn.Module] = []
    for level, out in enumerate(widths):
        first, last = level == 0, level == len(widths) - 1
        before = options.source_channels if first else widths[level - 1]
        activation = nn.Identity() if first else nn.LeakyReLU(SLOPE)
        convolution = Halving(before, out, bias=_bias(options, options.generator_norm))
        down.append(nn.Sequential(activation, convolution, nn.Identity() if first or last else _norm(options, out)))
    up: list[nn.Module] = []
    for level in reversed(range(1, len(widths))):
        last, out = level == len(widths) - 1, widths[level - 1]
        name = (level == 1 and options.generator_last_norm) or options.generator_norm
        full = not last and widths[level] == out == 8 * options.width
        before = widths[level] * (1 if last else 2)
        doubling = Doubling(before, out, bias=_bias(options, name))
        dropout = nn.Dropout(options.dropout) if full else nn.Identity()
        up.append(nn.Sequential(nn.ReLU(), doubling, _norm(options, out, name), dropout))
    up.append(nn.Sequential(nn.ReLU(), Doubling(2 * options.width, _colors(options)), nn.Tanh()))
    return UNet(options.source_channels, down, up)


def nearest(options: System) -> UNet:
    """The generator of Gorriz et al. (2019, their code): up to 7 halvings, nearest-neighbor upsampling, no dropout.

    The bottleneck is 2x2 up to 256 pixels; decoder convolutions are 4x4 after the upsampling, which leaves no
    checkerboard. 41.8 M parameters at 256 pixels, width 64 and 2 output channels.
    """
    widths = _widths(options, min(7, options.size.bit_length() - 2))
    down: list[nn.Module] = []
    for level, out in enumerate(widths):
        name = options.generator_norm if level else "none"
        before = widths[level - 1] if level else options.source_channels
        convolution = Halving(before, out, bias=_bias(options, name))
        down.append(nn.Sequential(convolution, _norm(options, out, name), nn.LeakyReLU(SLOPE)))
    up: list[nn.Module] = []
    for level in reversed(range(1, len(widths))):
        out = widths[level - 1]
        before = widths[level] * (1 if level == len(widths) - 1 else 2)
        name = (level == 1 and options.generator_last_norm) or options.generator_norm
        doubled = nn.Conv2d(before, out, 4, 1, 0, bias=_bias(options, name))
        up.append(nn.Sequential(nn.Upsample(scale_factor=2), SAME, doubled, _norm(options, out, name), nn.ReLU()))
    last_convolution = nn.Conv2d(2 * options.width, _colors(options), 4, 1, 0)
    up.append(nn.Sequential(nn.Upsample(scale_factor=2), SAME, last_convolution, nn.Tanh()))
    return UNet(options.source_channels, down, up)


class Residual(nn.Module):
    """Residual block (He et al. 2016, figure 2): ReLU of the input plus two 3x3 convolutions of it, (N,C,H,W) alike."""

    def __init__(self, options: System, channels: int) -> None:
        super().__init__()

        def convolution() -> list[nn.Module]:
            bias = _bias(options, options.generator_norm)
            return [nn.Conv2d(channels, channels, 3, 1, 1, bias=bias), _norm(options, channels)]

        self.branch = nn.Sequential(*convolution(), nn.ReLU(), *convolution())
        # With init he: nearly the identity at first, so that the activations of a deep network do not grow.
        self.branch[3].gain = 0.2  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.branch(x))


class ResidualUNet(nn.Module):
    """Stages that halve, with residual blocks; upwards 1x1 convolutions, doubled and added to the stage's output.

    The last halving is undone by depth to space, so nothing is computed at the source's own size but a and b.
    """

    def __init__(self, options: System, widths: list[int], blocks: list[int]) -> None:
        super().__init__()
        self.source_channels = options.source_channels
        bias = _bias(options, options.generator_norm)

        def stage(before: int, out: int, count: int) -> nn.Sequential:
            halving = Halving(before, out, bias=bias)
            residual = [Residual(options, out) for _ in range(count)]
            dropout = nn.Dropout(options.dropout) if out == 8 * options.width else nn.Identity()
            return nn.Sequential(halving, _norm(options, out), nn.ReLU(), *residual, dropout)

        before = [options.source_channels, *widths[:-1]]
        self.down = nn.ModuleList(stage(*numbers) for numbers in zip(before, widths, blocks))
        self.narrow = nn.ModuleList(nn.Conv2d(out, width, 1) for width, out in reversed(list(zip(before, widths))[1:]))
        self.up = nn.ModuleList(Residual(options, width) for width in reversed(before[1:]))
        colors = nn.Conv2d(widths[0], 4 * _colors(options), 3, 1, 1)
        colors.gain = 0.02  # type: ignore[assignment]  # likewise nearly gray
        self.last = nn.Sequential(colors, nn.PixelShuffle(2), nn.Tanh())

    def forward(self, source: Tensor) -> Tensor:
        x = source.expand(-1, self.source_channels, -1, -1)
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        x = skips.pop()
        for narrow, up in zip(self.narrow, self.up):
            x = up(torch.relu(F.interpolate(narrow(x), scale_factor=2.0, mode="nearest") + skips.pop()))
        return self.last(x)


def residual(options: System) -> ResidualUNet:
    """A small U-Net of residual blocks, ours: 5 halvings, most of its weights where the map is 1/16 of a side.

    Made for processors and for norm none: 3.6 M parameters at width 24 whatever the size, which may be any multiple of
    32. Dropout on the two deepest stages.
    """
    return ResidualUNet(options, [options.width * factor for factor in (1, 2, 4, 8, 8)], [0, 1, 2, 2, 0])


class LiteUNet(nn.Module):
    """A pretrained encoder; upwards 1x1 convolutions, doubled and added to those of the encoder's maps, two 3x3 each.

    The last halving is undone by depth to space, so nothing is computed at the source's own size but the colors.
    """

    def __init__(self, options: System) -> None:
        super().__init__()
        self.source_channels = options.source_channels
        self.encoder = lite.Encoder(options.generator, options.source_channels)
        maps = [lite.CHANNELS[options.generator][stage] for stage in reversed(lite.STEPS)]
        widths = [options.width * factor for factor in (6, 4, 3, 2, 1)]
        bias = _bias(options, options.generator_norm)

        def convolution(width: int) -> list[nn.Module]:
            return [nn.Conv2d(width, width, 3, 1, 1, bias=bias), _norm(options, width), nn.ReLU()]

        self.across = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels, width in zip(maps, widths))
        for one in self.across:
            one.gain = 0.1  # type: ignore[assignment]  # the encoder's maps spread by up to 10
        self.dropout = nn.Dropout(options.dropout)
        self.narrow = nn.ModuleList(nn.Conv2d(before, width, 1) for before, width in pairwise(widths))
        self.up = nn.ModuleList(nn.Sequential(*convolution(width), *convolution(width)) for width in widths[1:])
        self.hinted = nn.ModuleList(Hinted(width) for width in widths) if options.hints else None
        colors = nn.Conv2d(widths[-1], 4 * _colors(options), 3, 1, 1)
        colors.gain = 0.02  # type: ignore[assignment]  # nearly gray at first
        self.last = nn.Sequential(colors, nn.PixelShuffle(2), nn.Tanh())

    def forward(self, source: Tensor) -> Tensor:
        """source (N,1,S,S), or with hints (N,4,S,S): a, b and mask behind it; without, no hint is given."""
        gray, maps = source[:, :1], []
        x = self.encoder(gray.expand(-1, self.source_channels, -1, -1))
        maps = [across(one) for across, one in zip(self.across, reversed(x))]
        if self.hinted is not None:
            hints = source[:, 1:] if source.shape[1] > 1 else F.pad(torch.zeros_like(gray), (0, 0, 0, 0, 0, 2))
            maps = [one + hinted(pooled) for one, hinted, pooled in zip(maps, self.hinted, pyramid(hints))]
        x = self.dropout(torch.relu(maps[0]))
        for narrow, one, up in zip(self.narrow, maps[1:], self.up):
            wider = F.interpolate(narrow(x), scale_factor=2.0, mode="nearest")
            x = up(torch.relu(wider + one))
        return self.last(x)


def without_hints(options: Whole, generator: nn.Module) -> tuple[Whole, nn.Module]:
    """What a generator that follows hints computes where none is given, as one that follows none, and its options; one
    that follows none anyway as it is."""
    if not options.hints:
        return options, generator
    state = generator.state_dict()
    nothing = next(generator.parameters()).new_zeros(1, 3, 1, 1)
    with torch.no_grad():
        for number, branch in enumerate(generator.hinted):  # type: ignore[arg-type]
            state[f"across.{number}.bias"] = state[f"across.{number}.bias"] + branch(nothing).flatten()
    options = replace(options, hints=0)
    plain = build_generator(options).to(nothing.dtype)
    plain.load_state_dict({name: tensor for name, tensor in state.items() if not name.startswith("hinted.")})
    return options, plain.train(generator.training)


class Hinted(nn.Sequential):
    """What hints add to a map of the decoder: (N,3,H,W), a, b and mask, -> (N,width,H,W); at first nothing."""

    def __init__(self, width: int) -> None:
        last = nn.Conv2d(width, width, 1)
        last.gain = 0.0  # type: ignore[assignment]
        super().__init__(nn.Conv2d(3, width, 1), nn.ReLU(), last)


def pyramid(hints: Tensor) -> list[Tensor]:
    """Hints (N,3,S,S), a, b and mask, at a 32nd, 16th, 8th, quarter and half of a side: the mean color of the hints in
    each cell and whether there is one."""
    maps = []
    for _ in lite.STEPS:
        share = F.avg_pool2d(hints, 2)
        covered = share[:, 2:]
        hints = torch.cat((share[:, :2] / covered.clamp_min(0.25), (covered > 0).to(hints.dtype)), 1)
        maps.append(hints)
    return maps[::-1]


def lite_unet(options: System) -> LiteUNet:
    """EfficientNet-Lite (networks/lite.py) and a light decoder, ours; its weights are loaded once a run begins.

    The size may be any multiple of 32. `width` is the decoder's at half a side, 2, 3, 4 and 6 times that below; its
    norms are `generator_norm`'s, the encoder has none. Dropout on the deepest map, spectral norm in the decoder.
    """
    return LiteUNet(options)


SAME = nn.ZeroPad2d((1, 2, 1, 2))  # a 4x4 convolution of stride 1 then keeps the size (padding "same" of Keras)


def _widths(options: System, halvings: int) -> list[int]:
    return [options.width * min(2**level, 8) for level in range(min(8, halvings))]


def _norm(options: System, channels: int, name: str = "") -> nn.Module:
    return pick(NORMS, name or options.generator_norm, "generator_norm")(channels, True)


def _bias(options: System, norm: str) -> bool:
    return options.conv_bias == "on" or norm == "none"  # a norm takes any offset away again


def _colors(options: System) -> int:
    return pick(SPACES, options.space, "space").channels


GENERATORS: dict[str, Callable[[System], nn.Module]] = {
    "unet": unet,
    "nearest": nearest,
    "residual": residual,
    **dict.fromkeys(lite.CHANNELS, lite_unet),
}
POWERS = (64, 128, 256, 512)
SIZES = {"unet": POWERS, "nearest": POWERS}  # sides, pixels; all others take any multiple of 32 there is
LAST_NORM = ("unet", "nearest")  # whose last norm may be another than the rest


def build_generator(options: System) -> nn.Module:
    """The generator of `options`, initial weights from torch's global random state. UserError as check_generator."""
    check_generator(options)
    return initialize(GENERATORS[options.generator](options), options)


def check_generator(options: System) -> None:
    """UserError for a name that is unknown, or a size, hints or norms that this generator does not take."""
    pick(GENERATORS, options.generator, "generator")
    pick(SPACES, options.space, "space")
    pick(NORMS, options.generator_norm, "generator_norm")
    if options.generator_last_norm:
        pick(NORMS, options.generator_last_norm, "generator_last_norm")
        if options.generator not in LAST_NORM:
            raise UserError(
                f"generator_last_norm {options.generator_last_norm}: generator {options.generator} has one norm "
                "throughout"
            )
    sizes = SIZES.get(options.generator)
    if sizes and options.size not in sizes:
        raise UserError(
            f"size {options.size}: generator {options.generator} halves it up to 8 times, so it takes "
            f"{', '.join(map(str, sizes))}; {', '.join(name for name in GENERATORS if name not in SIZES)} take any "
            "multiple of 32"
        )
    if options.hints and (options.generator not in lite.CHANNELS or _colors(options) != 2):
        raise UserError(
            f"hints {options.hints} with generator {options.generator} and space {options.space}: only generators "
            f"{' and '.join(lite.CHANNELS)} in space lab follow hints; use --hints 0"
        )
