"""Checks of one volume. Each yields flags, and has its threshold here.

Thresholds were chosen on IXI (three scanners, whole heads and stripped) and ds002748: nothing of it is flagged, and
every fault that was planted there is (`tests/cohort/test_inspect.py`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.affines import obliquity
from numpy.typing import NDArray
from scipy import ndimage

from braindiffusion.cohort.mask import brain_mask, largest_bright
from braindiffusion.cohort.qc.downsample import downsample
from braindiffusion.cohort.qc.labels import known_regions, label_values, placement_problem
from braindiffusion.cohort.qc.orientation import GRID_MM, HeadOrientation, find_orientation
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.nifti import open_image
from braindiffusion.runs.events import QCFlag, Severity
from braindiffusion.volume import Volume

TILT_DEGREES = 20.0
"""Angle between an axis of the voxels and of the world; heads in a usual position are turned less."""
FORMS_MM = 2.0
"""Distance by which qform and sform may place a corner differently; rounding stays below."""
THICK_MM, UNEVEN = 3.0, 2.5
"""Slice thickness, and ratio of a voxel's sides, from which on a scan is 2D."""
LIKENESS = 0.87
"""Correlation with the mean head or brain, turned at will. T1w heads have 0.94 and more, a ball 0.85, noise 0.72."""
ROUND = 0.01
"""Least distance between the correlations of the two best orientations. 22 heads and brains have 0.040 and more, balls
and ellipsoids 0.001 and less."""
TURN = 0.02
"""Correlation by which another orientation has to fit better. Correct heads reach 0, turned ones 0.04 and more."""
FACE_CM2 = {"left": 25.0, "right": 25.0, "back": 10.0, "front": 10.0, "bottom": 10.0, "top": 10.0}
"""Tissue on a face of the volume. Whole heads of IXI reach 15 at the sides (ears, cheeks) and 6 elsewhere."""
HEAD_MM = 130.0
"""A head that is cut at the neck is higher than this; a lower one is cut through the brain."""
SMALL_ML, LARGE_ML = 600.0, 7000.0
"""Volume above the background: brains have 900 ml and more, heads down to the neck up to 5000."""
LEVELS = 32
"""Distinct intensities in a head; with fewer, tissues are steps."""
CLIPPED = 0.02
"""Share of a head that has the very highest intensity."""
HOT = 10.0
"""The brightest voxel over the 99.9th percentile; vessels reach 3."""
MANY = 5
"""Fewest volumes of which a median is taken."""
BRIGHT, NOISY, GRID = 8.0, 2.5, 1.5
"""Ratios to the median of all others: intensity (scanners differ by 3), noise, voxel size."""

_SEVERITY: dict[Severity, int] = {"problem": 0, "warning": 1, "note": 2}
_SIDES = {"L": "left", "R": "right", "P": "back", "A": "front", "I": "bottom", "S": "top"}


def by_severity(marks: Iterable[QCFlag]) -> tuple[QCFlag, ...]:
    """Sort flags, the most severe first."""
    return tuple(sorted(marks, key=lambda mark: _SEVERITY[mark.severity]))


def _warning(kind: str, message: str) -> QCFlag:
    return QCFlag(kind=kind, severity="warning", message=message)


def header_flags(path: Path, affine: NDArray[np.float64], spacing: Sequence[float]) -> Iterator[QCFlag]:
    """Check the header.

    Args:
        path: a volume that can be read.
        affine: (4, 4) of its voxels in RAS+.
        spacing: mm.
    """
    low, high = min(spacing), max(spacing)
    if high >= THICK_MM or high / low >= UNEVEN:
        sides = " x ".join(f"{side:.3g}" for side in spacing)
        yield _warning("spacing", f"its voxels are {sides} mm: thick slices hold no fine structure")
    tilt = float(np.degrees(obliquity(affine)).max())
    if tilt > TILT_DEGREES:
        message = f"it lies {tilt:.0f} degrees tilted to the axes of its world, and is used as it is stored"
        yield QCFlag(kind="tilt", severity="note", message=message)
    image, _ = open_image(path)
    yield from _forms(image)


def _forms(image: Any) -> Iterator[QCFlag]:
    """Compare qform and sform: programs differ in which they use."""
    forms = [getattr(image, name)(coded=True) for name in ("get_qform", "get_sform") if hasattr(image, name)]
    affines = [affine for affine, code in forms if code and affine is not None]
    if len(affines) < 2:
        return
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * [*image.shape[:3], 1]
    apart = float(np.linalg.norm(corners @ (affines[0] - affines[1]).T, axis=1).max())
    if np.linalg.det(affines[0][:3, :3]) * np.linalg.det(affines[1][:3, :3]) < 0:
        yield _warning("header", "its qform and its sform disagree about which side is left")
    elif apart > FORMS_MM:
        yield _warning("header", f"its qform and its sform place it up to {apart:.0f} mm apart")


@dataclass(frozen=True)
class Measures:
    """Measures of a volume that are compared within a cohort.

    Attributes:
        brightness: 98th percentile of the intensities.
        noise: standard deviation from voxel to voxel, over the brightness.
        voxel: mm, the cubic root of a voxel's volume.
    """

    brightness: float
    noise: float
    voxel: float


def voxel_flags(
    data: NDArray[Any], small: NDArray[np.float32], mm: float, orientation: HeadOrientation, *, t1: bool
) -> Iterator[QCFlag]:
    """Check the voxels.

    Args:
        data: (x, y, z) in RAS+, not of one value.
        small: the same on a coarse grid.
        mm: of the coarse grid.
        orientation: orientation of the head by its picture.
        t1: whether it is T1-weighted; of other contrasts it is not known what fits.
    """
    if t1:
        yield from _orientation(orientation)
    tissue = largest_bright(small)
    millilitres = float(tissue.sum()) * mm**3 / 1000
    if not SMALL_ML <= millilitres <= LARGE_ML:
        yield _warning("size", f"{millilitres:.0f} ml stand out from its background, which is no brain and no head")
    yield from _cut_off(tissue, mm, stripped=orientation.stripped)
    yield from _intensities(data)


def picture_problem(volume: Volume) -> str:
    """Return half a sentence on a volume that is no T1w head by its picture, or lies otherwise than its header says.

    Empty where the picture gives no reason for doubt.
    """
    small = downsample(volume.data[0], volume.spacing, GRID_MM)
    return next((flag.message for flag in _orientation(find_orientation(small))), "")


def _orientation(orientation: HeadOrientation) -> Iterator[QCFlag]:
    if orientation.likeness + orientation.margin < LIKENESS or orientation.distinct < ROUND:
        yield _warning("content", "its picture is not that of a T1w head")
    elif orientation.margin >= TURN:
        remarks = [
            f"{_SIDES[axis]} is {_SIDES[seen] if seen not in 'LR' else 'a side'}"
            for axis, seen in zip("RAS", orientation.codes, strict=True)
            if axis != seen
        ]
        yield _warning("orientation", f"it lies otherwise than its header says: by its picture, {', '.join(remarks)}")


def _cut_off(tissue: NDArray[np.bool_], mm: float, *, stripped: bool) -> Iterator[QCFlag]:
    cut = []
    for axis, names in enumerate((("left", "right"), ("back", "front"), ("bottom", "top"))):
        for name, place in zip(names, (0, -1), strict=True):
            area = float(tissue.take(place, axis).sum()) * mm**2 / 100
            neck = name == "bottom" and not stripped and np.ptp(np.argwhere(tissue)[:, 2]) * mm > HEAD_MM
            if area > FACE_CM2[name] and not neck:
                cut.append(f"{name} ({area:.0f} cm² of tissue on that face)")
    if cut:
        yield _warning("cut-off", f"it is cut off at the {' and at the '.join(cut)}")


def _intensities(data: NDArray[Any]) -> Iterator[QCFlag]:
    sample = data[::2, ::2, ::2].ravel()
    low, high = float(data.min()), float(data.max())
    upper = float(np.percentile(sample, 99.9))
    head = sample[sample > low + (upper - low) * 0.1]
    if np.count_nonzero(head == high) > CLIPPED * head.size:
        share = np.count_nonzero(head == high) / head.size
        yield _warning("intensities", f"{share:.0%} of it has the highest intensity, {high:g}: it is clipped")
    elif len(np.unique(head)) < LEVELS:
        yield _warning("intensities", f"it has only {len(np.unique(head))} grey values")
    if upper > low and high - low > HOT * (upper - low):
        yield QCFlag(
            kind="intensities",
            severity="note",
            message=f"its brightest voxel is {(high - low) / (upper - low):.0f} "
            "times as bright as all but a thousandth of it",
        )


def label_flags(volume: Volume, labels: Volume, small: NDArray[np.float32]) -> Iterator[QCFlag]:
    """Check that a label map is one of regions, and lies on the brain: what `prepare` would leave out is a problem.

    Args:
        volume: the volume of the label map.
        labels: in the same world, on any grid.
        small: the volume on a coarse grid.
    """
    try:
        values = label_values(labels)
        if not values.any():
            raise BrainDiffusionError("its label map is empty")
        _, note = known_regions(values, float(np.prod(labels.spacing)) ** (1 / 3))
        factor = np.array(volume.shape) / small.shape
        coarse = np.diag([*factor, 1.0])
        coarse[:3, 3] = (factor - 1) / 2
        moved = ndimage.affine_transform(
            values, np.linalg.inv(labels.affine) @ volume.affine @ coarse, output_shape=small.shape, order=0
        )
        mm = float(np.prod(np.array(volume.spacing) * factor)) ** (1 / 3)
        if problem := placement_problem(small, moved, brain_mask(moved, 1.0), mm):
            raise BrainDiffusionError(problem)
    except BrainDiffusionError as error:
        yield QCFlag(kind="labels", severity="problem", message=str(error))
        return
    if note:
        yield _warning("labels", note)


def measure(
    data: NDArray[Any], spacing: Sequence[float], small: NDArray[np.float32], orientation: HeadOrientation
) -> Measures:
    """Measure intensity, noise and voxel size."""
    bright = float(np.percentile(small, 98) - small.min())
    # The middle of the head: 80 mm of tissue. Second differences know no slow changes.
    middle = (orientation.middle / spacing).astype(int)
    reach = [max(2, int(40 / side)) for side in spacing]
    box = data[tuple(slice(max(0, m - r), m + r) for m, r in zip(middle, reach, strict=True))].astype(np.float32)
    noise = float(np.median(np.abs(np.diff(box, 2, axis=0)))) * 1.4826 / np.sqrt(6) if min(box.shape) > 2 else 0.0
    return Measures(bright, noise / bright if bright else 0.0, float(np.prod(spacing)) ** (1 / 3))


def usual(measures: Sequence[Measures]) -> Measures | None:
    """Return the medians; None where there are fewer than `MANY` volumes."""
    if len(measures) < MANY:
        return None
    rows = np.array([(one.brightness, one.noise, one.voxel) for one in measures])
    return Measures(*np.median(rows, axis=0).tolist())


def unusual(one: Measures, usual: Measures) -> Iterator[QCFlag]:
    """Flag a volume that differs from the others of its cohort."""
    if (times := _times(one.brightness, usual.brightness)) > BRIGHT:
        how = "brighter" if one.brightness > usual.brightness else "darker"
        yield _warning("intensities", f"it is {times:.0f} times {how} than the others: another scaling")
    if one.noise > NOISY * usual.noise:
        yield _warning("noise", f"it is {_times(one.noise, usual.noise):.1f} times as noisy as the others")
    if _times(one.voxel, usual.voxel) > GRID:
        message = f"its voxels of {one.voxel:.2g} mm are unlike the others' of {usual.voxel:.2g} mm"
        yield QCFlag(kind="spacing", severity="note", message=message)


def _times(one: float, other: float) -> float:
    low, high = sorted((one, other))
    return high / low if low > 0 else 1.0
