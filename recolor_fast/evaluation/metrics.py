"""Numbers for colored photographs against the truth.

A photograph gives columns: numbers, and histogram counts, of one picture beside its truth. A metric is a row of
METRICS: a function of the columns' means over the photographs. So an interval is the same function of resampled means.
"""

import math
import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recolor_fast.networks.space import to_lab, to_rgb01
from recolor_fast.photographs.gray_photographs import COLORLESS

Columns = dict[str, np.ndarray]

BINS = np.arange(-110.0, 110.0)
"""Edges of the ab histograms: 219 bins, one Lab unit wide (Gorriz et al. 2019, their test code)."""
CHANCE = "0.3466 is chance"  # for the critic's error
HIGHEST_PSNR = 100.0
"""dB; what equal pictures get in place of infinity, which has no mean."""
BORDER = 5  # pixels of half the SSIM window
EMPTY = 1e-8
"""What the Kullback-Leibler divergence takes for the share of a bin where a system has no pixel at all."""
RESAMPLES = 1000
CHUNK = 100  # resamples at a time: bounds memory


def compare(colored: Iterable[np.ndarray], truth: Iterable[np.ndarray]) -> dict[str, float]:
    """Metrics over pairs of RGB photographs, uint8 (H,W,3), from the columns of `errors`, as METRICS takes them:

    - ab_rmse: root mean square error of a and b, CIE Lab units; ab_rmse/gray: the same for no color at all;
    - chroma: mean Lab chroma divided by the truth's (1 is as colorful, 0 is gray); NaN where the truth holds no color;
    - psnr: dB on RGB, peak 255, the mean over the photographs of each one's.

    ValueError where there is no photograph.
    """
    rows = []
    for ours, true in zip(colored, truth, strict=True):
        colorless = np.zeros_like(true)  # black, but its a and b are those of any gray
        rows.append(errors(torch.from_numpy(np.stack((true, ours, colorless))).permute(0, 3, 1, 2)))
    if not rows:
        raise ValueError("no photographs to compare")
    mean = {column: np.mean([row[column] for row in rows], 0) for column in rows[0]}
    _, error, gray = np.sqrt(mean["ab_square"])
    full, chroma, _ = mean["chroma"]
    return {
        "ab_rmse": float(error),
        "ab_rmse/gray": float(gray),
        "chroma": float(chroma / full) if full >= COLORLESS else math.nan,
        "psnr": float(mean["psnr_rgb"][1]),
    }


# --- columns: one photograph ---------------------------------------------------------------------------------------


def errors(pictures: Tensor) -> Columns:
    """The cheap columns of pictures of one scene, uint8 (K,3,H,W), the first one the truth; each has K rows.

    psnr_rgb (dB, peak 255, at most 100), psnr_ab (dB, 20 log10(255 / RMSE of a and b), at most 100), ab_square and
    ab_absolute (mean errors of a and b, Lab units squared and Lab units), chroma (mean Lab chroma).
    """
    rgb, ab = pictures.double(), to_lab(to_rgb01(pictures))[:, 1:].double()
    difference = ab - ab[:1]
    square = difference.square().mean((1, 2, 3))
    return {
        "psnr_rgb": _decibels((rgb - rgb[:1]).square().mean((1, 2, 3))),
        "psnr_ab": _decibels(square),
        "ab_square": _column(square),
        "ab_absolute": _column(difference.abs().mean((1, 2, 3))),
        "chroma": _column(ab.square().sum(1).sqrt().mean((1, 2))),
    }


def _decibels(square: Tensor) -> np.ndarray:
    """PSNR of mean square errors, peak 255."""
    return _column((20 * torch.log10(255 / square.sqrt())).clamp_max(HIGHEST_PSNR))


def measure(pictures: Tensor) -> Columns:
    """All columns of pictures of one scene, uint8 (K,3,H,W), the first one the truth; each has K rows.

    Those of `errors`, ssim (Wang et al. 2004, on RGB where the window fits), colorfulness and colorfulness_abs,
    histogram_a and histogram_b (K,219) counts of pixels.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    rgb = pictures.float()
    _, similarity = structural_similarity_index_measure(
        rgb, rgb[:1].expand_as(rgb), data_range=255.0, reduction="none", return_full_image=True
    )
    inner = similarity[..., BORDER:-BORDER, BORDER:-BORDER]  # torchmetrics averages over its own padding too
    ab = to_lab(to_rgb01(pictures))[:, 1:]
    return errors(pictures) | {
        "ssim": _column(inner.mean((1, 2, 3))),
        "colorfulness": _column(colorfulness(pictures)),
        "colorfulness_abs": _column(colorfulness(pictures, absolute=True)),
        "histogram_a": ab_histogram(ab[:, 0]),
        "histogram_b": ab_histogram(ab[:, 1]),
    }


def colorfulness(rgb: Tensor, absolute: bool = False) -> Tensor:
    """Colorfulness M3 of uint8 RGB (N,3,H,W): (N,), about 0 (gray) to 110 (Hasler and Suesstrunk 2003, section 7).

    `absolute` takes |R - G| and |(R + G) / 2 - B| before mean and deviation, as the code behind the figures of DDColor,
    CT2 and BigColor does; the paper's opponent colors are signed.
    """
    red, green, blue = rgb.double().unbind(1)
    opponents = torch.stack((red - green, (red + green) / 2 - blue), 1)
    opponents = opponents.abs() if absolute else opponents
    deviation, mean = opponents.std((2, 3), correction=0), opponents.mean((2, 3))
    return deviation.norm(dim=1) + 0.3 * mean.norm(dim=1)


def ab_histogram(plane: Tensor) -> np.ndarray:
    """Pixels in each of the 219 bins of BINS, for planes of a or b (N,H,W) in Lab units: (N,219), float64.

    Rounded to thousandths first: gray is 0 but for the last bits of float32, whose sign would choose its bin.
    """
    values = np.round(plane.double().cpu().numpy(), 3)
    return np.stack([np.histogram(one, BINS)[0] for one in values]).astype(np.float64)


def padova_errors(
    generator: nn.Module, critic: nn.Module, source: Tensor, real: Tensor, weight: float = 100.0
) -> tuple[float, float]:
    """Generator and critic error of the Padova paper's Table 1, as its code computes them.

    source (N,1 or 3,S,S) and real (N,C,S,S) in [-1, 1]. Whatever the system was trained with, the generator's error is
    0.5 BCE(sigmoid(critic(fake)), 1) + 100 L1(fake, real), and the critic's the mean of 0.5 BCE on real and on fake
    pairs, so 0.5 ln 2 = 0.3466 is a critic at chance. BCE is torch's: it stops at 100. Several scales count as their
    mean.
    """

    def bce(image: Tensor, label: float) -> Tensor:
        shares = [torch.sigmoid(score.float()) for score in critic(source, image)]
        return torch.stack([F.binary_cross_entropy(share, torch.full_like(share, label)) for share in shares]).mean()

    with torch.no_grad():
        fake = generator(source)
        ours = 0.5 * bce(fake, 1.0) + weight * F.l1_loss(fake, real)
        critic_error = (0.5 * bce(real, 1.0) + 0.5 * bce(fake, 0.0)) / 2
    return ours.item(), critic_error.item()


# --- metrics: all photographs --------------------------------------------------------------------------------------


def fid(features: np.ndarray, truth: np.ndarray) -> float:
    """Frechet inception distance (Heusel et al. 2017, eq. 6) between two sets of features (n,d), n at least 2."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Features(nn.Module):
        """Stands where torchmetrics computes features: they are there already, of the truth once for all systems."""

        num_features = truth.shape[1]

        def forward(self, pixels: Tensor) -> Tensor:
            return pixels

    metric = FrechetInceptionDistance(feature=Features()).set_dtype(torch.float64)
    metric.update(torch.from_numpy(truth).double(), real=True)
    metric.update(torch.from_numpy(features).double(), real=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(metric.compute())


def jensen_shannon(counts: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence of histograms (...,k), natural logarithm: 0 (equal) to ln 2; an empty bin adds 0."""
    p, q = (part / part.sum(-1, keepdims=True) for part in (counts, truth))
    middle = (p + q) / 2
    return (_entropy_terms(p, middle) + _entropy_terms(q, middle)).sum(-1) / 2


def kullback_leibler(counts: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """KL(truth || system) of histograms (...,k), natural logarithm.

    It is infinite where the system lacks a color of the truth, so a system's share of a bin is taken as EMPTY at least.
    """
    p, q = (part / part.sum(-1, keepdims=True) for part in (truth, counts))
    q = np.maximum(q, EMPTY)
    return _entropy_terms(p, q / q.sum(-1, keepdims=True)).sum(-1)


def _entropy_terms(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """p ln(p / q), 0 where p is 0."""
    return np.where(p > 0, p * np.log(np.where(p > 0, p, 1) / np.where(p > 0, q, 1)), 0)


def _column(values: Tensor) -> np.ndarray:
    return values.double().cpu().numpy()


def _itself(mean: np.ndarray) -> np.ndarray:
    return mean


def _ratio(ours: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return ours / np.maximum(truth, 1e-9)


def _root_of_divergence(counts: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(jensen_shannon(counts, truth), 0))


class Metric(NamedTuple):
    """What a metric is called in tables, what is good, and the function of the columns' means that it is."""

    title: str
    better: str
    """"higher", "lower", or what to be near."""
    columns: tuple[str, ...]
    value: Callable[..., np.ndarray] = _itself


def _of_histograms(title: str, plane: str, value: Callable[..., np.ndarray]) -> Metric:
    return Metric(f"{title} {plane}", "lower", (f"histogram_{plane}", f"truth/histogram_{plane}"), value)


METRICS = {
    "psnr_rgb": Metric("PSNR RGB, dB", "higher", ("psnr_rgb",)),
    "psnr_ab": Metric("PSNR ab, dB", "higher", ("psnr_ab",)),
    "ab_rmse": Metric("RMSE ab", "lower", ("ab_square",), np.sqrt),
    "ab_mae": Metric("MAE ab", "lower", ("ab_absolute",)),
    "ssim": Metric("SSIM", "higher", ("ssim",)),
    "lpips": Metric("LPIPS (AlexNet)", "lower", ("lpips",)),
    "lpips_style_squeeze": Metric("LPIPS-style (SqueezeNet, no heads)", "lower", ("lpips_style_squeeze",)),
    "fid": Metric("FID", "lower", ("fid",)),
    "colorfulness": Metric("Colorfulness", "the truth's", ("colorfulness",)),
    "colorfulness_abs": Metric("Colorfulness, abs() variant", "the truth's", ("colorfulness_abs",)),
    "colorfulness_ratio": Metric("Colorfulness / truth's", "1", ("colorfulness", "truth/colorfulness"), _ratio),
    "chroma": Metric("Chroma / truth's", "1", ("chroma", "truth/chroma"), _ratio),
    "js_a": _of_histograms("JS", "a", jensen_shannon),
    "js_b": _of_histograms("JS", "b", jensen_shannon),
    "sqrt_js_a": _of_histograms("sqrt(JS)", "a", _root_of_divergence),
    "sqrt_js_b": _of_histograms("sqrt(JS)", "b", _root_of_divergence),
    "kl_a": _of_histograms("KL", "a", kullback_leibler),
    "kl_b": _of_histograms("KL", "b", kullback_leibler),
    "top1": Metric("Top-1 recognized", "higher", ("top1", "known"), _ratio),
    "top1_agreement": Metric("Top-1 as on the truth", "higher", ("top1_agreement",)),
    "padova_generator": Metric("Padova generator error", "lower", ("padova_generator",)),
    "padova_critic": Metric("Padova discriminator error", CHANCE, ("padova_critic",)),
    "padova_generator_swapped": Metric("Padova generator error, swapped", "lower", ("padova_generator_swapped",)),
    "padova_critic_swapped": Metric("Padova discriminator error, swapped", CHANCE, ("padova_critic_swapped",)),
}


def summarize(columns: Columns, missing: dict[str, str], seed: int = 0) -> dict[str, dict[str, Any]]:
    """Every metric of METRICS: {mean, low, high}, or {missing: reason} where a column is missing.

    low and high are the 2.5 and 97.5 percentiles over RESAMPLES bootstrap resamples of the photographs (Efron 1979),
    the same ones for every system of a seed. A column without rows (shape ()) is a number of all photographs together:
    its low and high are None. Columns are (n,) or (n,k); `missing` has a reason for each one that is not there.
    """
    needed = {name: metric for name, metric in METRICS.items() if all(c in columns for c in metric.columns)}
    whole = {name for name, metric in needed.items() if not all(columns[c].ndim for c in metric.columns)}
    resampled = needed.keys() - whole
    values = resample(columns, {name: needed[name] for name in needed if name in resampled}, seed)
    summary: dict[str, dict[str, Any]] = {}
    for name, metric in METRICS.items():
        if name not in needed:
            reason = next(missing[column] for column in metric.columns if column not in columns)
            summary[name] = {"missing": reason}
            continue
        mean = float(metric.value(*(columns[c].mean(0) if columns[c].ndim else columns[c] for c in metric.columns)))
        low, high = np.percentile(values[name], (2.5, 97.5)) if name in resampled else (None, None)
        bounds = {"low": None if low is None else float(low), "high": None if high is None else float(high)}
        summary[name] = (
            {"mean": mean, **bounds} if np.isfinite(mean) else {"missing": f"it is no finite number: {mean}"}
        )
    return summary


def resample(columns: Columns, metrics: dict[str, Metric], seed: int) -> dict[str, np.ndarray]:
    """Each metric on RESAMPLES bootstrap resamples of the rows of columns (n,) or (n,k): (RESAMPLES,) each."""
    used = {column for metric in metrics.values() for column in metric.columns}
    if not used:
        return {}
    count, draw = len(columns[next(iter(used))]), np.random.default_rng(seed)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in metrics}
    for _ in range(0, RESAMPLES, CHUNK):
        shares = draw.multinomial(count, np.full(count, 1 / count), CHUNK) / count
        means = {column: shares @ columns[column] for column in used}
        for name, metric in metrics.items():
            parts[name].append(metric.value(*(means[column] for column in metric.columns)))
    return {name: np.concatenate(part) for name, part in parts.items()}
