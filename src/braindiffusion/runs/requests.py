"""What a job can be asked: the same typed request from the command line, the plugin and a script."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PrepareRequest(_Request):
    """Turn a folder of volumes into a prepared cohort (Zarr)."""

    job: Literal["prepare"] = "prepare"
    data_dir: Path
    """IXI folder, BIDS dataset or any folder of volumes."""
    out: Path
    """The Zarr store to write. A half-written one is continued."""
    labels: Path | None = None
    """Folder of region label maps, matched by subject."""
    participants: Path | None = None
    """`IXI.xls`, or a table (`.tsv`, `.csv`, `.xls`) with id, age and sex."""
    modality: str = "T1"
    spacing: float = Field(default=2.0, gt=0)
    """Millimetres, isotropic."""
    shape: tuple[int, int, int] | None = None
    """Voxels of the box (x, y, z), by default what holds 160 x 208 x 176 mm."""
    skull: Literal["strip", "keep"] | None = None
    """`strip` needs labels; None strips where there are labels."""
    subjects: tuple[str, ...] | None = None
    """Only these; None takes all that were found."""
    workers: int = Field(default=0, ge=0)
    """Processes; 0 takes one a core."""


class TrainRequest(_Request):
    """Train a model on a prepared cohort, or on a folder that is prepared first."""

    job: Literal["train"] = "train"
    data: Path
    """A prepared cohort (`.zarr`) or a folder that `prepare` understands."""
    preset: str = "laptop"
    """`tiny`, `laptop` or `workstation`: see `braindiffusion.training.presets`."""
    batch_size: int | None = Field(default=None, ge=1)
    """Patches (or whole volumes) a step; None takes the preset's."""
    epochs: float | None = Field(default=None, gt=0)
    """Passes over the training subjects, at every level; None takes the preset's."""
    levels: tuple[int, ...] | None = None
    """Train only these levels of the cascade (0 is the coarsest); None trains all, coarse first."""
    conditions: tuple[str, ...] | None = None
    """What the model can be asked for later: `age`, `sex`, `site`, `modality`, `volumes`, `regions`; None takes all
    that the cohort tells, none at all learns to make brains and nothing else."""
    validation_subjects: int | None = Field(default=None, ge=0)
    """Subjects kept aside; None keeps a fifth."""
    seed: int = 0
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `mps`."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    checkpoint_minutes: float = Field(default=2.0, gt=0)
    sample_minutes: float = Field(default=5.0, gt=0)
    """A sample is made this often, as soon as every level has begun to learn."""


class GenerateRequest(_Request):
    """Make brains."""

    job: Literal["generate"] = "generate"
    model: str = "ixi-2mm"
    """Name of a packaged model, or path of a model folder, a checkpoint or a training run."""
    num_samples: int = Field(default=1, ge=1)
    seed: int = 0
    """Sample i has seed `seed + i`: it is the same brain however many are asked for."""
    steps: int | None = Field(default=None, ge=1)
    """Sampler steps at each level; None takes the model's own."""
    eta: float = Field(default=0.0, ge=0.0, le=1.0)
    """DDIM's eta: 0 deterministic, 1 ancestral."""
    batch_size: int = Field(default=1, ge=1)
    out: Path | None = None
    """Folder of the volumes; None writes into the run's `results`."""
    previews: bool = False
    """Write a preview after steps (plugin)."""
    trajectory: bool = False
    """Keep the way from noise to brain as one 4D NIfTI a sample."""
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"


class DemoRequest(_Request):
    """Generate one brain with the packaged model, with its trajectory."""

    job: Literal["demo"] = "demo"
    out: Path | None = None
    seed: int = 0


Request = Annotated[
    PrepareRequest | TrainRequest | GenerateRequest | DemoRequest,
    Field(discriminator="job"),
]
