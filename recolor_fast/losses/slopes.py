"""Gradients as torch.func has them; eager, by autograd, whose numbers are the same: torch.func's import torch's
compiler, which takes two seconds."""

from __future__ import annotations  # a compiled function must not evaluate the annotations of inner functions

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def grad_and_value(function: Callable[..., Any], has_aux: bool = False) -> Callable[[Any], tuple[Any, Any]]:
    """torch.func.grad_and_value for a function of one tensor, or of a dict of tensors; with `has_aux` it returns its
    value and a tensor, or a dict of tensors. Nothing returned can be differentiated again."""
    if torch.compiler.is_compiling():
        return torch.func.grad_and_value(function, has_aux=has_aux)

    def both(at: Any) -> tuple[Any, Any]:
        with torch.enable_grad():
            at = _of_all(lambda tensor: tensor.detach().requires_grad_(), at)
            made = function(at)
            leaves = [*at.values()] if isinstance(at, dict) else [at]
            found = torch.autograd.grad(made[0] if has_aux else made, leaves, allow_unused=True, materialize_grads=True)
        gradient = dict(zip(at, found)) if isinstance(at, dict) else found[0]
        made = tuple(_of_all(torch.detach, one) for one in made) if has_aux else made.detach()
        return gradient, made

    return both


def grad(function: Callable[..., Tensor], argnums: tuple[int, ...]) -> Callable[..., tuple[Tensor, ...]]:
    """torch.func.grad for a function of tensors, by those at `argnums`. Gradients of parameters can be taken through
    what it returns; not of the tensors it is called with."""
    if torch.compiler.is_compiling():
        return torch.func.grad(function, argnums)

    def gradients(*at: Tensor) -> tuple[Tensor, ...]:
        leaves = [tensor.detach().requires_grad_(place in argnums) for place, tensor in enumerate(at)]
        by = [leaves[place] for place in argnums]
        return torch.autograd.grad(function(*leaves), by, create_graph=True, allow_unused=True, materialize_grads=True)

    return gradients


def _of_all(change: Callable[[Tensor], Tensor], one: Any) -> Any:
    """A tensor, or each of a dict."""
    return {name: change(tensor) for name, tensor in one.items()} if isinstance(one, dict) else change(one)
