"""Requests to train a model that generates brains, one that generates them faster, or one that segments them."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from braindiffusion.runs.requests.base import (
    Asked,
    BaseRequest,
    Content,
    Device,
    Overwrite,
    Precision,
    Seed,
    by_level,
)


class TrainRequest(BaseRequest):
    """Train a model on a cohort, or on a folder of volumes that is preprocessed first."""

    job: Literal["train"] = "train"
    data: Path = Field(title="Data", json_schema_extra={"cli": ["--data-dir", "--data"]})
    """A prepared cohort (`.zarr`), or a folder of volumes that is preprocessed first."""
    content: Content = Field(
        default="image",
        title="Generates",
        json_schema_extra={
            "advanced": True,
            "choices": {
                "image": "Images.",
                "regions": "Region maps, from which an image model can generate (needs label maps in the cohort).",
            },
        },
    )
    """What the model is to generate: `image`, or `regions`, region maps from which an image model can generate."""
    preset: str = Field(
        default="auto",
        title="Preset",
        json_schema_extra={
            "choices": {
                "auto": "The largest that suits the device.",
                "tiny": "About a minute, to check that everything works.",
                "laptop": "Hours on a few cores.",
                "laptop-regions": "Region maps, in hours on a few cores.",
                "gpu-8gb": "For a GPU of 8 GB.",
                "gpu-24gb": "For a GPU of 24 GB.",
                "gpu-80gb": "For a GPU of 80 GB.",
            },
            "path": True,
        },
    )
    """Size of the network and how each level is trained: `tiny`, `laptop`, `laptop-regions`, `gpu-8gb`, `gpu-24gb`,
    `gpu-80gb`, or a file of your own; `auto` takes the one that suits the device."""
    start_from: str | None = Field(default=None, title="Initialize from", json_schema_extra={"path": True})
    """Name or path of a model or training run to start from (fine-tuning): its network, weights and conditions are
    kept, and the preset decides only how it is trained. The cohort must be preprocessed like that model's own."""
    batch_size: int | None = Field(default=None, ge=1, title="Batch size")
    """Samples (patches, or whole volumes) per batch in each process; by default the preset's."""
    accumulate: int | None = Field(
        default=None, ge=1, title="Gradient accumulation", json_schema_extra={"advanced": True}
    )
    """Batches whose gradients are added up before each optimizer step; by default the preset's."""
    patch: int | None = Field(default=None, ge=4, title="Patch size", json_schema_extra={"unit": "coefficients"})
    """Edge of the patches that levels without attention are trained on, in wavelet coefficients (two voxels each at the
    finest level); by default the preset's."""
    epochs: float | None = Field(default=None, gt=0, title="Epochs")
    """Passes over the training subjects, at every level; by default the preset's."""
    levels: tuple[int, ...] | None = Field(
        default=None, title="Levels", json_schema_extra={"cli": ["--level", "--levels"], "advanced": True}
    )
    """Train only these levels of the cascade (0 is the coarsest); by default all of them, coarse to fine."""
    conditions: tuple[str, ...] | None = Field(
        default=None,
        title="Conditions",
        json_schema_extra={
            "cli": ["--condition", "--conditions"],
            "choices": ["age", "sex", "site", "modality", "volumes", "regions"],
        },
    )
    """Conditions that generation can use later: `age`, `sex`, `site`, `modality`, `volumes`, `regions`; `none` for
    an unconditional model; by default all that the cohort has. With an initial model: conditions to add to its own."""
    validation_subjects: int | None = Field(
        default=None, ge=0, title="Validation subjects", json_schema_extra={"unit": "subjects"}
    )
    """Subjects held out for validation; by default one in five. What an initial model held out stays held out."""
    patience: int | None = Field(default=None, ge=1, title="Early stopping", json_schema_extra={"unit": "validations"})
    """Stop training a level after this many validations without a lower loss; by default the preset's."""
    checkpointing: bool = Field(default=False, title="Gradient checkpointing")
    """Recompute activations in the backward pass instead of storing them: less memory, about a third more time."""
    strategy: Literal["ddp", "fsdp"] = Field(
        default="ddp", title="Distributed strategy", json_schema_extra={"advanced": True}
    )
    """With several processes (torchrun or SLURM): each holds the whole model (`ddp`), or a part of it (`fsdp`)."""
    seed: Seed = 0
    device: Device = "auto"
    precision: Precision = "auto"
    checkpoint_minutes: float = Field(
        default=2.0, gt=0, title="Checkpoint every", json_schema_extra={"unit": "min", "advanced": True}
    )
    """Minutes between two checkpoints."""
    sample_minutes: float = Field(default=5.0, gt=0, title="Sample every", json_schema_extra={"unit": "min"})
    """Minutes between two training samples, from when every level has begun to train."""


class TrainSegmentationRequest(BaseRequest):
    """Train a segmentation model: regions, brain mask, embedding and age of any T1w head."""

    job: Literal["train-segmentation"] = "train-segmentation"
    data: Path = Field(title="Data", json_schema_extra={"cli": ["--data-dir", "--data"]})
    """A cohort (`.zarr`) preprocessed with the skull kept, with label maps, and on a grid with room around the head."""
    start_from: str | None = Field(default=None, title="Initialize from", json_schema_extra={"path": True})
    """Name or path of a segmentation model or training run to start from (fine-tuning): its network and weights are
    kept. The cohort must have the voxel size and the grid of that model's own."""
    steps: int = Field(default=3000, ge=1, title="Training steps")
    """Optimizer steps."""
    batch_size: int = Field(default=2, ge=1, title="Batch size")
    """Windows per step; every other one is skull-stripped."""
    window: tuple[int, int, int] = Field(
        default=(40, 48, 48), title="Window size", json_schema_extra={"unit": "voxels", "advanced": True}
    )
    """Voxels (x, y, z) of a window, multiples of 8."""
    learning_rate: float = Field(default=3e-3, gt=0, title="Peak learning rate", json_schema_extra={"advanced": True})
    """Highest learning rate of AdamW; it decays to zero at the last step."""
    muon_learning_rate: float = Field(
        default=3e-2, gt=0, title="Peak learning rate of Muon", json_schema_extra={"advanced": True}
    )
    """Highest learning rate of Muon, which updates the weight matrices; it decays to zero at the last step."""
    validation_subjects: int = Field(
        default=30, ge=0, title="Validation subjects", json_schema_extra={"unit": "subjects"}
    )
    """Subjects held out for validation."""
    seed: Seed = 0
    device: Device = "auto"
    precision: Precision = "auto"
    checkpoint_minutes: float = Field(
        default=4.0, gt=0, title="Checkpoint every", json_schema_extra={"unit": "min", "advanced": True}
    )
    """Minutes between two checkpoints."""


class DistillRequest(BaseRequest):
    """Distil a model: train a copy that generates in a few sampling steps and needs no guidance."""

    job: Literal["distill"] = "distill"
    model: str = Field(default="ixi-2mm", title="Model", json_schema_extra={"path": True})
    """The model to distil: name of a packaged one or of a training run, or path of a model folder or checkpoint."""
    num_samples: int = Field(default=64, ge=4, title="Number of samples")
    """Brains that the model generates to learn from; one in sixteen is held out to measure the difference."""
    seed: Seed = 0
    condition: dict[str, Asked] = Field(default_factory=dict, title="Conditions")
    """Conditions of these brains, as FIELD=VALUE in the fields of the model; see `generate`."""
    conditions: Path | None = Field(default=None, title="Conditions table")
    """Table of their conditions (`.csv`, `.tsv`): one column per field, one row per brain; after the last row the first
    follows. Include all kinds of conditions that you will use later; rows may be empty."""
    steps: int | tuple[int, ...] = Field(default=4, title="Sampling steps")
    """Sampling steps of the levels that are distilled: one number for all, or one for each, the coarsest first."""
    first_level: int | None = Field(default=None, ge=0, title="First level")
    """The first level to distil, 0 is the coarsest; all finer ones are, too. By default the first that was trained on
    patches. Those before it keep their weights and guidance."""
    other_steps: int | None = Field(default=None, ge=1, le=1000, title="Steps of other levels")
    """Largest number of sampling steps of the levels before; by default that of the model."""
    training_steps: int = Field(default=600, ge=1, title="Training steps")
    """Training steps of each level."""
    batch_size: int = Field(default=2, ge=1, title="Batch size")
    """Brains of each training step."""
    learning_rate: float = Field(default=2e-4, gt=0, title="Learning rate")
    """Learning rate, which falls to zero over the last half."""
    out: Path | None = Field(default=None, title="Output", json_schema_extra={"cli_default": "distilled"})
    """Folder of the new model."""
    overwrite: Overwrite = False
    device: Device = "auto"
    precision: Precision = "auto"

    _steps = field_validator("steps")(by_level)
