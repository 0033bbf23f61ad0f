"""The verb `serve`: how it starts, what it refuses, how it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from recolor_fast.machine import extras
from recolor_fast.serve import __main__ as verb
from tests.serving import file_of

ROOT = Path(__file__).parents[1]


def refused(capsys: pytest.CaptureFixture[str], *words: object, code: int = 2) -> str:
    """What is said of words that end the verb with an exit code."""
    assert verb.main([str(word) for word in words]) == code
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    return said


def test_values_out_of_range_are_named(capsys, tmp_path):
    for words in (
        ("--port", 70000),
        ("--port", -1),
        ("--queue", 0),
        ("--max-bytes", 0),
        ("--max-pixels", 10**9),
        ("--timeout", 0),
        ("--timeout", "nan"),
        ("--threads", 0),
        ("--token", "short"),
        ("--token", "with a space and more"),
        ("--token", "x" * 20 + "\r\n"),
    ):
        assert str(words[0]) in refused(capsys, *words, "--state", tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_a_taken_port_and_a_foreign_address_are_a_line(capsys, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "give another --port" in refused(capsys, "--port", taken.getsockname()[1])
    assert "give another --port or --host" in refused(capsys, "--host", "192.0.2.1")  # no machine has it (RFC 5737)
    assert "give another --port or --host" in refused(capsys, "--host", "no such host")


def test_models_that_cannot_be_used_are_named(capsys, tmp_path):
    state = "--port", 0, "--state", tmp_path / "state"
    assert "none.onnx" in refused(capsys, *state, "--model", tmp_path / "none.onnx", code=4)
    shipped = ROOT / "recolor_fast" / "shipped"
    assert "graph image" in refused(capsys, *state, "--model", shipped / "colorizer-image.onnx")
    chroma = shipped / "colorizer-chroma.onnx"
    assert "is taken by another one" in refused(capsys, *state, "--model", chroma, "--model", chroma)


@pytest.mark.parametrize("module", ["uvicorn", "fastapi", "python_multipart", "prometheus_client"])
def test_a_missing_extra_is_a_line(module):
    program = f"import sys; sys.modules[{module!r}] = None; sys.argv[1:] = []; import runpy; "
    program += "runpy.run_module('recolor_fast.serve', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {module} is not installed; {extras.advice('serve')}\n"


@contextmanager
def running(folder: Path, *words: object, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The verb in a process of its own, and its address."""
    command = [sys.executable, "-m", "recolor_fast.serve", "--port", "0", "--state", str(folder / "state")]
    with subprocess.Popen(
        [*command, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    ) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def answered(address: str) -> int:
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"{address}health", timeout=60) as answer:
                return answer.status
        except ConnectionRefusedError:
            assert time.monotonic() < until


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
    ],
)
def test_signals_end_it_in_good_order(tmp_path, number, code):
    """Also while a photograph is being colored, another one is coming, and a connection does nothing."""
    large = file_of(np.random.default_rng(0).integers(0, 255, (3000, 3000), np.uint8), quality=50)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with running(tmp_path, TMPDIR=str(temporary)) as (process, address):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
        assert answered(address) == 200
        place = "127.0.0.1", int(address.rsplit(":", 1)[1].strip("/"))
        head = f"POST /color?format=PNG HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(large)}\r\n\r\n".encode()
        with (
            socket.create_connection(place),
            socket.create_connection(place) as one,
            socket.create_connection(place) as two,
        ):
            two.sendall(head + large[: 2**17])
            one.sendall(head + large)
            time.sleep(0.1)
            process.send_signal(number)
            out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (code, "")
    assert err.splitlines() == ["serving until Ctrl-C", "interrupted"]
    assert [*temporary.iterdir()] == []


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_kill_leaves_nothing_behind(tmp_path):
    large = file_of(np.random.default_rng(0).integers(0, 255, (3000, 3000), np.uint8), quality=50)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with running(tmp_path, TMPDIR=str(temporary)) as (process, address):
        assert answered(address) == 200
        place = "127.0.0.1", int(address.rsplit(":", 1)[1].strip("/"))
        head = f"POST /color?format=PNG HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(large)}\r\n\r\n".encode()
        with socket.create_connection(place) as one:
            one.sendall(head + large)
            time.sleep(0.1)
            process.kill()
            process.communicate(timeout=300)
    assert [*temporary.iterdir()] == []


def test_other_machines_are_told_of_loudly_and_the_token_may_be_in_the_environment(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(verb.Server, "run", lambda self, sockets: None)
    token = "0123456789abcdef"
    for words, environment, loud in (
        (("--host", "0.0.0.0"), "", True),
        (("--host", "0.0.0.0"), token, False),
        (("--host", "0.0.0.0", "--token", token), "", False),
        (("--host", "127.0.0.2"), "", False),
    ):
        monkeypatch.setenv("RECOLOR_FAST_TOKEN", environment)
        assert verb.main([*words, "--port", "0", "--state", str(tmp_path / "state")]) == 0
        told = capsys.readouterr()
        assert ("warning: there is no --token" in told.err) == loud
        assert token not in told.out + told.err
        shown = verb.EVERYWHERE.get(words[1], words[1])
        assert re.fullmatch(rf"http://{shown}:\d+/\n", told.out)
