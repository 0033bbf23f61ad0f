"""torch's Adam without torch's compiler, whose import takes a second: each decorator of its methods asks for that."""

from inspect import unwrap
from typing import Any

import torch


class Adam(torch.optim.Adam):
    """torch.optim.Adam: the same numbers and the same state. Not to be compiled itself."""

    add_param_group = unwrap(torch.optim.Adam.add_param_group)
    state_dict = unwrap(torch.optim.Adam.state_dict)
    load_state_dict = unwrap(torch.optim.Adam.load_state_dict)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        return unwrap(torch.optim.Adam.step)(self, closure)
