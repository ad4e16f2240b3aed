"""What a folder holds beside anatomical volumes is left out, and told."""

from pathlib import Path

import pytest

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.export import brains_in


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_functional_scans_and_links_that_lead_nowhere_are_told(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "dataset_description.json",
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-01/anat/sub-01_FLAIR.nii.gz",
        "sub-01/func/sub-01_task-rest_bold.nii.gz",
        "notes.nii.gz",
    )
    (tmp_path / "sub-02_T1w.nii.gz").symlink_to("not-fetched.nii.gz")
    told: list[str] = []
    brains = brains_in([tmp_path], tell=told.append)
    assert [brain.suffix for brain in brains] == ["FLAIR", "T1w"]
    for words in ("'bold'", "1 of the volumes are passed over", "sub-02_T1w.nii.gz is left out"):
        assert any(words in sentence for sentence in told), (words, told)


def test_a_functional_scan_alone_is_refused(tmp_path: Path) -> None:
    path = touch(tmp_path, "sub-01_task-rest_bold.nii.gz") / "sub-01_task-rest_bold.nii.gz"
    for source in (tmp_path, path):
        with pytest.raises(BrainDiffusionError, match="BIDS has no name for the modality 'bold'"):
            brains_in([source])


def test_a_brain_without_a_label_map_is_told(tmp_path: Path) -> None:
    touch(tmp_path / "in", "sub-01_T1w.nii.gz", "sub-02_T1w.nii.gz", "sub-03_T1w.nii.gz")
    labels = touch(tmp_path / "labels", "sub-01_dseg.nii.gz", "sub-03_a.nii.gz", "sub-03_b.nii.gz")
    told: list[str] = []
    brains = brains_in([tmp_path / "in"], labels=labels, tell=told.append)
    assert [brain.labels is None for brain in brains] == [False, True, True]
    assert told == [
        "sub-02_T1w.nii.gz is exported without a label map: no label map of sub-02 in labels.",
        "sub-03_T1w.nii.gz is exported without a label map: 2 label maps (sub-03_a, sub-03_b), and one is needed.",
    ]


def test_trajectories_and_previews_are_no_label_maps(tmp_path: Path) -> None:
    """As `generate --segmentation --trajectory` writes them, into one folder."""
    endings = ("", "_trajectory", "_regions", "_preview")
    touch(tmp_path, *(f"sample_00{number}{end}.nii.gz" for number in (1, 2) for end in endings))
    brains = brains_in([tmp_path], labels=tmp_path, tell=lambda _: None)
    assert [str(brain.labels) for brain in brains] == [
        str(tmp_path / f"sample_00{number}_regions.nii.gz") for number in (1, 2)
    ]
