"""The request to segment volumes."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from braindiffusion.runs.requests.base import BaseRequest, Overwrite


class SegmentRequest(BaseRequest):
    """Segment brains: a map of 40 regions, the brain mask, and a table of volumes (ml) and age."""

    job: Literal["segment"] = "segment"
    input: Path = Field(title="Input", json_schema_extra={"positional": True})
    """A T1w volume, whole head or skull-stripped, or a folder of them."""
    out: Path = Field(title="Output")
    """The label map to write (`.nii.gz`); a folder for a folder of volumes."""
    model: str = Field(default="ixi-2mm-regions", title="Segmentation model", json_schema_extra={"path": True})
    """Name of a packaged segmentation model, or path of one."""
    embedding: bool = Field(default=False, title="Write embeddings")
    """Write the embedding of each brain, too: a table with one row per subject, which `prepare` takes as a table of
    numbers."""
    overwrite: Overwrite = False
