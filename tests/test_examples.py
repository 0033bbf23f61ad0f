"""docs/examples: what a scheduler would start are commands that the verbs take; and the linters that are here agree."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tyro

from recolor_fast import colorize
from recolor_fast.arguments import train
from tests import artefacts
from tests.commands import ROOT
from tests.photographs import write_jpegs

yaml = pytest.importorskip("yaml")

EXAMPLES = ROOT / "docs" / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.sbatch"))
MANIFESTS = sorted(EXAMPLES.glob("*.yaml"))


def tool(folder: Path, name: str, text: str) -> None:
    """A program of this name, for a PATH with `folder` before the others."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def submitted(script: str, *words: object, folder: Path, **variables: str) -> str:
    environment = os.environ | {"PATH": f"{folder}/bin:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), **variables}
    command = ["bash", str(EXAMPLES / script), *map(str, words)]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_the_jobs_of_an_array_color_the_whole_folder(tmp_path):
    model = artefacts.constant(tmp_path / "sepia.onnx")
    photographs = write_jpegs(tmp_path / "in", 8)
    program = "from recolor_fast.cli import main; raise SystemExit(main())"
    tool(tmp_path / "bin", "recolor-fast", f'exec {sys.executable} -c "{program}" "$@"')
    for index in range(2):
        variables = {"SLURM_ARRAY_TASK_ID": str(index), "SLURM_CPUS_PER_TASK": "1"}
        more = ("--color", "recolor", "--model", model, "--provider", "cpu")
        submitted("color.sbatch", "in", "out", 2, *more, folder=tmp_path, **variables)
        done = len(list((tmp_path / "out").glob("*.jpg")))
        assert done == (8 if index else 2)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.jpg")) == [path.name for path in photographs]


def test_slurm_starts_a_training_that_resumes(tmp_path):
    tool(tmp_path / "bin", "scontrol", "echo one; echo two")
    tool(tmp_path / "bin", "srun", 'printf "%s\\n" "$@"')
    names = {"SLURM_JOB_NODELIST": "x", "SLURM_JOB_NUM_NODES": "2", "SLURM_GPUS_ON_NODE": "8", "SLURM_JOB_ID": "7"}
    told = submitted("train.sbatch", "a run", "data", "runs", "--batch", "256", folder=tmp_path, **names).splitlines()
    assert {"--nnodes=2", "--nproc-per-node=8", "--rdzv-endpoint=one:29500", "--rdzv-id=7"} <= set(told)
    assert_trains(told, batch=256)


def assert_trains(words: list[str], batch: int) -> None:
    """torchrun ... -m recolor_fast.train ...: restarted trainings find their run, and each GPU has its photographs."""
    assert words[0] == "torchrun"
    module = words.index("-m")
    assert words[module + 1] == "recolor_fast.train"
    launcher = dict(word.split("=") for word in words[1:module])
    early = train.first(words[module + 2 :])
    options = train.options(early, early.default)
    assert options.name
    assert options.resume
    assert options.batch == batch
    assert batch % (int(launcher["--nnodes"]) * int(launcher["--nproc-per-node"])) == 0
    assert int(launcher["--max-restarts"]) > 0


def manifests() -> dict[str, dict]:
    """By file and kind."""
    found = {}
    for path in MANIFESTS:
        for one in yaml.safe_load_all(path.read_text()):
            found[f"{path.name} {one['kind']}"] = one
    return found


def test_the_jobs_of_kubernetes_run_the_verbs():
    found = manifests()
    job = found["color.yaml Job"]["spec"]
    [container] = job["template"]["spec"]["containers"]
    words = [*container["command"], *container["args"]]
    assert words[:2] == ["recolor-fast", "colorize"]
    arguments = tyro.cli(colorize.Arguments, args=[word.replace("$(JOB_COMPLETION_INDEX)", "0") for word in words[2:]])
    assert arguments.shard == f"0/{job['completions']}"
    assert job["completionMode"] == "Indexed"
    job, service = found["train.yaml Job"]["spec"], found["train.yaml Service"]
    pod = job["template"]["spec"]
    [container] = pod["containers"]
    words = [*container["command"], *container["args"]]
    assert_trains(words, batch=256)
    assert f"--nnodes={job['completions']}" in words
    assert job["completions"] == job["parallelism"]
    assert f"--nproc-per-node={container['resources']['limits']['nvidia.com/gpu']}" in words
    name, port = found["train.yaml Job"]["metadata"]["name"], service["spec"]["ports"][0]["port"]
    assert f"--rdzv-endpoint={name}-0.{pod['subdomain']}:{port}" in words
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": name}


def test_the_containers_of_kubernetes_are_those_of_the_dockerfile():
    images = {one["image"] for one in yaml.safe_load((ROOT / "compose.yaml").read_text())["services"].values()}
    for one in manifests().values():
        if one["kind"] != "Job":
            continue
        pod = one["spec"]["template"]["spec"]
        assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsNonRoot"]) == (10001, True)
        [container] = pod["containers"]
        assert container["image"] in images
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path):
    if not shutil.which("shellcheck"):
        pytest.skip("needs shellcheck")
    done = subprocess.run(["shellcheck", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_the_manifests_are_of_the_schemas_of_kubernetes(path):
    validate = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate, of the extra engines")
    for one in yaml.safe_load_all(path.read_text()):
        validate.validate(one, validate.latest_version(), strict=True)
