"""docs/plug-ins.md: what file managers and photo programs would start does what it says."""

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tyro
from PIL import Image

from recolor_fast import colorize
from tests import artefacts
from tests.commands import ROOT
from tests.photographs import write_jpegs
from tests.test_examples import EXAMPLES, tool

NAMES = ("an old photo.jpg", "it's 'hers'.jpg", '"quoted" $HOME.jpg')
ENTRIES = sorted(EXAMPLES.glob("*.desktop"))


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    return [path.rename(path.with_name(name)) for path, name in zip(write_jpegs(tmp_path / "in", 3), NAMES)]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One in which `recolor-fast` is found, and colors whatever it is given with a small model."""
    model = artefacts.constant(tmp_path / "sepia.onnx")
    program = "from recolor_fast.cli import main; raise SystemExit(main())"
    more = f"--model {model} --provider cpu"
    tool(tmp_path / "bin", "recolor-fast", f'exec {sys.executable} -c "{program}" "$@" {more}')
    tool(tmp_path / "bin", "notify-send", f'printf "%s\\n" "$@" > {tmp_path}/told')
    return os.environ | {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def entry(path: Path) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.optionxform = str
    parsed.read(path)
    return parsed


@pytest.mark.parametrize("path", ENTRIES, ids=lambda path: path.name)
def test_the_commands_of_desktop_files_are_ones_that_the_verb_takes(path: Path) -> None:
    parsed = entry(path)
    commands = [group["Exec"] for group in parsed.values() if "Exec" in group]
    actions = parsed["Desktop Entry"].get("Actions", "").split(";")[:-1]
    assert [f"Desktop Action {name}" in parsed for name in actions] == [True] * len(actions)
    assert len(commands) == max(1, len(actions))
    for command in commands:
        program, verb, *words = shlex.split(command)
        assert (program, verb, words[-1]) == ("recolor-fast", "colorize", "%F")
        arguments = tyro.cli(colorize.Arguments, args=[*words[:-1], *NAMES])
        assert (arguments.paths, arguments.settings.beside) == (NAMES, True)


@pytest.mark.skipif(not shutil.which("desktop-file-validate"), reason="there is no desktop-file-validate")
@pytest.mark.parametrize("path", ENTRIES, ids=lambda path: path.name)
def test_desktop_files_are_valid(path: Path) -> None:
    found = subprocess.run(["desktop-file-validate", str(path)], capture_output=True, text=True).stdout.splitlines()
    kde = "only valid for type"  # what a menu of Dolphin needs, and the standard has for applications alone
    assert [line for line in found if not (entry(path)["Desktop Entry"]["Type"] == "Service" and kde in line)] == []


def test_the_script_of_nautilus_colors_what_is_selected(photos, environment, tmp_path) -> None:
    script = tmp_path / "color-beside"
    shutil.copy(EXAMPLES / "color-beside.sh", script)
    words = ["sh", str(script), *NAMES[:2]]
    done = subprocess.run(words, cwd=tmp_path / "in", env=environment, capture_output=True, text=True)
    colored = {path.name for path in (tmp_path / "in").glob("*.colored.jpg")}
    assert (
        "skipped (2 in color)" in (tmp_path / "told").read_text()
    )  # these are; and nothing is done that was not asked
    assert (done.returncode, colored) == (0, set())
    for path in photos:
        make_gray(path)
    done = subprocess.run(words, cwd=tmp_path / "in", env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "2 colored" in (tmp_path / "told").read_text()
    assert {path.name for path in (tmp_path / "in").glob("*.colored.jpg")} == {
        "an old photo.colored.jpg",
        "it's 'hers'.colored.jpg",
    }


def make_gray(path: Path) -> None:
    with Image.open(path) as image:
        image.convert("L").save(path)


def test_the_script_of_digikam_writes_the_file_that_it_is_asked_for(photos, environment, tmp_path) -> None:
    page = (ROOT / "docs" / "plug-ins.md").read_text()
    command = re.search(r"^ *(recolor-fast .*OUTPUT.*)$", page, re.M)
    assert command is not None
    make_gray(photos[0])
    for number, path in enumerate(photos[:2]):  # gray, and in color
        output = tmp_path / "in" / f"BatchTool-{number}.digikamtempfile.JPG"
        output.touch()
        values = {"INPUT": str(path), "OUTPUT": str(output)}
        done = subprocess.run(["bash", "-c", command[1]], env=environment | values, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert (output.read_bytes() == path.read_bytes()) == (number == 1)
        assert output.stat().st_size > 0


def test_send_to_hands_on_each_file_and_has_the_line_ends_of_windows() -> None:
    data = (EXAMPLES / "color-beside.cmd").read_bytes()
    assert data.count(b"\r\n") == data.count(b"\n") > 5
    assert b'recolor-fast colorize --beside "%%p"' in data
