"""Deformations of region maps: interpolation between grids, and labels that are taken along."""

import numpy as np
import pytest
from scipy import ndimage

from braindiffusion.regions.deformation import (
    COARSER,
    STRENGTH_MM,
    exponential,
    lengths_mm,
    random_velocity,
    refined,
    refined_component,
    warped,
)


@pytest.mark.parametrize("shape", [(5, 6, 7), (1, 2, 8)])
def test_a_finer_grid_is_that_of_scipy(shape: tuple[int, int, int]) -> None:
    component = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    fine = [2 * n - 1 for n in shape]
    expected = ndimage.zoom(component, COARSER, order=1, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(
        refined_component(component, fine), expected[tuple(slice(n) for n in fine)], rtol=1e-5, atol=1e-6
    )


def test_nearest_voxels_are_nearly_those_of_splines() -> None:
    labels = np.zeros((24, 24, 24), np.uint8)
    labels[4:20, 4:20, 4:20], labels[8:16, 8:16, 8:16] = 1, 2
    displacement = exponential(random_velocity(np.random.default_rng(1), (12, 12, 12), 4.0))
    exact, quick = warped(labels, displacement), warped(labels, displacement, nearest=True)
    assert (
        min(2 * ((exact == i) & (quick == i)).sum() / ((exact == i).sum() + (quick == i).sum()) for i in (1, 2)) > 0.95
    )
    assert not np.array_equal(exact, labels)


@pytest.mark.parametrize("shape", [(20, 26, 22), (21, 26, 22)])
def test_a_random_deformation_does_not_bend_the_plane_between_the_hemispheres(shape: tuple[int, int, int]) -> None:
    for seed in range(5):
        displacement = exponential(random_velocity(np.random.default_rng(seed), shape, 4.0))
        middle = [(shape[0] - 1) // 2, shape[0] // 2]
        across, within = displacement[0][middle].mean(0), displacement[1:][:, middle]
        assert np.abs(across).max() < 0.1 * np.abs(within).max()
        assert np.abs(displacement[0]).max() > 0.5 * np.abs(displacement[1:]).max(), "elsewhere it is as any other"


def test_a_random_deformation_does_nearly_the_same_to_both_hemispheres() -> None:
    velocity = random_velocity(np.random.default_rng(0), (40, 52, 44), 4.0)
    mirrored = velocity[:, ::-1] * np.array([-1, 1, 1])[:, None, None, None]
    even, uneven = ((velocity + sign * mirrored).std() for sign in (1, -1))
    assert 0.2 < uneven / even < 0.4
    assert velocity.std() == pytest.approx(STRENGTH_MM / 4.0, rel=1e-3)


def test_lengths_are_millimetres_on_the_grid_of_the_maps() -> None:
    displacement = np.zeros((3, 4, 4, 4), np.float32)
    displacement[0], displacement[1] = 1.5, 2.0  # voxels of the coarser grid
    assert np.allclose(lengths_mm(displacement, 2.0), 2.5 * COARSER * 2.0)
    assert np.allclose(refined(displacement)[1], 2.0 * COARSER)
