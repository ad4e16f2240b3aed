"""Label maps: what is one, where it lies, and whose values it has. On the packaged brains."""

from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from braindiffusion.cohort.mask import brain_mask, dark_background
from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.qc.checks import picture_problem
from braindiffusion.cohort.qc.labels import (
    UNKNOWN,
    fit,
    known_regions,
    label_values,
    placement_problem,
    regions_in,
)
from braindiffusion.cohort.standardise import standardise
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import sample_labels_path, sample_t1_path
from braindiffusion.regions import REGIONS, group
from braindiffusion.volume import Volume, load_volume

TISSUES = {"csf": 1, "grey": 2, "white": 3, "-": 0}


@cache
def scan(number: int = 0) -> Volume:
    return load_volume(sample_t1_path(number))


@cache
def labels_of(number: int = 0) -> Volume:
    return load_volume(sample_labels_path(number))


def moved(volume: Volume, *millimetres: float) -> Volume:
    affine = volume.affine.copy()
    affine[:3, 3] += millimetres
    return Volume(volume.data, affine)


def recoded(lookup: dict[int, int]) -> Volume:
    """The packaged label map in another code of the 40 regions."""
    table = np.array([lookup.get(region.index, 0) for region in REGIONS], np.uint8)
    return Volume(table[group(labels_of().data[0])][None], labels_of().affine)


def tissues() -> Volume:
    return recoded({region.index: TISSUES[region.tissue] for region in REGIONS})


def left_freesurfer() -> Volume:
    names = ("hippocampus", "amygdala", "caudate", "putamen", "pallidum", "thalamus", "lateral ventricle")
    return recoded({r.index: r.freesurfer[0] for r in REGIONS if r.name in [f"left {name}" for name in names]})


def test_a_map_lies_on_its_own_brain_only() -> None:
    for number in (0, 3):
        image, values = scan(number).data[0].astype(np.float32), labels_of(number).data[0]
        mask = brain_mask(values, 2.0)
        assert fit(image, values, mask, 2.0) > 0.2
        assert fit(image, mask.astype(np.uint8), mask, 2.0) > 0.08
        assert placement_problem(image, values, mask, 2.0) == ""
        assert placement_problem(image.max() - image, values, mask, 2.0) == ""  # whatever the contrast
        for shift in ((5, 5, 5), (-8, 0, 0), (0, 10, 7)):
            elsewhere = np.roll(values, shift, (0, 1, 2))
            assert "does not lie on its brain" in placement_problem(image, elsewhere, brain_mask(elsewhere, 2.0), 2.0)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (lambda: moved(labels_of(), 20, 15, 10), "does not lie on its brain"),
        (lambda: labels_of(4), "does not lie on its brain"),
        (lambda: Volume(np.where(labels_of().data == 48, 48, 0), labels_of().affine), "which is no brain"),
        (lambda: Volume(scan().data, scan().affine), "is an image of many intensities"),
    ],
)
def test_maps_that_are_left_out(labels, message) -> None:
    with pytest.raises(BrainDiffusionError, match=message):
        standardise(scan(), Preprocessing(), labels())


def test_values_with_a_slope_are_rounded(tmp_path: Path) -> None:
    truth = labels_of()
    image = nib.Nifti1Image(truth.data[0].astype(np.float32), truth.affine)
    image.header.set_data_dtype(np.int16)
    nib.save(image, tmp_path / "scaled.nii.gz")
    scaled = load_volume(tmp_path / "scaled.nii.gz")
    assert scaled.data.dtype.kind == "f"
    np.testing.assert_array_equal(label_values(scaled), truth.data[0])
    with pytest.raises(BrainDiffusionError, match="other values than whole numbers"):
        label_values(Volume(scaled.data + 0.3, scaled.affine))


def test_tissue_classes_are_a_mask() -> None:
    values, note = known_regions(tissues().data[0].astype(np.uint16), 2.0)
    assert set(np.unique(values)) == {0, UNKNOWN}
    assert "serves as a brain mask only" in note
    assert "third ventricle" in note
    with pytest.raises(BrainDiffusionError, match="65535, which is no region"):
        group(values)
    prepared = standardise(scan(), Preprocessing(), tissues())
    assert "serves as a brain mask only" in prepared.note
    assert set(np.unique(prepared.labels)) == {0, UNKNOWN}


def test_a_mask_needs_no_remark() -> None:
    values, note = known_regions((labels_of().data[0] > 0).astype(np.uint16), 2.0)
    assert (set(np.unique(values)), note) == ({0, UNKNOWN}, "")


@pytest.mark.parametrize("labels", [tissues, left_freesurfer])
def test_maps_of_other_schemes_are_not_read(labels) -> None:
    with pytest.raises(BrainDiffusionError, match="are of another atlas than the regions of BrainDiffusion"):
        regions_in(labels())


def test_maps_of_known_schemes_are_read() -> None:
    grouped = group(labels_of().data[0])
    np.testing.assert_array_equal(regions_in(labels_of()), grouped)
    np.testing.assert_array_equal(regions_in(Volume(grouped[None], labels_of().affine)), grouped)
    for number in range(6):
        values = group(labels_of(number).data[0]).astype(np.uint16)
        known, note = known_regions(values, 2.0)
        assert note == ""
        np.testing.assert_array_equal(known, values)


@pytest.mark.parametrize(("offset", "gain"), [(0.0, 1.0), (-90.5, 0.03)])
def test_a_background_among_the_intensities_becomes_the_darkest(offset: float, gain: float) -> None:
    inside = brain_mask(labels_of().data[0], 2.0)
    brain = np.where(inside, (scan().data[0].astype(np.float32) + offset) * gain, 0.0)
    plain = np.where(inside, scan().data[0], 0).astype(np.float32)
    other = standardise(Volume(brain[None], scan().affine), Preprocessing(), labels_of())
    same = standardise(Volume(plain[None], scan().affine), Preprocessing(), labels_of())
    np.testing.assert_allclose(other.volume.astype(float), same.volume.astype(float), atol=0.02)
    assert (other.volume[0][~other.mask] == -1).all()


def test_air_far_below_the_head_becomes_its_darkest() -> None:
    head = scan().data.astype(np.int16)
    padded = dark_background(Volume(np.where(head > 5, head, -3024), scan().affine))
    assert padded.data.min() == head[head > 5].min()
    np.testing.assert_array_equal(padded.data[head > 5], head[head > 5])
    unchanged = Volume(np.where(head > 5, head, 0), scan().affine)
    assert dark_background(unchanged) is unchanged


def test_pictures() -> None:
    head = scan()
    assert picture_problem(head) == ""
    noise = np.random.default_rng(0).normal(100, 20, head.shape)
    assert "not that of a T1w head" in picture_problem(Volume(noise[None], head.affine))
    places = (np.indices(head.shape).T - np.array(head.shape) / 2).T * 2
    ball = np.where(np.linalg.norm(places, axis=0) < 70, 200.0, 0.0)
    assert "not that of a T1w head" in picture_problem(Volume(ball[None], head.affine))
    assert "lies otherwise than its header says" in picture_problem(Volume(head.data[:, :, :, ::-1], head.affine))
