"""Small models that have something to say, with nothing learnt."""

from pathlib import Path

import pytest
import torch

from braindiffusion.conditions import CategoryField, ConditionSchema, MapField, Numbers, ScalarField, VectorField
from braindiffusion.jobs import perform
from braindiffusion.models.cascade import Cascade, save_model
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.regions import REGIONS
from braindiffusion.runs import Event, GenerateRequest, Progress, Run, Started

SHAPE = (16, 24, 16)
LEVEL = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,), map_width=4), steps=3)
CARD = {"name": "toy", "preprocessing_hash": "abc"}


def _seen(middle: float) -> Numbers:
    return Numbers(mean=middle, std=middle / 4, quantiles=tuple(middle * f for f in (0.5, *[1.0] * 9, 1.5)))


SCHEMA = ConditionSchema(
    fields=(
        ScalarField(name="age", unit="years", seen=_seen(50)),
        CategoryField(name="sex", values=("F", "M")),
        VectorField(
            name="volumes",
            unit="ml",
            entries=("left hippocampus", "right hippocampus", "brainstem"),
            seen=(_seen(4), _seen(5), _seen(20)),
        ),
        MapField(name="regions", labels=len(REGIONS)),
    )
)


def speaking(config: CascadeConfig, seed: int = 0) -> Cascade:
    """A model whose weights are noise, so that all that it is told changes what it makes."""
    made = Cascade(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(0.1 * torch.randn(p.shape, generator=generator))
    return made


@pytest.fixture
def cascade() -> Cascade:
    """Three levels, unconditional."""
    return speaking(CascadeConfig(shape=SHAPE, spacing=2.0, depth=2, levels=(LEVEL,) * 3))


@pytest.fixture
def model(cascade: Cascade, tmp_path: Path) -> Path:
    save_model(cascade, tmp_path / "model", CARD)
    return tmp_path / "model"


@pytest.fixture
def told() -> Cascade:
    """Two levels that can be told of everything."""
    return speaking(CascadeConfig(shape=SHAPE, spacing=2.0, depth=1, levels=(LEVEL,) * 2, condition=SCHEMA))


@pytest.fixture
def told_model(told: Cascade, tmp_path: Path) -> Path:
    save_model(told, tmp_path / "told", CARD)
    return tmp_path / "told"


def generated(model: Path, out: Path, **fields: object) -> list[Event]:
    """The events of a generation, without those of its progress."""
    run = Run.create(GenerateRequest(model=str(model), out=out, device="cpu", **fields), root=out.parent / "runs")
    return [event for event in perform(run) if not isinstance(event, Progress | Started)]
