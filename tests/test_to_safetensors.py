"""The generator's weights as a file for release: as good as the run, and no other file passes for one."""

import json
import re
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from recolor_fast.arguments.evaluate import Arguments
from recolor_fast.evaluation import report, systems
from recolor_fast.evaluation.chosen import choose, read
from recolor_fast.export import to_onnx, to_safetensors
from recolor_fast.options import from_dict
from recolor_fast.presets import PRESETS
from recolor_fast.runs import learned
from tests.faults import file_size_limit
from tests.photographs import write_jpegs
from tests.test_runs import SMALL, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    options = replace(SMALL, data="/home/me/photographs")
    return write_run(tmp_path_factory.mktemp("runs") / "r", options, {10: 3.0, 20: 1.0, 30: 2.0})


def released(run: Path, *arguments: str, capsys) -> Path:
    assert to_safetensors.main([str(run), *arguments]) == 0
    return Path(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("preset", ["pix2pix", "gorriz-bn-sn", "wgan-gp"])
def test_the_file_colors_as_the_run_does(tmp_path, preset, capsys):
    """Spectral norm too, whose weights are divided as they are read."""
    run = write_run(tmp_path / "r", replace(PRESETS[preset], size=64, width=4), {10: 1.0})
    path = released(run, capsys=capsys)
    assert path == run / "r.safetensors"
    ours, theirs = learned.trained(path), learned.trained(run)
    assert (ours.options, ours.images, ours.critic) == (learned.public(theirs.options), 10, None)
    assert not ours.generator.training
    source = torch.rand(3, 1, 64, 64) * 2 - 1
    with torch.no_grad():
        expected = theirs.generator(source)
        assert torch.equal(ours.generator(source), expected)
    assert expected.std() > 0
    assert {t.dtype for t in ours.generator.state_dict().values()} <= {torch.float32, torch.int64}


def test_metadata_say_what_it_is_and_nothing_of_the_machine(run, tmp_path, capsys):
    path = released(run, "--best", "--out", str(tmp_path / "a.safetensors"), capsys=capsys)
    with safe_open(path, framework="pt") as file:
        metadata = {key.removeprefix(learned.PREFIX): value for key, value in file.metadata().items()}
    assert set(metadata) == {"options", "images", "version", "validation"}
    assert from_dict(json.loads(metadata["options"])) == replace(SMALL, data="photographs")
    assert metadata["images"] == "20"
    assert json.loads(metadata["validation"]) == {"images": "20", "psnr": "20", "ab_rmse": "1"}
    assert b"/home" not in path.read_bytes()
    told = path.with_name("a.safetensors.md").read_text()
    assert "`photographs`: 20 photographs seen" in told
    assert "ab error 1, PSNR 20 dB" in told


def test_a_file_that_exists_is_replaced_only_when_asked(run, tmp_path, capsys):
    out = tmp_path / "a.safetensors"
    out.write_bytes(b"precious")
    assert to_safetensors.main([str(run), "--out", str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert out.read_bytes() == b"precious"
    released(run, "--out", str(out), "--overwrite", capsys=capsys)
    assert learned.trained(out).images == 30


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["{run}", "--out", "{folder}/a.pt"], "ends in .safetensors"),
        (["{folder}"], "holds no checkpoint"),
        (["{folder}/a.txt"], "expected a run folder"),
        (["{run}", "--out", "{folder}/a.txt/a.safetensors"], "File exists"),
    ],
)
def test_what_cannot_be_written_is_one_error(run, tmp_path, arguments, reason, capsys):
    (tmp_path / "a.txt").touch()
    assert to_safetensors.main([one.format(run=run, folder=tmp_path) for one in arguments]) == 2
    said = capsys.readouterr()
    assert reason in said.err
    assert said.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_without_room_nothing_is_left(run, tmp_path, capsys):
    with file_size_limit(10_000):
        assert to_safetensors.main([str(run), "--out", str(tmp_path / "a.safetensors")]) == 2
    assert "too large" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_damaged_and_foreign_files_are_refused_with_a_reason(run, tmp_path, capsys):
    whole = released(run, "--out", str(tmp_path / "a.safetensors"), capsys=capsys)
    weights = safetensors.torch.load_file(whole)
    with safe_open(whole, framework="pt") as file:
        metadata = file.metadata()
    options = json.loads(metadata["recolor_fast.options"])

    def rewritten(weights=weights, **changes):
        return safetensors.torch.save(weights, metadata | {f"recolor_fast.{k}": v for k, v in changes.items()})

    first = next(name for name in weights if name.endswith("weight"))
    for content, reason in (
        (whole.read_bytes()[:-1], "not a readable .safetensors file"),
        (b"", "not a readable .safetensors file"),
        (b"\xff" * 100, "not a readable .safetensors file"),
        (safetensors.torch.save(weights), "metadata has no recolor_fast.options; expected a file that export/"),
        (rewritten(options="{"), "not a generator of this version"),
        (rewritten(options="[]"), "not a generator of this version"),
        (rewritten(options=json.dumps(options | {"width": "4"})), "not a generator of this version"),
        (rewritten(options=json.dumps(options | {"width": 10**6})), "its options say"),
        (rewritten(options=json.dumps(options | {"generator": "none"})), "expected one of"),
        (rewritten(images="many"), "not a generator of this version"),
        (rewritten({k: v for k, v in weights.items() if k != first}), first),
        (rewritten(weights | {"more": torch.zeros(1)}), "more"),
    ):
        path = tmp_path / "b.safetensors"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"(?s)b\.safetensors: .*{re.escape(reason)}"):
            learned.trained(path)
    with pytest.raises(ValueError, match="holds one checkpoint"):
        learned.trained(whole, best=True)


def test_half_precision_is_read_as_float32(run, tmp_path, capsys):
    path = released(run, "--out", str(tmp_path / "a.safetensors"), capsys=capsys)
    weights = {k: v.half() if v.is_floating_point() else v for k, v in safetensors.torch.load_file(path).items()}
    with safe_open(path, framework="pt") as file:
        path.with_stem("b").write_bytes(safetensors.torch.save(weights, file.metadata()))
    with torch.no_grad():
        assert learned.trained(path.with_stem("b")).generator(torch.zeros(1, 1, 64, 64)).dtype == torch.float32


@pytest.mark.slow
def test_it_is_exported_in_the_place_of_the_run(run, tmp_path, capsys):
    write_jpegs(tmp_path / "photographs", 4, height=70, width=90)
    path = released(run, "--best", "--out", str(tmp_path / "a.safetensors"), capsys=capsys)
    arguments = ["--data", str(tmp_path / "photographs"), "--photographs", "1"]
    assert to_onnx.main([str(path), *arguments]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "a-chroma-fp32.onnx")
    model = onnx.load(tmp_path / "a-chroma-fp32.onnx")
    assert {pair.key: pair.value for pair in model.metadata_props}["recolor_fast.images"] == "20"


def test_the_best_checkpoint_or_the_file_is_exported_where_asked(run, tmp_path, monkeypatch, capsys):
    file = released(run, "--best", "--out", str(tmp_path / "a.safetensors"), capsys=capsys)
    taken = []
    monkeypatch.setattr(to_onnx.card, "text", lambda *_: "")
    monkeypatch.setattr(to_onnx.card, "write", lambda *_: None)
    monkeypatch.setattr(to_onnx, "write", lambda arguments, trained, out: taken.append((trained.images, out)))
    assert to_onnx.main([str(run)]) == 0
    assert to_onnx.main([str(run), "--best"]) == 0
    assert to_onnx.main([str(file)]) == 0
    name = "r-chroma-fp32.onnx"
    assert taken == [(30, run / name), (20, run / name), (20, tmp_path / "a-chroma-fp32.onnx")]
    assert to_onnx.main([str(file), "--best"]) == 2
    assert "holds one checkpoint" in capsys.readouterr().err


def test_it_is_evaluated_in_the_place_of_the_run(run, tmp_path, capsys):
    write_jpegs(tmp_path / "photographs", 1, height=70, width=90)
    path = released(run, "--out", str(tmp_path / "a.safetensors"), capsys=capsys)
    arguments = Arguments((str(path), f"run={run}"), data=str(tmp_path / "photographs"))
    chosen = choose(arguments)
    *_, ours, theirs = systems.open_systems(arguments, chosen, torch.device("cpu"))
    assert (ours.name, ours.images) == ("a", 30)
    photograph = read(chosen.paths[0], 64)
    assert (ours.color(chosen.paths[0], photograph) == theirs.color(chosen.paths[0], photograph)).all()
    assert "holds no critic" in next(iter(ours.missing.values()))
    assert report.training_curves([ours])["generator"] == {}


def test_without_a_run_the_newest_under_runs_is_taken_and_named(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for export in (to_safetensors, to_onnx):
        assert export.main([]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: no run is given, and runs/ holds none")
        assert said.count("\n") == 1
    (tmp_path / "runs").symlink_to(run.parent)
    assert to_safetensors.main(["--out", "new/r.safetensors"]) == 0  # its folder is made
    said = capsys.readouterr()
    assert "run: runs/r, the newest" in said.err
    assert learned.trained(tmp_path / said.out.strip()).images == 30
