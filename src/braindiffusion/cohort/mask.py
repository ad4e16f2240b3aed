"""Where the brain is: masks from label maps, and a robust guess where there are none."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

UPPER_HEAD_MM = 70.0
"""So much of a head, from its top, is as wide and as long as its brain is; nose, jaw and neck come below."""
AIR_MM = 6.0
"""The box of a head begins so much above it: with this, brains have equal room at the top and at the bottom (IXI)."""


def brain_mask(labels: NDArray[np.integer], closing: float) -> NDArray[np.bool_]:
    """`labels > 0`, closed and filled.

    Args:
        labels: (x, y, z).
        closing: radius of the closing in voxels; sulci narrower than twice this become brain.

    Returns:
        (x, y, z) bool, never larger than the bounding box of the labels.
    """
    inside = np.asarray(labels) > 0
    if not inside.any():
        return inside
    box = ndimage.find_objects(inside.astype(np.uint8))[0]
    margin = int(np.ceil(closing)) + 1
    cut = np.pad(inside[box], margin)
    # Distances do what a large ball as structuring element would, in a fraction of the time.
    grown = ndimage.distance_transform_edt(~cut) <= closing
    closed = (ndimage.distance_transform_edt(grown) > closing) | cut
    filled = ndimage.binary_fill_holes(closed)
    mask = np.zeros_like(inside)
    mask[box] = filled[tuple(slice(margin, -margin) for _ in range(3))]
    return mask


def head_mask(data: NDArray[np.floating], closing: float) -> NDArray[np.bool_]:
    """The largest bright object, closed and filled: a head, or a skull-stripped brain.

    Args:
        data: (x, y, z) intensities, any unit.
        closing: radius in voxels.
    """
    return brain_mask(largest_bright(data).astype(np.uint8), closing)


def largest_bright(data: NDArray[np.floating]) -> NDArray[np.bool_]:
    """The largest connected piece that is brighter than the background, (x, y, z) bool; holes and all."""
    pieces, count = ndimage.label(data > _otsu(data))
    if count == 0:
        return np.zeros(data.shape, dtype=bool)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(pieces == sizes.argmax())


def brain_centre(
    mask: NDArray[np.bool_], spacing: float, box: tuple[int, int, int], *, is_brain: bool
) -> NDArray[np.float64]:
    """Centre of the brain in voxels (x, y, z); voxel i reaches from i to i + 1.

    Args:
        mask: (x, y, z), RAS+.
        spacing: mm, isotropic.
        box: voxels that the brain will be cut out with.
        is_brain: the mask holds the brain only. Otherwise it may hold the head, whose nose and neck pull its centre
            forward and down: then the upper head gives x and y, and the box hangs from its top.
    """
    low, high = _bounds(mask)
    if is_brain or np.all(high - low <= box):
        return (low + high) / 2
    top = high[2]
    upper = mask.copy()
    upper[:, :, : max(0, int(top - UPPER_HEAD_MM / spacing))] = False
    low, high = _bounds(upper)
    centre = (low + high) / 2
    centre[2] = top + AIR_MM / spacing - box[2] / 2
    return centre


def _bounds(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    slices = ndimage.find_objects(mask.astype(np.uint8))[0]
    return np.array([s.start for s in slices]), np.array([s.stop for s in slices])


def _otsu(data: NDArray[np.floating]) -> float:
    """The threshold that parts two classes best (Otsu 1979), of the intensities below the hottest half percent."""
    counts, edges = np.histogram(data, bins=256, range=(float(data.min()), float(np.percentile(data, 99.5))))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sum_below = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sum_below / below - (sum_below[-1] - sum_below) / above) ** 2
    return float(edges[1 + int(np.nanargmax(between))])
