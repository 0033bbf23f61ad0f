"""The perceptual network in the package: what it is, what it sees, and how it was trained."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open

from bench.records import perceptual, train_lpips_mini
from recolor_fast import resolve, train
from recolor_fast.losses import features, weights
from recolor_fast.losses.features import LPIPS, SHIPPED, build_lpips
from recolor_fast.losses.terms import build_terms
from recolor_fast.options import Options
from tests.photographs import pixels, shared, write_jpegs
from tests.test_losses import squeezenet

FILE = SHIPPED / "lpips_mini.safetensors"


@pytest.fixture
def cut_off(monkeypatch):
    def never(*_):
        raise AssertionError("asked the network for something")

    for name in ("reachable", "torch_cache", "pretrained"):
        monkeypatch.setattr(features, name, never)
    for name in ("fetch", "torch_cache", "private_folder"):
        monkeypatch.setattr(weights, name, never)


@pytest.fixture
def own_threads():
    threads = torch.get_num_threads(), cv2.getNumThreads()
    yield
    torch.set_num_threads(threads[0])
    cv2.setNumThreads(threads[1])


def pair(number: int = 0, sigma: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A photograph of 64 pixels, blurred and as it is, RGB (1,3,64,64) in [-1, 1]."""
    photograph = pixels(number, 64, 64)
    blurred = cv2.GaussianBlur(photograph, (0, 0), sigma) if sigma else photograph
    return train_lpips_mini.unit([blurred]), train_lpips_mini.unit([photograph])


def test_the_file_is_small_half_precision_and_finite():
    assert FILE.stat().st_size <= 1_500_000
    with safe_open(FILE, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, no dict
    assert {value.dtype for value in tensors.values()} == {torch.float16}
    assert 500_000 < sum(value.numel() for value in tensors.values()) < 750_000
    assert all(value.isfinite().all() for value in tensors.values())
    heads = [value for key, value in tensors.items() if key.startswith("head")]
    assert len(heads) == 5
    assert all((head >= 0).all() and head.max() > 0 for head in heads)


def test_it_is_had_without_asking_anybody(cut_off):
    assert features.missing("lpips_mini", "") == ""
    (term,) = build_terms(Options(terms=(("lpips_mini", 50.0),)))
    assert term.image
    assert term.loss(*pair(sigma=2.0)) > 0


def test_a_training_with_the_network_cut_off_uses_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(features, "reachable", lambda url: False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    arguments = "--data sample --preset pix2pix-lpips --size 64 --width 4 --images 2 --device cpu --name r".split()
    assert train.main([*arguments, "--runs", str(tmp_path)]) == 0
    said = capsys.readouterr().err
    assert said.count("no weights of lpips_alex here: lpips_mini takes its place") == 1
    assert '"lpips": "lpips_mini"' in (tmp_path / "r" / "options.json").read_text()
    assert "lpips_mini" in (tmp_path / "r" / "results.csv").read_text().splitlines()[0]


def test_distance_is_zero_of_the_same_and_grows_with_blur():
    network = build_lpips("lpips_mini", "")
    assert not any(parameter.requires_grad for parameter in network.parameters())
    for number in range(3):
        found = [network(*pair(number, sigma)).item() for sigma in (0.0, 0.5, 1.0, 2.0, 4.0)]
        assert found[0] == 0
        assert all(np.diff(found) > 0)


def test_each_distance_of_a_batch_is_that_of_the_image_alone():
    network = build_lpips("lpips_mini", "")
    fakes = torch.cat([pair(0, sigma)[0] for sigma in (1.0, 3.0)])
    real = pair()[1]
    alone = [network(fake[None], real).item() for fake in fakes]
    assert network.distances(fakes, real).tolist() == pytest.approx(alone, rel=1e-5)
    assert network(fakes, real.expand(2, -1, -1, -1)).item() == pytest.approx(sum(alone) / 2, rel=1e-5)


def test_gradient_is_finite_under_autocast_and_compiled_as_one_graph():
    network = build_lpips("lpips_mini", "")
    fake, real = pair(sigma=2.0)

    def gradient(loss, amp):
        leaf = fake.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            value = loss(leaf, real)
        assert value.dtype == torch.float32
        value.backward()
        assert leaf.grad.isfinite().all()
        return leaf.grad

    exact = gradient(network, False)
    assert exact.abs().max() > 0
    assert torch.cosine_similarity(exact.flatten(), gradient(network, True).flatten(), 0) > 0.95
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(gradient(compiled, False), exact, rtol=1e-4, atol=1e-7)


def test_another_networks_file_is_an_error_that_names_what_it_lacks(tmp_path):
    torch.save(build_lpips("lpips_style_squeeze", "random").slices.state_dict(), tmp_path / "squeezenet.pth")
    with pytest.raises(ValueError, match=r"squeezenet\.pth.*lpips_mini.*does not fit: it has no features\.0\.weight"):
        build_lpips("lpips_mini", str(tmp_path / "squeezenet.pth"))


def test_it_agrees_with_squeezenet_more_than_pixels_or_no_training_do():
    file = squeezenet()
    paths = perceptual.chosen(shared("imagenet-wide"), 3)
    teacher = {"SqueezeNet": perceptual.of_network(build_lpips("lpips_style_squeeze", str(file)))}
    values = perceptual.measured(paths, 128, teacher | perceptual.judges(""))
    rank = {name: perceptual.spearman(value.ravel(), values["SqueezeNet"].ravel()) for name, value in values.items()}
    assert rank["lpips_mini"] > 0.9
    assert rank["lpips_mini"] > max(rank["L2"], rank["untrained"]) + 0.03


def test_agreement_is_of_ranks_and_of_pairs_on_the_same_photograph(monkeypatch):
    monkeypatch.setattr(perceptual, "RESAMPLES", 5)
    theirs = np.arange(48.0).reshape(2, 6, 4)
    rows = perceptual.agreement({"T": theirs, "same": theirs**3, "turned": -theirs}, ["T"])
    whole = {row["name"]: row for row in rows if row["case"] == "T"}
    assert (whole["same"]["rank"], whole["same"]["ordered"]) == (pytest.approx(1), 1)
    assert (whole["turned"]["rank"], whole["turned"]["ordered"]) == (pytest.approx(-1), 0)
    assert {row["case"] for row in rows} == {"T", *(f"T, {name}" for name in perceptual.JUDGED)}


def test_its_cost_is_measured_without_photographs_or_teachers(own_threads, capsys):
    perceptual.main(["--quick"])
    found = json.loads(capsys.readouterr().out)
    assert (found["bench"], found["n"]) == ("perceptual", 0)
    assert [row["name"] for row in found["rows"]] == ["lpips_alex", "lpips_mini"] * 2
    assert all(row["ms"] > 0 for row in found["rows"])
    assert perceptual.main(["--quick", "--photographs", str(FILE.parent)]) == 2
    assert "photographs needs --squeezenet FILE" in capsys.readouterr().err


def teachers(folder: Path) -> list[str]:
    """Untrained teachers' files, as arguments."""
    import torchvision

    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_1().state_dict(), folder / "squeezenet.pth")
    layers = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["E"])[:18]
    torch.save({f"features.{key}": value for key, value in layers.state_dict().items()}, folder / "vgg19.pth")
    return ["--squeezenet", str(folder / "squeezenet.pth"), "--vgg19", str(folder / "vgg19.pth")]


def test_its_training_repeats_itself_and_scales_gray_to_a_fifth(tmp_path, own_threads, monkeypatch):
    monkeypatch.setattr(train_lpips_mini, "keep_freed", lambda: None)  # for the process, with all its tests
    paths = write_jpegs(tmp_path / "photographs", 3, height=70, width=80)
    arguments = ["--data", str(tmp_path / "photographs"), *teachers(tmp_path)]
    arguments += "--steps 2 --pairs 2 --vgg-pairs 1 --crop 32 --log-every 1".split()
    for name in ("one.safetensors", "two.safetensors"):
        train_lpips_mini.main([*arguments, "--out", str(tmp_path / name)])
    first = tmp_path / "one.safetensors"
    assert first.read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    network = build_lpips("lpips_mini", str(first))
    assert train_lpips_mini.gray_distance(network, paths) == pytest.approx(0.2, rel=0.01)
    assert not torch.equal(network.head0, LPIPS["lpips_mini"].build().heads[0])


def test_jpeg_and_warps_are_never_taught():
    judged = [perceptual.JUDGED[name].apply for name in ("jpeg", "warp")]
    assert not [name for name, family in train_lpips_mini.TAUGHT.items() if family.apply in judged]
    assert set(perceptual.HELD_OUT) == {"jpeg", "warp"}


def test_a_loss_networks_file_is_not_meant_for_it():
    options = Options(terms=(("l1", 100.0), ("lpips_mini", 5.0)), feature_weights="nowhere.pth")
    (_, ours) = build_terms(resolve.lpips(options))
    expected = build_lpips("lpips_mini", "")
    assert all(torch.equal(a, b) for a, b in zip(ours.loss.state_dict().values(), expected.state_dict().values()))
