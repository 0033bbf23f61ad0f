"""The evaluation verb, end to end: runs, artefacts and folders on photographs made here."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2lab

from recolor_fast import colorize, evaluate, train
from recolor_fast.arguments.evaluate import Arguments
from recolor_fast.artefact import runtime
from recolor_fast.data.chosen import choose as choose_for_training
from recolor_fast.evaluation import judges, metrics, papers, report, systems
from recolor_fast.evaluation.chosen import Chosen, Photograph, choose, read, true_classes
from recolor_fast.evaluation.metrics import METRICS
from recolor_fast.options import Options, from_metadata
from recolor_fast.photographs import chroma, encoders, images
from recolor_fast.presets import PRESETS
from tests.artefacts import constant
from tests.photographs import pixels, write_jpegs
from tests.test_export import to_onnx

FIGURES = ("fig2_histograms", "fig5_side_by_side", "fig8_generator_loss", "fig9_critic_loss", "contact_sheet")
CPU = torch.device("cpu")
COUNT = 5


@pytest.fixture(scope="module", autouse=True)
def offline():
    """No test waits for a server, and none uses what a machine happens to have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judges, "missing", lambda term, file: "no server answers")
        patch.setattr(judges, "reachable", lambda url: False)
        patch.setattr(torch.hub, "get_dir", lambda: "no such folder")
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with `photographs` of two classes, and the run `r` with its artefact."""
    folder = tmp_path_factory.mktemp("evaluate")
    write_jpegs(folder / "photographs" / "train" / "n01440764", 6, height=80, width=96)
    write_jpegs(folder / "photographs" / "val" / "n01440764", 3, first=10, height=80, width=96)
    write_jpegs(folder / "photographs" / "val" / "n03888257", 2, first=20, height=70, width=70)
    arguments = "--preset pix2pix --size 64 --width 8 --images 6 --log-every 1 --samples 1 --device cpu --lpips off"
    where = ["--data", str(folder / "photographs"), "--runs", str(folder), "--name", "r"]
    assert train.main([*arguments.split(), *where]) == 0
    assert to_onnx.main([str(folder / "r"), "--out", str(folder / "exported.onnx")]) == 0
    return folder


@pytest.fixture(scope="module")
def colored(place) -> Path:
    """The photographs colored by the artefact, as a folder of PNGs at their own size."""
    artefact = runtime.load(place / "exported.onnx", "cpu")
    for path in sorted((place / "photographs" / "val").rglob("*.jpg")):
        target = place / "colored" / path.relative_to(place / "photographs" / "val").with_suffix(".png")
        target.parent.mkdir(parents=True, exist_ok=True)
        gray = images.gray(images.read_rgb(path.read_bytes()))
        encoders.write(target, colorize.colorize(artefact, gray), None, "PNG", 95)
    return place / "colored"


def run(place: Path, out: Path, *arguments: str) -> int:
    fixed = ["--data", str(place / "photographs"), "--size", "64", "--out", str(out), "--device", "cpu"]
    return evaluate.main([*fixed, *arguments])


@pytest.fixture(scope="module")
def out(place, colored, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "deep" / "evaluation"
    systems = (str(place / "r"), str(place / "exported.onnx"), f"files={colored}")
    assert run(place, folder, *systems, "--shown", "2") == 0
    return folder


@pytest.fixture(scope="module")
def found(out) -> dict:
    return json.loads((out / "metrics.json").read_text())


def test_the_last_line_is_the_folder(place, tmp_path, capsys):
    assert run(place, tmp_path / "e", "--limit", "2") == 0
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'e'}\n"
    assert "fig8_generator_loss.png is not drawn" in said.err
    assert not (tmp_path / "e" / "fig8_generator_loss.png").exists()
    systems = json.loads((tmp_path / "e" / "metrics.json").read_text())["systems"]
    assert list(systems) == ["gray", "sepia", "truth"]


def test_every_system_has_every_metric_or_a_reason(found):
    assert list(found["systems"]) == ["gray", "sepia", "r", "exported", "files", "truth"]
    for name, numbers in found["systems"].items():
        assert numbers.keys() == METRICS.keys()
        for metric, value in numbers.items():
            if "missing" in value:
                assert value.keys() == {"missing"}
                assert len(value["missing"]) > 10, (name, metric)
            else:
                assert value.keys() == {"mean", "low", "high"}
                assert np.isfinite([value["mean"], value["low"], value["high"]]).all()
    for name in ("r", "exported", "files"):
        present = {metric for metric, value in found["systems"][name].items() if "mean" in value}
        assert present >= {"psnr_rgb", "psnr_ab", "ssim", "js_a", "kl_b", "colorfulness_ratio"}


def test_the_protocol_says_what_the_numbers_depend_on(found, place):
    protocol = found["protocol"]
    assert (protocol["data"], protocol["split"], protocol["photographs"]) == ("photographs", "validation part", COUNT)
    assert (protocol["size"], protocol["seed"]) == (64, 0)
    assert len(protocol["files"]) == 64
    assert protocol["weights"] == {"lpips": None, "lpips_style_squeeze": None, "class": None, "inception": None}
    assert protocol["versions"].keys() >= {"torch", "torchmetrics", "numpy"}
    systems = protocol["systems"]
    assert systems["gray"] == {"kind": "baseline", "preset": None, "options": None, "images": None}
    assert systems["r"] == {**systems["exported"], "kind": "run"}
    assert (systems["r"]["preset"], systems["r"]["images"]) == ("pix2pix", 6)
    assert systems["files"]["kind"] == "folder"
    assert str(place) not in json.dumps(found)


def test_a_run_its_artefact_and_its_pictures_agree_within_rounding(found):
    for metric, value in found["systems"]["exported"].items():
        if "mean" in value:
            tolerance = 1e-3 if metric.startswith(("psnr", "ssim")) else 2e-2
            assert found["systems"]["r"][metric]["mean"] == pytest.approx(value["mean"], rel=tolerance), metric
    for metric in ("psnr_rgb", "psnr_ab", "ab_rmse", "ab_mae", "ssim"):  # colored at their own size, then the square
        ours, theirs = (found["systems"][name][metric]["mean"] for name in ("files", "exported"))
        assert ours == pytest.approx(theirs, rel=0.02), metric


def test_numbers_are_those_of_the_photographs(found, place):
    """The gray baseline by hand, from the files."""
    squares = []
    for path in sorted((place / "photographs" / "val").rglob("*.jpg")):
        truth = np.array(Image.open(path).resize((64, 64), Image.Resampling.BILINEAR))
        squares.append((rgb2lab(truth)[..., 1:] ** 2).mean())
    gray = found["systems"]["gray"]
    assert gray["ab_rmse"]["mean"] == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-3)
    assert gray["psnr_ab"]["mean"] == pytest.approx(np.mean(20 * np.log10(255 / np.sqrt(squares))), rel=1e-4)
    assert gray["colorfulness"]["mean"] == 0
    assert gray["chroma"]["mean"] == pytest.approx(0, abs=1e-4)
    assert gray["ab_rmse"]["low"] <= gray["ab_rmse"]["mean"] <= gray["ab_rmse"]["high"]
    truth = found["systems"]["truth"]
    ratio = found["systems"]["r"]["colorfulness"]["mean"] / truth["colorfulness"]["mean"]
    assert found["systems"]["r"]["colorfulness_ratio"]["mean"] == pytest.approx(ratio)


def test_the_sepia_baseline_is_one_tone_at_every_luminance(found, out, place):
    """Made by scikit-image from the definition; chroma is in whole levels of Cb and Cr, so within a Lab unit or so."""
    (a, b), levels = systems.BASELINES["sepia"], np.arange(30, 226, dtype=np.uint8)
    tone = rgb2lab(np.array([[0x70, 0x42, 0x14]], np.uint8))[0]
    assert np.arctan2(b, a) == pytest.approx(np.arctan2(tone[2], tone[1]), abs=0.01)
    assert np.hypot(a, b) == pytest.approx(8, abs=0.01)
    sepia = systems.baseline("sepia", (a, b))
    photograph = Photograph(np.repeat(levels[None, :, None], 3, 2), levels[None], levels[None])
    painted = sepia.color(Path(), photograph)
    assert np.abs(rgb2lab(painted)[..., 1:] - (a, b)).max() < 1.5
    assert np.abs(rgb2lab(painted)[..., 1:].mean((0, 1)) - (a, b)).max() < 0.2
    assert np.abs(painted @ [0.299, 0.587, 0.114] - levels).max() <= 1
    squares = []
    for path in sorted((place / "photographs" / "val").rglob("*.jpg")):
        squares.append(((rgb2lab(read(path, 64).truth)[..., 1:] - (a, b)) ** 2).mean())
    measured = found["systems"]["sepia"]["ab_rmse"]
    assert measured["mean"] == pytest.approx(np.sqrt(np.mean(squares)), rel=0.02)
    assert measured["low"] < measured["mean"] < measured["high"]
    blocks = {block.split("\n")[0]: block for block in (out / "tables.md").read_text().split("\n## ")}
    for title, block in blocks.items():
        if title.startswith(("All metrics", "Tarres")):
            assert "| sepia |" in block
    headings = [title.split(",")[0] for title in blocks if not title.startswith("Missing")]
    assert headings == ["# Evaluation", "All metrics", "Padova", "Tarres et al.", "Definitions"]


def test_the_gray_baseline_is_exactly_gray():
    levels = np.arange(256, dtype=np.uint8)[None]
    photograph = Photograph(levels, levels, levels)
    picture = systems.baseline("gray", systems.BASELINES["gray"]).color(Path(), photograph)
    assert np.array_equal(picture, np.repeat(levels[..., None], 3, 2))


def test_padova_errors_are_of_runs_alone(found):
    run = found["systems"]["r"]
    assert run["padova_critic"]["mean"] > 0
    assert run["padova_generator"]["mean"] > 1
    assert "artefact holds no critic" in found["systems"]["exported"]["padova_generator"]["missing"]
    if "missing" in run["padova_critic_swapped"]:
        assert "source_channels" in run["padova_critic_swapped"]["missing"]


def test_a_generator_of_three_channels_is_measured_swapped_too(tmp_path):
    seen = []

    class Generator(torch.nn.Module):
        def forward(self, source):
            seen.append(source.shape[1])
            return torch.zeros(1, 3, 64, 64)

    class Critic(torch.nn.Module):
        def forward(self, source, image):
            return [torch.zeros(1, 1, 6, 6)]

    truth = pixels(0, 64, 64)
    encoders.write(tmp_path / "a.png", truth, None, "PNG", 95)
    options = Options(size=64, equalize="none", blur="none")
    found = systems.padova_columns(Generator(), Critic(), options, CPU, True, tmp_path / "a.png")
    assert seen == [1, 3]
    gray = np.abs(images.gray(truth) / 127.5 - 1).mean()
    assert found["padova_generator_swapped"] == pytest.approx(0.5 * np.log(2) + 100 * gray, rel=1e-5)
    color = np.abs(truth / 127.5 - 1).mean()
    assert found["padova_generator"] == pytest.approx(0.5 * np.log(2) + 100 * color, rel=1e-5)
    assert found["padova_critic"] == found["padova_critic_swapped"] == pytest.approx(0.3466, abs=1e-4)


def test_rows_of_photographs_average_to_the_metrics(out, found):
    with open(out / "per_photograph.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == COUNT * 6
    assert {row["photograph"] for row in rows if row["system"] == "r"} == {
        f"val/{name}"
        for name in "n01440764/000.jpg n01440764/001.jpg n01440764/002.jpg n03888257/000.jpg n03888257/001.jpg".split()
    }
    mean = np.mean([float(row["psnr_ab"]) for row in rows if row["system"] == "r"])
    assert mean == pytest.approx(found["systems"]["r"]["psnr_ab"]["mean"], rel=1e-4)


def test_figures_open_and_say_the_protocol(out):
    for name in FIGURES:
        with Image.open(out / f"{name}.png") as picture:
            picture.load()
            assert picture.width >= 640
            assert f"{COUNT} photographs of photographs (validation part" in picture.text["Description"]
    assert not list(out.glob(".*"))


def test_tables_stand_beside_the_published_figures(out, found):
    text = (out / "tables.md").read_text()
    error = found["systems"]["r"]["padova_generator"]["mean"]
    assert f"| Original | 8.9982 | 0.3435 | r | {error:.4g} [" in text
    assert "| WGAN + LPIPS | 10.6731 | 0.8153 |  |" in text
    assert "| Our model | VGG16 | 0.009 | 0.05 | 25.13 |" in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    for block in text.split("\n\n"):
        if block.startswith("|"):
            assert len({line.replace("\\|", "").count("|") for line in block.splitlines()}) == 1
    assert any(line.startswith("| PSNR ab, dB | higher |") for line in lines)
    assert f"{COUNT} photographs of photographs" in text.splitlines()[-1]


def test_classes_are_known_by_wnid(tmp_path, monkeypatch):
    def chosen(*names: str) -> Chosen:
        paths = [tmp_path / name for name in names]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        return Chosen(tmp_path, paths, {}, "")

    named = chosen("val/n01440764/a.jpg", "val/n03888257/b.jpg", "wide/n02979186_player.jpg", "wide/n01518878_o.jpg")
    assert true_classes(named).tolist() == [0, 701, 482, -1]
    all_of_them = chosen(*(f"big/n{number:08d}/a.jpg" for number in range(1000)))
    assert true_classes(all_of_them).tolist() == list(range(1000))


def test_recognition_counts_only_photographs_of_known_class():
    columns = {
        "truth": {"class": np.array([3, 4, 5])},
        "s": {"class": np.array([3, 9, 5])},
    }
    own = evaluate.combine(columns, np.array([3, 4, -1]))["s"]
    found = metrics.summarize(own, dict.fromkeys((c for m in METRICS.values() for c in m.columns), "no"))
    assert found["top1"]["mean"] == 0.5
    assert found["top1_agreement"]["mean"] == pytest.approx(2 / 3)
    unknown = evaluate.combine(columns, np.full(3, -1))["s"]
    assert "top1" not in unknown


def test_losses_are_weighted_as_in_training(tmp_path):
    (tmp_path / "results.csv").write_text(
        "images,critic/real,critic/fake,critic/penalty,generator/adversary,gradient/adversary,generator/l1\n"
        "10,1,2,0.5,3,99,0.25\n20,1,1,1,1,99,1\n"
    )
    options = Options(gradient_penalty=10.0, critic_norm="none", adversary_weight=0.5)
    system = systems.System("s", "run", lambda path, photograph: photograph.truth, options=options, folder=tmp_path)
    curves = report.training_curves([system])
    assert curves["critic"]["s"].loss.tolist() == [8, 12]
    assert curves["generator"]["s"].loss.tolist() == [26.5, 100.5]
    assert curves["critic"]["s"].images.tolist() == [10, 20]


@pytest.mark.parametrize("text", ["", "images,critic/real\n", "images,critic/real\n10,what\n"])
def test_a_results_file_that_cannot_be_drawn_is_left_out(tmp_path, text, capsys):
    (tmp_path / "results.csv").write_text(text)
    system = systems.System("s", "run", lambda path, p: p.truth, options=Options(), folder=tmp_path)
    curves = report.training_curves([system, system._replace(folder=tmp_path / "none")])
    assert curves == {"generator": {}, "critic": {}} or not any(len(c.loss) for c in curves["critic"].values())


# --- errors --------------------------------------------------------------------------------------------------------


def test_a_missing_photograph_is_named(place, colored, tmp_path, capsys):
    (tmp_path / "some" / "n01440764").mkdir(parents=True)
    for path in sorted((colored / "n01440764").iterdir())[1:]:
        (tmp_path / "some" / "n01440764" / path.name).write_bytes(path.read_bytes())
    assert run(place, tmp_path / "e", str(tmp_path / "some")) == 2
    said = capsys.readouterr()
    assert "no picture for val/n01440764/000.jpg" in said.err or "n03888257" in said.err
    assert "more of 5" in said.err
    assert said.out == ""
    assert not (tmp_path / "e").exists()


def test_an_unreadable_colored_picture_is_named(place, colored, tmp_path, capsys):
    for path in colored.rglob("*.png"):
        target = tmp_path / "some" / path.relative_to(colored)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes()[: 100 if path.name == "001.png" else None])
    assert run(place, tmp_path / "e", str(tmp_path / "some"), "--strict") == 2
    assert "001.png" in capsys.readouterr().err
    assert not (tmp_path / "e").exists()
    assert run(place, tmp_path / "e", str(tmp_path / "some"), str(place / "r")) == 0
    said = capsys.readouterr().err
    assert said.count("001.png") == 2
    protocol = json.loads((tmp_path / "e" / "metrics.json").read_text())["protocol"]
    assert protocol["photographs"] == COUNT - 2
    assert list(protocol["unusable"]) == ["val/n01440764/001.jpg", "val/n03888257/001.jpg"]
    assert "001.png" in protocol["unusable"]["val/n01440764/001.jpg"]


def test_two_systems_of_one_name_are_an_error(place, tmp_path, capsys):
    assert run(place, tmp_path / "e", str(place / "r"), f"r={place / 'exported.onnx'}") == 2
    assert "both called r" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere"], "nowhere: it does not exist; expected a run folder"),
        (["truth=nowhere"], "a name other than gray, sepia, truth"),
        (["sepia=nowhere"], "a name other than gray, sepia, truth"),
        (["--limit", "0"], "limit 0: expected 1 or more"),
        (["--size", "8"], "size 8: expected 16 or more"),
        (["--lpips-weights", "nowhere"], "lpips_weights nowhere: there is no such file"),
        (["--no-such-option"], "no-such-option"),
    ],
)
def test_unusable_arguments_are_one_error(place, tmp_path, capsys, arguments, reason):
    assert run(place, tmp_path / "e", *arguments) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "e").exists()


def test_what_exists_is_not_overwritten_unasked(place, tmp_path, capsys):
    (tmp_path / "metrics.json").write_text("precious")
    (tmp_path / "fig8_generator_loss.png").write_text("of other systems")
    assert run(place, tmp_path, "--limit", "2") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "metrics.json").read_text() == "precious"
    assert run(place, tmp_path, "--limit", "2", "--overwrite") == 0
    assert json.loads((tmp_path / "metrics.json").read_text())["protocol"]["limit"] == 2
    assert not (tmp_path / "fig8_generator_loss.png").exists()
    assert run(place, tmp_path / "metrics.json") == 2
    assert "it is a file" in capsys.readouterr().err


def test_an_interrupt_is_exit_code_130(place, tmp_path, monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "measure", interrupted)
    assert run(place, tmp_path / "e") == 130
    assert not (tmp_path / "e").exists()


# --- photographs and names -----------------------------------------------------------------------------------------


def test_unusable_photographs_are_named_and_left_out(place, tmp_path, capsys):
    write_jpegs(tmp_path / "p", 3)
    (tmp_path / "p" / "bad.jpg").write_bytes(b"nothing")
    assert evaluate.main(["--data", str(tmp_path / "p"), "--size", "32", "--out", str(tmp_path / "e")]) == 0
    assert "bad.jpg is left out" in capsys.readouterr().err
    protocol = json.loads((tmp_path / "e" / "metrics.json").read_text())["protocol"]
    assert protocol["photographs"] == 3
    assert list(protocol["unusable"]) == ["bad.jpg"]
    assert protocol["split"] == "all photographs"


def test_one_photograph_is_enough(tmp_path):
    write_jpegs(tmp_path / "p", 1)
    artefact = constant(tmp_path / "brown.onnx")
    arguments = ["--data", str(tmp_path / "p"), "--size", "32", "--out", str(tmp_path / "e")]
    assert evaluate.main([str(artefact), *arguments]) == 0


def test_photographs_per_class_are_those_that_training_validates_on(tmp_path):
    for name in "ab":
        write_jpegs(tmp_path / name, 6)
    all_of_them = choose(Arguments(data=str(tmp_path)))
    assert (len(all_of_them.paths), all_of_them.split) == (12, "all photographs")
    held_out = choose(Arguments(data=str(tmp_path), val_per_class=2, seed=3))
    options = Options(data=str(tmp_path), val_per_class=2, per_class=4, seed=3)
    assert held_out.paths == choose_for_training(options).val
    limited = choose(Arguments(data=str(tmp_path), limit=4))
    assert sorted(path.parent.name for path in limited.paths) == ["a", "a", "b", "b"]


def test_names_come_from_paths_unless_given(place, colored, tmp_path, monkeypatch):
    chosen = choose(Arguments(data=str(place / "photographs")))
    odd = tmp_path / "a=b"
    odd.symlink_to(colored)
    given = (f"{place / 'r'}/", str(odd), f"mine={colored}")
    opened = systems.open_systems(SimpleNamespace(systems=given, device="cpu"), chosen, CPU)
    assert [system.name for system in opened] == ["gray", "sepia", "r", odd.resolve().name, "mine"]
    assert [system.kind for system in opened] == ["baseline", "baseline", "run", "folder", "folder"]


def test_the_shipped_colorizer_has_a_name(place, colored, tmp_path, monkeypatch):
    """Its own, whatever lies in the working folder."""
    chosen = choose(Arguments(data=str(place / "photographs")))
    monkeypatch.chdir(tmp_path)
    Path("shipped").symlink_to(colored)
    given = ("shipped", "again=shipped", "folder=./shipped")
    opened = systems.open_systems(SimpleNamespace(systems=given, device="cpu"), chosen, CPU)[2:]
    assert [system.name for system in opened] == ["shipped", "again", "folder"]
    assert [system.kind for system in opened] == ["artefact", "artefact", "folder"]
    assert opened[0].images is not None
    photograph = read(chosen.paths[0], 64)
    seen = colorize.Colorizer(provider="cpu").artefact.chroma(photograph.luma)  # of the photograph, not of the square
    assert np.array_equal(opened[0].color(chosen.paths[0], photograph), chroma.merge(photograph.gray, seen))


def test_only_what_a_preset_trains_stands_beside_a_papers_figures():
    """Not a run that began from its options and has another generator or adversary; a smaller one does."""
    preset = PRESETS["pix2pix-lab"]
    found = {
        name: papers.is_of(options, ("pix2pix-lab", "gorriz"))
        for name, options in {
            "none": None,
            "itself": preset,
            "small": replace(preset, size=64, width=8, images=5, adversary_weight=0.3),
            "another preset": PRESETS["wgan-gp"],
            "another generator": replace(preset, generator="residual"),
            "no critic": replace(preset, critic=""),
        }.items()
    }
    assert [name for name, is_of in found.items() if is_of] == ["itself", "small"]
    shipped = from_metadata(runtime.load(runtime.shipped(), "cpu").metadata["options"])
    assert not papers.is_of(shipped, PRESETS)


def test_a_folder_that_is_called_imagenette_is_a_folder(tmp_path, monkeypatch):
    write_jpegs(tmp_path / "imagenette", 2)
    monkeypatch.chdir(tmp_path)
    assert len(choose(Arguments(data="./imagenette")).paths) == 2


def test_the_short_table_is_the_last_that_is_said(place, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(evaluate, "draw", lambda *given: None)  # the figures take longer than all else
    assert run(place, tmp_path / "out", str(place / "exported.onnx"), "--limit", "2") == 0
    said = capsys.readouterr()
    lines = said.err.splitlines()[-5:]
    assert lines[0].startswith("system    ab error below gray  PSNR RGB, dB")
    assert [line.split()[0] for line in lines[1:4]] == ["gray", "sepia", "exported"]
    assert lines[4] == f"mean [95 % interval] over 2 photographs; all metrics: {tmp_path / 'out' / 'tables.md'}"
    assert said.out == f"{tmp_path / 'out'}\n"
