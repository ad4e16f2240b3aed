"""Low-pass voxels tell people apart and nothing else, and the nearest of many is found."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from braindiffusion.cohort import nearest as module
from braindiffusion.cohort.nearest import (
    Neighbours,
    low_pass,
    mirrored,
    nearest,
    neighbours,
    neighbours_of_people,
    rows_of_person,
    views,
)

Voxels = NDArray[np.float32]


def person(seed: int) -> Voxels:
    """An ellipsoid with a smooth texture of its own at 4 mm, in a box with room around it."""
    shape = (40, 52, 44)
    x, y, z = (np.linspace(-1, 1, n) for n in shape)
    texture = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 3.0)
    inside = (x[:, None, None] ** 2 + y[:, None] ** 2 + z**2) < 0.7 + 0.1 * texture / texture.std()
    return np.pad(np.where(inside, 0.6 + 0.15 * texture / texture.std(), 0).clip(0, 1), 4).astype(np.float32)


def test_low_pass_voxels_forget_place_brightness_and_sampling_but_not_the_person() -> None:
    voxels = person(1)

    def distance(other: Voxels, spacing: float = 4.0) -> float:
        return float(np.linalg.norm(low_pass(voxels, 4.0) - low_pass(other, spacing)))

    far = distance(person(2))
    assert distance(voxels) == 0
    assert distance(0.6 * voxels) < 1e-4
    assert distance(np.roll(voxels, (2, -1, 3), (0, 1, 2))) < 0.05 * far
    assert distance(np.repeat(np.repeat(np.repeat(voxels, 2, 0), 2, 1), 2, 2), 2.0) < 0.2 * far
    noise = np.random.default_rng(0).normal(0, 0.05, voxels.shape).astype(np.float32)
    assert distance(np.clip(voxels + noise, 0, 1)) < 0.3 * far


def test_the_mirrored_vector_is_that_of_the_mirrored_brain() -> None:
    voxels = person(4)
    flipped = low_pass(np.ascontiguousarray(voxels[::-1]), 4.0)
    np.testing.assert_allclose(mirrored(low_pass(voxels, 4.0)), flipped, atol=1e-5)
    assert nearest(views(flipped), low_pass(voxels, 4.0)[None])[1] == pytest.approx(0, abs=1e-3)


def test_an_empty_volume_is_nobody() -> None:
    assert not low_pass(np.zeros((8, 8, 8), np.float32), 8.0).any()


def test_the_nearest_of_many_is_found_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 7)
    rng = np.random.default_rng(2)
    gallery, seen = rng.normal(size=(25, 4)), rng.normal(size=(2, 4))
    distances = np.min([np.linalg.norm(gallery - view, axis=1) for view in seen], axis=0)
    assert nearest(seen, gallery) == (distances.argmin(), pytest.approx(distances.min()))
    second = np.argsort(distances)[1]
    assert nearest(seen, gallery, without=int(distances.argmin()))[0] == second


def test_the_ratio_is_that_of_both_distances() -> None:
    near = neighbours(np.zeros((1, 2)), np.array([[3.0, 4.0], [30.0, 40.0]]), np.array([[0.0, 1.0], [0.0, 10.0]]), 0)
    assert near == Neighbours(0, 5.0, 1, 10.0)
    assert near.ratio == 0.5
    assert Neighbours(0, 1.0, 0, 0.0).ratio == np.inf


def test_another_session_of_a_person_is_no_other_person() -> None:
    held_out = np.array([[0.0], [0.1], [5.0], [5.1], [9.0]])
    people = ["a", "a", "b", "b", "c"]
    found = neighbours_of_people(np.array([[3.0]]), held_out, people, np.atleast_2d)
    assert [people[one.held_out] for one in found] == ["b", "b", "c", "c", "b"]
    np.testing.assert_allclose([one.to_held_out for one in found], [5.0, 4.9, 4.0, 3.9, 3.9])
    assert nearest(np.array([[0.05]]), held_out, rows_of_person(people, 1)) == (2, pytest.approx(4.95))
