"""Frozen feature networks for perceptual terms: the LPIPS backbones, where their weights come from, the distance."""

import warnings
from pathlib import Path
from typing import NamedTuple

import torch
import torchvision
from torch import Tensor, nn

from recolor_fast.data.sources import reachable
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
        own = self.slices.state_dict()
        found = {}
        for key, value in own.items():  # "0.3.squeeze.weight" is features.3.squeeze.weight there
            theirs = f"features.{key.split('.', 1)[1]}"
            if theirs not in weights:
                raise ValueError(f"{origin} does not fit: it has no {theirs}; expected a torchvision state_dict")
            if weights[theirs].shape != value.shape:
                shapes = f"{tuple(weights[theirs].shape)}, expected {tuple(value.shape)}"
                raise ValueError(f"{origin} does not fit: {theirs} is {shapes}")
            found[key] = weights[theirs].float()
        self.slices.load_state_dict(found)


def build_lpips(term: str, file: str) -> Lpips:
    """The frozen network of an LPIPS term with its weights from `file`, torch's cache or a download.

    `file` "random" keeps random weights (structure only). ValueError names a file that misfits or cannot be read;
    OSError (URLError) means a download that failed.
    """
    backbone = pick(LPIPS, term, "lpips")
    network = Lpips(backbone)
    if file == "random":
        return network
    if file:
        network.load(_read(Path(file)), f"{file} (for {term})")
        return network
    try:
        weights = backbone.weights.get_state_dict(progress=True, check_hash=True)
    except OSError:
        raise
    except Exception as error:  # a damaged file fails in one of many ways
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise ValueError(
            f"the backbone of {term} in {folder} is damaged ({error}); delete it to load it again"
        ) from error
    network.load(weights, f"the cached backbone of {term}")
    return network


def missing(term: str, file: str) -> str:
    """Why the weights of an LPIPS term cannot be had, in words; empty if they can. Downloads nothing."""
    url = pick(LPIPS, term, "lpips").weights.url
    if file:
        return "" if file == "random" or Path(file).is_file() else f"there is no file {file}"
    if (Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]).is_file() or reachable(url):
        return ""
    return f"{url} does not answer, and torch's cache has no copy"


def _read(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        weights = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(weights, dict):
            raise ValueError(f"it holds a {type(weights).__name__}")
        return weights
    except Exception as error:
        raise ValueError(f"{file}: not a readable .safetensors or .pth state_dict ({error})") from error
