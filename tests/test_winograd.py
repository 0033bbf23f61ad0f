"""Winograd's convolutions and the other ways of the fused critic: against torch's, in float64, and their rounding."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recolor_fast.networks import winograd
from recolor_fast.networks.critics import Scores, build_critic
from recolor_fast.networks.layers import TAPS
from recolor_fast.networks.winograd import SQUARES, Shape, transforms
from recolor_fast.options import from_dict
from recolor_fast.presets import PRESETS
from recolor_fast.resolve import fastest
from recolor_fast.step import convolutions, fused
from recolor_fast.step.convolutions import Convolution, Direct, Taps, Winograd

DOUBLE = torch.float64


def relative_error(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm())


@pytest.mark.parametrize("taps", SQUARES)
def test_the_transforms_are_the_correlation_exactly(taps: int) -> None:
    random = np.random.default_rng(0)
    outputs, filters, inputs = transforms(taps)
    d, w = random.integers(-9, 9, winograd.TILE + taps - 1).tolist(), random.integers(-9, 9, taps).tolist()

    def times(matrix, vector):
        return [sum(a * b for a, b in zip(row, vector)) for row in matrix]

    found = times(outputs, [a * b for a, b in zip(times(filters, w), times(inputs, d))])
    assert found == [sum(d[i + j] * w[j] for j in range(taps)) for i in range(winograd.TILE)]  # as fractions


def layer(random, kernel: int, stride: int, padding: int, channels: int, out: int, dtype=DOUBLE, scale: float = 1.0):
    """An input, a convolution of it, its output's cotangent, and what autograd in float64 makes of them."""
    torch.manual_seed(int(random.integers(1 << 30)))
    sides = tuple(int(side) for side in random.integers(max(kernel - 2 * padding, 3), 40, 2))
    x = torch.randn(int(random.integers(1, 5)), channels, *sides, dtype=dtype)
    weight = torch.randn(out, channels, kernel, kernel, dtype=dtype) * scale
    bias = torch.randn(out, dtype=dtype) if random.integers(2) else None
    exact = [value.double().detach().requires_grad_() for value in (x, weight)]
    y = F.conv2d(*exact, None if bias is None else bias.double(), stride, padding)
    cotangent = torch.randn(y.shape, dtype=dtype)
    gradients = torch.autograd.grad(y, exact, cotangent.double())
    return x, Convolution(weight, bias, stride, padding, dtype), cotangent, (y.detach(), *gradients), sides


def passes(way: convolutions.Way, x: torch.Tensor, cotangent: torch.Tensor) -> tuple[torch.Tensor, ...]:
    taken, met = way.taken(x), way.met(cotangent)
    return way.output(taken), way.input_gradient(met), way.weight_gradient(taken, met)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(4, 1, 1), (4, 2, 1), (4, 1, 0), (4, 2, 0), (2, 1, 0)])
def test_every_way_equals_torch_in_float64(kernel: int, stride: int, padding: int, last: bool) -> None:
    """Forward and both gradients, over odd sizes, channels, batches and both layouts."""
    random = np.random.default_rng(kernel + 10 * stride)
    for way in (Direct, Winograd, *([Taps] if stride == 1 else [])):
        for _ in range(4):
            out = 1 if way is Taps else int(random.integers(1, 7))
            x, one, cotangent, exact, sides = layer(random, kernel, stride, padding, int(random.integers(1, 6)), out)
            if last:
                x, cotangent = (value.contiguous(memory_format=torch.channels_last) for value in (x, cotangent))
            for name, found, right in zip(("output", "input", "weight"), passes(way(one, sides), x, cotangent), exact):
                assert found.shape == right.shape, (way, name)
                assert relative_error(found, right) < 1e-12, (way, name)


def test_without_the_bias_it_is_linear_which_a_tangent_needs() -> None:
    random = np.random.default_rng(1)
    for way in (Direct, Winograd, Taps):
        x, one, *_, sides = layer(random, 4, 1, 1, 5, 1)
        made = way(one._replace(bias=torch.ones(1, dtype=DOUBLE)), sides)
        taken = made.taken(x)
        assert torch.allclose(made.output(made.taken(2 * x), bias=False), 2 * made.output(taken, bias=False))
        assert torch.allclose(made.output(taken), 1 + made.output(taken, bias=False))


def test_half_precision_is_widened_first() -> None:
    """Of bfloat16 inputs Winograd's output is float32's, rounded once: nearer than torch's own."""
    torch.manual_seed(0)
    x, weight = torch.randn(2, 64, 20, 20).bfloat16(), torch.randn(64, 64, 4, 4) * 0.05
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    one = Convolution(weight, None, 1, 1, torch.bfloat16)
    direct, ours = (way(one, (20, 20)) for way in (Direct, Winograd))
    found = ours.output(ours.taken(x))
    assert found.dtype == torch.bfloat16
    assert relative_error(found, exact) < 0.8 * relative_error(direct.output(x), exact) < 0.01


@pytest.mark.parametrize(("kernel", "stride"), [(4, 1), (4, 2)])
def test_rounding_in_float32_is_at_most_1e_5(kernel: int, stride: int) -> None:
    random = np.random.default_rng(2)
    for _ in range(3):
        channels, out = (int(value) for value in random.integers(64, 257, 2))
        x, one, cotangent, exact, sides = layer(random, kernel, stride, 1, channels, out, torch.float32, 0.02)
        for found, right in zip(passes(Winograd(one, sides), x, cotangent), exact):
            assert relative_error(found, right) < 1e-5


def test_scores_by_taps_have_convolutions_gradients_twice_over_and_in_float32_under_autocast() -> None:
    torch.manual_seed(0)
    scores = Scores(TAPS, 1, 4, 1, 1)
    x = torch.randn(2, TAPS, 6, 7, requires_grad=True)

    def slopes(forward, dtype=torch.float32):
        one, at = copy.deepcopy(scores).to(dtype), x.detach().to(dtype).requires_grad_()
        y = forward(one, at)
        inputs = [at, *one.parameters()]
        first = torch.autograd.grad(y.square().sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(each.square().sum() for each in first), inputs)
        return [value.detach() for value in (y, *first, *second)]

    exact = slopes(torch.nn.Conv2d.forward, DOUBLE)
    with torch.autocast("cpu", torch.bfloat16):
        found = slopes(Scores.forward)
    assert len(found) == 7
    for ours, right in zip(found, exact):
        assert ours.dtype == torch.float32
        assert relative_error(ours, right) < 1e-5


def problem(width: int, size: int, **changes):
    options = replace(PRESETS["wgan-gp"], width=width, size=size, init_sigma=0.04, **changes)
    torch.manual_seed(0)
    critic = build_critic(options).to(memory_format=torch.channels_last)
    coarse = [torch.rand(options.batch, c, 16, 16) * 2 - 1 for c in (options.source_channels, 3, 3)]
    coarse[0] = coarse[0][:, :1].expand_as(coarse[0])
    batch = [F.interpolate(plane, size, mode="bilinear") for plane in coarse]
    return options, critic, [*batch, torch.rand(options.batch, 1, 1, 1)]


def update(options, critic, batch, fast: bool, dtype=torch.float32, amp: bool = False, backend: str = ""):
    parameters = {name: value.detach().to(dtype) for name, value in critic.named_parameters()}
    layers = fused.layers(critic, options)

    def run(parameters, *batch):
        return fused.critic_update(layers, options, parameters, *batch, fast=fast)

    if backend:
        torch._dynamo.reset()
        run = torch.compile(run, fullgraph=True, backend=backend)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=amp, cache_enabled=False):
        return run(parameters, *(value.to(dtype) for value in batch))


def apart(found, exact) -> float:
    total = sum(value.square().sum() for value in exact.values())
    return float((sum((found[name].double() - exact[name]).square().sum() for name in exact) / total) ** 0.5)


@pytest.mark.parametrize(
    "changes", [{"batch": 2}, {"critic_scales": 3}, {"penalty_on": "pair", "source_channels": 3, "batch": 4}]
)
def test_the_whole_update_is_that_of_float64_by_all_ways(changes, monkeypatch) -> None:
    """In float64, with all three ways in it: over scales, batches, and what the penalty is on."""
    monkeypatch.setattr(convolutions, "PAYS", dict.fromkeys(convolutions.PAYS, (8, 16)))
    monkeypatch.setattr(convolutions, "TAPS", 8)
    used = set()
    for way in (Direct, Winograd, Taps):
        name, made = way.__name__, way.output
        monkeypatch.setattr(way, "output", lambda *a, made=made, name=name, **k: (used.add(name), made(*a, **k))[1])
    options, critic, batch = problem(16, 128, **changes)
    parts, exact = update(options, critic, batch, False, DOUBLE)
    assert used == {"Direct"}
    fast_parts, fast = update(options, critic, batch, True, DOUBLE)
    assert used == {"Direct", "Winograd", "Taps"}
    assert apart(fast, exact) < 1e-10
    for name, value in parts.items():
        assert fast_parts[name].item() == pytest.approx(value.item(), rel=1e-10)


def test_the_whole_update_rounds_in_float32_and_under_amp() -> None:
    """Within 1e-5 of float64, in the median: rounding moves a few values over LeakyReLU's bend, whatever the way. With
    amp its error is bfloat16's, as with torch's convolutions."""
    rounded, ratios = [], []
    for seed in range(3):
        options, critic, batch = problem(64, 128)
        torch.manual_seed(seed)
        batch = [F.interpolate(torch.rand(1, c, 16, 16) * 2 - 1, 128, mode="bilinear") for c in (1, 3, 3)]
        batch.append(torch.rand(1, 1, 1, 1))
        exact = update(options, critic, batch, False, DOUBLE)[1]
        fast = update(options, critic, batch, True)[1]
        rounded.append(apart(fast, exact))
        assert all(value.dtype == torch.float32 for value in fast.values())
        if not seed:
            slow, fast = (update(options, critic, batch, way, amp=True)[1] for way in (False, True))
            ratios.append(apart(fast, exact) / apart(slow, exact))
    assert np.median(rounded) < 1e-5
    assert ratios[0] < 1.2


def test_it_can_be_compiled(monkeypatch) -> None:
    monkeypatch.setattr(convolutions, "PAYS", dict.fromkeys(convolutions.PAYS, (8, 16)))
    monkeypatch.setattr(convolutions, "TAPS", 8)
    options, critic, batch = problem(8, 64)
    exact = update(options, critic, batch, False, DOUBLE)[1]
    assert apart(update(options, critic, batch, True, DOUBLE, backend="eager")[1], exact) < 1e-10


def test_it_is_chosen_where_it_is_faster() -> None:
    """By shape: the fourth layer in either type, the second and third in float32 alone, at the default's size."""

    def ways(wide: bool, width: int = 64, size: int = 256, batch: int = 1) -> list[str]:
        found, side = [], size
        widths = [4, width, 2 * width, 4 * width, 8 * width, 1]
        for channels, out, stride in zip(widths[:-1], widths[1:], (2, 2, 2, 1, 1)):
            shape = Shape(4, stride, 1)
            chosen = convolutions.fastest(shape, channels, out, 3 * batch, (side, side), wide or out == 1)
            found.append(chosen.__name__)
            side = shape.sides(side, side)[0]
        return found

    assert ways(True) == ["Direct", "Winograd", "Winograd", "Winograd", "Taps"]
    assert ways(False) == ["Direct", "Direct", "Direct", "Winograd", "Taps"]
    assert ways(True, width=8) == ["Direct"] * 5
    assert ways(False, size=64) == ["Direct", "Direct", "Direct", "Direct", "Taps"]
    assert ways(False, size=64, batch=32)[3] == "Winograd"


def test_what_is_fastest_is_decided_by_device_processor_and_system(monkeypatch) -> None:
    def chosen(preset: str = "wgan-gp", device: str = "cpu", **changes) -> tuple[str, str]:
        options = fastest(replace(PRESETS[preset], **changes), torch.device(device))
        return options.winograd, options.channels_last

    monkeypatch.setattr("recolor_fast.resolve.matrix_units", lambda: False)
    assert chosen() == chosen(amp=True) == ("on", "critic")
    assert chosen(width=8) == ("off", "off")
    assert chosen(fused_critic="off") == chosen("pix2pix") == ("off", "off")
    assert chosen(device="cuda") == ("off", "on")
    monkeypatch.setattr("recolor_fast.resolve.matrix_units", lambda: True)
    assert chosen() == ("on", "critic")
    assert chosen(amp=True) == ("off", "critic")
    for changes, why in (({"device": "cuda"}, "device cuda"), ({"preset": "pix2pix"}, "is not fused: there is no g")):
        with pytest.raises(ValueError, match=f"winograd on: .*{why}.*; use auto"):
            chosen(**changes, winograd="on")


def test_a_run_of_before_there_was_a_choice_goes_on_without() -> None:
    assert from_dict({}).winograd == "off"
