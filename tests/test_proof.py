"""What an export's proof measures, and what it lets pass."""

import json

import numpy as np
import pytest

from recolor_fast.artefact import proof
from recolor_fast.options import Options
from recolor_fast.photographs import images
from recolor_fast.photographs.preparation import Preparation
from tests.photographs import write_jpegs

OPTIONS = Options(size=64)


def neutral(batch: np.ndarray) -> np.ndarray:
    return np.full((1, 2, 64, 64), 128, np.uint8)


def test_equal_computations_differ_by_nothing(tmp_path):
    paths = write_jpegs(tmp_path, 2)
    found = proof.prove(neutral, neutral, "chroma", proof.views(paths, OPTIONS, "chroma"))
    assert found == proof.Proof(6, 0, 0.0, 0.0, 100.0)
    assert all(not proof.excess(found, precision) for precision in proof.BOUNDS)
    assert json.loads(found.to_json())["pictures"] == 6


def test_differences_are_found_in_levels_and_colors(tmp_path):
    paths = write_jpegs(tmp_path, 2)

    def other(batch):
        result = neutral(batch)
        result[0, 0, :32] += 3
        result[0, 1, 0, 0] -= 9
        return result

    found = proof.prove(neutral, other, "chroma", proof.views(paths, OPTIONS, "chroma"))
    assert found.largest == 9
    assert found.mean == pytest.approx(0.5 * 0.5 * 3 + 9 / 8192)
    assert 0.3 < found.ciede2000 < 2
    assert 30 < found.psnr < 60
    assert proof.excess(found, "fp32") == "largest 9, expected at most 1 for fp32"
    assert "fp16" in proof.excess(found, "fp16")


def test_every_photograph_is_seen_at_every_size_as_the_graph_takes_it(tmp_path):
    (path,) = write_jpegs(tmp_path, 1, height=300, width=400)
    seen = []

    def image(batch):
        seen.append(batch)
        return batch

    assert proof.prove(image, image, "image", proof.views([path], OPTIONS, "image")).largest == 0
    assert [batch.shape for batch in seen[::2]] == [(1, 24, 32, 3), (1, 48, 64, 3), (1, 96, 128, 3)]
    seen.clear()

    def chroma(batch):
        seen.append(batch)
        return neutral(batch)

    proof.prove(chroma, chroma, "chroma", proof.views([path], OPTIONS, "chroma"))
    rgb = images.resize(images.read_rgb(path.read_bytes()), 96, 128)
    np.testing.assert_array_equal(seen[-1][0, 0], images.source(images.gray(rgb), Preparation(64)))


def test_int8_is_bound_by_what_is_seen(tmp_path):
    found = proof.Proof(1, 40, 2.0, 0.99, 40.0)
    assert not proof.excess(found, "int8")
    assert proof.excess(found._replace(ciede2000=1.01), "int8")


def test_no_photographs_are_no_proof():
    with pytest.raises(ValueError, match="no photographs"):
        proof.prove(neutral, neutral, "chroma", proof.views([], OPTIONS, "chroma"))
