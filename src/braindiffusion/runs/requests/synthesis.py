"""The request to generate a whole cohort."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from braindiffusion.runs.requests.base import Asked, BaseRequest, Device, Overwrite, Precision, Seed

MOST = 1_000_000
"""Most subjects of a cohort: the seeds of redrawn subjects begin above those of all others."""


class SynthesizeRequest(BaseRequest):
    """Generate a cohort as a BIDS dataset with region maps, a table of participants and a report."""

    job: Literal["synthesize"] = "synthesize"
    model: str = Field(
        default="ixi-2mm", title="Model", json_schema_extra={"cli": ["--model", "--model-path"], "path": True}
    )
    """Name of a packaged model or of a training run, or path of a model folder, a checkpoint or a run."""
    num: int = Field(
        default=20,
        ge=1,
        le=MOST,
        title="Number of subjects",
        json_schema_extra={"cli": ["--num", "--num-subjects"]},  # torchrun takes --num for its own --numa-binding
    )
    """Number of subjects. Subject i is the same for any number: a finished cohort can be enlarged later."""
    age: str | None = Field(default=None, title="Age range", json_schema_extra={"unit": "years"})
    """Ages, such as `20:80`: each subject's age is drawn from this range, all equally likely. By default the range of
    the model's training subjects; none for a model without ages."""
    sex: Literal["balanced", "F", "M"] | None = Field(
        default=None,
        title="Sex",
        json_schema_extra={
            "choices": {
                "balanced": "As many women as men, in random order.",
                "F": "Women only.",
                "M": "Men only.",
            }
        },
    )
    """Sex of the subjects: `balanced`, `F` or `M`. By default balanced; none for a model without sexes."""
    condition: dict[str, Asked] = Field(default_factory=dict, title="Conditions")
    """Conditions of all subjects, as FIELD=VALUE in the fields of the model, beside age and sex."""
    seed: Seed = 0
    """Seed of the cohort. Everything about a subject follows from this seed and the number of the subject."""
    reference: Path | None = Field(default=None, title="Reference cohort")
    """Prepared cohort (`.zarr`) with the subjects that the model was trained on. A brain that is too close to one of
    them is generated again with another seed. Without it, nothing is compared, and the report says so."""
    voxels_only: bool = Field(default=False, title="Compare voxels only", json_schema_extra={"advanced": True})
    """Compare brains by their low-pass voxels only, without the embedding of the segmentation model, which takes two
    seconds per brain of the reference on a core. Redraws are decided by the voxels either way."""
    redraws: int = Field(default=3, ge=0, le=100, title="Most redraws", json_schema_extra={"advanced": True})
    """How often a subject is generated again before it is left out."""
    guidance: float | None = Field(default=None, ge=0, title="Guidance scale", json_schema_extra={"advanced": True})
    """Strength of the conditions; by default the model's own. Guidance doubles the time."""
    fast: bool | None = Field(default=None, title="Fast")
    """Take less time, as the model's card sets it: by a distilled model, or by fewer sampling steps and less guidance.
    By default a distilled model is used if the model has one and guidance is not set."""
    levels: int | None = Field(default=None, ge=1, title="Levels", json_schema_extra={"advanced": True})
    """Sample only this many levels of the cascade, coarse to fine: blurred brains in a second or two; by default
    all."""
    batch_size: int = Field(default=1, ge=1, title="Batch size", json_schema_extra={"advanced": True})
    """Subjects that are generated at once: more need more memory."""
    out: Path | None = Field(
        default=None, title="BIDS dataset", json_schema_extra={"cli": ["--bids", "--out"], "cli_default": "synthetic"}
    )
    """Folder of the dataset: new, empty, or one that this command began, which is continued."""
    device: Device = "auto"
    precision: Precision = "auto"
    overwrite: Overwrite = False

    @field_validator("age")
    @classmethod
    def _range(cls, age: str | None) -> str | None:
        if age is not None:
            age_range(age)
        return age


def age_range(age: str) -> tuple[float, float]:
    """Return the ends of a range such as `20:80`, in years.

    Raises:
        ValueError: it is no range.
    """
    try:
        low, high = (float(end) for end in age.split(":"))
    except ValueError:
        raise ValueError("A range is two numbers with a colon between, such as 20:80") from None
    if not 0 <= low <= high < 150:  # false for NaN, too
        raise ValueError("A range goes from the younger to the older age, such as 20:80")
    return low, high
