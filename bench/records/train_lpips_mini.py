"""How the weights of `lpips_mini` are made.

    python bench/records/train_lpips_mini.py --data FOLDER --squeezenet FILE --vgg19 FILE --out FILE

The network (recolor_fast.losses.features.mini) learns from crops of photographs, each beside a distorted copy, what two
teachers find in them, SqueezeNet 1.1 and VGG19 up to conv3_4, both trained on ImageNet:

features    throwaway 1x1 convolutions of its unit-normalized features regress the teachers' at the same strides;
distances   the logarithm of its distance between the two, of every stage and in sum, in each quarter of the crop,
            follows that of the teachers' LPIPS-style distances up to a constant, which every batch has of its own.

Families of distortions, their strengths and how many there are of are drawn; JPEG and warps are never shown
(distortions.py), so that perceptual.py can tell what was learned from what was seen. In the end the heads
are scaled for a mean distance of 0.2 between photographs and their gray versions, about where LPIPS lies: our choice,
unverified against AlexNet.

The same arguments on one machine with one thread and the same versions give the same bytes. Photographs are taken from
--data in sorted order, the file is written whole or not at all.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script, only this folder is there
from bench.arguments import parse
from bench.records.arguments import TrainLpipsMini as Arguments

if __name__ == "__main__":
    parse(Arguments)  # --help and wrong options end here, before what takes seconds is imported


import time
from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save
from torch import Tensor, nn

from bench.common import jpegs
from bench.records.distortions import TAUGHT, levels
from recolor_fast.losses.features import LPIPS, Backbone, Lpips, Slices, build_lpips
from recolor_fast.losses.weights import read_weights
from recolor_fast.machine.files import replacing
from recolor_fast.machine.memory import keep_freed
from recolor_fast.networks.space import to_unit
from recolor_fast.photographs import images

# Slices of a teacher by the stage that learns them.
SQUEEZENET = ((0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (4, 6))
VGG19 = ((0, 0), (1, 1), (1, 2))
FLOOR = 1e-3  # added to distances before their logarithm: what is smaller is the same
GRAY_DISTANCE = 0.2
SCALED_WITH = 500  # photographs


def main(argv: list[str] | None = None) -> None:
    """Parse the command line, train, scale, write."""
    arguments = parse(Arguments, argv)
    torch.set_num_threads(1)  # sums in one order
    cv2.setNumThreads(1)
    keep_freed()
    torch.manual_seed(arguments.seed)
    paths = jpegs(arguments.data, "--data")
    network = train(arguments, paths)
    weights = {f"features.{key.split('.', 1)[1]}": value for key, value in network.slices.state_dict().items()}
    weights |= {name: getattr(network, name) for name in network.heads}
    weights = {name: value.half().contiguous() for name, value in weights.items()}
    network.load(weights, "what was trained")  # rounded, as it will be used
    scale = GRAY_DISTANCE / gray_distance(network, paths)
    weights |= {name: (getattr(network, name) * scale).half() for name in network.heads}
    with replacing(arguments.out) as file:
        file.write(save(weights))


def vgg19(file: Path) -> Lpips:
    """VGG19 to its third block, compared after relu1_2, relu2_2 and relu3_4, without heads, from a state_dict."""
    layers = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["E"])
    network = Lpips(Backbone(lambda: Slices((layers[:4], layers[4:9], layers[9:18])), file))
    network.load(read_weights(file), str(file))
    return network


def train(arguments: Arguments, paths: Sequence[Path]) -> Lpips:
    """The trained network, in float32 and with heads of any scale."""
    network = Lpips(LPIPS["lpips_mini"])
    network.requires_grad_(True)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    logs = nn.ParameterList(torch.zeros_like(getattr(network, name)) for name in network.heads)  # of the heads
    teachers = [
        (build_lpips("lpips_style_squeeze", str(arguments.squeezenet)), SQUEEZENET, arguments.pairs),
        (vgg19(arguments.vgg19), VGG19, arguments.vgg_pairs),
    ]
    for teacher, _, _ in teachers:
        teacher.to(memory_format=torch.channels_last)  # twice as fast for SqueezeNet on a processor
    widths = [log.shape[1] for log in logs]
    probe = torch.zeros(1, 3, arguments.crop, arguments.crop)
    regressions = nn.ModuleList(
        nn.ModuleList(nn.Conv2d(widths[stage], shapes[index].shape[1], 1) for stage, index in learned)
        for teacher, learned, _ in teachers
        for shapes in [teacher.features(probe)]
    )
    parameters = [*network.parameters(), *logs.parameters(), *regressions.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=arguments.learning_rate, weight_decay=1e-4)
    warm = max(1, arguments.steps // 20)
    started, sums = time.perf_counter(), np.zeros(4)
    for step in range(arguments.steps):
        rate = min((step + 1) / warm, 0.5 + 0.5 * np.cos(np.pi * step / arguments.steps))
        for group in optimizer.param_groups:
            group["lr"] = arguments.learning_rate * rate
        photographs, distorted = batch(paths, arguments, step)
        parts: list[Tensor] = []
        with torch.autocast("cpu", torch.bfloat16):
            own = [network.features(image) for image in (photographs, distorted)]
            heads = [log.exp() for log in logs]
            for (teacher, learned, count), convolutions in zip(teachers, regressions):
                with torch.no_grad():
                    taught = [teacher.features(image[:count]) for image in (photographs, distorted)]
                ours = [[feature[:count] for feature in image] for image in own]
                parts += losses(ours, heads, taught, learned, convolutions)  # type: ignore[arg-type]
        loss = torch.stack(parts).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        sums += [part.item() for part in parts]
        if (step + 1) % arguments.log_every == 0:
            said = " ".join(f"{value:.4f}" for value in sums / arguments.log_every)
            print(f"{step + 1} of {arguments.steps}: {said} ({time.perf_counter() - started:.0f} s)", file=sys.stderr)
            sums[:] = 0
    for name, log in zip(network.heads, logs):
        setattr(network, name, log.detach().exp())
    return network.requires_grad_(False)


def losses(
    ours: Sequence[Sequence[Tensor]],
    heads: Sequence[Tensor],
    taught: Sequence[Sequence[Tensor]],
    learned: Sequence[tuple[int, int]],
    convolutions: Sequence[nn.Module],
) -> tuple[Tensor, Tensor]:
    """Of photographs and their distorted copies: how far features and how far log distances are from the teacher's."""
    apart = []
    for own, target in zip(ours, taught):
        for (stage, index), convolution in zip(learned, convolutions):
            made = convolution(own[stage]).float()
            aim = F.interpolate(target[index], made.shape[2:], mode="area")
            apart.append(1 - F.cosine_similarity(made, aim, dim=1, eps=1e-4).mean())
    our_maps = [quarters(first, second, head) for first, second, head in zip(*ours, heads)]
    their_maps = [quarters(first, second) for first, second in zip(*taught)]
    off = [follow(our_maps[stage], their_maps[index]) for stage, index in learned]
    whole = follow(torch.stack(our_maps).sum(0), torch.stack(their_maps).sum(0))
    return torch.stack(apart).mean(), torch.stack(off).mean() + 4 * whole


def quarters(first: Tensor, second: Tensor, head: Tensor | None = None) -> Tensor:
    """The distance of two images' features (N,C,H,W) in every quarter (N,1,2,2)."""
    difference = (first - second).square()
    weighted = difference if head is None else difference * head
    return F.adaptive_avg_pool2d(weighted.sum(1, keepdim=True), 2)


def follow(ours: Tensor, taught: Tensor) -> Tensor:
    """How far log distances are from the teacher's, but for a constant; squared where that is less than 1."""
    apart = (ours + FLOOR).log() - (taught + FLOOR).log()
    return F.smooth_l1_loss(apart - apart.mean(), torch.zeros_like(apart))


def batch(paths: Sequence[Path], arguments: Arguments, step: int) -> tuple[Tensor, Tensor]:
    """Crops of the photographs of a step and their distorted copies, RGB (N,3,S,S) in [-1, 1]."""
    chance = np.random.default_rng([arguments.seed, step])
    order = np.random.default_rng([arguments.seed, step * arguments.pairs // len(paths)]).permutation(len(paths))
    crops, copies = [], []
    for number in range(step * arguments.pairs, (step + 1) * arguments.pairs):
        path = paths[order[number % len(paths)]]
        rgb = images.read_rgb(path.read_bytes())
        if min(rgb.shape[:2]) < arguments.crop:
            raise SystemExit(
                f"{path}: {rgb.shape[1]}x{rgb.shape[0]} pixels, expected --crop, {arguments.crop}, or more"
            )
        side = int(chance.integers(arguments.crop, min(rgb.shape[:2]) + 1))
        top, left = (int(chance.integers(0, length - side + 1)) for length in rgb.shape[:2])
        crop = rgb[top : top + side, left : left + side]
        crop = cv2.resize(crop, (arguments.crop,) * 2, interpolation=cv2.INTER_AREA)[:, :: int(chance.choice([-1, 1]))]
        copy = np.ascontiguousarray(crop, np.float32)
        for name in chance.choice(list(TAUGHT), chance.choice([1, 1, 2]), replace=False):
            family = TAUGHT[name]
            strength = np.exp(chance.uniform(*np.log([family.strengths[0], family.strengths[-1]])))
            copy = np.clip(family.apply(copy, float(strength), chance), 0, 255)
        crops.append(crop)
        copies.append(levels(copy))
    return unit(crops), unit(copies)


def unit(rgb: Sequence[np.ndarray]) -> Tensor:
    """Images (H,W,3) uint8 -> (N,3,H,W) in [-1, 1]."""
    return to_unit(torch.from_numpy(np.stack(rgb)).permute(0, 3, 1, 2))


def gray_distance(network: Lpips, paths: Sequence[Path]) -> float:
    """The mean distance of photographs to their gray versions, each whole, evenly chosen among `paths`."""
    distances = []
    for path in paths[:: max(1, len(paths) // SCALED_WITH)]:
        rgb = images.read_rgb(path.read_bytes())
        gray = np.repeat(images.gray(rgb)[..., None], 3, 2)
        distances.append(network(unit([gray]), unit([rgb])).item())
    return float(np.mean(distances))


if __name__ == "__main__":
    main()
