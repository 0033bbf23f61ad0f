"""The pretrained generators: the encoder is EfficientNet-Lite's, its weights the published ones, frozen as asked."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from recolor_fast import train
from recolor_fast.losses.terms import build_terms
from recolor_fast.networks import lite, published
from recolor_fast.networks.generators import build_generator
from recolor_fast.networks.layers import encoder
from recolor_fast.options import Options
from recolor_fast.presets import PRESETS
from recolor_fast.resolve import encoder_file, fastest
from recolor_fast.runs import learned, run_folder
from recolor_fast.step.iteration import Step
from tests import trainings
from tests.photographs import write_jpegs

TINY = replace(
    PRESETS["pix2pix-lab"],
    generator="lite0",
    generator_norm="none",
    width=4,
    size=64,
    init="he",
    critic="",
    encoder_weights="random",
    device="cpu",
)


def weights(name: str) -> dict[str, Tensor]:
    """Weights of the published form, random: convolutions without bias, batch norms with statistics of their own."""
    state: dict[str, Tensor] = {}

    def add(convolution: str, norm: str, out: int, into: int, kernel: int) -> None:
        state[f"{convolution}.weight"] = torch.randn(out, into, kernel, kernel) / (into * kernel**2) ** 0.5
        state[f"{norm}.weight"], state[f"{norm}.bias"] = torch.rand(out) + 0.5, torch.randn(out) * 0.3
        state[f"{norm}.running_mean"], state[f"{norm}.running_var"] = torch.randn(out) * 0.3, torch.rand(out) + 0.5

    add("_conv_stem", "_bn0", lite.STEM, 3, 3)
    before, number = lite.STEM, 0
    for stage in lite.stages(name):
        for _ in range(stage.blocks):
            block, wide = f"_blocks.{number}", before * stage.expansion
            if stage.expansion > 1:
                add(f"{block}._expand_conv", f"{block}._bn0", wide, before, 1)
            add(f"{block}._depthwise_conv", f"{block}._bn1", wide, 1, stage.kernel)
            add(f"{block}._project_conv", f"{block}._bn2", stage.channels, wide, 1)
            before, number = stage.channels, number + 1
    return state


def reference(state: dict[str, Tensor], name: str, rgb: Tensor) -> list[Tensor]:
    """EfficientNet-Lite as published, batch norms and all, of RGB in [0, 1]; SAME padding as TensorFlow computes it."""

    def convolve(x: Tensor, convolution: str, norm: str, stride: int = 1, groups: int = 1) -> Tensor:
        kernel = state[f"{convolution}.weight"]
        total = max((-(-x.shape[-1] // stride) - 1) * stride + kernel.shape[-1] - x.shape[-1], 0)
        x = F.conv2d(F.pad(x, (total // 2, total - total // 2) * 2), kernel, None, stride, groups=groups)
        numbers = (state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *numbers, eps=1e-3)

    mean, spread = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x, maps, number = F.relu6(convolve((rgb - mean) / spread, "_conv_stem", "_bn0", 2)), [], 0
    for place, stage in enumerate(lite.stages(name)):
        for index in range(stage.blocks):
            block, start = f"_blocks.{number}", x
            if stage.expansion > 1:
                x = F.relu6(convolve(x, f"{block}._expand_conv", f"{block}._bn0"))
            stride = stage.stride if index == 0 else 1
            x = F.relu6(convolve(x, f"{block}._depthwise_conv", f"{block}._bn1", stride, x.shape[1]))
            x = convolve(x, f"{block}._project_conv", f"{block}._bn2")
            x = x + start if stride == 1 and x.shape == start.shape else x
            number += 1
        if place in lite.STEPS:
            maps.append(x)
    return maps


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", lite.CHANNELS)
def test_folded_weights_are_the_published_network_but_at_the_border(name, channels):
    torch.manual_seed(0)
    state, network = weights(name), lite.Encoder(name, channels)
    network.load_state_dict(lite.folded(state, name, channels))
    gray = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        ours = network((gray * 2 - 1).expand(-1, channels, -1, -1))
        theirs = reference(state, name, gray.expand(-1, 3, -1, -1))
    assert [tuple(one.shape) for one in ours] == [tuple(other.shape) for other in theirs]
    assert [one.shape[-1] for one in ours] == [32, 16, 8, 4, 2]
    # Nothing of the first map is at the border but its last row and column, which see the stem's padding.
    for one, other in zip(ours[:2], theirs):
        inside = (..., slice(4, -4), slice(4, -4))
        assert torch.allclose(one[inside], other[inside], rtol=1e-3, atol=1e-3 * other.abs().max().item())


@pytest.mark.parametrize("name", lite.CHANNELS)
@pytest.mark.parametrize("size", [64, 96, 160])
def test_any_multiple_of_32_is_a_size(name, size):
    torch.manual_seed(0)
    options = replace(TINY, generator=name, size=size)
    generator = build_generator(options)
    generator.load_state_dict(build_generator(replace(options, size=64)).state_dict())
    with torch.no_grad():
        fake = generator(torch.rand(2, 1, size, size) * 2 - 1)
    assert fake.shape == (2, 2, size, size)
    assert 0 < fake.abs().mean() < 0.1


def test_sizes_are_the_generators_own():
    with pytest.raises(ValueError, match=r"size 96: generator unet .*64, 128, 256, 512.*lite0"):
        build_generator(Options(size=96))
    with pytest.raises(ValueError, match="size 100: expected a multiple of 32"):
        Options(size=100)


@pytest.mark.parametrize("preset", ["pix2pix", "pix2pix-lab", "gorriz-in-sn", "padova-code"])
def test_it_fits_presets_of_either_space_with_their_norms(preset):
    options = replace(
        PRESETS[preset], generator="lite0", generator_last_norm="", width=4, size=64, encoder_weights="random"
    )
    torch.manual_seed(0)
    generator = build_generator(options)
    fake = generator(torch.rand(2, 1, 64, 64) * 2 - 1)
    assert fake.shape == (2, 3 if options.space == "rgb" else 2, 64, 64)
    fake.square().sum().backward()
    for name, parameter in generator.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def step(**changes) -> Step:
    options = replace(TINY, **changes)
    return Step(fastest(options, torch.device("cpu")), build_terms(options), torch.device("cpu"))


def batch() -> tuple[Tensor, Tensor]:
    rgb = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return rgb[:, :1], rgb


COMPILED = {"compile": "on", "compile_backend": "aot_eager"}


@pytest.mark.parametrize("compiled", [{}, pytest.param(COMPILED, marks=pytest.mark.slow)])
def test_a_frozen_encoder_stays_until_its_share_of_the_run_is_over(compiled):
    learner = step(freeze_encoder=0.5, images=8, batch=2, **compiled)
    known = [p.detach().clone() for p in encoder(learner.generator).parameters()]
    other = [p.detach().clone() for p in learner.generator.up.parameters()]
    for images in (0, 2):
        learner(*batch(), images)
    assert all(torch.equal(a, b) for a, b in zip(known, encoder(learner.generator).parameters()))
    assert not any(torch.equal(a, b) for a, b in zip(other, learner.generator.up.parameters()))
    learner(*batch(), 4)
    assert not any(torch.equal(a, b) for a, b in zip(known, encoder(learner.generator).parameters()))


def test_the_encoders_rate_is_its_share_also_while_the_rate_falls_and_after_loading():
    learner = step(encoder_rate=0.25, learning_rate=1e-3, decay=1.0, images=4, batch=2)
    learner(*batch(), 2)
    rates = [float(group["lr"]) for group in learner.optimizers["generator"].param_groups]
    assert rates == pytest.approx([0.5e-3, 0.125e-3])
    again = step(encoder_rate=0.25, learning_rate=1e-3, decay=1.0, images=4, batch=2)
    again.load_state_dict(learner.state_dict())
    again(*batch(), 3)
    assert [float(g["lr"]) for g in again.optimizers["generator"].param_groups] == pytest.approx([0.25e-3, 0.0625e-3])


def test_freezing_what_is_not_there_is_an_error():
    with pytest.raises(ValueError, match=r"freeze_encoder 0\.5: generator residual has no pretrained encoder"):
        step(generator="residual", freeze_encoder=0.5)


def test_a_new_run_begins_with_the_published_encoder_and_goes_on_with_its_own(tmp_path):
    torch.manual_seed(0)
    state = weights("lite0")
    torch.save(state, tmp_path / "published.pth")
    write_jpegs(tmp_path / "photographs", 6)
    flags = (
        "--preset pix2pix-lab --generator lite0 --generator-norm none --init he --freeze-encoder 1 --batch 2".split()
    )
    flags += ["--critic", "", "--encoder-weights", str(tmp_path / "published.pth"), "--name", "run"]
    flags += "--per-class None --val-per-class None".split()
    trainings.run(tmp_path / "photographs", tmp_path / "runs", *flags)
    own = trainings.newest(tmp_path / "runs" / "run")["step"]["generator"]
    for name, tensor in lite.folded(state, "lite0", 1).items():
        assert torch.equal(own[f"encoder.{name}"], tensor), name
    (tmp_path / "published.pth").unlink()  # a run that goes on needs it no more
    trainings.run(tmp_path / "photographs", tmp_path / "runs", *flags, "--resume", "--images", 16)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("missing.pth", "encoder_weights .*missing.pth: there is no such file; the encoder of lite0 needs it"),
        ("other.pth", "not the published weights of lite0 .*_bn0.weight. is missing"),
        ("lite2.pth", "not the published weights of lite0"),
        ("damaged.pth", "damaged.pth: not a readable"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path, capsys, file, words):
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    torch.save(weights("lite2"), tmp_path / "lite2.pth")
    (tmp_path / "damaged.pth").write_bytes(b"nothing")
    write_jpegs(tmp_path / "photographs", 2)
    flags = ["--generator", "lite0", "--encoder-weights", tmp_path / file, "--preset", "pix2pix"]
    assert train.main(trainings.arguments(tmp_path / "photographs", tmp_path / "runs", *flags)) == 2
    text = capsys.readouterr().err
    assert re.search(words, text), text
    assert not (tmp_path / "runs").exists()


def test_the_package_of_weights_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(published.ENCODERS, "lite0", published.Published("no-such-package-of-weights", ""))
    with pytest.raises(ValueError, match=r"package no-such-package-of-weights is missing; .*\[pretrained\]"):
        encoder_file(replace(TINY, encoder_weights="auto"))
    assert encoder_file(TINY) is None
    assert encoder_file(replace(TINY, generator="unet", encoder_weights="auto")) is None


def test_a_package_whose_file_is_another_is_refused(tmp_path, monkeypatch):
    class File(type(Path())):
        def locate(self) -> Path:
            return Path(self)

    (tmp_path / "weights.pth").write_bytes(b"other")
    monkeypatch.setattr(published.metadata, "files", lambda package: [File(tmp_path / "weights.pth")])
    with pytest.raises(ValueError, match="SHA-256"):
        encoder_file(replace(TINY, encoder_weights="auto"))


def test_a_run_starts_from_the_colorizer_that_comes_with_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # ./shipped would be a folder of that name
    write_jpegs(tmp_path / "photographs", 4)
    flags = "--preset pix2pix-lab --generator lite2 --width 40 --generator-norm none --critic= --start shipped".split()
    flags += "--learning-rate 0 --name run --per-class None --val-per-class None --images 2 --save-every 2".split()
    trainings.run(tmp_path / "photographs", tmp_path / "runs", *flags)
    own = trainings.newest(tmp_path / "runs" / "run")["step"]["generator"]
    shipped = learned.trained(learned.WEIGHTS).generator.state_dict()
    assert own.keys() == shipped.keys()
    assert all(torch.equal(own[name], shipped[name]) for name in own)
    assert run_folder.stored_options(tmp_path / "runs" / "run").start == "shipped"
