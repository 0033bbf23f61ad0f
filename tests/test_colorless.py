"""Pictures without color in training: which, how many, and that theirs is gray."""

import numpy as np
import pytest
import torch

from recolor_fast.data.colorless import colorless

GRAY = torch.full((400, 1, 32, 32), 7, dtype=torch.uint8)
RGB = torch.tensor([250, 7, 7], dtype=torch.uint8)[:, None, None].expand(400, 3, 32, 32)


def test_a_share_of_the_photographs_is_replaced_by_gray_pictures_and_no_other_is_touched():
    gray, rgb = colorless(GRAY, RGB, 0.25, seed=0, images=0)
    replaced = (rgb == gray).flatten(1).all(1)
    assert replaced.float().mean() == pytest.approx(0.25, abs=0.07)
    assert torch.equal(gray[~replaced], GRAY[~replaced])
    assert torch.equal(rgb[~replaced], RGB[~replaced])


def test_they_depend_on_seed_and_number_alone():
    whole = colorless(GRAY, RGB, 0.5, 3, 1000)
    parts = [colorless(GRAY[:150], RGB[:150], 0.5, 3, 1000), colorless(GRAY[150:], RGB[150:], 0.5, 3, 1150)]
    for place in (0, 1):
        assert torch.equal(torch.cat([part[place] for part in parts]), whole[place])
    assert not torch.equal(colorless(GRAY, RGB, 0.5, 4, 1000)[0], whole[0])


def test_they_are_of_all_levels_some_even_and_some_not():
    gray = colorless(GRAY, RGB, 1.0, 0, 0)[0].float().flatten(1).numpy()
    assert 0.05 < (np.ptp(gray, 1) == 0).mean() < 0.5
    counts = np.histogram(gray.mean(1), 8, (0, 256))[0]
    assert counts.min() > 20
    assert (np.ptp(gray, 1) > 100).mean() > 0.1


def test_none_is_made_where_none_is_wanted():
    gray, rgb = colorless(GRAY, RGB, 0.0, 0, 0)
    assert gray is GRAY
    assert rgb is RGB
