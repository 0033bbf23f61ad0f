"""What is recorded beside a number."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch._inductor import config as inductor
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from recolor_fast import train
from recolor_fast.losses.terms import build_terms
from recolor_fast.machine.environment import deterministic, environment, float32_proper, prepare_compiler
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.versions import versions
from recolor_fast.options import Command
from recolor_fast.presets import PRESETS
from recolor_fast.resolve import fastest
from recolor_fast.step import fused
from recolor_fast.step.iteration import Step
from tests.test_golden import losses
from tests.test_step import batch, small


def test_versions_of_what_is_installed():
    found = versions()
    assert torch.__version__.startswith(found["torch"])
    assert "recolor-fast" in found
    assert "not-installed" not in found


def test_environment_without_a_git_program(monkeypatch):
    monkeypatch.setenv("PATH", "")
    found = environment(torch.device("cpu"))
    assert found["commit"] == ""
    assert " thread" in found["device"]


@pytest.fixture
def restored(monkeypatch):
    """Torch's settings as they were, after the test."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = torch.backends.cudnn.benchmark, torch.utils.deterministic.fill_uninitialized_memory
    yield
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark, torch.utils.deterministic.fill_uninitialized_memory = before


def test_deterministic_sets_all_that_torch_asks_for(restored):
    torch.backends.cudnn.benchmark = True
    deterministic()
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


@pytest.mark.parametrize(("device", "repeatable"), [("cuda", False), ("cuda", True), ("cpu", False)])
def test_kernels_are_chosen_by_time_on_a_gpu_unless_numbers_must_repeat(restored, monkeypatch, device, repeatable):
    """Before the photographs are even looked at, so before anything is warmed up or recorded."""

    def chosen(options, check):
        raise UserError(f"{torch.backends.cudnn.benchmark} {torch.are_deterministic_algorithms_enabled()}")

    monkeypatch.setattr(train, "choose", chosen)
    torch.backends.cudnn.benchmark = not repeatable and device == "cpu"
    options = replace(Command(), device=device, deterministic=repeatable, threads=1)
    with pytest.raises(UserError, match=f"{device == 'cuda' and not repeatable} {repeatable}"):
        train.train_decided(options, None, None)


def test_a_workspace_that_the_user_chose_stays(restored, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    deterministic()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


@pytest.mark.parametrize("preset", ["pix2pix", "wgan-gp", "gorriz", "pix2pix-lab"])
def test_iterations_have_deterministic_algorithms_alone(restored, preset):
    expected = losses(PRESETS[preset])
    deterministic()
    assert losses(PRESETS[preset]) == expected


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["off", "on"])
@pytest.mark.parametrize("preset", ["pix2pix", "wgan-gp-lpips", "gorriz", "features-resnet50"])
def test_a_deterministic_step_repeats_itself_on_a_gpu(restored, preset, backend):
    """Meaningful where no test before it started cuBLAS, which reads its setting then: run it alone."""
    deterministic()
    options = small(preset, device="cuda", compile=backend, cuda_graph="off", dropout=0.5)
    rows = []
    for _ in range(2):
        torch.manual_seed(1)
        step = Step(fastest(options, torch.device("cuda")), build_terms(options), torch.device("cuda"))
        for index in range(3):
            parts = step(*(tensor.cuda() for tensor in batch(index, options)), index)
        rows.append({name: part.item() for name, part in parts.items()})
    assert rows[0] == rows[1]


@pytest.fixture
def guessable(tmp_path, monkeypatch):
    """The folder that torch would take, in a temporary folder of this test."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("RECOLOR_FAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", default_cache_dir())
    with inductor.patch("cpp_cache_precompile_headers", True):
        yield Path(default_cache_dir())


def test_compiled_code_is_kept_in_a_private_folder(tmp_path, monkeypatch, guessable):
    assert guessable.parent == tmp_path / "tmp"
    prepare_compiler()
    folder = tmp_path / "cache" / "compiled"
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert not inductor.cpp_cache_precompile_headers  # they would lie in the other one
    assert not guessable.exists()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "own")
    prepare_compiler()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "own"
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    folder.chmod(0o755)
    with pytest.raises(OSError, match="open to other users"):
        prepare_compiler()


def test_a_function_may_be_compiled_in_many_forms(guessable):
    """A run that takes its batches in halves, and again, has more pieces and shapes than torch lets by itself."""
    torch._dynamo.reset()
    prepare_compiler()
    double = torch.compile(lambda x: 2 * x, fullgraph=True, dynamic=False, backend="eager")
    assert [double(torch.ones(length)).sum().item() for length in range(2, 20)] == [*range(4, 40, 2)]


@pytest.mark.parametrize("before", [True, False])
def test_what_amp_leaves_in_float32_is_no_tf32(before, monkeypatch):
    """Seen from inside the pieces of an iteration, compiled or not; without amp it is as torch has it, and it stays."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", before)
    seen, critic_update = [], fused.critic_update

    def update(*tensors, **others):
        seen.append(torch.backends.cudnn.allow_tf32)
        return critic_update(*tensors, **others)

    monkeypatch.setattr("recolor_fast.step.iteration.fused.critic_update", update)
    for changes in ({"amp": True}, {"amp": False}, {"amp": True, "compile": "on", "compile_backend": "eager"}):
        options = small("wgan-gp", critic_steps=1, **changes)
        Step(fastest(options, torch.device("cpu")), build_terms(options), torch.device("cpu"))(*batch(0, options), 0)
        assert torch.backends.cudnn.allow_tf32 == before
    assert seen[:2] == [False, before]
    assert not any(seen[2:])
    with pytest.raises(KeyError), float32_proper(True):
        raise KeyError
    assert torch.backends.cudnn.allow_tf32 == before
