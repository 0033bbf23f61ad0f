"""CUDA graphs of whole training iterations: launched once instead of kernel by kernel."""

import sys
import warnings
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recolor_fast.step.updates import Parts


class Recorded(NamedTuple):
    """A graph, the tensors it reads, and what it writes: the values of the parts of these names."""

    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    names: list[str]
    values: Tensor


class Place(NamedTuple):
    """Where all graphs are recorded: a stream, and a pool of memory they share, as they are replayed in turn."""

    stream: torch.cuda.Stream
    pool: Any


class Graphed:
    """A function of a kind and of tensors on a GPU, recorded once for each kind and replayed from then on.

    `function(kind, *tensors) -> parts` may update networks and optimizers in place; it must not synchronize, its shapes
    must not change, and all its randomness must be of the default generator, which is seeded before the call. The first
    calls of a kind run as they are, and count: memory is allocated, kernels are chosen and compiled. Where recording
    fails, one line on stderr says why, and from then on all calls run as they are; want of memory is raised instead
    (torch.OutOfMemoryError), as the caller may ask for less.
    """

    WARM_UP = 3  # calls of a kind before recording it

    def __init__(self, function: Callable[..., Parts]) -> None:
        self.function = function
        self.calls: dict[Hashable, int] = {}
        self.recorded: dict[Hashable, Recorded] = {}
        self.place: Place | None = None
        self.failed = False

    def __call__(self, kind: Hashable, *tensors: Tensor) -> Parts:
        if self.failed:
            return self.function(kind, *tensors)
        self.calls[kind] = self.calls.get(kind, 0) + 1
        if self.place is None:
            self.place = Place(torch.cuda.Stream(), torch.cuda.graph_pool_handle())
        if self.calls[kind] <= self.WARM_UP:
            return self._aside(self.place.stream, kind, *tensors)
        if kind not in self.recorded and not self._record(self.place, kind, *tensors):
            return self.function(kind, *tensors)
        graph, inputs, names, values = self.recorded[kind]
        for static, tensor in zip(inputs, tensors):
            static.copy_(tensor)
        graph.replay()
        # The next replay writes over the graph's own tensors: one copy of all parts for the caller.
        return dict(zip(names, values.clone().unbind()))

    def _aside(self, stream: torch.cuda.Stream, kind: Hashable, *tensors: Tensor) -> Parts:
        """A call on the stream of the recording, so that libraries have their workspaces there before it."""
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*capturable=True")  # Adam's: it is not recorded yet
            parts = self.function(kind, *tensors)
        torch.cuda.current_stream().wait_stream(stream)
        return parts

    def _record(self, place: Place, kind: Hashable, *tensors: Tensor) -> bool:
        graph, inputs = torch.cuda.CUDAGraph(), [tensor.clone() for tensor in tensors]
        before = torch.cuda.current_stream()
        try:
            # Only this thread's calls may spoil the recording: the loader's go on allocating.
            with torch.cuda.graph(graph, place.pool, place.stream, capture_error_mode="thread_local"):
                parts = self.function(kind, *inputs)
                values = torch.stack([part.float() for part in parts.values()])
        except RuntimeError as error:
            torch.cuda.set_stream(before)  # an error at its very end leaves the recording's current
            self.failed = True
            self.recorded.clear()
            for cause in (error, error.__context__):  # ending a broken recording may fail on top of it
                if isinstance(cause, torch.OutOfMemoryError):
                    raise cause from None
            reason = str(error).strip().splitlines()[0]
            print(f"warning: no CUDA graph of the iteration ({reason}): launched kernel by kernel", file=sys.stderr)
            return False
        self.recorded[kind] = Recorded(graph, inputs, list(parts), values)
        return True
