"""README.md and docs/: short lines, links and paths that exist, commands that the verbs take."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tyro

from recolor_fast import colorize
from recolor_fast.arguments import (
    demo,
    evaluate,
    plot,
    serve,
    shards,
    study,
    to_onnx,
    to_safetensors,
    to_tensorrt,
    train,
    web,
)

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")])
PROGRAMS: dict[str, Callable[[list[str]], Any]] = {
    "-m recolor_fast.colorize": lambda words: tyro.cli(colorize.Arguments, args=words),
    "-m recolor_fast.demo": demo.parse,
    "-m recolor_fast.evaluate": evaluate.parse,
    "-m recolor_fast.plot": plot.parse,
    "-m recolor_fast.serve": serve.parse,
    "-m recolor_fast.shards": shards.parse,
    "-m recolor_fast.study": study.parse,
    "-m recolor_fast.train": train.parse,
    "-m recolor_fast.web": web.parse,
    "export/to_onnx.py": to_onnx.parse,
    "export/to_safetensors.py": to_safetensors.parse,
    "export/to_tensorrt.py": to_tensorrt.parse,
}
MADE = {"tables.md", "unusable.txt"}  # by programs, which write them elsewhere
# of pytest, of every program, of curl, of http.server, of docker and of tritonserver
OTHERS = {"dist", "help", "data_binary", "bind", "build_arg", "gpus", "rm", "model_repository"}
OTHERS |= {"logdir"}  # of tensorboard
OTHERS |= {"nnodes", "nproc_per_node", "rdzv_backend", "rdzv_endpoint", "max_restarts"}  # of torchrun
IN_WORDS = {"epochs", "options"}  # of train, which takes them before its options


def blocks(page: Path) -> list[str]:
    """The lines of a page's blocks of commands, comments left out."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.M | re.S)
    lines = [line.split("#")[0].strip() for language, text in found if not language for line in text.splitlines()]
    return [line for line in lines if line]


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """(program of PROGRAMS, its words) of each line that calls one."""
    calls = [line.removeprefix("python ") for line in blocks(page) if line.startswith("python ")]
    return [
        (program, shlex.split(line.removeprefix(program)))
        for line in calls
        for program in PROGRAMS
        if line.startswith(program)
    ]


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them of its headings."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def defined() -> set[str]:
    """The options of all programs: annotated names of classes, and what argparse adds."""
    code = [
        path.read_text() for folder in ("recolor_fast", "export", "bench") for path in (ROOT / folder).rglob("*.py")
    ]
    fields = {name for text in code for name in re.findall(r"^    (\w+): ", text, re.M)}
    return fields | {name.replace("-", "_") for text in code for name in re.findall(r'"--([\w-]+)"', text)}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


def test_the_readme_names_every_folder_of_the_package():
    folders = {path.parent.name for path in (ROOT / "recolor_fast").glob("*/__init__.py")}
    assert folders - set(re.findall(r"`recolor_fast/(\w+)/`", (ROOT / "README.md").read_text())) == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_prose_fits_the_screen(page):
    code = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        code ^= line.startswith("```")
        assert code or line.startswith("|") or len(line) <= 110, f"{page.name}:{number}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        place, _, anchor = link.partition("#")
        target = (page.parent / place) if place else page
        assert target.exists(), link
        assert not anchor or anchor in headings(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_exist(page):
    pattern = (
        r"(?<![\w./-])((?:recolor_fast|export|bench|tests|docs|photographs)/[\w./-]*\w|[\w-]+\.(?:md|toml|txt))(?!\w)"
    )
    for quoted in re.findall(r"`([^`\n]+)`", page.read_text()):
        for path in re.findall(pattern, quoted):
            places = (ROOT / path, ROOT / "recolor_fast" / path)
            assert any(place.exists() for place in places) or path in MADE, f"{page.name}: {path}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_programs_take_the_commands(page):
    for program, words in commands(page):
        PROGRAMS[program](words)  # SystemExit for what it does not take


def test_there_are_commands_on_the_pages():
    assert {program for page in PAGES for program, _ in commands(page)} == set(PROGRAMS) - {"-m recolor_fast.demo"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_exist(page):
    names = set(re.findall(r"(?<![\w-])--([a-z][a-z-]*)", page.read_text()))
    assert {name.replace("-", "_") for name in names} - defined() - OTHERS - IN_WORDS == set()


def test_contributing_names_what_is_defined_where_it_says():
    pairs = re.findall(r"`(\w+)` in `(recolor_fast/[\w/]+\.py)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(pairs) >= 9
    for name, path in pairs:
        assert re.search(rf"^(def |class )?{name}\b", (ROOT / path).read_text(), re.M), f"{name} in {path}"
