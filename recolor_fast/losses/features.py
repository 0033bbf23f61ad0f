"""Frozen loss networks for perceptual terms: LPIPS, feature reconstruction, and where their weights come from."""

import pickle
import re
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models import feature_extraction

from recolor_fast.download import Pinned, fetch, reachable, verify
from recolor_fast.files import cache_folder, holds_program, private_folder
from recolor_fast.networks.layers import pick


class Backbone(NamedTuple):
    """An LPIPS network: lpips' name for it, torchvision's weights of its backbone, and whether it has linear heads."""

    net: str
    weights: torchvision.models.WeightsEnum
    heads: bool


LPIPS = {
    "lpips_alex": Backbone("alex", torchvision.models.AlexNet_Weights.IMAGENET1K_V1, True),
    "lpips_vgg": Backbone("vgg", torchvision.models.VGG16_Weights.IMAGENET1K_V1, True),
    "lpips_style_squeeze": Backbone("squeeze", torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1, False),
}


WEIGHTS = "weights"  # the folder of the cache
_TORCHVISION = "https://download.pytorch.org/models"
PRETRAINED = {
    what.url: what
    for what in (
        Pinned(
            f"{_TORCHVISION}/alexnet-owt-7be5be79.pth",
            "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
            244_408_911,
        ),
        Pinned(
            f"{_TORCHVISION}/vgg16-397923af.pth",
            "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
            553_433_881,
        ),
        Pinned(
            f"{_TORCHVISION}/squeezenet1_1-b8a52dc0.pth",
            "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
            4_958_839,
        ),
        Pinned(
            f"{_TORCHVISION}/vgg19-dcbb9e9d.pth",
            "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
            574_673_361,
        ),
        Pinned(
            f"{_TORCHVISION}/resnet50-0676ba61.pth",
            "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
            102_530_333,
        ),
        Pinned(
            f"{_TORCHVISION}/fasterrcnn_resnet50_fpn_coco-258fb6c6.pth",
            "258fb6c638b15964ddcdd1ae0748c5eef1be9e732750120cc857feed3faac384",
            167_502_836,
        ),
        # Of this one torchvision's name for it is all that is published: 8 digits, and no size.
        Pinned(f"{_TORCHVISION}/vgg16_features-amdegroot-88682ab5.pth", "88682ab5", 560_000_000),
    )
}
"""Pretrained weights by the address that torchvision has them at, which holds the first 8 digits of the SHA-256."""


class Lpips(nn.Module):
    """LPIPS (Zhang et al. 2018, eq. 1) of a frozen backbone; without linear heads, the sum over channels instead.

    Differs from the lpips package's own forward in one thing: the epsilon of the unit normalization stands under the
    root, where a feature vector of zeros would otherwise have a NaN gradient.
    """

    def __init__(self, backbone: Backbone) -> None:
        import lpips

        super().__init__()
        with warnings.catch_warnings():  # its constructor asks torchvision for no weights by a deprecated name
            warnings.simplefilter("ignore")
            network = lpips.LPIPS(net=backbone.net, lpips=backbone.heads, pnet_rand=True, verbose=False)
        self.scaling = network.scaling_layer
        self.slices = nn.ModuleList(getattr(network.net, f"slice{k + 1}") for k in range(network.net.N_slices))
        self.with_heads = backbone.heads
        for index, head in enumerate(network.lins if backbone.heads else []):  # 1x1 convolutions to one channel
            self.register_buffer(f"head{index}", head.model[-1].weight.detach())
        self.requires_grad_(False).eval()

    def features(self, image: Tensor) -> list[Tensor]:
        """RGB (N,3,H,W) in [-1, 1] -> the unit-normalized features of each slice, float32."""
        x, features = self.scaling(image), []
        for part in self.slices:
            x = part(x)
            square = x.float().square().sum(1, keepdim=True)
            features.append(x.float() * (square + 1e-12).rsqrt())
        return features

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """RGB (N,3,H,W) in [-1, 1], twice -> the mean distance over the batch, a float32 scalar."""
        with torch.no_grad():
            targets = self.features(real)
        total = fake.new_zeros((), dtype=torch.float32)
        for index, (feature, target) in enumerate(zip(self.features(fake), targets)):
            difference = (feature - target).square()
            weighted = difference * getattr(self, f"head{index}") if self.with_heads else difference
            total = total + weighted.sum(1).mean()
        return total

    def load(self, weights: dict[str, Tensor], origin: str) -> None:
        """Load the backbone of a torchvision state_dict; ValueError naming `origin` and the first key that misfits."""
        own = self.slices.state_dict()  # "0.3.squeeze.weight" is features.3.squeeze.weight there
        names = {key: f"features.{key.split('.', 1)[1]}" for key in own}
        self.slices.load_state_dict(_fitting(own, names, weights, origin))


class Network(NamedTuple):
    """A loss network of the feature reconstruction loss, cut off after one layer."""

    build: Callable[[], nn.Module]
    """The whole network, parameters named as in the weights' state_dict."""
    layer: str
    """Node whose output is compared: of stride 4, as VGG16's block3_conv3 (the paper names no layer of the others)."""
    weights: torchvision.models.WeightsEnum
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


class _Vgg(nn.Module):
    """The convolutions of VGG16 (cfg "D") or VGG19 ("E"), without the classifier's 124 M parameters."""

    def __init__(self, cfg: str) -> None:
        super().__init__()
        self.features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs[cfg])

    def forward(self, image: Tensor) -> Tensor:
        return self.features(image)


class _Fpn(nn.Module):
    """The feature pyramid of torchvision's detector; its level of stride 4."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = torchvision.models.detection.fasterrcnn_resnet50_fpn(
            weights=None, weights_backbone=None
        ).backbone

        for module in self.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 0.0  # as torchvision runs its COCO weights

    def forward(self, image: Tensor) -> Tensor:
        return self.backbone(image)["0"]


_RESNET50_WEIGHTS = torchvision.models.ResNet50_Weights.IMAGENET1K_V1
FEATURES = {
    "vgg16": Network(partial(_Vgg, "D"), "features.15", torchvision.models.VGG16_Weights.IMAGENET1K_V1),
    # Caffe's weights in torchvision's port, the nearest to those that Keras ships, and their preprocessing: 0..255
    # minus the mean, no division. Activations are some 57 times those of torchvision's own weights, their squares some
    # 3,000 times.
    "vgg16_keras": Network(
        partial(_Vgg, "D"),
        "features.15",
        torchvision.models.VGG16_Weights.IMAGENET1K_FEATURES,
        (0.48235, 0.45882, 0.40784),
        (1 / 255,) * 3,
    ),
    "vgg19": Network(
        partial(_Vgg, "E"),
        "features.15",
        torchvision.models.VGG19_Weights.IMAGENET1K_V1,
    ),
    "resnet50": Network(partial(torchvision.models.resnet50, weights=None), "layer1", _RESNET50_WEIGHTS),
    "unet": Network(_segmentation_unet, "decoder.blocks.2", _RESNET50_WEIGHTS),
    "fpn": Network(
        _Fpn,
        "getitem",
        torchvision.models.detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1,
    ),
}


class FeatureLoss(nn.Module):
    """Feature reconstruction loss (Johnson et al. 2016, eq. 2): the squared distance of a layer's activations / CHW."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: Network) -> None:
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
        """Load what the cut network needs of a state_dict; ValueError naming `origin` and the first key that misfits.

        A U-Net also takes its encoder alone, as torchvision names it.
        """
        own = self.layers.state_dict()
        first = next(iter(own))
        names = {key: key for key in own if not key.endswith("num_batches_tracked")}
        if first.startswith("encoder.") and first not in weights:
            names = {key: key.removeprefix("encoder.") for key in names if key.startswith("encoder.")}
            print(f"warning: {origin} has an encoder alone: the U-Net's decoder is a fixed random one", file=sys.stderr)
        for key, theirs in names.items():
            if theirs not in weights:  # a feature pyramid's blocks, as torchvision's older files name them
                names[key] = re.sub(r"(fpn\.\w+_blocks\.\d+)\.0\.", r"\1.", theirs)
        self.layers.load_state_dict(own | _fitting(own, names, weights, origin))


def _fitting(
    own: dict[str, Tensor], names: dict[str, str], weights: dict[str, Tensor], origin: str
) -> dict[str, Tensor]:
    """`weights` under a network's own names (own -> theirs) and in its types; ValueError for the first that misfits."""
    found = {}
    for key, theirs in names.items():
        if theirs not in weights:
            raise ValueError(f"{origin} does not fit: it has no {theirs}; expected a torchvision state_dict")
        if weights[theirs].shape != own[key].shape:
            shapes = f"{tuple(weights[theirs].shape)}, expected {tuple(own[key].shape)}"
            raise ValueError(f"{origin} does not fit: {theirs} is {shapes}")
        found[key] = weights[theirs].to(own[key].dtype)
    return found


def build_lpips(term: str, file: str) -> Lpips:
    """The frozen network of an LPIPS term with its weights from `file`, torch's cache or a download.

    `file` "random" keeps random weights (structure only). ValueError names a file that misfits or cannot be read;
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
    if file:
        return read_weights(Path(file)), f"{file} (for {term})"
    return read_weights(pretrained(_source(term))), f"the cached weights of {term}"


def _source(term: str) -> Pinned:
    return PRETRAINED[(LPIPS[term] if term in LPIPS else FEATURES[term]).weights.url]


def cached(what: Pinned) -> Path | None:
    """Where weights lie: in torch's cache or this package's, None where in neither. Nothing is checked."""
    places = (torch_cache(what), cache_folder() / WEIGHTS / what.name)
    return next((place for place in places if place.is_file()), None)


def torch_cache(what: Pinned) -> Path:
    """Where torch.hub keeps a file."""
    return Path(torch.hub.get_dir()) / "checkpoints" / what.name


def pretrained(what: Pinned) -> Path:
    """The file of pretrained weights, cached or else downloaded, its SHA-256 checked either way.

    Raises ValueError for a cached file that is damaged or another one, OSError for a download that fails.
    """
    if path := cached(what):
        try:
            verify(what, path)
        except ValueError as error:
            raise ValueError(f"{error}; it is damaged: delete it to have it downloaded again") from error
        return path
    path = private_folder(WEIGHTS) / what.name
    fetch(what, path)
    return path


def missing(term: str, file: str) -> str:
    """Why the weights of a term's network cannot be had, in words; empty if they can. Downloads nothing."""
    if file:
        return "" if file == "random" or Path(file).is_file() else f"there is no file {file}"
    what = _source(term)
    if cached(what) or reachable(what.url):
        return ""
    return f"{what.url} does not answer, and there is no {torch_cache(what)}"


def read_weights(file: Path) -> dict[str, Tensor]:
    """The state_dict in a .safetensors or .pth file: tensors by name, nothing that runs.

    ValueError naming a file that is damaged or holds anything else, such as whole modules or programs (.pt2,
    TorchScript).
    """
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        if holds_program(file):
            raise ValueError("it holds a program: .pt2 or TorchScript")
        weights = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(weights, dict):
            raise ValueError(f"it holds a {type(weights).__name__}")
        for key, value in weights.items():
            if not isinstance(value, Tensor):
                raise ValueError(f"its {key!r} is a {type(value).__name__}")
            if value.layout != torch.strided or value.device.type != "cpu":  # sparse ones may point outside themselves
                raise ValueError(f"its {key!r} is a tensor of layout {value.layout}, device {value.device}")
        return weights
    except Exception as error:  # a file that is none fails in one of many ways
        unsafe = isinstance(error, pickle.UnpicklingError)  # torch's text says how to load it nevertheless
        reason = "it holds objects that are no tensors, or is damaged" if unsafe else str(error).strip().split("\n")[0]
        raise ValueError(
            f"{file}: not a readable .safetensors or .pth state_dict, tensors by name ({reason})"
        ) from error
