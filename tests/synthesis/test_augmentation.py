"""Synthetic subjects in somebody else's TorchIO training: read as they were written, mixed at a ratio."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchio as tio

import braindiffusion
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.export import write_bids
from braindiffusion.export.brains import Brain
from braindiffusion.runs.sidecar import write_sidecar
from braindiffusion.volume import Volume, load_volume, save_volume

SHAPE = (6, 8, 7)
AFFINE = np.diag([2.0, 2, 2, 1])
SYNTHETIC = 6


def volume(path: Path, data: np.ndarray, **metadata: object) -> Path:
    save_volume(Volume(data[None], AFFINE, dict(metadata)), path)
    return path


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """A dataset as `synthesize` writes it, with a scan among the synthetic brains."""
    rng, brains = np.random.default_rng(0), []
    for number in range(1, SYNTHETIC + 2):
        made = number <= SYNTHETIC
        path = volume(tmp_path / f"in/{number}.nii.gz", rng.random(SHAPE, np.float32))
        labels = volume(tmp_path / f"in/{number}_seg.nii.gz", rng.integers(0, 41, SHAPE, np.uint8), kind="labels")
        told = {"synthetic": made, "model": {"name": "toy"}, "condition": {}}
        write_sidecar(path, told)
        brains.append(Brain(path, f"gen{number:03d}", labels=labels, sidecar=told, synthetic=made))
    list(write_bids(brains, tmp_path / "cohort"))
    return tmp_path / "cohort"


def people(count: int, **names: str) -> list[tio.Subject]:
    image, label = names.get("image", "image"), names.get("label", "labels")
    ones = torch.ones(1, *SHAPE)
    return [
        tio.Subject({image: tio.ScalarImage(tensor=i * ones), label: tio.LabelMap(tensor=ones.short())})
        for i in range(count)
    ]


def test_subjects_are_read_as_they_were_written(cohort: Path) -> None:
    dataset = braindiffusion.SyntheticDataset(cohort)
    assert len(dataset) == SYNTHETIC  # the scan is none of them
    subject = dataset[0]
    path = cohort / "sub-gen001/anat/sub-gen001_T1w.nii.gz"
    np.testing.assert_allclose(subject["image"].data.numpy(), load_volume(path).data)
    map_ = load_volume(cohort / "derivatives/braindiffusion/sub-gen001/anat/sub-gen001_dseg.nii.gz")
    np.testing.assert_array_equal(subject["labels"].data.numpy(), map_.data)
    np.testing.assert_allclose(subject["image"].affine, AFFINE)
    assert isinstance(subject["labels"], tio.LabelMap)  # a spatial transform interpolates it by nearest neighbour


def test_synthetic_subjects_are_mixed_with_real_ones(cohort: Path) -> None:
    real = people(2)
    mixed = braindiffusion.SyntheticDataset(cohort, real, ratio=2)
    assert (len(mixed), mixed.real_count, mixed.synthetic_count) == (6, 2, 4)
    assert float(mixed[1]["image"].data.mean()) == 1.0
    again, other = (braindiffusion.SyntheticDataset(cohort, real, ratio=2, seed=seed) for seed in (0, 3))
    paths = [[str(one["image"].path) for one in dataset.dry_iter()][2:] for dataset in (mixed, again, other)]
    assert paths[0] == paths[1] != paths[2]
    assert len(set(paths[0])) == 4
    alone = braindiffusion.SyntheticDataset(cohort, real, ratio=0)
    assert len(alone) == 2


def test_labels_and_transforms_are_yours(cohort: Path) -> None:
    dataset = braindiffusion.SyntheticDataset(cohort, labels={4: 1, 5: 1, 40: 2}, transform=tio.Pad(1))
    labels = dataset[0]["labels"].data
    assert labels.shape == (1, *(n + 2 for n in SHAPE))
    original = load_volume(cohort / "derivatives/braindiffusion/sub-gen001/anat/sub-gen001_dseg.nii.gz").data
    expected = np.select([np.isin(original, (4, 5)), original == 40], [1, 2], 0)
    np.testing.assert_array_equal(labels[:, 1:-1, 1:-1, 1:-1].numpy(), expected)


def test_it_goes_through_a_loader(cohort: Path) -> None:
    dataset = braindiffusion.SyntheticDataset(cohort, people(2, image="t1", label="seg"), image="t1", label="seg")
    (batch,) = tio.SubjectsLoader(dataset, batch_size=8, shuffle=True)
    assert batch["t1"][tio.DATA].shape == (8, 1, *SHAPE)
    assert batch["seg"][tio.DATA].shape == (8, 1, *SHAPE)


def test_what_cannot_be_mixed_is_told(cohort: Path, tmp_path: Path) -> None:
    make: Callable[..., object] = braindiffusion.SyntheticDataset
    for arguments, options, sentence in (
        ((tmp_path,), {}, "no synthetic T1w brains with region maps"),
        ((cohort,), {"modality": "T2w"}, "no synthetic T2w brains"),
        ((cohort, people(2)), {"ratio": 4}, "choose a ratio up to 3"),
        ((cohort,), {"ratio": 1}, "needs real subjects"),
        ((cohort, people(1, label="seg")), {}, "no image 'labels'"),
    ):
        with pytest.raises(BrainDiffusionError, match=sentence):
            make(*arguments, **options)
