"""A toy model that knows age, sex and region maps, and a cohort of its "training subjects"."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.store import Cohort, PreparedVolume, Subject
from braindiffusion.conditions import CategoryField, ConditionSchema, MapField, Numbers, ScalarField
from braindiffusion.generation.anatomy import AnatomyLibrary
from braindiffusion.jobs import perform
from braindiffusion.models.cascade import Cascade, save_model
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.regions import REGIONS, region_index
from braindiffusion.runs import Event, GenerateRequest, Run, SynthesizeRequest
from braindiffusion.volume import load_volume

SHAPE, SPACING = (16, 24, 16), 8.0
PEOPLE = [f"p{i}" for i in range(8)]
TRAINING, HELD_OUT = PEOPLE[:4], PEOPLE[4:]
AGES = Numbers(mean=50, std=10, quantiles=(20.0, 25.0, *[50.0] * 7, 75.0, 80.0))
SCHEMA = ConditionSchema(
    fields=(
        ScalarField(name="age", unit="years", seen=AGES),
        CategoryField(name="sex", values=("F", "M")),
        MapField(name="regions", labels=len(REGIONS)),
    )
)


def _map(grow: int) -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[4 : 12 + grow, 6:18, 4:12] = region_index("left frontal cortex")
    labels[6:10, 8:16, 6:10] = region_index("left cerebral white matter")
    return labels


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two levels whose weights are noise, so that all that they are told changes what they make."""
    level = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,), map_width=4), steps=3)
    cascade = Cascade(
        CascadeConfig(shape=SHAPE, spacing=SPACING, depth=1, levels=(level,) * 2, condition=SCHEMA)
    ).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in cascade.parameters():
            weights.copy_(0.1 * torch.randn(weights.shape, generator=generator))
    folder: Path = tmp_path_factory.mktemp("model") / "toy"
    split = {"train": TRAINING, "validation": HELD_OUT}
    save_model(cascade, folder, {"name": "toy", "preprocessing_hash": "abc", "split": split})
    maps = np.stack([_map(0), _map(1), _map(2)])
    AnatomyLibrary.build(maps, SPACING, ["a", "b", "c"], [25.0, 50.0, 75.0], ["F", "M", "F"]).save(folder)
    return folder


@pytest.fixture
def ask(model: Path, tmp_path: Path, tmp_runs: Path) -> Callable[..., SynthesizeRequest]:
    """Returns the request of a small cohort."""

    def request(**fields: object) -> SynthesizeRequest:
        defaults = {"model": str(model), "num": 4, "age": "20:80", "out": tmp_path / "bids", "device": "cpu"}
        return SynthesizeRequest(**defaults | fields)

    return request


def do(request: SynthesizeRequest | GenerateRequest) -> list[Event]:
    """Perform a request in a new run."""
    return list(perform(Run.create(request)))


@pytest.fixture
def cohort_of(tmp_path: Path) -> Callable[[list[np.ndarray]], Path]:
    """Writes a prepared cohort of the model's subjects that look like these volumes."""

    def write(volumes: list[np.ndarray]) -> Path:
        path = tmp_path / "reference.zarr"
        store = Cohort.create(path, Preprocessing(spacing=SPACING, shape=SHAPE, skull="strip"))
        for name, voxels in zip(PEOPLE, volumes, strict=True):
            prepared = (voxels * 2 - 1)[None].astype(np.float16)
            store.put(Subject(id=name), PreparedVolume(prepared, voxels > 0, None, np.diag([SPACING] * 3 + [1])))
        store.finish()
        return path

    return write


@pytest.fixture
def others(model: Path, tmp_path: Path, tmp_runs: Path) -> list[np.ndarray]:
    """Brains of the toy model that are in no cohort of the tests: as different as its brains are."""
    out = tmp_path / "others"
    do(GenerateRequest(model=str(model), num_samples=len(PEOPLE), seed=5000, out=out, device="cpu"))
    return [load_volume(path).data[0] for path in sorted(out.glob("*.nii.gz"))]
