"""The training step as the papers' code writes it: the baseline of the benchmarks and the reference of the tests.

Float32 (float64 in tests), eager, nn.LeakyReLU, one critic forward each for real, fake and penalty points, the penalty
by autograd's double-backward, torch.optim.Adam's own defaults. The fake is computed once per step. Same presets,
networks, initial weights, batches and penalty points as recolor_fast.step.iteration. Instance norm is ours, as torch's
has a wrong gradient here (networks/layers.py). As in the papers' code, the generator's update computes gradients of the
critic's weights too, which nobody uses; other implementations switch them off, worth some 5 % of pix2pix.
"""

import copy
from collections.abc import Collection
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from recolor_fast.losses.adversaries import ADVERSARIES
from recolor_fast.losses.terms import WeightedTerm
from recolor_fast.networks.critics import Scores
from recolor_fast.networks.layers import SLOPE, Convolving, Doubling, LeakyReLU, power_iteration
from recolor_fast.networks.space import SPACES, to_rgb01, to_unit
from recolor_fast.options import Options
from recolor_fast.step.iteration import Step, step_seed
from recolor_fast.step.updates import Parts


def plain(network: nn.Module, activations: bool = True, convolutions: bool = True) -> nn.Module:
    """A copy of a network, contiguous, with torch's own activations and convolutions instead of ours."""
    network = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if activations and isinstance(child, LeakyReLU):
                setattr(module, name, nn.LeakyReLU(SLOPE))
    for module in network.modules():
        if convolutions and isinstance(module, Convolving | Doubling | Scores):
            # Its own forward would take some maps otherwise; parameters, and spectral norm on them, stay.
            torchs: Any = nn.ConvTranspose2d if isinstance(module, Doubling) else nn.Conv2d
            module.forward = partial(torchs.forward, module)  # type: ignore[method-assign]
    return network


def critic_loss(
    critic: nn.Module, options: Options, source: Tensor, real: Tensor, fake: Tensor, mix: Tensor
) -> tuple[Tensor, Parts]:
    """The critic's loss with a graph that can be differentiated, and its parts."""
    adversary = ADVERSARIES[options.adversary]
    parts = {
        "critic/real": torch.stack([adversary.critic_real(score) for score in critic(source, real)]).sum(),
        "critic/fake": torch.stack([adversary.critic_fake(score) for score in critic(source, fake)]).sum(),
    }
    total = parts["critic/real"] + parts["critic/fake"]
    if options.gradient_penalty:
        points = (mix * real + (1 - mix) * fake).requires_grad_()
        source = source.detach().expand(-1, options.source_channels, -1, -1).requires_grad_()
        value = torch.stack([adversary.value(score).sum() for score in critic(source, points)]).sum()
        by = [source, points] if options.penalty_on == "pair" else [points]
        gradient = torch.cat(torch.autograd.grad(value, by, create_graph=True), 1)
        norm = (gradient.flatten(1).square().sum(1) + 1e-12).sqrt()
        parts["critic/penalty"] = (norm - 1).square().mean()
        total = total + options.gradient_penalty * parts["critic/penalty"]
    return total, parts


class PaperStep:
    """One iteration with the signature of recolor_fast.step.iteration.Step, from the same initial weights."""

    def __init__(self, options: Options, terms: list[WeightedTerm], step: Step, ours: Collection[str] = ()) -> None:
        """`ours`: which of "adam", "activations" and "convolutions" are ours after all, for the steps in between."""
        self.options, self.terms, self.device = options, terms, step.device
        torchs = {name: name not in ours for name in ("activations", "convolutions")}
        self.generator = plain(step.generator, **torchs)
        self.critic = plain(step.critic, **torchs) if step.critic else None
        adam: dict[str, Any] = {
            "fused": "adam" in ours or None,
            "lr": options.learning_rate,
            "betas": (options.beta1, options.beta2),
            "weight_decay": options.weight_decay,
        }
        self.generator_adam = torch.optim.Adam(self.generator.parameters(), **adam)
        if self.critic:
            self.critic_adam = torch.optim.Adam(self.critic.parameters(), **adam)

    def __call__(self, gray: Tensor, rgb: Tensor, images: int) -> Parts:
        """Update both networks on a batch: gray uint8 (N,1,S,S), rgb uint8 (N,3,S,S)."""
        options = self.options
        torch.manual_seed(step_seed(options.seed, images))
        source, rgb01 = to_unit(gray), to_rgb01(rgb)
        real = SPACES[options.space].encode(rgb01)
        mix = torch.rand((options.critic_steps, len(gray), 1, 1, 1), device=self.device)
        power_iteration(self.generator)
        fake = self.generator(source)
        parts: Parts = {}
        total = torch.zeros((), device=self.device)
        if self.critic:
            for step in range(options.critic_steps):
                power_iteration(self.critic)
                if options.critic_gradients == "fresh" or step == 0:
                    self.critic_adam.zero_grad()
                loss, told = critic_loss(self.critic, options, source, real, fake.detach(), mix[step])
                parts = {k: parts.get(k, 0) + part.detach() / options.critic_steps for k, part in told.items()}
                loss.backward()
                self.critic_adam.step()
            self.generator_adam.zero_grad()
            scores = self.critic(source, fake)
            losses = [ADVERSARIES[options.adversary].generator(score) for score in scores]
            parts["generator/adversary"] = torch.stack(losses).sum()
            total = options.adversary_weight * parts["generator/adversary"]
        for term in self.terms:
            pair = (fake, real)
            if term.image:
                pair = (SPACES[options.space].decode(fake, source) * 2 - 1, rgb01 * 2 - 1)
            parts[f"generator/{term.name}"] = term.loss(*pair)
            total = total + term.weight * parts[f"generator/{term.name}"]
        total.backward()
        self.generator_adam.step()
        return {name: part.detach() for name, part in parts.items()}
