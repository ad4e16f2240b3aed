import os
import sys
from pathlib import Path

import pytest

from braindiffusion.cohort.find import find, match_labels, search
from braindiffusion.errors import BrainDiffusionError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("name", ["IXI012-HH-1211-T1.nii.gz", "IXI012-HH-1211_T1.nii", "deep/er/IXI012-HH-1211-T1.mgz"])
def test_ixi_names(tmp_path: Path, name: str) -> None:
    (item,) = find(touch(tmp_path, name))
    assert (item.subject, item.site, item.modality, item.problem) == ("IXI012-HH-1211", "HH", "T1", "")
    assert item.path == tmp_path / name


def test_ixi_sites_and_modalities(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *(f"IXI00{i}-{s}-1-{m}.nii.gz" for i, s in enumerate(("Guys", "HH", "IOP")) for m in ("T1", "T2", "PD")),
    )
    for modality in ("T1", "T2", "PD"):
        found = find(tmp_path, modality=modality)
        assert [item.site for item in found] == ["Guys", "HH", "IOP"]
        assert all(item.path.name.endswith(f"-{modality}.nii.gz") for item in found)
    assert len(find(tmp_path, modality=None)) == 9
    assert not any(item.problem for item in find(tmp_path, modality=None))


def test_bids(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "dataset_description.json",
        "sub-02/anat/sub-02_T1w.nii.gz",
        "sub-02/anat/sub-02_T2w.nii.gz",
        "sub-02/func/sub-02_task-rest_bold.nii.gz",
        "sub-01/ses-b/anat/sub-01_ses-b_acq-mprage_run-1_T1w.nii.gz",
        "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz",
        "derivatives/x/sub-02/anat/sub-02_T1w.nii.gz",
    )
    assert [item.subject for item in find(tmp_path)] == ["sub-01_ses-a", "sub-01_ses-b", "sub-02"]
    assert [item.path.name for item in find(tmp_path, modality="T1w")][-1] == "sub-02_T1w.nii.gz"
    assert [item.path.name for item in find(tmp_path, modality="T2")] == ["sub-02_T2w.nii.gz"]
    assert not any(item.problem for item in find(tmp_path))


def test_any_folder_of_volumes(tmp_path: Path) -> None:
    touch(tmp_path, "b.nii", "a.mgz", "c/d.nii.gz", "notes.txt", ".hidden/e.nii", "f.img", "f.hdr")
    found = find(tmp_path)
    assert [item.subject for item in found] == ["a", "b", "d", "f"]
    assert {item.modality for item in found} == {None}


def test_named_files_leave_derived_ones_out(tmp_path: Path) -> None:
    touch(tmp_path, "IXI012-HH-1211-T1.nii.gz", "IXI012-HH-1211-T1_DLMUSE.nii.gz", "mean.nii.gz")
    assert [item.path.name for item in find(tmp_path)] == ["IXI012-HH-1211-T1.nii.gz"]


def test_a_second_volume_of_a_subject_has_a_problem(tmp_path: Path) -> None:
    """The other volume is told by its name, and by its folder where both have one name."""
    found = find(touch(tmp_path, "a/IXI012-HH-1211-T1.nii.gz", "b/IXI012-HH-1211-T1.nii", "c/IXI012-HH-1211-T1.nii.gz"))
    assert [item.problem for item in found] == [
        "",
        "IXI012-HH-1211-T1.nii.gz is there for IXI012-HH-1211 already",
        f"{tmp_path / 'a' / 'IXI012-HH-1211-T1.nii.gz'} is there for IXI012-HH-1211 already",
    ]


def test_nothing_there_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(BrainDiffusionError, match=r"no T1 volumes in .*IXI012-HH-1211-T1\.nii\.gz.*sub-01_T1w"):
        find(tmp_path)
    with pytest.raises(BrainDiffusionError, match=r"no PD volumes .* though it holds T1, T2"):
        find(touch(tmp_path, "IXI1-HH-1-T1.nii.gz", "IXI1-HH-1-T2.nii.gz"), modality="PD")
    with pytest.raises(BrainDiffusionError, match="no folder"):
        find(tmp_path / "absent")


def test_labels_are_matched_by_subject_and_not_by_prefix(tmp_path: Path) -> None:
    touch(tmp_path, "t1/sub-1_T1w.nii.gz", "t1/sub-12_T1w.nii.gz", "t1/sub-3_T1w.nii.gz")
    labels = touch(tmp_path / "labels", "sub-12_T1w_seg.nii.gz", "sub-1_dseg.nii.gz")
    found = {item.subject: item for item in find(tmp_path / "t1", labels=labels)}
    assert found["sub-1"].labels == labels / "sub-1_dseg.nii.gz"
    assert found["sub-12"].labels == labels / "sub-12_T1w_seg.nii.gz"
    assert found["sub-3"].labels is None
    assert found["sub-3"].problem == "no label map of sub-3 in labels"


def test_a_brain_mask_beside_the_regions_is_no_second_map(tmp_path: Path) -> None:
    found = find(touch(tmp_path / "t1", "a.nii.gz", "b.nii.gz"))
    folder = touch(tmp_path / "read", "a_regions.nii.gz", "a_mask.nii.gz", "b_mask.nii.gz")
    matched = match_labels(found, folder)
    assert [item.labels for item in matched] == [folder / "a_regions.nii.gz", folder / "b_mask.nii.gz"]
    assert not any(item.problem for item in matched)


def test_labels_below_the_volumes_are_no_volumes(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz", "b.nii.gz", "labels/a.nii.gz", "labels/b_seg.nii.gz")
    found = find(tmp_path, labels=tmp_path / "labels")
    assert [(item.subject, item.labels and item.labels.name) for item in found] == [
        ("a", "a.nii.gz"),
        ("b", "b_seg.nii.gz"),
    ]


def test_labels_that_do_not_tell(tmp_path: Path) -> None:
    found = find(touch(tmp_path / "t1", "a.nii.gz", "b.nii.gz"))
    with pytest.raises(BrainDiffusionError, match=r"no folder of label maps"):
        match_labels(found, tmp_path / "absent")
    with pytest.raises(BrainDiffusionError, match=r"No volume in .*a_labels\.nii\.gz"):
        match_labels(found, touch(tmp_path / "other", "x.nii.gz"))
    two = match_labels(found, touch(tmp_path / "two", "a_one.nii.gz", "a_two.nii.gz", "b.nii.gz"))
    assert "2 label maps (a_one, a_two)" in two[0].problem


def test_the_shared_ixi(shared_data: Path) -> None:
    found = find(shared_data / "ixi-2mm", labels=shared_data / "ixi-2mm" / "labels")
    assert len(found) == 150
    assert not any(item.problem for item in found)
    assert all(item.labels and item.labels.name == f"{item.subject}-T1_DLMUSE.nii.gz" for item in found)


def test_labels_of_a_freesurfer_folder(tmp_path: Path) -> None:
    touch(tmp_path, "t1/sub-1_T1w.nii.gz", "t1/sub-12_T1w.nii.gz")
    touch(tmp_path, *(f"fs/sub-{n}/mri/{name}.mgz" for n in (1, 12) for name in ("T1", "aseg", "aparc+aseg")))
    found = find(tmp_path / "t1", labels=tmp_path / "fs")
    assert [item.labels for item in found] == [tmp_path / f"fs/sub-{n}/mri/aparc+aseg.mgz" for n in (1, 12)]


def test_names_in_other_spellings_are_taken(tmp_path: Path) -> None:
    touch(tmp_path, "sub-01_T1w.nii.gz", "sub-02_T1w.NII.GZ", "sub-03_t1w.nii.gz", "sub-04-b_T1w.nii.gz")
    found, passed_over = search(tmp_path)
    assert [item.subject for item in found] == ["sub-01", "sub-02", "sub-03", "sub-04-b"]
    assert {item.modality for item in found} == {"T1"}
    assert not passed_over
    ixi = touch(
        tmp_path / "ixi", "IXI012-HH-1211-T1.nii.gz", "IXI013-HH-1212-T1_brain.nii.gz", "IXI033-HH-1259-T1w.nii"
    )
    assert [item.subject for item in find(ixi)] == ["IXI012-HH-1211", "IXI013-HH-1212", "IXI033-HH-1259"]


def test_a_stripped_copy_beside_its_head_has_a_problem(tmp_path: Path) -> None:
    head, stripped = find(touch(tmp_path, "IXI012-HH-1211-T1.nii.gz", "IXI012-HH-1211-T1_brain.nii.gz"))
    assert (head.path.name, head.problem) == ("IXI012-HH-1211-T1.nii.gz", "")
    assert "already" in stripped.problem


def test_files_that_are_passed_over_are_told(tmp_path: Path) -> None:
    touch(tmp_path, "sub-01_T1w.nii.gz", "notes.nii", "sub-01_T2w.nii.gz", "a.mgz", "b.mgz", "c.mgz", "readme.txt")
    found, (sentence,) = search(tmp_path)
    assert len(found) == 1
    assert "4 of the volumes are passed over" in sentence
    assert "a.mgz, b.mgz, c.mgz and 1 more" in sentence


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_are_followed_once_and_told_where_they_lead_nowhere(tmp_path: Path) -> None:
    data, other = tmp_path / "my scans", tmp_path / "other"
    touch(data, "sub-01/sub-01_T1w.nii.gz")
    touch(other, "sub-06/sub-06_T1w.nii.gz")
    (data / "sub-05_T1w.nii.gz").symlink_to(".git/annex/objects/not-fetched.nii.gz")
    (data / "sub-06").symlink_to(other / "sub-06")
    (data / "again").symlink_to(data)
    (other / "sub-06" / "up").symlink_to(tmp_path)
    found, passed_over = search(data)
    assert [item.subject for item in found] == ["sub-01", "sub-05", "sub-06"]
    assert ["leads nowhere" in item.problem for item in found] == [False, True, False]
    assert not passed_over


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "sub-01/sub-01_T1w.nii.gz", "locked/sub-02_T1w.nii.gz")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found, (sentence,) = search(tmp_path)
    assert [item.subject for item in found] == ["sub-01"]
    assert sentence == "1 of the folders cannot be read: locked."


@pytest.mark.parametrize(
    "names",
    [
        [f"P_00{i}/P_00{i}_{kind}.nii.gz" for i in (1, 2) for kind in ("t1", "t1ce", "t2", "flair", "seg")],
        [f"P_00{i}-{kind}.nii.gz" for i in (1, 2) for kind in ("t1n", "t1c", "t2w", "t2f", "seg")],
        [f"P_00{i}_{kind}.NII.GZ" for i in (1, 2) for kind in ("T1W", "T1Gd", "T2", "FLAIR", "SEG")],
    ],
)
def test_contrasts_of_one_patient_are_one_person(tmp_path: Path, names: list[str]) -> None:
    touch(tmp_path, *names)
    for modality in ("T1", "t1ce", "T2", "Flair"):
        found, (told,) = search(tmp_path, modality=modality)
        assert [item.person for item in found] == ["P_001", "P_002"]
        assert "2 of the volumes are label maps by their names" in told
        assert not any(item.problem for item in found)
    (first, second) = find(tmp_path, modality="T1,T1ce,T2,FLAIR")
    assert (first.subject, second.subject) == ("P_001", "P_002")
    assert len(first.paths) == 4
    matched = find(tmp_path, modality="T1", labels=tmp_path)
    assert [item.labels and item.labels.name.lower()[:9] for item in matched] in (
        ["p_001_seg", "p_002_seg"],
        ["p_001-seg", "p_002-seg"],
    )


def test_a_plain_name_among_contrasts(tmp_path: Path) -> None:
    touch(tmp_path, "ann.nii.gz", "bob_T1.nii.gz", "bob_T2.nii.gz", "ann_T1.nii.gz", "eve_mask.nii.gz")
    found, (told,) = search(tmp_path)
    assert [(item.path.name, item.problem) for item in found] == [
        ("ann.nii.gz", ""),
        ("ann_T1.nii.gz", "ann.nii.gz is there for ann already"),
        ("bob_T1.nii.gz", ""),
    ]
    assert "eve_mask.nii.gz" in told
    assert [item.path.name for item in find(tmp_path, modality="T2")] == ["ann.nii.gz", "bob_T2.nii.gz"]


def test_second_runs_are_told(tmp_path: Path) -> None:
    first, second = find(touch(tmp_path, "sub-1_run-1_T1w.nii.gz", "sub-1_run-2_T1w.nii.gz"))
    assert first.problem == ""
    assert second.problem == "sub-1_run-1_T1w.nii.gz is there for sub-1 already"


def test_a_label_map_is_that_of_the_same_folders(tmp_path: Path) -> None:
    touch(tmp_path, *(f"data/{site}/sub-01/anat/sub-01_T1w.nii.gz" for site in "AB"))
    both = touch(tmp_path / "both", *(f"{site}/sub-01/sub-01_dseg.nii.gz" for site in "AB"))
    found = find(tmp_path / "data", labels=both)
    assert [item.labels and item.labels.relative_to(both).parts[0] for item in found] == ["A", "B"]
    other = touch(tmp_path / "other", "B/sub-01/sub-01_dseg.nii.gz")
    of_a, of_b = find(tmp_path / "data", labels=other)
    assert of_a.labels is None
    assert "is that of another volume of this name" in of_a.problem
    assert of_b.labels == other / "B/sub-01/sub-01_dseg.nii.gz"
    flat = touch(tmp_path / "flat", "sub-01_dseg.nii.gz")
    assert find(tmp_path / "data", labels=flat)[0].labels == flat / "sub-01_dseg.nii.gz"


def test_a_scan_of_another_modality_is_no_label_map(tmp_path: Path) -> None:
    touch(tmp_path / "t1", "sub-01_T1w.nii.gz", "sub-02_T1w.nii.gz")
    labels = touch(tmp_path / "labels", "sub-01_T2w.nii.gz", "sub-01_FLAIR.nii.gz", "sub-02_dseg.nii.gz")
    one, two = find(tmp_path / "t1", labels=labels)
    assert (one.labels, one.problem) == (None, "no label map of sub-01 in labels")
    assert two.labels == labels / "sub-02_dseg.nii.gz"
