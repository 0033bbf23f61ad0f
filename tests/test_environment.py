"""What is recorded beside a number."""

import torch

from recolor_fast.environment import environment, versions


def test_versions_of_what_is_installed():
    found = versions()
    assert torch.__version__.startswith(found["torch"])
    assert "recolor-fast" in found
    assert "not-installed" not in found


def test_environment_without_a_git_program(monkeypatch):
    monkeypatch.setenv("PATH", "")
    found = environment(torch.device("cpu"))
    assert found["commit"] == ""
    assert "threads" in found["device"]
