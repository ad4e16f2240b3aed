import numpy as np
import pytest

from braindiffusion.regions.overlap import mask_dice, region_dice


def test_dice_of_each_region_by_counting() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 5, (2, 6, 7, 8), dtype=np.uint8)
    other[other == 3] = 2
    dice = region_dice(one, other)
    for region in range(5):
        both = np.sum((one == region) & (other == region))
        assert dice[region] == 2 * both / (np.sum(one == region) + np.sum(other == region))
    assert dice[3] == 0
    assert np.isnan(dice[5:]).all()


def test_dice_of_masks() -> None:
    one, other = np.zeros((2, 4, 4, 4), bool)
    assert mask_dice(one, other) == 1
    one[:2], other[1:3] = True, True
    assert mask_dice(one, other) == pytest.approx(0.5)
