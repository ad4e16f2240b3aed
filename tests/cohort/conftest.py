"""Heads made of ellipsoids, in the layout of IXI, and the six real brains of the package."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from braindiffusion.example_data import sample_participants_path, samples_dir
from braindiffusion.runs.requests import PrepareRequest

IDS = ("IXI002-Guys-0828", "IXI012-HH-1211", "IXI101-IOP-0761")


def make_head(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A head of 4 mm voxels with a brain off its centre: intensities and labels (x, y, z), and an affine in RAS+."""
    rng = np.random.default_rng(seed)
    shape = np.array([48, 60, 56])
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    middle = shape / 2 + rng.uniform(-2, 2, 3)
    head = (((grid - middle) / [20, 26, 24]) ** 2).sum(-1) < 1
    brain = (((grid - middle - [0, -3, 4]) / [16, 20, 16]) ** 2).sum(-1) < 1
    data = np.where(brain, 600.0, np.where(head, 900.0, 0.0)) + rng.normal(0, 20, shape) * head
    labels = np.where(brain, np.where(grid[..., 0] < middle[0], 1, 207), 0).astype(np.uint8)
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = -middle * 4 + [3.25, -7.5, 11.0]
    return data.round().clip(0).astype(np.int16), labels, affine


@pytest.fixture
def head() -> Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Makes a head from a seed: see `make_head`."""
    return make_head


@pytest.fixture
def ixi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `IXI-T1` and `labels`: one head for each site, stored PSR as the published files are.

    Ellipsoids count as heads here.
    """
    monkeypatch.setattr("braindiffusion.cohort.standardise.picture_problem", lambda volume: "")
    folder = tmp_path / "ixi"
    for seed, name in enumerate(IDS):
        data, labels, affine = make_head(seed)
        write_psr(data, affine, folder / "IXI-T1" / f"{name}-T1.nii.gz")
        write_psr(labels, affine, folder / "labels" / f"{name}-T1_DLMUSE.nii.gz")
    return folder


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., PrepareRequest]:
    """A request for the folder of `ixi`, in this process and at the heads' own 4 mm unless told otherwise."""

    def request(folder: Path, **changes: object) -> PrepareRequest:
        fields = {
            "data_dir": folder / "IXI-T1",
            "labels": folder / "labels",
            "out": tmp_path / "out.zarr",
            "spacing": 4.0,
            "workers": 1,
        }
        return PrepareRequest.model_validate(fields | changes)

    return request


@pytest.fixture
def ask_samples(tmp_path: Path) -> PrepareRequest:
    return PrepareRequest(
        data_dir=samples_dir() / "IXI-T1",
        labels=samples_dir() / "labels",
        participants=sample_participants_path(),
        out=tmp_path / "samples.zarr",
        workers=1,
    )


def write_psr(data: np.ndarray, affine: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(data, affine)
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt("PSR"))
    nib.save(image.as_reoriented(turn), path)
