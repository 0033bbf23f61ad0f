"""What doctor says mends a finding: a command that a shell takes, with words around it, or words alone."""

import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from recolor_fast.doctor.findings import Finding

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
ASKED = [PROJECT["dependencies"], *EXTRAS.values()]
OTHERS = {"openvino", "tensorrt-cu12", "tensorrt-cu13"}  # of which there is no extra
PACKAGES = OTHERS | {canonicalize_name(Requirement(text).name) for some in ASKED for text in some}
DEBIAN = re.compile(r"g\+\+|python3\.\d+-dev")
BEFORE = ("with an NVIDIA GPU: ", "with the index of packages that it came from: ")
AFTER = re.compile(r", (?:or|and) .*$")
PROGRAMS = ("pip", "sudo", "git", "curl", "tar", "rm", "chmod", "unset")
WORDS = re.compile(
    "|".join(
        [
            "(?:with an NVIDIA GPU: )?(?:see|install its driver, then `nvidia-smi`).*",
            "`nvidia-smi`.*",
            "train (?:without )?--.*",
            "install (?:a Python|Python 3.11.4 or later).*",
            "end .*",
            "make room, or .*",
            "report it, with what `recolor-fast doctor --json` says",
        ]
    )
)


def checked(mend: str) -> list[list[str]]:
    """The commands of a mending, of which each is one that its program takes; none of words that are known."""
    for words in BEFORE:
        mend = mend.removeprefix(words)
    if mend.split()[0] not in PROGRAMS:
        assert WORDS.fullmatch(mend), mend
        return []
    commands = [shlex.split(command) for command in AFTER.sub("", mend).split(" && ")]
    for program, *words in commands:
        TAKES[program](words)
    return commands


def _pip(words: list[str]) -> None:
    from pip._internal.commands import create_command

    verb, *rest = words
    options, names = create_command(verb).parse_args(rest)
    if verb == "uninstall":
        assert options.yes
        assert set(names) <= PACKAGES
        return
    assert verb == "install"
    assert all(Path(file) == ROOT / "constraints.txt" for file in options.constraints)
    for place in options.editables:
        folder, _, extra = place.rstrip("]").partition("[")
        assert (Path(folder), extra in EXTRAS) == (ROOT, True), place
    assert names or options.editables
    for name in names:
        if name != ROOT.as_uri():
            found = Requirement(name)
            assert canonicalize_name(found.name) in PACKAGES | {"recolor-fast"}, name
            assert found.name != "recolor-fast" or found.extras <= set(EXTRAS)


def _apt(words: list[str]) -> None:
    assert words[:2] == ["apt-get", "install"]
    assert all(DEBIAN.fullmatch(name) for name in words[2:]), words


def _git(words: list[str]) -> None:
    assert words == ["-C", str(ROOT), "checkout", "--", "recolor_fast"]


def _curl(words: list[str]) -> None:
    *options, place, address = words
    assert options == ["--create-dirs", "-fLo"]
    assert Path(place).is_absolute()
    assert address.startswith("https://")


def _paths(words: list[str]) -> None:
    """Of a program whose last word is a path."""
    assert Path(words[-1]).is_absolute()


def _unset(words: list[str]) -> None:
    assert words == ["CXX"]


TAKES = {
    "pip": _pip,
    "sudo": _apt,
    "git": _git,
    "curl": _curl,
    "tar": _paths,
    "rm": _paths,
    "chmod": _paths,
    "unset": _unset,
}


@pytest.fixture(autouse=True)
def looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the checks of doctor find in this process has a mending that is known."""

    def finding(*values: Any, **more: Any) -> Finding:
        made = Finding(*values, **more)
        assert bool(made.mend) == (made.state != "ok"), made
        if made.mend:
            checked(made.mend)
        return made

    for name in ("installed", "coloring", "training", "loading"):
        if module := sys.modules.get(f"recolor_fast.doctor.{name}"):
            monkeypatch.setattr(module, "Finding", finding)
