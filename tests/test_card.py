"""Model cards: what they say is what the export and the run say, and nothing else; an edited one stays."""

import hashlib
import json
from dataclasses import asdict, replace

import pytest

from recolor_fast.artefact import card
from recolor_fast.options import to_json
from recolor_fast.presets import PRESETS
from recolor_fast.runs import learned

yaml = pytest.importorskip("yaml")

OPTIONS = to_json(learned.public(replace(PRESETS["wgan-gp"], size=64, data="/home/me/family photographs")))
METADATA = {"graph": "image", "precision": "int8", "saturation": "1.2", "options": OPTIONS, "images": "20"}
METADATA |= {"versions": json.dumps({"torch": "2.14"})}
METADATA |= {"proof": json.dumps({"pictures": 6, "largest": 3, "mean": 0.25, "ciede2000": 0.5, "psnr": 40.0})}


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "r"
    (folder / "evaluation").mkdir(parents=True)
    (folder / "validation.csv").write_text("images,ab_rmse,ab_rmse/gray,psnr,chroma\n10,9,9,9,9\n20,12.5,15,24.1,0.6\n")
    own = {"options": hashlib.sha256(OPTIONS.encode()).hexdigest(), "images": 20}
    told = {"photographs": 40, "data": "album", "split": "val", "size": 256}
    systems = {"gray": {"ab_rmse": {"mean": 16.0, "low": 15.0, "high": 17.0}}}
    systems["r"] = {"ab_rmse": {"mean": 13.0, "low": 12.0, "high": 14.5}, "fid": {"missing": "no weights"}}
    protocol = told | {"systems": {"gray": {"options": None, "images": None}, "r": own}}
    (folder / "evaluation" / "metrics.json").write_text(json.dumps({"protocol": protocol, "systems": systems}))
    return folder


def test_a_card_says_what_the_file_and_its_run_say(run):
    text = card.text("r.onnx", METADATA, card.measured(run, OPTIONS, 20))
    header = yaml.safe_load(text.split("---")[1])
    assert (header["library_name"], header["pipeline_tag"]) == ("onnx", "image-to-image")
    assert "license" not in header
    for words in (
        "Graph `image`, int8, 64 pixels",
        "1.2 times as strong",
        "`family photographs`: 20 photographs seen",
        "on 6 pictures: largest difference 3 of 255 levels, mean 0.25; mean CIEDE2000 0.5.",
        "ab error 12.5 (gray: 15), PSNR 24.1 dB, chroma 0.6 of the truth's",
        "40 photographs of album (val), 256x256",
        "| 13 [12, 14.5] | 16 [15, 17] |",
        "| FID | not measured | not measured |",
        "torch 2.14",
    ):
        assert words in text
    assert "/home" not in text
    sample = METADATA | {"options": OPTIONS.replace("family photographs", "sample")}
    assert "photographs, which are those it was trained on: ab error 12.5" in card.text(
        "r.onnx", sample, card.measured(run, OPTIONS, 20)
    )


def test_a_card_rounds_what_validation_wrote(run):
    (run / "validation.csv").write_text("images,ab_rmse,ab_rmse/gray,chroma\n20,12.549,12.5576,0.983489\n")
    text = card.text("r.onnx", METADATA, card.measured(run, OPTIONS, 20))
    assert "ab error 12.55 (gray: 12.56), PSNR - dB, chroma 0.9835 of the truth's" in text


@pytest.mark.parametrize("images", [10, 20])
def test_an_evaluation_of_another_checkpoint_does_not_count(run, images):
    known = card.measured(run, OPTIONS, images)
    assert bool(known.systems) == (images == 20)
    assert known.validation["images"] == str(images)
    text = card.text("r.onnx", METADATA, known)
    assert ("not measured. This measures it" in text) == (images == 10)


@pytest.mark.parametrize("broken", ["{", "[]", '{"protocol": {"systems": {}}, "systems": []}'])
def test_without_an_evaluation_the_command_for_one_is_named(run, broken):
    (run / "evaluation" / "metrics.json").write_text(broken)
    (run / "validation.csv").unlink()
    assert card.measured(run, OPTIONS, 20) == card.measured(run / "r.safetensors", OPTIONS, 20) == card.UNMEASURED
    text = card.text("r.safetensors", {"options": OPTIONS, "images": "20", "version": "0.1.0"})
    assert "python -m recolor_fast.evaluate r.safetensors --data FOLDER" in text
    assert "own validation photographs" not in text


def test_an_engine_says_its_gpu_and_times():
    told = {"gpu": "NVIDIA H200", "ms_of_batch_1": 0.5, "difference": json.loads(METADATA["proof"])}
    text = card.text("r.engine", METADATA, engine=told)
    assert "On NVIDIA H200: ms of batch 1: 0.5." in text
    assert "evaluate FILE.onnx" in text


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_a_card(preset):
    options = asdict(PRESETS[preset])
    text = card.text("r.onnx", METADATA | {"options": json.dumps(options)})
    assert ("EfficientNet" in text) == (options["generator"].startswith("lite") or options["start"] == "shipped")


def test_a_card_is_replaced_until_somebody_edits_it(tmp_path, capsys):
    path = card.path_of(tmp_path / "r.onnx")
    assert path.name == "r.onnx.md"
    card.write(path, card.text("r.onnx", METADATA))
    newer = card.text("r.onnx", METADATA | {"images": "30"})
    card.write(path, newer)
    assert path.read_text() == newer
    path.write_text(newer.replace("Not stated: whoever", "MIT. Whoever"))
    card.write(path, card.text("r.onnx", METADATA))
    assert "MIT. Whoever" in path.read_text()
    assert "has been edited and stays" in capsys.readouterr().err
