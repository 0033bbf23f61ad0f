"""Checks of what trainings load: photographs by DALI, pretrained weights, Imagenette. They import torch and more."""

import shlex
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import torch

from recolor_fast.data import dali, host, sources
from recolor_fast.doctor.coloring import has_gpu, picture
from recolor_fast.doctor.findings import Finding
from recolor_fast.losses.features import FEATURES, LPIPS
from recolor_fast.losses.weights import PRETRAINED, cached, torch_cache
from recolor_fast.machine import extras
from recolor_fast.machine.download import verify
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import cache_folder
from recolor_fast.photographs import encoders
from recolor_fast.photographs.preparation import Preparation

FAR = 3.0  # levels on average that DALI may be from the other loader


def decodes(backend: str) -> Iterator[Finding]:
    """One photograph through DALI, on "cpu" or "gpu", against the other loader."""
    name = f"DALI on {'the GPU' if backend == 'gpu' else 'the CPU'}"
    if not dali.available():
        found = "not installed; --loader host does the same" + (", slower on a GPU" if has_gpu() else "")
        yield Finding(name, "absent", found, extras.advice("train"))
        return
    if backend == "gpu" and not torch.cuda.is_available():
        yield Finding(name, "absent", "no CUDA device", "with an NVIDIA GPU: see torch")
        return
    preparation = Preparation(size=64, equalize="none", blur="none")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.jpg")
        path.write_bytes(encoders.encode(picture(96, 128), None, "JPEG", 95))
        device_id = 0 if backend == "gpu" else None
        with closing(dali.stream([path], [[0]], preparation, 1, 64, device_id, workers=1)) as stream:
            _, rgb = next(stream)
        _, expected = host.decode(path, 64, "none", "none")
    off = float((rgb[0].cpu().float() - expected.float()).abs().mean())
    if off > FAR:
        yield Finding(
            name, "fault", f"its photograph is {off:.1f} levels from the other loader's", "train --loader host"
        )
    else:
        found = f"a photograph decoded, {off:.2f} levels from --loader host"
        yield Finding(name, "ok", found, facts={"levels": round(off, 3)})


def weights() -> Iterator[Finding]:
    """Which pretrained weights are here, and where the others belong."""
    networks = {**{name: one.weights for name, one in LPIPS.items()}, **{n: one.weights for n, one in FEATURES.items()}}
    users: dict[str, list[str]] = {}
    for name, kind in networks.items():
        if not isinstance(kind, Path):
            users.setdefault(kind, []).append(name)
    for pretrained, what in PRETRAINED.items():
        name = f"weights {', '.join(users[pretrained])}"
        path = cached(what)
        if path is None:
            place = torch_cache(what)
            mend = f"curl --create-dirs -fLo {shlex.quote(str(place))} {what.url}"
            found = f"{what.name}: not here; training downloads it; it belongs in {place.parent}"
            yield Finding(name, "absent", found, mend, {"place": str(place)})
            continue
        try:
            verify(what, path)
        except UserError as error:
            yield Finding(name, "fault", f"damaged: {error}", f"rm {shlex.quote(str(path))}", {"place": str(path)})
        else:
            yield Finding(name, "ok", f"{path}, its SHA-256 is right", facts={"place": str(path)})


def photographs() -> Iterator[Finding]:
    """Whether Imagenette, which trainings without --data use, is here."""
    place = cache_folder() / sources.IMAGENETTE
    if sources.cached():
        yield Finding("Imagenette", "ok", str(place), facts={"place": str(place)})
        return
    packed = cache_folder() / sources.ARCHIVE.name
    where, into = shlex.quote(str(packed)), shlex.quote(str(packed.parent))
    mend = f"curl --create-dirs -fLo {where} {sources.ARCHIVE.url} && tar -xzf {where} -C {into}"
    found = f"not here; train downloads it (340 MB), or takes --data FOLDER; it belongs in {place}"
    yield Finding("Imagenette", "absent", found, mend, {"place": str(place)})
