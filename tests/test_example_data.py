"""The brains that come along: whole, in mm, small, credited, and without torch."""

import csv
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import (
    SUBJECTS,
    dlmuse_names,
    sample_labels_path,
    sample_participants_path,
    sample_t1_path,
    samples_dir,
)


@pytest.mark.parametrize("index", range(6))
def test_a_brain_and_its_regions(index):
    t1, labels = nib.load(sample_t1_path(index)), nib.load(sample_labels_path(index))
    assert t1.get_data_dtype() == labels.get_data_dtype() == np.uint8
    assert nib.aff2axcodes(t1.affine) == ("R", "A", "S")
    np.testing.assert_array_equal(t1.affine, labels.affine)
    np.testing.assert_allclose(t1.header.get_zooms(), 2)
    brain, regions = np.asarray(t1.dataobj), np.asarray(labels.dataobj)
    assert brain.shape == regions.shape
    # Every region lies inside the brain; the brain is one piece, of a grown-up's size, in grey values.
    assert (brain[regions > 0] > 0).all()
    assert ndimage.label(brain > 0, np.ones((3, 3, 3)))[1] == 1
    assert 900_000 < (brain > 0).sum() * 8 < 2_000_000  # mm^3
    assert len(np.unique(brain)) > 50
    # The box holds the brain with a margin: nothing was cut off.
    assert not any(brain[edge].any() for edge in (0, -1))
    assert set(np.unique(regions)) <= set(dlmuse_names()) | {46, 69}


def test_samples_lie_where_they_lay_in_the_scan(shared_data):
    for name, index in zip(SUBJECTS, range(6), strict=True):
        ours = nib.load(sample_labels_path(index))
        scan = nib.load(shared_data / "ixi-2mm" / "labels" / f"{name}-T1_DLMUSE.nii.gz")
        inside = np.argwhere(np.asarray(ours.dataobj) > 0)
        there = np.rint(nib.affines.apply_affine(np.linalg.inv(scan.affine) @ ours.affine, inside)).astype(int)
        np.testing.assert_array_equal(
            np.asarray(ours.dataobj)[tuple(inside.T)], np.asarray(scan.dataobj)[tuple(there.T)]
        )
        assert (np.asarray(scan.dataobj) > 0).sum() == len(inside)


def test_three_women_and_three_men_over_the_age_range():
    with sample_participants_path().open(newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    assert [row["participant_id"] for row in rows] == list(SUBJECTS)
    assert sorted(row["sex"] for row in rows) == ["F"] * 3 + ["M"] * 3
    ages = [float(row["age"]) for row in rows]
    assert min(ages) < 25
    assert max(ages) > 70


def test_left_is_left():
    """The left hippocampus has a smaller x than the right one."""
    values = {name: value for value, name in dlmuse_names().items()}
    image = nib.load(sample_labels_path())
    data = np.asarray(image.dataobj)
    x = [
        nib.affines.apply_affine(image.affine, np.argwhere(data == value).mean(0))[0]
        for value in (values["Hippocampus_L"], values["Hippocampus_R"])
    ]
    assert x[0] < x[1] - 20  # mm


def test_small_and_credited():
    assert sum(file.stat().st_size for file in samples_dir().rglob("*") if file.is_file()) < 2_000_000
    text = (samples_dir() / "LICENSE.md").read_text()
    assert "CC BY-SA 3.0" in text
    assert "brain-development.org" in text
    assert "University of Pennsylvania" in (samples_dir() / "labels" / "LICENSE-SBIA.md").read_text()


@pytest.mark.parametrize("index", [-1, 6])
def test_no_such_sample(index):
    with pytest.raises(BrainDiffusionError, match=f"no sample {index}: choose one from 0 to 5"):
        sample_t1_path(index)


def test_no_torch():
    code = "import sys, braindiffusion.example_data, braindiffusion.volume; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
