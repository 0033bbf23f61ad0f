"""What old film, paper and time do to a photograph: pure functions of its gray, each one part of it.

A part takes gray, float32 (N,1,S,S), 0 black to 1 white; key, int64 (N,), for its noise; and its own parameters,
float32 (N,1,1,1), so that each photograph has its own. It returns gray of the same shape, which may leave 0..1 a
little. Places and lengths are in half sides of the picture, whose center is (0, 0), unless they say pixels.
"""

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from recolor_fast.data.noise import clouds, hashed, white

GAMMA = 2.2  # of the pixels that film is exposed by
EYE = (0.2126, 0.7152, 0.0722)  # Rec. 709: of red, green and blue light in luminance


def exposed(rgb: Tensor, weights: Tensor) -> Tensor:
    """Gray of `rgb`, uint8 (N,3,S,S), on film with sensitivities `weights`, (N,3): their sum is how long it is exposed.

    (r R^2.2 + g G^2.2 + b B^2.2)^(1/2.2), at most 1.
    """
    light = (torch.arange(256, device=rgb.device) / 255) ** GAMMA
    red, green, blue = light.index_select(0, rgb.int().flatten()).view(rgb.shape).split(1, 1)
    r, g, b = weights[:, :, None, None].split(1, 1)
    return (red * r + green * g + blue * b).clamp(max=1) ** (1 / GAMMA)


def exposure(rgb: Tensor, weights: Tensor) -> Tensor:
    """How much longer than eyes film with sensitivities `weights`, (N,3), needs for the mean color of `rgb`: (N,1).

    From 0.5 to 4. `rgb` uint8 (N,3,S,S).
    """
    # Sums of integers are exact in any order; float64, as the last bit of a power depends on how many there are.
    color = (rgb.sum((2, 3)).double() / rgb[0, 0].numel() + 1) ** GAMMA
    seen = sum(share * color[:, i : i + 1] for i, share in enumerate(EYE))
    return (seen / (color * weights).sum(1, keepdim=True)).clamp(0.5, 4).float()


# --- lens and negative ---------------------------------------------------------------------------------------------


def blur(gray: Tensor, key: Tensor, amount: Tensor) -> Tensor:
    """The kernel (amount, 1 - 2 amount, amount) along both sides, 0 to 1/3; below 0 it sharpens, as scans are."""
    return _blurred(gray, amount)


def halation(gray: Tensor, key: Tensor, amount: Tensor) -> Tensor:
    """Light of what is brighter than 0.6 spread over some 16 pixels around, up to `amount` of what lacks to white."""
    light = functional.avg_pool2d((gray - 0.6).clamp(min=0) / 0.4, 4)
    third = torch.full_like(amount, 1 / 3)
    light = _blurred(_blurred(light, third), third, 2)
    light = functional.interpolate(light, scale_factor=4, mode="bilinear", align_corners=False)
    return gray + amount * light * (1 - gray)


def curve(gray: Tensor, key: Tensor, gamma: Tensor, toe: Tensor, shoulder: Tensor) -> Tensor:
    """gray^gamma, then shadows pressed by `toe` and highlights by `shoulder`, 0 or more; black and white stay."""
    return 1 - _toe(1 - _toe(gray.clamp(0, 1) ** gamma, toe), shoulder)


def _toe(gray: Tensor, amount: Tensor) -> Tensor:
    return gray * gray * (1 + amount) / (gray + amount + 1e-6)


def vignette(gray: Tensor, key: Tensor, amount: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Darker by `amount` at a corner, with the square of the distance from (x, y)."""
    down, across = _places(gray)
    return gray * (1 - amount * ((across - x) ** 2 + (down - y) ** 2) / 2).clamp(min=0)


def grain(gray: Tensor, key: Tensor, amount: Tensor, clump: Tensor) -> Tensor:
    """Noise of standard deviation `amount` at middle gray, a quarter of it at black and white, blurred by `clump`."""
    noise = _blurred(white(key, gray.shape[-1]), clump)
    level = 3**0.5 / ((1 - 2 * clump) ** 2 + 2 * clump**2)  # of the noise after the blur, its deviation is 1 / level
    return gray + noise * (amount * level) * (0.25 + 3 * gray * (1 - gray))


# --- print ---------------------------------------------------------------------------------------------------------


def fading(gray: Tensor, key: Tensor, amount: Tensor, level: Tensor) -> Tensor:
    """Unevenly up to `amount` of the way to `level`, in clouds of a third of the picture."""
    return torch.lerp(gray, level.expand_as(gray), amount * (0.5 + clouds(key, gray.shape[-1], 3)).clamp(0, 1))


def levels(gray: Tensor, key: Tensor, black: Tensor, light: Tensor) -> Tensor:
    """Black lifted to `black`, white dulled to `light`."""
    return black + (light - black) * gray


def oval(gray: Tensor, key: Tensor, level: Tensor, width: Tensor, height: Tensor, soft: Tensor) -> Tensor:
    """A frame of gray `level` around an oval of these half axes, over `soft` half sides."""
    down, across = _places(gray)
    distance = ((across / width) ** 2 + (down / height) ** 2).sqrt() - 1
    return torch.lerp(gray, level.expand_as(gray), _step(distance / soft))


def border(
    gray: Tensor, key: Tensor, level: Tensor, width: Tensor, x: Tensor, y: Tensor, corner: Tensor, ragged: Tensor
) -> Tensor:
    """A frame of gray `level` around a window moved by (x, y) times its `width`, with round and `ragged` corners.

    `corner` is the radius, `ragged` how deep its edge is eaten into, about.
    """
    down, across = _places(gray)
    edge = width + corner - 1
    beside, below = (across - x * width).abs() + edge, (down - y * width).abs() + edge
    outside = (beside.clamp(min=0) ** 2 + below.clamp(min=0) ** 2).sqrt() + torch.maximum(beside, below).clamp(max=0)
    rough = ragged * (clouds(key, gray.shape[-1], 12) + clouds(key + 1, gray.shape[-1], 40))
    return torch.lerp(gray, level.expand_as(gray), _step((outside - corner + rough) * (gray.shape[-1] / 2)))


def paper(gray: Tensor, key: Tensor, amount: Tensor, coarse: Tensor) -> Tensor:
    """Paper's texture under light from one corner: times 1 plus a relief of deviation `amount`, blurred by `coarse`."""
    noise = _blurred(white(key, gray.shape[-1]), coarse)
    energy, beside = (1 - 2 * coarse) ** 2 + 2 * coarse**2, 2 * coarse * (1 - 2 * coarse)
    level = (1.5 / (energy**2 - beside**2)) ** 0.5
    return gray * (1 + (noise - noise.roll((1, 1), (-2, -1))) * (amount * level))


# --- damage --------------------------------------------------------------------------------------------------------


def spot(
    gray: Tensor, key: Tensor, x: Tensor, y: Tensor, radius: Tensor, level: Tensor, amount: Tensor, ring: Tensor
) -> Tensor:
    """An uneven blot at (x, y), `amount` of the way to gray `level`; at `ring` 1 only its edge, as water leaves it."""
    down, across = _places(gray)
    distance = ((across - x) ** 2 + (down - y) ** 2).sqrt() / radius - 1 + 0.6 * clouds(key, gray.shape[-1], 8)
    inside, edge = _step(-4 * distance), (1 - (6 * distance).abs()).clamp(min=0)
    return torch.lerp(gray, level.expand_as(gray), amount * torch.lerp(inside, edge, ring))


def dust(gray: Tensor, key: Tensor, density: Tensor, level: Tensor, size: Tensor) -> Tensor:
    """Specks of gray `level` on `density` of the pixels, each one pixel and, by up to 1/3 `size`, those beside it."""
    side = gray.shape[-1]
    specks = (hashed(key, side * side).view(-1, 1, side, side) < density * 2**32).float()
    cover = (_blurred(specks, size) * (1 + 6 * size)).clamp(max=1)
    return torch.lerp(gray, level.expand_as(gray), cover)


def scratch(
    gray: Tensor,
    key: Tensor,
    angle: Tensor,
    offset: Tensor,
    bend: Tensor,
    pixels: Tensor,
    start: Tensor,
    length: Tensor,
    level: Tensor,
    amount: Tensor,
) -> Tensor:
    """A line at `angle`, radians, that passes the center at `offset`, bent by `bend`, `pixels` wide, from `start` on.

    Along it `amount` of the way to gray `level` comes and goes, and fades out at both ends.
    """
    along, beside = _line(gray, angle, offset, bend)
    cover = (0.5 + pixels / 2 - beside.abs() * (gray.shape[-1] / 2)).clamp(0, 1) * pixels.clamp(max=1)
    inside = ((length / 2 - (along - start - length / 2).abs()) * 8).clamp(0, 1)
    broken = (0.7 + clouds(key, gray.shape[-1], 12)).clamp(0, 1)
    return torch.lerp(gray, level.expand_as(gray), amount * cover * inside * broken)


def fold(
    gray: Tensor, key: Tensor, angle: Tensor, offset: Tensor, pixels: Tensor, amount: Tensor, shade: Tensor
) -> Tensor:
    """A crease from side to side: a jagged white line `pixels` wide, by `shade` darker above it and lighter below."""
    side = gray.shape[-1]
    _, beside = _line(gray, angle, offset, torch.zeros_like(angle))
    beside = beside * (side / 2) + 2 * clouds(key, side, 24)
    cover = (0.5 + pixels / 2 - beside.abs()).clamp(0, 1) * (0.8 + clouds(key + 1, side, 12)).clamp(0, 1)
    far = (beside / side * 16).clamp(-1, 1)
    gray = gray * (1 + shade * far.sign() * (1 - far.abs()))
    return torch.lerp(gray, torch.ones_like(gray), amount * cover)


# --- scan ----------------------------------------------------------------------------------------------------------

QUANTA = (  # ITU-T T.81, table K.1: luminance
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


def jpeg(gray: Tensor, key: Tensor, quality: Tensor) -> Tensor:
    """What libjpeg's `quality`, 1 to 100, leaves of the 8x8 blocks of luminance; S a multiple of 8."""
    side, device = gray.shape[-1], gray.device
    scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50)[..., None]
    steps = (_quanta(device) * scale).round().clamp(1, 255)
    waves = torch.arange(8, device=device)
    dct = torch.cos((2 * waves + 1) * waves[:, None] * (torch.pi / 16)) / 2
    dct = dct * torch.where(waves == 0, 0.5**0.5, 1.0)[:, None]
    blocks = (gray * 255 - 128).view(-1, side // 8, 8, side // 8, 8).transpose(2, 3)
    kept = (dct @ blocks @ dct.T / steps).round() * steps
    return ((dct.T @ kept @ dct).transpose(2, 3).reshape(gray.shape) + 128) / 255


@cache
def _quanta(device: torch.device) -> Tensor:
    """QUANTA, float32 (8,8), brought to a device once: to bring them there waits for all work queued on it."""
    return torch.tensor(QUANTA, dtype=torch.float32, device=device)


# --- shared --------------------------------------------------------------------------------------------------------


def _places(gray: Tensor) -> tuple[Tensor, Tensor]:
    """How far down (1,1,S,1) and across (1,1,1,S) the pixels lie: -1 to 1."""
    side = gray.shape[-1]
    line = (torch.arange(side, device=gray.device) + 0.5) * (2 / side) - 1
    return line.view(1, 1, -1, 1), line.view(1, 1, 1, -1)


def _line(gray: Tensor, angle: Tensor, offset: Tensor, bend: Tensor) -> tuple[Tensor, Tensor]:
    """How far the pixels lie along a line at `angle` and beside it, half sides, (N,1,S,S) each."""
    down, across = _places(gray)
    sine, cosine = angle.sin(), angle.cos()
    along = across * cosine + down * sine
    return along, down * cosine - across * sine - offset - bend * along * along


def _step(value: Tensor) -> Tensor:
    """0 below -1/2, 1 above 1/2, straight between."""
    return (value + 0.5).clamp(0, 1)


def _blurred(image: Tensor, amount: Tensor, reach: int = 1) -> Tensor:
    """The kernel (amount, 1 - 2 amount, amount) over pixels `reach` apart, along both sides; edges are repeated."""
    for pad, dim in (((reach, reach, 0, 0), -1), ((0, 0, reach, reach), -2)):
        padded = functional.pad(image, pad, mode="replicate")
        size = image.shape[dim]
        beside = padded.narrow(dim, 0, size) + padded.narrow(dim, 2 * reach, size)
        image = image + amount * (beside - 2 * image)
    return image
