"""What a job can be asked: the same typed request from the command line, the plugin and a script."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


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
    """`T1`, `T2`, ...; `T1,T2,PD` are the channels of one volume a subject, `T1/T2/PD` are volumes of their own, and
    a model trained on them can be asked for one."""
    spacing: float = Field(default=2.0, gt=0)
    """Millimetres, isotropic."""
    shape: tuple[int, int, int] | None = None
    """Voxels of the box (x, y, z), by default what holds 160 x 208 x 176 mm."""
    skull: Literal["strip", "keep"] | None = None
    """None strips where there are labels; `strip` without labels reads the brains first (T1w only)."""
    subjects: tuple[str, ...] | None = None
    """Only these; None takes all that were found."""
    workers: int = Field(default=0, ge=0)
    """Processes; 0 takes one a core."""


class InspectRequest(_Request):
    """Look at every volume of a folder: who it is of, and what is odd about it. Nothing is prepared."""

    job: Literal["inspect"] = "inspect"
    data_dir: Path
    """IXI folder, BIDS dataset or any folder of volumes."""
    labels: Path | None = None
    """Folder of region label maps, matched by subject."""
    participants: Path | None = None
    """`IXI.xls`, or a table (`.tsv`, `.csv`, `.xls`) with id, age and sex."""
    modality: str = "T1"
    """As `PrepareRequest` has it."""
    workers: int = Field(default=0, ge=0)
    """Processes; 0 takes one a core."""


class TrainRequest(_Request):
    """Train a model on a prepared cohort, or on a folder that is prepared first."""

    job: Literal["train"] = "train"
    data: Path
    """A prepared cohort (`.zarr`) or a folder that `prepare` understands."""
    preset: str = "auto"
    """`tiny`, `laptop`, `gpu-8gb`, `gpu-24gb`, `gpu-80gb`, or path of a file of your own; `auto` takes what suits the
    device. See `braindiffusion.training.presets`."""
    start_from: str | None = None
    """Name or path of a model to begin from (fine-tuning): its network and its conditions, the preset's recipes. The
    cohort must be prepared as its own was."""
    batch_size: int | None = Field(default=None, ge=1)
    """Patches (or whole volumes) at once, of each process; None takes the preset's."""
    accumulate: int | None = Field(default=None, ge=1)
    """Batches that make one step; None takes the preset's."""
    patch: int | None = Field(default=None, ge=4)
    """Edge of the patches that levels without attention learn from, in coefficients (at the finest level one is two
    voxels); None takes the preset's."""
    epochs: float | None = Field(default=None, gt=0)
    """Passes over the training subjects, at every level; None takes the preset's."""
    levels: tuple[int, ...] | None = None
    """Train only these levels of the cascade (0 is the coarsest); None trains all, coarse first."""
    conditions: tuple[str, ...] | None = None
    """What the model can be asked for later: `age`, `sex`, `site`, `modality`, `volumes`, `regions`; None takes all
    that the cohort tells, none at all learns to make brains and nothing else."""
    validation_subjects: int | None = Field(default=None, ge=0)
    """Subjects kept aside; None keeps a fifth."""
    patience: int | None = Field(default=None, ge=1)
    """Stop a level after so many validations without a better one; None takes the preset's."""
    checkpointing: bool = False
    """Compute twice rather than remember: less memory, a third more time."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """Where torchrun or SLURM started several processes: each holds the whole model, or a part of it."""
    seed: int = 0
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `mps`."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    checkpoint_minutes: float = Field(default=2.0, gt=0)
    sample_minutes: float = Field(default=5.0, gt=0)
    """A sample is made this often, as soon as every level has begun to learn."""


class TrainReaderRequest(_Request):
    """Train a reader: regions, mask, embedding and age of any head."""

    job: Literal["train-reader"] = "train-reader"
    data: Path
    """A cohort (`.zarr`) prepared with the skull, with label maps, and with room around the box."""
    steps: int = Field(default=3000, ge=1)
    batch_size: int = Field(default=2, ge=1)
    """Windows a step; every other one is stripped."""
    window: tuple[int, int, int] = (40, 48, 48)
    """Voxels of a window, multiples of 8."""
    learning_rate: float = Field(default=3e-3, gt=0)
    """At its highest; it falls to zero with the last step."""
    validation_subjects: int = Field(default=30, ge=0)
    seed: int = 0
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    checkpoint_minutes: float = Field(default=4.0, gt=0)


class ReadRequest(_Request):
    """Read brains: regions, mask, volumes, age."""

    job: Literal["read"] = "read"
    input: Path
    """A T1w volume, or a folder of them."""
    out: Path
    """Where the label map of a volume goes (`.nii.gz`); a folder for a folder."""
    model: str = "ixi-2mm-regions"


class GenerateRequest(_Request):
    """Make brains."""

    job: Literal["generate"] = "generate"
    model: str = "ixi-2mm"
    """Name of a packaged model, or path of a model folder, a checkpoint or a training run."""
    num_samples: int = Field(default=1, ge=1)
    seed: int = 0
    """Sample i has seed `seed + i`: it is the same brain however many are asked for."""
    condition: dict[str, float | str | dict[str, float | str]] = Field(default_factory=dict)
    """What to make, in the model's own fields; see `braindiffusion.conditions`."""
    conditions: Path | None = None
    """Table (`.csv`, `.tsv`) of conditions, a row a sample; after its last row comes its first again. `condition` holds
    wherever the row says nothing."""
    guidance: float = Field(default=1.0, ge=0)
    """Scale: 1 makes what the model has learnt of the condition, more exaggerates it."""
    guidance_interval: tuple[float, float] | None = None
    """Guide only between these noise levels (sigma); None guides at all of them."""
    guidance_rescale: float = Field(default=0.0, ge=0, le=1)
    """How much of the contrast that guidance changed is given back."""
    guidance_fields: tuple[str, ...] | None = None
    """Guide by these fields alone; None guides by all that is asked."""
    autoguidance: str | None = None
    """A weaker version of the model, such as an earlier checkpoint: guide away from what it makes (Karras et al. 2024)
    instead of away from what is made unasked."""
    sampler: str | None = None
    """`ddim`, `dpmpp_2m`, `heun` ...; None takes the model's own."""
    steps: int | tuple[int, ...] | None = None
    """Sampler steps at each level, or a number for each level; None takes the model's own."""
    levels: int | None = Field(default=None, ge=1)
    """Run only so many levels of the cascade, coarse first: a blurred brain in a second or two. None runs all."""
    eta: float = Field(default=0.0, ge=0.0, le=1.0)
    """DDIM's eta: 0 deterministic, 1 ancestral."""
    batch_size: int = Field(default=1, ge=1)
    """Samples made at once. Their numbers decide who is in a batch, so that who is there already changes nothing."""
    only: tuple[int, ...] | None = None
    """Write only the samples of these numbers, from 1; None writes all."""
    out: Path | None = None
    """Folder of the volumes; None writes into the run's `results`. What the same request has made there already is left
    as it is."""
    overwrite: bool = False
    """Make again what is there already, and write over what another request has made there."""
    previews: bool = False
    """Write a preview after steps (plugin)."""
    trajectory: bool = False
    """Keep the way from noise to brain as one 4D NIfTI a sample."""
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"

    @field_validator("steps")
    @classmethod
    def _some(cls, steps: int | tuple[int, ...] | None) -> int | tuple[int, ...] | None:
        by_level = (steps,) if isinstance(steps, int) else steps
        if by_level is None:
            return None
        if min(by_level, default=0) < 1:
            msg = "Each level needs at least 1 step"
            raise ValueError(msg)
        return by_level if len(by_level) > 1 else by_level[0]


class PreviewRequest(_Request):
    """Show soon, and coarsely, what a generation would make (plugin). Nothing of it is kept."""

    job: Literal["preview"] = "preview"
    request: GenerateRequest
    """Of its brains, the first."""


class RegenerateRequest(_Request):
    """Make the very same brain again, to the last bit on a machine of the same kind."""

    job: Literal["regenerate"] = "regenerate"
    like: Path
    """The JSON sidecar of the brain."""
    out: Path | None = None
    """Folder of the volume; None writes into the run's `results`."""
    device: str = "auto"
    previews: bool = False
    """Write a preview after steps (plugin)."""


class EvaluateRequest(_Request):
    """Compare generated brains with real ones."""

    job: Literal["evaluate"] = "evaluate"
    real: tuple[Path, ...] = Field(min_length=1)
    """Prepared cohorts (`.zarr`), folders of volumes, or volumes."""
    generated: tuple[Path, ...] = Field(min_length=1)
    """The same, or runs of `generate`."""
    out: Path | None = None
    """Folder of the report; None writes into the run's `results`."""
    model: str | None = None
    """Its card tells who was trained on and who was held out; None takes the packaged model that the sidecars name."""
    labels: Path | None = None
    """Folder of region label maps of the real volumes."""
    reader: str = "auto"
    """Measures regions, age and embedding: a name or a path; `auto` takes the packaged one where it fits, `none` leaves
    out what needs one."""
    features: tuple[Path, ...] = ()
    """More features: tables (`.csv`, `.npz`, `.npy`) or weights of MedicalNet or RadImageNet."""
    pairs: int = Field(default=100, ge=1)
    """Pairs of brains whose likeness tells of diversity, in each group."""
    repeats: int = Field(default=500, ge=10)
    """Of every bootstrap."""
    seed: int = 0
    """Of every draw."""


class NearestRequest(_Request):
    """Find the real people who are most like one brain."""

    job: Literal["nearest"] = "nearest"
    brain: Path
    """A volume."""
    real: tuple[Path, ...] = Field(min_length=1)
    """Prepared cohorts (`.zarr`), folders of volumes, or volumes."""
    model: str | None = None
    """Its card tells who was trained on and who was held out; None takes the packaged model that the sidecar names."""
    labels: Path | None = None
    """Folder of region label maps of the real volumes."""


class DifferenceRequest(_Request):
    """Where two volumes differ."""

    job: Literal["difference"] = "difference"
    first: Path
    second: Path
    """Taken from the first."""
    out: Path | None = None
    """The file; None writes into the run's `results`."""
    align: Literal["world", "centre"] = "world"
    """`world` compares what lies at the same millimetres, `centre` lays the middles of both brains together."""
    scale: Literal["auto", "none", "own"] = "auto"
    """Intensities as they are stored (`none`), or each as a share of its own range (`own`); `auto` takes the first
    where both ranges are alike."""


FigureName = Literal["volume", "slices", "compare", "process", "regions"]


class VisualizeRequest(_Request):
    """Draw volumes as a page for the browser."""

    job: Literal["visualize"] = "visualize"
    figure: FigureName = "volume"
    paths: tuple[Path, ...] = Field(min_length=1)
    """One volume; `compare` takes two to four, `regions` a volume and its label map."""
    out: Path | None = None
    """The file; None writes into the run's `results`."""
    channel: int = Field(default=0, ge=0)


class EstimateRequest(_Request):
    """Tell what a training or a generation will take on this device, and do not begin it."""

    job: Literal["estimate"] = "estimate"
    of: TrainRequest | GenerateRequest = Field(discriminator="job")


class DemoRequest(_Request):
    """Generate one brain with the packaged model, with its trajectory."""

    job: Literal["demo"] = "demo"
    out: Path | None = None
    seed: int = 0


Request = Annotated[
    PrepareRequest
    | InspectRequest
    | TrainRequest
    | TrainReaderRequest
    | ReadRequest
    | GenerateRequest
    | PreviewRequest
    | RegenerateRequest
    | EvaluateRequest
    | NearestRequest
    | DifferenceRequest
    | VisualizeRequest
    | EstimateRequest
    | DemoRequest,
    Field(discriminator="job"),
]
