"""What a model sees of a photograph: the same in training, in evaluation and in the folder tool."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from recolor_fast import colorize
from recolor_fast.artefact import runtime
from recolor_fast.coloring import folder
from recolor_fast.data import host, sources
from recolor_fast.evaluation import systems
from recolor_fast.evaluation.chosen import read
from recolor_fast.networks.space import SPACES
from recolor_fast.options import Options, to_json
from recolor_fast.photographs import images
from recolor_fast.presets import PRESETS
from recolor_fast.runs import learned
from tests.photographs import pixels

CPU = torch.device("cpu")
PREPARED = sorted({(options.size, options.equalize, options.blur) for options in PRESETS.values()})


class Watching(torch.nn.Module):
    """A generator and a session that keep what they are given, and color nothing."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.options, self.seen = options, np.empty(0)

    def forward(self, source: torch.Tensor) -> torch.Tensor:
        self.seen = ((source[0, 0] + 1) * 127.5).round().byte().numpy()
        return torch.zeros(1, SPACES[self.options.space].channels, *source.shape[2:])

    def run(self, names, feed):
        self.seen = feed["gray"][0, 0]
        return [np.full((1, 2, *self.seen.shape), 128, np.uint8)]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> list[Path]:
    """A small JPEG, one so large that it is reduced before it is prepared, and a PNG."""
    place = tmp_path_factory.mktemp("photographs")
    Image.fromarray(pixels(0, 300, 400)).save(place / "small.jpg", quality=90)
    Image.fromarray(cv2.resize(pixels(1, 192, 256), (2048, 1536))).save(place / "large.jpg", quality=95)
    return [place / "small.jpg", place / "large.jpg", sources.sample()[1]]


def seen_in_evaluation(kind: str, path: Path, options: Options, size: int, monkeypatch) -> np.ndarray:
    watching = Watching(options)
    if kind == "run":
        trained = learned.Trained(options, watching, None, 1)
        monkeypatch.setattr(learned, "trained", lambda folder: trained)
        system = systems.run_system("r", Path(), CPU)
    else:
        artefact = runtime.Artefact(watching, options, "chroma", runtime.CPU, {"options": to_json(options)})
        monkeypatch.setattr(runtime, "load", lambda path, device: artefact)
        system = systems.artefact_system("a", Path(), "cpu")
    system.color(path, read(path, size))
    return watching.seen


def seen_by_the_folder_tool(gray: np.ndarray, options: Options, place: Path) -> np.ndarray:
    watching = Watching(options)
    Image.fromarray(gray).save(place / "gray.png")
    artefact = runtime.Artefact(watching, options, "chroma", runtime.CPU, {"options": to_json(options)})
    jobs = [folder.Job(place / "gray.png", place / "colored.png", "PNG")]
    records = list(colorize.color(artefact, jobs, colorize.Settings(overwrite=True)))
    assert [record.status for record in records] == ["ok"]
    return watching.seen


@pytest.mark.parametrize(
    ("side", "kind"),
    [
        (64, "run"),
        (256, "artefact"),
        pytest.param(64, "artefact", marks=pytest.mark.slow),
        pytest.param(256, "run", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(("size", "equalize", "blur"), PREPARED)
def test_a_model_is_evaluated_on_what_it_was_trained_on_and_colors(
    photographs, size, equalize, blur, side, kind, monkeypatch, tmp_path
):
    """As the loader gives it within a level; a large JPEG, which is decoded whole here, within 3 and 0.5 on average. As
    the folder tool gives it of the same photograph in gray: exactly."""
    options = replace(Options(), size=size, equalize=equalize, blur=blur)
    for path in photographs:
        ours = seen_in_evaluation(kind, path, options, side, monkeypatch).astype(int)
        trained = host.decode(path, size, equalize, blur)[0][0].numpy()
        colored = seen_by_the_folder_tool(read(path, side).luma, options, tmp_path)
        assert ours.shape == trained.shape == colored.shape == (size, size)
        small = path.stem != "large"
        assert np.abs(ours - trained).max() <= (1 if small else 3)
        assert np.abs(ours - trained).mean() < (0.2 if small else 0.5)
        assert np.array_equal(ours, colored)


@pytest.mark.parametrize(("size", "equalize", "blur"), [one for one in PREPARED if one[1:] != ("none", "none")])
def test_another_order_would_be_seen(photographs, size, equalize, blur):
    """What evaluation did once, reducing to the square before all else, differs by more than those levels."""
    photograph = read(photographs[0], size)
    options = replace(Options(), size=size, equalize=equalize, blur=blur)
    other, ours = (images.source(gray, options).astype(int) for gray in (photograph.gray, photograph.luma))
    assert np.abs(other - ours).max() > 3


@pytest.mark.parametrize("which", ["none", "source", "both"])
def test_padovas_errors_are_of_what_the_loader_gives(photographs, which):
    class Generator(torch.nn.Module):
        def forward(self, source):
            seen.append(source)
            return torch.zeros(1, 3, *source.shape[2:])

    class Critic(torch.nn.Module):
        def forward(self, source, image):
            pairs.append((source, image))
            return [torch.zeros(1, 1, 2, 2)]

    seen, pairs = [], []
    options = replace(Options(), size=64, equalize=which, blur=which)
    systems.padova_columns(Generator(), Critic(), options, CPU, False, photographs[1])
    gray, rgb = host.decode(photographs[1], 64, which, which)
    assert torch.equal(seen[0][0], gray.float() / 127.5 - 1)
    real = next(image for _, image in pairs if image.abs().sum())
    assert torch.allclose(real[0], rgb.float() / 127.5 - 1, atol=1e-6)
