"""What is measured of a brain, against what was put into it."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage
from scipy.ndimage import gaussian_filter

from braindiffusion.evaluation.brain_measures import (
    block_edges,
    brain_mask,
    frequencies,
    histogram,
    region_measures,
    shape_measures,
    spectrum,
    texture_measures,
    unit,
)
from braindiffusion.regions import mirror, region_index


@pytest.mark.parametrize("shape", [(20, 26, 22), (17, 21, 15)], ids=["even", "odd"])
def test_the_spectrum_is_the_mean_power_of_each_ring(shape: tuple[int, int, int]) -> None:
    volume = np.random.default_rng(0).random(shape).astype(np.float32)
    power = np.abs(np.fft.fftn(volume)) ** 2
    frequency = np.sqrt(sum(f**2 for f in np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij")))
    rings = max(shape) // 2
    expected = [power[(np.rint(frequency * 2 * rings) == k) & (frequency <= 0.5)].mean() for k in range(1, rings + 1)]
    np.testing.assert_allclose(spectrum(volume), expected, rtol=1e-4)
    np.testing.assert_allclose(frequencies(rings, 2.0)[[0, -1]], [0.25 / rings, 0.25])


def test_white_noise_is_flat_and_blurred_noise_shows_its_transfer_function() -> None:
    noise = np.random.default_rng(1).standard_normal((48, 48, 48))
    white = spectrum(noise.astype(np.float32))
    np.testing.assert_allclose(white[4:] / noise.size, 1, atol=0.15)
    blurred = spectrum(gaussian_filter(noise, 0.8, mode="wrap", truncate=8).astype(np.float32))
    decibels = 10 * np.log10(blurred / white)
    # exp(-2 (pi sigma f)^2) in amplitude, squared in power
    expected = -10 * np.log10(np.e) * (2 * np.pi * 0.8 * frequencies(24, 1.0)) ** 2
    # A kernel of voxels is a little sharper than the Gaussian close to Nyquist.
    np.testing.assert_allclose(decibels[:18], expected[:18], atol=0.3)


def test_a_ball_has_the_volume_surface_and_sphericity_of_a_ball() -> None:
    grid = np.indices((40, 44, 42)) - np.array([20, 22, 21]).reshape(3, 1, 1, 1)
    ball = (grid**2).sum(0) < 15**2
    found = shape_measures(ball, 2.0)
    assert found["brain volume"] == pytest.approx(4 / 3 * np.pi * 30**3 / 1000, rel=0.01)
    assert found["surface"] == pytest.approx(4 * np.pi * 30**2, rel=0.02)
    assert found["sphericity"] == pytest.approx(1, abs=0.02)
    assert found["width"] == found["length"] == found["height"] == 58


def test_a_brick_has_its_extents_and_is_no_ball() -> None:
    brick = np.zeros((30, 50, 30), bool)
    brick[5:25, 5:45, 8:20] = True
    found = shape_measures(brick, 1.0)
    assert (found["width"], found["length"], found["height"]) == (20, 40, 12)
    assert found["surface"] == pytest.approx(2 * (20 * 40 + 20 * 12 + 40 * 12), rel=0.1)
    assert found["sphericity"] < 0.8
    assert set(shape_measures(np.zeros((5, 5, 5), bool), 1.0).values()) == {0.0}


def test_the_mask_is_the_largest_part_without_holes() -> None:
    voxels = np.zeros((12, 12, 12), np.float32)
    voxels[2:9, 2:9, 2:9] = 0.5
    voxels[5, 5, 5] = 0
    voxels[11, 11, 11] = 0.5
    mask = brain_mask(voxels)
    assert mask.sum() == 7**3
    assert mask[5, 5, 5]


def test_the_histogram_holds_the_brain_only(make_person: Callable) -> None:
    voxels, labels = make_person(0)
    found = histogram(voxels, labels > 0)
    expected, _ = np.histogram(voxels[labels > 0], 100, (0, 1), density=True)
    np.testing.assert_allclose(found * 100, expected, rtol=1e-4)


def test_regions_are_counted_and_mirrored_brains_have_the_opposite_asymmetry(make_person: Callable) -> None:
    voxels, labels = make_person(3)
    found = region_measures(voxels, labels, 2.0)
    count = (labels == region_index("left frontal cortex")).sum()
    assert found["volume: left frontal cortex"] == pytest.approx(count * 8 / 1000)
    assert found["tissue: csf"] == pytest.approx(
        found["volume: left lateral ventricle"] + found["volume: right lateral ventricle"]
    )
    other = region_measures(voxels[::-1], mirror(labels), 2.0)
    assert found["asymmetry: frontal cortex"] == pytest.approx(-other["asymmetry: frontal cortex"])
    assert found["asymmetry: frontal cortex"] != 0
    assert found["asymmetry: hippocampus"] == 0
    assert unit("volume: brainstem") == "ml"


def test_contrast_and_residual_of_known_tissue() -> None:
    labels = np.full((24, 24, 24), region_index("left cerebral white matter"), np.uint8)
    labels[:4] = region_index("left frontal cortex")
    noise = np.random.default_rng(0).normal(0, 0.05, labels.shape)
    voxels = (np.where(labels == labels[0, 0, 0], 0.5, 0.75) + noise).astype(np.float32)
    found = texture_measures(voxels, labels)
    assert found["texture: grey-white contrast"] == pytest.approx(0.2, abs=0.005)
    # What a Gaussian of one voxel leaves of white noise: 1 - 2 h(0) + sum of h^2, h its kernel.
    h = gaussian_filter(np.pad([[[1.0]]], 6), 1.0)
    assert found["texture: white-matter residual"] == pytest.approx(
        0.05 * np.sqrt(1 - 2 * h.max() + (h**2).sum()), rel=0.03
    )


@pytest.mark.parametrize("moved", [0, 1])
@pytest.mark.parametrize("side", [2, 4, 8])
def test_edges_of_blocks_are_found_in_smooth_tissue(side: int, moved: int) -> None:
    """One offset a block, as large as the steps between neighbours, doubles these at the faces, roughly."""
    rng = np.random.default_rng(side)
    smooth = ndimage.gaussian_filter(rng.standard_normal((48, 48, 48)), 2.0).astype(np.float32)
    inside = np.ones(smooth.shape, bool)
    assert block_edges(smooth, inside) == pytest.approx(1, abs=0.08), "the largest of 14 ratios"
    offsets = rng.standard_normal([n // side for n in smooth.shape]) * np.abs(np.diff(smooth, axis=0)).mean()
    blocky = smooth + offsets.repeat(side, 0).repeat(side, 1).repeat(side, 2).astype(np.float32)
    assert block_edges(np.roll(blocky, moved, (0, 1, 2)), inside) > 1.3, "wherever the blocks begin"


def test_no_tissue_has_no_edges() -> None:
    assert block_edges(np.ones((8, 8, 8), np.float32), np.zeros((8, 8, 8), bool)) == 1.0
