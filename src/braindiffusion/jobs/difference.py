"""The job `difference`: one volume less another, on the finer of their grids."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.outputs import Outputs
from braindiffusion.runs import ArtifactWritten, DifferenceRequest, Event, Finished, Progress, Run
from braindiffusion.runs.sidecar import sidecar_path, volume_stem, write_sidecar
from braindiffusion.volume import Volume, load_volume, save_volume

HIGH = 99.5
"""Percentile of the voxels above the minimum that is taken as the maximum."""
ALIKE = 2.0
"""Intensity ranges that differ by less than this factor count as the same unit."""
OWN_RANGE = "share of each brain's own range"
AS_STORED = "intensity, as stored"


@dataclass(frozen=True)
class Difference:
    """The difference of two volumes.

    Attributes:
        volume: (1, x, y, z) float32.
        unit: in words.
        limit: 99.5th percentile of the absolute difference within the brains: the ends of a symmetric colour scale.
        moved: mm that the second volume was moved by.
    """

    volume: Volume
    unit: str
    limit: float
    moved: tuple[float, float, float]


def differ(request: DifferenceRequest, run: Run) -> Iterator[Event]:
    """Write the difference of two volumes, with a sidecar that has its unit.

    Args:
        request: the volumes.
        run: gets the result where the request names no file.

    Yields:
        Progress, ArtifactWritten (`volume`), Finished.

    Raises:
        BrainDiffusionError: a volume cannot be read, they do not overlap in world space, or the output is a file of
            the user's.
    """
    out = request.out or run.results / "difference.nii.gz"
    outputs = Outputs.of(request)
    outputs.check((out, sidecar_path(out)))
    yield Progress(stage="difference", step=0, total=3)
    first, second = load_volume(request.first), load_volume(request.second)
    yield Progress(stage="difference", step=1, total=3)
    found = difference(first, second, align=request.align == "centre", own_range=_own_range(request, first, second))
    yield Progress(stage="difference", step=2, total=3)
    sidecar = {
        "first": str(request.first),
        "second": str(request.second),
        "unit": found.unit,
        "limit": found.limit,
        "moved_mm": found.moved,
    }
    with outputs.writing():
        save_volume(found.volume, out)
        write_sidecar(out, sidecar)
    yield Progress(stage="difference", step=3, total=3)
    yield ArtifactWritten(
        kind="volume", path=str(out), name=f"{volume_stem(request.first)} - {volume_stem(request.second)}"
    )
    yield Finished(message=f"The difference is in {found.unit}; 99.5 % of it within ±{found.limit:.3g}.")


def difference(first: Volume, second: Volume, *, align: bool, own_range: bool) -> Difference:
    """Subtract the first channel of a volume from that of another, on the grid of the one with smaller voxels.

    Nothing is registered: what lies at the same millimetres is compared, or, with `align`, at the same distance from
    the middles of the brains.

    Args:
        first: any grid.
        second: any grid.
        align: move the second so that the centers of both brains coincide.
        own_range: scale each from its lowest value to its 99.5th percentile first.

    Raises:
        BrainDiffusionError: the volumes do not overlap in world space.
    """
    from braindiffusion.cohort.transforms import resample_onto  # imports torch

    pair = [_prepared(one, own_range=own_range) for one in (first, second)]
    moved = np.zeros(3)
    if align:
        moved = _middle(pair[0]) - _middle(pair[1])
        shift = np.eye(4)
        shift[:3, 3] = moved
        pair[1] = Volume(pair[1].data, shift @ pair[1].affine)
    if not _overlap(*pair):
        raise BrainDiffusionError("The two volumes do not overlap in world space: align their centers.")
    finer = min(pair, key=lambda one: float(np.prod(one.spacing)))
    minuend, subtrahend = (resample_onto(one.data, one.affine, finer.shape, finer.affine) for one in pair)
    found = minuend - subtrahend
    inside = (minuend > minuend.min()) | (subtrahend > subtrahend.min())
    limit = float(np.percentile(np.abs(found[inside]), HIGH)) if inside.any() else 0.0
    unit = OWN_RANGE if own_range else AS_STORED
    return Difference(Volume(found, finer.affine), unit, limit or 1.0, (moved[0], moved[1], moved[2]))


def same_unit(first: Volume, second: Volume) -> bool:
    """Return whether the intensity ranges of two volumes are similar enough to subtract them unscaled."""
    (low_a, high_a), (low_b, high_b) = (_range(one.data[0]) for one in (first, second))
    a, b = high_a - low_a, high_b - low_b
    return a < ALIKE * b and b < ALIKE * a and abs(low_a - low_b) < min(a, b) / ALIKE


def _own_range(request: DifferenceRequest, first: Volume, second: Volume) -> bool:
    return request.scale == "own" or (request.scale == "auto" and not same_unit(first, second))


def _prepared(volume: Volume, *, own_range: bool) -> Volume:
    data = np.asarray(volume.data[:1], np.float32)
    if own_range:
        low, high = _range(data[0])
        data = np.clip((data - low) / (high - low), 0, None)
    return Volume(data, volume.affine)


def _range(data: NDArray[np.generic]) -> tuple[float, float]:
    values = np.asarray(data, np.float32)
    low = float(values.min())
    above = values[values > low]
    high = float(np.percentile(above, HIGH)) if above.size else low
    return low, high if high > low else low + 1.0


def _middle(volume: Volume) -> NDArray[np.float64]:
    """Return the centre of mass in millimetres."""
    data = volume.data[0] - volume.data[0].min()
    voxel = ndimage.center_of_mass(data) if data.any() else (np.array(data.shape) - 1) / 2
    return np.asarray((volume.affine @ np.append(voxel, 1))[:3])


def _overlap(a: Volume, b: Volume) -> bool:
    """Return whether the boxes of two volumes overlap in world space."""
    corners = []
    for one in (a, b):
        unit = np.array(np.meshgrid((0, 1), (0, 1), (0, 1))).reshape(3, -1).T * (np.array(one.shape) - 1)
        corners.append(unit @ one.affine[:3, :3].T + one.affine[:3, 3])
    low = np.max([each.min(0) for each in corners], axis=0)
    high = np.min([each.max(0) for each in corners], axis=0)
    return bool((low <= high).all())
