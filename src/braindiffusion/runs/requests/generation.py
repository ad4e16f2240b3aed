"""Requests to generate brains: new ones, previews, the same one again."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from braindiffusion.runs.requests.base import Asked, BaseRequest, Device, Overwrite, Precision, Seed, by_level

DISTILLED = ("steps", "sampler", "guidance", "guidance_interval", "guidance_rescale", "guidance_fields", "autoguidance")
"""Settings that a distilled model has learnt with: it takes no others."""


class GenerateRequest(BaseRequest):
    """Generate brains: a NIfTI file each, with a JSON sidecar."""

    job: Literal["generate"] = "generate"
    model: str = Field(
        default="ixi-2mm", title="Model", json_schema_extra={"cli": ["--model", "--model-path"], "path": True}
    )
    """Name of a packaged model or of a training run, or path of a model folder, a checkpoint or a run."""
    num_samples: int = Field(default=1, ge=1, title="Number of samples")
    """Number of brains to generate. Sample i (from 0) uses seed + i, and is the same brain for any number of
    samples."""
    seed: Seed = 0
    """Seed of the first sample; sample i uses seed + i. The same seed, model and settings give the same brain."""
    condition: dict[str, Asked] = Field(default_factory=dict, title="Conditions")
    """Conditions, as FIELD=VALUE in the fields of the model: `age=63`, `sex=F`,
    `volumes.left hippocampus=90%`, `regions=labels.nii.gz`, `embeddings=TABLE.tsv#ROW`. The model decides on a field
    that is left out."""
    conditions: Path | None = Field(default=None, title="Conditions table")
    """Table of conditions (`.csv`, `.tsv`): one column per field, one row per sample; after the last row the first
    follows. Where a cell is empty, the condition that is given for all samples holds."""
    anatomy: Literal["sampled", "generated", "none"] | None = Field(
        default=None,
        title="Anatomy",
        json_schema_extra={
            "choices": {
                "sampled": "Deform the region map of a training subject that fits the conditions.",
                "generated": "Generate a region map: the shape of a sampled one, with folds of its own.",
                "none": "Generate without a region map.",
            }
        },
    )
    """Region map of a brain for which none is given: `sampled` deforms the map of a training subject that fits the age,
    sex and volumes, at random; `generated` keeps the shape of such a map and generates its folds by a model of region
    maps; `none` leaves the anatomy to the model. By default `sampled` where the model has maps."""
    segmentation: bool = Field(default=False, title="Save region map")
    """Save a label map of 40 regions beside each brain: the region map that it was generated from, or else what the
    segmentation model finds in it."""
    guidance: float | None = Field(default=None, ge=0, title="Guidance scale")
    """Strength of the conditions: 1 samples what the model has learned, higher values exaggerate it, at twice the
    time. By default the model's own."""
    guidance_interval: tuple[float, float] | None = Field(
        default=None, title="Guidance interval", json_schema_extra={"unit": "sigma", "advanced": True}
    )
    """Guide only between these two noise levels (sigma); by default at all of them."""
    guidance_rescale: float = Field(
        default=0.0, ge=0, le=1, title="Guidance rescale", json_schema_extra={"advanced": True}
    )
    """Share of the contrast changed by guidance that is restored, from 0 (none) to 1 (all)."""
    guidance_fields: tuple[str, ...] | None = Field(
        default=None,
        title="Guided conditions",
        json_schema_extra={"cli": ["--guidance-field", "--guidance-fields"], "advanced": True},
    )
    """Guide only by these conditions; by default by all that are given, or at the model's own scale by the model's
    own."""
    autoguidance: str | None = Field(
        default=None, title="Autoguidance model", json_schema_extra={"path": True, "advanced": True}
    )
    """A weaker version of the model, such as an earlier checkpoint: guide away from its estimate instead of away from
    the unconditional one (Karras et al. 2024)."""
    sampler: str | None = Field(
        default=None,
        title="Sampler",
        json_schema_extra={
            "choices": {
                "ddim": "First order, deterministic unless eta is above 0.",
                "ddpm": "Ancestral: adds fresh noise at each step, needs many steps.",
                "dpmpp_2m": "DPM-Solver++(2M): second order at one evaluation a step, good with few steps.",
                "heun": "Second order, two evaluations a step: accurate and twice as slow.",
                "euler_flow": "Euler along the flow from noise to brain.",
            }
        },
    )
    """Sampler: `ddim`, `ddpm`, `dpmpp_2m`, `heun` or `euler_flow`; by default the model's own."""
    steps: int | tuple[int, ...] | None = Field(default=None, title="Sampling steps")
    """Sampling steps at each level, one number for all or one for each; by default the model's own. More are slower
    and, up to a point, better."""
    fast: bool | None = Field(default=None, title="Fast")
    """Take less time, as the model's card sets it: by a distilled model, or by fewer sampling steps and less guidance.
    By default a distilled model is used if the model has one, the brains have region maps, and sampler, steps and
    guidance are not set."""
    levels: int | None = Field(default=None, ge=1, title="Levels", json_schema_extra={"advanced": True})
    """Sample only this many levels of the cascade, coarse to fine: a blurred brain in a second or two; by default
    all."""
    eta: float = Field(default=0.0, ge=0.0, le=1.0, title="Eta")
    """Noise added at each step of the sampler `ddim`: 0 is deterministic, 1 is ancestral."""
    batch_size: int = Field(default=1, ge=1, title="Batch size", json_schema_extra={"advanced": True})
    """Samples that are generated at once: more need more memory. The brains do not depend on it."""
    only: tuple[int, ...] | None = Field(default=None, title="Sample numbers", json_schema_extra={"advanced": True})
    """Write only the samples with these numbers, counted from 1; by default all."""
    out: Path | None = Field(default=None, title="Output", json_schema_extra={"cli_default": "generated"})
    """Folder of the volumes. Brains that the same request has generated there are not generated again."""
    overwrite: bool = Field(default=False, title="Overwrite", json_schema_extra={"advanced": True})
    """Generate existing brains again, and overwrite files of these names that another request generated, or that
    BrainDiffusion did not write. Inputs are never overwritten."""
    previews: bool = Field(default=False, title="Write previews", json_schema_extra={"advanced": True})
    """Write a preview of the brain while it is sampled."""
    trajectory: bool = Field(default=False, title="Save denoising trajectory")
    """Save the volume of every sampling step, from noise to brain, as one 4D NIfTI file per brain."""
    trajectory_shows: Literal["denoised", "noisy"] = Field(
        default="denoised",
        title="Trajectory shows",
        json_schema_extra={
            "advanced": True,
            "choices": {
                "denoised": "The estimate of the brain at each step.",
                "noisy": "The noisy sample of each step, scaled to one contrast.",
            },
        },
    )
    """Volumes of a denoising trajectory: the denoised estimates or the noisy samples. The first is the initial noise
    and the last the brain either way."""
    grid: Path | None = Field(default=None, title="Place on grid of", json_schema_extra={"advanced": True})
    """Volume on whose grid each brain is written, resampled and over that volume's brain, or over the region map that
    conditions it. By default brains keep the model's voxels; a region map moves them to its position."""
    device: Device = "auto"
    precision: Precision = "auto"

    _steps = field_validator("steps")(by_level)

    @property
    def suits_distilled(self) -> bool:
        """Whether a distilled model can take the place of its teacher: it has learnt all of what is asked for."""
        defaults = {name: type(self).model_fields[name].default for name in DISTILLED}
        return self.anatomy != "none" and all(getattr(self, name) == value for name, value in defaults.items())


class PreviewRequest(BaseRequest):
    """Show at low resolution, within seconds, what a generation would make (plugin). Nothing of it is kept."""

    job: Literal["preview"] = "preview"
    request: GenerateRequest
    """The generation; its first brain is previewed."""


class RegenerateRequest(BaseRequest):
    """Generate the same brain again, to the last bit on a machine of the same kind, and check that it is identical."""

    command: ClassVar[str] = "generate"
    job: Literal["regenerate"] = "regenerate"
    like: Path = Field(title="Sidecar", json_schema_extra={"cli": ["--reproduce", "--like"]})
    """JSON sidecar of the brain to reproduce; it decides everything but output and device."""
    out: Path | None = Field(default=None, title="Output", json_schema_extra={"cli_default": "generated"})
    """Folder of the volume."""
    device: Device = "auto"
    previews: bool = Field(default=False, title="Write previews", json_schema_extra={"advanced": True})
    """Write a preview of the brain while it is sampled."""
    overwrite: Overwrite = False


class DemoRequest(BaseRequest):
    """Generate one brain with the packaged model, with its denoising trajectory."""

    job: Literal["demo"] = "demo"
    out: Path | None = Field(default=None, title="Output", json_schema_extra={"cli_default": "demo"})
    """Folder of the volumes."""
    seed: Seed = 0
    """Seed of the brain."""
    overwrite: Overwrite = False
