from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from braindiffusion.cohort.demographics import read_demographics
from braindiffusion.cohort.describe import describe
from braindiffusion.cohort.find import find


def test_a_table_of_heads(ixi: Path, tmp_path: Path) -> None:
    table = tmp_path / "people.tsv"
    table.write_text("participant_id\tage\tsex\nIXI012-HH-1211\t38.78\tM\nIXI002-Guys-0828\tn/a\tF\n")
    rows = list(describe(find(ixi, labels=ixi / "labels"), read_demographics(table)))
    assert [(r.subject, r.site, r.age, r.sex, r.note) for r in rows] == [
        ("IXI002-Guys-0828", "Guys", None, "F", "age unknown"),
        ("IXI012-HH-1211", "HH", 38.78, "M", ""),
        ("IXI101-IOP-0761", "IOP", None, None, "not in people.tsv"),
    ]
    for row in rows:
        assert (row.shape, row.spacing, row.orientation) == ((48, 60, 56), (4, 4, 4), "PSR")
        assert row.modality == "T1"
        assert row.labels is not None
        assert row.problem == ""


def test_problems_are_told_from_headers(tmp_path: Path) -> None:
    affine = np.diag([2.0, 2, 2, 1])
    nib.save(nib.Nifti1Image(np.zeros((60, 60, 10), np.uint8), affine), tmp_path / "slab.nii")
    nib.save(nib.Nifti1Image(np.zeros((60, 60, 60, 3), np.uint8), affine), tmp_path / "series.nii")
    (tmp_path / "text.nii").write_text("this is no volume")
    nib.save(nib.Nifti1Image(np.zeros((60, 60, 60), np.uint8), affine), tmp_path / "well.nii")
    problems = {row.subject: row.problem for row in describe(find(tmp_path))}
    assert problems["well"] == ""
    assert "covers only 20 mm" in problems["slab"]
    assert "holds 3 volumes" in problems["series"]
    assert "text.nii" in problems["text"]


def test_problems_of_names_come_first(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "sub-1_T1w.nii").touch()
    rows = list(describe(find(tmp_path)))
    assert rows[1].problem == f"{tmp_path / 'a' / 'sub-1_T1w.nii'} is there for sub-1 already"
    assert rows[0].shape is None


def test_full_resolution_bids(shared_data: Path) -> None:
    folder = shared_data / "ds002748"
    rows = list(describe(find(folder), read_demographics(folder / "participants.tsv")))
    assert len(rows) == 6
    for row in rows:
        assert row.orientation == "LAS"
        assert row.shape == (288, 288, 181)
        assert row.spacing == pytest.approx((0.868, 0.868, 1.0), abs=0.001)
        assert row.age is not None
        assert row.sex in ("M", "F")
        assert row.problem == ""
