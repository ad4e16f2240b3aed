"""A trained toy, from a cohort to NIfTI: the right shape at the right place, as it was asked for.

Women are balls, men are tall boxes, and a small label map says where.
"""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.store import Cohort, PreparedVolume, Subject
from braindiffusion.conditions import ConditionSchema
from braindiffusion.jobs import perform
from braindiffusion.models.cascade import Cascade
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.runs import Finished, GenerateRequest, Run, TrainRequest
from braindiffusion.training.distributed import Distributed
from braindiffusion.training.patches import PatchDataset
from braindiffusion.training.presets import Preset
from braindiffusion.training.recipe import LevelRecipe
from braindiffusion.training.subject_condition import schema_of
from braindiffusion.training.trainer import LevelTrainer
from braindiffusion.volume import Volume, box_affine, load_volume, save_volume

SHAPE = (16, 16, 16)
REACH = 4.0
LOWER, UPPER = 47, 48  # DLMUSE's hippocampi; any two would do, and one alone would be a mask
SAMPLES = 100
UNET = UNetConfig(widths=(16, 32), blocks=(1, 1), attention=(False, False), embedding=64)


def draw(sex: str, centre: NDArray[np.float64]) -> NDArray[np.float32]:
    """A ball, or a tall box of about the same volume, with soft edges, in [0, 1]."""
    offsets = np.indices(SHAPE) - centre[:, None, None, None]
    box = np.array([2.0, 2.0, 6.0])[:, None, None, None]
    inside = 3.6 - np.sqrt((offsets**2).sum(0)) if sex == "F" else (box - np.abs(offsets)).min(0)
    return np.clip(inside + 0.5, 0, 1).astype(np.float32)


def look(data: NDArray[np.float32]) -> tuple[str, NDArray[np.float64]]:
    """The shape that a volume shows, and where."""
    centre = np.array(ndimage.center_of_mass(np.where(data > 0.3, data, 0)))
    errors = {sex: float(((draw(sex, centre) - data) ** 2).mean()) for sex in "FM"}
    return min(errors, key=errors.__getitem__), centre


def mark(centre: NDArray[np.float64]) -> NDArray[np.uint16]:
    """A label map with a small cube of two halves in the middle of the shape."""
    offsets = np.indices(SHAPE) - centre[:, None, None, None]
    return (np.where(offsets[2] < 0, LOWER, UPPER) * (np.abs(offsets).max(0) < 2)).astype(np.uint16)


def place(rng: np.random.Generator) -> NDArray[np.float64]:
    """Anywhere from left to right, and about the middle else."""
    return 7.5 + rng.uniform((-REACH, -1, -1), (REACH, 1, 1))


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """As if they were brains."""
    path = tmp_path_factory.mktemp("cohort") / "shapes.zarr"
    rng = np.random.default_rng(0)
    preprocessing = Preprocessing(spacing=8.0, shape=SHAPE, skull="keep")
    cohort = Cohort.create(path, preprocessing, labels=np.dtype(np.uint16))
    for number in range(128):
        sex, centre = "FM"[number % 2], place(rng)
        volume = (2 * draw(sex, centre) - 1)[None].astype(np.float16)
        subject = Subject(id=f"s{number}", age=40 + number / 4, sex=sex)
        cohort.put(subject, PreparedVolume(volume, np.ones(SHAPE, bool), mark(centre), np.diag([8.0, 8, 8, 1])))
    cohort.finish()
    return cohort


@pytest.fixture(scope="module")
def toy(shapes: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder; trained by the job that trains brains."""
    home = tmp_path_factory.mktemp("toy")
    noise = {"log_sigma_mean": 0.3, "log_sigma_std": 1.5, "sigma_max": 80.0}
    base = LevelConfig(unet=UNET, **noise, steps=10, sampler="dpmpp_2m")
    details = LevelConfig(unet=UNET, steps=4)
    recipe = LevelRecipe(
        batch_size=8,
        epochs=12,
        augmented_copies=0,
        learning_rate=2e-3,
        muon_learning_rate=5e-3,
        validations=1,
        snapshots=0,
    )
    recipes = (recipe, recipe.model_copy(update={"epochs": 5}))
    (home / "preset.json").write_text(Preset(depth=1, levels=(base, details), recipes=recipes).model_dump_json())
    request = TrainRequest(
        data=shapes.path,
        preset=str(home / "preset.json"),
        conditions=("sex", "regions"),
        validation_subjects=8,
        device="cpu",
    )
    run = Run.create(request, home / "runs")
    last = list(perform(run))[-1]
    assert isinstance(last, Finished), last
    return run.checkpoints / "last"


def test_the_right_shape_at_the_right_place(toy: Path, tmp_path: Path, tmp_runs: Path) -> None:
    rng = np.random.default_rng(1)
    asked = [("FM"[i % 2], place(rng)) for i in range(SAMPLES)]
    grid = box_affine(SHAPE, 8.0)
    for i, (_, centre) in enumerate(asked):
        save_volume(Volume(mark(centre)[None], grid), tmp_path / f"{i}.nii")
    with (tmp_path / "asked.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("sex", "regions"), *((sex, f"{i}.nii") for i, (sex, _) in enumerate(asked))])
    request = GenerateRequest(
        model=str(toy),
        num_samples=SAMPLES,
        conditions=tmp_path / "asked.csv",
        guidance=2.5,
        batch_size=25,
        out=tmp_path / "shapes",
        device="cpu",
    )
    last = list(perform(Run.create(request)))[-1]
    assert isinstance(last, Finished), last
    right = 0
    for number, (sex, centre) in enumerate(asked, start=1):
        shown, where = look(load_volume(tmp_path / "shapes" / f"sample_{number:03d}.nii.gz").data[0])
        right += shown == sex and np.abs(where - centre).max() < 1.5
    assert right >= 99


# Where there is a map, FiLM is a sum over places, and gradients are added up in another order.
@pytest.mark.parametrize(("hidden", "rounding"), [("sex", 0.0), ("regions", 1e-5)])
def test_a_field_that_is_always_hidden_trains_the_very_same_network(
    shapes: Cohort, hidden: str, rounding: float
) -> None:
    rows = list(range(8))
    known = {field.name: field for field in schema_of(shapes, rows, ("age", "sex", "regions")).fields}
    without = (known["age"],)
    with_it = (known["age"], known[hidden].model_copy(update={"dropout": 1.0}))
    networks = []
    for fields in (without, with_it):
        level = LevelConfig(unet=UNET)
        config = CascadeConfig(
            shape=SHAPE, spacing=8.0, depth=1, levels=(level,) * 2, condition=ConditionSchema(fields=fields)
        )
        cascade = Cascade(config)
        generator = torch.Generator().manual_seed(0)
        for name, p in cascade.named_parameters():
            if not networks or name in networks[0]:
                with torch.no_grad():
                    p.copy_(0.05 * torch.randn(p.shape, generator=generator))
        recipe = LevelRecipe(batch_size=4, epochs=1, augmented_copies=0)
        trainer = LevelTrainer(Distributed(TrainRequest(data=shapes.path, device="cpu")), cascade, 1, recipe, seed=0)
        losses = [done.loss for done in trainer.run(PatchDataset(shapes, cascade, 1, rows, 0, seed=0), 3)]
        networks.append({"losses": torch.tensor(losses), **cascade.state_dict()})
    plain, never_told = networks
    assert never_told.keys() > plain.keys()
    for name, tensor in plain.items():
        torch.testing.assert_close(never_told[name], tensor, atol=rounding, rtol=0, msg=name)
