"""Interpolation of label maps: the value between voxels is the label with the largest share there."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SPLINE_MARGIN = 8
"""Voxels around a region within which its cubic splines are computed; what lies farther away weighs below 0.0001."""


def interpolate_labels(labels: NDArray[np.uint8], places: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return the labels at places between the voxels of a map.

    Where the eight voxels around a place differ, the label with the largest share wins, each interpolated by cubic
    splines. The nearest voxel would fray the cortex: thin parts break, and single voxels are left over.

    Args:
        labels: (x, y, z); 0 outside.
        places: (3, ...) in voxels.

    Returns:
        Labels of the shape of `places` without its first axis.
    """
    flat = places.reshape(3, -1)
    padded = np.pad(labels, 1)
    lower = np.clip(np.floor(flat).astype(np.intp) + 1, 0, np.array(padded.shape)[:, None] - 1)
    found = padded[tuple(lower)]
    # Whether a voxel and its neighbours farther along the axes differ.
    differ = ndimage.maximum_filter(padded, 2, origin=-1) != ndimage.minimum_filter(padded, 2, origin=-1)
    mixed = np.flatnonzero(differ[tuple(lower)])
    flat, lower = flat[:, mixed], lower[:, mixed]
    limits = np.array(padded.shape)[:, None] - 1
    corners = np.stack(
        [padded[tuple(np.minimum(lower + np.array(corner)[:, None], limits))] for corner in np.ndindex(2, 2, 2)]
    )
    present = [(int(label), np.flatnonzero((corners == label).any(0))) for label in np.unique(corners)]
    with ThreadPoolExecutor() as threads:  # SciPy lets other threads run meanwhile
        shares = threads.map(lambda one: _share(labels == one[0], flat[:, one[1]], outside=float(one[0] == 0)), present)
        largest = np.full(len(mixed), -np.inf)
        for (label, at), share in zip(present, shares, strict=True):
            won = share > largest[at]
            largest[at[won]], found[mixed[at[won]]] = share[won], label
    shaped: NDArray[np.uint8] = found.reshape(places.shape[1:])
    return shaped


def _share(own: NDArray[np.bool_], places: NDArray[np.floating], outside: float) -> NDArray[np.float64]:
    """Return how much of a label lies at places, (3, places) in voxels, by cubic splines in the box around those."""
    start = np.maximum(np.floor(places.min(1)).astype(int) - SPLINE_MARGIN, 0)
    stop = np.maximum(np.ceil(places.max(1)).astype(int) + SPLINE_MARGIN, start + 1)
    box = own[tuple(map(slice, start, stop))].astype(float)
    share: NDArray[np.float64] = ndimage.map_coordinates(
        box, places - start[:, None], order=3, mode="constant", cval=outside
    )
    return share


def smooth_surface(labels: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    """Return labels whose outer surface, between brain and background, has fewer bumps of a voxel.

    Brain is where its indicator, smoothed by a Gaussian, is above a half. Voxels that become brain take the nearest
    label.

    Args:
        labels: (x, y, z); 0 is background.
        sigma: standard deviation of the Gaussian in voxels.
    """
    brain = labels > 0
    smooth = ndimage.gaussian_filter(brain.astype(np.float32), sigma) > 0.5
    nearest = ndimage.distance_transform_edt(~brain, return_distances=False, return_indices=True)
    smoothed: NDArray[np.uint8] = np.where(smooth, labels[tuple(nearest)], np.uint8(0))
    return smoothed
