"""The critic's update with a gradient penalty, fused by hand: its loss and gradient without autograd.

For critics of convolutions and LeakyReLU alone, at any depth, width and number of scales. One photograph and one scale,
layer l = 1..L with weight W_l and bias b_l, the slope s_l(a) = 1 where a > 0, else 0.2:

    a_l = W_l * h_(l-1) + b_l,   h_l = s_l(a_l) a_l,   h_0 = (source, image),   scores = a_L

The loss is  real(scores of real) + fake(scores of fake) + lambda mean (|g| - 1)^2  with g = dv / d image at the mixed
points and v = value(scores), linear in the scores.

1. Forward, once, on [real; fake; mixed].
2. Data gradient, once, on the same three, from each third's own d / d scores:  delta_L = d real, d fake, d value, and
   delta_l = s_l (W_(l+1)^T * delta_(l+1)).  For the mixed third it goes on to the image: g = W_1^T * delta_1.
3. The penalty is a function of g: u = d penalty / d g = 2 lambda / N (|g| - 1) g / |g|, a direction in the image. What
   remains to be differentiated is  <u, g(W)>  with u held fixed, and since g = dv / d image,

       <u, g(W)> = d v(image + e u) / d e  at e = 0,  the derivative of v along u.

   Forward mode computes just that: the tangent of layer l is  t_l = s_l (W_l * t_(l-1)),  t_0 = (0, u),  and the
   derivative is <d value, W_L * t_(L-1)>. It is linear in each W_l: s_l is constant almost everywhere, so W_l appears
   in t_l and nowhere else, biases do not appear, and the cotangent that arrives at t_l is d value drawn down through
   the layers above: the delta_l of the mixed third, which step 2 has computed. So

       d <u, g(W)> / d W_l = weight gradient of layer l with input t_(l-1) and cotangent delta_l (mixed).

   The gradient of the penalty is the weight gradient of the tangent pass.
4. Weight gradient, once, on three thirds: inputs [h of real; h of fake; t], cotangents [delta of real; fake; mixed].

In units of one forward pass on one third that is 3 + 3 + 1 + 3 = 10, in few large calls. Autograd's double-backward
does 12, two of them on zeros, as it does not know that LeakyReLU's second derivative is zero; told so (layers.py), it
does 10 as well, in more and smaller calls. Several critic scales share the image: g is the sum over the scales, and u
goes into each.

With a loss scale, for float16, the three d / d scores are multiplied with it and so is every delta; g is divided by it
before the norm, and every weight gradient at the end. The tangents would not be scaled, and u is small: it is shared by
N photographs and by all their pixels. So a power of two of the mixed third's loss scale is u's instead: its deltas are
divided and u is multiplied by it, exactly, and the weight gradients stay as they were.
"""

from __future__ import annotations  # a compiled function must not evaluate the annotations of inner functions

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from recolor_fast.losses.adversaries import ADVERSARIES
from recolor_fast.losses.penalty import norm_penalty
from recolor_fast.losses.slopes import grad_and_value
from recolor_fast.machine.errors import UserError
from recolor_fast.networks.critics import geometry, norms
from recolor_fast.networks.layers import SLOPE, LeakyReLU, at_least_float32
from recolor_fast.options import System
from recolor_fast.step import convolutions
from recolor_fast.step.convolutions import Convolution, Direct
from recolor_fast.step.updates import Parameters


class Layer(NamedTuple):
    """A convolution of a critic: the names of its parameters, and its geometry."""

    weight: str
    bias: str | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]


def layers(critic: nn.Module, options: System) -> list[list[Layer]]:
    """The convolutions of each scale of a critic. UserError, saying why, where its update cannot be fused."""
    if reason := hindrance(options):
        raise UserError(reason)
    scales = []
    for index, scale in enumerate(critic.get_submodule("scales").children()):
        chain = []
        for name, module in scale.named_children():
            if isinstance(module, nn.Conv2d) and not parametrize.is_parametrized(module):
                path = f"scales.{index}.{name}"
                bias = f"{path}.bias" if module.bias is not None else None
                chain.append(Layer(f"{path}.weight", bias, module.stride, module.padding))  # type: ignore[arg-type]
            elif not isinstance(module, nn.Identity | LeakyReLU):
                raise UserError(f"the critic has more than convolutions and LeakyReLU: {module}")
        scales.append(chain)
    return scales


def hindrance(options: System) -> str:
    """Why the update of the critic of `options` cannot be fused, as half a sentence; empty if it can."""
    if not options.critic:
        return "there is no critic"
    if not options.gradient_penalty:
        return "there is no gradient penalty"
    if not ADVERSARIES[options.adversary].linear:
        return f"adversary {options.adversary}: its critic's value is not linear in the scores"
    more = {f"norm {norm}": norm != "none" for norm in norms(options)}
    more |= {"spectral_norm": options.spectral_norm, f"critic {options.critic}'s padding": geometry(options).more > 0}
    for name, there in more.items():
        if there:
            return f"the critic has more than convolutions and LeakyReLU: {name}"
    return ""


def critic_update(
    scales: list[list[Layer]],
    options: System,
    parameters: Parameters,
    source: Tensor,
    real: Tensor,
    fake: Tensor,
    mix: Tensor,
    loss_scale: Tensor | None = None,
    strides: tuple[int, ...] | None = None,
) -> tuple[Parameters, Parameters]:
    """The critic's loss by parts and its gradient by parameter name, as updates.critic_update gives them.

    `scales` from `layers`; otherwise the same arguments. `strides`: those of the convolutions that a CPU computes by
    Winograd's products where that is faster (convolutions.way); None: all are torch's. Under autocast the convolutions
    but for the scores' are in its type; the scores, the norm, the penalty and all reductions are at least float32.
    """
    kind = source.device.type
    low = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else real.dtype
    with torch.autocast(kind, enabled=False):
        adversary, count = ADVERSARIES[options.adversary], len(real)
        source = source.expand(-1, options.source_channels, -1, -1)
        image = torch.cat((real, fake, torch.lerp(fake, real, mix)))
        pyramid = [torch.cat((source.repeat(3, 1, 1, 1), image), 1)]
        while len(pyramid) < len(scales):
            pyramid.append(F.avg_pool2d(pyramid[-1], 2))
        chains = [_ways(scale, parameters, pair, low, strides) for scale, pair in zip(scales, pyramid)]

        moved = image.new_ones(()) if loss_scale is None else loss_scale.clamp(max=_share(options, image[:count]))
        parts = dict.fromkeys(("critic/real", "critic/fake"), image.new_zeros(()))
        passes = []
        for ways, pair in zip(chains, pyramid):
            states, taken = _forward(ways, pair.to(low))
            scores = ways[-1].output(_thirds(taken[-1], 0, 2))
            at_real, real_part = grad_and_value(adversary.critic_real)(scores[:count])
            at_fake, fake_part = grad_and_value(adversary.critic_fake)(scores[count:])
            # The value being linear, its gradient is the same at any scores.
            at_mixed, _ = grad_and_value(lambda scores: adversary.value(scores).sum())(torch.zeros_like(at_real))
            if loss_scale is None:
                at_scores = torch.cat((at_real, at_fake, at_mixed))
            else:
                at_scores = torch.cat((at_real * loss_scale, at_fake * loss_scale, at_mixed * (loss_scale / moved)))
            passes.append((states, taken, *_backward(ways, states, at_scores)))
            parts |= {"critic/real": parts["critic/real"] + real_part, "critic/fake": parts["critic/fake"] + fake_part}

        # What the penalty differentiates by: the image's channels of the pair, or all of them.
        first = 0 if options.penalty_on == "pair" else source.shape[1]
        gradient = None  # from the coarsest scale to the finest
        for scale, pair, (_, _, deltas, _) in reversed([*zip(scales, pyramid, passes)]):
            by, weight = pair[2 * count :, first:], parameters[scale[0].weight][:, first:]
            part = Direct(_convolution(scale[0], weight, None, low), (by.shape[2], by.shape[3]))
            at_scale = at_least_float32(part.input_gradient(deltas[0][2 * count :]))
            gradient = at_scale if gradient is None else at_scale + _unpool(gradient, by)
        assert gradient is not None
        gradient = gradient if loss_scale is None else gradient / (loss_scale / moved)
        direction, parts["critic/penalty"] = grad_and_value(norm_penalty)(gradient)

        gradients: Parameters = {}
        tangent = F.pad(moved * options.gradient_penalty * direction, (0, 0, 0, 0, first, 0))
        for index, (scale, ways, done) in enumerate(zip(scales, chains, passes)):
            tangent = F.avg_pool2d(tangent, 2) if index else tangent
            gradients |= _weight_gradients(scale, ways, *done, tangent.to(low))
        if loss_scale is not None:
            gradients = {name: gradient / loss_scale for name, gradient in gradients.items()}
        return parts, {name: gradients[name] for name in parameters}


def _share(options: System, image: Tensor) -> float:
    """The power of two, 1 or more, that makes the elements of u some ||g| - 1| large: a batch of N images (N,C,H,W)."""
    usual = 2 * options.gradient_penalty / (len(image) * math.sqrt(image[0].numel()))
    return 2.0 ** max(0, round(-math.log2(usual)))


def _ways(
    scale: list[Layer], parameters: Parameters, pair: Tensor, low: torch.dtype, strides: tuple[int, ...] | None
) -> list[convolutions.Way]:
    """How each layer is computed, for the pair (3 N,C,H,W); the scores' own is never in half precision."""
    ways, sides = [], (pair.shape[2], pair.shape[3])
    for layer in scale:
        weight, bias = parameters[layer.weight], parameters[layer.bias] if layer.bias else None
        one = _convolution(layer, weight, bias, weight.dtype if layer is scale[-1] else low)
        ways.append(convolutions.way(one, len(pair), sides, strides))
        sides = one.shape.sides(*sides)
    return ways


def _convolution(layer: Layer, weight: Tensor, bias: Tensor | None, kind: torch.dtype) -> Convolution:
    return Convolution(weight, bias, layer.stride[0], layer.padding[0], kind)


def _thirds(taken: Tensor, start: int, stop: int) -> Tensor:
    """Of what a way takes of [real; fake; mixed]."""
    third = len(taken) // 3
    return taken[start * third : stop * third]


def _forward(ways: list[convolutions.Way], pair: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """The input of each layer, h_0 to h_(L-1), and what its way takes of it."""
    states, taken = [pair], []
    for index, way in enumerate(ways):
        taken.append(way.taken(states[index]))
        if way is not ways[-1]:
            states.append(F.leaky_relu_(way.output(taken[index]), SLOPE))
    return states, taken


def _backward(
    ways: list[convolutions.Way], states: list[Tensor], at_scores: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """The cotangent of each layer's convolution, delta_1 to delta_L, from that of the scores, and what its way makes
    of it."""
    deltas, met = [at_scores], [ways[-1].met(at_scores)]
    for way, before, state in zip(ways[:0:-1], ways[-2::-1], states[:0:-1]):
        deltas.insert(0, _slope(way.input_gradient(met[0]).to(state.dtype), state))
        met.insert(0, before.met(deltas[0]))
    return deltas, met


def _weight_gradients(
    scale: list[Layer],
    ways: list[convolutions.Way],
    states: list[Tensor],
    taken: list[Tensor],
    deltas: list[Tensor],
    met: list[Tensor],
    tangent: Tensor,
) -> Parameters:
    """The gradient of each parameter, float32 or wider. Lays the tangent pass over the mixed third of `taken`."""
    gradients: Parameters = {}
    count = len(tangent)
    for index, (layer, way) in enumerate(zip(scale, ways)):
        moving = way.taken(tangent)
        _thirds(taken[index], 2, 3).copy_(moving)
        gradients[layer.weight] = at_least_float32(way.weight_gradient(taken[index], met[index]))
        if layer.bias:
            gradients[layer.bias] = at_least_float32(deltas[index][: 2 * count]).sum((0, 2, 3))
        if index + 1 < len(scale):
            tangent = _slope(way.output(moving, bias=False), states[index + 1][2 * count :])
    return gradients


def _slope(cotangent: Tensor, state: Tensor) -> Tensor:
    """s * cotangent (or tangent), with the slope s of the LeakyReLU that `state` came out of."""
    return torch.ops.aten.leaky_relu_backward(cotangent, state, SLOPE, True)


def _unpool(gradient: Tensor, like: Tensor) -> Tensor:
    """Backward through an average pooling of 2x2: a quarter to each pixel, none to an odd last row or column."""
    spread = F.interpolate(gradient / 4, scale_factor=2, mode="nearest")
    return F.pad(spread, (0, like.shape[-1] - spread.shape[-1], 0, like.shape[-2] - spread.shape[-2]))
