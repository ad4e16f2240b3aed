"""Thin sulci: which voxels of cortex become CSF, and that they are deformed like the brain."""

import numpy as np
import pytest
from scipy import ndimage

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.standardise import BACKGROUND, standardise_file
from braindiffusion.example_data import sample_labels_path, sample_t1_path
from braindiffusion.regions import region_index, regions_of
from braindiffusion.regions.deformation import exponential, places_of, random_velocity, warped
from braindiffusion.regions.sulci import (
    CORTEX,
    FLUID,
    LEVELS,
    deformed_sulci,
    relative_intensity,
    stored,
    thin_sulci,
    with_thin_sulci,
)

SPACING = 2.0
LEFT, WHITE = region_index("left frontal cortex"), region_index("left cerebral white matter")


@pytest.fixture(scope="module")
def person() -> tuple[np.ndarray, np.ndarray]:
    """Image, from 0 to 1, and region map of a sample."""
    prepared = standardise_file(sample_t1_path(), sample_labels_path(), Preprocessing(shape=(80, 104, 88)))
    assert prepared.labels is not None
    return (prepared.volume[0].astype(np.float32) - BACKGROUND) / 2, regions_of(prepared.labels)


def two_banks(depth: float) -> tuple[np.ndarray, np.ndarray]:
    """Two banks of cortex that touch at z = 12, darker by `depth` there, with fluid above and white matter around."""
    regions = np.full((24, 24, 24), WHITE, np.uint8)
    regions[:, :, 8:17], regions[:, :, :2] = LEFT, FLUID
    image = np.where(regions == LEFT, 0.5, 0.8).astype(np.float32)
    image[regions == FLUID] = 0.1
    image[:, :, 12] -= depth
    return image, regions


@pytest.mark.parametrize(("depth", "found"), [(0.2, True), (0.03, False)])
def test_the_plane_where_two_banks_touch_is_a_sulcus_if_it_is_dark(depth: float, found: bool) -> None:
    image, regions = two_banks(depth)
    relative = relative_intensity(image, regions, SPACING)
    assert relative is not None
    sulcus = thin_sulci(regions, relative)
    assert sulcus[:, :, 12].all() == found
    sulcus[:, :, 12] = False
    assert not sulcus.any()


@pytest.mark.parametrize("field", [np.linspace(0.6, 1.4, 24), np.linspace(1.4, 0.6, 24)])
def test_a_bias_field_changes_nothing(field: np.ndarray) -> None:
    image, regions = two_banks(0.2)
    shaded = (image * field[:, None, None]).astype(np.float32)
    (plain, biased) = (relative_intensity(one, regions, SPACING) for one in (image, shaded))
    assert plain is not None
    assert biased is not None
    assert (thin_sulci(regions, plain) == thin_sulci(regions, biased)).all()


def test_images_whose_fluid_is_bright_and_maps_without_cortex_have_none() -> None:
    image, regions = two_banks(0.2)
    assert relative_intensity(1 - image, regions, SPACING) is None
    assert relative_intensity(image, np.where(regions == LEFT, np.uint8(WHITE), regions), SPACING) is None
    assert relative_intensity(image, np.where(regions == FLUID, np.uint8(0), regions), SPACING) is None


def test_only_cortex_changes_and_only_to_fluid(person: tuple[np.ndarray, np.ndarray]) -> None:
    image, regions = person
    relative = relative_intensity(image, regions, SPACING)
    assert relative is not None
    finer = with_thin_sulci(regions, thin_sulci(regions, relative))
    changed = finer != regions
    assert np.isin(regions[changed], CORTEX).all()
    assert (finer[changed] == FLUID).all()
    assert 0.1 < changed.sum() / np.isin(regions, CORTEX).sum() < 0.35
    assert image[changed].mean() < 0.7 * image[np.isin(finer, CORTEX)].mean()


def test_stored_intensities_give_the_same_sulci(person: tuple[np.ndarray, np.ndarray]) -> None:
    image, regions = person
    relative = relative_intensity(image, regions, SPACING)
    assert relative is not None
    kept = stored(relative, regions)
    assert kept.max() == LEVELS - 1
    for quick in (False, True):
        there = deformed_sulci(regions, kept, np.indices(regions.shape, dtype=np.float32), quick=quick)
        assert (there == thin_sulci(regions, relative)).all()


@pytest.mark.parametrize("seed", range(3))
def test_sulci_survive_a_deformation(person: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    """As many voxels as before, and as dark in the deformed image as they were: sheets do not break or grow."""
    image, regions = person
    relative = relative_intensity(image, regions, SPACING)
    assert relative is not None
    displacement = exponential(random_velocity(np.random.default_rng(seed), (40, 52, 44), 2 * SPACING))
    labels, places = warped(regions, displacement), places_of(displacement)
    ours = deformed_sulci(labels, stored(relative, regions), places)
    share, before = (
        found.sum() / np.isin(cortex, CORTEX).sum()
        for found, cortex in ((ours, labels), (thin_sulci(regions, relative), regions))
    )
    assert share == pytest.approx(before, rel=0.15)
    deformed = ndimage.map_coordinates(image, places, order=3).astype(np.float32)
    expected = relative_intensity(deformed, labels, SPACING)
    assert expected is not None
    theirs = thin_sulci(labels, expected)
    assert 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) > 0.8
