"""What a launcher such as torchrun says of this process in its environment. Standard library only."""

import os
from typing import NamedTuple

from recolor_fast.machine.errors import UserError

TORCHRUN = "torchrun --nproc-per-node=N -m recolor_fast.train ..."


class Place(NamedTuple):
    """Where this process stands among those that were started together."""

    rank: int = 0
    ranks: int = 1
    local: int = 0
    """Its place among those of its machine, and how many these are."""
    beside: int = 1


def place() -> Place:
    """That of this process: alone where no launcher started several. UserError where what it says does not fit."""
    count = _number("WORLD_SIZE", 1)
    if count < 2:
        return Place()
    lacking = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if lacking:
        raise UserError(
            f"WORLD_SIZE is {count}: without {' and '.join(lacking)} these would be {count} equal trainings; start one "
            f"process, or {count} that work together by {TORCHRUN}"
        )
    rank = _number("RANK", 0)
    beside = _number("LOCAL_WORLD_SIZE", count)
    local = _number("LOCAL_RANK", rank)
    if rank >= count or local >= beside or beside > count:
        raise UserError(
            f"RANK {rank} of WORLD_SIZE {count}, LOCAL_RANK {local} of LOCAL_WORLD_SIZE {beside}: expected each rank "
            "below its number; torchrun sets them so"
        )
    return Place(rank, count, local, beside)


def rank() -> int:
    """The rank of this process, 0 where it is alone or its environment says nothing of use: who speaks is 0."""
    text = os.environ.get("RANK", "")
    return int(text) if text.isdecimal() and os.environ.get("WORLD_SIZE", "1") != "1" else 0


def check_restarts(named: bool) -> None:
    """UserError where torchrun may restart a training that it would not find again: one not `named` and resumed."""
    if _number("TORCHELASTIC_MAX_RESTARTS", 0) and not named:
        raise UserError(
            "torchrun --max-restarts: a training that is restarted finds its run by its name; add --name NAME --resume"
        )


def _number(name: str, otherwise: int) -> int:
    text = os.environ.get(name, "")
    if text and not text.isdecimal():
        raise UserError(f"{name} is {text!r}: expected a whole number, as torchrun sets it")
    return int(text) if text else otherwise
