from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from braindiffusion.cohort.mask import brain_centre, brain_mask, head_mask, largest_component, otsu_threshold
from braindiffusion.example_data import sample_t1_path
from braindiffusion.volume import load_volume


def ball(radius: float) -> np.ndarray:
    reach = int(radius)
    axis = np.arange(-reach, reach + 1)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    return x**2 + y**2 + z**2 <= radius**2


@pytest.mark.parametrize("radius", [1.0, 2.0, 3.0])
def test_mask_is_a_closing_with_a_ball_and_has_no_holes(radius: float) -> None:
    rng = np.random.default_rng(0)
    labels = ndimage.binary_opening(ndimage.gaussian_filter(rng.normal(size=(30, 34, 28)), 2) > 0.02).astype(np.uint8)
    reach = int(radius) + 1
    padded = np.pad(labels > 0, reach)
    expected = ndimage.binary_fill_holes(ndimage.binary_closing(padded, ball(radius)))
    expected = expected[reach:-reach, reach:-reach, reach:-reach]
    np.testing.assert_array_equal(brain_mask(labels, radius), expected)


def test_mask_of_no_labels_is_empty() -> None:
    assert not brain_mask(np.zeros((4, 5, 6), np.uint8), 2).any()


def test_head_is_the_largest_bright_object() -> None:
    data = np.random.default_rng(0).normal(10, 3, (40, 40, 40)).clip(0)
    data[10:30, 8:30, 5:35] += 100
    data[15:20, 15:20, 15:20] = 0  # a dark ventricle is part of it
    data[0:4, 0:4, 0:4] = 500
    expected = np.zeros((40, 40, 40), bool)
    expected[10:30, 8:30, 5:35] = True
    assert np.mean(head_mask(data.astype(np.float32), 1.0) == expected) > 0.998


def test_centre_of_a_brain_is_that_of_its_bounding_box() -> None:
    mask = np.zeros((50, 60, 70), bool)
    mask[5:16, 20:40, 30:61] = True
    mask[6, 21, 31] = False
    assert brain_centre(mask, 2.0, (8, 8, 8), is_brain=True) == pytest.approx([10.5, 30, 45.5])


def test_centre_of_a_head_forgets_nose_and_neck() -> None:
    mask = np.zeros((90, 120, 130), bool)
    mask[10:85, 10:105, 50:128] = True
    without = brain_centre(mask, 2.0, (80, 104, 88), is_brain=False)
    mask[40:55, 105:118, 60:80] = True
    mask[30:60, 20:70, 0:50] = True
    assert brain_centre(mask, 2.0, (80, 104, 88), is_brain=False)[:2] == pytest.approx(without[:2])


def test_mask_of_a_head_holds_its_brain(head: Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
    data, labels, _ = head(0)
    assert head_mask(data.astype(np.float32), 1.0)[labels > 0].all()


@pytest.mark.parametrize(("index", "threshold"), [(0, 82.6171875), (1, 79.18359375), (2, 76.125)])
def test_thresholds_of_real_brains_are_those_of_earlier_versions(index: int, threshold: float) -> None:
    """Measured with a histogram of NumPy's, before Otsu's method came from scikit-image."""
    assert otsu_threshold(load_volume(sample_t1_path(index)).data[0].astype(np.float32)) == pytest.approx(threshold)


def test_the_largest_component_of_an_empty_mask_is_empty() -> None:
    assert not largest_component(np.zeros((3, 3, 3), bool)).any()
