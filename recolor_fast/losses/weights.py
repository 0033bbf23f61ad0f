"""Pretrained weights: which files are known, where they lie, and what is read of them."""

import pickle
from pathlib import Path

import torch
from torch import Tensor

from recolor_fast.machine.download import Pinned, fetch, verify
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import cache_folder, holds_program, private_folder

WEIGHTS = "weights"  # the folder of the cache
_TORCHVISION = "https://download.pytorch.org/models"
PRETRAINED = {
    "AlexNet_Weights.IMAGENET1K_V1": Pinned(
        f"{_TORCHVISION}/alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        244_408_911,
    ),
    "VGG16_Weights.IMAGENET1K_V1": Pinned(
        f"{_TORCHVISION}/vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        553_433_881,
    ),
    "SqueezeNet1_1_Weights.IMAGENET1K_V1": Pinned(
        f"{_TORCHVISION}/squeezenet1_1-b8a52dc0.pth",
        "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
        4_958_839,
    ),
    "VGG19_Weights.IMAGENET1K_V1": Pinned(
        f"{_TORCHVISION}/vgg19-dcbb9e9d.pth",
        "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
        574_673_361,
    ),
    "ResNet50_Weights.IMAGENET1K_V1": Pinned(
        f"{_TORCHVISION}/resnet50-0676ba61.pth",
        "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
        102_530_333,
    ),
    "FasterRCNN_ResNet50_FPN_Weights.COCO_V1": Pinned(
        f"{_TORCHVISION}/fasterrcnn_resnet50_fpn_coco-258fb6c6.pth",
        "258fb6c638b15964ddcdd1ae0748c5eef1be9e732750120cc857feed3faac384",
        167_502_836,
    ),
    # Of this one torchvision's name for it is all that is published: 8 digits, and no size.
    "VGG16_Weights.IMAGENET1K_FEATURES": Pinned(
        f"{_TORCHVISION}/vgg16_features-amdegroot-88682ab5.pth", "88682ab5", 560_000_000
    ),
}
"""By torchvision's name for them; its address holds the first 8 digits of the SHA-256."""


def cached(what: Pinned) -> Path | None:
    """Where weights lie: in torch's cache or this package's, None where in neither. Nothing is checked."""
    places = (torch_cache(what), cache_folder() / WEIGHTS / what.name)
    return next((place for place in places if place.is_file()), None)


def torch_cache(what: Pinned) -> Path:
    """Where torch.hub keeps a file."""
    return Path(torch.hub.get_dir()) / "checkpoints" / what.name


def pretrained(what: Pinned) -> Path:
    """The file of pretrained weights, cached or else downloaded, its SHA-256 checked either way.

    Raises UserError for a cached file that is damaged or another one, OSError for a download that fails.
    """
    if path := cached(what):
        try:
            verify(what, path)
        except UserError as error:
            raise UserError(f"{error}; it is damaged: delete it to have it downloaded again") from error
        return path
    path = private_folder(WEIGHTS) / what.name
    fetch(what, path)
    return path


def read_weights(file: Path) -> dict[str, Tensor]:
    """The state_dict in a .safetensors or .pth file: tensors by name, nothing that runs.

    UserError naming a file that is damaged or holds anything else, such as whole modules or programs (.pt2,
    TorchScript).
    """
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        if holds_program(file):
            raise UserError("it holds a program: .pt2 or TorchScript")
        weights = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(weights, dict):
            raise UserError(f"it holds a {type(weights).__name__}")
        for key, value in weights.items():
            if not isinstance(value, Tensor):
                raise UserError(f"its {key!r} is a {type(value).__name__}")
            if value.layout != torch.strided or value.device.type != "cpu":  # sparse ones may point outside themselves
                raise UserError(f"its {key!r} is a tensor of layout {value.layout}, device {value.device}")
        return weights
    except Exception as error:  # a file that is none fails in one of many ways
        unsafe = isinstance(error, pickle.UnpicklingError)  # torch's text says how to load it nevertheless
        reason = "it holds objects that are no tensors, or is damaged" if unsafe else str(error).strip().split("\n")[0]
        raise UserError(
            f"{file}: not a readable .safetensors or .pth state_dict, tensors by name ({reason})"
        ) from error
