"""bench/gpu.py's own plumbing, on the processor: what it shows of a device, a device alone can show."""

import csv
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import gpu


def python(*lines: str) -> list[str]:
    return [sys.executable, "-c", "\n".join(lines)]


def test_a_part_that_fails_or_takes_too_long_ends_no_other(tmp_path, monkeypatch, capsys):
    says = """print('{"case": "a", "images/s": 3.5}', flush=True)"""
    child = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    parts = [
        gpu.Part("tests of one", python("print('x\\n2 failed, 14 passed in 3s'); raise SystemExit(1)"), 60, True),
        gpu.Part("tests of none", python("print('1 skipped in 1s'); raise SystemExit(5)"), 60, True),
        gpu.Part("time slow", python(says, child, "import time", "time.sleep(600)"), 3),
        gpu.Part("time bad", python("raise SystemExit('no')"), 60),
        gpu.Part("time good", python(says), 60),
    ]
    monkeypatch.setattr(gpu, "_parts", lambda arguments: parts)
    started = time.monotonic()
    assert gpu.main(["--device", "cpu", "--out", str(tmp_path / "out")]) == 1
    assert time.monotonic() - started < 300  # whatever was to sleep for 600
    out = capsys.readouterr().out
    assert "time slow: took over 3 s" in out
    assert "time bad: exit 1" in out
    with open(next((tmp_path / "out").glob("gpu-*.csv")), newline="") as file:
        rows = {row["part"]: row for row in csv.DictReader(file)}
    assert list(rows) == [part.name for part in parts]
    assert (rows["tests of one"]["failed"], rows["tests of one"]["passed"]) == ("2", "14")
    assert rows["tests of none"]["ended"] == "well"
    assert rows["time slow"]["images/s"] == rows["time good"]["images/s"] == "3.5"
    assert "=== time bad\nno" in (tmp_path / "out" / "log.txt").read_text()


def test_what_no_time_is_left_for_is_named(tmp_path, capsys):
    assert gpu.main(["--device", "cpu", "--out", str(tmp_path), "--seconds", "2", "--only", "exact"]) == 1
    assert "exact: left out: no time left" in capsys.readouterr().out


def test_without_a_device_it_says_so(capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert gpu.main([]) == 2
    assert "torch sees no CUDA device" in capsys.readouterr().err


@pytest.mark.slow
def test_all_parts_on_a_cpu(tmp_path, capsys):
    words = "--device cpu --size 64 --width 4 --batch 1 --images 4 --seconds 600".split()
    assert gpu.main([*words, "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "resumed equals unbroken" in out
    assert " yes" in out
    assert {path.name for path in tmp_path.iterdir()} >= {"table.txt", "log.txt", "training.png", "training.csv"}


def test_the_whole_script_checks_first_and_fits_into_eight_minutes(tmp_path):
    """By a python that notes what it is asked and does nothing, and cannot do the last of it."""
    stand_in = tmp_path / "python"
    stand_in.write_text('#!/bin/sh\necho "$@" >> "$0.asked"\nexit $(echo "$@" | grep -c "${FAILS:-nothing}")\n')
    stand_in.chmod(0o755)
    script = Path(gpu.__file__).with_name("gpu.sh")

    def asked(**settings: str) -> tuple[int, list[str]]:
        notes = tmp_path / "python.asked"
        notes.unlink(missing_ok=True)
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **settings}
        done = subprocess.run(["bash", script, "out"], env=environment, capture_output=True, timeout=300)
        return done.returncode, [line.split()[0] for line in notes.read_text().splitlines()]

    whole = ["-c", "bench/gpu.py", "-c", "export/to_tensorrt.py"]
    assert asked() == (0, whole)
    assert asked(ROWS="1") == (0, [*whole, "bench/train_step.py", "bench/loader.py"])
    assert asked(FAILS="gpu.py") == (1, whole)  # the rest is done all the same
    assert asked(FAILS="import.tensorrt") == (0, whole[:-1])
    assert asked(FAILS="import.torch") == (2, whole[:1])
    limits = [int(seconds) for seconds in re.findall(r"timeout (\d+) python", script.read_text())]
    assert len(limits) == 2
    assert sum(limits) < 8 * 60
    names = [part.name for part in gpu._parts(gpu.Arguments())]
    assert names.index("exact") > max(k for k, name in enumerate(names) if name.startswith("tests"))
    assert names.index("exact") < min(k for k, name in enumerate(names) if name.startswith("time"))
