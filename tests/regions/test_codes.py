"""Codes of region maps: what they must keep for a diffusion model to generate region maps."""

import numpy as np
import pytest
from scipy import ndimage

from braindiffusion.example_data import sample_labels_path
from braindiffusion.regions import BACKGROUND, REGIONS, region_index, regions_of
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


def test_a_thin_region_whose_place_is_uncertain_is_kept_where_its_size_is_known() -> None:
    """A sheet of one voxel, of which each voxel is as likely in one of three layers, between two banks."""
    bank, sheet = region_index("left frontal cortex"), region_index("sulcal csf")
    labels = np.full((12, 12, 12), bank, np.uint8)
    labels[6] = sheet
    blurred = ndimage.uniform_filter1d(encode(labels), 3, axis=1)
    blurred += np.random.default_rng(0).normal(0, 0.3, blurred.shape)
    counts = np.bincount(labels.ravel(), minlength=len(REGIONS))
    assert (decode(blurred) == sheet).sum() < 0.2 * counts[sheet]
    assert (decode(blurred, counts) == sheet).sum() == pytest.approx(counts[sheet], rel=0.15)
    exact = encode(labels)
    assert (decode(exact, 2 * counts) == labels).all()
