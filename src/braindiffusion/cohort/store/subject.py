"""What a cohort stores of one subject: a row of its table, and arrays."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field


class Subject(BaseModel):
    """One row of a cohort's table."""

    model_config = ConfigDict(frozen=True)

    id: str
    person: str = Field(default_factory=lambda row: str(row.get("id", "")).split("_ses-")[0])
    """Id of the person, the same in all volumes of one person; by default the id without its session."""
    age: float | None = None
    """Years."""
    sex: str | None = None
    """`M` or `F`."""
    site: str | None = None
    modality: str = "T1"
    source: str = ""
    """File name of the volume that this was prepared from; of channels, comma-separated."""
    input_hash: str = ""
    """Sha256 of the volumes' files and of the label map's."""


@dataclass(frozen=True)
class PreparedVolume:
    """The arrays of one subject.

    Attributes:
        volume: (C, x, y, z) float16 in [-1, 1], RAS+.
        mask: (x, y, z) bool, the brain (or the head, where no labels tell).
        labels: (x, y, z) unsigned integers, or None.
        affine: (4, 4) float64, voxel indices to mm.
        note: a sentence on what is odd; empty if nothing is. Not stored.
    """

    volume: NDArray[np.float16]
    mask: NDArray[np.bool_]
    labels: NDArray[np.unsignedinteger[Any]] | None
    affine: NDArray[np.float64]
    note: str = ""
