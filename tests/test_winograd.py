"""Winograd's convolutions and the other ways of the fused critic: against torch's, in float64, and their rounding."""

import copy
import itertools
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recolor_fast.networks import layers, winograd
from recolor_fast.networks.critics import Scores, build_critic
from recolor_fast.networks.layers import TAPS
from recolor_fast.networks.winograd import SQUARES, STRIDES, Shape, transforms
from recolor_fast.options import from_dict
from recolor_fast.presets import PRESETS
from recolor_fast.resolve import fastest
from recolor_fast.step import convolutions, fused
from recolor_fast.step.convolutions import Convolution, Direct, Taps, Winograd
from recolor_fast.step.iteration import Step
from recolor_fast.step.updates import critic_update

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
    """Of bfloat16 inputs Winograd's output is float32's: nearer than torch's own."""
    torch.manual_seed(0)
    x, weight = torch.randn(2, 64, 20, 20).bfloat16(), torch.randn(64, 64, 4, 4) * 0.05
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    one = Convolution(weight, None, 1, 1, torch.bfloat16)
    direct, ours = (way(one, (20, 20)) for way in (Direct, Winograd))
    found = ours.output(ours.taken(x))
    assert found.dtype == torch.float32
    assert relative_error(found, exact) < 0.8 * relative_error(direct.output(x), exact) < 0.01


TRANSPOSED = Shape(4, 2, 1)


def slopes(forward, inputs, cotangent: torch.Tensor) -> list[torch.Tensor]:
    """A layer's output and its gradients by x, weight and bias, those that are wanted."""
    y = forward(*inputs)
    return [y.detach(), *torch.autograd.grad(y, [one for one in inputs if one.requires_grad], cotangent)]


@pytest.mark.parametrize("wide", [True, False])
def test_layers_that_autograd_differentiates_equal_torchs(wide: bool) -> None:
    """A convolution, and the transposed one of stride 2: in float64 over odd sizes, batches, layouts and what is
    differentiated by; in float32, of many channels, within 1e-5."""
    random = np.random.default_rng(4)
    kind, least = (DOUBLE, 1e-12) if wide else (torch.float32, 1e-5)
    for turn in range(12 if wide else 4):
        shape = (Shape(4, 1, 1), TRANSPOSED, Shape(4, 2, 1))[turn % 3]
        backward = turn % 3 == 1
        channels, out = (int(value) for value in random.integers(*((1, 7) if wide else (64, 129)), 2))
        sides = [int(side) for side in random.integers(4, 30, 2)]
        x = torch.randn(int(random.integers(1, 5)), out if backward else channels, *sides, dtype=kind)
        weight = 0.02 * torch.randn(out, channels, 4, 4, dtype=kind)
        bias = torch.randn(channels if backward else out, dtype=kind)
        if turn % 2:
            x = x.contiguous(memory_format=torch.channels_last)
        wanted = [True, turn % 4 > 0, turn % 4 > 1]
        ours, exact = (
            [one.to(to).requires_grad_(want) for one, want in zip((x, weight, bias), wanted)] for to in (kind, DOUBLE)
        )
        torchs = F.conv_transpose2d if backward else F.conv2d
        made = (winograd.transposed if backward else winograd.convolution)(shape, *(one.detach() for one in ours))
        layout = torch.channels_last if turn % 2 else torch.contiguous_format
        assert made.is_contiguous(memory_format=layout)
        cotangent = torch.randn(made.shape, dtype=kind)
        found = slopes(partial(winograd.transposed if backward else winograd.convolution, shape), ours, cotangent)
        right = slopes(partial(torchs, stride=shape.stride, padding=1), exact, cotangent.double())
        assert len(found) == 1 + sum(wanted)
        for one, other in zip(found, right):
            assert one.shape == other.shape
            assert relative_error(one, other) < least, (turn, shape)


def test_under_autocast_a_layer_that_autograd_differentiates_is_in_float32() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 64, 20, 20).bfloat16(), torch.randn(64, 64, 4, 4) * 0.05
    inputs = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
    with torch.autocast("cpu", torch.bfloat16):
        y = winograd.convolution(Shape(4, 1, 1), *inputs, None)
        cotangent = torch.randn(y.shape)
        found = [y, *torch.autograd.grad(y, inputs, cotangent)]
    assert [one.dtype for one in found] == [torch.float32, torch.bfloat16, torch.float32]
    exact = [x.double().requires_grad_(), weight.double().requires_grad_()]
    right = slopes(partial(F.conv2d, padding=1), exact, cotangent.double())
    for one, other, least in zip(found, right, (1e-5, 4e-3, 1e-5)):
        assert relative_error(one.detach(), other) < least


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
        return fused.critic_update(layers, options, parameters, *batch, strides=STRIDES["on" if fast else "off"])

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
    monkeypatch.setattr(winograd, "PAYS", dict.fromkeys(winograd.PAYS, (8, 16, 0)))
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
    """Within 1e-5 of float64 where rounding moves no value over LeakyReLU's bend, as for one of five seeds at least:
    for which, threads and processor decide. With amp its error is bfloat16's, as with torch's convolutions."""
    rounded, ratios = [], []
    for seed in range(5):
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
    assert min(rounded) < 1e-5
    assert ratios[0] < 1.2


@pytest.mark.parametrize(("norm", "last"), [("batch", False), ("instance", True)])
def test_the_update_of_a_critic_with_a_norm_is_that_of_float64_and_rounds_as_torchs(norm, last, monkeypatch) -> None:
    """Three layers by Winograd, both layouts. Softplus for LeakyReLU: no value can be rounded over a bend."""
    monkeypatch.setattr(winograd, "PAYS", dict.fromkeys(winograd.PAYS, (64, 400, 0)))
    options = replace(PRESETS["pix2pix"], size=128, critic_norm=norm)
    torch.manual_seed(0)
    critic = build_critic(options).to(memory_format=torch.channels_last if last else torch.contiguous_format)
    for scale in critic.scales:
        for place, module in enumerate(scale):
            scale[place] = torch.nn.Softplus() if isinstance(module, torch.nn.LeakyReLU) else module
    batch = [F.interpolate(torch.rand(1, c, 16, 16) * 2 - 1, 128, mode="bilinear") for c in (1, 3, 3)]

    def found(fast: bool, kind: torch.dtype):
        for module in critic.modules():
            module.winograd = (1, 2) if fast else ()
        parameters = {name: value.detach().to(kind) for name, value in critic.named_parameters()}
        with torch.no_grad():
            return critic_update(critic, options, parameters, *(value.to(kind) for value in batch), None)[1]

    exact = found(False, DOUBLE)
    assert apart(found(True, DOUBLE), exact) < 1e-10
    assert 0 < apart(found(True, torch.float32), exact) < min(1e-5, 2 * apart(found(False, torch.float32), exact))


def test_an_iteration_makes_a_weights_transform_once_an_update_and_no_gradient_that_nobody_uses(monkeypatch) -> None:
    """Critic: three layers, for real and fake in one pass, and once for the generator, whose gradient stops at the
    fake. Generator: a halving and a doubling."""
    monkeypatch.setattr(winograd, "PAYS", dict.fromkeys(winograd.PAYS, (16, 45, 0)))
    monkeypatch.setattr(layers, "SMALL_MAP", 0)
    calls = dict.fromkeys(("of_weight", "weight_gradient"), 0)

    def counted(name: str, made, *arguments):
        calls[name] += 1
        return made(*arguments)

    for name in calls:
        monkeypatch.setattr(winograd, name, partial(counted, name, getattr(winograd, name)))

    def count(**changes) -> list[int]:
        options = replace(PRESETS["pix2pix"], size=64, width=16, **{"winograd": "on", **changes})
        step = Step(fastest(options, torch.device("cpu")), [], torch.device("cpu"))
        calls.update(dict.fromkeys(calls, 0))
        step(*(torch.zeros(1, channels, 64, 64, dtype=torch.uint8) for channels in (1, 3)), 0)
        return [*calls.values()]

    generators = [4, 4]  # two halvings and what mirrors them
    assert count() == [3 + 3 + generators[0], 3 + generators[1]]
    assert count(winograd="stride1") == [2, 1]  # the critic's fourth layer
    assert count(winograd="off") == [0, 0]
    # What differentiates its penalty twice is torch's.
    assert count(gradient_penalty=10.0) == generators


def test_it_can_be_compiled(monkeypatch) -> None:
    monkeypatch.setattr(winograd, "PAYS", dict.fromkeys(winograd.PAYS, (8, 16, 0)))
    monkeypatch.setattr(convolutions, "TAPS", 8)
    options, critic, batch = problem(8, 64)
    exact = update(options, critic, batch, False, DOUBLE)[1]
    assert apart(update(options, critic, batch, True, DOUBLE, backend="eager")[1], exact) < 1e-10


def test_it_is_chosen_where_it_is_faster() -> None:
    """By shape: the fourth layer in either type, the second and third in float32 alone, at the default's size."""

    def ways(wide: bool, width: int = 64, size: int = 256, batch: int = 1, level: str = "on") -> list[str]:
        found, side = [], size
        widths = [4, width, 2 * width, 4 * width, 8 * width, 1]
        for channels, out, stride in zip(widths[:-1], widths[1:], (2, 2, 2, 1, 1)):
            shape = Shape(4, stride, 1)
            chosen = convolutions.fastest(
                STRIDES[level], shape, channels, out, 3 * batch, (side, side), wide or out == 1
            )
            found.append(chosen.__name__)
            side = shape.sides(side, side)[0]
        return found

    assert ways(True) == ["Direct", "Winograd", "Winograd", "Winograd", "Taps"]
    assert ways(False) == ["Direct", "Direct", "Direct", "Winograd", "Taps"]
    assert ways(True, level="stride1") == ["Direct", "Direct", "Direct", "Winograd", "Taps"]
    assert ways(True, level="last") == ["Direct", "Direct", "Direct", "Direct", "Taps"]
    assert ways(True, width=8) == ["Direct"] * 5
    assert ways(False, size=64) == ["Direct", "Direct", "Direct", "Direct", "Taps"]
    assert ways(False, size=64, batch=32)[3] == "Winograd"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("compiled", ["auto", "on", "off"])
def test_what_was_decided_is_taken_again_as_a_resumed_run_does(device, compiled) -> None:
    for preset, critic in itertools.product(("wgan-gp", "pix2pix"), ("auto", "off")):
        options = replace(PRESETS[preset], compile=compiled, fused_critic=critic)
        decided = fastest(options, torch.device(device))
        assert fastest(decided, torch.device(device)) == decided


def test_what_is_fastest_is_decided_by_device_processor_and_system(monkeypatch) -> None:
    """With rates as they are between this library's matrix products and torch's convolutions."""

    def chosen(preset: str = "wgan-gp", device: str = "cpu", **changes) -> tuple[str, str]:
        options = fastest(replace(PRESETS[preset], **changes), torch.device(device))
        return options.winograd, options.channels_last

    monkeypatch.setattr(winograd, "convolutions_rate", lambda kind: rates[kind])
    rates = {torch.float32: 1.1, torch.bfloat16: 2.0}
    winograd.paying.cache_clear()
    assert chosen() == chosen("pix2pix") == ("on", "critic")
    assert chosen(amp=True) == chosen("pix2pix", amp=True) == ("on", "critic")
    assert chosen(width=8) == chosen("pix2pix", size=64) == ("on", "off")  # nowhere in the critic
    assert chosen("pix2pix", winograd="off") == chosen("pix2pix", compile="on") == ("off", "off")
    assert chosen(compile="on") == ("on", "critic")
    assert chosen(device="cuda") == ("off", "on")
    rates = {torch.float32: 3.0, torch.bfloat16: 4.6}
    assert chosen() == ("on", "critic")  # measured once
    winograd.paying.cache_clear()
    assert chosen() == chosen("pix2pix") == ("stride1", "critic")
    assert chosen(amp=True) == ("last", "critic")
    assert chosen("pix2pix", amp=True) == ("last", "off")
    winograd.paying.cache_clear()
    for changes, why in (
        ({"device": "cuda"}, "device cuda"),
        ({"preset": "pix2pix", "compile": "on"}, "the compiler's"),
    ):
        for level in ("on", "stride1", "last"):
            with pytest.raises(ValueError, match=f"winograd {level}: .*{why}.*; use auto"):
                chosen(**changes, winograd=level)


def test_the_rate_of_torchs_convolutions_is_measured_in_each_type() -> None:
    threads = torch.get_num_threads()
    for kind in (torch.float32, torch.bfloat16):
        assert 0.01 < winograd.convolutions_rate(kind, turns=2) < 100
    assert torch.get_num_threads() == threads


def test_a_run_of_before_there_was_a_choice_goes_on_without() -> None:
    assert from_dict({}).winograd == "off"
