"""Label maps between their voxels."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from braindiffusion.regions.interpolation import interpolate_labels, smooth_surface

SHAPE = (14, 12, 10)


def blobs(seed: int) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((4, *SHAPE)), (0, 1, 1, 1))
    labels: np.ndarray = noise.argmax(0).astype(np.uint8)
    return labels


@given(seed=st.integers(0, 9), shift=st.tuples(*[st.integers(-3, 3)] * 3))
def test_a_shift_by_whole_voxels_moves_labels(seed: int, shift: tuple[int, int, int]) -> None:
    labels = blobs(seed)
    places = np.indices(SHAPE) + np.reshape(shift, (3, 1, 1, 1))
    np.testing.assert_array_equal(
        interpolate_labels(labels, places), ndimage.shift(labels, -np.array(shift), order=0, cval=0)
    )


@given(seed=st.integers(0, 9), shift=st.tuples(*[st.floats(-1, 1)] * 3))
def test_every_label_is_one_of_the_eight_around(seed: int, shift: tuple[float, float, float]) -> None:
    labels = blobs(seed)
    places = np.indices(SHAPE) + np.reshape(shift, (3, 1, 1, 1))
    found = interpolate_labels(labels, places)
    padded = np.pad(labels, 2)
    lower = np.floor(places).astype(int) + 2
    around = np.stack([padded[tuple(lower + np.reshape(one, (3, 1, 1, 1)))] for one in np.ndindex(2, 2, 2)])
    assert (around == found).any(0).all()


def test_thin_folds_are_nearer_to_their_shape_than_by_the_nearest_voxel() -> None:
    def folds(place: np.ndarray) -> np.ndarray:
        x, y, z = place / 2.2
        found: np.ndarray = np.abs(np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x)) < 0.5
        return found

    grid = np.indices((32, 32, 32)) - 15.5
    wrong = np.zeros(2)
    for degrees in (5, 15, 25, 40):
        turn = np.deg2rad(degrees)
        matrix = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        places = np.einsum("ij,jxyz->ixyz", matrix, grid)
        labels = 7 * folds(grid).astype(np.uint8)
        inside = (np.abs(places) < 15).all(0)
        for i, found in enumerate(
            (interpolate_labels(labels, places + 15.5), ndimage.map_coordinates(labels, places + 15.5, order=0))
        ):
            wrong[i] += (found != 7 * folds(places))[inside].sum()
    assert wrong[0] < 0.85 * wrong[1]


@given(seed=st.integers(0, 9), sigma=st.floats(0.6, 1.5))
def test_a_smooth_surface_takes_labels_from_its_neighbours_and_leaves_the_inside_alone(seed: int, sigma: float) -> None:
    labels = np.pad(blobs(seed) + 1, 4).astype(np.uint8)
    ragged = np.where(np.random.default_rng(seed).random(labels.shape) < 0.03, np.uint8(9), labels)  # bits of another
    smooth = smooth_surface(ragged, sigma)
    deep = ndimage.binary_erosion(ragged > 0, iterations=7)
    assert np.array_equal(smooth[deep], ragged[deep])
    kept = (smooth > 0) & (ragged > 0)
    assert np.array_equal(smooth[kept], ragged[kept])
    near = ndimage.maximum_filter(ragged, 2 * 3 + 1) > 0
    assert not smooth[~near].any()
    edge = (smooth > 0) & ~ndimage.binary_erosion(smooth > 0)
    assert edge.sum() < ((ragged > 0) & ~ndimage.binary_erosion(ragged > 0)).sum()
    assert np.array_equal(smooth_surface(smooth * 0, sigma), smooth * 0)
