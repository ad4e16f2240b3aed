"""A small cohort of known brains: smooth blobs, prepared as real ones are."""

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.store import Cohort, PreparedVolume, Subject

SHAPE = (16, 24, 16)
HIPPOCAMPI = 48, 47  # DLMUSE's left and right


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return blobs(tmp_path_factory.mktemp("cohort") / "blobs.zarr", SHAPE, 8.0)


@pytest.fixture(scope="session")
def finer_cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Such brains at half the voxel size, in the same box."""
    x, y, z = SHAPE
    return blobs(tmp_path_factory.mktemp("cohort") / "finer.zarr", (2 * x, 2 * y, 2 * z), 4.0)


def blobs(path: Path, shape: tuple[int, int, int], spacing: float) -> Cohort:
    preprocessing = Preprocessing(spacing=spacing, shape=shape, skull="strip")
    store = Cohort.create(path, preprocessing, labels=np.dtype(np.uint16))
    rng = np.random.default_rng(0)
    for i in range(6):
        x, y, z = (np.linspace(-1, 1, n) for n in shape)
        mask = (x[:, None, None] ** 2 + y[:, None] ** 2 + z**2) < 0.6 + 0.05 * i
        texture = gaussian_filter(rng.standard_normal(shape), 1.0)
        volume = np.where(mask, np.clip(0.2 + texture, -1, 1), -1)[None].astype(np.float16)
        side = np.where(np.arange(shape[0]) < shape[0] // 2, *HIPPOCAMPI)[:, None, None]
        labels = (mask * side).astype(np.uint16)
        subject = Subject(id=f"s{i}", age=30.0 + i, sex="MF"[i % 2])
        store.put(subject, PreparedVolume(volume, mask, labels, np.diag([spacing] * 3 + [1])))
    store.finish()
    return Cohort.open(path)
