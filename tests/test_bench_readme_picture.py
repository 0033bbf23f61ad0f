"""The picture at the top of the README."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.records import readme_picture
from recolor_fast.data import sources
from recolor_fast.photographs import images

ROOT = Path(__file__).parent.parent


def rows(sheet: np.ndarray) -> tuple[np.ndarray, ...]:
    """The three rows of tiles, without the white between them."""
    step = readme_picture.SIDE + readme_picture.GAP
    return tuple(sheet[number * step :][: readme_picture.SIDE].astype(float) for number in range(3))


def test_from_the_top_gray_colored_and_the_truth(tmp_path):
    out = tmp_path / "colored.jpg"
    readme_picture.main(readme_picture.Arguments(out))
    assert out.stat().st_size < 200_000
    with Image.open(out) as sheet:
        assert sheet.format == "JPEG"
        pixels = np.asarray(sheet)
    step = readme_picture.SIDE + readme_picture.GAP
    assert pixels.shape == (3 * step - readme_picture.GAP, len(readme_picture.FREE) * step - readme_picture.GAP, 3)
    gray, colored, truth = rows(pixels)
    spread = [np.ptp(one, axis=2).mean() for one in (gray, colored, truth)]
    assert spread[0] < 1 < spread[1] < spread[2]  # paler than it was
    assert np.abs(images.gray(colored.round().astype(np.uint8)) - gray[..., 0]).mean() < 3
    with Image.open(ROOT / "docs" / "colored.jpg") as committed:
        kept = rows(np.asarray(committed))
    assert kept[2] == pytest.approx(truth, abs=8)
    assert np.abs(kept[1] - colored).mean() < 2  # of the colorizer that is shipped today: else make it anew


def test_its_photographs_are_all_there():
    assert set(readme_picture.FREE) <= {path.name for path in sources.sample()}
    assert "docs/colored.jpg" in (ROOT / "README.md").read_text()
