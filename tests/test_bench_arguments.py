"""The benchmarks' options: one style, and --help at once."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import arguments, gpu
from bench.records import train_shipped
from bench.records.arguments import TrainShipped

BENCH = Path(arguments.__file__).parent
SCRIPTS = sorted(path for path in BENCH.rglob("*.py") if 'if __name__ == "__main__"' in path.read_text())
HEAVY = re.compile(r"\|\s+(torch|cv2|onnxruntime|onnx|skimage|scipy)$", re.M)


def test_help_of_every_script_imports_nothing_that_takes_seconds():
    assert len(SCRIPTS) == 24
    words = [[sys.executable, "-X", "importtime", str(path), "--help"] for path in SCRIPTS]
    running = [subprocess.Popen(each, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for each in words]
    for path, process in zip(SCRIPTS, running):
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, path
        assert out.startswith("usage: "), path
        assert "--quick BOOL" not in out
        assert not HEAVY.findall(err), path


def test_what_is_heavy_would_be_seen():
    assert HEAVY.findall("import time:       100 |        200 |   torch\nimport time: 1 | 2 | torchx") == ["torch"]


def test_options_are_words_several_values_and_flags():
    parsed = arguments.parse(arguments.Gpu, [*"--batch 1 16 64 --device=cpu --only exact time --part".split(), "a b"])
    assert (parsed.batch, parsed.device, parsed.only, parsed.part) == ((1, 16, 64), "cpu", ("exact", "time"), "a b")
    parsed = arguments.parse(arguments.TrainStep, "--batch 1 16 --iterations 10 --runs 7 --waterfall --save".split())
    assert (parsed.batch, parsed.iterations, parsed.runs, parsed.waterfall, parsed.save) == ((1, 16), 10, 7, True, True)
    with pytest.raises(SystemExit):
        arguments.parse(arguments.TrainStep, ["--no-such-option"])


def test_defaults_that_are_told_elsewhere_too_are_the_same():
    assert TrainShipped(Path()).stages == tuple(train_shipped.STAGES)
    assert gpu.Arguments is arguments.Gpu
