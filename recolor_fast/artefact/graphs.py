"""What an artefact computes, uint8 in and out, and the generator inside it in the form that runs fastest.

`GRAPHS` is a table: "chroma" for who prepares the luminance and merges himself, "image" for who does neither, "hints"
as "chroma" with colors given at some places.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.parametrize import is_parametrized

from recolor_fast.machine.errors import UserError
from recolor_fast.networks.generators import UNet, build_generator
from recolor_fast.networks.space import AB, SPACES, to_cbcr, to_unit
from recolor_fast.options import System
from recolor_fast.photographs import chroma


class Chroma(nn.Module):
    """Graph "chroma": a generator in eval mode between uint8 gray and uint8 CbCr.

    `saturation` is a factor of the colors' strength: a loss that is a mean makes them weaker than they are sure.
    """

    def __init__(self, generator: nn.Module, space: str, saturation: float = 1.0) -> None:
        super().__init__()
        self.generator = generator
        self.space = space
        self.saturation = saturation

    def levels(self, gray: Tensor) -> Tensor:
        """gray (N,1,S,S), 0..255 and prepared as the options say -> float32 Cb and Cr (N,2,S,S), not yet rounded."""
        source = to_unit(gray)
        return self.offsets(self.generator(source), source)

    def offsets(self, fake: Tensor, source: Tensor) -> Tensor:
        """fake (N,C,S,S) and its source (N,1,S,S) -> float32 Cb and Cr (N,2,S,S), as strong as they are to be."""
        cbcr = to_cbcr(SPACES[self.space].decode(fake, source))
        return cbcr if self.saturation == 1 else (cbcr - 128) * self.saturation + 128

    def forward(self, gray: Tensor) -> Tensor:
        """gray uint8 (N,1,S,S), prepared as the options say -> JFIF Cb and Cr uint8 (N,2,S,S), 128 is neutral."""
        return self.levels(gray).round().clamp(0, 255).to(torch.uint8)


class Hints(Chroma):
    """Graph "hints": a generator that follows hints, between uint8 gray, colors at some places, and uint8 CbCr.

    The generator carries a hint to where it belongs, but not all the way. What is missing at the place itself is
    added, and spread over what lies near and is about as bright (a joint bilateral filter, Petschnigg et al. 2004).
    """

    REACH, NEAR = 4, 2.0  # of the filter, in pixels of a map of half the side: how far at most, and sigma
    ALIKE = 12.0  # sigma of luminance, levels

    def forward(self, gray: Tensor, hints: Tensor) -> Tensor:  # type: ignore[override]
        """gray uint8 (N,1,S,S) as for Chroma, hints float32 (N,3,S,S): a and b of CIE Lab and a mask, 1 where there is
        a hint and 0 elsewhere, where a and b are 0 too -> JFIF Cb and Cr uint8 (N,2,S,S).

        What the saturation will make stronger is asked for weaker: a hint's color comes out as it was given.
        """
        source = to_unit(gray)
        hints = torch.cat((hints[:, :2] / (AB * self.saturation), hints[:, 2:]), 1)
        fake = self.generator(torch.cat((source, hints), 1))
        mask = hints[:, 2:]
        missing = torch.cat((mask * (hints[:, :2] - fake), mask), 1)
        fake = fake + F.interpolate(self.spread(missing, gray.float()), scale_factor=2.0, mode="nearest")
        return self.offsets(fake, source).round().clamp(0, 255).to(torch.uint8)

    def spread(self, missing: Tensor, gray: Tensor) -> Tensor:
        """missing (N,3,S,S): what two channels lack where the mask, the third, is 1; gray (N,1,S,S), 0..255 -> what to
        add to them, (N,2,S/2,S/2): all of it at the place, less and less around it."""
        half = F.avg_pool2d(missing, 2)
        hinted = (half[:, 2:] > 0).to(half.dtype)
        planes = torch.cat((half[:, :2] / half[:, 2:].clamp_min(0.25), hinted), 1)
        side = 2 * self.REACH + 1
        around = torch.eye(side * side).view(side * side, 1, side, side)  # a channel for each neighbor

        def neighbors(plane: Tensor) -> Tensor:
            return F.conv2d(plane, around.to(plane), padding=self.REACH)

        line = torch.arange(side) - float(self.REACH)
        away = (line[:, None].square() + line.square()).flatten()[:, None, None] / (2 * self.NEAR**2)
        luma = F.avg_pool2d(gray, 2)
        unlike = (neighbors(luma) - luma).square() / (2 * self.ALIKE**2)
        weight = torch.exp(-unlike - away.to(unlike)) * neighbors(planes[:, 2:])
        total = weight.sum(1, keepdim=True).clamp_min(1)
        return torch.cat(
            [(weight * neighbors(one)).sum(1, keepdim=True) / total for one in planes[:, :2].split(1, 1)], 1
        )


class Image(nn.Module):
    """Graph "image": a photograph of any size, uint8, as decoders give it, to the colored photograph.

    What the folder tool does in steps: Rec. 601 gray, the options' equalization and blur, resizing to the model's size,
    the network, chroma upsampled and merged. Between the steps nothing is rounded, so that rounding differently in
    another runtime cannot add up; large photographs are not reduced first, which the folder tool does for speed.
    """

    def __init__(self, generator: nn.Module, options: System, saturation: float = 1.0) -> None:
        super().__init__()
        self.chroma = Chroma(generator, options.space, saturation)
        self.size = options.size
        self.equalize = options.equalize != "none"
        self.blur = options.blur != "none"

    def forward(self, rgb: Tensor) -> Tensor:
        """rgb uint8 (N,H,W,3) -> colored uint8 (N,H,W,3); Rec. 601 luminance of every pixel stays within 1 level."""
        luma = luminance(rgb)
        seen = equalized(luma) if self.equalize else luma
        seen = blurred(seen) if self.blur else seen
        cbcr = self.chroma.levels(_resized(seen, self.size, self.size)) - 128
        return merged(luma, guided(luma, cbcr))


def luminance(rgb: Tensor) -> Tensor:
    """uint8 RGB (N,H,W,3) -> float32 Rec. 601 gray (N,1,H,W) in whole levels, as OpenCV rounds it."""
    # Planes picked, not permuted: onnxruntime would put the permutation off, and work along a last dimension of 1.
    red, green, blue = (rgb.select(3, channel).float() for channel in range(3))
    gray = ((9798 * red + 19235 * green + 3735 * blue + 16384) / 32768).floor()  # 2^15 in all: exact in float32
    return gray[:, None]


def equalized(gray: Tensor) -> Tensor:
    """Histogram equalization as OpenCV's equalizeHist of float32 gray (N,1,H,W) that holds whole levels, 0..255."""
    index = gray.flatten(1).long()
    counts = torch.zeros(gray.shape[0], 256, dtype=torch.int64, device=gray.device)
    below = counts.scatter_add(1, index, torch.ones_like(index)).cumsum(1)  # pixels up to each level
    total = below[:, 255:]
    darkest = torch.where(below > 0, below, total).amin(1, keepdim=True)  # pixels of the darkest level there is
    scale = 255 / (total - darkest).clamp_min(1).float()
    table = ((below - darkest).clamp_min(0).float() * scale).round()
    even = torch.gather(table, 1, index).reshape(gray.shape)
    return torch.where((total > darkest)[:, :, None, None], even, gray)  # one level only: as it is


def blurred(gray: Tensor) -> Tensor:
    """Gaussian blur, 5x5, sigma 0.7 pixels, mirrored border, of float32 (N,1,H,W) of any size."""
    # As sums of shifted planes: runtimes convolve a single channel as slowly as sixteen.
    height, width = gray.shape[2:]
    rows = gray.index_select(2, _mirrored(height, gray))
    tall = _weighted([rows[:, :, i : i + height] for i in range(5)])
    columns = tall.index_select(3, _mirrored(width, gray))
    return _weighted([columns[:, :, :, i : i + width] for i in range(5)])


def _weighted(shifted: list[Tensor]) -> Tensor:
    weights = [math.exp(-(offset**2) / (2 * 0.7**2)) for offset in range(-2, 3)]
    total = weights[0] * shifted[0]
    for weight, plane in zip(weights[1:], shifted[1:]):
        total = total + weight * plane
    return total / sum(weights)


def _mirrored(length: int, gray: Tensor) -> Tensor:
    """Indices -2 .. length + 1, those outside mirrored at the outermost pixels until they are inside."""
    index = (torch.arange(length + 4, device=gray.device) - 2).abs()
    period = torch.full_like(index, torch.sym_max(2 * (length - 1), 1))
    index = index % period
    return torch.where(index < length, index, period - index)


def _resized(planes: Tensor, height: int, width: int) -> Tensor:
    """Antialiased bilinear resize (as Pillow's) of float32 (N,C,h,w) to (N,C,height,width)."""
    return F.interpolate(planes, (height, width), mode="bilinear", antialias=True)


def guided(luma: Tensor, cbcr: Tensor) -> Tensor:
    """Chroma (N,2,S,S) around 0 spread over luminance (N,1,H,W), 0..255, float32: (N,2,H,W).

    recolor_fast.photographs.chroma has the reasons: what a local linear fit to the luminance explains follows its
    edges, and the rest is as smooth as bilinear enlarging makes it.
    """
    small = _resized(luma, *cbcr.shape[2:])
    mean = _box(small)
    variance = _box(small * small) - mean * mean
    slope = _box((_box(small * cbcr) - mean * _box(cbcr)) / (variance + chroma.EPSILON))
    level, slope = _resized(torch.cat((cbcr - slope * small, slope), 1), *luma.shape[2:]).chunk(2, 1)
    return level + slope * luma


def _box(planes: Tensor) -> Tensor:
    return F.avg_pool2d(planes, 2 * chroma.RADIUS + 1, 1, chroma.RADIUS, count_include_pad=False)


def merged(luma: Tensor, cbcr: Tensor) -> Tensor:
    """Luminance (N,1,H,W), 0..255, with chroma (N,2,H,W) around 0, float32: uint8 RGB (N,H,W,3).

    Where the color would leave the RGB cube, it is drawn toward gray until luminance holds (photographs.chroma).
    """
    cb, cr = cbcr.split(1, 1)
    offsets = torch.cat((chroma.RED * cr, chroma.GREEN[0] * cb + chroma.GREEN[1] * cr, chroma.BLUE * cb), 1)
    highest, lowest = offsets.amax(1, keepdim=True), offsets.amin(1, keepdim=True)
    keep = torch.minimum((255 - luma) / highest.clamp_min(1e-6), luma / (-lowest).clamp_min(1e-6)).clamp_max(1)
    return (luma + keep * offsets).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


# name -> (generator, options, saturation) -> module
GRAPHS: dict[str, Callable[[nn.Module, System, float], nn.Module]] = {
    "chroma": lambda generator, options, saturation: Chroma(generator, options.space, saturation),
    "image": Image,
    "hints": lambda generator, options, saturation: Hints(generator, options.space, saturation),
}


# --- the generator, as it runs fastest -----------------------------------------------------------------------------


class Subpixel(nn.Module):
    """A 4x4 transposed convolution of stride 2 and padding 1, exactly, as a 2x2 convolution with 4 times the channels.

    Output 2p - 1 is made of inputs p - 1 and p by the kernel's taps 2 and 0, output 2p of the same two by taps 3 and 1.
    So a 2x2 convolution, padded by 1, gives at p both outputs 2p - 1 and 2p, depth to space lays them side by side, and
    the outermost row and column on each side, -1 and 2n, are cut off. Runtimes have fast convolutions, int8 ones too,
    where they have slow transposed ones, or none. `activation`, of single values, follows.
    """

    def __init__(self, transposed: nn.ConvTranspose2d, activation: nn.Module) -> None:
        super().__init__()
        weight = transposed.weight.detach()
        inputs, outputs = weight.shape[:2]
        if transposed.kernel_size != (4, 4) or transposed.stride != (2, 2) or transposed.padding != (1, 1):
            raise UserError(f"{transposed}: expected a kernel of 4, stride 2 and padding 1")
        taps = torch.tensor([[2, 0], [3, 1]])  # [odd or even output, input p - 1 or p]
        split = weight[:, :, taps][..., taps]  # (inputs, outputs, odd/even row, its taps, odd/even column, its taps)
        kernel = split.permute(1, 2, 4, 0, 3, 5).reshape(4 * outputs, inputs, 2, 2)
        bias = None if transposed.bias is None else transposed.bias.detach().repeat_interleave(4)
        self.convolution = nn.Conv2d(inputs, 4 * outputs, 2, 1, 1, bias=bias is not None, dtype=weight.dtype)
        self.activation = activation
        self.convolution.load_state_dict({"weight": kernel} | ({} if bias is None else {"bias": bias}))

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,H,W) -> (N,C',2H,2W)."""
        return F.pixel_shuffle(self.activation(self.convolution(x)), 2)[..., 1:-1, 1:-1]


def deployed(options: System, generator: nn.Module) -> nn.Module:
    """The same function as a generator in eval mode, as a new module of the fewest and fastest operations.

    Spectral norm is divided out of the weights, batch norm folded into them, and every transposed convolution is a
    Subpixel. A ReLU that all its output goes through later comes right after it, too: int8 then spends no levels on
    values below 0, which halves what the decoder's large activations lose.
    """
    state = generator.state_dict()
    for name, module in generator.named_modules():
        if is_parametrized(module, "weight"):
            state[f"{name}.weight"] = module.weight
    dtype = next(generator.parameters()).dtype
    generator = build_generator(replace(options, spectral_norm=False)).to(dtype).eval()
    generator.load_state_dict({key: state[key] for key in generator.state_dict()})
    for block in [module for module in generator.modules() if isinstance(module, nn.Sequential)]:
        for index, module in enumerate(block):
            before = block[index - 1]
            if isinstance(module, nn.BatchNorm2d) and isinstance(before, nn.Conv2d | nn.ConvTranspose2d):
                block[index - 1] = fuse_conv_bn_eval(before, module, transpose=isinstance(before, nn.ConvTranspose2d))
                block[index] = nn.Identity()
    if not isinstance(generator, UNet):
        return generator
    decoder = [list(block) for block in generator.up]  # type: ignore[call-overload]
    for number, modules in enumerate(decoder):
        for index, module in enumerate(modules):
            if isinstance(module, nn.ConvTranspose2d):
                idle = all(isinstance(other, nn.Identity | nn.Dropout) for other in modules[index + 1 :])
                rectified = idle and number + 1 < len(decoder) and isinstance(decoder[number + 1][0], nn.ReLU)
                modules[index] = Subpixel(module, nn.ReLU() if rectified else nn.Identity())
    generator.up = nn.ModuleList(nn.Sequential(*modules) for modules in decoder)
    return generator


class Half(nn.Module):
    """A generator in float16 between float32 source and fake: of an artefact of precision fp16."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator.half()

    def forward(self, source: Tensor) -> Tensor:
        """(N,1,S,S) -> (N,C,S,S), float32."""
        return self.generator(source.half()).float()
