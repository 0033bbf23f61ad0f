"""What can color: baselines, runs, artefacts and folders of pictures."""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from recolor_fast.arguments.evaluate import Arguments
from recolor_fast.artefact import runtime
from recolor_fast.artefact.graphs import Chroma
from recolor_fast.data import host
from recolor_fast.evaluation import colored, metrics
from recolor_fast.evaluation.chosen import Chosen, Photograph, leave_out, read
from recolor_fast.evaluation.papers import PADOVA, SWAPPED
from recolor_fast.machine.errors import UserError
from recolor_fast.networks.space import SPACES, to_rgb01, to_unit, tone
from recolor_fast.options import Options, from_metadata
from recolor_fast.photographs import chroma, images
from recolor_fast.runs import learned

BASELINES = {  # what every colorizer should beat: the CIE Lab a and b of all pixels
    "gray": (0.0, 0.0),
    "sepia": (3.35, 7.27),  # hue of the usual tone, #704214; chroma 8, half the mean of 500 photographs of Imagenette
}
RESERVED = (*BASELINES, "truth")  # names in the outputs that no system may have
OWN = "shipped"  # as a system: the colorizer that comes with the package


class System(NamedTuple):
    """Something that colors: what is measured."""

    name: str
    kind: str
    """run, artefact, folder or baseline."""
    color: Callable[[Path, Photograph], np.ndarray]
    """uint8 (S,S,3) for a photograph (and the file it is from)."""
    own: Callable[[Path], dict[str, float]] = lambda path: {}
    """Columns that only this kind of system has."""
    missing: dict[str, str] = {}  # noqa: RUF012  # read only
    """Why it has no others, by column."""
    options: Options | None = None
    images: int | None = None
    """Photographs seen in training."""
    folder: Path | None = None
    """Of a run."""
    pictures: Mapping[Path, Path] = {}  # read only
    """Of a folder: its picture of each photograph."""


def baseline(name: str, ab: tuple[float, float]) -> System:
    """Something that gives all pixels one a and b, Lab units, at their luminance, and is merged as networks' chroma."""
    cbcr = tone(ab)
    return System(
        name,
        "baseline",
        lambda path, photograph: chroma.merge(photograph.gray, cbcr[:, photograph.gray]),
        missing=_no_padova("a baseline is no run with a critic"),
    )


def open_systems(arguments: Arguments, chosen: Chosen, device: torch.device) -> list[System]:
    """The baselines and the systems of the command line. UserError naming one that cannot be used."""
    named: dict[str, Path] = {}
    for argument in arguments.systems:
        label, _, rest = argument.partition("=")
        if Path(argument).exists() or not rest:  # a path may have a = in it
            label, rest = "", argument
        own = rest == OWN
        path = runtime.shipped() if own else Path(rest)
        name = label or (OWN if own else path.resolve().stem if path.is_file() else path.resolve().name)
        if not name or name in RESERVED:
            raise UserError(f"system {argument}: expected a name other than {', '.join(RESERVED)}; use NAME={rest}")
        if name in named:
            raise UserError(f"systems {named[name]} and {path} are both called {name}: give one another, NAME={rest}")
        named[name] = path
    opened = [_open(name, path, arguments, chosen, device) for name, path in named.items()]
    return [*(baseline(name, ab) for name, ab in BASELINES.items()), *opened]


def _open(name: str, path: Path, arguments: Arguments, chosen: Chosen, device: torch.device) -> System:
    if path.is_file() and path.suffix == ".onnx":
        return artefact_system(name, path, arguments.device)
    if path.is_file() and path.suffix == ".safetensors":
        return run_system(name, path, device)
    if path.is_dir() and ((path / "checkpoints").is_dir() or (path / "options.json").is_file()):
        return run_system(name, path, device)
    if path.is_dir():
        return _folder(name, path, chosen)
    what = "no such file" if path.exists() else "it does not exist"
    raise UserError(
        f"system {path}: {what}; expected a run folder, an .onnx or .safetensors file, a folder of colored "
        f"photographs, or {OWN}"
    )


def _no_padova(reason: str) -> dict[str, str]:
    return dict.fromkeys((*PADOVA, *SWAPPED), reason)


def artefact_system(name: str, path: Path, device: runtime.Provider) -> System:
    """An exported file as a system."""
    artefact = runtime.load(path, device)
    seen = artefact.metadata.get("images", "")
    return System(
        name,
        "artefact",
        lambda path, photograph: chroma.merge(photograph.gray, artefact.chroma(photograph.luma)),
        missing=_no_padova("an artefact holds no critic: give its run folder"),
        options=_stored(artefact),
        images=int(seen) if seen.isdecimal() else None,
    )


def _stored(artefact: runtime.Artefact) -> Options | None:
    """Of the run it was exported from; None, said on stderr, where this version cannot read them."""
    try:
        return from_metadata(artefact.metadata["options"])
    except UserError as error:
        print(f"warning: {artefact.name}: its preset is not known ({error})", file=sys.stderr)
        return None


def _folder(name: str, folder: Path, chosen: Chosen) -> System:
    """Pictures colored by anything, found by the photographs' paths."""
    pictures = colored.find(folder, {path: chosen.name(path) for path in chosen.paths})

    def color(path: Path, photograph: Photograph) -> np.ndarray:
        return read(pictures[path], len(photograph.gray)).truth

    missing = _no_padova("a folder of pictures holds no critic")
    return System(name, "folder", color, missing=missing, pictures=pictures)


def run_system(name: str, folder: Path, device: torch.device) -> System:
    """What a run has trained as a system, with its critic for Padova's errors."""
    trained = learned.trained(folder)
    options, generator = trained.options, trained.generator.to(device).eval()
    graph = Chroma(generator, options.space).eval()

    def color(path: Path, photograph: Photograph) -> np.ndarray:
        seen = images.source(photograph.luma, options)
        with torch.no_grad():
            cbcr = graph(_batch(seen, device)).cpu().numpy()[0]
        return chroma.merge(photograph.gray, cbcr)

    base = System(name, "run", color, options=options, images=trained.images, folder=folder)
    if trained.critic is None:
        reason = "the run has no critic" if folder.is_dir() else "the file holds no critic: give its run folder"
        return base._replace(missing=_no_padova(reason))
    if options.space != "rgb":
        return base._replace(missing=_no_padova(f"its errors would be in {options.space}, the table's are of RGB"))
    critic = trained.critic.to(device).train()  # as in training: critics keep no running statistics
    size, colors = options.size, SPACES[options.space].channels
    try:
        with torch.no_grad():
            critic(torch.zeros(1, 1, size, size, device=device), torch.zeros(1, colors, size, size, device=device))
    except ValueError as error:  # a map of one pixel before a batch norm
        return base._replace(
            missing=_no_padova(f"its critic cannot score a single photograph of {size} pixels: {error}")
        )
    takes_color = options.source_channels == 3
    own = partial(padova_columns, generator, critic, options, device, takes_color)
    reason = "its generator takes one gray channel (options: source_channels), so it cannot be given a color photograph"
    return base._replace(own=own, missing={} if takes_color else dict.fromkeys(SWAPPED, reason))


def _batch(image: np.ndarray, device: torch.device) -> Tensor:
    """uint8 (H,W) -> (1,1,H,W) on the device."""
    return torch.from_numpy(image)[None, None].to(device)


def padova_columns(
    generator: nn.Module,
    critic: nn.Module,
    options: Options,
    device: torch.device,
    takes_color: bool,
    path: Path,
) -> dict[str, float]:
    """Of a photograph as the loader gives it to train on."""
    gray, rgb = (part[None].to(device) for part in host.decode(path, options.size, options.equalize, options.blur))
    pairs = {PADOVA: (to_unit(gray), SPACES[options.space].encode(to_rgb01(rgb)))}
    if takes_color:
        pairs[SWAPPED] = (to_unit(rgb), to_unit(gray).expand(-1, 3, -1, -1))
    errors: dict[str, float] = {}
    for names, (source, real) in pairs.items():
        errors |= dict(zip(names, metrics.padova_errors(generator, critic, source, real)))
    return errors


def without_broken(chosen: Chosen, systems: Sequence[System], strict: bool) -> Chosen:
    """The photographs of which every folder among the systems has a picture that can be read; each is read once.

    UserError for a picture of other proportions than its photograph's, where a folder has none that can be read, and
    where `strict` for the first that cannot.
    """
    for system in systems:
        if system.pictures:
            pictures = {path: system.pictures[path] for path in chosen.paths}
            broken = colored.broken(pictures)
            leave_out(broken, strict, pictures)
            paths = [path for path in chosen.paths if path not in broken]
            colored.check_proportions({path: pictures[path] for path in paths})
            reasons = {path: f"{system.name}'s {pictures[path].name}: {reason}" for path, reason in broken.items()}
            chosen = chosen._replace(paths=paths, unusable=chosen.unusable | reasons)
    return chosen
