"""Gradient accumulation: the same update in pieces."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from recolor_fast.presets import PRESETS
from recolor_fast.resolve import fastest
from recolor_fast.step.iteration import Step
from recolor_fast.step.micro_batches import forward_in_pieces
from tests.test_step import COPIES, Seen

BASE = {"size": 64, "width": 8, "batch": 5, "compile": "off", "channels_last": "off", "cuda_graph": "off"}


def run(steps: int = 2, **changes) -> tuple[list[dict[str, float]], Step]:
    options = replace(PRESETS["wgan-gp"], **(BASE | changes))
    step = Step(fastest(options, torch.device("cpu")), [], torch.device("cpu"))
    rows = []
    for index in range(steps):
        generator = torch.Generator().manual_seed(index)
        rgb = torch.randint(0, 256, (options.batch, 3, 64, 64), dtype=torch.uint8, generator=generator)
        parts = step(rgb[:, :1].clone(), rgb, index * options.batch)
        rows.append({name: part.item() for name, part in parts.items()})
    return rows, step


@pytest.mark.parametrize("fused", ["on", "off"])
@pytest.mark.parametrize("length", [1, 2, 4])
def test_pieces_make_the_update_of_the_whole_batch(length, fused):
    """Without batch norm, which would have each piece's own statistics, and without dropout's other draws."""
    same = {"generator_norm": "instance", "dropout": 0.0, "fused_critic": fused}
    (whole, first), (pieces, second) = run(**same), run(**same, micro_batch=length)
    for ours, theirs in zip(pieces, whole):
        assert ours == pytest.approx(theirs, rel=2e-3, abs=1e-4)
    for network in ("generator", "critic"):
        pairs = zip(getattr(first, network).parameters(), getattr(second, network).parameters())
        gradients = [(a.grad, b.grad) for a, b in pairs]
        assert all(torch.allclose(a, b, rtol=0.1, atol=1e-3 * a.abs().max().item()) for a, b in gradients)


def test_a_first_gradient_is_the_whole_batchs():
    """Before Adam amplifies rounding: the critic's first step alone, generator untouched by it."""
    changes = {"generator_norm": "none", "dropout": 0.0, "critic_steps": 1, "learning_rate": 0.0}
    first, second = run(1, **changes)[1], run(1, **changes, micro_batch=2)[1]
    for network in ("generator", "critic"):
        for (name, a), b in zip(getattr(first, network).named_parameters(), getattr(second, network).parameters()):
            assert (a.grad - b.grad).norm() <= 1e-4 * a.grad.norm() + 1e-9, name


def test_what_is_run_again_has_the_same_dropout_and_counts_once():
    def pass_over(run) -> list[torch.Tensor]:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 1, 3))
        batch = torch.randn(5, 1, 8, 8)
        run(network, batch).square().sum().backward()
        assert network[1].momentum == 0.1
        return [
            *(parameter.grad for parameter in network.parameters()),
            network[1].running_mean,
            network[1].running_var,
        ]

    kept = pass_over(lambda network, batch: torch.cat([network(piece) for piece in batch.split(2)]))
    again = pass_over(lambda network, batch: forward_in_pieces(network, network, 2, batch))
    for ours, theirs in zip(again, kept):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_pieces_wait_for_no_device():
    """Batch norm's count of batches is put back as a tensor: as a number it would be waited for, piece by piece."""
    options = replace(PRESETS["pix2pix"], **(BASE | {"batch": 4, "micro_batch": 2}))
    step = Step(fastest(options, torch.device("cpu")), [], torch.device("cpu"))
    norms = [m for m in step.generator.modules() if isinstance(m, nn.BatchNorm2d)]
    rgb = torch.zeros(4, 3, 64, 64, dtype=torch.uint8)
    with Seen() as seen:
        step(rgb[:, :1].clone(), rgb, 0)
    assert not COPIES & seen.names
    assert norms
    assert {int(norm.num_batches_tracked) for norm in norms} == {2}
