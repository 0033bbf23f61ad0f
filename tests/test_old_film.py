"""Old film: each part's right values, and that a photograph's film depends on its number alone."""

import io
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from bench.records import old_film_sheet
from recolor_fast.data import film, noise, old_film
from recolor_fast.options import Options
from tests.photographs import pixels, write_jpegs
from tests.reading import batches, load

SIDE = 64
KEY = torch.tensor([123456789, 7])


def one(*values: float) -> list[torch.Tensor]:
    """Parameters of a part for two photographs, the same for both."""
    return [torch.full((2, 1, 1, 1), float(value)) for value in values]


def flat(value: float, side: int = SIDE) -> torch.Tensor:
    """Two evenly gray photographs."""
    return torch.full((2, 1, side, side), value)


@pytest.fixture(scope="module")
def photographs() -> torch.Tensor:
    """Color, uint8 (24,3,SIDE,SIDE)."""
    return torch.from_numpy(np.stack([pixels(n, SIDE, SIDE) for n in range(24)])).permute(0, 3, 1, 2).contiguous()


@pytest.fixture(scope="module")
def gray(photographs) -> torch.Tensor:
    """Two of them, 0 to 1."""
    return photographs[:2, 1:2].float() / 255


# --- noise ---------------------------------------------------------------------------------------------------------


def test_numbers_of_a_photograph_depend_on_seed_number_and_stream_alone():
    whole = noise.uniforms(3, np.arange(1000, 2000), ["a", "b"], 4)
    assert whole.shape == (1000, 2, 4)
    assert np.array_equal(whole[400:407], noise.uniforms(3, np.arange(1400, 1407), ["a", "b"], 4))
    assert np.array_equal(whole[:, 1:, :2], noise.uniforms(3, np.arange(1000, 2000), ["b"], 2))
    for other in (noise.uniforms(4, np.arange(1000, 2000), ["a", "b"], 4), whole[1:], whole[:, 1:], whole[:, :, 1:]):
        same = whole[: other.shape[0], : other.shape[1], : other.shape[2]]
        assert abs(np.corrcoef(same.ravel(), other.ravel())[0, 1]) < 0.1
    assert whole.min() >= 0
    assert whole.max() < 1
    assert abs(whole.mean() - 0.5) < 0.02
    assert abs(whole.std() - 12**-0.5) < 0.01
    assert noise.uniforms(2**63 - 1, np.array([2**40]), ["a"], 1).shape == (1, 1, 1)


def test_hashes_are_those_of_their_definition():
    """In Python's integers, which have no width."""

    def right(key: int, index: int) -> int:
        bits = (index * 0x9E3779B1 + key) % 2**32
        bits = (bits ^ bits >> 16) * 0x21F0AAAD % 2**32
        bits = (bits ^ bits >> 15) * 0x735A2D97 % 2**32
        return bits ^ bits >> 15

    keys = [0, 1, 2**32 - 1]
    assert noise.hashed(torch.tensor(keys), 300).tolist() == [[right(key, i) for i in range(300)] for key in keys]


def test_white_noise_is_even_and_its_pixels_know_nothing_of_each_other():
    field = noise.white(KEY, 256)
    assert field.shape == (2, 1, 256, 256)
    assert (field.min(), field.max()) == (-1, 1)
    assert abs(field.mean()) < 0.01
    assert abs(field.std() - 3**-0.5) < 0.01
    for move in ((0, 1), (1, 0), (1, 1), (0, 4), (16, 0)):
        assert abs((field * field.roll(move, (-2, -1))).mean()) < 0.01
    assert abs((field[0] * field[1]).mean()) < 0.01


def test_clouds_are_smooth_and_as_wide_as_asked():
    field = noise.clouds(KEY, 128, 4)
    assert field.shape == (2, 1, 128, 128)
    assert field.abs().max() < 1
    assert 0.1 < field.std() < 0.5
    assert field.diff(dim=-1).abs().max() < 0.08
    crossings = [(noise.clouds(KEY, 128, cells).diff(dim=-1).sign().diff(dim=-1) != 0).sum() for cells in (4, 16)]
    assert crossings[1] > 2 * crossings[0]


# --- parts ---------------------------------------------------------------------------------------------------------


def test_exposed_is_the_weighted_mean_of_light():
    rgb = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 90, 90], [200, 100, 50]], dtype=torch.uint8)
    weights = torch.tensor([[0.1, 0.6, 0.3]]).expand(5, 3)
    gray = film.exposed(rgb[:, :, None, None].expand(5, 3, 8, 8), weights)
    assert gray.shape == (5, 1, 8, 8)
    mixed = (0.1 * (200 / 255) ** 2.2 + 0.6 * (100 / 255) ** 2.2 + 0.3 * (50 / 255) ** 2.2) ** (1 / 2.2)
    expected = torch.tensor([0.1 ** (1 / 2.2), 0.6 ** (1 / 2.2), 0.3 ** (1 / 2.2), 90 / 255, mixed])
    assert torch.allclose(gray[:, 0, 3, 5], expected, atol=1e-5)


def test_exposure_makes_the_mean_color_as_light_as_it_looks():
    rgb = torch.tensor([[[200, 100, 50]], [[90, 90, 90]], [[0, 0, 255]], [[255, 255, 0]]], dtype=torch.uint8)
    rgb = rgb.mT[..., None].expand(4, 3, 8, 8).contiguous()
    weights = torch.tensor([[0.1, 0.3, 0.6]]).expand(4, 3)
    longer = film.exposure(rgb, weights)
    light = [((value + 1) / 256) ** 2.2 for value in (200, 100, 50)]
    seen, taken = (sum(w * x for w, x in zip(by, light)) for by in ((0.2126, 0.7152, 0.0722), (0.1, 0.3, 0.6)))
    assert longer[:, 0].tolist() == pytest.approx([seen / taken, 1, 0.5, 0.9278 / 0.4], rel=1e-3)
    assert film.exposed(rgb, 9 * weights).max() == 1
    made = film.exposed(rgb, weights * longer)[0]
    assert made.mean() == pytest.approx(seen ** (1 / 2.2), abs=0.01)


def test_films_have_the_sensitivities_of_their_families():
    drawn = noise.uniforms(0, np.arange(4000), ["film"], 4)[:, 0]
    weights = old_film.film_weights(drawn)
    assert np.allclose(weights.sum(1), 1)
    assert weights.min() > 0
    edges = np.cumsum([often for often, *_ in old_film.FILMS])
    assert edges[-1] == pytest.approx(1)
    blue, ortho, pan, eye = np.split(weights[drawn[:, 0].argsort()], np.searchsorted(np.sort(drawn[:, 0]), edges[:-1]))
    assert blue[:, 2].min() > 0.68
    assert ortho[:, 0].max() < 0.15
    assert ortho[:, 1:].min() > 0.25
    assert pan.min() > 0.1
    assert eye[:, 1].min() > 0.45
    assert len(blue) / 4000 == pytest.approx(old_film.FILMS[0][0], abs=0.02)


def test_blur_is_its_kernel_and_keeps_even_gray():
    point = flat(0)
    point[:, :, 20, 30] = 1
    blurred = film.blur(point, KEY, *one(0.25))
    kernel = torch.tensor([0.25, 0.5, 0.25])
    assert torch.allclose(blurred[0, 0, 19:22, 29:32], kernel[:, None] * kernel)
    assert blurred.sum() == pytest.approx(2)
    assert film.blur(point, KEY, *one(-0.2))[0, 0, 20, 30] == pytest.approx(1.4**2)  # sharpens
    assert torch.allclose(film.blur(flat(0.3), KEY, *one(0.3)), flat(0.3))


def test_halation_spreads_the_light_of_highlights_alone():
    dark, lamp = flat(0.2), flat(0.2)
    lamp[:, :, 28:36, 28:36] = 1
    assert torch.equal(film.halation(dark, KEY, *one(0.5)), dark)
    glow = film.halation(lamp, KEY, *one(0.5)) - lamp
    assert glow.min() == 0
    assert glow[0, 0, 26, 32] > glow[0, 0, 22, 32] > glow[0, 0, 18, 32] > 0
    assert glow[0, 0, 5, 5] == 0
    assert glow.max() < 0.5 * 0.8


def test_curve_keeps_black_and_white_and_presses_shadows_and_highlights():
    ramp = torch.linspace(0, 1, SIDE).expand(2, 1, SIDE, SIDE)
    assert torch.allclose(film.curve(ramp, KEY, *one(1, 0, 0)), ramp, atol=1e-5)
    assert torch.allclose(film.curve(ramp, KEY, *one(1.6, 0, 0)), ramp**1.6, atol=1e-5)
    assert film.curve(flat(0.5), KEY, *one(1, 1, 0)).mean() == pytest.approx(1 / 3, abs=1e-5)  # 0.25 * 2 / 1.5
    assert film.curve(flat(0.5), KEY, *one(1, 0, 1)).mean() == pytest.approx(2 / 3, abs=1e-5)
    bent = film.curve(ramp, KEY, *one(0.7, 0.4, 0.5))[0, 0, 0]
    assert (bent.diff() > 0).all()
    assert (bent[0].item(), bent[-1].item()) == pytest.approx((0, 1), abs=1e-5)
    assert film.curve(flat(-0.1), KEY, *one(0.6, 0, 0)).isfinite().all()


def test_vignette_darkens_with_the_square_of_the_distance():
    dark = film.vignette(flat(0.8), KEY, *one(0.5, 0, 0))[0, 0]
    middle, corner = dark[SIDE // 2, SIDE // 2], dark[0, 0]
    assert middle == pytest.approx(0.8, abs=1e-3)
    assert corner == pytest.approx(0.8 * (1 - 0.5 * (1 - 1 / SIDE) ** 2), abs=1e-5)
    assert torch.allclose(dark, dark.flip(0))
    assert torch.allclose(dark, dark.T)
    moved = film.vignette(flat(0.8), KEY, *one(0.5, 0.3, 0))[0, 0]
    assert moved[SIDE // 2, -1] > moved[SIDE // 2, 0]


@pytest.mark.parametrize("clump", [0, 0.3])
def test_grain_has_its_deviation_and_is_strongest_in_midtones(clump):
    for level, share in ((0.5, 1), (0, 0.25), (1, 0.25)):
        noisy = film.grain(flat(level, 256), KEY, *one(0.04, clump))
        assert noisy.std() == pytest.approx(0.04 * share, rel=0.03)
        assert noisy.mean() == pytest.approx(level, abs=1e-3)
    noisy = film.grain(flat(0.5, 256), KEY, *one(0.04, clump)) - 0.5
    together = (noisy[..., 1:] * noisy[..., :-1]).mean() / noisy.var()
    w, rest = clump, 1 - 2 * clump
    assert together == pytest.approx(2 * w * rest / (rest**2 + 2 * w**2), abs=0.02)
    assert not torch.equal(noisy[0], noisy[1])


def test_fading_goes_unevenly_to_its_level():
    faded = film.fading(flat(0.1), KEY, *one(0.5, 0.8))
    assert faded.min() >= 0.1
    assert faded.max() <= 0.1 + 0.5 * 0.7 + 1e-6
    assert 0.02 < faded.std() < 0.2
    assert faded.diff(dim=-1).abs().max() < 0.03
    assert torch.allclose(film.fading(flat(0.8), KEY, *one(0.5, 0.8)), flat(0.8))


def test_levels_lift_black_and_dull_white():
    for level, expected in ((0, 0.2), (0.5, 0.5), (1, 0.8)):
        assert film.levels(flat(level), KEY, *one(0.2, 0.8)).mean() == pytest.approx(expected)


def test_oval_frames_with_its_level():
    framed = film.oval(flat(0.5), KEY, *one(0.95, 0.8, 0.9, 0.05))[0, 0]
    assert framed[SIDE // 2, SIDE // 2] == 0.5
    assert framed[0, 0] == pytest.approx(0.95)
    assert framed[SIDE // 2, 2] == pytest.approx(0.95)  # 0.92 of a half side left of the center
    assert framed[5, SIDE // 2] == 0.5  # 0.83 above it
    assert (framed == 0.5).float().mean() == pytest.approx(np.pi / 4 * 0.8 * 0.9, abs=0.03)


def test_border_is_as_wide_as_asked_and_leaves_the_window():
    framed = film.border(flat(0.5), KEY, *one(0.9, 0.125, 0.5, 0, 0, 0))[0, 0]
    row, column = framed[SIDE // 2], framed[:, SIDE // 2]
    assert torch.allclose(row[:6], torch.tensor(0.9))
    assert (row[6:-2] == 0.5).all()
    assert torch.allclose(row[-2:], torch.tensor(0.9))
    assert torch.allclose(column[:4], torch.tensor(0.9))
    assert (column[4:-4] == 0.5).all()
    round_corner = film.border(flat(0.5), KEY, *one(0.9, 0.125, 0, 0, 0.5, 0))[0, 0]
    assert round_corner[6, 6] == pytest.approx(0.9)
    assert round_corner[32, 5] == 0.5
    ragged = film.border(flat(0.5), KEY, *one(0.9, 0.125, 0, 0, 0, 0.2))[0, 0]
    assert len(ragged[:, 4].unique()) > 2
    assert (ragged[16:-16, 16:-16] == 0.5).all()


@pytest.mark.parametrize("coarse", [0, 0.25])
def test_paper_multiplies_by_a_relief_of_its_deviation(coarse):
    textured = film.paper(flat(0.8, 256), KEY, *one(0.05, coarse))
    assert textured.mean() == pytest.approx(0.8, abs=1e-3)
    assert textured.std() == pytest.approx(0.8 * 0.05, rel=0.03)
    down, up = ((textured - 0.8) * (textured - 0.8).roll(move, (-2, -1)) for move in ((1, 1), (1, -1)))
    assert down.mean() < up.mean() - 0.3 * textured.var()  # lit from one corner
    assert film.paper(flat(0, 256), KEY, *one(0.05, coarse)).abs().max() == 0


def test_spots_stay_in_place():
    blot = film.spot(flat(0.5), KEY, *one(0.5, -0.5, 0.2, 0.9, 0.5, 0))[0, 0]
    assert blot[16, 48] == pytest.approx(0.7)
    assert (blot[40:, :] == 0.5).all()
    assert (blot[:, :24] == 0.5).all()
    ring = film.spot(flat(0.5), KEY, *one(0.5, -0.5, 0.3, 0.1, 0.5, 1))[0, 0]
    assert ring[16, 48] == 0.5
    assert ring.min() < 0.4


def test_dust_covers_its_share_of_the_pixels():
    dusty = film.dust(flat(0.5, 256), KEY, *one(0.01, 1, 0))
    assert set(dusty.unique().tolist()) == {0.5, 1.0}
    assert (dusty == 1).float().mean() == pytest.approx(0.01, rel=0.15)
    larger = film.dust(flat(0.5, 256), KEY, *one(0.01, 1, 0.3))
    assert (larger > 0.6).float().mean() > 0.03


def test_a_scratch_is_a_line_of_its_width_place_and_length():
    line = film.scratch(flat(0.5), KEY, *one(0, 1 / SIDE, 0, 1, -0.5, 1, 1, 1))[0, 0]
    rows = (line != 0.5).any(1).nonzero().flatten().tolist()
    assert rows == [32]
    columns = (line[32] != 0.5).nonzero().flatten()
    assert columns.min() >= 15
    assert columns.max() <= 48
    assert line.max() > 0.8
    upright = film.scratch(flat(0.5), KEY, *one(np.pi / 2, -1 / SIDE, 0, 1, -2, 4, 0, 1))[0, 0]
    assert ((upright - 0.5).abs() > 1e-3).any(0).nonzero().flatten().tolist() == [32]
    bent = film.scratch(flat(0.5), KEY, *one(0, 0, 0.2, 1, -2, 4, 1, 1))[0, 0]
    assert (bent != 0.5).any(1).sum() > 5


def test_a_fold_goes_from_side_to_side_and_shades_both():
    crease = film.fold(flat(0.5), KEY, *one(0, 0, 1, 1, 0.2))[0, 0]
    assert (crease.max(0).values > 0.6).float().mean() > 0.8
    assert crease[24:28].mean() < 0.5 < crease[36:40].mean()
    assert torch.allclose(crease[:20], torch.tensor(0.5))
    assert torch.allclose(crease[44:], torch.tensor(0.5))


@pytest.mark.parametrize("quality", [25, 60, 95])
def test_jpeg_is_what_libjpeg_makes_of_it(gray, quality):
    ours = (film.jpeg(gray, KEY, *one(quality)) * 255).round().clamp(0, 255)
    for mine, theirs in zip(ours, gray):
        file = io.BytesIO()
        Image.fromarray((theirs[0] * 255).round().to(torch.uint8).numpy()).save(file, "JPEG", quality=quality)
        difference = mine[0] - torch.from_numpy(np.array(Image.open(file))).float()
        assert difference.abs().mean() < 0.5  # libjpeg rounds halves away from 0
        assert (difference.abs() <= 2).float().mean() > 0.95


@pytest.mark.parametrize("name", old_film.PARTS)
def test_each_part_as_it_is_drawn_stays_in_range_and_changes_the_photograph(name, gray):
    part = old_film.PARTS[name]
    drawn = noise.uniforms(1, np.arange(64), [name], old_film.COUNT)[:, 0]
    values = [torch.from_numpy(draw(drawn[:, i])).float()[:, None, None, None] for i, draw in enumerate(part.draws)]
    many = gray[:1].expand(64, 1, SIDE, SIDE)
    made = part.apply(many, torch.arange(64), *values)
    assert made.shape == many.shape
    assert made.isfinite().all()
    assert made.min() > -0.5
    assert made.max() < 1.6
    assert (made != many).any()
    assert 0 < part.decent <= part.worn <= 1


# --- all of it -----------------------------------------------------------------------------------------------------


def test_a_photographs_film_depends_on_its_number_alone(photographs):
    gray = photographs[:, 1:2].contiguous()
    whole = old_film.old_film(gray, photographs, 0.7, 5, 100)
    for size in (1, 5, 24):
        parts = [
            old_film.old_film(gray[at : at + size], photographs[at : at + size], 0.7, 5, 100 + at)
            for at in range(0, 24, size)
        ]
        assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(whole, old_film.old_film(gray, photographs, 0.7, 6, 100))
    assert not torch.equal(whole, old_film.old_film(gray, photographs, 0.7, 5, 124))


def test_large_batches_are_worked_on_in_pieces_that_show_nowhere(photographs, monkeypatch):
    gray = photographs[:, 1:2].contiguous()
    whole = old_film.old_film(gray, photographs, 1, 0, 0)
    monkeypatch.setattr(old_film, "CHUNK", 3 * SIDE * SIDE)
    assert torch.equal(old_film.old_film(gray, photographs, 1, 0, 0), whole)


def test_the_share_of_photographs_is_made_old_and_the_others_stay(photographs):
    rgb = photographs[:1, :, ::8, ::8].expand(2000, 3, 8, 8)
    gray = torch.randint(0, 256, (2000, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    before = gray.clone()
    changed = (old_film.old_film(gray, rgb, 0.3, 0, 0) != gray).flatten(1).any(1)
    assert torch.equal(gray, before)
    assert changed.float().mean() == pytest.approx(0.3, abs=0.03)
    assert (old_film.old_film(gray, rgb, 1, 0, 0) != gray).flatten(1).any(1).all()
    assert torch.equal(old_film.old_film(gray, rgb, 0, 0, 0), gray)


def test_most_old_photographs_still_show_what_was_there(photographs):
    rgb = photographs.repeat(8, 1, 1, 1)
    plain = rgb.float().mean(1).flatten(1)
    made = old_film.old_film(rgb[:, 1:2].contiguous(), rgb, 1, 0, 0).float().flatten(1)
    alike = [np.corrcoef(one, other)[0, 1] for one, other in zip(plain.numpy(), made.numpy())]
    assert np.median(alike) > 0.9
    assert np.mean(np.array(alike) > 0.7) > 0.9


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_on_a_gpu_old_film_is_the_same_and_nothing_waits(photographs):
    gray = photographs[:, 1:2].contiguous()
    right = old_film.old_film(gray, photographs, 0.7, 5, 100)
    there = [tensor.cuda() for tensor in (gray, photographs)]
    old_film.old_film(*there, 0.7, 5, 100)  # brings what is brought once
    torch.cuda.set_sync_debug_mode("error")
    try:
        made = old_film.old_film(*there, 0.7, 5, 100)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    difference = (made.cpu().int() - right.int()).abs()
    assert difference.max() <= 8  # where a coefficient of a JPEG rounds the other way
    assert (difference <= 1).float().mean() > 0.999
    parts = [old_film.old_film(*(tensor[at : at + 5] for tensor in there), 0.7, 5, 100 + at) for at in range(0, 24, 5)]
    assert torch.equal(torch.cat(parts), made)


def test_batches_are_on_old_film_wherever_the_stream_is_taken_up_and_validation_never(tmp_path):
    paths = write_jpegs(tmp_path, 6, height=80, width=96)
    options = Options(
        size=64, load_size=80, flip=True, equalize="none", blur="none", loader="host", cache="off", batch=4
    )
    plain, old = (list(islice(batches(replace(options, old_film=share), paths, "cpu"), 4)) for share in (0, 0.5))
    assert all(torch.equal(one[1], other[1]) for one, other in zip(plain, old))  # the target
    same = torch.cat([(one[0] == other[0]).flatten(1).all(1) for one, other in zip(plain, old)])
    assert 0 < same.sum() < 16
    resumed = list(islice(batches(replace(options, old_film=0.5), paths, "cpu", 8), 2))
    assert all(torch.equal(one[0], other[0]) for one, other in zip(old[2:], resumed))
    single = list(islice(batches(replace(options, old_film=0.5, batch=1), paths, "cpu"), 16))
    assert torch.equal(torch.cat([one for one, _ in old]), torch.cat([one for one, _ in single]))
    validation = [load(replace(options, old_film=share), paths)[0] for share in (0, 1)]
    assert torch.equal(*validation)


def test_the_sheet_of_examples_shows_every_part(tmp_path):
    shown = {part for part, _ in old_film_sheet.PARTS.values()}
    assert shown == {part.apply for part in old_film.PARTS.values()}
    old_film_sheet.main(old_film_sheet.Arguments(tmp_path / "sheet.jpg"))
    with Image.open(tmp_path / "sheet.jpg") as made, Image.open(old_film_sheet.Arguments().out) as committed:
        assert made.size == committed.size
        assert np.abs(np.array(made, np.int16) - np.array(committed, np.int16)).mean() < 1
