"""The critic's update fused by hand: against float64 autograd, finite differences and the torch.func path."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.paper import plain
from recolor_fast.networks.critics import build_critic
from recolor_fast.presets import PRESETS
from recolor_fast.resolve import fastest
from recolor_fast.step import fused
from recolor_fast.step.iteration import Step
from tests.test_losses import COMPILED, reference, relative_error

WGAN = replace(PRESETS["wgan-gp"], size=64, width=4, fused_critic="on")


def problem(seed: int = 0, shape: tuple[int, int] = (64, 64), gain: float = 6.0, **changes):
    """Options, a critic and a random batch, in float64. `gain` scales the initial weights: with the preset's own the
    gradient is next to nothing."""
    torch.manual_seed(seed)
    options = replace(WGAN, init_sigma=0.02 * gain, **changes)
    critic = build_critic(options).double()
    for name, parameter in critic.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, 0, 0.3)
    channels = (options.source_channels, 3, 3)
    source, real, fake = (torch.rand(options.batch, c, *shape, dtype=torch.float64) * 2 - 1 for c in channels)
    source = source[:, :1].expand_as(source)
    return options, critic, (source, real, fake, torch.rand(options.batch, 1, 1, 1, dtype=torch.float64))


def update(critic, options, batch, backend: str | None = None):
    scales = fused.layers(critic, options)
    parameters = {name: p.detach() for name, p in critic.named_parameters()}

    def run(parameters, *batch):
        return fused.critic_update(scales, options, parameters, *batch)

    if backend:
        torch._dynamo.reset()
        run = torch.compile(run, fullgraph=True, backend=backend)
    with torch.no_grad():
        return run(parameters, *batch)


def single(critic, options):
    copied = build_critic(options)
    copied.load_state_dict(critic.state_dict())
    return copied


def assert_equal_autograd(options, critic, batch):
    expected_parts, expected = reference(critic, options, batch)
    parts, gradients = update(critic, options, batch)
    assert list(parts) == ["critic/real", "critic/fake", "critic/penalty"]
    for name, part in expected_parts.items():
        assert parts[name].item() == pytest.approx(part.item(), rel=1e-9, abs=1e-12), name
    assert list(gradients) == list(expected)
    whole = sum(gradient.square().sum() for gradient in expected.values()).sqrt()
    for name, gradient in gradients.items():
        assert gradient.shape == expected[name].shape
        exact = expected[name].norm() + 1e-3 * whole  # offsets of real and fake can cancel to rounding
        assert (gradient - expected[name]).norm() < 1e-9 * exact, name


def test_it_equals_float64_autograd_on_random_critics():
    """Every parameter by itself, over depths, widths, scales, batches, shapes, losses and what the penalty is on."""
    random = np.random.default_rng(0)
    seen = set()
    for seed in range(40):
        scales, layers = int(random.integers(1, 4)), int(random.integers(1, 4))
        least = 2 ** (layers + scales - 1) * 5
        shape = tuple(int(side) for side in random.integers(least, 2 * least, 2))
        changes = {
            "batch": int(random.integers(1, 4)),
            "width": int(random.integers(1, 6)),
            "critic_layers": layers,
            "critic_scales": scales,
            "critic_bias": bool(random.integers(2)),
            "source_channels": int(random.choice([1, 3])),
            "penalty_on": str(random.choice(["image", "pair"])),
            "gradient_penalty": float(10 ** random.uniform(-2, 3)),
            "adversary": str(random.choice(["wgan", "wgan_bce", "lsgan", "bce", "bce_code"])),
        }
        seen |= set(changes.items())
        options, critic, batch = problem(seed, shape, float(random.uniform(2, 12)), **changes)
        if options.adversary.startswith("wgan"):  # the last bias has the gradient zero, exactly or up to rounding
            for scale in critic.scales:
                scale[-1].bias = None
        assert_equal_autograd(options, critic, batch)
    assert {("critic_scales", 3), ("critic_layers", 3), ("batch", 3), ("penalty_on", "pair"), ("width", 1)} <= seen


@pytest.mark.parametrize("scales", [1, 3])
@pytest.mark.parametrize("norm", [0.0, 1e-9, 1e-4, 0.1, 0.999999, 1.0, 1.000001, 10.0, 1e4])
def test_gradient_norms_from_zero_over_one_to_large(norm, scales):
    """The norm of the critic's gradient, set by scaling the last layers, which it is proportional to."""
    options, critic, batch = problem(1, (128, 128), batch=1, critic_scales=scales)
    # (|g| - 1)^2 does not tell |g| < 1 from |g| > 1, so it is measured with the critic scaled far up.
    with torch.no_grad():
        for scale in critic.scales:
            scale[-1].weight *= 1e6
    grown = update(critic, options, batch)[0]["critic/penalty"].item() ** 0.5 + 1
    with torch.no_grad():
        for scale in critic.scales:
            scale[-1].weight *= norm / grown
    parts, gradients = update(critic, options, batch)
    assert parts["critic/penalty"].item() == pytest.approx((norm - 1) ** 2, rel=1e-3, abs=1e-9)
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())
    if norm:  # at 0 the reference divides 0 by the root of its epsilon, which is as arbitrary
        assert_equal_autograd(options, critic, batch)


def test_every_parameter_has_a_gradient_of_the_penalty():
    """A penalty without a difference of real and fake beside it: what is not zero comes from the tangent pass."""
    options, critic, (source, real, _, mix) = problem(critic_scales=2)
    _, gradients = update(critic, options, (source, real, real, mix))
    for name, gradient in gradients.items():
        assert (gradient.abs().max() > 1e-9) == name.endswith("weight"), name  # offsets do not reach the slope


def test_it_is_the_derivative_of_its_own_loss():
    """Along random directions, by central differences: no autograd on either side."""
    options, critic, batch = problem(2, critic_scales=2, batch=2)
    weights = dict(critic.named_parameters())
    _, gradients = update(critic, options, batch)
    torch.manual_seed(3)
    for _ in range(3):
        way = {name: torch.randn_like(p) for name, p in weights.items()}

        def loss(step: float, way=way) -> float:
            moved = {name: p.detach() + step * way[name] for name, p in weights.items()}
            with torch.no_grad():
                parts, _ = fused.critic_update(fused.layers(critic, options), options, moved, *batch)
            return (parts["critic/real"] + parts["critic/fake"] + 10 * parts["critic/penalty"]).item()

        found = sum((gradients[name] * way[name]).sum() for name in way).item()
        assert found == pytest.approx((loss(1e-7) - loss(-1e-7)) / 2e-7, rel=1e-5)


@pytest.mark.parametrize("backend", COMPILED)
def test_compiled_and_in_float32(backend):
    options, critic, batch = problem(critic_scales=2, width=8, batch=2)
    _, expected = reference(critic, options, batch)
    assert relative_error(update(critic, options, batch, backend)[1], expected) < 1e-9
    if backend != "aot_eager":  # it would be compiled once more, to the same operations as without
        rounded = update(single(critic, options), options, [t.float() for t in batch], backend)[1]
        assert relative_error(rounded, expected) < 1e-5


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_the_penalty_gradient_in_bfloat16_is_within_one_percent(layout):
    """At the width that is trained, with the score, the norm and the reductions in float32."""
    options, critic, (source, real, _, mix) = problem(shape=(256, 256), gain=2.0, width=64, batch=1)
    batch = (source, real, real, mix)  # real and fake cancel: what remains is the penalty's
    parts, expected = reference(critic, options, batch)
    copied = single(critic, options).to(memory_format=layout)
    half = [t.float().contiguous(memory_format=layout) for t in batch]
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        found_parts, found = update(copied, options, half)
    assert found_parts["critic/penalty"].item() == pytest.approx(parts["critic/penalty"].item(), rel=0.01)
    assert {g.dtype for g in found.values()} == {torch.float32}
    weights = {name: g for name, g in expected.items() if name.endswith("weight")}
    assert relative_error({name: found[name] for name in weights}, weights) < 0.01


def test_it_leaves_its_arguments_alone():
    options, critic, batch = problem()
    before = [t.clone() for t in (*batch, *critic.parameters())]
    update(critic, options, batch)
    assert all(torch.equal(a, b) for a, b in zip((*batch, *critic.parameters()), before))


def test_it_equals_the_torch_func_path_over_a_training():
    def losses(choice: str) -> list[dict[str, float]]:
        options = replace(PRESETS["wgan-gp"], size=64, width=8, batch=2, compile="off", channels_last="off")
        step = Step(fastest(replace(options, fused_critic=choice), torch.device("cpu")), [], torch.device("cpu"))
        rgb = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        return [{k: v.item() for k, v in step(rgb[:, :1].clone(), rgb, index).items()} for index in range(3)]

    for ours, theirs in zip(losses("on"), losses("off")):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"gradient_penalty": 0.0}, "no gradient penalty"),
        ({"critic_norm": "instance"}, "norm instance"),
        ({"critic_norm": "batch", "batch": 1}, "norm batch"),
        ({"critic_first_norm": "instance", "critic_layers": 1}, "norm instance"),
        ({"spectral_norm": True}, "spectral_norm"),
        ({"critic": "strided"}, "critic strided's padding"),
        ({"adversary": "wgan_code"}, "not linear"),
        ({"critic": ""}, "no critic"),
    ],
)
def test_what_hinders_it_is_said(changes, reason):
    options = replace(WGAN, **changes)
    assert reason in fused.hindrance(options)
    if options.critic:
        with pytest.raises(ValueError, match=reason):
            fused.layers(build_critic(options), options)


@pytest.mark.parametrize("name", PRESETS)
def test_that_it_can_be_fused_is_known_without_building_the_critic(name):
    """By the critic's modules: convolutions and our LeakyReLU alone."""
    options = replace(PRESETS[name], width=1, gradient_penalty=10.0, adversary="wgan", batch=1)
    if options.critic:
        plain = (torch.nn.Identity, fused.LeakyReLU, torch.nn.Conv2d)
        modules = [module for scale in build_critic(options).scales for module in scale.children()]
        fusable = all(isinstance(m, plain) and not fused.parametrize.is_parametrized(m) for m in modules)
        assert (not fused.hindrance(options)) == fusable


def test_activations_other_than_ours_are_not_taken_for_them():
    """nn.LeakyReLU(0.1) in a critic's place for ours would go wrong in silence."""
    with pytest.raises(ValueError, match="LeakyReLU"):
        fused.layers(plain(build_critic(WGAN)), WGAN)
