"""What earlier versions have made goes on working: runs, artefacts, weights, colored files, studies; and so do names.

`fixtures/` holds what two versions have made, a system each (fixtures/make.py). Elsewhere: every preset's losses are as
they were (test_golden.py); a resumed run equals an unbroken one, bit for bit (test_resume.py); an artefact with options
of any version loads (test_runtime.py); the shipped files load and color (test_shipped.py).
"""

import importlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from recolor_fast import colorize, train
from recolor_fast.artefact import runtime
from recolor_fast.export import to_onnx, to_safetensors
from recolor_fast.options import Command, Options, from_dict, from_metadata
from recolor_fast.photographs import provenance
from recolor_fast.runs import runs
from tests import artefacts
from tests.fixtures import make

ROOT = Path(__file__).parent.parent
DATA = make.HERE / "photographs"
OLD, NEW = make.SYSTEMS
SHIPPED = json.loads((make.HERE / f"shipped-{OLD}.json").read_text())
SAME = {"rel": 1e-3, "abs": 1e-7}  # as in test_golden.py; what was written has six digits


@pytest.fixture(scope="module", params=make.SYSTEMS)
def made(request, tmp_path_factory) -> Path:
    """What one version has made, unpacked."""
    folder = tmp_path_factory.mktemp("made")
    with tarfile.open(make.HERE / f"{request.param}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / request.param


def read(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def assert_near(ours: np.ndarray, theirs: np.ndarray) -> None:
    """uint8, within 1 level everywhere."""
    assert ours.shape == theirs.shape
    assert abs(ours.astype(int) - theirs).max() <= 1


# --- runs ----------------------------------------------------------------------------------------------------------


def resumed(run: Path, folder: Path, *more: str) -> dict[str, dict[str, float]]:
    """The losses of a run that goes on in a folder, by photographs seen."""
    shutil.copytree(run, folder / "run")
    words = f"--resume --runs {folder} --name run --data {DATA} --device cpu --threads 1 --images {make.LATER}"
    assert train.main([*words.split(), *more]) == 0
    return make.rows(folder / "run")


def test_a_run_goes_on_as_in_its_own_version(made, tmp_path):
    ours, theirs = resumed(made / "run", tmp_path), json.loads((made / "golden.json").read_text())
    assert list(ours) == list(theirs) == ["10", "12", "14"]
    for images, losses in theirs.items():
        assert len(losses) >= 4
        assert ours[images] == pytest.approx(losses, **SAME)
    assert runs.trained(tmp_path / "run").images == make.LATER


def test_losses_would_see_that_nothing_is_learnt(made, tmp_path):
    ours = resumed(made / "run", tmp_path, "--learning-rate", "0")
    theirs = json.loads((made / "golden.json").read_text())
    assert ours["14"] != pytest.approx(theirs["14"], **SAME)


def test_the_options_of_a_run_are_what_they_were(made):
    values = json.loads((made / "run" / "options.json").read_text())
    options = runs.stored_options(made / "run")
    assert options == from_dict(values)
    found = json.loads(json.dumps(asdict(options)))
    assert {name: found[name] for name in values} == values
    added = sorted(found.keys() - values.keys())
    assert {name: getattr(options, name) for name in added} == {
        name: {"gray_photographs": "keep", "winograd": "off"}.get(name, getattr(Command, name)) for name in added
    }


@pytest.mark.parametrize("made", [OLD], indirect=True)  # one export is slow enough
def test_a_run_is_exported_as_its_own_version_did(made, tmp_path):
    out = tmp_path / "chroma.onnx"
    words = [str(made / "run"), "--data", str(DATA), "--photographs", "1", "--out", str(out)]
    assert to_onnx.main(words) == 0
    ours, theirs = (runtime.load(path, "cpu", threads=1) for path in (out, made / "chroma.onnx"))
    gray = make.gray(64, 64)[None, None]
    assert_near(ours.run(gray), theirs.run(gray))
    assert ours.options == theirs.options


def test_weights_are_released_and_taken_as_before(made, tmp_path):
    released = made / "generator.safetensors"
    out = tmp_path / "generator.safetensors"
    assert to_safetensors.main([str(made / "run"), "--out", str(out)]) == 0
    ours, theirs = load_file(out), load_file(released)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    for path in (made / "run", released):
        trained = runs.trained(path)
        assert (trained.images, trained.options.preset) == (make.SEEN, runs.stored_options(made / "run").preset)
        weights = runs.start(replace(trained.options, start=str(path)))
        assert all(torch.equal(weights[name], theirs[name]) for name in theirs)


# --- artefacts -----------------------------------------------------------------------------------------------------


def test_artefacts_color_as_they_did(made):
    for name, ours in make.pictures(made).items():
        theirs = read(made / f"{name}.png")
        assert np.ptp(theirs) > 10, name  # else any broken network would do
        assert_near(ours, theirs)


def test_a_file_that_was_colored_is_not_colored_again(made, tmp_path, capsys):
    """Whether it says what made it, as those of the later version do, or not."""
    for name in ("gray.jpg", "colored.jpg"):
        shutil.copy(made / name, tmp_path / name)
    os.utime(tmp_path / "gray.jpg", (1e9, 1e9))
    before = (tmp_path / "colored.jpg").read_bytes()
    assert (provenance.of(before) is not None) == (made.name == NEW)
    words = ["--model", str(made / "chroma.onnx"), "--provider", "cpu", "--json"]
    assert colorize.main([str(tmp_path / "gray.jpg"), str(tmp_path / "colored.jpg"), *words]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["status"], record["reason"]) == ("skipped", "done before")
    assert (tmp_path / "colored.jpg").read_bytes() == before
    assert colorize.main([str(tmp_path / "gray.jpg"), str(tmp_path / "again.jpg"), *words]) == 0
    assert_near(read(tmp_path / "again.jpg"), read(tmp_path / "colored.jpg"))


@pytest.mark.parametrize("graph", SHIPPED)
def test_the_metadata_of_what_was_shipped_is_read(graph, tmp_path):
    stored = SHIPPED[graph]
    options = Options(size=128)
    path = (artefacts.painter if graph == "image" else artefacts.constant)(tmp_path / "a.onnx", options=options)
    artefacts.change(path, lambda model: artefacts.helper.set_model_props(model, stored))
    loaded = runtime.load(path, "cpu", threads=1)
    assert (loaded.graph, loaded.precision, loaded.options.size) == (graph, "int8", 128)
    assert (loaded.options.equalize, loaded.options.blur) == ("none", "none")
    trained = from_metadata(loaded.metadata["options"])
    assert (trained.space, trained.generator, trained.width) == ("lab", "residual", 24)
    assert loaded.metadata == {key.removeprefix("recolor_fast."): value for key, value in stored.items()}


# --- studies -------------------------------------------------------------------------------------------------------


def test_a_study_goes_on_and_is_reported(made, tmp_path):
    pytest.importorskip("fastapi", reason="needs the extra serve")
    from recolor_fast.study import __main__, page, report, study

    path = tmp_path / "study.sqlite"
    shutil.copy(made / "study.sqlite", path)
    assert __main__.main(["report", str(path), "--json", str(tmp_path / "study.json")]) == 0
    assert json.loads((tmp_path / "study.json").read_text()) == json.loads((made / "study.json").read_text())
    definition = study.stored(path)
    with study.database(path, write=True) as db:
        participant = study.enroll(db, definition)
        while image := study.state(db, definition, participant)["image"]:
            page.submit(db, definition, participant, page.Answer(image=image, answer="real", milliseconds=1))
    started, rows = report.answers(path)
    assert (started, len(rows)) == (2, 2 + definition.images)


# --- names ---------------------------------------------------------------------------------------------------------

PUBLIC = """
recolor_fast.colorize.Colorizer
recolor_fast.colorize.main
recolor_fast.demo.main
recolor_fast.machine.errors.UserError
recolor_fast.evaluate.main
recolor_fast.options.Options
recolor_fast.options.from_dict
recolor_fast.presets.PRESETS
recolor_fast.resolve.fastest
recolor_fast.artefact.runtime.load
recolor_fast.artefact.runtime.shipped
recolor_fast.train.main
recolor_fast.train.train
""".split()
TEXTS = {path.name: path.read_text() for path in (ROOT / "README.md", ROOT / "SECURITY.md", *ROOT.glob("docs/*.md"))}
DOTTED = re.compile(r"(?<![.\w/])recolor_fast(?:\.\w+)+")
IMPORTED = re.compile(r"from (recolor_fast[.\w]*) import (\w+)")
COMMAND = re.compile(r"python (-m recolor_fast\.[a-z_]+|export/\w+\.py)")


def mentioned() -> list[str]:
    """What of the package README, SECURITY and docs name, as dotted names."""
    found = {name for text in TEXTS.values() for name in DOTTED.findall(text)}
    found |= {".".join(pair) for text in TEXTS.values() for pair in IMPORTED.findall(text)}
    return sorted(found - {"recolor_fast.VERB"})


def commands() -> list[str]:
    """The verbs that they call, as written after `python`."""
    return sorted({command for text in TEXTS.values() for command in COMMAND.findall(text)})


def resolved(name: str) -> object:
    """The module or what is in it, of a dotted name, as one import or attribute after the other."""
    found: object = importlib.import_module(name.split(".")[0])
    parts = name.split(".")
    for end, last in enumerate(parts[1:], 2):
        whole = ".".join(parts[:end])
        try:
            found = importlib.import_module(whole)
        except ModuleNotFoundError as error:
            if not f"{whole}.".startswith(f"{error.name}."):
                raise
            found = getattr(found, last)
    return found


@pytest.mark.parametrize("name", sorted({*PUBLIC, *mentioned()}))
def test_a_public_name_is_there(name):
    assert resolved(name) is not None


def test_a_name_that_is_not_there_is_seen():
    with pytest.raises(AttributeError, match="no_such_name"):
        resolved("recolor_fast.train.no_such_name")


def test_the_texts_name_what_they_are_read_for():
    assert {"recolor_fast.Colorizer", "recolor_fast.runtime.shipped"} <= set(mentioned())
    verbs = {f"-m recolor_fast.{verb}" for verb in ("train", "colorize", "evaluate", "study")}
    assert verbs | {f"export/to_{what}.py" for what in ("onnx", "safetensors", "tensorrt")} <= set(commands())


def test_colorizer_takes_what_it_took():
    """Its words in their order, by which it is called and pickled."""
    names = list(inspect.signature(colorize.Colorizer).parameters)
    assert names[:6] == ["path", "provider", "threads", "upsample", "saturation", "keep_tone"]


@pytest.mark.parametrize("command", [*commands(), "-m recolor_fast.demo"])
def test_a_verb_of_the_texts_explains_itself(command):
    """As it is typed: from the checkout's root, without its folder in any path but by install."""
    words = [sys.executable, *command.split(), "--help"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage:" in done.stdout
