"""Old film: what it would have made of a color photograph, as an augmentation of the gray source in training.

PARTS says how often each part (film.py) is applied, and how strong: mild more often than strong, as in most prints that
people have. The target stays the color photograph's own, where a scratch is, too.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recolor_fast.data import film
from recolor_fast.data.noise import uniforms

WORN = 0.25  # share of old photographs that are worn
CHUNK = 2**20  # pixels worked on at a time on a CPU, so that they stay in its caches
COUNT = 12  # random numbers of each part of each photograph


def old_film(
    gray: Tensor, rgb: Tensor, share: float, seed: int, images: int, places: np.ndarray | None = None
) -> Tensor:
    """Gray, uint8 (N,1,S,S): with probability `share` each what old film would have made of `rgb`, else `gray`.

    `gray` uint8 (N,1,S,S), `rgb` uint8 (N,3,S,S), on one device; S a multiple of 8. What becomes of the n-th of them
    depends on `rgb`, `seed` and images + n alone, where `images` is the number of photographs before them in the run;
    with `places`, int (N,), on images + places[n]. Nothing waits for a GPU.
    """
    numbers = images + (np.arange(len(gray)) if places is None else places)
    chosen = np.flatnonzero(uniforms(seed, numbers, ["old film"], 1)[:, 0, 0] < share)
    if not len(chosen):
        return gray
    step = max(CHUNK // rgb[0, 0].numel(), 1) if rgb.device.type == "cpu" else len(chosen)
    result = gray.clone()
    for start in range(0, len(chosen), step):
        some = chosen[start : start + step]
        rows = _sent(some, rgb.device).long()
        result.index_copy_(0, rows, develop(rgb.index_select(0, rows), seed, numbers[some]))
    return result


def develop(rgb: Tensor, seed: int, numbers: np.ndarray) -> Tensor:
    """Gray uint8 (N,1,S,S) of `rgb`, uint8 (N,3,S,S), on old film: all PARTS, as drawn for `numbers`, int (N,)."""
    drawn = dict(zip(("film", "worn", *PARTS), uniforms(seed, numbers, ["film", "worn", *PARTS], COUNT).swapaxes(0, 1)))
    weights, worn = film_weights(drawn["film"]), drawn["worn"][:, 0] < WORN
    plans = []
    for name, part in PARTS.items():
        rows = np.flatnonzero(drawn[name][:, 0] < np.where(worn, part.worn, part.decent))
        keys = np.floor(drawn[name][rows, 1] * 2**32)
        values = [draw(drawn[name][rows, 2 + i]) for i, draw in enumerate(part.draws)]
        plans.append((part.apply, np.stack([rows, keys, *values])))
    # All in one transfer: float64 holds every key and number exactly.
    everything = np.concatenate([weights.ravel(), *(plan.ravel() for _, plan in plans)])
    first, *rest = _sent(everything, rgb.device).split([weights.size, *(plan.size for _, plan in plans)])
    sensitivity = first.float().view(-1, 3)
    gray = film.exposed(rgb, sensitivity * film.exposure(rgb, sensitivity))
    for (apply, plan), sent in zip(plans, rest):
        if plan.shape[1] == 0:
            continue
        sent = sent.view(plan.shape)
        rows, key, values = sent[0].long(), sent[1].long(), sent[2:].float()[..., None, None, None]
        if plan.shape[1] == len(gray):
            gray = apply(gray, key, *values)
        else:
            gray.index_copy_(0, rows, apply(gray.index_select(0, rows), key, *values))
    return (gray * 255).round_().clamp_(0, 255).to(torch.uint8)


# --- how often, how strong -----------------------------------------------------------------------------------------

FILMS = (  # how often; weights of red, green and blue, from and to
    (0.15, (0.01, 0.05), (0.03, 0.25), (0.70, 1.00)),  # blue-sensitive, until the 1880s
    (0.30, (0.01, 0.10), (0.35, 0.65), (0.30, 0.60)),  # orthochromatic, until the 1930s
    (0.40, (0.20, 0.45), (0.25, 0.50), (0.15, 0.40)),  # panchromatic
    (0.15, (0.20, 0.35), (0.50, 0.70), (0.05, 0.15)),  # as the eye sees: panchromatic behind a yellow filter
)


def film_weights(drawn: np.ndarray) -> np.ndarray:
    """Sensitivities to red, green and blue, float (N,3) with sum 1, of a random film; `drawn`, (N,4), is in [0,1)."""
    which = np.searchsorted(np.cumsum([often for often, *_ in FILMS[:-1]]), drawn[:, 0], side="right")
    low, high = np.moveaxis(np.array([weights for _, *weights in FILMS])[which], -1, 0)
    weights = low + (high - low) * drawn[:, 1:4]
    return weights / weights.sum(axis=1, keepdims=True)


Draw = Callable[[np.ndarray], np.ndarray]


def between(low: float, high: float, power: float = 1) -> Draw:
    """Values from `low` to `high`, evenly; with a `power` over 1 more often near `low`."""
    return lambda drawn: low + (high - low) * drawn**power


def around(middle: float, low: float, high: float, power: float = 1) -> Draw:
    """Values from `low` to `high`, as many below `middle` as above; with a `power` over 1 more often near it."""
    return lambda drawn: middle + np.where(drawn < 0.5, low - middle, high - middle) * abs(2 * drawn - 1) ** power


def either(*values: float, jitter: float = 0) -> Draw:
    """One of these, each as often, up to `jitter` more or less."""

    def draw(drawn: np.ndarray) -> np.ndarray:
        which, rest = np.divmod(drawn * len(values), 1)
        return np.array(values)[which.astype(int)] + jitter * (2 * rest - 1)

    return draw


class Part(NamedTuple):
    """A function of film.py, how often it is applied, and what its parameters are drawn from, in their order."""

    apply: Callable[..., Tensor]
    decent: float
    """Probability in a decent print."""
    worn: float
    """Probability in a worn one."""
    draws: tuple[Draw, ...]


PLACE = between(-1, 1)
SPOT = (PLACE, PLACE, between(0.03, 0.5, 3), either(0.1, 0.25, 0.8, 0.95), between(0.1, 0.8, 2), between(0, 1))
SCRATCH = (
    *(between(0, np.pi), between(-1, 1), between(-0.2, 0.2), between(0.3, 1.6, 2)),
    *(between(-1.5, 1), between(0.2, 3, 2), either(0.05, 0.9, 1), between(0.15, 0.9)),
)
UPRIGHT = (  # what a camera, a scanner or a projector draws along the film
    *(between(np.pi / 2 - 0.02, np.pi / 2 + 0.02), between(-1, 1), between(0, 0), between(0.3, 1)),
    *(between(-2, 0), between(1, 3), either(0.1, 1), between(0.1, 0.6)),
)
BORDER = (
    *(either(0.02, 0.1, 0.85, 0.95), between(0.02, 0.12, 2), between(-0.7, 0.7), between(-0.7, 0.7)),
    *(between(0, 0.15, 3), between(0, 0.08, 2)),
)
FOLD = (*(either(0, np.pi / 2, jitter=0.05), PLACE, between(0.3, 1.5), between(0.2, 0.9), between(-0.15, 0.15)),)

PARTS = {  # in the order of the light's way: lens, negative, print, years, scan
    "lens": Part(film.blur, 0.4, 0.5, (between(0, 0.33, 2.5),)),
    "soft lens": Part(film.blur, 0.05, 0.2, (between(0.1, 0.33),)),
    "halation": Part(film.halation, 0.25, 0.25, (between(0.05, 0.6, 2),)),
    "curve": Part(film.curve, 0.9, 0.9, (around(1, 0.6, 1.6, 2), between(0, 0.3, 2), between(0, 0.5, 1.5))),
    "vignette": Part(film.vignette, 0.3, 0.4, (between(0.05, 0.7, 2), between(-0.3, 0.3), between(-0.3, 0.3))),
    "grain": Part(film.grain, 0.6, 0.8, (between(0.004, 0.06, 3), between(0, 0.3))),
    "oval": Part(film.oval, 0.015, 0.02, (either(0.02, 0.95), *(between(0.75, 1.1),) * 2, between(0.02, 0.4))),
    "fading": Part(film.fading, 0.15, 0.6, (between(0.05, 0.6, 2), between(0.3, 1))),
    "levels": Part(film.levels, 0.6, 0.8, (between(0, 0.35, 3), between(1, 0.65, 3))),
    "border": Part(film.border, 0.06, 0.15, BORDER),
    "paper": Part(film.paper, 0.1, 0.3, (between(0.005, 0.05, 2.5), between(0, 0.25))),
    **{f"spot {i}": Part(film.spot, 0.02, 0.2, SPOT) for i in range(3)},
    "dust": Part(film.dust, 0.12, 0.5, (between(1e-4, 2e-3, 2), either(0.1, 0.9, 1), between(0, 0.33))),
    **{f"scratch {i}": Part(film.scratch, 0.03, 0.25, SCRATCH) for i in range(4)},
    **{f"upright scratch {i}": Part(film.scratch, 0.01, 0.08, UPRIGHT) for i in range(2)},
    **{f"fold {i}": Part(film.fold, 0.005, 0.1, FOLD) for i in range(2)},
    "scan": Part(film.blur, 0.4, 0.4, (between(-0.18, 0.12),)),
    "jpeg": Part(film.jpeg, 0.35, 0.35, (between(95, 25, 2),)),
}


def _sent(values: np.ndarray, device: torch.device) -> Tensor:
    """The values on the device; from pinned memory, as a plain copy to a GPU waits for all work queued there."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
