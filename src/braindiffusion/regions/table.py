"""Reads the table, and counts in it."""

import csv
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from braindiffusion.errors import BrainDiffusionError

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Region:
    """A line of the table.

    Attributes:
        index: its value in a grouped label map; 0 is background.
        name: in words, `left hippocampus`.
        hemisphere: `L`, `R`, or `-` where it has no side.
        tissue: `csf`, `grey` or `white`; `-` for background.
        dlmuse: the DLMUSE values that it takes in.
    """

    index: int
    name: str
    hemisphere: Literal["L", "R", "-"]
    tissue: Literal["csf", "grey", "white", "-"]
    dlmuse: tuple[int, ...]


def _read() -> tuple[Region, ...]:
    with (files(__package__) / "regions.tsv").open(encoding="utf-8") as file:
        return tuple(
            Region(
                int(row["index"]),
                row["name"],
                row["hemisphere"],  # type: ignore[arg-type]
                row["tissue"],  # type: ignore[arg-type]
                tuple(map(int, row["dlmuse"].split(","))),
            )
            for row in csv.DictReader(file, delimiter="\t")
        )


REGIONS: tuple[Region, ...] = _read()
"""All of them, background first: `REGIONS[i].index == i`."""

BACKGROUND = 0

_BY_NAME = {region.name: region.index for region in REGIONS}
_GROUP_OF = np.full(max(v for region in REGIONS for v in region.dlmuse) + 1, 255, np.uint8)
for _region in REGIONS:
    _GROUP_OF[list(_region.dlmuse)] = _region.index


def _other_side(region: Region) -> int:
    if region.hemisphere == "-":
        return region.index
    here, there = ("left", "right") if region.hemisphere == "L" else ("right", "left")
    return _BY_NAME[region.name.replace(here, there, 1)]


MIRRORED: Labels = np.array([_other_side(region) for region in REGIONS], np.uint8)
"""What each region is called in the mirror."""


def region_index(name: str) -> int:
    """The value of a region by its name.

    Raises:
        BrainDiffusionError: there is none of that name.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        known = ", ".join(region.name for region in REGIONS[1:])
        raise BrainDiffusionError(f"There is no region '{name}': choose one of {known}.") from None


def group(labels: NDArray[np.integer[Any]]) -> Labels:
    """A DLMUSE label map as regions of the table.

    Args:
        labels: any shape, DLMUSE values.

    Raises:
        BrainDiffusionError: it holds a value that DLMUSE does not have.
    """
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    known = low >= 0 and high < len(_GROUP_OF)
    grouped = _GROUP_OF[labels] if known else None
    if grouped is None or (grouped == 255).any():
        odd = next(int(v) for v in np.unique(labels) if not 0 <= v < len(_GROUP_OF) or _GROUP_OF[v] == 255)
        raise BrainDiffusionError(f"The label map holds {odd}, which is no DLMUSE region.")
    return np.asarray(grouped, np.uint8)


def is_grouped(labels: NDArray[np.integer[Any]]) -> bool:
    """Whether a label map can be one of this table's already: every value is an index of it."""
    return int(labels.min(initial=0)) >= 0 and int(labels.max(initial=0)) < len(REGIONS)


def mirror(labels: Labels, axis: int = 0) -> Labels:
    """Mirror a grouped label map from left to right; the names of the sides change with it."""
    mirrored: Labels = MIRRORED[np.flip(labels, axis)]
    return mirrored


def volumes_ml(labels: Labels, spacing: float) -> NDArray[np.float64]:
    """Volume of every region, background included, in millilitres.

    Args:
        labels: (x, y, z), grouped.
        spacing: mm, isotropic.

    Returns:
        (regions,).
    """
    counts = np.bincount(labels.ravel(), minlength=len(REGIONS))
    return np.asarray(counts * (spacing**3 / 1000), np.float64)
