"""One CUDA graph of a whole training iteration: launched once instead of kernel by kernel."""

import sys
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

Parts = dict[str, Tensor]


class Graphed:
    """A function of tensors on a GPU, recorded after its first calls and replayed from then on.

    `function(*tensors) -> parts` may update networks and optimizers in place; it must not synchronize, its shapes must
    not change, and all its randomness must be of the default generator, which is seeded before the call. The first
    calls run as they are, and count: memory is allocated, kernels are chosen and compiled. Where recording fails, one
    line on stderr says why, and all calls run as they are.
    """

    WARM_UP = 3  # calls before recording

    def __init__(self, function: Callable[..., Parts]) -> None:
        self.function = function
        self.calls = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.failed = False

    def __call__(self, *tensors: Tensor) -> Parts:
        self.calls += 1
        if self.failed:
            return self.function(*tensors)
        if self.calls <= self.WARM_UP:
            return self._aside(*tensors)
        if self.graph is None and not self._record(*tensors):
            return self.function(*tensors)
        assert self.graph is not None
        for static, tensor in zip(self.inputs, tensors):
            static.copy_(tensor)
        self.graph.replay()
        # The next replay writes over the graph's own tensors: one copy of all parts for the caller.
        return dict(zip(self.names, self.values.clone().unbind()))

    def _aside(self, *tensors: Tensor) -> Parts:
        """A call on another stream, as what is recorded later must not have run on the default one."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*capturable=True")  # Adam's: it is not recorded yet
            parts = self.function(*tensors)
        torch.cuda.current_stream().wait_stream(stream)
        return parts

    def _record(self, *tensors: Tensor) -> bool:
        graph = torch.cuda.CUDAGraph()
        self.inputs = [tensor.clone() for tensor in tensors]
        try:
            # Only this thread's calls may spoil the recording: the loader's go on allocating.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                parts = self.function(*self.inputs)
                self.values = torch.stack([part.float() for part in parts.values()])
        except RuntimeError as error:
            self.failed = True
            reason = str(error).strip().splitlines()[0]
            print(f"warning: no CUDA graph of the iteration ({reason}): launched kernel by kernel", file=sys.stderr)
            return False
        self.names, self.graph = list(parts), graph
        return True
