"""The table of regions, and functions on label maps of it."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from braindiffusion.errors import BrainDiffusionError

Labels = NDArray[np.uint8]
Scheme = Literal["regions", "DLMUSE", "FreeSurfer"]
"""Whose values a label map has; `regions` are those of this table."""


@dataclass(frozen=True)
class Region:
    """A row of the table.

    Attributes:
        index: its value in a grouped label map; 0 is background.
        name: in words, `left hippocampus`.
        hemisphere: `L`, `R`, or `-` where it has no side.
        tissue: `csf`, `grey` or `white`; `-` for background.
        dlmuse: the DLMUSE values that it includes.
        freesurfer: the values of FreeSurfer's aparc+aseg and wmparc that it includes.
        typical_ml: its median volume in 30 adults of IXI.
        code: its corner of the hypercube of `codes`, a digit for each channel.
    """

    index: int
    name: str
    hemisphere: Literal["L", "R", "-"]
    tissue: Literal["csf", "grey", "white", "-"]
    dlmuse: tuple[int, ...]
    freesurfer: tuple[int, ...]
    typical_ml: float
    code: str


def _values(cell: str) -> tuple[int, ...]:
    """`1,5-7` is 1, 5, 6, 7."""
    ranges = (part.split("-") for part in cell.split(",") if part)
    return tuple(value for ends in ranges for value in range(int(ends[0]), int(ends[-1]) + 1))


def _read() -> tuple[Region, ...]:
    with (files(__package__) / "regions.tsv").open(encoding="utf-8") as file:
        return tuple(
            Region(
                int(row["index"]),
                row["name"],
                row["hemisphere"],  # type: ignore[arg-type]
                row["tissue"],  # type: ignore[arg-type]
                _values(row["dlmuse"]),
                _values(row["freesurfer"]),
                float(row["ml"]),
                row["code"],
            )
            for row in csv.DictReader(file, delimiter="\t")
        )


REGIONS: tuple[Region, ...] = _read()
"""All regions, background first: `REGIONS[i].index == i`."""
REGION_NAMES = {region.index: region.name for region in REGIONS}

BACKGROUND = 0
FEWEST_SIDED = 5
"""Regions of a hemisphere that a label map needs before its sides are compared."""
SIDE_RATIO = (0.5, 2.0)
"""Left over right volume of a whole brain. IXI: 0.97 to 1.03; three faulty maps of it: 0.06 to 0.30."""

ODD_RATIO, ODD_SHARE = 4.0, 0.4
"""How many times larger or smaller than typical a region is odd, and the share of odd regions in a map that is of
another scheme. Of 30 adults of IXI one region, the third ventricle, reaches 7."""

_BY_NAME = {region.name: region.index for region in REGIONS}
_UNKNOWN, _WHOLE_CORTEX, _UNSIDED = 255, 254, 253
_SIDES = {77: "cerebral white matter", 80: "putamen", 85: "ventral diencephalon"}
"""FreeSurfer regions without a side (hypointensities of white and of other matter, optic chiasm), and their region."""


def _lookup(values: Sequence[tuple[int, ...]]) -> Labels:
    lookup = np.full(max(v for some in values for v in some) + 1, _UNKNOWN, np.uint8)
    for index, some in enumerate(values):
        lookup[list(some)] = index
    return lookup


_DLMUSE = _lookup([region.dlmuse for region in REGIONS])
_FREESURFER = _lookup([region.freesurfer for region in REGIONS])
_FREESURFER[[3, 42]] = _WHOLE_CORTEX
_FREESURFER[list(_SIDES)] = _UNSIDED


def _other_side(region: Region) -> int:
    if region.hemisphere == "-":
        return region.index
    here, there = ("left", "right") if region.hemisphere == "L" else ("right", "left")
    return _BY_NAME[region.name.replace(here, there, 1)]


MIRRORED: Labels = np.array([_other_side(region) for region in REGIONS], np.uint8)
"""Index of each region after left-right mirroring."""


def region_index(name: str) -> int:
    """Return the index of a region by its name.

    Raises:
        BrainDiffusionError: there is none of that name.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        known = ", ".join(region.name for region in REGIONS[1:])
        raise BrainDiffusionError(f"There is no region '{name}': choose one of {known}.") from None


def group(labels: NDArray[np.integer[Any]]) -> Labels:
    """Convert a label map of DLMUSE or FreeSurfer to regions of the table. Its values decide on the scheme.

    Args:
        labels: any shape, values of DLMUSE, or of FreeSurfer's aparc+aseg or wmparc.

    Raises:
        BrainDiffusionError: it holds a value that neither has, or values of both, or FreeSurfer's undivided cortex.
    """
    dlmuse, freesurfer = (_looked_up(labels, lookup) for lookup in (_DLMUSE, _FREESURFER))
    if dlmuse is not None and freesurfer is not None and not np.array_equal(dlmuse, freesurfer):
        some = ", ".join(str(v) for v in np.unique(labels[dlmuse != freesurfer])[:5])
        raise BrainDiffusionError(
            f"The label map could be DLMUSE's or FreeSurfer's, who mean other regions by {some}: give a whole brain's."
        )
    if dlmuse is not None:
        return dlmuse
    if freesurfer is None:
        raise BrainDiffusionError(_stranger(labels))
    if (freesurfer == _WHOLE_CORTEX).any():
        raise BrainDiffusionError(
            "The label map holds FreeSurfer's whole cortex (3, 42), which cannot be divided into lobes: give "
            "aparc+aseg.mgz or wmparc.mgz, not aseg.mgz."
        )
    return _sided(labels, freesurfer)


def _looked_up(labels: NDArray[np.integer[Any]], lookup: Labels) -> Labels | None:
    if int(labels.min(initial=0)) < 0 or int(labels.max(initial=0)) >= len(lookup):
        return None
    grouped: Labels = lookup[labels]
    return None if (grouped == _UNKNOWN).any() else grouped


def _stranger(labels: NDArray[np.integer[Any]]) -> str:
    """Return a sentence why a label map is of neither scheme."""
    there = {int(value) for value in np.unique(labels)}
    known = [{v for v in there if 0 <= v < len(table) and table[v] != _UNKNOWN} for table in (_DLMUSE, _FREESURFER)]
    if odd := there - known[0] - known[1]:
        return f"The label map holds {min(odd)}, which is no region of DLMUSE or of FreeSurfer's aparc+aseg and wmparc."
    one, other = min(there - known[1]), min(there - known[0])
    return f"The label map mixes values of DLMUSE ({one}) and of FreeSurfer ({other}): give a map of one of them."


def _sided(labels: NDArray[np.integer[Any]], grouped: Labels) -> Labels:
    """Give voxels without a side that of the nearest voxel of their region."""
    if not (grouped == _UNSIDED).any():
        return grouped
    from scipy.ndimage import distance_transform_edt

    for value, name in _SIDES.items():
        unsided = labels == value
        sides = np.isin(grouped, [_BY_NAME[f"left {name}"], _BY_NAME[f"right {name}"]])
        if not unsided.any():
            continue
        if not sides.any():
            raise BrainDiffusionError(f"The label map holds {value}, which belongs to {name}, and no {name}.")
        nearest = distance_transform_edt(~sides, return_distances=False, return_indices=True)
        grouped[unsided] = grouped[tuple(nearest[:, unsided])]
    return grouped


def is_grouped(labels: NDArray[np.integer[Any]]) -> bool:
    """Return whether every value of a label map is an index of this table."""
    return int(labels.min(initial=0)) >= 0 and int(labels.max(initial=0)) < len(REGIONS)


def regions_of(labels: NDArray[np.integer[Any]]) -> Labels:
    """Return a label map as regions of the table: unchanged where it is one already, else grouped.

    Raises:
        BrainDiffusionError: as `group`.
    """
    return labels.astype(np.uint8) if is_grouped(labels) else group(labels)


def scheme_of(labels: NDArray[np.integer[Any]], spacing: float | Sequence[float]) -> Scheme | None:
    """Return whose values a label map of a whole brain has; None for any other scheme, or where it is not certain.

    Args:
        labels: (x, y, z).
        spacing: mm, one number for isotropic voxels or one for each axis.
    """
    if is_grouped(labels):
        is_whole = np.count_nonzero(np.bincount(labels.ravel())) > len(REGIONS) // 2  # masks and tissue maps are not
        return "regions" if is_whole and not table_problem(labels.astype(np.uint8), spacing) else None
    dlmuse, freesurfer = (_looked_up(labels, lookup) for lookup in (_DLMUSE, _FREESURFER))
    if dlmuse is not None:
        return "DLMUSE" if freesurfer is None or np.array_equal(dlmuse, freesurfer) else None
    return None if freesurfer is None else "FreeSurfer"


def freesurfer_names() -> dict[int, str]:
    """Return the region that each value of FreeSurfer's aparc+aseg and wmparc is a part of, in words."""
    names = {value: region.name for region in REGIONS for value in region.freesurfer}
    names |= {3: "left cerebral cortex", 42: "right cerebral cortex"} | _SIDES
    return dict(sorted(names.items()))


def table_problem(labels: Labels, spacing: float | Sequence[float]) -> str:
    """Return half a sentence on a map of small numbers that are not those of this table; empty for a map of it.

    Tissue classes, and small numbers of other atlases, look like indices of the table. Their volumes tell: third
    ventricles of 478 ml.

    Args:
        labels: (x, y, z) of a whole brain, values of the table.
        spacing: mm, one number for isotropic voxels or one for each axis.
    """
    volumes = volumes_ml(labels, spacing)
    present = [region for region in REGIONS[1:] if volumes[region.index] > 0]
    odd = [region for region in present if not 1 / ODD_RATIO <= volumes[region.index] / region.typical_ml <= ODD_RATIO]
    if len(odd) <= ODD_SHARE * len(present):
        return ""
    worst = max(odd, key=lambda region: abs(np.log(volumes[region.index] / region.typical_ml)))
    return (
        f"its values 1 to {int(labels.max())} are of another atlas than the regions of BrainDiffusion (read so, it has "
        f"a {worst.name} of {volumes[worst.index]:.3g} ml)"
    )


def mirror(labels: Labels) -> Labels:
    """Mirror a grouped label map from left to right; the names of the sides change with it."""
    mirrored: Labels = MIRRORED[np.flip(labels, 0)]
    return mirrored


def volumes_ml(labels: Labels, spacing: float | Sequence[float]) -> NDArray[np.float64]:
    """Return the volume of every region in millilitres, background included.

    Args:
        labels: (x, y, z), grouped.
        spacing: mm, one number for isotropic voxels or one for each axis.

    Returns:
        (regions,).
    """
    counts = np.bincount(labels.ravel(), minlength=len(REGIONS))
    return np.asarray(counts * float(np.prod(np.broadcast_to(spacing, 3))) / 1000, np.float64)


def mixed_sides(labels: NDArray[Any]) -> str:
    """Return half a sentence about a label map in which left and right are mixed up; empty for any other.

    Maps of another scheme, and maps that hold few regions, are not judged.

    Args:
        labels: (x, y, z), whole numbers of any type.
    """
    try:
        volumes = volumes_ml(regions_of(np.asarray(labels).astype(np.int64)), 1.0)
    except BrainDiffusionError:
        return ""
    sides = {
        side: np.array([volumes[region.index] for region in REGIONS if region.hemisphere == side]) for side in "LR"
    }
    if min(np.count_nonzero(side) for side in sides.values()) < FEWEST_SIDED:
        return ""
    ratio = float(sides["L"].sum() / sides["R"].sum())
    if SIDE_RATIO[0] <= ratio <= SIDE_RATIO[1]:
        return ""
    return f"its label map mixes up left and right: the left hemisphere has {ratio:.2f} times the volume of the right"
