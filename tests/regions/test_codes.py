"""Codes of region maps: what they must keep for a diffusion model to generate region maps."""

import numpy as np
from scipy import ndimage

from braindiffusion.example_data import sample_labels_path
from braindiffusion.regions import BACKGROUND, REGIONS, regions_of
from braindiffusion.regions.codes import CHANNELS, CODES, decode, encode
from braindiffusion.regions.interpolation import interpolate_labels
from braindiffusion.regions.overlap import region_dice
from braindiffusion.volume import load_volume


def test_each_region_has_its_own_code_and_background_is_air() -> None:
    assert CODES.shape == (len(REGIONS), CHANNELS)
    assert len({tuple(code) for code in CODES.tolist()}) == len(REGIONS)
    assert set(np.unique(CODES)) == {-1.0, 1.0}
    assert (CODES[BACKGROUND] == -1).all()


def test_a_map_survives_its_codes_and_noise_of_less_than_their_distance() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(len(REGIONS), size=(6, 7, 8)).astype(np.uint8)
    assert (decode(encode(labels)) == labels).all()
    assert (decode(encode(labels) + rng.uniform(-0.49, 0.49, (CHANNELS, 6, 7, 8))) == labels).all()


def test_between_two_regions_lies_rarely_a_third() -> None:
    """Half a voxel away, interpolated codes decode to what interpolated labels are."""
    labels = regions_of(load_volume(sample_labels_path()).data[0].astype(np.int64))
    moved = np.stack([ndimage.shift(one, 0.5, order=3, mode="nearest") for one in encode(labels)])
    expected = interpolate_labels(labels, np.indices(labels.shape) - 0.5)
    assert np.nanmin(region_dice(decode(moved), expected)) > 0.9
    assert np.nanmean(region_dice(decode(moved), expected)) > 0.97
