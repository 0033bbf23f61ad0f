"""Pretrained networks that judge pictures: LPIPS, a classifier, and the features that FID is of."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

from recolor_fast.evaluation.metrics import Columns
from recolor_fast.losses.features import LPIPS, build_lpips, missing
from recolor_fast.losses.weights import PRETRAINED, cached, pretrained, read_weights
from recolor_fast.machine.download import Pinned, reachable
from recolor_fast.machine.errors import UserError
from recolor_fast.networks.space import to_unit

Judge = Callable[[Tensor], Columns]
"""Pictures of one scene, uint8 (K,3,H,W), the first one the truth -> columns of K rows."""

INCEPTION = Pinned(
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    95_628_359,
)
CLASSIFIER = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1


class Judged(NamedTuple):
    """A pretrained network that judges pictures, or why there is none."""

    judge: Judge | None
    reason: str = ""
    weights: str = ""
    """Where its weights are from, as the protocol says it."""


LPIPS_TERMS = {"lpips": "lpips_alex", "lpips_style_squeeze": "lpips_style_squeeze"}
"""Column -> the term of losses/features.py that computes it."""


def lpips_judges(file: Path | None, device: torch.device) -> dict[str, Judged]:
    """The LPIPS distances by column: of the backbone in `file` where it fits, else of torchvision's if they are there.

    UserError for a file that is neither an AlexNet nor a SqueezeNet 1.1.
    """
    judges, misfits = {}, []
    for name, term in LPIPS_TERMS.items():
        judges[name] = Judged(None)
        if file:
            try:
                network = build_lpips(term, str(file)).to(device)
                judges[name] = Judged(_distance(name, network), weights=file.name)
                continue
            except UserError as error:
                misfits.append(str(error))
        try:
            reason = missing(term, "")
            if not reason:
                network = build_lpips(term, "").to(device)
                judges[name] = Judged(_distance(name, network), weights=f"torchvision {LPIPS[term].weights}")
        except (ValueError, OSError) as error:
            reason = str(error)
        if reason:
            advice = f"--lpips-weights FILE takes the backbone's state_dict ({LPIPS[term].weights})"
            judges[name] = Judged(None, f"{reason}; {advice}")
    if len(misfits) == len(judges):
        raise UserError(f"lpips_weights {file}: expected an AlexNet or a SqueezeNet 1.1: {'; '.join(misfits)}")
    return judges


def _distance(name: str, network: nn.Module) -> Judge:
    def judge(pictures: Tensor) -> Columns:
        truth, *others = to_unit(pictures).split(1)
        return {name: np.array([0.0, *(network(other, truth).item() for other in others)])}

    return judge


def classifier_judge(file: Path | None, device: torch.device) -> Judged:
    """SqueezeNet 1.1's most likely class of ImageNet's 1,000, by index, after torchvision's own transforms.

    UserError for a file that is no state_dict of it.
    """
    network = torchvision.models.squeezenet1_1()
    if file:
        try:
            network.load_state_dict({key: value.float() for key, value in read_weights(file).items()})
        except RuntimeError as error:
            raise UserError(
                f"classifier_weights {file}: expected a state_dict of torchvision's squeezenet1_1 ({error})"
            ) from error
    elif reason := missing("lpips_style_squeeze", ""):  # the same file
        return Judged(None, f"{reason}; --classifier-weights FILE takes a state_dict of torchvision's squeezenet1_1")
    else:
        try:
            network.load_state_dict(read_weights(pretrained(PRETRAINED[str(CLASSIFIER)])))
        except (OSError, ValueError) as error:
            return Judged(None, f"{CLASSIFIER.url} could not be loaded ({error})")
    network, prepare = network.eval().to(device), CLASSIFIER.transforms()

    def judge(pictures: Tensor) -> Columns:
        return {"class": network(prepare(pictures)).argmax(1).cpu().numpy()}

    return Judged(judge, weights=file.name if file else f"torchvision {CLASSIFIER}")


def inception_judge(file: Path | None, device: torch.device) -> Judged:
    """The 2,048 features of the Inception v3 that FID is defined on (torch-fidelity's weights).

    UserError for a file that is no such state_dict.
    """
    if not file and not cached(INCEPTION) and not reachable(INCEPTION.url):
        return Judged(
            None,
            f"{INCEPTION.url} does not answer; --inception-weights FILE takes that file, or torch's cache does "
            f"(hub/checkpoints/{INCEPTION.name})",
        )
    try:
        path = file or pretrained(INCEPTION)
    except (OSError, ValueError) as error:
        return Judged(None, f"{INCEPTION.url} could not be loaded ({error})")
    read_weights(path)  # refuses what is no plain state_dict before torch-fidelity unpickles it
    from torchmetrics.image.fid import NoTrainInceptionV3

    try:
        network = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(path)).to(device)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"inception_weights {path}: expected the file of {INCEPTION.url} ({reason})") from error

    def judge(pictures: Tensor) -> Columns:
        return {"inception": network(pictures).cpu().numpy()}

    return Judged(judge, weights=path.name)
