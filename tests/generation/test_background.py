"""Air becomes exactly 0, and of the brain nothing but the darkest rim may go."""

import numpy as np

from braindiffusion.example_data import sample_t1_path
from braindiffusion.generation.background import clear_background
from braindiffusion.volume import load_volume


def test_specks_go_and_the_brain_stays() -> None:
    brain = load_volume(sample_t1_path()).data.astype(np.float32)
    brain /= brain.max()
    rng = np.random.default_rng(0)
    air = brain == 0
    noisy = np.where(air, 0.05 * rng.random(brain.shape, dtype=np.float32), brain)
    noisy[0, :3, :3, :3] = 0.5  # a bright speck far from the brain
    cleared = clear_background(noisy)
    lost = ~air & (cleared == 0)
    assert np.array_equal(cleared[~air & ~lost], brain[~air & ~lost])
    assert lost.sum() < 0.01 * (~air).sum()
    assert brain[lost].max(initial=0) < 0.3  # CSF at the surface, no tissue
    assert (cleared[air] > 0).mean() < 0.06  # what is left hugs the surface
    assert not cleared[0, :3, :3, :3].any()


def test_noise_outside_of_the_region_map_goes() -> None:
    data = np.zeros((1, 24, 24, 24), np.float32)
    data[0, 4:20, 4:20, 4:20] = 0.8
    regions = (data[0] > 0).astype(np.uint8)
    halo = data.copy()
    halo[0, 3:21, 3:21, 3:21] = np.maximum(data[0, 3:21, 3:21, 3:21], 0.04)
    assert np.array_equal(clear_background(halo, regions), data)
    assert clear_background(halo)[0, 3, 8, 8] > 0  # the reason to give the map
    smaller = np.zeros_like(regions)
    smaller[8:16, 8:16, 8:16] = 1  # a map of a part of the brain cuts off no tissue
    assert np.array_equal(clear_background(data, smaller), data)


def test_ventricles_are_not_air() -> None:
    data = np.zeros((1, 24, 24, 24), np.float32)
    data[0, 4:20, 4:20, 4:20] = 0.8
    data[0, 9:15, 9:15, 9:15] = 0.02
    cleared = clear_background(data)
    assert np.array_equal(cleared, data)


def test_an_empty_volume_is_left_alone() -> None:
    data = np.full((1, 8, 8, 8), 0.01, np.float32)
    assert clear_background(data) is data
