"""Photographs for tests: small JPEGs cut from the sample photographs, and the larger sets beside the repository."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recolor_fast.data import sources

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def shared(*parts: str) -> Path:
    """A folder of photographs that lies beside the repository, not in it; the test is skipped where it is absent."""
    folder = SHARED.joinpath(*parts)
    if not folder.exists():
        pytest.skip(f"no photographs in {'/'.join(('../shared/data', *parts))}")
    return folder


def pixels(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """RGB uint8 (height,width,3): a piece of a sample photograph, another one for every number."""
    photograph = _sample()[number % len(sources.SAMPLE)]
    places = np.random.default_rng(number)
    side = min(photograph.size) // 2
    left, top = (int(places.integers(0, length - side)) for length in photograph.size)
    return np.array(photograph.crop((left, top, left + side, top + side)).resize((width, height)))


def write_jpegs(folder: Path, count: int, first: int = 0, height: int = 48, width: int = 64) -> list[Path]:
    """`count` different JPEGs in a folder, which is made: 000.jpg, 001.jpg, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:03d}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        Image.fromarray(pixels(first + number, height, width)).save(path, quality=90)
    return paths


def write_classes(folder: Path, counts: dict[str, int], suffix: str = ".jpg") -> None:
    """A folder for each class with as many files as its count; they are empty, as only their names matter."""
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (folder / name / f"{name}_{number}{suffix}").touch()


@cache
def _sample() -> list[Image.Image]:
    return [Image.open(path).convert("RGB") for path in sources.sample()]
