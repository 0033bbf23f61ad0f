"""The benchmark of large photographs: its pictures, and what its rows say."""

import numpy as np
import pytest
from PIL import Image

from bench import large
from bench.common import Ended
from tests.benches import quick


def test_pictures_are_of_the_size_kind_and_depth(tmp_path):
    for kind, (suffix, _, dtype) in large.KINDS.items():
        large.make(tmp_path / kind, (600, 530), kind)
        with Image.open(tmp_path / kind / f"0{suffix}") as image:
            assert image.size == (600, 530)
            assert ("progressive" in image.info) == (kind == "progressive JPEG")
            assert np.asarray(image.convert("L")).std() > 30
        depth = (tmp_path / kind / f"0{suffix}").read_bytes()[24]  # of a PNG's IHDR
        assert suffix == ".jpg" or depth == 8 * np.dtype(dtype).itemsize


def test_bytes_a_pixel_are_above_what_a_small_photograph_takes():
    one = large.Row("12 megapixels", "JPEG", 4, 2)
    took = {large.ROWS[0]: [Ended(1.0, 1.0, 100.0)], one: [Ended(seconds, 9.0, 130.0) for seconds in (5.0, 2.0, 3.0)]}
    _, row = large._rows(took, large.SIZES)
    assert row["bytes a pixel"] == pytest.approx(30 * 2**20 / 12e6)
    assert (row["seconds"], row["photographs"], row["threads"], row["options"]) == (3.0, 4, 2, None)


@pytest.mark.slow
def test_the_benchmark_of_large_photographs_measures_every_row():
    found, _ = quick("large")
    assert len(found["rows"]) == len(large.ROWS)
    assert all(row["seconds"] > 0 and 40 < row["memory"] < 2000 for row in found["rows"])
