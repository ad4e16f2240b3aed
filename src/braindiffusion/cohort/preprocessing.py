"""What was done to every volume of a cohort, as one small record that travels with the store and with models."""

import hashlib
import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

BOX_MM = (160.0, 208.0, 176.0)
"""Right-left, posterior-anterior, inferior-superior: holds every adult brain, when centred on the brain."""


def box_shape(spacing: float) -> tuple[int, int, int]:
    """Voxels of the default box at a spacing in mm: multiples of 8, so that three Haar levels divide it."""
    x, y, z = (8 * math.ceil(side / spacing / 8 - 1e-6) for side in BOX_MM)
    return x, y, z


class Preprocessing(BaseModel):
    """Everything that decides the values of a prepared volume. Equal records prepare equal volumes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spacing: float = Field(default=2.0, gt=0)
    """Millimetres, isotropic."""
    shape: tuple[int, int, int] = (80, 104, 88)
    """Voxels of the box (x, y, z) in RAS+."""
    skull: Literal["strip", "keep"] = "strip"
    """`strip`: everything outside the brain mask is exactly -1."""
    modality: str = "T1"
    """`T1,T2,PD` are channels; of `T1/T2` each volume is one, and its subject tells which."""
    percentiles: tuple[float, float] = (0.5, 99.5)
    """Of the voxels inside the mask; they become -1 and 1, what lies outside is clipped."""
    interpolation: Literal["linear"] = "linear"
    """For images that are not at `spacing` yet, after an antialiasing blur; labels take the nearest neighbour."""
    closing_mm: float = 4.0
    """Radius that closes sulci in the brain mask."""
    version: int = 1
    """Goes up when the code prepares other values from the same settings."""

    @property
    def channels(self) -> tuple[str, ...]:
        """The modality of each channel."""
        return tuple(self.modality.split(","))

    @property
    def hash(self) -> str:
        """Sha256 of the record."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()
