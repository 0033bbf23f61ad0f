"""Chroma joining luminance: what is merged keeps its luminance, edges stay where they are, frames are steadied."""

import cv2
import numpy as np
import pytest
import simplejpeg
import torch

from recolor_fast.photographs import chroma, images
from recolor_fast.photographs.chroma import Look
from tests.photographs import pixels
from tests.test_images import distance, luma, smooth

LOOKS = [Look("guided"), Look("bilinear"), Look("guided", 2.5)]
SHAPES = [((97, 131), (16, 16)), ((64, 64), (64, 64)), ((20, 33), (64, 64)), ((1, 1), (8, 8)), ((1, 90), (8, 8))]
SHAPES += [((90, 1), (8, 8)), ((75, 40), (1, 1)), ((31, 300), (64, 64))]


def noise(seed: int, shape: tuple[int, ...], dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype)


def resized(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear with half-pixel centers, larger only, in float64 and pixel by pixel."""
    result = np.empty((height, width))
    for y, x in np.ndindex(height, width):
        v = min(max((y + 0.5) * plane.shape[0] / height - 0.5, 0), plane.shape[0] - 1)
        u = min(max((x + 0.5) * plane.shape[1] / width - 0.5, 0), plane.shape[1] - 1)
        top, left = int(v), int(u)
        rows = plane[[top, min(top + 1, plane.shape[0] - 1)]]
        above, below = rows[:, left] + (u - left) * (rows[:, min(left + 1, plane.shape[1] - 1)] - rows[:, left])
        result[y, x] = above + (v - top) * (below - above)
    return result


def guided(gray: np.ndarray, plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """Chroma around 0 upsampled from `plane` along a gray whose sides are multiples of its own, in float64."""
    h, w = plane.shape
    small = gray.reshape(h, gray.shape[0] // h, w, gray.shape[1] // w).mean((1, 3))

    def mean(values: np.ndarray) -> np.ndarray:
        padded = np.pad(values, 1, mode="reflect")
        return sum(padded[y : y + h, x : x + w] for y in range(3) for x in range(3)) / 9

    covariance = mean(small * plane) - mean(small) * mean(plane)
    slope = mean(covariance / (mean(small**2) - mean(small) ** 2 + chroma.EPSILON))
    at_size = gray.reshape(height, gray.shape[0] // height, width, gray.shape[1] // width).mean((1, 3))
    return resized(plane - slope * small, height, width) + resized(slope, height, width) * at_size


def merged(gray: np.ndarray, cb: np.ndarray, cr: np.ndarray) -> np.ndarray:
    """RGB of full-size float chroma around 0, pixel by pixel: chroma is halved in steps until it fits the cube."""
    white = np.iinfo(gray.dtype).max
    rgb = np.empty((*gray.shape, 3))
    for at in np.ndindex(*gray.shape):
        y = float(gray[at])
        offsets = np.array([1.402 * cr[at], -(0.114 * 1.772 * cb[at] + 0.299 * 1.402 * cr[at]) / 0.587, 1.772 * cb[at]])
        low, high = 0.0, 1.0
        for _ in range(30):
            middle = high if low == 0 and high == 1 else (low + high) / 2
            if np.all((y + middle * offsets >= -1e-9) & (y + middle * offsets <= white + 1e-9)):
                low = middle
                if middle == 1:
                    break
            else:
                high = middle if middle < 1 else 1 - 1e-12
        rgb[at] = y + low * offsets
    return rgb


# --- merging -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("look", [Look("guided", 0.7), Look("bilinear"), Look("bilinear", 3)])
def test_merge_is_the_slow_version(look: Look, dtype: type) -> None:
    gray, cbcr = noise(1, (48, 40), dtype), noise(2, (2, 24, 20)) // 2 + 64
    level = np.iinfo(dtype).max / 255
    planes = (cbcr.astype(float) - 128) * look.saturation
    up = [guided(gray / level, p, 48, 40) if look.upsample == "guided" else resized(p, 48, 40) for p in planes]
    want = merged(gray, up[0] * level, up[1] * level)
    assert np.abs(chroma.merge(gray, cbcr, look) - want).max() <= (0.51 if dtype == np.uint8 else 1)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shapes", SHAPES)
def test_merge_keeps_luminance_of_every_pixel(
    shapes: tuple[tuple[int, int], tuple[int, int]], dtype: type, look: Look
) -> None:
    gray = noise(3, shapes[0], dtype)
    rgb = chroma.merge(gray, noise(4, (2, *shapes[1])), look)
    assert rgb.dtype == dtype
    assert rgb.shape == (*shapes[0], 3)
    assert np.abs(luma(rgb) - gray).max() <= 0.52  # rounding of the channels, and of float32 with 16 bits
    if dtype == np.uint8:
        assert distance(images.gray(rgb), gray) <= 1


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_merge_of_neutral_chroma_is_gray_exactly(dtype: type, look: Look) -> None:
    gray = np.linspace(0, np.iinfo(dtype).max, 4096).astype(dtype).reshape(64, 64)
    rgb = chroma.merge(gray, np.full((2, 64, 64), 128, np.uint8), look)
    assert np.array_equal(rgb, np.dstack([gray] * 3))


@pytest.mark.parametrize("upsample", ["guided", "bilinear"])
def test_warmth_raises_red_and_lowers_blue_in_proportion_to_the_luminance(upsample) -> None:
    ramp = np.tile(np.linspace(0, 200, 256).astype(np.uint8), (256, 1))
    neutral = np.full((2, 64, 64), 128, np.uint8)
    for warmth in (1.0, -0.5):
        rgb = chroma.merge(ramp, neutral, Look(upsample, warmth=warmth)).astype(float)
        expected = ramp[..., None] * (1 + warmth * np.array([0.12, -0.0225, -0.2]))
        assert np.abs(rgb - expected).max() <= 1.2
        assert np.abs(rgb @ [0.299, 0.587, 0.114] - ramp).max() <= 0.52
    half, whole = (chroma.merge(ramp, neutral, Look(warmth=warmth)).astype(float) for warmth in (0.5, 1.0))
    assert np.abs((half - ramp[..., None]) * 2 - (whole - ramp[..., None])).max() <= 2


def test_strength_is_the_share_of_the_colored_picture() -> None:
    gray, cbcr = np.full((64, 64), 130, np.uint8), np.tile(np.uint8([[[100]], [[150]]]), (1, 16, 16))
    own = np.tile(np.float32([[-10], [6]]), (1, 256))
    for tone in (None, own):
        whole = chroma.merge(gray, cbcr, Look(), tone).astype(float)
        print_ = chroma.merge(gray, cbcr, Look(strength=0), tone).astype(float)
        as_it_was = chroma.merge(gray, np.full_like(cbcr, 128), Look(keep_tone=1), tone)
        assert np.abs(print_ - as_it_was).max() <= 1
        for share in (0.25, 0.8):
            got = chroma.merge(gray, cbcr, Look(strength=share), tone)
            assert np.abs(got - (share * whole + (1 - share) * print_)).max() <= 1


@pytest.mark.parametrize(("name", "low"), [("warmth", -1), ("strength", 0)])
def test_a_look_out_of_range_is_named(name: str, low: int) -> None:
    for value in (low - 0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=f"{name} {value}: expected {low} to 1"):
            chroma.merge(np.zeros((8, 8), np.uint8), np.zeros((2, 4, 4), np.uint8), Look(**{name: value}))


def test_saturation_is_a_factor_of_chroma() -> None:
    gray, cbcr = smooth(50, 60)[..., 1], np.full((2, 4, 4), 138, np.uint8)
    assert distance(chroma.merge(gray, cbcr, Look(saturation=0)), np.dstack([gray] * 3)) == 0
    assert distance(chroma.merge(gray, cbcr, Look(saturation=2)), chroma.merge(gray, cbcr + np.uint8(10))) <= 1


def test_sixteen_bits_are_eight_bits_finer() -> None:
    gray, cbcr = noise(5, (60, 70)), noise(6, (2, 16, 16)) // 4 + 96
    deep = chroma.merge(gray.astype(np.uint16) * 257, cbcr)
    assert np.abs(deep / 257 - chroma.merge(gray, cbcr)).max() <= 0.51
    assert (deep % 257 != 0).any()


def test_merge_is_jfif_inside_the_cube() -> None:
    rgb = smooth(64, 64)
    ycc = cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb)
    got = chroma.merge(ycc[..., 0].copy(), np.stack([ycc[..., 2], ycc[..., 1]]))
    assert distance(got, rgb) <= 2


def test_merge_keeps_hue_and_takes_the_largest_factor_at_the_border() -> None:
    gray = np.full((8, 8), 200, np.uint8)
    rgb = chroma.merge(gray, np.array([100, 255], np.uint8).reshape(2, 1, 1)).astype(float)
    assert rgb[0, 0, 0] == 255  # no further than needed: red is at the cube's face
    cb, cr = (rgb[0, 0, 2] - 200) / 1.772, (rgb[0, 0, 0] - 200) / 1.402
    assert cb / cr == pytest.approx((100 - 128) / (255 - 128), abs=0.02)


def test_merge_upsamples_half_pixel_centered_and_bands_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    cbcr = np.random.default_rng(5).integers(100, 157, (2, 9, 7), dtype=np.uint8)
    gray = np.full((90, 113), 128, np.uint8)
    whole = chroma.merge(gray, cbcr, Look("bilinear"))
    monkeypatch.setattr(chroma, "BAND", 113 * 3)
    assert distance(chroma.merge(gray, cbcr, Look("bilinear")), whole) <= 1
    up = torch.nn.functional.interpolate(
        torch.from_numpy(cbcr)[None].float() - 128, size=(90, 113), mode="bilinear", align_corners=False
    )[0].numpy()
    assert np.abs(128 + 1.772 * up[0] - whole[..., 2]).max() <= 0.51
    assert np.abs(128 + 1.402 * up[1] - whole[..., 0]).max() <= 0.51


def test_chroma_larger_than_the_picture_is_averaged() -> None:
    cbcr = noise(7, (2, 64, 64)) // 4 + 96
    small = cbcr.reshape(2, 8, 8, 16, 4).mean((2, 4)) - 128
    rgb = chroma.merge(np.full((8, 16), 128, np.uint8), cbcr, Look("bilinear"))
    assert np.abs(rgb[..., 0] - (128 + 1.402 * small[1])).max() <= 0.51


@pytest.mark.parametrize("call", [chroma.merge, chroma.subsampled])
def test_wrong_arguments_are_named(call) -> None:
    gray, cbcr = np.zeros((8, 8), np.uint8), np.zeros((2, 4, 4), np.uint8)
    for one, other in ((gray, np.zeros((3, 4, 4), np.uint8)), (gray, cbcr[:, :0]), (gray[..., None], cbcr)):
        with pytest.raises(ValueError, match=r"expected \(H,W\) and \(2,h,w\)"):
            call(one, other)
    with pytest.raises(ValueError, match="float32"):
        call(gray.astype(np.float32), cbcr)
    for saturation in (-0.1, 101.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"saturation {saturation}"):
            call(gray, cbcr, Look(saturation=saturation))
    with pytest.raises(ValueError, match="upsample 'cubic'"):
        call(gray, cbcr, Look("cubic"))  # type: ignore[arg-type]


# --- guided upsampling ---------------------------------------------------------------------------------------------


def wrong_side(look: Look, contrast: int) -> float:
    """Of an oblique edge between two colors, enlarged 12 times: pixels nearer to the other side's chroma, per row."""
    y, x = np.mgrid[0:384, 0:384]
    right = x > 140 + y // 4
    gray = np.where(right, 128 + contrast // 2, 128 - contrast // 2).astype(np.uint8)
    true = np.stack([np.where(right, 108, 148), np.where(right, 158, 98)]).astype(np.float32)
    small = np.stack([cv2.resize(plane, (32, 32), interpolation=cv2.INTER_AREA) for plane in true])
    rgb = chroma.merge(gray, np.rint(small).astype(np.uint8), look).astype(int)
    off = np.abs(rgb[..., 0] - gray - 1.402 * (true[1] - 128)) > 1.402 * 15  # a quarter of the step of Cr
    return off.sum() / len(gray)


def test_guided_chroma_does_not_bleed_over_an_edge() -> None:
    """Pixels off by more than a quarter of the step: 9.2 a row bilinear, none guided by 100 levels of luminance."""
    assert wrong_side(Look("bilinear"), 100) > 6
    assert wrong_side(Look("guided"), 100) < wrong_side(Look("bilinear"), 100) / 4
    assert wrong_side(Look("guided"), 10) < 1.1 * wrong_side(Look("bilinear"), 10)  # nothing to go by: no harm


def test_guided_is_nearer_to_photographs_than_bilinear() -> None:
    errors = []
    for number in range(6):
        ycc = cv2.cvtColor(pixels(number, 192, 192), cv2.COLOR_RGB2YCrCb).astype(np.float32)
        gray, true = ycc[..., 0].astype(np.uint8), ycc[..., :0:-1].transpose(2, 0, 1) - 128
        small = np.stack([cv2.resize(plane, (32, 32), interpolation=cv2.INTER_AREA) for plane in true])
        cbcr = np.rint(small + 128).astype(np.uint8)
        # where nothing leaves the cube, blue and red tell the chroma that was used
        for look in LOOKS[:2]:
            rgb = chroma.merge(gray // 4 + 96, cbcr, look).astype(float) - (gray // 4 + 96)[..., None]
            errors.append(np.mean((rgb[..., 0] / 1.402 - true[1]) ** 2) + np.mean((rgb[..., 2] / 1.772 - true[0]) ** 2))
    guided_error, bilinear_error = np.mean(errors[::2]), np.mean(errors[1::2])
    assert guided_error < 0.95 * bilinear_error


@pytest.mark.parametrize("value", [0, 90, 255])
def test_over_a_flat_luminance_guided_is_bilinear(value: int) -> None:
    gray, cbcr = np.full((80, 90), value, np.uint8), noise(8, (2, 16, 16))
    assert np.array_equal(chroma.merge(gray, cbcr), chroma.merge(gray, cbcr, Look("bilinear")))


@pytest.mark.parametrize("call", [chroma.merge, lambda *a: np.dstack(chroma.subsampled(*a))])
def test_one_color_all_over_stays_one_color_and_noise_is_not_colored(call) -> None:
    gray, cbcr = noise(9, (256, 256)) // 16 + 120, noise(10, (2, 1, 1)) // 4 + 96
    one = call(gray, np.tile(cbcr, (1, 32, 32)))
    assert distance(one, call(gray, cbcr, Look("bilinear"))) == 0
    grainy = noise(11, (2, 32, 32)) // 32 + 124  # of chroma, which has nothing to do with that of the luminance
    assert np.abs(call(gray, grainy).astype(int) - call(gray, grainy, Look("bilinear"))).mean() < 0.5


def test_guided_at_the_chromas_own_size_is_the_chroma() -> None:
    gray, cbcr = noise(12, (40, 50)) // 4 + 96, noise(13, (2, 40, 50)) // 4 + 96
    assert distance(chroma.merge(gray, cbcr), chroma.merge(gray, cbcr, Look("bilinear"))) <= 1


# --- 4:2:0 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("shapes", SHAPES)
def test_subsampled_planes_are_in_the_cube_for_each_pixel_of_their_block(
    shapes: tuple[tuple[int, int], tuple[int, int]], look: Look
) -> None:
    gray = noise(14, shapes[0])
    cb, cr = (plane.astype(float) - 128 for plane in chroma.subsampled(gray, noise(15, (2, *shapes[1])), look))
    assert cb.shape == cr.shape == (-(-shapes[0][0] // 2), -(-shapes[0][1] // 2))
    cb, cr = (plane.repeat(2, 0).repeat(2, 1)[: shapes[0][0], : shapes[0][1]] for plane in (cb, cr))
    rgb = np.dstack([gray + 1.402 * cr, gray - (0.202 * cb + 0.419 * cr) / 0.587, gray + 1.772 * cb])
    assert rgb.min() > -1.1  # half a level of chroma is 0.9 of blue
    assert rgb.max() < 256.1


@pytest.mark.parametrize("look", [Look("guided"), Look("bilinear", 0.8)])
@pytest.mark.parametrize("shape", [(48, 64), (96, 32)])
def test_subsampled_is_the_slow_version_inside_the_cube(look: Look, shape: tuple[int, int]) -> None:
    gray, cbcr = noise(16, shape) // 4 + 96, noise(17, (2, 12, 8)) // 16 + 120
    height, width = (side // 2 for side in shape)
    for got, plane in zip(chroma.subsampled(gray, cbcr, look), cbcr):
        values = (plane.astype(float) - 128) * look.saturation
        want = guided(gray, values, height, width) if look.upsample == "guided" else resized(values, height, width)
        assert np.abs(got - (128 + want)).max() <= 0.75  # the mean luminance of a block is rounded before


def test_subsampled_takes_the_largest_factor_and_bands_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    gray = np.full((8, 8), 200, np.uint8)
    gray[4, 4] = 240
    cb, cr = chroma.subsampled(gray, np.array([128, 255], np.uint8).reshape(2, 1, 1), Look("bilinear"))
    assert (cb == 128).all()
    assert (cr[2, 2], cr[0, 0]) == (128 + round(15 / 1.402), 128 + round(55 / 1.402))
    cb, cr = chroma.subsampled(gray[:3, :3], np.array([128, 255], np.uint8).reshape(2, 1, 1), Look("bilinear"))
    assert (cr == cr[0, 0]).all()  # odd sides: the last row and column repeat
    gray, cbcr = noise(18, (91, 113)), noise(19, (2, 9, 7))
    whole = chroma.subsampled(gray, cbcr)
    monkeypatch.setattr(chroma, "BAND", 57 * 3)
    for one, other in zip(chroma.subsampled(gray, cbcr), whole):
        assert distance(one, other) <= 1


@pytest.mark.parametrize("quality", [95, 100])
def test_a_jpeg_of_subsampled_keeps_luminance_as_well_as_one_of_merged(quality: int) -> None:
    """Y' of the decoded files, for chroma strong enough to leave the cube; and the colors are the same."""
    errors = []
    for number in range(4):
        ycc = cv2.cvtColor(pixels(number, 256, 320), cv2.COLOR_RGB2YCrCb)
        gray = np.ascontiguousarray(ycc[..., 0])
        cbcr = np.stack([cv2.resize(ycc[..., i], (64, 64), interpolation=cv2.INTER_AREA) for i in (2, 1)])
        rgb = chroma.merge(gray, cbcr, Look(saturation=2))
        planes = chroma.subsampled(gray, cbcr, Look(saturation=2))
        files = (
            simplejpeg.encode_jpeg_yuv_planes(gray, *planes, quality),
            simplejpeg.encode_jpeg(rgb, quality, "RGB", "420"),
        )
        back = [simplejpeg.decode_jpeg(file, "RGB") for file in files]
        errors.append([np.abs(luma(one) - gray).mean() for one in back])
        assert np.abs(back[0].astype(int) - back[1]).mean() < 3
    direct, through_rgb = np.mean(errors, axis=0)
    assert direct <= through_rgb


# --- video frames --------------------------------------------------------------------------------------------------


def photograph(number: int, side: int = 96) -> tuple[np.ndarray, np.ndarray]:
    ycc = cv2.cvtColor(pixels(number, side, side), cv2.COLOR_RGB2YCrCb)
    return np.ascontiguousarray(ycc[..., 0]), ycc[..., :0:-1].transpose(2, 0, 1).copy()


def flickering(planes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """uint8 planes (...,h,w) with smooth noise of 6 levels, as a network's chroma differs from frame to frame."""
    coarse = random.normal(0, 6, (*planes.shape[:-2], 8, 8)).reshape(-1, 8, 8).astype(np.float32)
    rough = np.stack([cv2.resize(one, planes.shape[:-3:-1]) for one in coarse]).reshape(planes.shape)
    return np.clip(np.rint(planes + rough), 0, 255).astype(np.uint8)


def test_flicker_falls_to_a_fifth_of_its_variance() -> None:
    """Of a still frame whose luminance is noisy (2 levels) and changes in brightness (by up to 24)."""
    gray, cbcr = photograph(0)
    random = np.random.default_rng(0)
    steady = chroma.Steady()
    before, after = [], []
    for _ in range(40):
        luminance = np.clip(gray + random.normal(0, 2, gray.shape) + random.choice([-12, 0, 12]), 0, 255).astype(
            np.uint8
        )
        before.append(flickering(cbcr, random))
        after.append(steady(luminance, before[-1]))
    variances = [np.var(np.stack(frames[10:]).astype(float), axis=0).mean() for frames in (before, after)]
    assert variances[0] > 5
    assert variances[1] < variances[0] / 5
    assert np.abs(np.mean(after[10:], axis=0) - cbcr).mean() < 2


def test_a_slow_pan_is_steadied_and_stays_in_place() -> None:
    gray, cbcr = photograph(1, 160)
    random = np.random.default_rng(1)
    steady = chroma.Steady()
    before, after = [], []
    for step in range(30):
        view = (slice(0, 96), slice(step, step + 96))
        before.append(np.abs(flickering(cbcr[:, *view], random) - cbcr[:, *view].astype(float)))
        after.append(np.abs(steady(gray[view], flickering(cbcr[:, *view], random)) - cbcr[:, *view].astype(float)))
    assert np.mean(np.square(after[10:])) < 0.6 * np.mean(np.square(before[10:]))


def test_what_moves_leaves_no_trace() -> None:
    steady = chroma.Steady()
    for step in range(12):
        gray, cbcr = np.full((64, 64), 60, np.uint8), np.full((2, 64, 64), 128, np.uint8)
        gray[::7] = 90  # something to correlate with
        square = (slice(20, 40), slice(4 * step, 4 * step + 16))
        gray[square], cbcr[1][square] = 200, 180
        got = steady(gray, cbcr)
        assert distance(got[1][square], cbcr[1][square]) <= 1
        away = np.abs(got[1].astype(int) - cbcr[1])
        assert away.max() <= 1


def test_a_cut_or_another_size_starts_anew() -> None:
    steady = chroma.Steady()
    random = np.random.default_rng(2)
    for number in (0, 1, 2, 3):
        gray, cbcr = photograph(number)
        assert distance(steady(gray, cbcr), cbcr) == 0  # the first after the cut: as it is
        other = flickering(cbcr, random)
        assert distance(steady(gray, other), other) > 3  # the second: steadied
    gray, cbcr = photograph(3, 48)
    assert distance(steady(gray, cbcr), cbcr) == 0


def test_steady_does_not_stall_and_forgets_rounding() -> None:
    steady, gray = chroma.Steady(), photograph(0)[0]
    steady(gray, np.full((2, 96, 96), 100, np.uint8))
    for _ in range(60):
        got = steady(gray, np.full((2, 96, 96), 102, np.uint8))
    assert (got == 102).all()  # 0.2 of 2 levels is less than half a level


def test_flat_frames_are_steadied_too() -> None:
    random = np.random.default_rng(3)
    steady = chroma.Steady()
    cbcr = np.full((2, 64, 64), 128, np.uint8)
    frames = [steady(random.integers(98, 103, (64, 64), np.uint8), flickering(cbcr, random)) for _ in range(20)]
    assert np.var(np.stack(frames[8:]).astype(float), axis=0).mean() < 5


def test_steady_names_wrong_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(8, 9\)"):
        chroma.Steady()(np.zeros((8, 9), np.uint8), np.zeros((2, 8, 8), np.uint8))
