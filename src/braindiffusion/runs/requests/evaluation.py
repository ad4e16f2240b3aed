"""Requests to compare volumes: generated with real brains, one brain with a cohort, two volumes."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from braindiffusion.runs.requests.base import BaseRequest, JudgedModel, Overwrite, RealBrains, RealLabels, Seed


class EvaluateRequest(BaseRequest):
    """Compare generated brains with real ones: quality, diversity, memorization, condition adherence."""

    job: Literal["evaluate"] = "evaluate"
    real: RealBrains
    generated: tuple[Path, ...] = Field(min_length=1, title="Generated brains")
    """Generated brains: prepared cohorts (`.zarr`), folders of volumes, volumes, or runs that generated some."""
    out: Path | None = Field(default=None, title="Output", json_schema_extra={"cli_default": "report"})
    """Folder of the report (`report.html`, `evaluation.json`)."""
    model: JudgedModel = None
    labels: RealLabels = None
    segmentation_model: str = Field(
        default="auto",
        title="Segmentation model",
        json_schema_extra={"choices": ["auto", "none"], "path": True},
    )
    """Segmentation model that measures regions, age and embedding of all brains: a name or a path; `auto` takes the
    packaged one where it fits, `none` leaves out the metrics that need one."""
    features: tuple[Path, ...] = Field(default=(), title="Features", json_schema_extra={"advanced": True})
    """Further features to compare the brains by: tables (`.csv`, `.npz`, `.npy`), or weights of MedicalNet or
    RadImageNet."""
    uncnn: bool = Field(default=False, title="Untrained encoder", json_schema_extra={"advanced": True})
    """Also compare the brains by un-CNN, a network of fixed random weights, for volumes of 2 mm: about seven seconds
    each on a core. It needs the extra `uncnn` of this package."""
    pairs: int = Field(default=100, ge=1, title="Diversity pairs", json_schema_extra={"advanced": True})
    """Pairs of brains in each group whose similarity measures diversity. More take longer and are more precise."""
    repeats: int = Field(default=500, ge=10, title="Bootstrap repeats", json_schema_extra={"advanced": True})
    """Repeats of the bootstrap behind each confidence interval. More take longer and are more precise."""
    seed: Seed = Field(default=0, json_schema_extra={"advanced": True})
    """Seed of the random pairs and of the bootstrap."""
    overwrite: Overwrite = False


class NearestRequest(BaseRequest):
    """Find the training brain and the held-out brain that are most similar to one brain: is it a copy?"""

    job: Literal["nearest"] = "nearest"
    brain: Path = Field(title="Brain", json_schema_extra={"positional": True})
    """A generated volume, or any other."""
    real: RealBrains
    model: JudgedModel = None
    labels: RealLabels = None


class DifferenceRequest(BaseRequest):
    """Subtract one volume from another, on the finer of their grids."""

    job: Literal["difference"] = "difference"
    first: Path = Field(title="First volume", json_schema_extra={"positional": True})
    """A NIfTI or MGH volume."""
    second: Path = Field(title="Second volume", json_schema_extra={"positional": True})
    """The volume that is subtracted from it."""
    out: Path | None = Field(default=None, title="Output", json_schema_extra={"cli_default": "difference.nii.gz"})
    """The file to write (`.nii.gz`, `.nii`), with a JSON file that states the unit."""
    align: Literal["world", "centre"] = Field(default="world", title="Align")
    """`world` compares what is at the same position in mm, `centre` aligns the centers of both brains first."""
    scale: Literal["auto", "none", "own"] = Field(default="auto", title="Intensity scaling")
    """`none` takes intensities as they are stored, `own` divides each by its own range; `auto` takes `none` where both
    ranges are alike."""
    overwrite: Overwrite = False
