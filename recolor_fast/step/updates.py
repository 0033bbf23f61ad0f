"""The losses of critic and generator by their parts, and their gradients: pure functions, for any critic."""

from __future__ import annotations  # a compiled function must not evaluate the annotations of inner functions

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from recolor_fast.losses.adversaries import ADVERSARIES
from recolor_fast.losses.penalty import gradient_penalty
from recolor_fast.losses.slopes import grad_and_value
from recolor_fast.losses.terms import WeightedTerm
from recolor_fast.networks.layers import at_least_float32
from recolor_fast.networks.space import SPACES
from recolor_fast.options import System

Parts = dict[str, Tensor]
Parameters = dict[str, Tensor]


def critic_update(
    critic: nn.Module,
    options: System,
    parameters: Parameters,
    source: Tensor,
    real: Tensor,
    fake: Tensor,
    mix: Tensor,
    loss_scale: Tensor | None = None,
) -> tuple[Parts, Parameters]:
    """The critic's loss by parts and its gradient by parameter name.

    source (N,1,H,W), or (N,3,H,W) for a critic that takes three equal ones; real and fake (N,C,H,W) in network space;
    mix (N,1,1,1) in [0, 1] for the penalty's points. `loss_scale`, a scalar, multiplies what is drawn backward, which
    float16 then holds, and is divided out of all that is returned. For any critic; fused.py is faster for some.
    """
    adversary = ADVERSARIES[options.adversary]

    def loss(parameters: Parameters) -> tuple[Tensor, Parts]:
        def scores(source: Tensor, *images: Tensor) -> list[Tensor]:
            return functional_call(critic, parameters, (source, *images))

        # In one pass: what is made of the weights is made once.
        of_real, of_fake = zip(*(both.chunk(2) for both in scores(source, real, fake)))
        parts = {
            "critic/real": _over_scales(adversary.critic_real, of_real),
            "critic/fake": _over_scales(adversary.critic_fake, of_fake),
        }
        total = parts["critic/real"] + parts["critic/fake"]
        if options.gradient_penalty:

            def value(source: Tensor, image: Tensor) -> Tensor:
                values = [adversary.value(at_least_float32(score)) for score in scores(source, image)]
                return torch.stack(values).sum(0)

            parts["critic/penalty"] = gradient_penalty(value, source, real, fake, mix, options.penalty_on, loss_scale)
            total = total + options.gradient_penalty * parts["critic/penalty"]
        return total if loss_scale is None else total * loss_scale, parts

    gradients, (_, parts) = grad_and_value(loss, has_aux=True)(parameters)
    if loss_scale is not None:
        gradients = {name: gradient / loss_scale for name, gradient in gradients.items()}
    return parts, gradients


def generator_update(
    critic: nn.Module | None,
    options: System,
    terms: list[WeightedTerm],
    parameters: Parameters,
    source: Tensor,
    real: Tensor,
    real_image: Tensor,
    fake: Tensor,
    loss_scale: Tensor | None = None,
) -> tuple[Parts, Tensor]:
    """The generator's loss by parts and its gradient at the fake (N,C,H,W).

    real_image is RGB (N,3,H,W) in [-1, 1]; `loss_scale` as of `critic_update`. Beside each part `generator/X` stands
    `gradient/X`, the norm of its weighted gradient at the fake: what each part really pulls with.
    """

    def adversarial(fake: Tensor) -> Tensor:
        assert critic is not None
        return _over_scales(
            ADVERSARIES[options.adversary].generator, functional_call(critic, parameters, (source, fake))
        )

    def compared(term: WeightedTerm, fake: Tensor) -> Tensor:
        if term.image:
            return term.loss(SPACES[options.space].decode(fake, source) * 2 - 1, real_image)
        return term.loss(fake, real)

    losses: dict[str, tuple[float, Callable[[Tensor], Tensor]]] = {}
    if critic is not None:
        losses["adversary"] = (options.adversary_weight, adversarial)
    for term in terms:
        losses[term.name] = (term.weight, partial(compared, term))

    def scaled(loss: Callable[[Tensor], Tensor], fake: Tensor) -> tuple[Tensor, Tensor]:
        value = loss(fake)
        return value if loss_scale is None else value * loss_scale, value

    parts, at_fake = {}, torch.zeros_like(fake)
    for name, (weight, loss) in losses.items():
        gradient, (_, parts[f"generator/{name}"]) = grad_and_value(partial(scaled, loss), has_aux=True)(fake)
        gradient = gradient if loss_scale is None else gradient / loss_scale
        parts[f"gradient/{name}"] = abs(weight) * gradient.norm()
        at_fake = at_fake + weight * gradient
    return parts, at_fake


def _over_scales(loss: Callable[[Tensor], Tensor], scores: Sequence[Tensor]) -> Tensor:
    return torch.stack([loss(at_least_float32(score)) for score in scores]).sum()
