"""The preprocessing record that travels with a cohort and with models, and the modalities that it names."""

import hashlib
import math
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.untrusted import name_part

BOX_MM = (160.0, 208.0, 176.0)
"""Right-left, posterior-anterior, inferior-superior: holds every adult brain, when centred on the brain."""


MOST_VOXELS = 1 << 28
"""Of one volume, channels included: a head at 0.4 mm."""
Side = Annotated[int, Field(ge=1, le=2048)]

BIDS_SUFFIXES = {"T1w": "T1", "T2w": "T2", "PDw": "PD"}
_SPELLINGS = {
    **dict.fromkeys(("t1", "t1w", "t1n"), "T1"),
    **dict.fromkeys(("t1c", "t1ce", "t1gd", "t1post", "t1postw", "t1wce", "t1cew"), "T1ce"),
    **dict.fromkeys(("t2", "t2w"), "T2"),
    **dict.fromkeys(("flair", "flairw", "t2f"), "FLAIR"),
    **dict.fromkeys(("pd", "pdw"), "PD"),
    "mra": "MRA",
}
"""How BIDS, IXI, BraTS and others spell the modalities, in small letters."""
SPELLINGS = tuple(sorted(_SPELLINGS, key=len, reverse=True))


def modality_name(text: str) -> str:
    """Return the one name of a modality: `T1` for `t1w` and `T1w`. A word that is not known stays as it is."""
    return _SPELLINGS.get(text.lower(), text)


def box_shape(spacing: float) -> tuple[int, int, int]:
    """Return the voxels of the default box at a spacing in mm: multiples of 8, so that three Haar levels divide it."""
    x, y, z = (8 * math.ceil(side / spacing / 8 - 1e-6) for side in BOX_MM)
    return x, y, z


@dataclass(frozen=True)
class Modalities:
    """The modalities of a cohort, in one word that request, store and model card share.

    `T1` is one channel; `T1,T2,PD` are three channels of one volume a subject; `T1/T2` are two volumes a subject, each
    of one modality.

    Attributes:
        names: `T1`, `T2`, `PD`, ... in the requested order.
        separate: each is a volume of its own; otherwise they are the channels of one.
    """

    names: tuple[str, ...]
    separate: bool = False

    @classmethod
    def parse(cls, text: str) -> "Modalities":
        """Parse the word.

        Raises:
            BrainDiffusionError: a name is empty or there twice, cannot be part of a file name, or commas and slashes
                are mixed.
        """
        separate = "/" in text
        names = tuple(name.strip() for name in text.split("/" if separate else ","))
        names = tuple(modality_name(name) for name in names)
        if not all(names) or len(set(names)) < len(names) or any("," in name for name in names):
            raise BrainDiffusionError(
                f"'{text}' names no modalities: say T1, or T1,T2,PD for the channels of one volume, or T1/T2/PD for "
                "volumes of their own."
            )
        for name in names:
            name_part(name, "The modality")
        return cls(names, separate)

    def __str__(self) -> str:
        return ("/" if self.separate else ",").join(self.names)


def check_size(shape: tuple[int, int, int], channels: int) -> None:
    """Refuse a box that is larger than any head, before memory is taken for it.

    Raises:
        ValueError: the volume would have more than 2^28 voxels.
    """
    if math.prod(shape) * channels > MOST_VOXELS:
        size = " x ".join(map(str, (*shape, *([channels] if channels > 1 else []))))
        raise ValueError(f"a volume of {size} voxels is larger than {MOST_VOXELS:,} voxels")


class Preprocessing(BaseModel):
    """Everything that decides the values of a prepared volume. Equal records prepare equal volumes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    spacing: float = Field(default=2.0, gt=0, le=50)
    """Millimetres, isotropic."""
    shape: tuple[Side, Side, Side] = (80, 104, 88)
    """Voxels of the box (x, y, z) in RAS+."""
    skull: Literal["strip", "keep"] = "strip"
    """`strip`: everything outside the brain mask is exactly -1."""
    modality: str = "T1"
    """`T1,T2,PD` are channels; of `T1/T2` each volume is one, and its subject tells which."""
    percentiles: tuple[float, float] = (0.5, 99.5)
    """Percentiles of the voxels inside the mask that become -1 and 1; intensities beyond them are clipped."""
    interpolation: Literal["linear"] = "linear"
    """For images that are not at `spacing` yet, after an antialiasing blur; labels take the nearest neighbour."""
    closing_mm: float = Field(default=4.0, ge=0, le=100)
    """Radius that closes sulci in the brain mask."""
    version: int = 1
    """Goes up when the code prepares other values from the same settings."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        check_size(self.shape, len(self.channels))
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            raise ValueError(f"percentiles rise from 0 to 100, and {low:g} and {high:g} do not")
        return self

    @property
    def channels(self) -> tuple[str, ...]:
        """The modality of each channel."""
        return tuple(self.modality.split(","))

    @property
    def hash(self) -> str:
        """Sha256 of the record."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()
