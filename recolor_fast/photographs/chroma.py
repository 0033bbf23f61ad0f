"""How chroma of a model's size joins the luminance of a full-size picture: numpy and OpenCV, no torch.

Arrays have rows from the top: gray (H,W), cbcr (2,h,w) uint8 with 128 neutral, rgb (H,W,3). YCbCr is JFIF's (ITU-T
T.871, section 7: Rec. 601 weights, full range). The work is done in bands of rows that stay in the cache, so memory
stays bounded, and a band is too small for OpenCV's own threads: callers may run one picture on each of their threads.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import NamedTuple

import cv2
import numpy as np

from recolor_fast.machine import processors
from recolor_fast.settings import Look

BAND = 2**16  # pixels worked on at a time; more would also make cv2.resize start threads
RADIUS = 1  # of the guided fit's window, in chroma pixels: 3x3. Wider ones find slopes that hold nowhere
EPSILON = 300.0  # luminance variance, levels^2, that counts as noise: below it the slope is drawn toward 0
RED, BLUE = 1.402, 1.772  # T.871: R = Y + 1.402 Cr, B = Y + 1.772 Cb
GREEN = (-0.114 * BLUE / 0.587, -0.299 * RED / 0.587)  # of Cb, Cr: what keeps 0.299 R + 0.587 G + 0.114 B = Y
WARM = (-0.113, 0.086)  # Cb, Cr of warmth 1, by luminance: red 12 % up, blue 20 % down
WIDE = 0.05  # of a side, standard deviation: how smoothly a print's tone gives way to what is painted
TINY = np.float32(1e-6)  # neutral chroma: any factor does, but not 0 / 0

SMALL = 2**18  # pixels: smaller pictures wait for each other in `subsampled`, see processors.one_by_one
LOOK = Look()


class Samples(NamedTuple):
    """How a file writes Cb and Cr; the default is a JPEG's 4:2:0."""

    weights: tuple[float, float] = (0.299, 0.114)
    """Of red and of blue in the luma that the file has: Rec. 601."""
    limited: bool = False
    """Whether 224 levels of 256 stand for what are 255 in full range (ITU-R BT.601 and 709)."""
    bits: int = 8
    """8: uint8; more: uint16."""
    step: int = 2
    """Pixels to a sample in either direction: 2 is 4:2:0, 1 is 4:4:4."""


JFIF = Samples()


def merge(gray: np.ndarray, cbcr: np.ndarray, look: Look = LOOK, tone: np.ndarray | None = None) -> np.ndarray:
    """uint8 or uint16 luminance (H,W) with uint8 chroma (2,h,w) of any size: RGB (H,W,3) of the luminance's dtype.

    Chroma is upsampled with half-pixel centers as `look` says (averaged where it is the larger of the two). Rec. 601 Y'
    of every result pixel is its gray within 1 level of the dtype (0.5 but for float32's own rounding): where the color
    would leave the RGB cube, it is drawn toward gray as far as needed and no further. Chroma 128 gives R = G = B = gray
    exactly. `tone` is that of the print (photographs.tones), of which `look` says how much is kept. Raises
    ValueError for other shapes, types or values of `look`.
    """
    if gray.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"merge got gray of {gray.dtype}: expected uint8 or uint16")
    coarse = _coarse(gray, cbcr, look, tone, 1)
    rgb = np.empty((*gray.shape, 3), gray.dtype)
    for band, planes in _bands(coarse, *gray.shape):
        luma = gray[band].astype(np.float32)
        cb, cr = _chroma(planes, luma)
        offsets = _offsets(cb, cr)
        factor = _factor(offsets, luma, luma, np.iinfo(gray.dtype).max)
        for offset in offsets:
            offset *= factor
            offset += luma
        cv2.merge([_rounded(offset, gray.dtype) for offset in offsets], rgb[band])
    return rgb


def subsampled(
    gray: np.ndarray,
    cbcr: np.ndarray,
    look: Look = LOOK,
    tone: np.ndarray | None = None,
    samples: Samples = JFIF,
) -> tuple[np.ndarray, np.ndarray]:
    """Cb and Cr of a 4:2:0 JPEG whose Y plane is uint8 `gray` (H,W) itself: two uint8 (ceil(H/2), ceil(W/2)).

    What `merge` would give, without the way through RGB and back. Each sample is drawn toward gray until the color is
    in the RGB cube for the darkest and the brightest of the pixels it lies between. `samples` are those of another
    file: with other weights Cb and Cr are those of a color of the same R - G and B - G, whose luma by these weights is
    `gray`; its bits and its range are of what is returned alone. Raises as `merge`.
    """
    if gray.dtype != np.uint8:
        raise ValueError(f"subsampled got gray of {gray.dtype}: expected uint8")
    step = samples.step
    with processors.one_by_one if gray.size < SMALL else nullcontext():
        coarse = _coarse(gray, cbcr, look, tone, step)
        height, width = (-(-side // step) for side in gray.shape)
        if gray.shape != (step * height, step * width):
            gray = cv2.copyMakeBorder(gray, 0, gray.shape[0] % 2, 0, gray.shape[1] % 2, cv2.BORDER_REPLICATE)
        result = np.empty((2, height, width), np.uint8 if samples.bits == 8 else np.uint16)
        guided = len(coarse) > 2
        for band, planes in _bands(coarse, height, width):
            block = gray[step * band.start : step * band.stop]
            if step == 1:
                darkest = brightest = block.astype(np.float32)
            else:
                darkest, brightest = (
                    _of_pairs(pick, pick(block[::2], block[1::2])) for pick in (np.minimum, np.maximum)
                )
            luma = _area(block, len(block) // step, width).astype(np.float32) if guided else darkest
            cb, cr = _chroma(planes, luma) if guided else planes
            if samples.weights != JFIF.weights:
                cb, cr = _reweighted(cb, cr, *samples.weights)
            factor = _factor(_offsets(cb, cr, *_factors(*samples.weights)), darkest, brightest, 255)
            for plane, out in zip((cb, cr), result):
                plane *= factor
                _written(plane, out[band], samples)
    return result[0], result[1]


def _written(plane: np.ndarray, out: np.ndarray, samples: Samples) -> None:
    """Chroma around 0, in levels of 255, as the samples of a file; changes `plane`."""
    most = 224 * 2 ** (samples.bits - 8) if samples.limited else 2**samples.bits - 1
    if samples.bits == 8:
        cv2.convertScaleAbs(plane, out, alpha=most / 255, beta=128)
        return
    plane *= most / 255
    plane += 2 ** (samples.bits - 1)
    out[...] = np.rint(plane).clip(0, 2**samples.bits - 1)


def _factors(red: float, blue: float) -> tuple[float, float, tuple[float, float]]:
    """What Cr adds to R, Cb to B, and both to G, where luma has so much of red and of blue (ITU-R BT.709, item 3)."""
    if (red, blue) == JFIF.weights:
        return RED, BLUE, GREEN
    of_red, of_blue, green = 2 * (1 - red), 2 * (1 - blue), 1 - red - blue
    return of_red, of_blue, (-blue * of_blue / green, -red * of_red / green)


def _reweighted(cb: np.ndarray, cr: np.ndarray, red: float, blue: float) -> tuple[np.ndarray, np.ndarray]:
    """Rec. 601 Cb and Cr as those of the same R - G and B - G under other weights of luma: linear in both."""
    of_red, of_blue, _ = _factors(red, blue)
    r, g, b = _offsets(cb, cr)
    luma = red * r + (1 - red - blue) * g + blue * b
    return (b - luma) / np.float32(of_blue), (r - luma) / np.float32(of_red)


def _of_pairs(pick: np.ufunc, plane: np.ndarray) -> np.ndarray:
    """The lesser or greater of each two neighbors in the rows of uint8 (h,2w): float32 (h,w)."""
    pairs = plane.view(np.uint16)  # either byte may be the first one
    return pick(pairs & 255, pairs >> 8).astype(np.float32)


def _coarse(gray: np.ndarray, cbcr: np.ndarray, look: Look, tone: np.ndarray | None, step: int) -> np.ndarray:
    """Planes at the chroma's size, float32 (2 or 4, h, w), in levels of `gray`.

    They are to be enlarged to the picture's sides divided by `step`, rounded up, so no side is larger than that.

    Cb and Cr around 0; guided also: the slope of either along the luminance, by which the first two are to be
    increased when multiplied with the full-size luminance (see `_chroma`). That is a guided filter's local linear fit
    (He and Sun, "Fast Guided Filter", 2015), but for its remainder: what the fit leaves of the chroma, which the
    filter would smooth away, is upsampled bilinearly. So at the chroma's own size its result is the chroma itself,
    which is all there is then, and over a flat luminance it is the bilinear one.
    """
    if gray.ndim != 2 or cbcr.ndim != 3 or len(cbcr) != 2 or not gray.size or not cbcr.size:
        raise ValueError(f"got gray {gray.shape} and cbcr {cbcr.shape}: expected (H,W) and (2,h,w), none empty")
    if look.upsample not in ("guided", "bilinear"):
        raise ValueError(f"upsample {look.upsample!r}: expected guided or bilinear")
    if not 0 <= look.saturation <= 100:
        raise ValueError(f"saturation {look.saturation}: expected 0 to 100")
    for name, low in (("keep_tone", 0), ("warmth", -1), ("strength", 0)):
        if not low <= getattr(look, name) <= 1:
            raise ValueError(f"{name} {getattr(look, name)}: expected {low} to 1")
    level = np.iinfo(gray.dtype).max / 255
    sides = [-(-side // step) for side in gray.shape]
    height, width = map(min, sides, cbcr.shape[1:])
    # Fewer pixels than twice: chroma has no detail that averaging, at eight times the cost, would have to remove.
    shrunk = _area if cbcr.shape[1] >= 2 * height or cbcr.shape[2] >= 2 * width else _linear
    chroma = np.stack([shrunk(plane.astype(np.float32) - 128, height, width) for plane in cbcr])
    chroma *= look.saturation * level
    plain = look.upsample == "bilinear" or [height, width] == sides
    kept = tone if look.takes_tone else None
    if plain and kept is None and not look.warmth:
        return chroma * np.float32(look.strength)
    luma = _area(_halved(gray, height, width).astype(np.float32), height, width)
    own = np.zeros((2, 1, 1), np.float32)
    if kept is not None:
        own = _at(luma / np.float32(level), np.float32(level) * kept)
        chroma = _toned(chroma, own, look.keep_tone)
    if look.warmth:
        chroma += np.array(WARM, np.float32)[:, None, None] * (look.warmth * luma)
    chroma = look.strength * chroma + (1 - look.strength) * own
    if plain:
        return chroma
    mean = _box(luma)
    variance = _box(luma * luma) - mean * mean
    slopes = [_box((_box(luma * plane) - mean * _box(plane)) / (variance + EPSILON * level**2)) for plane in chroma]
    return np.stack([*(plane - slope * luma for plane, slope in zip(chroma, slopes)), *slopes])


def _at(luma: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """Curves (2,256), linear between levels, at float32 levels (h,w) from 0 to 255: float32 (2,h,w).

    As np.interp, which searches: 0.3 ms for 2.4 at a quarter of 500x375."""
    below = luma.astype(np.uint8)
    steps = np.diff(curves, append=curves[:, -1:])
    return np.take(curves, below, axis=1) + (luma - below) * np.take(steps, below, axis=1)


def _toned(painted: np.ndarray, own: np.ndarray, share: float) -> np.ndarray:
    """Chroma (2,h,w) with `share` of the print's own (2,h,w) where little is painted.

    A mean of all colors that are likely is weak where they disagree, so there the model knows least. Around a pixel,
    with s the mean strength of what is painted and t that of the tone, the tone's part is 1 - s / t, and nothing from
    s = t on: with all of the tone and a paint of its hue the strength is t, and so no less than the print's.
    """
    spread = WIDE * float(np.sqrt(own[0].size))
    s, t = (cv2.GaussianBlur(np.hypot(*planes), (0, 0), spread) for planes in (painted, own))
    return painted + share * np.clip(1 - s / (t + TINY), 0, 1) * own


def _halved(gray: np.ndarray, height: int, width: int) -> np.ndarray:
    """`gray` averaged by halves while it is at least four times the size: many times as fast as all in one step."""
    while gray.shape[0] >= 4 * height and gray.shape[1] >= 4 * width:
        rows, columns = (side // 2 for side in gray.shape)
        gray = _area(gray[: 2 * rows, : 2 * columns], rows, columns)
    return gray


def _area(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    return cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)


def _linear(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    return cv2.resize(plane, (width, height))


def _box(plane: np.ndarray) -> np.ndarray:
    return cv2.blur(plane, (2 * RADIUS + 1, 2 * RADIUS + 1))


def _bands(coarse: np.ndarray, height: int, width: int) -> Iterator[tuple[slice, list[np.ndarray]]]:
    """Planes (P,h,w) resized bilinearly, half-pixel centers, to height x width: bands of rows, one after the other.

    Vertically at the small width, which costs next to nothing, then horizontally by OpenCV.
    """
    places = ((np.arange(height) + 0.5) * (coarse.shape[1] / height) - 0.5).clip(0, coarse.shape[1] - 1)
    above = places.astype(np.intp)
    weights = (places - above).astype(np.float32)[:, None]
    steps = np.diff(coarse, axis=1, append=coarse[:, -1:])
    rows = max(1, BAND // width)
    for top in range(0, height, rows):
        band = slice(top, min(top + rows, height))
        if coarse.shape[1:] == (height, width):
            yield band, [plane[band].copy() for plane in coarse]
            continue
        tall = coarse[:, above[band]] + weights[band] * steps[:, above[band]]
        yield band, [cv2.resize(plane, (width, len(plane))) for plane in tall]


def _chroma(planes: list[np.ndarray], luma: np.ndarray) -> list[np.ndarray]:
    """Cb and Cr around 0 from the planes of `_coarse`, upsampled, and the luminance there; changes `planes`."""
    for plane, slope in zip(planes[:2], planes[2:]):
        slope *= luma
        plane += slope
    return planes[:2]


def _offsets(
    cb: np.ndarray, cr: np.ndarray, red: float = RED, blue: float = BLUE, green: tuple[float, float] = GREEN
) -> list[np.ndarray]:
    """What chroma adds to the luminance in R, G and B: linear in (cb, cr), and 0 in their weighted sum."""
    return [red * cr, cv2.addWeighted(cb, green[0], cr, green[1], 0), blue * cb]


def _factor(offsets: list[np.ndarray], darkest: np.ndarray, brightest: np.ndarray, white: int) -> np.ndarray:
    """The largest factor up to 1 of the chroma for which luminances from darkest to brightest stay in the RGB cube.

    Scaling chroma by k scales every offset by k and keeps luma, and luma + k * offset stays in 0..white for all
    channels up to k = min(1, (white - luma) / highest offset, luma / -lowest offset).
    """
    red, green, blue = offsets
    # The weighted sum is 0, so the highest is never below 0 and the lowest never above.
    factor = np.maximum(red, green)
    np.maximum(factor, blue, out=factor)
    factor += TINY
    np.divide(white - brightest, factor, out=factor)
    lowest = np.minimum(red, green)
    np.minimum(lowest, blue, out=lowest)
    lowest -= TINY
    np.divide(-darkest, lowest, out=lowest)
    np.minimum(factor, lowest, out=factor)
    return cv2.threshold(factor, 1, 0, cv2.THRESH_TRUNC, dst=factor)[1]


def _rounded(plane: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
    """Floats that are in the dtype's range but for rounding, as that dtype; changes `plane`."""
    if dtype == np.uint8:
        return cv2.convertScaleAbs(plane)
    return np.rint(plane, out=plane).astype(dtype)


# --- video frames --------------------------------------------------------------------------------------------------


class Steady:
    """Steadies the chroma of one sequence of frames, given one after the other: less flicker, no smear.

    Each pixel is a moving average, in floats, of luminance and chroma. Where the new luminance differs from the
    averaged one, something moves and the new chroma counts for more, from MOTION levels on alone. A frame of another
    size, or one that does not correlate with what was before (a cut), starts anew: it comes back as it is.
    """

    LEAST = 0.2  # weight of a new frame where nothing moves: a ninth of the variance of independent frames is left
    MOTION = 24.0  # levels, averaged over 5x5 pixels; up to LEAST * MOTION = 5 it is noise
    FLICKER = 16.0  # levels by which the whole frame may become brighter or darker without anything moving
    CUT = 0.5  # correlation of luminances: lower are 99 % of pairs of unrelated photographs; 95 % of those that are
    # panned by a hundredth of their width per frame are above it
    NOISE = 100.0  # levels^2: frames with no more variance correlate, although only their noise differs

    def __init__(self, average: np.ndarray | None = None) -> None:
        """`average`: that of a sequence which goes on where it was left, float32 (3,h,w)."""
        self.average = np.empty((3, 0, 0), np.float32) if average is None else average

    def __call__(self, gray_small: np.ndarray, cbcr: np.ndarray) -> np.ndarray:
        """The next frame's chroma, steadied: uint8 (2,h,w), from its own and its luminance, uint8 (h,w).

        Raises ValueError where the two differ in size.
        """
        if gray_small.ndim != 2 or cbcr.shape != (2, *gray_small.shape):
            raise ValueError(f"Steady got gray {gray_small.shape} and cbcr {cbcr.shape}: expected (h,w) and (2,h,w)")
        frame = np.stack([gray_small, *cbcr]).astype(np.float32)
        if frame.shape != self.average.shape or self._cut(frame[0]):
            self.average = frame
        else:
            change = frame - self.average
            moved = np.abs(change[0] - np.clip(np.median(change[0]), -self.FLICKER, self.FLICKER))
            weight = np.clip(cv2.blur(moved, (5, 5)) / self.MOTION, self.LEAST, 1)
            self.average += weight * change
        return np.rint(self.average[1:]).astype(np.uint8)

    def _cut(self, luma: np.ndarray) -> bool:
        before, after = (plane - plane.mean() for plane in (self.average[0], luma))
        covariance = float((before * after).mean()) + self.NOISE
        return covariance < self.CUT * (float(before.std()) * float(after.std()) + self.NOISE)
