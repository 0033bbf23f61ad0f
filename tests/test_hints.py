"""Colors given at some places: as a file, as planes, drawn at random in training, and followed."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from recolor_fast import colorize, train
from recolor_fast.artefact import hints, runtime
from recolor_fast.artefact.graphs import Chroma, Hints
from recolor_fast.artefact.hints import Given, Hint
from recolor_fast.coloring import palette
from recolor_fast.data import simulated_hints as simulated
from recolor_fast.networks.generators import build_generator, pyramid, without_hints
from recolor_fast.runs import learned
from tests import artefacts, trainings
from tests.photographs import write_jpegs
from tests.test_lite import TINY

HINTED = replace(TINY, hints=30)


# --- as planes -----------------------------------------------------------------------------------------------------


def test_a_hint_covers_the_pixels_whose_middles_are_within_its_radius():
    planes = hints.draw([Hint(50, 20, "#ff0000", 10)], 100, 40, 20)
    rows, columns = np.nonzero(planes[2])
    middles_x, middles_y = (np.arange(20) + 0.5) * 5, (np.arange(20) + 0.5) * 2
    assert sorted(set(columns)) == [i for i in range(20) if abs(middles_x[i] - 50) <= 10]
    assert sorted(set(rows)) == [i for i in range(20) if abs(middles_y[i] - 20) <= 10]
    assert len(rows) == len(set(rows)) * len(set(columns))
    np.testing.assert_allclose(planes[:2, rows[0], columns[0]], (80.1, 67.2), atol=0.1)  # CIE Lab of sRGB red
    assert not planes[:2, planes[2] == 0].any()


@pytest.mark.parametrize("place", [(0, 0), (99.9, 39.9), (33, 7)])
def test_a_hint_of_no_extent_is_the_one_pixel_it_lies_in(place):
    planes = hints.draw([Hint(*place, "#00ff00", 0)], 100, 40, 20)
    assert np.argwhere(planes[2]).tolist() == [[int(place[1] / 2), int(place[0] / 5)]]


def test_of_hints_that_overlap_the_last_counts():
    planes = hints.draw([Hint(5, 5, "#ff0000", 3), Hint(5, 5, "#0000ff", 1)], 10, 10, 10)
    assert planes[0, 5, 5] == pytest.approx(hints.ab("#0000ff")[0], abs=1e-3)
    assert planes[0, 3, 3] == pytest.approx(hints.ab("#ff0000")[0], abs=1e-3)


def test_a_hint_outside_is_refused():
    with pytest.raises(ValueError, match="hint at 100, 3: outside the photograph of 100 x 40 pixels"):
        hints.draw([Hint(100, 3, "#ff0000")], 100, 40, 20)


def test_a_color_comes_back_from_its_lab():
    for text in ("#c08040", "#000000", "#ffffff", "#123456"):
        r, g, b = (np.array([[[*bytes.fromhex(text[1:])]]], np.uint8)[0, 0] / 255).tolist()
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (r, g, b)]
        y = np.dot([0.212671, 0.715160, 0.072169], linear)
        lightness = 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y
        back = bytes.fromhex(hints.color(lightness, *hints.ab(text))[1:])
        assert max(abs(one - other) for one, other in zip(back, bytes.fromhex(text[1:]))) <= 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "expected {"),
        ("{", "not JSON: Expecting property name"),
        ('{"a.jpg": [{"x": 1, "y": 2}]}', "expected x, y, color and perhaps radius"),
        ('{"a.jpg": [{"x": 1, "y": 2, "color": "red"}]}', "color 'red': expected #rrggbb"),
        ('{"a.jpg": [{"x": "1", "y": 2, "color": "#ff0000"}]}', "as numbers of pixels"),
        ('{"a.jpg": [{"x": NaN, "y": 2, "color": "#ff0000"}]}', "as numbers of pixels"),
        ('{"a.jpg": [{"x": 1, "y": 2, "color": "#ff0000", "radius": -1}]}', "as numbers of pixels"),
        ('{"a.jpg": 5}', "expected a list of at most 1000 hints"),
    ],
)
def test_a_file_of_hints_that_cannot_be_used_is_named(text, reason, tmp_path):
    path = tmp_path / "hints.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"hints\.json") as caught:
        hints.read(path)
    assert reason in str(caught.value)


def test_hints_that_are_no_file_end_the_command_in_one_line(tmp_path, capsys):
    gray_file(tmp_path / "a.png")
    command = [str(tmp_path / "a.png"), str(tmp_path / "b.png"), "--hints"]
    for path, reason in ((tmp_path / "none.json", "No such file or directory"), (tmp_path, "Is a directory")):
        assert colorize.main([*command, str(path)]) == 2
        assert capsys.readouterr().err == f"error: hints {path}: cannot be read ({reason}); give a JSON file\n"


def test_hints_are_found_by_the_longest_name_that_a_path_ends_with(tmp_path):
    one, other = (Hint(1, 1, "#ff0000"),), (Hint(2, 2, "#00ff00"),)
    given = Given({"a.jpg": one, "sub/a.jpg": other, "c.jpg": one})
    assert given.of(tmp_path / "sub" / "a.jpg") == other
    assert given.of(tmp_path / "a.jpg") == one
    assert given.of(tmp_path / "xa.jpg") == ()
    assert given.left() == ["c.jpg"]
    assert given.digest(tmp_path / "a.jpg") != given.digest(tmp_path / "sub" / "a.jpg")
    assert given.digest(tmp_path / "b.jpg") == ""


# --- drawn at random -----------------------------------------------------------------------------------------------


def test_points_drawn_have_the_mean_color_of_their_square_and_all_else_is_zero():
    torch.manual_seed(1)
    real = torch.rand(64, 2, 32, 32) * 2 - 1
    drawn = simulated.draw(real, 1)  # one point: no overlap
    mask = drawn[:, 2]
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert not (drawn[:, :2] * (1 - mask[:, None])).any()
    shown = [number for number in range(64) if 0 < mask[number].sum() < 32 * 32]
    assert len(shown) > 40
    sides = set()
    for number in shown:
        rows, columns = np.nonzero(mask[number].numpy())
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert len(rows) == height * width
        sides |= {height, width}
        square = real[number, :, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        expected = square.mean((1, 2))
        np.testing.assert_allclose(drawn[number, :2, rows[0], columns[0]], expected, atol=1e-6)
    assert max(sides) == simulated.LARGEST
    assert min(sides) == 1


def test_the_number_of_points_is_geometric_and_some_photographs_are_given_whole():
    torch.manual_seed(2)
    drawn = simulated.draw(torch.full((4000, 2, 8, 8), 0.5), 30)[:, 2].flatten(1).mean(1)
    assert (drawn == 0).float().mean() == pytest.approx(1 / simulated.MEAN_POINTS, abs=0.02)
    real = torch.rand(4000, 2, 4, 4)
    given = simulated.draw(real, 30)
    whole = (given[:, :2] == real).all(3).all(2).all(1).float().mean()
    assert whole == pytest.approx(simulated.WHOLE, abs=0.006)


def test_what_is_drawn_depends_on_the_seed_alone():
    real = torch.rand(8, 2, 16, 16)
    drawn = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        drawn.append(simulated.draw(real, 30))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


# --- followed ------------------------------------------------------------------------------------------------------


def test_the_pyramid_has_the_mean_color_of_the_hints_in_each_cell():
    given = torch.zeros(1, 3, 64, 64)
    given[0, :, 3, 5] = torch.tensor([0.5, -0.25, 1])
    given[0, :, 2, 40] = torch.tensor([0.1, 0.2, 1])
    maps = pyramid(given)
    assert [one.shape[2] for one in maps] == [2, 4, 8, 16, 32]
    torch.testing.assert_close(maps[0][0, :, 0, 0], torch.tensor([0.5, -0.25, 1]))
    torch.testing.assert_close(maps[0][0, :, 0, 1], torch.tensor([0.1, 0.2, 1]))
    torch.testing.assert_close(maps[4][0, :, 1, 2], torch.tensor([0.5, -0.25, 1]))
    assert [int(one[:, 2].sum()) for one in maps] == [2, 2, 2, 2, 2]
    assert not maps[0][0, :, 1].any()


def test_a_generator_that_has_learned_nothing_of_hints_yet_paints_as_the_one_it_starts_from():
    torch.manual_seed(0)
    plain = build_generator(TINY).eval()
    hinted = build_generator(HINTED).eval()
    missing = hinted.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert {name.split(".")[0] for name in missing} == {"hinted"}
    source = torch.rand(2, 1, 64, 64) * 2 - 1
    given = torch.cat((source, simulated.draw(torch.rand(2, 2, 64, 64), 30)), 1)
    with torch.no_grad():
        expected = plain(source)
        assert torch.equal(hinted(source), expected)
        assert torch.equal(hinted(given), expected)


def test_without_hints_it_is_the_same_function_of_fewer_operations():
    torch.manual_seed(0)
    hinted = build_generator(HINTED).eval()
    for branch in hinted.hinted:
        torch.nn.init.normal_(branch[2].weight, 0, 0.3)
        torch.nn.init.normal_(branch[0].bias)
        torch.nn.init.normal_(branch[2].bias)
    options, plain = without_hints(HINTED, hinted)
    source = torch.rand(2, 1, 64, 64) * 2 - 1
    assert options.hints == 0
    assert not plain.training
    with torch.no_grad():
        torch.testing.assert_close(plain(source), hinted(source))
        assert not torch.allclose(plain(source), build_generator(TINY).eval()(source), atol=1e-2)
    assert without_hints(options, plain) == (options, plain)


def test_a_place_gets_the_color_asked_for_and_what_is_beyond_an_edge_none_of_it():
    torch.manual_seed(0)
    graph = Hints(build_generator(HINTED).eval(), "lab", 1.15).eval()
    gray = torch.full((1, 1, 64, 64), 180, dtype=torch.uint8)
    gray[..., 32:] = 90
    planes = torch.from_numpy(hints.draw([Hint(29, 30, "#b06080", 1)], 64, 64, 64))[None]
    with torch.no_grad():
        free, asked = (graph(gray, one).float() - 128 for one in (torch.zeros(1, 3, 64, 64), planes))
        plain = Chroma(graph.generator, "lab", 1.15)(gray).float() - 128
    assert torch.equal(free, plain)
    moved = (asked - free).abs().sum(1)[0]
    # Cb, Cr of a color of these a and b at gray 180
    lightness = 116 * (((180 / 255 + 0.055) / 1.055) ** 2.4) ** (1 / 3) - 16
    rgb = np.array([*bytes.fromhex(hints.color(lightness, *hints.ab("#b06080"))[1:])], float)
    luma = rgb @ [0.299, 0.587, 0.114]
    wanted = ((rgb[2] - luma) / 1.772, (rgb[0] - luma) / 1.402)
    assert np.abs(asked[0, :, 30, 29].numpy() - wanted).max() <= 2
    assert moved[30, 26:31].min() > 10
    assert moved[:, 32:].max() <= 1  # 3 pixels away, but 90 levels darker
    assert moved[:10].max() <= 1


def test_hints_are_learned_from_a_run_without_them_and_a_resumed_run_is_the_same(tmp_path):
    write_jpegs(tmp_path / "photographs", 8, 64)
    plain = "--preset pix2pix-lab --generator lite0 --generator-norm none --width 4 --size 64 --init he --critic"
    flags = [
        *plain.split(),
        "",
        *"--encoder-weights random --val-per-class 2 --per-class 6 --save-every 8 --log-every 4 --batch 2".split(),
    ]
    trainings.run(tmp_path / "photographs", tmp_path / "runs", *flags, "--images", 8, "--name", "plain")
    start = ["--start", tmp_path / "runs" / "plain", "--hints", 30, "--freeze-encoder", 1]
    for name, lengths in (("whole", (16,)), ("parts", (8, 16))):
        for length in lengths:
            more = [*start, "--images", length, "--name", name, "--resume"]
            trainings.run(tmp_path / "photographs", tmp_path / "runs", *flags, *more)
    plain, whole, parts = (learned.trained(tmp_path / "runs" / name) for name in ("plain", "whole", "parts"))
    states = [one.generator.state_dict() for one in (plain, whole, parts)]
    assert all(torch.equal(states[1][name], states[2][name]) for name in states[1])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0] if name.startswith("encoder."))
    assert states[1]["hinted.0.2.weight"].abs().max() > 0


@pytest.mark.parametrize("flags", [["--generator", "unet"], ["--generator", "lite0", "--space", "rgb"]])
def test_generators_that_follow_no_hints_are_refused(flags, tmp_path, capsys):
    write_jpegs(tmp_path, 2, 64)
    common = ["--preset", "pix2pix-lab", "--size", "64", "--data", str(tmp_path), "--device", "cpu", "--dry-run"]
    common += ["--generator-norm", "none", "--generator-last-norm", "", "--critic", "", "--hints", "30"]
    assert train.main([*common, *flags]) == 2
    assert "only generators lite0 and lite2 in space lab follow hints" in capsys.readouterr().err


# --- given to the tools --------------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path):
    return artefacts.obedient(tmp_path / "obedient.onnx")


def gray_file(path, sides=(64, 64)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", sides, 128).save(path)
    return path


def test_the_command_colors_where_hints_say_and_nowhere_else(model, tmp_path, capsys):
    for name in ("a.png", "sub/b.png", "c.png"):
        gray_file(tmp_path / "in" / name)
    given = {"b.png": [{"x": 32, "y": 32, "color": "#808000", "radius": 8}], "typo.png": []}
    (tmp_path / "hints.json").write_text(json.dumps(given))
    command = [str(tmp_path / "in"), str(tmp_path / "out"), "--model", str(model), "--provider", "cpu"]
    assert colorize.main([*command, "--hints", str(tmp_path / "hints.json")]) == 0
    assert "hints without effect: typo.png (no file of that name)\n" in capsys.readouterr().err
    found = {name: np.array(Image.open(tmp_path / "out" / name)) for name in ("a.png", "sub/b.png", "c.png")}
    for name in ("a.png", "c.png"):
        assert (found[name] == 128).all()
    colored = found["sub/b.png"]
    assert (colored[2:20, 2:20] == 128).all()
    assert np.ptp(colored[32, 32]) > 20

    # the same again is done before; with other hints it is told that it was made differently
    assert colorize.main([*command, "--hints", str(tmp_path / "hints.json")]) == 0
    given["b.png"][0]["color"] = "#008080"
    (tmp_path / "hints.json").write_text(json.dumps(given))
    assert colorize.main([*command, "--hints", str(tmp_path / "hints.json")]) == 3
    assert "made differently: hints" in capsys.readouterr().err


def test_hints_of_a_photograph_in_color_say_why_they_had_no_effect(model, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    pixels = np.dstack([np.tile(ramp, (64, 1)), np.tile(ramp[:, None], (1, 64)), np.full((64, 64), 90, np.uint8)])
    Image.fromarray(pixels).save(tmp_path / "in" / "red.png")
    (tmp_path / "hints.json").write_text('{"red.png": [{"x": 3, "y": 0, "color": "#808000"}], "d.png": []}')
    command = [str(tmp_path / "in"), str(tmp_path / "out"), "--model", str(model), "--provider", "cpu"]
    assert colorize.main([*command, "--hints", str(tmp_path / "hints.json")]) == 0
    told = "warning: hints without effect: d.png (no file of that name), red.png (in color)\n"
    assert told in capsys.readouterr().err


def test_hints_outside_fail_the_photograph_and_no_other(model, tmp_path, capsys):
    for name in ("a.png", "b.png"):
        gray_file(tmp_path / "in" / name)
    (tmp_path / "hints.json").write_text('{"a.png": [{"x": 64, "y": 0, "color": "#808000"}]}')
    command = [str(tmp_path / "in"), str(tmp_path / "out"), "--model", str(model), "--provider", "cpu"]
    assert colorize.main([*command, "--hints", str(tmp_path / "hints.json")]) == 3
    assert "outside the photograph of 64 x 64 pixels" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == ["b.png"]


def test_a_model_that_follows_no_hints_is_refused(tmp_path, capsys):
    plain = artefacts.constant(tmp_path / "plain.onnx")
    gray_file(tmp_path / "a.png")
    (tmp_path / "hints.json").write_text('{"a.png": []}')
    command = [str(tmp_path / "a.png"), str(tmp_path / "b.png"), "--model", str(plain), "--provider", "cpu"]
    assert colorize.main([*command, "--hints", str(tmp_path / "hints.json")]) == 2
    printed = capsys.readouterr().err
    assert "it follows none" in printed
    assert "0 colored" not in printed
    with pytest.raises(ValueError, match="follows no hints"):
        colorize.Colorizer(plain, "cpu")(np.full((8, 8), 128, np.uint8), [Hint(1, 1, "#ff0000")])


def test_a_colorizer_takes_hints_with_anything_it_colors(model, tmp_path):
    colorizer = colorize.Colorizer(model, "cpu")
    path = gray_file(tmp_path / "a.png")
    given = [{"x": 32, "y": 32, "color": "#808000", "radius": 8}]
    array = colorizer(np.array(Image.open(path)), given)
    assert np.ptp(array[32, 32]) > 20
    assert (array[:20] == 128).all()
    assert np.array_equal(np.array(colorizer(path, given)), array)
    assert np.array_equal(np.array(colorizer(Image.open(path), given)), array)
    assert (np.array(colorizer(path)) == 128).all()
    records = colorizer.folder(path, tmp_path / "out.png", hints={"a.png": [Hint(32, 32, "#808000", 8)]})
    assert [record.status for record in records] == ["ok"]
    assert np.array_equal(np.array(Image.open(tmp_path / "out.png")), array)


def test_a_colorizer_keeps_its_file_wherever_the_process_goes(model, tmp_path, monkeypatch):
    photographs = [gray_file(tmp_path / name) for name in ("a.png", "b.png")]
    monkeypatch.chdir(tmp_path)
    colorizer = colorize.Colorizer(model.name, "cpu", threads=2)
    monkeypatch.chdir("/")
    records = colorizer.folder(photographs, tmp_path / "out")  # loaded anew: an inference has one thread now
    assert [record.status for record in records] == ["ok", "ok"]


def test_hints_of_a_turned_photograph_are_of_the_upright_one(model, tmp_path):
    photograph = Image.new("L", (64, 32), 128)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: 32 x 64 upright
    photograph.save(tmp_path / "a.png", exif=exif)
    colored = np.array(colorize.Colorizer(model, "cpu")(tmp_path / "a.png", [Hint(16, 60, "#808000", 3)]))
    assert colored.shape[:2] == (64, 32)
    assert np.ptp(colored[60, 16]) > 20
    assert (colored[:50] == 128).all()


def test_a_palette_has_the_colors_that_photographs_had_where_such_a_color_was_painted():
    random = np.random.default_rng(0)
    true = np.zeros((40, 40, 3), np.uint8)
    true[:] = (200, 60, 60)
    true[:, 20:] = (60, 60, 200)
    dull, green = np.full((40, 40, 3), 110, np.uint8), np.full((40, 40, 3), (60, 160, 60), np.uint8)
    noise = random.integers(0, 3, true.shape).astype(np.uint8)
    table = palette.learn([(true + noise, dull)] * 3 + [(true[:, ::-1] // 2 + noise, green)] * 3)
    number = str(palette.bins(palette.to_lab(dull)[0, :1])[0])
    ab = palette.to_lab(true)[0, [0, -1], 1:]
    found = np.array(table[number], float)
    assert len(found) == palette.COLORS
    for color in ab:
        assert np.hypot(*(found - color).T).min() < 6
    assert table == palette.learn([(true + noise, dull)] * 3 + [(true[:, ::-1] // 2 + noise, green)] * 3)
    with pytest.raises(ValueError, match="no photographs to learn from"):
        palette.learn([])


def test_bins_tell_hues_chromas_and_lightnesses_apart():
    angles = np.radians(np.arange(8) * 45 + 22.5)
    colors = [(light, r * math.cos(t), r * math.sin(t)) for light in (20, 50, 80) for r in (15, 40) for t in angles]
    colors += [(light, 3, -2) for light in (20, 50, 80)]
    assert sorted(palette.bins(np.array(colors)).tolist()) == list(range(51))


def test_a_palette_begins_with_what_the_model_paints_and_its_colors_are_apart():
    colorizer = colorize.Colorizer(provider="cpu")
    gray = np.tile(np.linspace(60, 200, 96, dtype=np.uint8), (80, 1))
    found = colorizer.palette(gray, 30, 40)
    assert 3 <= len(found) <= 8
    follows = runtime.load(runtime.shipped("hints"), "cpu")
    painted = colorize.colorize(follows, gray)[40, 30]
    first = np.array([*bytes.fromhex(found[0][1:])])
    assert np.abs(first - painted).max() <= 16
    colors = [hints.ab(color) for color in found]
    assert min(math.dist(a, b) for i, a in enumerate(colors) for b in colors[:i]) > 6
    assert colorizer.palette(Image.fromarray(gray), 30, 40, 3) == found[:3]
    with pytest.raises(ValueError, match="outside the photograph"):
        colorizer.palette(gray, 96, 0)
