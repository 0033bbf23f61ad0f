"""Dockerfile and compose file: they name targets, extras, files and words that there are. No image is built here."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from recolor_fast.arguments import serve
from recolor_fast.cli import VERBS

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
TARGETS = set(re.findall(r"^FROM base AS (\w+)$", DOCKERFILE, re.M))
DEFAULTS = dict(re.findall(r"^ARG (\w+)=(\S+)$", DOCKERFILE, re.M))


def test_there_are_two_targets_on_one_base_and_none_runs_as_root():
    assert {"serve", "train"} == TARGETS
    for stage in DOCKERFILE.split("FROM base AS ")[1:]:
        assert re.search(r"^USER 10001:10001$", stage, re.M)
    assert "useradd --create-home --uid 10001 --gid 10001" in DOCKERFILE


def test_what_is_copied_and_installed_exists():
    copied = {name for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.M) for name in line.split()[:-1]}
    assert all((ROOT / name).exists() for name in copied)
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == kept
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for named in re.findall(r'"\.\[\$\{RUNTIME\},([\w,]+)\]"', DOCKERFILE):
        assert set(named.split(",")) <= set(extras)
    assert DEFAULTS["RUNTIME"] in extras


def test_the_containers_words_are_the_verbs():
    _, verb, *words = json.loads(re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE, re.M)[-1])
    arguments = serve.parse(words)
    assert verb in {one.name for one in VERBS}
    assert (arguments.host, arguments.port, arguments.open) == ("0.0.0.0", 8765, False)
    assert str(arguments.state) in re.search(r"install -d .*", DOCKERFILE).group().split()
    assert re.search(r"^EXPOSE 8765$", DOCKERFILE, re.M)


def test_compose_builds_these_targets_and_serves_this_machine_alone():
    composed = yaml.safe_load((ROOT / "compose.yaml").read_text())
    services = composed["services"]
    bought = services.pop("s3")
    assert bought["ports"] == ["127.0.0.1:9000:5000"]
    assert (bought["cap_drop"], bought["profiles"]) == (["ALL"], ["s3"])
    pinned = re.search(r"^moto==(.*)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert pinned
    assert bought["image"] == f"motoserver/moto:{pinned[1]}"  # what the tests of object stores run against
    assert {service["build"]["target"] for service in services.values()} == TARGETS
    for service in services.values():
        given = service["build"]["args"]
        assert given == {name: f"${{{name}:-{value}}}" for name, value in DEFAULTS.items()}
        assert service["cap_drop"] == ["ALL"]
    assert services["serve"]["ports"] == ["127.0.0.1:8765:8765"]
    named = {volume.split(":")[0] for service in services.values() for volume in service["volumes"]}
    assert {name for name in named if name[0] != "$"} == set(composed["volumes"])
