"""Heads that are drawn, not scanned: a brain of four regions in a skull."""

from pathlib import Path

import numpy as np
import pytest

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.store import Cohort, PreparedVolume, Subject
from braindiffusion.regions import REGIONS, region_index

SHAPE = (34, 34, 42)
"""A box of 24 x 24 x 32 with room around it."""


def head(seed: int, shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """Intensities in [-1, 1] and DLMUSE values."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij")
    size = rng.uniform(0.95, 1.05)
    radius = np.sqrt((x / 7) ** 2 + (y / 8) ** 2 + (z / 10) ** 2) / size
    regions = np.zeros(shape, np.uint8)
    for side, where in (("left", x < 0), ("right", x >= 0)):
        regions[(radius < 1) & where] = region_index(f"{side} frontal cortex")
        regions[(radius < 0.7) & where] = region_index(f"{side} cerebral white matter")
    grey = {"csf": -0.7, "grey": 0.1, "white": 0.8, "-": -1.0}
    volume = np.array([grey[region.tissue] for region in REGIONS])[regions]
    volume[(radius > 1.5) & (radius < 1.7)] = 0.9
    volume = np.clip(volume + rng.normal(0, 0.05, shape) * (radius < 1.7), -1, 1)
    first = np.array([region.dlmuse[0] for region in REGIONS])
    return volume, first[regions]


@pytest.fixture(scope="session")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Four prepared heads, skull kept, with label maps; the third's age is not known."""
    path: Path = tmp_path_factory.mktemp("heads") / "heads.zarr"
    cohort = Cohort.create(path, Preprocessing(shape=SHAPE, skull="keep"), labels=np.dtype(np.uint16))
    for i, age in enumerate((30.0, 40.0, None, 60.0)):
        volume, labels = head(i)
        cohort.put(
            Subject(id=f"s{i}", age=age),
            PreparedVolume(
                volume[None].astype(np.float16), labels > 0, labels.astype(np.uint16), np.diag([2, 2, 2, 1.0])
            ),
        )
    cohort.finish()
    return cohort
