"""The shape of the project: imports point one way, coloring needs no torch, presets are data."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "recolor_fast"

# From the ground up: a module may import only modules of earlier lines.
ORDER = """
machine.errors
machine.launched
machine.cgroups
machine.processors
machine.bars
machine.files
machine.download
machine.memory
machine.signals
machine.extras
machine.starting
machine.versions
cli
__main__
photographs.preparation
options
presets
settings
arguments.foreign
arguments.texts
arguments.benchmark
arguments.demo
arguments.doctor
arguments.evaluate
arguments.plot
arguments.serve
arguments.shards
arguments.study
arguments.to_onnx
arguments.to_safetensors
arguments.train
arguments.web
photographs.in_color
photographs.samples
photographs.directories
photographs.tiff_segments
photographs.tiff
photographs.avif
photographs.jpeg2000
photographs.pam
photographs.decoders
photographs.jpeg
photographs.cut_jpeg
photographs.containers
photographs.formats
photographs.opening
photographs.jpeg_headers
photographs.opened
photographs.heif
photographs.jxl
photographs.raw
photographs.libraries
photographs.encoders
photographs.images
artefact.hints
photographs.tones
photographs.chroma
photographs.parts
photographs.tags
photographs.exif
photographs.xmp
photographs.metadata
photographs.things
photographs.pages
photographs.boxed
photographs.inventory
photographs.provenance
photographs.profiles
photographs.pictures
photographs.restoring
networks.space
artefact.signatures
arguments.colorize
artefact.plain
artefact.engines
artefact.runtime
arguments.to_tensorrt
coloring.pipeline
photographs.walk
photographs.lists
photographs.claims
coloring.folder
coloring.outputs
coloring.coloring
coloring.destinations
coloring.tally
evaluation.plots
runs.read_rows
artefact.card
runs.curves
plot
coloring.sheet
coloring.palette
films.codecs
films.request
films.planes
films.source
films.segments
films.encoding
films.joining
films.film
coloring.hub
coloring.colorizer
scale.asked
scale.places
scale.table
scale.worker
scale.engine
scale.driver
colorize
study.study
study.making
study.page
study.report
study.__main__
serve.facts
serve.desk
serve.colorizers
serve.work
serve.guard
serve.connection
serve.color
serve.names
serve.painter
serve.zipped
serve.desk_routes
serve.health
serve.metrics
serve.app
serve.__main__
web.onnxruntime_web
web.models
web.site
web.__main__
doctor.findings
doctor.apart
doctor.child
doctor.installed
doctor.coloring
doctor.report
doctor.rows
doctor.table
doctor.__main__
doctor.benchmark
arguments.completion
machine.background
machine.environment
machine.timing
machine.ranks
photographs.gray_photographs
data.checked
data.shards
data.sources
data.index
data.dali
data.host
data.noise
data.film
data.colorless
data.old_film
data.simulated_hints
data.loader
data.chosen
data.listed
networks.winograd
networks.layers
networks.lite
networks.generators
artefact.graphs
networks.critics
losses.adversaries
losses.slopes
losses.penalty
losses.weights
losses.features
networks.published
losses.terms
step.updates
step.convolutions
step.fused
step.graphed
step.micro_batches
step.adam
step.guard
step.shared
step.iteration
step.step
runs.checkpoint
runs.csv_rows
runs.run_folder
runs.learned
runs.runs
runs.loggers
runs.beside
runs.watch
resolve
evaluation.metrics
artefact.proof
runs.validation
runs.progress
runs.console
runs.outlook
runs.signs
runs.session
evaluation.papers
evaluation.judges
evaluation.chosen
evaluation.colored
evaluation.systems
evaluation.tables
evaluation.report
evaluate
export.triton
export.to_onnx
export.to_safetensors
export.to_tensorrt
doctor.training
doctor.loading
doctor.speed
demo
shards
train
""".split()


def modules() -> dict[str, Path]:
    paths = [path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in paths}


def imported(source: str) -> set[str]:
    """Modules of this package that a source imports, as names below recolor_fast."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "recolor_fast":
            base = node.module.removeprefix("recolor_fast").removeprefix(".")
            names |= {f"{base}.{alias.name}".removeprefix(".") for alias in node.names} | {base}
        if isinstance(node, ast.Import):
            names |= {a.name.removeprefix("recolor_fast.") for a in node.names if a.name.startswith("recolor_fast.")}
    return names & set(ORDER)


def test_the_order_names_every_module():
    assert set(ORDER) == set(modules())


@pytest.mark.parametrize("name", ORDER)
def test_imports_point_one_way(name):
    for other in imported(modules()[name].read_text()):
        assert ORDER.index(other) < ORDER.index(name), f"{name} imports {other}"


def test_the_import_finder_finds():
    source = (
        "from recolor_fast import train\nfrom recolor_fast.data.loader import load\nimport recolor_fast.step.iteration"
    )
    assert imported(source) == {"train", "data.loader", "step.iteration"}


def test_nothing_in_the_package_imports_export_bench_or_tests():
    for path in modules().values():
        assert not re.search(r"^\s*(from|import) (export|bench|tests)\b", path.read_text(), re.M), path


LIGHT = """
options presets machine.extras machine.starting machine.versions cli arguments.completion arguments.benchmark
arguments.demo arguments.doctor arguments.evaluate arguments.serve arguments.shards arguments.study arguments.to_onnx
arguments.to_safetensors arguments.to_tensorrt arguments.train arguments.web photographs.images photographs.chroma
photographs.jpeg photographs.metadata photographs.provenance photographs.pictures artefact.runtime coloring.pipeline
photographs.walk photographs.lists photographs.claims coloring.folder coloring.outputs coloring.coloring
coloring.destinations coloring.sheet colorize doctor.__main__ doctor.benchmark doctor.coloring serve.__main__ shards
study.__main__ web.__main__
""".split()


def test_coloring_imports_neither_torch_nor_training():
    program = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(f"recolor_fast.{name}")
    heavy = {"torch", "torchvision", "lpips", "skimage", "onnx"} & {module.split(".")[0] for module in sys.modules}
    assert not heavy, f"{name} imports {heavy}"
"""
    done = subprocess.run([sys.executable, "-c", program, *LIGHT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_coloring_knows_no_options_of_a_training():
    program = "import sys, recolor_fast.colorize, recolor_fast.study; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {"recolor_fast.artefact.runtime", "recolor_fast.photographs.preparation"} <= set(loaded)
    assert not {"recolor_fast.options", "recolor_fast.presets", "recolor_fast.arguments.train"} & set(loaded)


def test_no_code_branches_on_a_presets_name():
    pattern = re.compile(r"preset\s*(==|!=|\bin\b)|preset\.(startswith|endswith)")
    found = []
    for folder in ("recolor_fast", "export", "bench"):
        for path in (ROOT / folder).rglob("*.py"):
            lines = path.read_text().splitlines()
            found += [f"{path.name}: {line}" for line in lines if pattern.search(line) and "for preset in" not in line]
    allowed = "if early.preset not in PRESETS"  # the check that the name is one
    assert [line for line in found if allowed not in line] == []


def test_no_file_is_called_like_a_package_it_uses():
    assert not (ROOT / "export" / "onnx.py").exists()


def test_only_the_package_is_installed():
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in PACKAGE.rglob("__init__.py")}
    assert set(settings) == found


def test_files_that_are_no_python_are_installed_too():
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    installed = {path for pattern in settings["recolor_fast"] for path in PACKAGE.glob(pattern)}
    assert installed == {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert {path.name for path in installed} >= {f"colorizer-{graph}.onnx" for graph in ("chroma", "image")}


def test_constraints_pin_every_dependency_and_name_no_host():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(name for extra in extras for name in extra)]
    pinned = (ROOT / "constraints.txt").read_text()
    assert "://" not in pinned
    lines = [line for line in pinned.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+", line) for line in lines)
    names = {line.split("==")[0].lower() for line in lines}
    for requirement in wanted:
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        assert name is not None
        assert name.group().lower() in names, requirement


def test_an_eager_training_imports_no_compiler():
    """Each takes a second of its start: torch's compiler, sympy, and torchvision, which imports both."""
    program = """
import sys, torch, recolor_fast.train
from dataclasses import replace
from recolor_fast.networks.generators import build_generator
from recolor_fast.presets import PRESETS
from recolor_fast.resolve import fastest
from recolor_fast.step.iteration import Step
with torch.device("meta"):  # as of a run that is loaded
    build_generator(PRESETS["pix2pix"])
for preset in ("wgan-gp", "pix2pix"):  # whose critics' updates are fused, and not
    options = replace(PRESETS[preset], size=64, width=8, terms=(("l1", 100.0),), lpips="off", device="cpu")
    step = Step(fastest(options, torch.device("cpu")), [], torch.device("cpu"))
    step(torch.zeros(1, 1, 64, 64, dtype=torch.uint8), torch.zeros(1, 3, 64, 64, dtype=torch.uint8), 0)
    step.state_dict()
print(*sys.modules)
"""
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "recolor_fast.step.adam" in loaded
    assert not {"torch._dynamo", "sympy", "torchvision"} & set(loaded)
