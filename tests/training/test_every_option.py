"""Every option changes what a training does or writes: a new one without a line here fails."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import BaseModel
from safetensors.numpy import load_file

from braindiffusion.cohort.store import Cohort
from braindiffusion.devices import choose_precision
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.jobs.train import train
from braindiffusion.models.cascade.config import LevelConfig, UNetConfig
from braindiffusion.runs import ArtifactWritten, CheckpointWritten, Metric, Run, TrainRequest
from braindiffusion.training.presets import Preset
from braindiffusion.training.recipe import LevelRecipe
from braindiffusion.volume import load_volume

Options = dict[str, Any]

REQUEST: Options = {"levels": (0,), "validation_subjects": 2, "device": "cpu"}
RECIPE: Options = {
    "batch_size": 2,
    "epochs": 1,
    "augmented_copies": 8,
    "warmup": 2,
    "weighting": "min_snr",
    "validations": 2,
    "snapshots": 1,
}
LEVEL: Options = {"patch": 4, "steps": 3}
UNET: Options = {"widths": (4,), "blocks": (1,), "attention": (False,), "embedding": 8, "map_width": 2}
SPEED = {"seconds_per_step", "waiting_for_data", "teraflops", "utilization"}
ZERO_SNR = {"schedule": "linear", "sigma_max": 70000.0}
MATRICES = {"UNetConfig": {"widths": (16,)}}  # large enough for Muon
WORSE = {"epochs": 2, "validations": 4, "learning_rate": 30.0, "max_norm": 1e3}

# What each option is changed to, and what else must be so, before and after, for it to matter.
CHANGES: dict[type[BaseModel], dict[str, tuple[Any, Options]]] = {
    TrainRequest: {
        "data": (Path("nowhere.zarr"), {}),
        "content": ("regions", {}),
        "preset": ("huge", {}),
        "start_from": ("nowhere", {}),
        "batch_size": (1, {}),
        "accumulate": (2, {}),
        "patch": (6, {}),
        "epochs": (2, {}),
        "levels": ((1,), {}),
        "conditions": (("age",), {}),
        "validation_subjects": (1, {}),
        "patience": (1, {"LevelRecipe": WORSE}),
        "checkpointing": (True, {}),
        "strategy": ("fsdp", {}),
        "seed": (1, {}),
        "device": ("warp", {}),
        "precision": ("float32" if choose_precision(torch.device("cpu")) == torch.bfloat16 else "bfloat16", {}),
        "checkpoint_minutes": (1e-9, {}),
        "sample_minutes": (1e-9, {}),
    },
    LevelRecipe: {
        "batch_size": (1, {}),
        "accumulate": (2, {}),
        "epochs": (2, {}),
        "augmented_copies": (2, {}),
        "unaugmented": (1.0, {}),
        "affine": (False, {}),
        "elastic": (8.0, {}),
        "bias": (0.2, {}),
        "interpolation": ("cubic", {}),
        "optimizer": ("adamw", MATRICES),
        "learning_rate": (1e-4, {}),
        "muon_learning_rate": (1e-4, MATRICES),
        "warmup": (1, {}),
        "decay": (0.0, {}),
        "constant": (1, {}),
        "weight_decay": (0.5, {}),
        "max_norm": (1e-3, {}),
        "weighting": ("none", {}),
        "min_snr_gamma": (1.0, {}),
        "band_weights": ((7.0, 1, 1, 1, 1, 1, 1), {"TrainRequest": {"levels": (1,)}}),
        "validations": (1, {}),
        "patience": (1, {"LevelRecipe": WORSE}),
        "snapshots": (2, {}),
    },
    LevelConfig: {
        "unet": (UNetConfig(**UNET | {"widths": (8,)}), {}),
        "prediction": ("flow", {}),
        "patch": (6, {}),
        "noise": ("schedule", {}),
        "log_sigma_mean": (1.0, {}),
        "log_sigma_std": (0.5, {}),
        "coarse_sigma_max": (1.0, {"TrainRequest": {"levels": (1,)}}),
        "coarse_sigma": (0.5, {"TrainRequest": {"levels": None}}),
        "sampler": ("dpmpp_2m", {}),
        "steps": (2, {}),
        "noise_levels": ((3.0, 1.0, 0.5), {}),
        "schedule": ("flow", {}),
        "sigma_min": (0.1, {}),
        "sigma_max": (10.0, {}),
        "rho": (3.0, {}),
        "zero_terminal_snr": (True, {"LevelConfig": ZERO_SNR}),
        "shift": (2.0, {}),
        "temperature": (0.5, {}),
        "refinement": (0.5, {"TrainRequest": {"levels": None}}),
    },
    UNetConfig: {
        "network": (
            "monai",
            {
                "UNetConfig": {"widths": (8, 8), "blocks": (1, 1), "attention": (False, False)},
                "LevelConfig": {"patch": None},
            },
        ),
        "widths": ((8,), {}),
        "blocks": ((2,), {}),
        "attention": ((True,), {}),
        "embedding": (16, {}),
        "map_width": (3, {}),
        "map_places": (1, {}),
        "checkpointing": (True, {}),
    },
}


def performed(cohort: Cohort, folder: Path, **options: Options) -> list[Any]:
    """All that can be seen of a training but how long it took, or what it complains of."""
    level = LevelConfig(
        **{"unet": UNetConfig(**UNET | options.get("UNetConfig", {}))} | LEVEL | options.get("LevelConfig", {})
    )
    recipe = LevelRecipe(**RECIPE | options.get("LevelRecipe", {}))
    preset = folder / "own.json"
    preset.write_text(Preset(depth=1, levels=(level, level), recipes=(recipe, recipe)).model_dump_json())
    fields = {"data": cohort.path, "preset": str(preset)} | REQUEST | options.get("TrainRequest", {})
    run = Run.create(TrainRequest(**fields), root=folder, name="run")
    remembered = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal remembered
        remembered += tensor.nbytes
        return tensor

    seen: list[Any] = []
    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            for event in train(run.request, run):
                match event:
                    case Metric(values=values, step=step, stage=stage):
                        seen.append((stage, step, {k: v for k, v in values.items() if k not in SPEED}))
                    case CheckpointWritten(step=step):
                        seen.append(("checkpoint", step))
                    case ArtifactWritten(kind="preview", path=path):
                        seen.append(load_volume(Path(path)).data)
    except BrainDiffusionError as error:
        return [str(error)]
    seen += [str(path.relative_to(run.path)) for path in sorted(run.checkpoints.rglob("*.safetensors"))]
    seen += [remembered, *load_file(run.checkpoints / "last" / "model.safetensors").values()]
    return seen


def same(one: list[Any], other: list[Any]) -> bool:
    def alike(a: Any, b: Any) -> bool:
        return np.array_equal(a, b) if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) else repr(a) == repr(b)

    return len(one) == len(other) and all(alike(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module", autouse=True)
def every_step() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("braindiffusion.jobs.train.METRIC_SECONDS", -1.0)
        patch.setattr("braindiffusion.training.trainer.HELD_OUT", 4)
        yield


@pytest.fixture(scope="module")
def usual(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return performed(cohort, tmp_path_factory.mktemp("usual"))


def test_a_training_can_be_told_from_another_and_is_repeated(cohort: Cohort, usual: list[Any], tmp_path: Path) -> None:
    assert same(performed(cohort, tmp_path), usual)


@pytest.mark.parametrize("kind", CHANGES)
def test_every_option_has_its_line(kind: type[BaseModel]) -> None:
    assert set(CHANGES[kind]) == set(kind.model_fields) - {"job"}


@pytest.mark.parametrize(
    ("kind", "name"), [pytest.param(k, n, id=f"{k.__name__}.{n}") for k, names in CHANGES.items() for n in names]
)
def test_an_option_changes_the_training(
    cohort: Cohort, usual: list[Any], kind: type[BaseModel], name: str, tmp_path: Path
) -> None:
    value, needed = CHANGES[kind][name]
    before = usual
    if needed:
        (tmp_path / "before").mkdir()
        before = performed(cohort, tmp_path / "before", **needed)
    changed = {**needed, kind.__name__: needed.get(kind.__name__, {}) | {name: value}}
    assert not same(before, performed(cohort, tmp_path, **changed))
