"""What comes from outside is refused unless it is what was expected; what is written lies where it was asked for."""

import os
import pickle
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from recolor_fast.losses.weights import read_weights
from recolor_fast.options import Command
from tests.photographs import write_jpegs

ROOT = Path(__file__).resolve().parents[1]


class Evil:
    """A pickle of it writes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def script(path: Path) -> None:
    with warnings.catch_warnings():  # deprecated, but the files are about
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.ReLU()).save(path)


def pointing_outside() -> torch.Tensor:
    """Of one element, by its own account a million: what is computed with it reads beyond its memory."""
    with warnings.catch_warnings():  # sparse CSR is in beta
        warnings.simplefilter("ignore")
        rows = torch.tensor([0, 1 << 20])
        return torch.sparse_csr_tensor(rows, torch.tensor([0]), torch.ones(1), (1, 4), check_invariants=False)


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "program.pt2": (
        lambda path: torch.export.save(torch.export.export(torch.nn.ReLU(), (torch.zeros(1),)), path),
        "holds a program",
    ),
    "renamed.pth": (script, "holds a program"),
    "reduce.pth": (lambda path: path.write_bytes(pickle.dumps(Evil(path.with_name("evil")))), "no tensors"),
    "reduce_2.pth": (lambda path: path.write_bytes(pickle.dumps(Evil(path.with_name("evil")), 2)), "no tensors"),
    "in_a_zip.pth": (lambda path: torch.save({"weight": Evil(path.with_name("evil"))}, path), "no tensors"),
    "module.pth": (lambda path: torch.save(torch.nn.Linear(2, 2), path), "no tensors"),
    "tensor.pth": (lambda path: torch.save(torch.zeros(2), path), "it holds a Tensor"),
    "number.pth": (lambda path: torch.save({"weight": torch.zeros(2), "epoch": 3}, path), "its 'epoch' is a int"),
    "nested.pth": (lambda path: torch.save({"state_dict": {"weight": torch.zeros(2)}}, path), "'state_dict' is a dict"),
    "sparse.pth": (lambda path: torch.save({"weight": torch.eye(3).to_sparse()}, path), "layout torch.sparse_coo"),
    "outside.pth": (lambda path: torch.save({"weight": pointing_outside()}, path), "not satisfied"),
    "meta.pth": (lambda path: torch.save({"weight": torch.empty(3, device="meta")}, path), "device meta"),
    "text.pth": (lambda path: path.write_text("junk"), ""),
    "empty.pth": (lambda path: path.touch(), ""),
    "missing.pth": (lambda path: None, "No such file"),
    "empty.safetensors": (lambda path: path.touch(), "header"),
    "pickle.safetensors": (lambda path: path.write_bytes(pickle.dumps(Evil(path.with_name("evil")))), "header"),
    "cut.safetensors": (
        lambda path: path.write_bytes(safetensors.torch.save({"weight": torch.zeros(100)})[:-10]),
        "incomplete",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_weights_that_are_more_or_less_than_tensors_are_one_error(name, tmp_path, recwarn):  # torch warns of protocols
    write, said = FILES[name]
    write(tmp_path / name)
    expected = rf"{re.escape(name)}: not a readable \.safetensors or \.pth state_dict, tensors by name \(.*{said}"
    with pytest.raises(ValueError, match=expected) as caught:
        read_weights(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "evil").exists()


def test_tensors_by_name_are_read(tmp_path):
    weights = {"weight": torch.arange(3.0), "count": torch.tensor(3)}
    torch.save(weights, tmp_path / "a.pth")
    torch.save(weights, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(weights, tmp_path / "a.safetensors")
    for name in ("a.pth", "old.pth", "a.safetensors"):
        read = read_weights(tmp_path / name)
        assert all(torch.equal(read[key], value) for key, value in weights.items())


def test_no_code_reads_what_could_run():
    """Each of these has a safe form, or no use here."""
    unsafe = re.compile(
        r"pickle\.loads?\(|np\.load\((?!.*allow_pickle=False)|yaml\.|\beval\((?!\))|\bexec\(|shell=True|os\.system|jit\.load|export\.load|"
        r"torch\.load\((?!.*weights_only=True)|load_state_dict_from_url|extractall\((?!.*filter=)|mktemp\("
    )
    found = []
    for folder in ("recolor_fast", "export", "bench"):
        for path in (ROOT / folder).rglob("*.py"):
            found += [f"{path.name}: {line}" for line in path.read_text().splitlines() if unsafe.search(line)]
    assert found == []


def test_no_code_asks_without_tls():
    """Only this machine. Names of XML namespaces look like addresses: what has them loads nothing from anywhere."""
    address = re.compile(r"http://(?!127\.0\.0\.1|\{)")
    network = re.compile(r"^\s*(?:from|import) .*\b(?:urllib|http|socket|ssl|requests|download)\b", re.M)
    paths = [path for folder in ("recolor_fast", "export", "bench") for path in (ROOT / folder).rglob("*.py")]
    named = {path.name for path in paths if address.search(path.read_text())}
    connecting = {path.name for path in paths if network.search(path.read_text())}
    assert named & connecting == set()
    assert named >= {"xmp.py"}
    assert connecting >= {"download.py", "__main__.py"}


PROGRAM = """
import os, sys
written = set()
def seen(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        written.add(arguments[0])
    elif event in ("os.mkdir", "os.symlink", "os.link"):
        written.add(os.fspath(arguments[0 if event == "os.mkdir" else 1]))
    elif event == "os.rename":
        written.add(os.fspath(arguments[1]))
sys.addaudithook(seen)
from recolor_fast import train
code = train.main(sys.argv[1:])
for path in sorted(os.path.abspath(os.fsdecode(path)) for path in written):
    print('wrote', path)
sys.exit(code)
"""


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=[pytest.mark.slow, pytest.mark.compiler])])
def test_training_writes_to_its_run_folder_alone(tmp_path, compiled):
    """Seen from inside, wherever it may be, and on the disk: in a home, a temporary and a working folder of its own."""
    places = {name: tmp_path / name for name in ("home", "tmp", "cwd", "cache")}
    for place in places.values():
        place.mkdir()
    write_jpegs(tmp_path / "photographs", 4)
    environment = {key: os.environ[key] for key in ("PATH", "LD_LIBRARY_PATH") if key in os.environ}
    environment |= {"HOME": str(places["home"]), "TMPDIR": str(places["tmp"]), "PYTHONPATH": str(ROOT)}
    environment |= {"RECOLOR_FAST_CACHE": str(places["cache"]), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    compile = ["--compile", "on"] if compiled else []
    words = "--preset pix2pix --size 64 --width 4 --images 2 --samples 1 --device cpu --name r --data".split()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words, str(tmp_path / "photographs"), *compile],
        capture_output=True,
        text=True,
        cwd=places["cwd"],
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    run = places["cwd"] / "runs" / "r"
    written = {Path(line.removeprefix("wrote ")) for line in done.stdout.splitlines() if line.startswith("wrote ")}
    assert any(path.parent == run / "checkpoints" for path in written)
    cached = [places["cache"] / name for name in ("index", *["compiled"] * compiled)]
    allowed = (run, *cached, places["tmp"], Path("/dev"))  # torch tries on import whether it may write temporary files
    outside = {path for path in written if not any(map(path.is_relative_to, allowed))}
    assert outside - {run.parent, *places.values()} == set()  # made on the way, where missing
    fonts = places["home"] / ".cache" / "matplotlib"  # matplotlib's own list of them, of the process that draws
    kept = (run, *cached, tmp_path / "photographs", fonts)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and not any(map(path.is_relative_to, kept))] == []


def test_a_runs_name_leads_nowhere_else():
    for name in ("../outside", "/outside", "a/b", "..", "."):
        with pytest.raises(ValueError, match="expected the plain name of a folder"):
            Command(name=name)


def test_onnxruntime_reports_nothing(tmp_path: Path) -> None:
    """Where it would, it keeps what it has to send in the home folder, and a session's number among temporary files."""
    program = "import time; from recolor_fast import runtime; runtime.load(runtime.shipped(), 'cpu', 1); time.sleep(.3)"
    taken = ("CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "XDG_CACHE_HOME")  # what silences it, or moves it
    environment = {name: value for name, value in os.environ.items() if name not in taken}
    places = dict.fromkeys(("HOME", "TMPDIR"), str(tmp_path))
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, env=environment | places)
    assert [*tmp_path.iterdir()] == []
