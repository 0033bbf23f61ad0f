"""Generators and critics: sizes, parameters, and the activation that halves the penalty's work."""

import copy
import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from bench.paper import plain
from recolor_fast.artefact.graphs import Chroma, deployed
from recolor_fast.networks.critics import build_critic, check_critic
from recolor_fast.networks.generators import GENERATORS, POWERS, UNet, build_generator, check_generator
from recolor_fast.networks.layers import (
    NORMS,
    Doubling,
    Halving,
    InstanceNorm,
    LeakyReLU,
    SpectralNorm,
    power_iteration,
)
from recolor_fast.options import Options
from recolor_fast.presets import PRESETS


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_papers_sizes():
    options = PRESETS["pix2pix"]
    generator = build_generator(replace(options, generator_norm="batch"))
    assert round(count(generator) / 1e6, 2) == 54.41
    critic = build_critic(options)
    assert round(count(critic) / 1e6, 2) == 2.77
    (scores,) = critic(torch.zeros(1, 1, 256, 256), torch.zeros(1, 3, 256, 256))
    assert scores.shape == (1, 1, 30, 30)


def test_a_score_sees_70_pixels():
    torch.manual_seed(0)
    critic = build_critic(replace(PRESETS["wgan-gp"], width=4, critic_norm="none")).double()
    image = torch.randn(1, 3, 256, 256, dtype=torch.float64, requires_grad=True)
    (scores,) = critic(torch.zeros(1, 1, 256, 256, dtype=torch.float64), image)
    scores[0, 0, 15, 15].backward()
    rows = image.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert rows.max() - rows.min() + 1 == 70


@pytest.mark.parametrize("size", POWERS)
def test_every_size_gives_its_own_shape(size):
    generator = build_generator(replace(PRESETS["wgan-gp"], size=size, width=4))
    assert isinstance(generator, UNet)
    assert len(generator.down) == min(8, size.bit_length() - 1)
    with torch.no_grad():
        fake = generator(torch.randn(2, 1, size, size))
    assert fake.shape == (2, 3, size, size)
    assert fake.abs().max() <= 1


@pytest.mark.parametrize("norm", NORMS)
def test_a_residual_generator_has_the_same_weights_at_every_size_and_uses_all(norm):
    options = replace(
        PRESETS["pix2pix-lab"], generator="residual", generator_norm=norm, width=4, size=64, init="he", dropout=0.0
    )
    torch.manual_seed(0)
    generator, larger = build_generator(options), build_generator(replace(options, size=128))
    larger.load_state_dict(generator.state_dict())
    for network, size in ((generator, 64), (larger, 128)):
        fake = network(torch.rand(2, 1, size, size) * 2 - 1)
        assert fake.shape == (2, 2, size, size)
        assert fake.abs().max() <= 1
        fake.square().sum().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0, name
    ours = deployed(options, generator.eval())
    source = torch.rand(2, 1, 64, 64) * 2 - 1
    assert (ours(source) - generator(source)).abs().max() < 1e-5


def test_the_shipped_generator_has_under_4_million_weights_and_begins_nearly_gray():
    torch.manual_seed(0)
    options = Options(generator="residual", generator_norm="none", width=24, init="he", size=64)
    generator = build_generator(options).eval()
    assert 3.6e6 < count(generator) < 4e6
    with torch.no_grad():
        assert 0 < generator(torch.rand(2, 1, 64, 64) * 2 - 1).abs().mean() < 0.1


@pytest.mark.parametrize("generator", ["unet", "nearest", "residual", "lite0"])
def test_he_gives_each_convolution_the_variance_of_two_by_the_inputs_of_an_output(generator):
    torch.manual_seed(0)
    network = build_generator(
        Options(generator=generator, generator_norm="none", width=16, init="he", size=64, space="lab", equalize="none")
    )
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            taps = 4 if isinstance(module, nn.ConvTranspose2d) else module.kernel_size[0] ** 2
            inputs = module.in_channels // module.groups * taps
            expected = getattr(module, "gain", 1.0) * (2 / inputs) ** 0.5
            assert module.weight.std().item() == pytest.approx(expected, rel=0.2), name


def test_dropout_sits_on_the_papers_three_blocks():
    generator = build_generator(PRESETS["pix2pix"])
    assert [any(isinstance(m, nn.Dropout) for m in block) for block in generator.up] == [0, 1, 1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("norm", NORMS)
def test_every_parameter_is_used(norm):
    torch.manual_seed(0)
    options = replace(PRESETS["pix2pix"], size=64, width=4, generator_norm=norm, critic_norm=norm, critic_scales=2)
    for network, inputs in (
        (build_generator(options), (torch.randn(2, 1, 64, 64),)),
        (build_critic(options), (torch.randn(2, 1, 64, 64), torch.randn(2, 3, 64, 64))),
    ):
        out = network(*inputs)
        loss = sum(o.square().mean() for o in out) if isinstance(out, list) else out.square().mean()
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        for (name, _), gradient in zip(network.named_parameters(), gradients):
            assert gradient.abs().max() > 0, name


def test_scales_halve_the_pair():
    critic = build_critic(replace(PRESETS["pix2pix"], width=4, critic_scales=3))
    scores = critic(torch.zeros(1, 1, 256, 256), torch.zeros(1, 3, 256, 256))
    assert [score.shape[-1] for score in scores] == [30, 14, 6]


def test_initial_weights_are_the_seeds_and_sigmas():
    def build(seed: int, sigma: float) -> nn.Module:
        torch.manual_seed(seed)
        return build_generator(replace(PRESETS["pix2pix"], size=64, width=8, init_sigma=sigma))

    first, again, other = (build(*args).down[3][1].weight for args in ((0, 0.02), (0, 0.02), (1, 0.2)))
    assert torch.equal(first, again)
    assert first.std().item() == pytest.approx(0.02, rel=0.05)
    assert other.std().item() == pytest.approx(0.2, rel=0.05)


def test_our_activation_equals_torchs_in_value_and_first_two_derivatives():
    x = torch.randn(64, dtype=torch.float64, requires_grad=True)
    found = []
    for activation in (LeakyReLU(), nn.LeakyReLU(0.2)):
        y = activation(x)
        (first,) = torch.autograd.grad((y**2).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad((first**2).sum(), x)
        found.append((y, first, second))
    for ours, theirs in zip(*found):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)


def test_half_precision_instance_norm_is_computed_in_float32():
    norm = NORMS["instance"](4, False)
    x = torch.randn(2, 4, 16, 16) * 3 + 50
    half = norm(x.bfloat16())
    assert half.dtype == torch.bfloat16
    assert (half.float() - norm(x.bfloat16().float())).abs().max() < 0.02


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("gradient_layout", [torch.contiguous_format, torch.channels_last])
def test_norms_have_their_textbook_value_and_gradient_in_every_layout(norm, batch, layout, gradient_layout):
    module = NORMS[norm](4, False).double()
    torch.manual_seed(0)
    x = torch.randn(batch, 4, 5, 6, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    incoming = torch.randn(batch, 4, 5, 6, dtype=torch.float64).contiguous(memory_format=gradient_layout)
    over = (2, 3) if norm == "instance" else (0, 2, 3)
    expected = (x - x.mean(over, keepdim=True)) / (x.var(over, keepdim=True, unbiased=False) + 1e-5).sqrt()
    found = module(x)
    torch.testing.assert_close(found, expected)
    (ours,), (theirs,) = (torch.autograd.grad(y, x, incoming) for y in (found, expected))
    torch.testing.assert_close(ours, theirs)


def test_chroma_of_a_neutral_generator_is_neutral():
    class Copy(nn.Module):
        def forward(self, source):
            return source.expand(-1, 3, -1, -1)

    gray = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    assert (Chroma(Copy(), "rgb")(gray) == 128).all()


@pytest.mark.parametrize(
    ("preset", "generator_parameters", "critic_parameters", "maps"),
    [
        ("padova-code", 54.42, 2.77, [30]),  # gray in three channels, biases everywhere
        ("pix2pix-lab", 54.41, 2.77, [30]),
        ("gorriz", 41.83, 8.30, [16, 8, 4]),
        ("gorriz-bn", 41.83, 2.77, [16]),
    ],
)
def test_the_other_systems_sizes(preset, generator_parameters, critic_parameters, maps):
    options = PRESETS[preset]
    generator, critic = build_generator(options), build_critic(options)
    assert round(count(generator) / 1e6, 2) == generator_parameters
    assert round(count(critic) / 1e6, 2) == critic_parameters
    colors = 2 if options.space == "lab" else 3
    scores = critic(torch.zeros(2, 1, 256, 256), torch.zeros(2, colors, 256, 256))
    assert [score.shape[2] for score in scores] == maps


def test_a_score_of_the_strided_critic_sees_94_pixels():
    torch.manual_seed(0)
    options = replace(PRESETS["gorriz-bn"], width=4, critic_norm="none", init="normal")
    critic = build_critic(options).double()
    image = torch.randn(1, 2, 256, 256, dtype=torch.float64, requires_grad=True)
    (scores,) = critic(torch.zeros(1, 1, 256, 256, dtype=torch.float64), image)
    scores[0, 0, 8, 8].backward()
    rows = image.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert rows.max() - rows.min() + 1 == 94


def test_gorriz_mixes_norms_per_layer():
    """Instance norm on the decoder's last block and the critic's second layer, batch norm on every other."""
    generator, critic = (
        build(replace(PRESETS["gorriz"], width=4, spectral_norm=False)) for build in (build_generator, build_critic)
    )

    def norms(network: nn.Module) -> list[str]:
        return [type(m).__name__ for m in network.modules() if isinstance(m, (nn.BatchNorm2d, InstanceNorm))]

    assert norms(generator) == ["BatchNorm2d"] * 11 + ["InstanceNorm"]
    assert norms(critic) == ["InstanceNorm", "CriticBatchNorm", "CriticBatchNorm"] * 3
    assert not any(isinstance(m, nn.Dropout) for m in generator.modules())


@pytest.mark.parametrize("size", POWERS)
def test_the_nearest_generator_gives_its_own_shape_and_colors_blocks_alike(size):
    generator = build_generator(replace(PRESETS["gorriz"], size=size, width=4))
    with torch.no_grad():
        fake = generator(torch.randn(2, 1, size, size))
    assert fake.shape == (2, 2, size, size)
    assert fake.abs().max() <= 1


def test_spectral_norm_is_the_largest_singular_value():
    """Against numpy's SVD, in convolutions and transposed ones, after some power iterations."""
    torch.manual_seed(0)
    options = replace(PRESETS["pix2pix"], size=64, width=4, spectral_norm=True)
    network = build_generator(options)
    for _ in range(200):
        power_iteration(network)
    checked = 0
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            matrix = module.weight.detach().transpose(0, 1 if isinstance(module, nn.ConvTranspose2d) else 0).flatten(1)
            assert torch.linalg.svdvals(matrix)[0].item() == pytest.approx(1, rel=1e-3)
            checked += 1
    assert checked == 2 * len(network.down)


def test_a_forward_pass_moves_no_singular_vector():
    critic = build_critic(replace(PRESETS["gorriz"], width=4))
    before = {name: value.clone() for name, value in critic.named_buffers()}
    critic(torch.randn(2, 1, 64, 64), torch.randn(2, 2, 64, 64))
    assert all(torch.equal(value, before[name]) for name, value in critic.named_buffers())
    power_iteration(critic)
    assert not all(torch.equal(value, before[name]) for name, value in critic.named_buffers())


def test_glorot_weights_are_uniform_within_their_bound():
    options = replace(PRESETS["gorriz"], width=8, spectral_norm=False)
    for module in build_generator(options).modules():
        if isinstance(module, nn.Conv2d):
            out, into, height, width = module.weight.shape
            bound = (6 / ((out + into) * height * width)) ** 0.5
            assert 0.9 * bound < module.weight.abs().max() <= bound
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()


@pytest.mark.parametrize("spectral", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", [Halving, Doubling])
def test_small_maps_as_products_equal_torchs_convolutions(kind, bias, batch, spectral):
    """Output and every gradient, in training on maps under and over the limit, float64."""
    torch.manual_seed(0)
    layer = kind(5, 7, bias=bias)
    if spectral:
        parametrize.register_parametrization(layer, "weight", SpectralNorm(layer))
    layer = layer.double()
    for height, width in ((2, 4), (4, 2), (8, 8), (16, 16)):
        results = []
        for training in (True, False):  # in eval mode, torch's own
            x = torch.randn(batch, 5, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
            x.requires_grad_()
            y = layer.train(training)(x)
            gradients = torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])
            results.append([y, *gradients])
        for ours, theirs in zip(*results):
            assert ours.shape == theirs.shape
            assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("spectral", [False, True])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("generator", ["unet", "nearest", "residual"])  # those with convolutions of our own
def test_a_generators_gradients_are_those_of_torchs_convolutions(generator, norm, spectral, size, batch):
    """Norms in between: torch's batch norm goes wrong on odd strides (of one photograph's view), in silence."""
    torch.manual_seed(0)
    base = replace(PRESETS["pix2pix"], generator=generator, generator_norm=norm, spectral_norm=spectral)
    ours = build_generator(replace(base, width=4, size=size, dropout=0.0, init_sigma=0.1)).double()
    theirs = plain(ours)
    source = torch.rand(batch, 1, size, size, dtype=torch.float64)
    found, expected = (
        torch.autograd.grad(network(source).square().sum(), list(network.parameters())) for network in (ours, theirs)
    )
    for (name, parameter), one, other in zip(ours.named_parameters(), found, expected):
        assert one.shape == parameter.shape
        assert torch.allclose(one, other, rtol=1e-8, atol=1e-8 * other.abs().max().item() + 1e-12), name


@pytest.mark.parametrize(("kind", "side"), [(Halving, 2), (Doubling, 1)])
def test_under_autocast_a_single_position_is_computed_in_float32(kind, side):
    """Where casting the weights takes longer than the product: the gradient is exact, the output rounded once."""
    torch.manual_seed(0)
    layer = kind(64, 64)
    found, exact = [], copy.deepcopy(layer).double()
    for one, x in ((layer, torch.randn(1, 64, side, side).bfloat16()), (exact, None)):
        x = x if one is layer else found[0][0].detach().double()
        x = x.requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=one is layer):
            y = one(x)
        cotangent = torch.ones_like(y)
        found.append([x, y.detach(), *torch.autograd.grad(y, [one.weight, one.bias], cotangent)])
    assert found[0][1].dtype == torch.bfloat16
    for ours, theirs, least in zip(found[0], found[1], (0, 4e-3, 1e-6, 1e-6), strict=True):
        assert (ours.double() - theirs).norm() <= least * theirs.norm()


def test_small_maps_are_products_in_training_alone(monkeypatch):
    layer, taken = Halving(3, 3), []
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, x: taken.append(tuple(x.shape)))
    layer.train()(torch.zeros(1, 3, 16, 16))  # 64 positions
    assert taken == []
    layer(torch.zeros(1, 3, 16, 18))
    layer(torch.zeros(2, 3, 16, 16))
    layer.eval()(torch.zeros(1, 3, 2, 2))
    assert taken == [(1, 3, 16, 18), (2, 3, 16, 16), (1, 3, 2, 2)]


def fits(check, *arguments) -> bool:
    try:
        check(*arguments)
    except (RuntimeError, ValueError):  # of convolutions and of norms; ours is a ValueError
        return False
    return True


def test_whether_a_critic_leaves_a_score_map_is_known_without_building_it():
    """For each critic, depth, number of scales and norm, as many as it takes to have both answers of each."""
    answers = {}
    for critic, layers, scales, norms, batch in itertools.product(
        ("patch", "strided"), range(1, 7), (1, 2, 5), (("none", ""), ("batch", ""), ("instance", "batch")), (1, 2)
    ):
        options = replace(PRESETS["pix2pix"], size=64, width=1, critic=critic, critic_layers=layers)
        options = replace(options, critic_scales=scales, critic_norm=norms[0], critic_first_norm=norms[1])
        network, pair = build_critic(options), (torch.zeros(batch, 1, 64, 64), torch.zeros(batch, 3, 64, 64))
        known = fits(check_critic, options, batch)
        assert known == fits(network, *pair), (options, batch)
        answers.setdefault((critic, norms), set()).add(known)
    assert all(both == {True, False} for both in answers.values())
    assert len(answers) == 6


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_that_passes_its_check_runs(name):
    """At the smallest batch and size, where norms have the least to go by."""
    for norm, space in itertools.product(NORMS, ("rgb", "lab")):
        changes = {"generator": name, "generator_norm": norm, "space": space, "equalize": "none"}
        options = replace(PRESETS["pix2pix"], size=64, width=1, **changes)
        check_generator(options)
        assert build_generator(options)(torch.zeros(1, 1, 64, 64)).shape[2:] == (64, 64)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"generator": "vit"}, "generator 'vit': expected one of unet"),
        ({"generator": "unet", "size": 96}, "size 96: generator unet"),
        ({"generator": "unet", "hints": 3}, "hints 3 with generator unet"),
        ({"generator_norm": "layer"}, "generator_norm 'layer': expected one of none"),
        ({"generator_last_norm": "layer"}, "generator_last_norm 'layer': expected one of none"),
        ({"generator": "residual", "generator_last_norm": "batch"}, "generator residual has one norm throughout"),
        ({"generator": "lite0", "generator_last_norm": "batch"}, "generator lite0 has one norm throughout"),
        ({"space": "hsv"}, "space 'hsv': expected one of rgb"),
    ],
)
def test_what_a_generator_cannot_be_is_said_without_building_it(changes, words):
    with pytest.raises(ValueError, match=words):
        check_generator(replace(PRESETS["pix2pix"], **changes))
