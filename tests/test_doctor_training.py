"""doctor's checks of torch, its device, the compiler, DALI and weights: each as it is here, and its bad case."""

from pathlib import Path

import pytest
import torch

from recolor_fast.data import dali, sources
from recolor_fast.doctor import loading, training
from recolor_fast.losses import weights
from recolor_fast.losses.features import FEATURES, LPIPS
from recolor_fast.machine import extras
from tests.mends import looked_at  # noqa: F401

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="looks at a machine without a CUDA device")


@NO_GPU
def test_a_torch_that_sees_no_gpu_where_there_is_one(monkeypatch):
    (finding,) = training.of_torch()
    assert (finding.state, finding.facts["torch"]) == ("ok", torch.__version__)
    monkeypatch.setattr(training, "has_gpu", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    (finding,) = training.of_torch()
    assert finding.state == "fault"
    assert "though there is a GPU" in finding.found
    monkeypatch.setattr(torch.version, "cuda", None)
    (finding,) = training.of_torch()
    assert finding.state == "absent"
    assert "built without CUDA" in finding.found


def test_torchvision_of_another_torch(monkeypatch):
    import torchvision

    assert [one.state for one in training.of_torchvision()] == ["ok"]

    def nms(*arguments):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(torchvision.ops, "nms", nms)
    with pytest.raises(RuntimeError, match="nms"):  # which child.made tells, with what installs it again
        list(training.of_torchvision())


def test_bfloat16_that_is_slow_or_wrong(monkeypatch):
    ratios = iter([2.0, 0.5])
    monkeypatch.setattr(training, "_ratio", lambda one, other: next(ratios))
    assert [(one.state, one.facts["speed"]) for one in training.bfloat16()] == [("ok", 2.0)]
    assert [(one.state, one.mend) for one in training.bfloat16()] == [("absent", "train without --amp")]
    monkeypatch.setattr(training, "_ratio", lambda one, other: 1.0)
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self * 1.1)
    assert [one.state for one in training.bfloat16()] == ["fault"]


def test_products_are_timed_in_turns_by_one_thread(monkeypatch):
    one, other = ((torch.zeros(1), torch.zeros(1)) for _ in range(2))
    seen, threads = [], torch.get_num_threads()

    def seconds(left, right):
        seen.append((left is other[0], torch.get_num_threads()))
        waits = 9.0 if len(seen) % 7 else 0.0  # most wait for a processor that others keep busy
        return (1.0 if left is other[0] else 4.0) + waits

    monkeypatch.setattr(training, "_seconds", seconds)
    torch.set_num_threads(2)
    try:
        assert training._ratio(one, other) == 4.0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert seen == [(False, 1), (True, 1)] * training.TURNS


def test_a_compiler_that_fails_or_computes_otherwise(monkeypatch):
    def fails(function):
        raise RuntimeError("C++ compile error\nmuch more")

    monkeypatch.setattr(training, "prepare_compiler", lambda: None)
    monkeypatch.setattr(torch, "compile", fails)
    (finding,) = training.compiles()
    assert finding.state == ("fault" if torch.cuda.is_available() else "absent")
    assert finding.found.startswith("C++ compile error")
    assert "much more" not in finding.found
    monkeypatch.setattr(torch, "compile", lambda function: lambda values: function(values) + 1)
    assert [one.state for one in training.compiles()] == ["fault"]
    monkeypatch.setattr(torch, "compile", lambda function: function)
    assert [one.state for one in training.compiles()] == ["ok"]


@pytest.mark.slow
@pytest.mark.compiler
def test_a_small_graph_is_compiled():
    assert [one.state for one in training.compiles()] == ["ok"]


def test_cuda_graphs_need_a_gpu():
    (finding,) = training.cuda_graphs()
    assert finding.state == ("ok" if torch.cuda.is_available() else "absent")


@pytest.mark.skipif(not dali.available(), reason="NVIDIA DALI is not installed")
def test_dali_decodes_a_photograph(monkeypatch):
    (finding,) = loading.decodes("cpu")
    assert (finding.state, finding.facts["levels"] < 1) == ("ok", True)
    monkeypatch.setattr(loading, "FAR", 0.0)
    assert [(one.state, one.mend) for one in loading.decodes("cpu")] == [("fault", "train --loader host")]


@NO_GPU
def test_dali_that_is_missing_or_has_no_gpu(monkeypatch):
    if dali.available():
        assert [(one.state, one.found) for one in loading.decodes("gpu")] == [("absent", "no CUDA device")]
    monkeypatch.setattr(dali, "available", lambda: False)
    assert [(one.state, one.mend) for one in loading.decodes("cpu")] == [("absent", extras.advice("train"))]


def test_weights_are_found_missed_or_damaged(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    found = list(loading.weights())
    assert {one.state for one in found} == {"absent"}
    names = {name for one in found for name in one.name.removeprefix("weights ").split(", ")}
    assert names == {*LPIPS, *FEATURES} - {"lpips_mini"}
    first = next(one for one in found if one.name == "weights lpips_alex")
    place = tmp_path / "checkpoints" / "alexnet-owt-7be5be79.pth"
    assert first.facts["place"] == str(place)
    assert first.mend == f"curl --create-dirs -fLo {place} https://download.pytorch.org/models/{place.name}"
    name = LPIPS["lpips_alex"].weights
    place.parent.mkdir()
    place.write_bytes(b"weights")
    (damaged,) = (one for one in loading.weights() if one.name == "weights lpips_alex")
    assert (damaged.state, damaged.mend) == ("fault", f"rm {place}")
    known = weights.PRETRAINED | {name: weights.PRETRAINED[name]._replace(size=7)}
    monkeypatch.setattr(loading, "PRETRAINED", known)
    import hashlib

    known[name] = known[name]._replace(sha256=hashlib.sha256(b"weights").hexdigest())
    (right,) = (one for one in loading.weights() if one.name == "weights lpips_alex")
    assert right.state == "ok"


def test_imagenette(monkeypatch, tmp_path):
    monkeypatch.setenv("RECOLOR_FAST_CACHE", str(tmp_path))
    (finding,) = loading.photographs()
    assert (finding.state, Path(finding.facts["place"])) == ("absent", tmp_path / sources.IMAGENETTE)
    (tmp_path / sources.IMAGENETTE).mkdir()
    assert [one.state for one in loading.photographs()] == ["ok"]
