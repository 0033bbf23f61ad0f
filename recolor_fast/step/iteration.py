"""One iteration of the pair generator/critic: the only place that knows compile, autocast and channels-last.

An iteration is four pure pieces. Each is eager or compiled, the same lines either way:

    fake            = forward(generator, source)                        once
    parts, gradient = critic_update(critic parameters, ..., fake, mix)  critic_steps times, Adam after each
    parts, at_fake  = generator_update(critic parameters, ..., fake)    d loss / d fake
    gradient        = vector-Jacobian product of `forward` with at_fake, then Adam

Of several ranks each works on its part of the batch, and draws what is random for all of it: gradients and losses are
averaged before Adam's step, so one rank or many do the same.

An iteration is applied whole or not at all. Where one of its losses or gradients is not finite, no Adam step after that
is taken, and what the iteration had changed by then is put back: the critic's weights and its Adam, of earlier steps on
the same batch, and all buffers, which a forward pass of NaN poisons. All of that is decided on the device.
"""

from __future__ import annotations  # a compiled function must not evaluate the annotations of inner functions

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from recolor_fast.data import simulated_hints
from recolor_fast.losses.terms import WeightedTerm
from recolor_fast.machine.environment import float32_proper, prepare_compiler
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.ranks import ALONE, Ranks
from recolor_fast.networks.critics import build_critic
from recolor_fast.networks.generators import build_generator
from recolor_fast.networks.layers import Convolving, Doubling, at_least_float32, encoder, power_iteration
from recolor_fast.networks.space import SPACES, to_rgb01, to_unit
from recolor_fast.networks.winograd import STRIDES
from recolor_fast.options import Options, Training
from recolor_fast.step import fused, guard, shared
from recolor_fast.step.adam import Adam
from recolor_fast.step.graphed import Graphed
from recolor_fast.step.micro_batches import end_to_end, forward_in_pieces, in_pieces, mean
from recolor_fast.step.updates import Parts, critic_update, generator_update


class Networks(NamedTuple):
    """Both of a system; some have no critic."""

    generator: nn.Module
    critic: nn.Module | None


def networks(options: Options) -> Networks:
    """Both networks on the host, with the initial weights that the seed stands for. torch's random state stays as it
    was."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(options.seed)
        return Networks(build_generator(options), build_critic(options) if options.critic else None)


class Step:
    """Both networks, both optimizers, and the iteration that updates them.

    `streak`, an int64 scalar on the device, counts the iterations in a row that were left out because a loss or a
    gradient was not finite. Once it is above options.skip_nonfinite, everything else stays as it was before the
    iteration that brought it there, whatever is called, and only `streak` goes on counting: whoever looks at it now and
    then finds the state of before, and when that was. With amp_dtype float16 an iteration that lowers a loss scale was
    left out, too, but it neither counts nor ends a streak. `stopping`, a scalar on the device, is above 0 once
    one of the ranks was asked to stop (ranks.asked), on all of them after the same iteration.
    """

    def __init__(
        self,
        options: Options,
        terms: list[WeightedTerm],
        device: torch.device,
        ranks: Ranks = ALONE,
        made: Networks | None = None,
    ) -> None:
        """Build from decided options (resolve.py), their terms (build_terms) and their networks where those are `made`.

        With several `ranks` its batches are their parts (Ranks.places) of those that the options speak of. UserError
        for what does not fit.
        """
        assert "auto" not in (options.compile, options.fused_critic, options.cuda_graph, options.channels_last)
        assert options.winograd != "auto"
        self.options, self.device, self.terms, self.ranks = options, device, terms, ranks
        rows, last = torch.contiguous_format, torch.channels_last
        layouts = {"off": (rows, rows), "critic": (rows, last), "on": (last, last)}
        layout, self._critic_layout = layouts[options.channels_last]
        self.generator, self.critic = made or networks(options)
        self.generator.to(device, memory_format=layout)  # type: ignore[call-overload]
        if self.critic:
            self.critic.to(device, memory_format=self._critic_layout)  # type: ignore[call-overload]
        for term in terms:
            if isinstance(term.loss, nn.Module):
                term.loss.to(device, memory_format=layout)  # type: ignore[call-overload]
        both = {"generator": self.generator, **({"critic": self.critic} if self.critic else {})}
        for name, network in both.items():
            # A penalty that is not fused differentiates the critic twice.
            twice = name == "critic" and options.gradient_penalty and options.fused_critic == "off"
            for module in network.modules():
                if isinstance(module, Convolving | Doubling):
                    module.winograd = () if twice else STRIDES[options.winograd] or ()
        self.stopping = torch.zeros((), device=device)
        if ranks.count > 1:
            self._places = torch.from_numpy(ranks.places(options.batch, options.micro_batch)).to(device)
            for network in both.values():
                shared.share(network, ranks)
        self._encoder = [*encoder(self.generator).parameters()]
        if options.freeze_encoder and not self._encoder:
            raise UserError(
                f"freeze_encoder {options.freeze_encoder}: generator {options.generator} has no pretrained encoder"
            )
        self.optimizers = {
            name: Adam(
                self._groups(network),
                betas=(options.beta1, options.beta2),
                weight_decay=options.weight_decay,
                fused=True,
                capturable=options.cuda_graph == "on",
            )
            for name, network in both.items()
        }
        for optimizer in self.optimizers.values():
            guard.begin(optimizer)
        self.streak = torch.zeros((), dtype=torch.int64, device=device)
        self.scales: dict[str, guard.LossScale] = {}
        if options.amp and options.amp_dtype == "float16":
            for name in both:
                good = torch.zeros((), dtype=torch.int32, device=device)
                self.scales[name] = guard.LossScale(torch.full((), guard.FIRST_SCALE, device=device), good)
        # Detached views of the critic's parameters, for its update alone: it differentiates in leaves of its own.
        self._parameters = {k: v.detach() for k, v in self.critic.named_parameters()} if self.critic else {}
        self._layout = layout
        self.graphed = Graphed(self._iterate)
        self._forward = self._prepare(lambda source: at_least_float32(self.generator(source)))
        self._generator_update = self._prepare(partial(generator_update, self.critic, options, terms))
        self.critic_updates = {}
        if self.critic:  # by whether the step has the penalty, which is as much heavier as it is rarer
            lazy = replace(options, gradient_penalty=options.gradient_penalty * options.penalty_every)
            penalized: Callable = partial(critic_update, self.critic, lazy)
            if options.fused_critic == "on":
                layers = fused.layers(self.critic, options)
                penalized = partial(fused.critic_update, layers, lazy, strides=STRIDES[options.winograd])
            free = partial(critic_update, self.critic, replace(options, gradient_penalty=0.0, penalty_every=1))
            self.critic_updates = {True: self._prepare(penalized), False: self._prepare(free)}
        if length := options.micro_batch // ranks.count:
            self._forward = partial(forward_in_pieces, self._forward, self.generator, length)
            self._generator_update = in_pieces(self._generator_update, length, end_to_end)
            self.critic_updates = {k: in_pieces(update, length, mean) for k, update in self.critic_updates.items()}

    def _prepare(self, piece: Callable) -> Callable:
        """Autocast around a piece, and one compiled graph of it if the options say so."""

        dtype = getattr(torch, self.options.amp_dtype)

        def run(*tensors: Any, **loss_scale: Any) -> Any:
            # The cache of cast weights outlives functorch's levels and captured graphs: casting again is cheap.
            with torch.autocast(self.device.type, dtype, self.options.amp, cache_enabled=False):
                return piece(*tensors, **loss_scale)

        piece_or_graph: Callable = run
        if self.options.compile == "on":
            prepare_compiler()
            settings: dict[str, Any] | None = None
            if self.device.type == "cpu" and self.options.compile_backend == "inductor":
                settings = {"layout_optimization": False}  # its layout round trips cost more than they gain
            backend = self.options.compile_backend
            piece_or_graph = torch.compile(run, fullgraph=True, dynamic=False, backend=backend, options=settings)

        def prepared(*tensors: Any, **loss_scale: Any) -> Any:
            # What amp leaves in float32, the scores of the fused critic above all, is little, and meant.
            with float32_proper(self.options.amp):
                return piece_or_graph(*tensors, **loss_scale)

        return prepared

    def __call__(self, gray: Tensor, rgb: Tensor, images: int) -> Parts:
        """Update both networks on a batch, or this rank's part of it: gray uint8 (N,1,S,S), rgb uint8 (N,3,S,S), on the
        device.

        `images` is the progress before this step; with the seed it determines dropout and penalty points, so a resumed
        run repeats an unbroken one. Returns the loss parts as float32 scalars on the device, finite or not, and beside
        them `nonfinite`: 1 where this iteration was left out, else 0. Nothing synchronizes.
        """
        options = self.options
        torch.manual_seed(step_seed(options.seed, images))
        self._set_rate(images)
        before = images // options.batch * options.critic_steps
        penalized = tuple((before + step) % options.penalty_every == 0 for step in range(options.critic_steps))
        frozen = images < options.freeze_encoder * options.images
        encoder(self.generator).frozen = frozen  # type: ignore[assignment]
        iterate = self.graphed if options.cuda_graph == "on" else self._iterate
        return iterate((penalized, frozen), gray, rgb)

    def _groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """A network's parameters as Adam takes them, each with its `share` of the learning rate."""
        known = {*self._encoder}
        groups = {1.0: [p for p in network.parameters() if p not in known]}
        if own := [p for p in network.parameters() if p in known]:
            groups[self.options.encoder_rate] = groups.get(self.options.encoder_rate, []) + own
        return [{"params": params, "share": share, "lr": self._rate(share)} for share, params in groups.items()]

    def _rate(self, share: float) -> float | Tensor:
        """A learning rate as Adam takes it: a scalar on the device where a recorded graph has to see it change."""
        options, rate = self.options, share * self.options.learning_rate
        return torch.tensor(rate, device=self.device) if options.decay and options.cuda_graph == "on" else rate

    def _set_rate(self, images: int) -> None:
        """Let the learning rate fall, as `options.decay` says, to what it is after `images` photographs."""
        options = self.options
        if not options.decay:
            return
        rate = learning_rate(options, images)
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(group["share"] * rate)
                else:
                    group["lr"] = group["share"] * rate

    def _iterate(self, kind: tuple[tuple[bool, ...], bool], gray: Tensor, rgb: Tensor) -> Parts:
        """The iteration, nothing but work on the device; `kind` says which critic steps have the penalty and whether
        the encoder is frozen."""
        options, (penalized, frozen) = self.options, kind
        kept, left_out = guard.copies(self._changing()), self.streak > options.skip_nonfinite
        wrong: dict[str, Tensor] = {}  # by network: whether an update of it is not finite
        scales = {name: scale.value for name, scale in self.scales.items()}
        rgb01 = to_rgb01(rgb).contiguous(memory_format=self._layout)
        source = to_unit(gray).contiguous(memory_format=self._layout)
        real = SPACES[options.space].encode(rgb01)
        whole = len(gray) * self.ranks.count
        mix = self._mine(torch.rand((options.critic_steps, whole, 1, 1, 1), device=self.device), 1)

        power_iteration(self.generator)
        hints = [simulated_hints.draw(real, options.hints, whole, self._mine)] if options.hints else []
        fake = self._forward(torch.cat((source, *hints), 1) if hints else source)
        source = source.expand(-1, options.source_channels, -1, -1)
        pairs = [image.contiguous(memory_format=self._critic_layout) for image in (source, real, fake.detach())]
        parts: Parts = {}
        with torch.no_grad():
            if self.critic:
                for step, penalty in enumerate(penalized):
                    power_iteration(self.critic)
                    update = self.critic_updates[penalty]
                    losses, gradients = update(self._parameters, *pairs, mix[step], loss_scale=scales.get("critic"))
                    losses, gradients = self._average(losses, [gradients[name] for name in self._parameters])
                    # Of several steps on one batch, the parts' mean.
                    shares: dict[str, Any] = {name: part / options.critic_steps for name, part in losses.items()}
                    parts = {k: parts.get(k, 0) + shares.get(k, 0) for k in parts | shares}
                    summed = options.critic_gradients == "summed" and step > 0
                    bad = self.apply_gradients("critic", self.critic.parameters(), gradients, losses, left_out, summed)
                    wrong["critic"], left_out = wrong.get("critic", bad) | bad, left_out | bad
                if options.gradient_penalty:  # as the steps that have it show it
                    penalties = parts.get("critic/penalty", fake.new_zeros(()))
                    parts["critic/penalty"] = options.penalty_every * penalties
            loss_scale, images = scales.get("generator"), (source, real, rgb01 * 2 - 1, fake.detach())
            losses, at_fake = self._generator_update(self._parameters, *images, loss_scale=loss_scale)
        at_fake = at_fake if loss_scale is None else at_fake * loss_scale
        known = {*self._encoder} if frozen else set()
        learned = [parameter for parameter in self.generator.parameters() if parameter not in known]
        # As of `fake` with `at_fake` beside it, for which torch imports sympy.
        gradients = torch.autograd.grad((fake * at_fake).sum(), learned)
        if loss_scale is not None:
            torch._foreach_div_(gradients, loss_scale)
        losses, gradients = self._average(losses, gradients)
        parts |= losses
        wrong["generator"] = self.apply_gradients("generator", learned, gradients, losses, left_out)
        left_out = left_out | wrong["generator"]
        with torch.no_grad():
            guard.count(self.streak, self.scales, wrong, left_out, options.skip_nonfinite)
            guard.put_back(kept, left_out)
        return parts | {"nonfinite": left_out.float()}

    def _mine(self, drawn: Tensor, dimension: int = -1) -> Tensor:
        """This rank's part of what is drawn for the photographs of a whole batch, which a dimension is for."""
        return drawn if self.ranks.count == 1 else drawn.index_select(dimension, self._places)

    def _average(self, parts: Parts, gradients: Sequence[Tensor]) -> tuple[Parts, Sequence[Tensor]]:
        """Losses by parts and gradients of a whole batch, from those of each rank's part of it."""
        if self.ranks.count == 1:
            return parts, gradients
        # Norms over a batch are of gradients of its mean: those of a part are larger, by as much as it is smaller.
        norms = [name for name in parts if name.startswith("gradient/")]
        told = parts | {name: parts[name].square().div(self.ranks.count) for name in norms}
        asked = torch.full((), float(self.ranks.asked), device=self.device)
        *averaged, self.stopping = self.ranks.average([*gradients, *told.values(), asked])
        parts = dict(zip(told, averaged[len(gradients) :]))
        return parts | {name: parts[name].sqrt() for name in norms}, averaged[: len(gradients)]

    def tensors(self) -> Iterator[Tensor]:
        """All that an iteration changes, and weights that it does not: what ranks must have in common."""
        for network in filter(None, (self.generator, self.critic)):
            yield from network.parameters()
            yield from network.buffers()
        for optimizer in self.optimizers.values():
            for state in optimizer.state.values():
                yield from state.values()
        yield self.streak
        for scale in self.scales.values():
            yield from scale

    def _changing(self) -> Iterator[Tensor]:
        """What an iteration has changed by the time it turns out bad: all but the generator's weights and Adam, which
        change last."""
        yield from self.generator.buffers()
        if self.critic:
            yield from self.critic.buffers()
            yield from self._parameters.values()
            for state in self.optimizers["critic"].state.values():
                yield from state.values()

    def apply_gradients(
        self,
        name: str,
        parameters: Iterable[Tensor],
        gradients: Any,
        parts: Parts,
        left_out: Tensor,
        summed: bool = False,
    ) -> Tensor:
        """Adam's step, or none where `left_out` says so or these gradients or parts are not finite; returns the latter.

        That is by the gradients' norms: what overflows in them would overflow in Adam's second moment.
        """
        applied = []
        for parameter, gradient in zip(parameters, gradients, strict=True):
            # Fused Adam walks memory: a gradient laid out otherwise than its parameter would update other elements.
            same = gradient.stride() == parameter.stride()
            gradient = gradient if same else torch.empty_like(parameter).copy_(gradient)
            parameter.grad = parameter.grad + gradient if summed and parameter.grad is not None else gradient
            applied.append(parameter.grad)
        norms = torch._foreach_norm(applied)
        bad = ~torch.stack([*norms, *parts.values()]).isfinite().all()
        self.optimizers[name].found_inf = (left_out | bad).float()  # type: ignore[attr-defined]
        self.optimizers[name].step()
        return bad

    def state_dict(self) -> dict[str, Any]:
        """Both networks, both optimizers, the streak and the loss scales, for a checkpoint."""
        state: dict[str, Any] = {"generator": self.generator.state_dict(), "streak": self.streak}
        state["loss_scales"] = {name: list(scale) for name, scale in self.scales.items()}
        if self.critic:
            state["critic"] = self.critic.state_dict()
        return state | {f"optimizer/{name}": optimizer.state_dict() for name, optimizer in self.optimizers.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`, in place. RuntimeError where the networks differ."""
        self.generator.load_state_dict(state["generator"])
        if self.critic:
            self.critic.load_state_dict(state["critic"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state[f"optimizer/{name}"])
            for group in optimizer.param_groups:  # as this step is run, not as the one that saved was
                group["capturable"] = self.options.cuda_graph == "on"
                group["lr"] = self._rate(group.setdefault("share", 1.0))  # older checkpoints have none
                for parameter in group["params"]:  # fused Adam walks memory: its moments must lie as the parameter does
                    moments = optimizer.state[parameter]
                    for moment in ("exp_avg", "exp_avg_sq"):
                        moments[moment] = torch.empty_like(parameter).copy_(moments[moment])
        # What an earlier limit allowed is no reason to stop now; older checkpoints have no streak.
        self.streak.copy_(state.get("streak", torch.zeros(()))).clamp_(max=self.options.skip_nonfinite)
        for name, scale in self.scales.items():
            for tensor, saved in zip(scale, state["loss_scales"][name]):
                tensor.copy_(saved)
        self.graphed = Graphed(self._iterate)  # what is recorded works on the tensors that the optimizers had before


def learning_rate(options: Training, images: int) -> float:
    """The learning rate of an iteration that begins after `images` photographs, fallen as `options.decay` says."""
    if not options.decay:
        return options.learning_rate
    left = max(options.images - images, 0) / (options.decay * options.images)
    return options.learning_rate * min(left, 1.0)


def step_seed(seed: int, images: int) -> int:
    """The seed of one step's randomness: a 64-bit hash of the run's seed and the photographs seen."""
    return int(np.random.SeedSequence((seed, images)).generate_state(1, np.uint64)[0])
