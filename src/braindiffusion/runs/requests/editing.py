"""The requests on a real scan: to edit it, and to compare it with what a model expects of a healthy brain."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from braindiffusion.runs.requests.base import Asked, BaseRequest, Device, Overwrite, Precision, Seed, by_level

CHANGEABLE = ("age", "sex", "volumes")
"""Conditions of a model that a change of a brain can be about."""


class EditRequest(BaseRequest):
    """Regenerate the painted part of a scan, change the age of a brain, interpolate between two, or add resolution."""

    job: Literal["edit"] = "edit"
    scan: Path = Field(title="Scan", json_schema_extra={"positional": True})
    """A T1w volume, whole head or skull-stripped, of any voxel size and orientation."""
    mask: Path | None = Field(default=None, title="Mask")
    """Label map whose voxels other than 0 are regenerated, on the scan's grid or on another; by default the whole
    brain, whose coarse structure stays."""
    label: int | None = Field(default=None, ge=1, title="Label", json_schema_extra={"advanced": True})
    """Regenerate only voxels of the mask with this label."""
    change: dict[str, float | str | dict[str, float | str]] = Field(default_factory=dict, title="Change")
    """New values of the whole brain, as FIELD=VALUE: `age=75`, `sex=F`, `volumes.left hippocampus=2.5` (ml, or a
    percentile such as `10%`). In a sweep also a range, `age=20:80`."""
    second: Path | None = Field(default=None, title="Second scan")
    """A T1w volume of another brain. The levels from the first level on are generated from noise between those of both
    brains; coarser ones are those of the scan."""
    share: float = Field(default=1.0, ge=0, le=1, title="Share of the second scan")
    """Position between the two scans: 0 is the scan, 1 the second one."""
    super_resolution: bool = Field(default=False, title="Super-resolution")
    """Generate the levels that are finer than the voxels of the scan. The result has the voxel size of the model."""
    num_values: int = Field(default=1, ge=1, title="Values of a sweep")
    """Number of volumes of a sweep, from the brain as it is (or the lower end of a range) to the change, or to the
    share of the second scan. They are also written as one 4D volume, `sweep.nii.gz`; 1 is no sweep."""
    num_proposals: int = Field(default=1, ge=1, title="Proposals")
    """Number of proposals. Proposal i (from 0) uses seed + i."""
    seed: Seed = 0
    """Seed of the first proposal. The same seed, model and settings give the same proposal."""
    first_level: int = Field(default=2, ge=0, title="First level")
    """Level of the model from which the painted part is generated. Coarser levels are not generated: 0 generates all of
    it, anatomy included; 3 fine detail only. With a change, the number of levels generates nothing: the brain is only
    deformed."""
    coarse: Literal["interpolated", "scan"] = Field(
        default="interpolated",
        title="Coarser levels",
        json_schema_extra={
            "choices": {
                "interpolated": "Interpolate the painted part from its surroundings; its own content is not used.",
                "scan": "Keep the coarse structure of what the scan shows: the same anatomy with other detail.",
            }
        },
    )
    """Content of the levels before the first one in the painted part: interpolated from its surroundings, or that of
    the scan. Without a mask, that of the scan."""
    anatomy: Literal["sampled", "surroundings", "scan", "none"] | None = Field(
        default=None,
        title="Region map",
        json_schema_extra={
            "choices": {
                "sampled": "Give the painted part the regions of a training subject that fit its surroundings.",
                "surroundings": "Segment the scan with the painted part interpolated from its surroundings.",
                "scan": "Segment the scan as it is: the painted part keeps its anatomy.",
                "none": "Leave the anatomy to the model.",
            }
        },
    )
    """Region map that guides the generation: in the painted part that of a training subject whose regions fit the
    surroundings (`sampled`; each seed takes another subject), or a segmentation of the scan with the painted part
    interpolated (`surroundings`) or as it is (`scan`); or `none`. By default `sampled` where a part is painted and the
    model has maps, `scan` where the detail of the whole brain is varied, else `none`."""
    guidance: float | None = Field(default=None, ge=0, title="Guidance scale", json_schema_extra={"advanced": True})
    """How strongly what is generated follows the region map and the conditions. By default 1, no guidance, in a painted
    part, and the model's own in a whole brain."""
    condition: dict[str, Asked] = Field(default_factory=dict, title="Conditions")
    """Conditions, as FIELD=VALUE in the fields of the model: `age=63`, `sex=F`. The model decides on a field that is
    left out. With a change, the present age and sex; an age that is left out is estimated from the scan."""
    resampling: int = Field(default=1, ge=1, le=20, title="Resampling", json_schema_extra={"advanced": True})
    """Passes through each noise level of the two coarsest levels (RePaint); the time grows in proportion."""
    steps: int | tuple[int, ...] | None = Field(
        default=None, title="Sampling steps", json_schema_extra={"advanced": True}
    )
    """Sampling steps at each level, one number for all or one for each; by default the model's own."""
    model: str = Field(
        default="ixi-2mm", title="Model", json_schema_extra={"cli": ["--model", "--model-path"], "path": True}
    )
    """Name of a packaged model or of a training run, or path of a model folder, a checkpoint or a run."""
    out: Path | None = Field(default=None, title="Output", json_schema_extra={"cli_default": "edited"})
    """Folder of the edited scans, `proposal_001.nii.gz` and so on, each with a JSON sidecar."""
    overwrite: Overwrite = False
    previews: bool = Field(default=False, title="Write previews", json_schema_extra={"advanced": True})
    """Write a preview of the proposal while it is sampled."""
    device: Device = "auto"
    precision: Precision = "auto"

    _steps = field_validator("steps")(by_level)


class AnomalyRequest(BaseRequest):
    """Map where a scan differs from what the model expects of a healthy brain of this age and sex."""

    job: Literal["anomaly"] = "anomaly"
    scan: Path = Field(title="Scan", json_schema_extra={"positional": True})
    """A T1w volume, whole head or skull-stripped, of any voxel size and orientation."""
    age: float | None = Field(default=None, ge=0, le=120, title="Age", json_schema_extra={"unit": "years"})
    """Age of the person in years; by default estimated from the scan."""
    sex: Literal["F", "M"] | None = Field(default=None, title="Sex")
    """Sex of the person; by default unknown."""
    num_seeds: int = Field(default=1, ge=1, le=50, title="Seeds", json_schema_extra={"advanced": True})
    """Number of noise seeds that the map is averaged over: more give a map with less noise, and the time grows in
    proportion."""
    seed: Seed = Field(default=0, json_schema_extra={"advanced": True})
    """First seed of the noise. The same seed, model and settings give the same map."""
    model: str = Field(
        default="ixi-2mm", title="Model", json_schema_extra={"cli": ["--model", "--model-path"], "path": True}
    )
    """Name of a packaged model, or path of a model folder with a normative table."""
    out: Path | None = Field(default=None, title="Output", json_schema_extra={"cli_default": "anomaly.nii.gz"})
    """The map to write (`.nii.gz`), on the voxels of the scan in canonical orientation (RAS+), in healthy spreads:
    above 0 the scan is brighter than expected, below 0 darker. A JSON sidecar holds the score."""
    overwrite: Overwrite = False
    device: Device = "auto"
