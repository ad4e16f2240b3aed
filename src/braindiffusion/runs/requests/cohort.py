"""Requests about folders of volumes: preprocess them into a cohort, or check them."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from braindiffusion.runs.requests.base import BaseRequest, DataFolder, LabelFolder, Modality, Participants, Workers


class PrepareRequest(BaseRequest):
    """Preprocess a folder of volumes into a cohort (one Zarr store). A half-written store is continued."""

    job: Literal["prepare"] = "prepare"
    data_dir: DataFolder
    out: Path = Field(title="Output")
    """The cohort to write (`.zarr`). A half-written one is continued."""
    labels: LabelFolder = None
    participants: Participants = None
    table: tuple[Path, ...] = Field(default=(), title="Tables of numbers")
    """Table of numbers (`.tsv`, `.csv`, `.xlsx`) with one row per subject, such as embeddings or scores: its columns
    become a condition of the model, which has the name of the file."""
    modality: Modality = "T1"
    spacing: float = Field(default=2.0, gt=0, title="Voxel size", json_schema_extra={"unit": "mm", "decimals": 2})
    """Edge of the isotropic voxels that all volumes are resampled to, in mm."""
    shape: tuple[int, int, int] | None = Field(
        default=None, title="Grid size", json_schema_extra={"unit": "voxels", "advanced": True}
    )
    """Voxels (x, y, z) that all volumes are cropped or padded to; by default those of a box of 160 x 208 x 176 mm."""
    skull: Literal["strip", "keep"] | None = Field(default=None, title="Skull")
    """`strip` removes what is not brain, `keep` keeps the head; by default it is stripped if there are label maps.
    `strip` without label maps segments the brains first (T1w only)."""
    subjects: tuple[str, ...] | None = Field(default=None, title="Subjects", json_schema_extra={"cli": ["--subject"]})
    """Take only these subjects; by default all that are found."""
    workers: Workers = 0


class InspectRequest(BaseRequest):
    """Check every volume of a folder: its subject, its geometry, and warnings. Nothing is preprocessed."""

    job: Literal["inspect"] = "inspect"
    data_dir: DataFolder
    labels: LabelFolder = None
    participants: Participants = None
    modality: Modality = "T1"
    workers: Workers = 0
