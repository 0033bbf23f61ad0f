"""The gradient of a function at a tensor, as torch.func has it; eager steps need not import torch's compiler for it."""

from __future__ import annotations  # a compiled function must not evaluate the annotations of inner functions

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def grad_and_value(function: Callable[[Tensor], Any], has_aux: bool = False) -> Callable[[Tensor], tuple[Tensor, Any]]:
    """torch.func.grad_and_value for a function of one tensor, whose result is not differentiated again.

    Eager it is by autograd, which gives the same numbers: torch.func's imports torch's compiler for a second.
    """
    if torch.compiler.is_compiling():
        return torch.func.grad_and_value(function, has_aux=has_aux)

    def both(at: Tensor) -> tuple[Tensor, Any]:
        with torch.enable_grad():
            at = at.detach().requires_grad_()
            made = function(at)
            value = made[0] if has_aux else made
            (gradient,) = torch.autograd.grad(value, at, allow_unused=True, materialize_grads=True)
        return gradient, tuple(one.detach() for one in made) if has_aux else made.detach()

    return both


def grad(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """torch.func.grad, likewise."""
    return lambda at: grad_and_value(function)(at)[0]
