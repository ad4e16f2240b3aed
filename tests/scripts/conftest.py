"""Loads the scripts of the repository, and small cohorts for them."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.store import Cohort, PreparedVolume, Subject
from braindiffusion.regions import REGIONS, region_index

ROOT = Path(__file__).resolve().parents[2]
MakeCohort = Callable[..., Cohort]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Loads a script or benchmark as a module; those of a folder may import each other."""

    def loader(name: str, folder: str = "scripts") -> ModuleType:
        monkeypatch.syspath_prepend(ROOT / folder)
        spec = importlib.util.spec_from_file_location(name, ROOT / folder / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return loader


@pytest.fixture
def make_cohort(tmp_path: Path) -> MakeCohort:
    """Makes a cohort of ellipsoids: white matter in cortex, DLMUSE values; heads have a skull around it."""

    def maker(
        name: str, count: int = 4, shape: tuple[int, int, int] = (16, 24, 16), skull: str = "strip", site: str = "HH"
    ) -> Cohort:
        path = tmp_path / f"{name}.zarr"
        preprocessing = Preprocessing(spacing=2.0, shape=shape, skull=skull)
        cohort = Cohort.create(path, preprocessing, labels=np.dtype(np.uint16))
        grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
        radius = np.sqrt(sum(side**2 for side in grid))
        left = grid[0] < 0
        for i in range(count):
            regions = np.zeros(shape, np.uint8)
            for outer, what in ((0.6 + 0.02 * i, "frontal cortex"), (0.4, "cerebral white matter")):
                for side, where in (("left", left), ("right", ~left)):
                    regions[(radius < outer) & where] = region_index(f"{side} {what}")
            volume = np.array([{"grey": 0.1, "white": 0.8}.get(region.tissue, -1.0) for region in REGIONS])[regions]
            if skull == "keep":
                volume[(radius > 0.8) & (radius < 0.9)] = 0.5
            volume = volume + 0.05 * np.random.default_rng(i).standard_normal(shape) * (volume > -1)
            first = np.array([region.dlmuse[0] for region in REGIONS], np.uint16)
            cohort.put(
                Subject(id=f"{name}{i}", age=30.0 + i, sex="MF"[i % 2], site=site),
                PreparedVolume(
                    volume.clip(-1, 1)[None].astype(np.float16), regions > 0, first[regions], np.diag([2.0, 2, 2, 1])
                ),
            )
        cohort.finish()
        return cohort

    return maker
