"""Region maps of a painted part, from those of training subjects."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from braindiffusion.editing.sampled_regions import sample_regions
from braindiffusion.example_data import sample_labels_path
from braindiffusion.generation.anatomy import AnatomyLibrary
from braindiffusion.regions import mirror, regions_of
from braindiffusion.regions.sulci import CORTEX, FLUID, LEVELS
from braindiffusion.volume import load_volume


@pytest.fixture(scope="module")
def regions() -> np.ndarray:
    labels = regions_of(load_volume(sample_labels_path()).data[0].astype(np.int64))
    x, y, z = (n // 2 * 2 for n in labels.shape)
    return labels[:x, :y, :z]


@pytest.fixture(scope="module")
def hole(regions: np.ndarray) -> np.ndarray:
    """A ball of 20 mm in the left half of the brain."""
    centre = np.argwhere(regions).mean(0) - [14, 0, -8]
    found: np.ndarray = np.linalg.norm(np.moveaxis(np.indices(regions.shape), 0, -1) - centre, axis=-1) < 10
    return found


def unknown(regions: np.ndarray, hole: np.ndarray) -> np.ndarray:
    where = ndimage.distance_transform_edt(hole, return_distances=False, return_indices=True)
    return np.asarray(regions[tuple(where)])


def library(*maps: np.ndarray) -> AnatomyLibrary:
    return AnatomyLibrary.build(np.stack(maps), 2.0, list("abc"[: len(maps)]), [None] * len(maps), [None] * len(maps))


def test_a_subject_that_lies_elsewhere_is_brought_to_the_surroundings(regions: np.ndarray, hole: np.ndarray) -> None:
    around = unknown(regions, hole)
    moved = np.roll(regions, (2, -1, 1), (0, 1, 2))
    filled, told = sample_regions(library(np.zeros_like(regions), moved), around, hole, 0)
    np.testing.assert_array_equal(filled[~hole], regions[~hole])
    assert told["subject"] == "b"
    assert told["mirrored"] is False
    right = (filled == regions)[hole].mean()
    assert right > 0.85
    assert right > (around == regions)[hole].mean() + 0.2
    assert right > (moved == regions)[hole].mean() + 0.1


def test_the_mirror_image_of_a_subject_may_agree_best(regions: np.ndarray, hole: np.ndarray) -> None:
    filled, told = sample_regions(library(mirror(regions)), unknown(regions, hole), hole, 0)
    assert told["mirrored"] is True
    assert (filled == regions)[hole].mean() > 0.95


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_painted_part_has_the_thin_sulci_of_its_subject(
    regions: np.ndarray, hole: np.ndarray, mirrored: bool
) -> None:
    dark = np.isin(regions, CORTEX) & (np.arange(regions.shape[1]) % 4 == 0)[None, :, None]
    relative = np.where(dark, np.uint8(0), np.uint8(LEVELS - 1))
    subject = (mirror(regions), relative[::-1]) if mirrored else (regions, relative)
    maps = replace(library(subject[0]), relative=subject[1][None])
    filled, told = sample_regions(maps, unknown(regions, hole), hole, 0)
    assert told["mirrored"] is mirrored
    assert (dark & hole).sum() > 100
    assert (filled[dark & hole] == FLUID).mean() > 0.9
    assert (filled == regions)[hole & ~dark].mean() > 0.95


def test_each_seed_takes_another_subject(regions: np.ndarray, hole: np.ndarray) -> None:
    maps = library(regions, np.roll(regions, 3, 1), np.roll(regions, -4, 2))
    told = [sample_regions(maps, unknown(regions, hole), hole, seed)[1] for seed in range(3)]
    assert [one["subject"] for one in told] == ["a", "b", "c"]
    share = [one["agreement_with_surroundings"] for one in told]
    assert share == sorted(share, reverse=True)
