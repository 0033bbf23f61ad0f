"""How many threads a training takes, and how much memory it has had."""

import subprocess
import sys

import pytest
import torch

from recolor_fast.machine import environment, processors


def test_threads_are_all_that_are_usable_but_for_those_that_others_keep_busy(monkeypatch, capsys):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(processors, "_mine", lambda: set(range(8)))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    for busy, expected in ((0.0, 6), (1.9, 6), (3.0, 5), (8.0, 1)):
        monkeypatch.setattr(processors, "taken", lambda busy=busy: busy)
        assert environment.threads(0, "cpu") == expected
        said = capsys.readouterr().err
        assert (said == "") == (expected == 6)
        assert said.count("\n") == (expected < 6)
        assert expected == 6 or f"keep {busy} processors busy: computing with {expected} of 6 threads" in said
    assert environment.threads(0, "cuda") == 8


def test_threads_that_are_asked_for_are_taken(monkeypatch, capsys):
    monkeypatch.setattr(processors, "_mine", lambda: set(range(8)))
    monkeypatch.setattr(processors, "taken", lambda: pytest.fail("nothing is to be looked at"))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert environment.threads(0, "cpu") == 3
    assert environment.threads(5, "cpu") == 5
    assert capsys.readouterr().err == ""
    assert environment.threads(9, "cpu") == 8
    assert "threads 9: this process may use 8 processors" in capsys.readouterr().err


def test_computing_sets_the_threads_of_torch_and_of_the_loader_and_puts_them_back():
    before = torch.get_num_threads(), processors.threads()
    with environment.computing(1, "cpu"):
        assert (torch.get_num_threads(), processors.threads()) == (1, 1)
    with environment.computing(before[0] + 1, "cpu"):
        assert torch.get_num_threads() == before[0] + 1
    with environment.computing(before[0] + 1, "cuda"):
        assert torch.get_num_threads() == before[0]
    assert (torch.get_num_threads(), processors.threads()) == before


def test_the_peak_of_memory_is_what_the_process_has_had():
    program = (
        "from recolor_fast.machine import memory; before = memory.peak(); held = b'x' * 200 * 2**20; del held; "
        "print(before, memory.peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    before, more = map(float, done.stdout.split())
    assert 2 < before < 200  # an interpreter, not what started it
    assert 190 < more < 230
