"""Signs that a training goes wrong, in its rows: what is said of each, with its reason and what helps."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

Row = Mapping[str, float]
PENALTY = 50.0  # mean squared distance of the norms of the critic's gradients from 1: they are about 8 then
STRONG, WEAK = 2.0, 0.05  # chroma, as a share of the truth's
LEARNED = 1000  # photographs after which a generator has some color
PULL = 10.0  # the adversary's, as a multiple of the L1 term's
L1 = ("gradient/l1", "gradient/smooth_l1")


class Sign(NamedTuple):
    file: str
    """The CSV file whose rows show it."""
    rows: int
    """It is said once so many in a row do."""
    reason: Callable[[Row], str]
    """What is wrong by a row, and what helps; empty where nothing is."""


def _penalty(row: Row) -> str:
    penalty = row.get("critic/penalty", math.nan)
    if not penalty > PENALTY:
        return ""
    return (
        f"the gradient penalty runs away ({penalty:.3g}; where training goes well it is below 10): the critic's "
        "gradients are far from norm 1, and the generator learns little from them; a lower --learning-rate or a "
        "higher --gradient-penalty helps"
    )


def _strong(row: Row) -> str:
    chroma = row.get("chroma", math.nan)
    if not chroma > STRONG:
        return ""
    return (
        f"the colors are {chroma:.1f} times as strong as the truth's: the generator pleases the critic more than it "
        "follows the photographs; a lower --adversary-weight or --learning-rate helps"
    )


def _weak(row: Row) -> str:
    chroma = row.get("chroma", math.nan)
    if not chroma < WEAK or row["images"] < LEARNED:  # an untrained generator makes gray
        return ""
    return (
        f"hardly any color comes out (chroma {chroma:.2g} of the truth's): gray photographs among those trained on, a "
        "very low --learning-rate or a generator that has died do that; look at the newest sheet in samples"
    )


def _adversary(row: Row) -> str:
    l1 = next((row[name] for name in L1 if name in row), math.nan)
    pull = row.get("gradient/adversary", math.nan)
    if not (l1 > 0 and pull >= PULL * l1):
        return ""
    return (
        f"the adversary pulls {pull / l1:.0f} times as hard as L1 at the generator (gradient/adversary {pull:.2g}, "
        f"L1's {l1:.2g}): colors may turn wild; a lower --adversary-weight, or a higher weight of l1 in --terms, helps"
    )


SIGNS = (
    Sign("results.csv", 3, _penalty),
    Sign("results.csv", 3, _adversary),
    Sign("validation.csv", 2, _strong),
    Sign("validation.csv", 2, _weak),
)


class Signs:
    """Looks at the rows of a training as they come."""

    def __init__(self) -> None:
        self.shown: Counter[Sign] = Counter()  # rows in a row

    def of(self, file: str, row: Row) -> list[str]:
        """The reasons to warn now, each once: of signs that this row of a CSV file completes."""
        warned = []
        for sign in SIGNS:
            if sign.file != file:
                continue
            reason = sign.reason(row)
            # One that was said goes on counting.
            self.shown[sign] = self.shown[sign] + 1 if reason or self.shown[sign] >= sign.rows else 0
            if self.shown[sign] == sign.rows:
                warned.append(f"{reason} (so in {sign.rows} rows of {file} running)")
        return warned
