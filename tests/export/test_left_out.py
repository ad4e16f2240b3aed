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
