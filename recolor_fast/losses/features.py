"""Frozen loss networks for perceptual terms: LPIPS and feature reconstruction, each with its weights.

torchvision is imported where a network of its own is built: it takes a second, of each training that needs none.
"""

import re
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recolor_fast.losses.weights import PRETRAINED, cached, pretrained, read_weights, torch_cache
from recolor_fast.machine.download import Pinned, reachable
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import SHIPPED
from recolor_fast.networks.layers import pick


class Slices(NamedTuple):
    """An LPIPS network taken apart."""

    slices: Sequence[nn.Module]
    """Its backbone, cut after each output that is compared; modules are numbered as in torchvision's `features`."""
    heads: Sequence[Tensor] = ()
    """Weights (1,C,1,1) of each slice's channels, none negative; without, every channel has the weight 1."""


class Backbone(NamedTuple):
    """An LPIPS network, untrained, and where the weights of its backbone are."""

    build: Callable[[], Slices]
    weights: str | Path
    """A name in PRETRAINED, or a file of this package, which holds the heads too."""


def _of_lpips(net: str, heads: bool) -> Slices:
    """A network of the lpips package, with its heads or without."""
    import lpips

    with warnings.catch_warnings():  # its constructor asks torchvision for no weights by a deprecated name
        warnings.simplefilter("ignore")
        network = lpips.LPIPS(net=net, lpips=heads, pnet_rand=True, verbose=False)
    slices = [getattr(network.net, f"slice{k + 1}") for k in range(network.net.N_slices)]
    return Slices(slices, [head.model[-1].weight.detach() for head in network.lins] if heads else ())


def mini() -> Slices:
    """The backbone of `lpips_mini`: 0.6 M parameters, strides 2, 4, 8, 16 and 16, no norm layer.

    Its maps lie where SqueezeNet 1.1's do, pixel for pixel, so that it can be taught by it
    (bench/records/train_lpips_mini.py). Weights are random, heads all 1.
    """
    slices = [
        [nn.Conv2d(3, 32, 5, 2, 1), nn.ReLU()],
        [nn.Conv2d(32, 48, 3, 2), nn.ReLU()],
        [nn.Conv2d(48, 96, 3, 2), nn.ReLU(), nn.Conv2d(96, 96, 3, 1, 1), nn.ReLU()],
        [nn.Conv2d(96, 176, 3, 2), nn.ReLU()],
        [nn.Conv2d(176, 192, 3, 1, 1), nn.ReLU()],
    ]
    number = count()
    numbered = [nn.Sequential(OrderedDict((str(next(number)), layer) for layer in part)) for part in slices]
    widths = [conv.out_channels for part in slices for conv in part[-2:] if isinstance(conv, nn.Conv2d)]
    return Slices(numbered, [torch.ones(1, width, 1, 1) for width in widths])


LPIPS = {
    "lpips_alex": Backbone(partial(_of_lpips, "alex", True), "AlexNet_Weights.IMAGENET1K_V1"),
    "lpips_vgg": Backbone(partial(_of_lpips, "vgg", True), "VGG16_Weights.IMAGENET1K_V1"),
    "lpips_style_squeeze": Backbone(partial(_of_lpips, "squeeze", False), "SqueezeNet1_1_Weights.IMAGENET1K_V1"),
    "lpips_mini": Backbone(mini, SHIPPED / "lpips_mini.safetensors"),
}


class Lpips(nn.Module):
    """LPIPS (Zhang et al. 2018, eq. 1) of a frozen backbone; without linear heads, the sum over channels instead.

    Differs from the lpips package's own forward in one thing: the epsilon of the unit normalization stands under the
    root, where a feature vector of zeros would otherwise have a NaN gradient.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        parts = backbone.build()
        self.register_buffer("shift", torch.tensor((-0.030, -0.088, -0.188))[:, None, None])  # ImageNet's mean ...
        self.register_buffer("scale", torch.tensor((0.458, 0.448, 0.450))[:, None, None])  # ... and spread, in [-1, 1]
        self.slices = nn.ModuleList(parts.slices)
        self.heads = [f"head{index}" for index in range(len(parts.heads))]
        for name, head in zip(self.heads, parts.heads):
            self.register_buffer(name, head)
        self.heads_in_file = self.heads if isinstance(backbone.weights, Path) else []
        self.requires_grad_(False).eval()

    def features(self, image: Tensor) -> list[Tensor]:
        """RGB (N,3,H,W) in [-1, 1] -> the unit-normalized features of each slice, float32."""
        x, features = (image - self.shift) / self.scale, []
        for part in self.slices:
            x = part(x)
            square = x.float().square().sum(1, keepdim=True)
            features.append(x.float() * (square + 1e-12).rsqrt())
        return features

    def distances(self, fake: Tensor, real: Tensor) -> Tensor:
        """RGB (N,3,H,W) in [-1, 1], twice, or one real for all -> each image's distance (N,), float32."""
        with torch.no_grad():
            targets = self.features(real)
        total = fake.new_zeros(len(fake), dtype=torch.float32)
        for index, (feature, target) in enumerate(zip(self.features(fake), targets)):
            difference = (feature - target).square()
            weighted = difference * getattr(self, self.heads[index]) if self.heads else difference
            total = total + weighted.sum(1).mean((1, 2))
        return total

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """RGB (N,3,H,W) in [-1, 1], twice -> the mean distance over the batch, a float32 scalar."""
        return self.distances(fake, real).mean()

    def load(self, weights: dict[str, Tensor], origin: str) -> None:
        """Load the backbone of a torchvision state_dict, or `lpips_mini` with its heads.

        UserError naming `origin` and the first key that misfits.
        """
        own = self.state_dict()  # "slices.0.3.squeeze.weight" is features.3.squeeze.weight there
        names = {key: f"features.{key.split('.', 2)[2]}" for key in own if key.startswith("slices.")}
        names |= {head: head for head in self.heads_in_file}
        self.load_state_dict(own | _fitting(own, names, weights, origin))


class Network(NamedTuple):
    """A loss network of the feature reconstruction loss, cut off after one layer."""

    build: Callable[[], nn.Module]
    """The whole network, parameters named as in the weights' state_dict."""
    layer: str
    """Node whose output is compared: of stride 4, as VGG16's block3_conv3 (the paper names no layer of the others)."""
    weights: str
    """A name in PRETRAINED."""
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    """Subtracted from RGB in [0, 1] ..."""
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    """... and divided by."""


def _segmentation_unet() -> nn.Module:
    """U-Net with a ResNet-50 encoder. Only encoders come with ImageNet weights: unless a file has the decoder too, it
    stays at initial weights of a fixed seed, a fixed random projection of the encoder's features."""
    import segmentation_models_pytorch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return segmentation_models_pytorch.Unet("resnet50", encoder_weights=None)


def _resnet50() -> nn.Module:
    from torchvision.models import resnet50

    return resnet50(weights=None)


class _Vgg(nn.Module):
    """The convolutions of VGG16 (cfg "D") or VGG19 ("E"), without the classifier's 124 M parameters."""

    def __init__(self, cfg: str) -> None:
        from torchvision.models import vgg

        super().__init__()
        self.features = vgg.make_layers(vgg.cfgs[cfg])

    def forward(self, image: Tensor) -> Tensor:
        return self.features(image)


class _Fpn(nn.Module):
    """The feature pyramid of torchvision's detector; its level of stride 4."""

    def __init__(self) -> None:
        from torchvision.models.detection import fasterrcnn_resnet50_fpn

        super().__init__()
        self.backbone = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None).backbone

        for module in self.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = torch.finfo(torch.float32).tiny  # none: torch before 2.14 refuses 0

    def forward(self, image: Tensor) -> Tensor:
        return self.backbone(image)["0"]


_RESNET50_WEIGHTS = "ResNet50_Weights.IMAGENET1K_V1"
FEATURES = {
    "vgg16": Network(partial(_Vgg, "D"), "features.15", "VGG16_Weights.IMAGENET1K_V1"),
    # Caffe's weights in torchvision's port, the nearest to those that Keras ships, and their preprocessing: 0..255
    # minus the mean, no division. Activations are some 57 times those of torchvision's own weights, their squares some
    # 3,000 times.
    "vgg16_keras": Network(
        partial(_Vgg, "D"),
        "features.15",
        "VGG16_Weights.IMAGENET1K_FEATURES",
        (0.48235, 0.45882, 0.40784),
        (1 / 255,) * 3,
    ),
    "vgg19": Network(
        partial(_Vgg, "E"),
        "features.15",
        "VGG19_Weights.IMAGENET1K_V1",
    ),
    "resnet50": Network(_resnet50, "layer1", _RESNET50_WEIGHTS),
    "unet": Network(_segmentation_unet, "decoder.blocks.2", _RESNET50_WEIGHTS),
    "fpn": Network(
        _Fpn,
        "getitem",
        "FasterRCNN_ResNet50_FPN_Weights.COCO_V1",
    ),
}


class FeatureLoss(nn.Module):
    """Feature reconstruction loss (Johnson et al. 2016, eq. 2): the squared distance of a layer's activations / CHW."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: Network) -> None:
        from torchvision.models import feature_extraction

        super().__init__()
        self.layers = feature_extraction.create_feature_extractor(network.build().eval(), {network.layer: "features"})
        self.register_buffer("mean", torch.tensor(network.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(network.std)[:, None, None])
        self.requires_grad_(False).eval()

    def features(self, image: Tensor) -> Tensor:
        """RGB (N,3,H,W) in [-1, 1] -> the layer's activations (N,C,H/4,W/4), float32."""
        return self.layers(((image + 1) / 2 - self.mean) / self.std)["features"].float()

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """RGB (N,3,H,W) in [-1, 1], twice -> the mean over the batch, a float32 scalar."""
        with torch.no_grad():
            target = self.features(real)
        return F.mse_loss(self.features(fake), target)

    def load(self, weights: dict[str, Tensor], origin: str) -> None:
        """Load what the cut network needs of a state_dict; UserError naming `origin` and the first key that misfits.

        A U-Net also takes its encoder alone, as torchvision names it.
        """
        own = self.layers.state_dict()
        first = next(iter(own))
        names = {key: key for key in own if not key.endswith("num_batches_tracked")}
        if first.startswith("encoder.") and first not in weights:
            names = {key: key.removeprefix("encoder.") for key in names if key.startswith("encoder.")}
            print(f"warning: {origin} has an encoder alone: the U-Net's decoder is a fixed random one", file=sys.stderr)
        for key, name in names.items():
            if name not in weights:  # a feature pyramid's blocks, as torchvision's older files name them
                names[key] = re.sub(r"(fpn\.\w+_blocks\.\d+)\.0\.", r"\1.", name)
        self.layers.load_state_dict(own | _fitting(own, names, weights, origin))


def _fitting(
    own: dict[str, Tensor], names: dict[str, str], weights: dict[str, Tensor], origin: str
) -> dict[str, Tensor]:
    """`weights` under a network's own names (own -> theirs) and in its types; UserError for the first that misfits."""
    fitting = {}
    for key, name in names.items():
        if name not in weights:
            raise UserError(f"{origin} does not fit: it has no {name}; expected a torchvision state_dict")
        if weights[name].shape != own[key].shape:
            shapes = f"{tuple(weights[name].shape)}, expected {tuple(own[key].shape)}"
            raise UserError(f"{origin} does not fit: {name} is {shapes}")
        fitting[key] = weights[name].to(own[key].dtype)
    return fitting


def build_lpips(term: str, file: str) -> Lpips:
    """The frozen network of an LPIPS term with its weights from `file`, torch's cache or a download.

    `file` "random" keeps random weights (structure only). UserError names a file that misfits or cannot be read;
    OSError (URLError) means a download that failed.
    """
    backbone = pick(LPIPS, term, "lpips")
    network = Lpips(backbone)
    if file != "random":
        network.load(*_weights(term, file))
    return network


def build_feature_loss(term: str, file: str) -> FeatureLoss:
    """The frozen loss network of a feature term, its weights from where `build_lpips` has them; the same errors."""
    network = pick(FEATURES, term, "terms")
    loss = FeatureLoss(network)
    if file != "random":
        loss.load(*_weights(term, file))
    return loss


def _weights(term: str, file: str) -> tuple[dict[str, Tensor], str]:
    """A state_dict from a file, a cache or a download, and what to call it in an error."""
    source = Path(file) if file else _source(term)
    if isinstance(source, Path):
        return read_weights(source), f"{source} (for {term})"
    return read_weights(pretrained(source)), f"the cached weights of {term}"


def _source(term: str) -> Pinned | Path:
    weights = (LPIPS[term] if term in LPIPS else FEATURES[term]).weights
    return weights if isinstance(weights, Path) else PRETRAINED[weights]


def missing(term: str, file: str) -> str:
    """Why the weights of a term's network are missing, in words; empty if they are there. Downloads nothing."""
    if file == "random":
        return ""
    what = Path(file) if file else _source(term)
    if isinstance(what, Path):
        return "" if what.is_file() else f"there is no file {what}"
    if cached(what) or reachable(what.url):
        return ""
    return f"{what.url} does not answer, and there is no {torch_cache(what)}"
