"""A user's scan in the box of a model, and what was generated there back on the scan's own grid."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import LinearNDInterpolator
from skimage.restoration import inpaint_biharmonic

from braindiffusion.cohort import transforms
from braindiffusion.cohort.mask import dark_background
from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.standardise import standardise
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.background import clear_background
from braindiffusion.regions import REGIONS
from braindiffusion.volume import Volume

Mask = NDArray[np.bool_]
Grid = NDArray[np.float32]

TOUCHED = 0.01
"""Share of a box voxel that is painted, above which the box voxel counts as unknown."""
WHOLE = 0.95
"""Share of the brain that may be painted: what is generated has to fit to something."""
TOO_MUCH = "The mask covers nearly all of the brain: leave more of it as it is."
STRIPPED = 0.9
"""A scan with so much of one value outside the brain is skull-stripped, and that value its background."""
MOST_BIHARMONIC, BIHARMONIC_MARGIN = 8000, 4
"""Voxels of the largest hole that is interpolated by the biharmonic equation, and voxels around it that count."""
FINER = 0.9
"""Voxels that are smaller than this share of the model's along an axis are averaged before resolution is added."""
BACK_PROJECTIONS = 4
"""Times that a finer grid is corrected by what its averages lack."""
CONTRAST = 0.03
"""White matter of a T1w scan is brighter than its cortex by at least this much of the range of the brain."""


@dataclass(frozen=True)
class BoxedScan:
    """A scan in the box of a model.

    Attributes:
        scan: as it was read, one channel.
        painted: (x, y, z) on the scan's grid, the voxels to regenerate.
        box: (x, y, z) float32 in [-1, 1], the brain in the model's box; where it is painted, interpolated if filled.
        affine: of the box, voxels to mm.
        hole: (x, y, z) bool in the box, voxels that a painted one reaches.
        low: intensity of the scan that is -1 in the box.
        high: intensity that is 1.
        regions: (x, y, z) in the box, region map.
        background: the scan's value outside the brain; None where the scan shows the head.
        age: estimated from the scan, in years; NaN where it is not known.
    """

    scan: Volume
    painted: Mask
    box: Grid
    affine: NDArray[np.float64]
    hole: Mask
    low: float
    high: float
    regions: NDArray[np.uint8]
    background: float | None
    age: float = float("nan")

    def with_painted(self, made: Grid) -> Volume:
        """Return the scan with its painted voxels taken from a generated box; every other voxel is as it was.

        Painted voxels outside the generated brain become background in a skull-stripped scan, and stay as they are in
        a head. Integers are rounded and kept within their type.

        Args:
            made: (x, y, z) in [-1, 1].
        """
        shown = clear_background(np.asarray((made[None].clip(-1, 1) + 1) / 2, np.float32))[0]
        places = np.argwhere(self.painted)
        to_box = np.linalg.inv(self.affine) @ self.scan.affine
        at = (places @ to_box[:3, :3].T + to_box[:3, 3]).T
        inside = ndimage.map_coordinates((shown > 0).astype(np.float32), at, order=1) > 0.5
        values = ndimage.map_coordinates(made, at, order=3, mode="nearest").clip(-1, 1)
        values = self.low + (values + 1) / 2 * (self.high - self.low)
        data = self.scan.data.copy()
        there = tuple(places.T)
        old = data[0][there].astype(np.float64)
        values = np.where(inside, values, old if self.background is None else self.background)
        if data.dtype.kind in "iu":
            limits = np.iinfo(data.dtype)
            values = np.rint(values).clip(limits.min, limits.max)
        data[0][there] = values.astype(data.dtype)
        return replace(self.scan, data=data)


def coarsened(scan: Volume, spacing: float) -> Volume:
    """Return a scan without voxels that are smaller than this along an axis: averaged along that axis, not picked.

    Args:
        scan: one channel.
        spacing: mm; axes with voxels of at least `FINER` of this stay as they are.
    """
    for axis in range(3):
        size, number = scan.spacing[axis], scan.shape[axis]
        if size >= FINER * spacing:
            continue
        factor = spacing / size
        edges = np.minimum(np.arange(int(np.ceil(number / factor - 1e-3)) + 1) * factor, number)
        # The integral over a voxel is a difference of the cumulative sum, linear within old voxels.
        values = np.moveaxis(scan.data[0].astype(np.float64), axis, -1)
        total = np.concatenate((np.zeros((*values.shape[:-1], 1)), values.cumsum(-1)), axis=-1)
        below = np.minimum(edges.astype(int), number - 1)
        integral = total[..., below] + (edges - below) * values[..., below]
        averages = np.moveaxis(np.diff(integral) / np.diff(edges), -1, axis)
        step = np.eye(4)
        step[axis, axis], step[axis, 3] = factor, (factor - 1) / 2
        scan = Volume(averages[None].astype(np.float32), scan.affine @ step, scan.metadata)
    return scan


def upsampled(scan: Volume, spacing: float) -> Volume:
    """Return a scan on a finer grid, by cubic B-splines, such that the scan is its average over the old voxels.

    Args:
        scan: one channel, `coarsened` along axes with smaller voxels.
        spacing: mm, voxel size of the result along each axis.
    """
    factors = np.array(scan.spacing) / spacing
    x, y, z = (int(np.ceil(n * factor - 1e-3)) for n, factor in zip(scan.shape, factors, strict=True))
    affine = scan.affine @ np.diag([*(1 / factors), 1.0])
    affine[:3, 3] = (scan.affine @ np.array([*((1 / factors - 1) / 2), 1.0]))[:3]
    return averages_kept(scan, Volume(np.zeros((1, x, y, z), np.float32), affine, dict(scan.metadata)))


def averages_kept(scan: Volume, fine: Volume) -> Volume:
    """Return a finer volume, corrected until its averages over the voxels of a scan are that scan.

    Iterative back-projection (Irani and Peleg 1991): what the averages lack is added, interpolated by cubic B-splines.

    Args:
        scan: one channel.
        fine: on a grid as `upsampled` makes it.
    """
    data, made = scan.data[0].astype(np.float32), fine.data[0].astype(np.float32)
    factors = np.array(scan.spacing) / np.array(fine.spacing)
    axes = list(zip(data.shape, made.shape, factors, strict=True))
    to_fine = np.meshgrid(*((np.arange(m) + 0.5) / factor - 0.5 for _, m, factor in axes), indexing="ij")
    width = [max(1, round(factor)) for factor in factors]
    # An average over an even number of voxels lies half a voxel below its index.
    half = [0.0 if size % 2 else 0.5 for size in width]
    to_scan = np.meshgrid(
        *((np.arange(n) + 0.5) * factor - 0.5 + more for (n, _, factor), more in zip(axes, half, strict=True)),
        indexing="ij",
    )
    for _ in range(BACK_PROJECTIONS):
        averages = made
        for axis, size in enumerate(width):
            averages = ndimage.uniform_filter1d(averages, size, axis, mode="nearest")
        lacking = data - ndimage.map_coordinates(averages, to_scan, order=1, mode="nearest")
        made = made + ndimage.map_coordinates(lacking, to_fine, order=3, mode="nearest")
    return replace(fine, data=made.clip(data.min(), None)[None])


def painted_voxels(scan: Volume, mask: Volume, label: int | None = None) -> Mask:
    """Return the painted voxels on a scan's grid, by nearest neighbour where the mask has another grid.

    Args:
        scan: the scan.
        mask: label map; voxels other than 0 are painted.
        label: only voxels of this label.

    Raises:
        BrainDiffusionError: nothing is painted, or not on the scan.
    """
    if mask.channels != 1:
        raise BrainDiffusionError(f"The mask has {mask.channels} channels: give one with a single volume.", "mask")
    marked = (mask.data[0] == label) if label is not None else mask.data[0] != 0
    if not marked.any():
        what = "The mask is 0 everywhere: paint" if label is None else f"The mask has no voxel of label {label}: choose"
        raise BrainDiffusionError(f"{what} what shall be regenerated.", "mask" if label is None else "label")
    if marked.shape != scan.shape or not np.allclose(mask.affine, scan.affine, atol=1e-3):
        marked = transforms.resample_labels(marked.astype(np.uint8), mask.affine, scan.shape, scan.affine) > 0
        if not marked.any():
            raise BrainDiffusionError("The mask lies outside of the scan: choose a mask of this scan.", "mask")
    return np.asarray(marked, np.bool_)


def box_scan(
    scan: Volume,
    painted: Mask | None,
    preprocessing: Preprocessing,
    *,
    fill: bool = True,
    keep_anatomy: bool = False,
) -> BoxedScan:
    """Bring a scan into the box of a model.

    The painted part is filled from its surroundings first, so that nothing of it decides the brain mask, the range of
    intensities or the region map.

    Args:
        scan: a T1w volume, head or stripped.
        painted: (x, y, z) bool on its grid; None is the whole brain, which is not filled.
        preprocessing: of the model.
        fill: False keeps what the scan shows in the painted part.
        keep_anatomy: take the region map of the scan as it is, the painted part included.

    Raises:
        BrainDiffusionError: it has several channels, shows no T1w brain, or the painted part is no part of the brain
            or nearly all of it.
    """
    from braindiffusion.segmentation import load_segmentation_model

    if scan.channels != 1:
        raise BrainDiffusionError(f"The scan has {scan.channels} channels: give a T1w volume alone.", "scan")
    segmentation = load_segmentation_model()
    filled = scan
    if painted is not None and fill:
        filled = replace(scan, data=nearest_fill(scan.data[0].astype(np.float32), painted)[None])
    try:
        found = segmentation.predict_volume(filled)
        prepared = standardise(filled, preprocessing, _labels(found.regions, scan))
    except BrainDiffusionError as error:
        if painted is None or not fill:
            raise
        segmentation.predict_volume(scan)  # raises if it is the scan itself that shows no brain
        raise BrainDiffusionError(TOO_MUCH, "mask") from error
    regions, brain = np.asarray(prepared.labels, np.uint8), np.asarray(prepared.mask)
    if painted is None:
        painted, hole = found.mask, np.ones(brain.shape, np.bool_)
        box = prepared.volume[0].astype(np.float32)
    else:
        hole = _hole(scan, painted, prepared.affine, brain)
        box = prepared.volume[0].astype(np.float32)
        box = interpolate(box, hole) if fill else box
        if keep_anatomy:
            own = segmentation.predict_volume(scan).regions
            x, y, z = brain.shape
            regions = transforms.resample_labels(own, scan.affine, (x, y, z), prepared.affine).astype(np.uint8)
    known = brain & ~hole if not hole.all() else brain
    _check_contrast(box, regions, known)
    low, high = _range(filled, prepared.affine, box, known, preprocessing)
    value, count = _commonest(scan.data[0][~(found.mask | painted)])
    outside = scan.data[0].size - np.count_nonzero(found.mask | painted)
    background = value if count > STRIPPED * outside else None
    return BoxedScan(scan, painted, box, prepared.affine, hole, low, high, regions, background, found.age)


def _labels(regions: NDArray[np.uint8], scan: Volume) -> Volume:
    return Volume(regions[None], scan.affine, {"kind": "labels"})


def _hole(scan: Volume, painted: Mask, affine: NDArray[np.float64], brain: Mask) -> Mask:
    """Return the voxels of a box that painted voxels of a scan reach.

    Raises:
        BrainDiffusionError: none or nearly all of the brain is among them.
    """
    x, y, z = brain.shape
    share = transforms.resample_onto(painted[None].astype(np.float32), scan.affine, (x, y, z), affine)[0]
    hole: Mask = share > TOUCHED
    if not (hole & brain).any():
        raise BrainDiffusionError("No brain lies under the mask: paint a part of the brain.", "mask")
    if (hole & brain).sum() > WHOLE * brain.sum():
        raise BrainDiffusionError(TOO_MUCH, "mask")
    return hole


def nearest_fill(data: Grid, painted: Mask) -> Grid:
    """Return an image whose painted voxels have the value of the nearest voxel that is not painted.

    Raises:
        BrainDiffusionError: every voxel is painted.
    """
    if painted.all():
        raise BrainDiffusionError("The mask covers all of the scan: leave some of it as it is.", "mask")
    where = ndimage.distance_transform_edt(painted, return_distances=False, return_indices=True)
    return np.asarray(data[tuple(where)])


def interpolate(volume: Grid, hole: Mask) -> Grid:
    """Return a volume in [-1, 1] whose hole is interpolated from the voxels around it, smoothly where it is small.

    By the biharmonic equation (scikit-image's), whose cost grows fast with the hole; linearly in holes of more than
    `MOST_BIHARMONIC` voxels.
    """
    if np.count_nonzero(hole) > MOST_BIHARMONIC:
        return linear_fill(volume, hole)
    box = ndimage.find_objects(ndimage.binary_dilation(hole, iterations=BIHARMONIC_MARGIN).astype(np.uint8))[0]
    filled = volume.copy()
    filled[box] = inpaint_biharmonic(volume[box], hole[box], split_into_regions=True).clip(-1, 1)
    return filled


def linear_fill(volume: Grid, hole: Mask) -> Grid:
    """Return a volume whose hole is interpolated linearly between the voxels around it."""
    border = ndimage.binary_dilation(hole, iterations=2) & ~hole
    values = LinearNDInterpolator(np.argwhere(border), volume[border])(np.argwhere(hole))
    filled = volume.copy()
    filled[hole] = np.where(np.isnan(values), volume[border].mean(), values)
    return filled


def _range(
    scan: Volume, affine: NDArray[np.float64], box: Grid, known: Mask, preprocessing: Preprocessing
) -> tuple[float, float]:
    """Return the intensities that became -1 and 1: the straight line between the scan's values and the box's."""
    dark = dark_background(scan)  # as `standardise` resampled it
    image, grid = transforms.resample(dark.data.astype(np.float32), scan.affine, preprocessing.spacing)
    x, y, z = (int(n) for n in np.rint((np.linalg.inv(grid) @ affine)[:3, 3]))
    raw = transforms.cut_box(image, grid, (x, y, z), preprocessing.shape, 0)[0][0]
    between = (np.abs(box) < 1) & known
    slope, offset = np.polyfit(box[between].astype(np.float64), raw[between].astype(np.float64), 1)
    return float(offset - slope), float(offset + slope)


def _check_contrast(box: Grid, regions: NDArray[np.uint8], known: Mask) -> None:
    """Raise where white matter is not brighter than cortex, as it is in a T1w scan."""
    tissue = np.array([region.tissue for region in REGIONS])[regions]
    medians = [np.median(box[(tissue == name) & known]) for name in ("white", "grey")]
    if not medians[0] - medians[1] > CONTRAST:
        raise BrainDiffusionError(
            "The scan does not look T1-weighted, since its white matter is no brighter than its grey matter: give a "
            "T1w scan.",
            "scan",
        )


def _commonest(values: NDArray[np.generic]) -> tuple[float, int]:
    if not values.size:
        return 0.0, 0
    unique, counts = np.unique(values, return_counts=True)
    return float(unique[counts.argmax()]), int(counts.max())
