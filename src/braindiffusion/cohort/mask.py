"""Brain masks, from label maps or from intensities, and the centre of a brain."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import isotropic_closing

from braindiffusion.volume import Volume

UPPER_HEAD_MM = 70.0
"""Height below the top of a head in which it is as wide and as long as its brain; nose, jaw and neck lie below."""
AIR_MM = 6.0
"""Air above a head in its box: with this, brains have equal room at the top and at the bottom (IXI)."""
BACKGROUND = 0.2
"""Share of all voxels that have the value of the background, where there is a constant one."""
BINS, HOTTEST = 256, 99.5
"""Histogram of Otsu's threshold: bins, and the percentile of the intensities that it ends at."""


def brain_mask(labels: NDArray[np.integer], closing: float) -> NDArray[np.bool_]:
    """Return `labels > 0`, closed and filled.

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
    filled = ndimage.binary_fill_holes(isotropic_closing(np.pad(inside[box], margin), closing))
    mask = np.zeros_like(inside)
    mask[box] = filled[tuple(slice(margin, -margin) for _ in range(3))]
    return mask


def head_mask(data: NDArray[np.floating], closing: float) -> NDArray[np.bool_]:
    """Return the largest bright object, closed and filled: a head, or a skull-stripped brain.

    Args:
        data: (x, y, z) intensities, any unit.
        closing: radius in voxels.
    """
    return brain_mask(largest_bright(data).astype(np.uint8), closing)


def dark_background(volume: Volume) -> Volume:
    """Return a volume whose background is its darkest value.

    A background is the usual value of the outermost voxels, if a fifth of all have it. One that lies among the
    intensities (0 in a z-scored brain) or far below them (-3024 around a head) becomes the darkest of the others.
    """
    out = np.empty_like(volume.data)
    changed = False
    for channel, new in zip(volume.data, out, strict=True):
        new[:] = channel
        faces = [channel.take(end, axis).ravel() for axis in range(3) for end in (0, -1)]
        values, counts = np.unique(np.concatenate(faces), return_counts=True)
        background = values[counts.argmax()]
        outside = channel == background
        if outside.all() or outside.mean() < BACKGROUND:
            continue
        low, high = np.percentile(channel[~outside], (0, 99.5)).tolist()
        if background > low or low - float(background) > high - low:
            new[outside] = low
            changed = True
    return replace(volume, data=out) if changed else volume


def largest_bright(data: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return the largest connected component that is brighter than the background, (x, y, z) bool, not filled."""
    return largest_component(data > otsu_threshold(data))


def largest_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest connected component (faces) of a mask, (x, y, z) bool; an empty mask stays empty."""
    parts, count = ndimage.label(mask)
    if count < 2:
        return np.asarray(mask, np.bool_)
    return np.asarray(parts == 1 + np.bincount(parts.ravel())[1:].argmax())


def otsu_threshold(data: NDArray[np.floating]) -> float:
    """Return Otsu's threshold (1979) of the intensities below the hottest half percent, at the end of its bin."""
    counts, edges = np.histogram(data, bins=BINS, range=(float(data.min()), float(np.percentile(data, HOTTEST))))
    width = edges[1] - edges[0]
    return float(threshold_otsu(hist=(counts, edges[:-1] + width / 2)) + width / 2)


def brain_centre(
    mask: NDArray[np.bool_], spacing: float, box: tuple[int, int, int], *, is_brain: bool
) -> NDArray[np.float64]:
    """Return the centre of the brain in voxels (x, y, z); voxel i reaches from i to i + 1.

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
