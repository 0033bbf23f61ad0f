"""Warnings that a training goes wrong: each where it should come, with its reason, and not where all is well."""

import pytest

from recolor_fast.runs import signs, validation
from tests.photographs import write_jpegs
from tests.trainings import run

GOOD = {
    "results.csv": {"critic/penalty": 4.8, "gradient/adversary": 0.5, "gradient/l1": 0.9, "gradient/lpips_mini": 21.0},
    "validation.csv": {"images": 1000, "ab_rmse": 15.0, "chroma": 0.5},
}
WRONG = [
    ("results.csv", {"critic/penalty": 312.0}, "the gradient penalty runs away (312"),
    ("results.csv", {"gradient/adversary": 9.0}, "the adversary pulls 10 times as hard as L1"),
    ("validation.csv", {"chroma": 2.41}, "the colors are 2.4 times as strong as the truth's"),
    ("validation.csv", {"chroma": 0.04}, "hardly any color comes out (chroma 0.04"),
]


@pytest.mark.parametrize(("file", "change", "reason"), WRONG, ids=[reason for *_, reason in WRONG])
def test_what_stays_wrong_is_said_once_with_its_reason(file, change, reason):
    looked, wrong = signs.Signs(), GOOD[file] | change
    rows = {"results.csv": 3, "validation.csv": 2}[file]
    for _ in range(2):  # in so many rows but one it may still pass
        for _ in range(rows - 1):
            assert looked.of(file, wrong) == []
        assert looked.of(file, GOOD[file]) == []
    said = [looked.of(file, wrong) for _ in range(2 * rows)]
    assert [len(each) for each in said] == [0] * (rows - 1) + [1] + [0] * rows
    assert said[rows - 1][0].startswith(reason)
    assert said[rows - 1][0].endswith(f"(so in {rows} rows of {file} running)")
    assert looked.of(file, GOOD[file]) == looked.of(file, wrong) == []


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("results.csv", {"critic/penalty": signs.PENALTY}),
        ("results.csv", {"critic/penalty": float("nan"), "gradient/adversary": float("nan")}),
        ("results.csv", {"gradient/adversary": 8.9}),
        ("validation.csv", {"chroma": 2.0}),
        ("validation.csv", {"chroma": 0.05}),
        ("validation.csv", {"chroma": 0.0, "images": 999}),
        ("validation.csv", {"chroma": float("nan")}),  # the truth holds no color
    ],
)
def test_what_is_within_bounds_is_not_warned_of(file, change):
    looked = signs.Signs()
    assert [looked.of(file, GOOD[file] | change) for _ in range(5)] == [[]] * 5


def test_without_l1_or_adversary_nothing_is_compared():
    looked = signs.Signs()
    assert [looked.of("results.csv", {"gradient/adversary": 9.0}) for _ in range(5)] == [[]] * 5
    assert [looked.of("results.csv", {"gradient/l1": 1.0}) for _ in range(5)] == [[]] * 5
    wrong = {"gradient/adversary": 9.0, "gradient/smooth_l1": 0.1}
    assert [len(looked.of("results.csv", wrong)) for _ in range(4)] == [0, 0, 1, 0]


def test_a_training_whose_adversary_pulls_too_hard_warns_and_one_that_does_not_is_silent(tmp_path, capsys, monkeypatch):
    write_jpegs(tmp_path / "photographs", 12, height=80, width=96)
    more = ("--preset", "pix2pix", "--log-every", 1, "--images", 4, "--save-every", 2)
    run(tmp_path / "photographs", tmp_path, *more, "--name", "well")
    assert "warning: " not in capsys.readouterr().err
    found = validation.validate
    monkeypatch.setattr(validation, "validate", lambda *all_: (found(*all_)[0] | {"chroma": 3.0}, *found(*all_)[1:]))
    run(tmp_path / "photographs", tmp_path, *more, "--name", "ill", "--adversary-weight", 1000)
    warned = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(warned) == 2
    assert "times as hard as L1" in warned[0]
    assert "the colors are 3.0 times as strong" in warned[1]
