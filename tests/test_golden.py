"""Golden losses: five iterations of every preset as they were. `python -m tests.test_golden` writes them anew."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recolor_fast.losses.terms import build_terms
from recolor_fast.options import Options
from recolor_fast.presets import PAPERS
from recolor_fast.resolve import fastest
from recolor_fast.step.step import Step

FILE = Path(__file__).with_name("golden.json")
STEPS = 5
# A tenth of the presets'. Rounding grows with it: at 2e-4 it makes 2e-2 of a loss in five iterations, where a ReLU of
# a loss network turns over and Adam follows the sign; at 2e-5 it made 4e-5 at most, with and without vector units.
LEARNING_RATE = 2e-5
# Absolute: a Wasserstein critic's scores begin near 0, at 4e-6, and were 3e-11 apart.
TOLERANCE = {"rel": 1e-3, "abs": 1e-9}


def photographs(number: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """gray (N,1,64,64) and rgb (N,3,64,64), uint8: smooth colors made by integers alone, so the same everywhere."""
    places = np.arange(1000 * number, 1000 * number + count * 243, dtype=np.int64)
    coarse = (places * places * 40503 >> 7).reshape(count, 3, 9, 9) % 256
    near, far = np.arange(64) // 8, np.arange(64) % 8
    rows = coarse[:, :, near] * (8 - far)[:, None] + coarse[:, :, near + 1] * far[:, None]
    rgb = (rows[..., near] * (8 - far) + rows[..., near + 1] * far) // 64
    gray = (299 * rgb[:, :1] + 587 * rgb[:, 1:2] + 114 * rgb[:, 2:]) // 1000
    return torch.from_numpy(gray.astype(np.uint8)), torch.from_numpy(rgb.astype(np.uint8))


def losses(options: Options) -> list[dict[str, float]]:
    """Each iteration's losses on the CPU in float32, at 64 pixels, width 4, with untrained loss networks.

    Not the gradients' norms, which jump where a ReLU turns over.
    """
    batch = 2 if options.critic_scales > 1 else 1  # its smallest map has one score
    fixed = {"size": 64, "width": 4, "batch": batch, "compile": "off", "feature_weights": "random"}
    options = replace(options, learning_rate=LEARNING_RATE, **fixed)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in one order; and faster, as small as these networks are
    try:
        torch.manual_seed(0)  # of the loss networks
        step = Step(fastest(options, torch.device("cpu")), build_terms(options), torch.device("cpu"))
        rows = [step(*photographs(index, batch), index * batch) for index in range(STEPS)]
    finally:
        torch.set_num_threads(threads)
    return [{name: row[name].item() for name in row if name.startswith(("critic/", "generator/"))} for row in rows]


@pytest.mark.parametrize("preset", PAPERS)
def test_losses_are_as_they_were(preset):
    for expected, found in zip(json.loads(FILE.read_text())[preset], losses(PAPERS[preset]), strict=True):
        assert {name: found[name] for name in expected} == pytest.approx(expected, **TOLERANCE)


@pytest.mark.parametrize(
    "preset",
    [
        "pix2pix",
        "wgan-gp",
        *(pytest.param(preset, marks=pytest.mark.slow) for preset in ("padova-code-pix2pix", "gorriz")),
    ],
)
def test_golden_losses_would_see_that_nothing_is_learnt(preset, monkeypatch):
    monkeypatch.setattr("tests.test_golden.LEARNING_RATE", 0.0)
    golden = json.loads(FILE.read_text())[preset]
    assert losses(PAPERS[preset]) != [pytest.approx(row, **TOLERANCE) for row in golden]


def test_every_preset_has_golden_losses_and_nothing_else_has():
    golden = json.loads(FILE.read_text())
    assert list(golden) == list(PAPERS)
    assert all(len(rows) == STEPS for rows in golden.values())


if __name__ == "__main__":
    rows = {preset: losses(options) for preset, options in PAPERS.items()}
    FILE.write_text(json.dumps(rows, indent=1) + "\n")
