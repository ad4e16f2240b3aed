"""People made of ellipsoids: a cohort of them, and brains that were "generated" from it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.store import Cohort, PreparedVolume, Subject
from braindiffusion.evaluation.sources import Brain
from braindiffusion.regions import region_index
from braindiffusion.volume import Volume, save_volume

SHAPE, SPACING = (20, 26, 22), 8.0
AFFINE = np.diag([SPACING, SPACING, SPACING, 1.0])
TRAINING, HELD_OUT, GENERATED = 12, 8, 6


def person(seed: int, shape: tuple[int, int, int] = SHAPE) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """A brain in [0, 1] with texture of its own, and its grouped regions: white matter in cortex around a ventricle."""
    rng = np.random.default_rng(seed)
    grid = [np.linspace(-1, 1, n).reshape([-1 if i == j else 1 for j in range(3)]) for i, n in enumerate(shape)]
    axes = rng.uniform(0.72, 0.85, 3)
    radius = np.sqrt(sum((side / axis) ** 2 for side, axis in zip(grid, axes, strict=True)))
    bumps = gaussian_filter(rng.standard_normal(shape), np.array(shape) / 10)
    radius = radius + 0.15 * bumps / bumps.std()
    labels = np.zeros(shape, np.uint8)
    for name, outer in (("frontal cortex", 1.0), ("cerebral white matter", 0.75), ("lateral ventricle", 0.3)):
        for side, half in (("left", grid[0] < 0), ("right", grid[0] >= 0)):
            labels[np.broadcast_to(half, shape) & (radius < outer)] = region_index(f"{side} {name}")
    voxels = np.zeros(shape)
    for name, value in (("frontal cortex", 0.5), ("cerebral white matter", 0.85), ("lateral ventricle", 0.2)):
        voxels[np.isin(labels, [region_index(f"{side} {name}") for side in ("left", "right")])] = value
    voxels = np.where(labels > 0, voxels + 0.04 * rng.standard_normal(shape), 0)
    return voxels.clip(0, 1).astype(np.float32), labels


def brain(seed: int) -> Brain:
    voxels, labels = person(seed)
    return Brain(f"p{seed}", voxels, labels, SPACING)


@pytest.fixture(scope="session")
def make_person() -> Callable[..., tuple[NDArray[np.float32], NDArray[np.uint8]]]:
    """Makes voxels and regions of a person: see `person`."""
    return person


@pytest.fixture(scope="session")
def make_brain() -> Callable[[int], Brain]:
    """Makes a person's brain from a seed."""
    return brain


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared cohort of 20 people with label maps, ages and sexes; some are out of any model's split."""
    path: Path = tmp_path_factory.mktemp("people") / "people.zarr"
    store = Cohort.create(path, Preprocessing(spacing=SPACING, shape=SHAPE, skull="strip"), labels=np.dtype(np.uint16))
    for i in range(TRAINING + HELD_OUT):
        voxels, labels = person(i)
        subject = Subject(id=f"s{i:02d}", age=20.0 + 2 * i, sex="MF"[i % 2])
        volume = (voxels * 2 - 1)[None].astype(np.float16)
        store.put(subject, PreparedVolume(volume, labels > 0, labels.astype(np.uint16), AFFINE))
    store.finish()
    return path


@pytest.fixture(scope="session")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared cohort of 20 people, each scanned twice."""
    path: Path = tmp_path_factory.mktemp("sessions") / "sessions.zarr"
    store = Cohort.create(path, Preprocessing(spacing=SPACING, shape=SHAPE, skull="strip"))
    for i in range(TRAINING + HELD_OUT):
        voxels, labels = person(i)
        for session in (1, 2):
            again = voxels + 0.01 * np.random.default_rng((i, session)).standard_normal(SHAPE) * (labels > 0)
            volume = (again.clip(0, 1) * 2 - 1)[None].astype(np.float16)
            store.put(Subject(id=f"sub-{i:02d}_ses-{session}"), PreparedVolume(volume, labels > 0, None, AFFINE))
    store.finish()
    return path


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a generated brain with its sidecar into a folder; returns the folder."""

    def writer(name: str, voxels: NDArray[np.float32], folder: str = "generated", **sidecar: object) -> Path:
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        affine = AFFINE.copy()
        affine[:3, 3] = [-SPACING * (n - 1) / 2 for n in voxels.shape]
        save_volume(Volume(voxels[None], affine), place / f"{name}.nii.gz")
        (place / f"{name}.json").write_text(json.dumps({"synthetic": True, **sidecar}))
        return place

    return writer
