"""What this machine does, part by part: photographs a second in training, loading and coloring. The parts that need
torch import it themselves."""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from recolor_fast.artefact import runtime
from recolor_fast.artefact.signatures import GPUS
from recolor_fast.coloring.colorizer import Colorizer
from recolor_fast.doctor.findings import Finding
from recolor_fast.machine import extras, memory, processors
from recolor_fast.photographs import encoders

FILES, BATCH = 32, 16  # photographs in a folder, and loaded at a time
WIDTH, HEIGHT = 500, 375  # of them, pixels
WARM_UP, FEWEST = 2, 3  # runs that are not timed, and that are at least
BUSY = 0.5  # processors that others keep busy, from which on it is said


def other_work() -> Iterator[Finding]:
    """How busy others keep the processors: what is measured then is slower."""
    busy = processors.taken()
    facts = {"busy": round(busy, 2)}
    if busy > BUSY:
        found = f"others keep {busy:.1f} processors busy: what is measured is slower than on a machine at rest"
        yield Finding("other work", "absent", found, "end it, and measure again", facts)
    else:
        yield Finding("other work", "ok", "none that matters", facts=facts)


def _measured(
    name: str, case: Callable[[], object], photographs: int, seconds: float, facts: dict[str, Any]
) -> Finding:
    """The finding of a case that handles so many photographs a run and waits for its device: of the median run."""
    for _ in range(WARM_UP):
        case()
    times: list[float] = []
    while len(times) < FEWEST or sum(times) < seconds:
        started = time.perf_counter()
        case()
        times.append(time.perf_counter() - started)
    rate = photographs / statistics.median(times)
    facts = facts | {"photographs_per_s": float(f"{rate:.4g}"), "runs": len(times)}
    found = f"{rate:.3g} photographs/s, {1000 / rate:.3g} ms each"
    return Finding(name, "ok", found, facts=facts)


# --- photographs ---------------------------------------------------------------------------------------------------


def photograph(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Shapes in color with a sensor's grain, uint8 (H,W,3), the same for each number: about as many bytes in a JPEG as
    a photograph."""
    random = np.random.default_rng(number)
    planes = [
        cv2.resize(random.random((side, side, 3), np.float32), (width, height), interpolation=cv2.INTER_CUBIC) / share
        for side, share in ((4, 1), (16, 2), (64, 4))
    ]
    grain = random.normal(0, 4, (height, width, 3))
    return (255 * sum(planes) / 1.75 + grain).clip(0, 255).astype(np.uint8)


def folder(path: Path, gray: bool, quick: bool) -> list[Path]:
    """FILES JPEGs, fewer if `quick`, in a folder, which is made."""
    path.mkdir()
    paths = [path / f"{number:02d}.jpg" for number in range(4 if quick else FILES)]
    for number, file in enumerate(paths):
        rgb = photograph(number)
        if gray:
            rgb = np.repeat(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
        encoders.write(file, rgb, None, "JPEG", 90)
    return paths


# --- coloring ------------------------------------------------------------------------------------------------------


def _color(name: str, artefact: runtime.Artefact, seconds: float) -> Finding:
    """One photograph at a time through an artefact, at the model's size."""
    size = artefact.options.size
    gray = cv2.resize(photograph(0)[..., 1], (size, size))[None, None]
    where = runtime.gpu_name() if artefact.provider in GPUS else f"processor, {processors.threads()} threads"
    facts = {"device": where, "precision": artefact.precision, "size": size}
    return _measured(name, lambda: artefact.run(gray), 1, seconds, facts)


def color_shipped(seconds: float, quick: bool) -> Iterator[Finding]:
    """The network of the package, in the precision that it is shipped in."""
    artefact = runtime.load(runtime.shipped())
    yield _color(f"color {artefact.precision}", artefact, seconds)


def color_folder(seconds: float, quick: bool) -> Iterator[Finding]:
    """A folder of gray JPEGs to colored ones, as `colorize` does it."""
    memory.keep_freed()
    with tempfile.TemporaryDirectory() as place:
        paths = folder(Path(place, "in"), True, quick)
        colorizer, turn = Colorizer(), count()

        def case() -> None:
            records = colorizer.folder(Path(place, "in"), Path(place, f"out{next(turn)}"))
            assert [record.status for record in records] == ["ok"] * len(paths)

        facts = {"width": WIDTH, "height": HEIGHT, "provider": colorizer.artefact.provider}
        yield _measured("color a folder", case, len(paths), seconds, facts)


def color_exported(precision: str, seconds: float, quick: bool) -> Iterator[Finding]:
    """The network of the package, exported in another precision for this; on a GPU where onnxruntime has one."""
    from recolor_fast.export import to_onnx
    from recolor_fast.runs import learned

    trained = learned.trained(learned.WEIGHTS)
    model = to_onnx.export(trained.options, trained.generator, "chroma", precision)
    metadata = {"graph": "chroma", "precision": precision, "options": json.dumps(asdict(trained.options))}
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, f"{precision}.onnx")
        path.write_bytes(to_onnx.finish(model, metadata))
        yield _color(f"color {precision}", runtime.load(path), seconds)


# --- training ------------------------------------------------------------------------------------------------------


def load(backend: str, seconds: float, quick: bool) -> Iterator[Finding]:
    """JPEGs to batches of pairs, gray equalized and blurred, on the device that trainings take."""
    import torch

    from recolor_fast.data import dali, loader
    from recolor_fast.presets import PRESETS

    if backend == "dali" and not dali.available():
        yield Finding("load dali", "absent", "DALI is not installed", extras.advice("train"))
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as place:
        paths = folder(Path(place, "in"), False, quick)
        with closing(loader.batches(PRESETS["pix2pix"], BATCH, paths, device, backend=backend)) as stream:

            def case() -> None:
                next(stream)
                if device == "cuda":
                    torch.cuda.synchronize()

            facts = {"width": WIDTH, "height": HEIGHT, "size": 256, "device": device}
            yield _measured(f"load {backend}", case, BATCH, seconds, facts)


def train(preset: str, seconds: float, quick: bool) -> Iterator[Finding]:
    """Iterations of a preset as `train --amp` runs them, but not compiled, which takes minutes; loss networks have
    random weights, which take as long."""
    import torch

    from recolor_fast import resolve
    from recolor_fast.losses.terms import build_terms
    from recolor_fast.machine.environment import device_name, fastest_kernels
    from recolor_fast.presets import PRESETS
    from recolor_fast.step.iteration import Step

    memory.keep_freed()
    name: Literal["cpu", "cuda"] = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    fastest_kernels(device)
    small: dict[str, Any] = {"size": 64, "load_size": 0, "width": 8} if quick else {}
    options = replace(
        PRESETS[preset],
        amp=True,
        compile="off",
        device=name,
        lpips_weights="random",
        feature_weights="random",
        **small,
    )
    step = Step(resolve.fastest(options, device), build_terms(options), device)
    size = options.size
    rgb = np.stack([photograph(number, size, size) for number in range(options.batch)])
    color = torch.from_numpy(rgb).permute(0, 3, 1, 2).contiguous().to(device)
    gray, seen = color[:, 1:2].contiguous(), count(step=options.batch)

    def case() -> None:
        losses = step(gray, color, next(seen))
        next(iter(losses.values())).item()  # waits for the device

    facts = {"device": device_name(device), "size": size, "batch": options.batch, "amp": True}
    yield _measured(f"train {preset}", case, options.batch, seconds, facts)
