"""Pictures that have no color, instead of some photographs in training: the empty page, the wall, the text.

A generator that only ever sees photographs takes an even gray for a clear sky. Here it learns what is none: even grays,
ramps, clouds, grain, lines and rows of marks, whose colors are gray.
"""

import math

import numpy as np
import torch
from torch import Tensor

from recolor_fast.data.noise import clouds, uniforms, white

COUNT = 16  # random numbers of each picture
OFTEN = {"ramp": 0.4, "cloud": 0.4, "grain": 0.6, "ink": 0.4}  # how often a picture has each
HILLS, LINES, MARKS = 3, 10, 40  # cells of the clouds that shade, whose contours are lines, and whose hills are marks


def colorless(
    gray: Tensor, rgb: Tensor, share: float, seed: int, images: int, places: np.ndarray | None = None
) -> tuple[Tensor, Tensor]:
    """Gray uint8 (N,1,S,S) and rgb uint8 (N,3,S,S), S even, with probability `share` each a picture without color.

    Which, and what it shows, depends on `seed` and the photograph's number alone, the n-th here being images + n, or
    images + places[n], int (N,).
    """
    numbers = images + (np.arange(len(gray)) if places is None else places)
    drawn = uniforms(seed, numbers, ["colorless"], COUNT)[:, 0]
    chosen = np.flatnonzero(drawn[:, 0] < share)
    if not len(chosen):
        return gray, rgb
    rows = torch.from_numpy(chosen).to(gray.device)
    made = picture(torch.from_numpy(drawn[chosen, 1:]).to(gray.device), gray.shape[2])
    return gray.index_copy(0, rows, made), rgb.index_copy(0, rows, made.expand(-1, 3, -1, -1))


def picture(drawn: Tensor, size: int) -> Tensor:
    """uint8 (N,1,size,size) of `drawn`, float64 (N,COUNT - 1) in [0, 1): a level, and what OFTEN says on it."""
    numbers = drawn.float()[..., None, None, None].unbind(1)
    has = dict(zip(OFTEN, (number < often for number, often in zip(numbers[:4], OFTEN.values()))))
    level, slope, angle, hill, grain, ink, thin, kind, rows = numbers[4:13]
    keys = (drawn[:, 13] * 2**32).long(), (drawn[:, 14] * 2**32).long()
    line = (torch.arange(size, device=drawn.device) + 0.5) / size - 0.5
    turn = 2 * math.pi * angle
    made = 255 * level + has["ramp"] * 255 * slope * (turn.cos() * line + turn.sin() * line[:, None])
    made = made + has["cloud"] * 150 * hill.square() * clouds(keys[0], size, HILLS)
    lines = clouds(keys[1], size, LINES).abs() < 0.01 + 0.06 * thin
    in_row = (2 * math.pi * (6 + 14 * rows) * line[:, None]).sin() > 0
    marks = (clouds(keys[1], size, MARKS) > 0.3 * thin - 0.1) & in_row
    made = torch.where(has["ink"] & torch.where(kind < 0.5, lines, marks), 255 * ink, made)
    made = made + has["grain"] * 60 * grain**3 * white(keys[0] ^ 1, size)
    return made.round().clamp(0, 255).to(torch.uint8)
