"""The step: against the paper's way, eager against compiled, resumed against unbroken."""

import copy
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench.paper import PaperStep
from recolor_fast.losses.terms import build_terms
from recolor_fast.networks import critics
from recolor_fast.options import Options
from recolor_fast.presets import PAPERS, PRESETS
from recolor_fast.resolve import fastest
from recolor_fast.step import convolutions
from recolor_fast.step.iteration import Step, networks, step_seed
from recolor_fast.step.updates import critic_update

CPU = torch.device("cpu")
PINNED = 9809412188657063841


def small(preset: str, **changes) -> Options:
    options = PRESETS[preset]
    batch = 1 if options.gradient_penalty and options.critic_norm == "batch" else 2
    fixed = {"size": 64, "load_size": 0, "width": 8, "batch": batch, "compile": "off", "dropout": 0.0}
    return replace(options, **(fixed | {"feature_weights": "random"} | changes))


def build(options: Options) -> Step:
    torch.manual_seed(1)  # of the random LPIPS backbone
    return Step(fastest(options, CPU), build_terms(options), CPU)


def batch(index: int, options: Options) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(index)
    shape = (options.batch, 3, options.size, options.size)
    rgb = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return rgb[:, :1].clone(), rgb


def run(step: Step, steps: range) -> list[dict[str, float]]:
    rows = []
    for index in steps:
        parts = step(*batch(index, step.options), index * step.options.batch)
        rows.append({name: part.item() for name, part in parts.items()})
    return rows


COPIES = {"aten.lift_fresh", "aten._local_scalar_dense"}


class Seen(TorchDispatchMode):
    """The operations of a block. COPIES: a tensor made of Python numbers, which waits for the device and cannot be
    recorded in a CUDA graph."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(str(func.overloadpacket))
        return func(*args, **(kwargs or {}))


def weights(step: Step) -> dict[str, torch.Tensor]:
    networks = {"generator": step.generator, **({"critic": step.critic} if step.critic else {})}
    return {f"{k}.{n}": v.clone() for k, network in networks.items() for n, v in network.state_dict().items()}


def still(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> list[str]:
    """The parameters that did not move, but for the singular vector of a convolution to one score."""
    moving = [name for name, tensor in after.items() if not (name.endswith(".u") and tensor.numel() == 1)]
    return [name for name in moving if torch.equal(after[name], before[name])]


OFTEN = ("pix2pix", "wgan-gp", "wgan-gp-lpips", "padova-code", "features-unet")  # one of each kind of network


@pytest.mark.parametrize(
    ("preset", "layout"),
    [
        *((preset, "off") for preset in PAPERS),
        *(pytest.param(p, "on", marks=[] if p in OFTEN else pytest.mark.slow) for p in PAPERS),
    ],
)
def test_a_step_equals_the_papers_way(preset, layout):
    """Loss parts over three iterations from the same start, channels-last and not; nothing is copied to the device, and
    two iterations move every parameter."""
    step = build(small(preset, channels_last=layout))
    paper, before = PaperStep(step.options, step.terms, step), weights(step)
    for index in range(3):
        data = batch(index, step.options)
        with Seen() if index == 0 and layout == "off" else nullcontext() as seen:
            ours = step(*data, index)
        assert seen is None or not COPIES & seen.names
        if index == 1 and layout == "off":
            assert still(before, weights(step)) == []
        theirs = paper(*data, index)
        assert theirs.keys() == {name for name in ours if not name.startswith("gradient/")} - {"nonfinite"}
        for name, part in theirs.items():
            assert ours[name].item() == pytest.approx(part.item(), rel=1e-2, abs=1e-3), (index, name)
        if index == 0:  # before rounding grows
            pairs = zip(step.generator.named_parameters(), paper.generator.parameters())
            whole = sum(parameter.grad.square().sum() for parameter in paper.generator.parameters()).sqrt()
            for (name, ours_one), paper_one in pairs:
                allowed = 5e-3 * paper_one.grad.norm() + 1e-4 * whole  # offsets before a norm have none
                assert (ours_one.grad - paper_one.grad).norm() < allowed, name
        if index == 0 and step.critic and paper.critic:  # every weight moved with its own gradient, in every layout
            for (name, ours_after), paper_after in zip(step.critic.named_parameters(), paper.critic.parameters()):
                if step.options.conv_bias == "on" and name.endswith("bias"):
                    continue  # before a batch norm its gradient is zero, and Adam amplifies what noise there is
                away = (ours_after - paper_after).abs() > 1e-4  # half of Adam's first step
                assert away.float().mean() < 0.02


def test_the_critic_takes_its_steps_on_one_fake():
    """5 critic steps count 5 updates of its Adam and one of the generator's."""
    step = build(small("wgan-gp"))
    run(step, range(1))
    updates = {name: {int(s["step"]) for s in optimizer.state.values()} for name, optimizer in step.optimizers.items()}
    assert updates == {"generator": {1}, "critic": {5}}


@pytest.mark.parametrize(
    "backend", ["aot_eager", pytest.param("inductor", marks=[pytest.mark.slow, pytest.mark.compiler])]
)
@pytest.mark.parametrize(
    ("preset", "amp"),
    [
        ("wgan-gp", True),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("wgan-gp-lpips", True), ("wgan-gp-lpips", False))),
        *(pytest.param("pix2pix", amp, marks=pytest.mark.slow) for amp in (True, False)),
    ],
)
def test_compiled_equals_eager(preset, amp, backend):
    options = small(preset, amp=amp)
    eager, compiled = build(options), build(replace(options, compile="on", compile_backend=backend))
    torch._dynamo.reset()
    loose = amp and backend == "inductor"  # fused kernels round bfloat16 elsewhere
    for ours, theirs in zip(run(compiled, range(2)), run(eager, range(2))):
        assert ours == pytest.approx(theirs, rel=5e-2 if loose else 1e-4, abs=5e-3 if loose else 1e-6)


@pytest.mark.parametrize("changes", [{}, {"critic_norm": "instance"}, {"critic_norm": "instance", "amp": True}])
def test_scores_by_taps_train_as_torchs_convolution_does(changes, monkeypatch):
    """Of the fused critic and of the one that autograd differentiates, at the width from which on they are taken."""
    rows, options = [], small("wgan-gp", width=16, **changes)
    for least in (128, 1000):
        monkeypatch.setattr(critics, "TAPS", least)
        monkeypatch.setattr(convolutions, "TAPS", least)
        rows.append(run(build(options), range(2)))
    for ours, theirs in zip(*rows):
        assert ours == pytest.approx(theirs, rel=2e-2 if options.amp else 1e-4, abs=1e-2 if options.amp else 1e-5)


def test_the_same_seed_gives_the_same_weights_and_another_does_not():
    def train(seed: int) -> dict[str, torch.Tensor]:
        step = build(replace(small("wgan-gp-lpips"), dropout=0.5, seed=seed))
        run(step, range(2))
        return weights(step)

    first, again, other = train(0), train(0), train(1)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not all(torch.equal(first[k], other[k]) for k in first)


def test_networks_made_beforehand_by_a_thread_are_the_seeds_and_leave_the_random_state():
    options = fastest(small("gorriz-bn-sn"), CPU)  # with spectral norm
    before = torch.get_rng_state()
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(networks, options).result()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    ours, theirs = weights(Step(options, [], CPU, made=made)), weights(Step(options, [], CPU))
    assert all(torch.equal(ours[k], theirs[k]) for k in theirs)


@pytest.mark.parametrize("preset", ["pix2pix", "wgan-gp"])
def test_resumed_equals_unbroken(preset):
    options = replace(small(preset), dropout=0.5)
    unbroken = build(options)
    run(unbroken, range(2))
    state = copy.deepcopy(unbroken.state_dict())
    expected = run(unbroken, range(2, 4))
    torch.manual_seed(999)
    resumed = build(options)
    resumed.load_state_dict(state)
    assert run(resumed, range(2, 4)) == expected
    ours, theirs = weights(resumed), weights(unbroken)
    assert all(torch.equal(ours[k], theirs[k]) for k in theirs)


def test_channels_last_changes_nothing_but_the_layout():
    rows = [run(build(small("wgan-gp", channels_last=flag)), range(2)) for flag in ("on", "off")]
    for ours, theirs in zip(*rows):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)


def test_amp_stays_near_float32():
    rows = [run(build(small("wgan-gp-lpips", amp=flag)), range(2)) for flag in (True, False)]
    for half, single in zip(*rows):
        assert half == pytest.approx(single, rel=0.1, abs=1e-2)


def test_gradient_norms_of_the_parts_are_logged():
    """L1's gradient at a fake is known: weight / sqrt(elements), where no pixel is exactly right."""
    step = build(small("wgan-gp"))
    (row,) = run(step, range(1))
    assert row["gradient/l1"] == pytest.approx(100 / (2 * 3 * 64 * 64) ** 0.5, rel=1e-3)
    assert row["gradient/adversary"] > 0


def test_no_adversary_trains_the_generator_alone():
    step = build(small("pix2pix", critic=""))
    (row,) = run(step, range(1))
    assert set(row) == {"generator/l1", "gradient/l1", "nonfinite"}


def test_the_learning_rate_falls_linearly_over_the_last_share_of_the_run():
    options = small("pix2pix", decay=0.5, images=8, learning_rate=1e-3)
    step = build(options)
    rates = []
    for index in range(9):
        step(*batch(index, options), index)
        rates.append([optimizer.param_groups[0]["lr"] for optimizer in step.optimizers.values()])
    assert rates == [[pytest.approx(1e-3 * share)] * 2 for share in (1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0)]
    again = build(options)
    again.load_state_dict(step.state_dict())
    again(*batch(5, options), 5)
    assert again.optimizers["generator"].param_groups[0]["lr"] == pytest.approx(0.75e-3)


def test_unknown_names_are_errors():
    with pytest.raises(ValueError, match="hinge"):
        build(small("wgan-gp", adversary="hinge"))
    with pytest.raises(ValueError, match="hinge"):
        build(small("pix2pix", adversary="hinge"))
    with pytest.raises(ValueError, match="resnet"):
        build(small("pix2pix", generator="resnet"))


def test_step_seeds_differ_and_are_stable():
    seeds = {step_seed(seed, images) for seed in range(10) for images in range(100)}
    assert len(seeds) == 1000
    assert step_seed(0, 5000) == PINNED  # another number would make old runs resume with other randomness


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["eager", "inductor"])
@pytest.mark.parametrize("preset", PAPERS)
def test_cuda_equals_the_cpu(preset, backend, monkeypatch):
    """Every part of the loss, on the same penalty points and in float32 proper."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch, "rand", lambda size, device: torch.full(size, 0.5, device=device))
    options = small(preset)
    on_cpu = build(options)
    torch.manual_seed(1)
    changed = replace(options, device="cuda", compile="on", compile_backend=backend, cuda_graph="off")
    on_gpu = Step(fastest(changed, torch.device("cuda")), build_terms(changed), torch.device("cuda"))
    for index in range(2):
        gray, rgb = batch(index, options)
        theirs = on_cpu(gray, rgb, index)
        ours = on_gpu(gray.cuda(), rgb.cuda(), index)
        assert ours.keys() == theirs.keys()
        for name, part in theirs.items():
            assert ours[name].item() == pytest.approx(part.item(), rel=1e-2, abs=1e-3), (index, name)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")  # that it is a prototype
@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("preset", ["pix2pix", "wgan-gp-lpips", "gorriz"])
def test_a_recorded_iteration_equals_a_launched_one(preset, every):
    """Over recording and several replays, of each pattern of penalized steps; and nothing in a replay synchronizes."""
    rows = []
    for graph in ("off", "on"):
        lazy = {"penalty_every": every} if PAPERS[preset].gradient_penalty else {}
        options = small(preset, device="cuda", cuda_graph=graph, dropout=0.5, decay=0.5, images=32, **lazy)
        torch.manual_seed(1)
        step = Step(fastest(options, torch.device("cuda")), build_terms(options), torch.device("cuda"))
        parts = []
        for index in range(16):
            gray, rgb = (tensor.cuda() for tensor in batch(index, options))
            torch.cuda.synchronize()
            replayed = graph == "on" and index >= 14
            torch.cuda.set_sync_debug_mode("error" if replayed else "default")
            parts.append(step(gray, rgb, index * options.batch))
            torch.cuda.set_sync_debug_mode("default")
        rows.append([{name: part.item() for name, part in found.items()} for found in parts])
        assert not step.graphed.failed
        assert graph == "off" or step.graphed.recorded
    for launched, recorded in zip(*rows):
        assert recorded == pytest.approx(launched, rel=2e-2, abs=1e-3)


@pytest.mark.gpu
def test_micro_batches_take_less_memory():
    peaks = []
    for length in (0, 4):
        options = small("wgan-gp", device="cuda", size=128, width=32, batch=32, micro_batch=length, compile="off")
        step = Step(fastest(options, torch.device("cuda")), [], torch.device("cuda"))
        gray, rgb = (tensor.cuda() for tensor in batch(0, options))
        torch.cuda.reset_peak_memory_stats()
        step(gray, rgb, 0)
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] < 0.5 * peaks[0]


@pytest.mark.parametrize("every", [2, 5, 7])
def test_a_lazy_penalty_is_in_every_so_many_steps_with_so_many_times_the_weight(every, monkeypatch):
    seen = []

    def update(critic, chosen, *tensors, **others):
        seen.append(chosen.gradient_penalty)
        return critic_update(critic, chosen, *tensors, **others)

    monkeypatch.setattr("recolor_fast.step.iteration.critic_update", update)
    step = build(small("wgan-gp", penalty_every=every, fused_critic="off"))
    rows = run(step, range(3))
    assert seen == [10.0 * every if index % every == 0 else 0.0 for index in range(15)]
    assert all("critic/penalty" in row for row in rows)
    assert list(rows[0]) == list(rows[1])  # the columns of results.csv
    exact = run(build(small("wgan-gp", fused_critic="off")), range(1))[0]["critic/penalty"]
    if every == 5:  # the first of five steps, logged as if all were like it
        assert rows[0]["critic/penalty"] == pytest.approx(exact, rel=0.3)


def test_a_resumed_run_has_the_penalty_in_the_same_steps():
    options = small("wgan-gp", penalty_every=3)
    unbroken = build(options)
    run(unbroken, range(2))
    state = copy.deepcopy(unbroken.state_dict())
    resumed = build(options)
    resumed.load_state_dict(state)
    assert run(resumed, range(2, 4)) == run(unbroken, range(2, 4))


def test_what_is_fastest_depends_on_device_and_system(monkeypatch):
    monkeypatch.setattr("recolor_fast.resolve.paying", lambda kind: "on")

    def chosen(preset: str, device: str, **changes) -> tuple[str, ...]:
        options = fastest(replace(PAPERS[preset], **changes), torch.device(device))
        return options.compile, options.fused_critic, options.cuda_graph, options.channels_last

    assert chosen("wgan-gp", "cpu") == ("off", "on", "off", "critic")
    assert chosen("wgan-gp", "cpu", width=8) == ("off", "on", "off", "off")
    assert chosen("wgan-gp", "cpu", amp=True) == ("off", "on", "off", "critic")
    assert chosen("wgan-gp", "cpu", amp=True, fused_critic="off") == ("off", "off", "off", "off")
    assert chosen("pix2pix", "cpu", amp=True) == ("off", "off", "off", "critic")
    assert chosen("pix2pix", "cpu", amp=True, size=128) == ("off", "off", "off", "off")
    assert chosen("wgan-gp", "cuda") == ("on", "on", "on", "on")
    assert chosen("wgan-gp", "cuda", micro_batch=1) == ("on", "on", "off", "on")
    assert chosen("wgan-gp", "cuda", compile="off", channels_last="critic") == ("off", "on", "on", "critic")
    with pytest.raises(ValueError, match=r"fused_critic on: .*no gradient penalty"):
        chosen("pix2pix", "cpu", fused_critic="on")
    with pytest.raises(ValueError, match="cuda_graph on with device cpu"):
        chosen("pix2pix", "cpu", cuda_graph="on")


def test_summed_critic_gradients_are_those_of_the_steps_before_too():
    """With a step size of 0 nothing moves, so on one penalty point the k-th gradient is k times the first."""
    options = small("padova-code-wgan", learning_rate=0.0, weight_decay=0.0, gradient_penalty=0.0)
    gradients = {}
    for kind in ("fresh", "summed"):
        step = build(replace(options, critic_gradients=kind))
        run(step, range(1))
        gradients[kind] = [p.grad.clone() for p in step.critic.parameters()]
    for fresh, summed in zip(*gradients.values()):
        assert torch.allclose(summed, 5 * fresh, rtol=1e-4, atol=1e-6)


def test_three_equal_gray_channels_reach_both_networks():
    step = build(small("padova-code-pix2pix"))
    assert step.generator.down[0][1].weight.shape[1] == 3
    assert step.critic.scales[0][0].weight.shape[1] == 6
    gray, _ = batch(0, step.options)
    source = gray.float() / 127.5 - 1
    step.generator.eval()
    assert torch.equal(step.generator(source), step.generator(source.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize(
    ("preset", "changes"),
    [
        ("pix2pix", {"spectral_norm": True, "space": "lab", "equalize": "none", "amp": True}),
        ("features-vgg16", {}),
        *(pytest.param(preset, {}, marks=pytest.mark.slow) for preset in ("gorriz", "padova-code")),
    ],
)
def test_the_other_papers_steps_compile_whole(preset, changes):
    """Spectral norm, three scales, Lab, the penalty by the pair, a loss network: one graph each, the same numbers."""
    options = small(preset, **changes)
    eager, compiled = build(options), build(replace(options, compile="on", compile_backend="aot_eager"))
    torch._dynamo.reset()
    for ours, theirs in zip(run(compiled, range(2)), run(eager, range(2))):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)


def test_an_iteration_in_float16_copies_nothing_to_the_device():
    step = build(small("wgan-gp", amp=True, amp_dtype="float16"))
    with Seen() as seen:
        step(*batch(0, step.options), 0)
    assert not COPIES & seen.names


def test_another_layout_goes_on_with_the_same_moments():
    """Fused Adam walks memory: moments that lie otherwise than their parameters would be other elements'."""
    options = small("wgan-gp")
    step, other = (
        Step(fastest(replace(options, channels_last=layout), CPU), build_terms(options), CPU)
        for layout in ("off", "on")
    )
    for index in range(3):
        step(*batch(index, options), index)
    other.load_state_dict(copy.deepcopy(step.state_dict()))
    for one in (step, other):
        one(*batch(3, options), 3)
    for name, ours in step.optimizers.items():
        for parameter, same in zip(*(o.param_groups[0]["params"] for o in (ours, other.optimizers[name]))):
            for moment in ("exp_avg", "exp_avg_sq"):
                moved = other.optimizers[name].state[same][moment]
                assert moved.stride() == same.stride()
                torch.testing.assert_close(moved, ours.state[parameter][moment], rtol=1e-3, atol=1e-5)
            torch.testing.assert_close(same, parameter, rtol=0, atol=2e-5)  # a tenth of a step of Adam
