"""Gradient accumulation: a batch in pieces that fit into memory, for the update that the whole batch would make.

Equal to the whole batch up to rounding, but for batch norm, whose statistics are each piece's own.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from recolor_fast.step.updates import Parts

Found = TypeVar("Found")


def in_pieces(
    update: Callable[..., tuple[Parts, Found]], length: int, join: Callable[[Sequence[Found], Sequence[float]], Found]
) -> Callable[..., tuple[Parts, Found]]:
    """`update(parameters, *batch, **others)` over pieces of `length` photographs of every tensor (N,...) of the batch.

    Parts and gradients of an update are of means over its photographs, so a piece counts by its share of them; `join`
    puts the pieces' gradients together: `mean` or `end_to_end`. Parts named gradient/... are norms over the batch.
    """

    def run(parameters: Parts, *batch: Tensor, **others: Tensor | None) -> tuple[Parts, Found]:
        pieces = [*zip(*(tensor.split(length) for tensor in batch))]
        shares = [len(piece[0]) / len(batch[0]) for piece in pieces]
        parts, gradients = zip(*(update(parameters, *piece, **others) for piece in pieces))
        norms = [name for name in parts[0] if name.startswith("gradient/")]
        together = mean(parts, shares)
        for name in norms:
            together[name] = torch.stack([share * part[name] for part, share in zip(parts, shares)]).norm()
        return together, join(gradients, shares)

    return run


def mean(pieces: Sequence[Parts], shares: Sequence[float]) -> Parts:
    """The mean of each name's tensors, weighted with `shares`."""
    first, *others = ({name: share * value for name, value in piece.items()} for piece, share in zip(pieces, shares))
    for other in others:
        for name, value in other.items():
            first[name] += value
    return first


def end_to_end(pieces: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """Gradients at pieces (n,...) of a batch, each of a mean over its piece -> (N,...), of the mean over the batch."""
    return torch.cat([share * piece for piece, share in zip(pieces, shares)])


def forward_in_pieces(forward: Callable[[Tensor], Tensor], network: nn.Module, length: int, batch: Tensor) -> Tensor:
    """`forward(batch)`, whose activations are not kept: going backward, each piece is run again, dropout included."""
    again = partial(checkpoint, forward, use_reentrant=False, context_fn=lambda: (nullcontext(), _frozen(network)))
    return torch.cat([again(piece) for piece in batch.split(length)])


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """Batch norm's running statistics stay as they are: a piece that is run again must not count twice."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m.num_batches_tracked is not None]
    before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]  # type: ignore[union-attr]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)  # type: ignore[union-attr]
