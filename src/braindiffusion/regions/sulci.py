"""Thin sulci: cortex of a region map that is dark in the image of the same brain.

Region maps leave out most sulci that are thinner than a voxel: the cortex of their two banks touches. Where an image is
at hand, cortex that is darker than the cortex around becomes sulcal CSF. The intensities of people can be stored with
their region maps and deformed like these.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from braindiffusion.regions.table import BACKGROUND, REGIONS, Labels, region_index

DARK = 0.85
"""Intensity, as a share of the mean of the cortex around, below which a voxel of cortex is in a thin sulcus."""
AROUND_MM = 6.0
"""Standard deviation of the Gaussian that this mean is weighted with."""
FLUID = region_index("sulcal csf")
CORTEX = tuple(r.index for r in REGIONS if r.name.endswith(("cortex", "vermis")))
"""Cerebral and cerebellar cortex."""
LOWEST, STEP, LEVELS = 0.7, 0.1, 4
"""Relative intensities are stored as whole numbers, 0 to 3: 0.7 to 1.0, so that `DARK` lies between two of them."""
SMALLEST = 1e-3
"""Weighted intensity below which there is no cortex around."""


def relative_intensity(image: NDArray[np.float32], regions: Labels, spacing: float) -> NDArray[np.float32] | None:
    """Return the intensity as a share of the mean of the cortex around; None without dark fluid.

    There is none where a map has no cortex, or fluid is not darker than cortex (as in T2-weighted images).

    Args:
        image: (x, y, z), background 0.
        regions: (x, y, z), values of `braindiffusion.regions`.
        spacing: mm, isotropic.
    """
    cortex, fluid = np.isin(regions, CORTEX), regions == FLUID
    if not cortex.any() or not fluid.any() or np.median(image[fluid]) >= DARK * np.median(image[cortex]):
        return None
    share = cortex.astype(np.float32)
    weight, total = (ndimage.gaussian_filter(one, AROUND_MM / spacing) for one in (share, share * image))
    relative: NDArray[np.float32] = np.divide(image * weight, total, out=np.zeros_like(share), where=total > SMALLEST)
    return relative


def thin_sulci(regions: Labels, relative: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which voxels of cortex are darker than `DARK`, (x, y, z).

    Args:
        regions: (x, y, z), values of `braindiffusion.regions`.
        relative: (x, y, z), `relative_intensity`.
    """
    return np.isin(regions, CORTEX) & (relative < DARK)


def with_thin_sulci(regions: Labels, sulci: NDArray[np.bool_]) -> Labels:
    """Return a region map whose thin sulci are sulcal CSF."""
    return np.where(sulci, np.uint8(FLUID), regions)


def stored(relative: NDArray[np.float32], regions: Labels) -> NDArray[np.uint8]:
    """Return relative intensities as whole numbers below `LEVELS`; outside of the cortex fluid is dark, tissue bright.

    Args:
        relative: (x, y, z), `relative_intensity`.
        regions: (x, y, z), of the same brain.
    """
    outside = np.where(np.isin(regions, (BACKGROUND, FLUID)), np.uint8(0), np.uint8(LEVELS - 1))
    cortex = np.clip(np.rint((relative - LOWEST) / STEP), 0, LEVELS - 1).astype(np.uint8)
    return np.where(np.isin(regions, CORTEX), cortex, outside)


def deformed_sulci(
    regions: Labels, kept: NDArray[np.uint8], places: NDArray[np.float32], *, quick: bool = False
) -> NDArray[np.bool_]:
    """Return the thin sulci of a deformed map, (x, y, z).

    Args:
        regions: (x, y, z), the deformed map.
        kept: what `stored` returned for the map before.
        places: (3, x, y, z), where each voxel comes from, in voxels.
        quick: interpolate linearly instead of by cubic splines, for previews.
    """
    cortex = np.isin(regions, CORTEX)
    value = kept.astype(np.float32) * STEP + LOWEST
    sulci = np.zeros(regions.shape, bool)
    sulci[cortex] = ndimage.map_coordinates(value, places[:, cortex], order=1 if quick else 3, mode="nearest") < DARK
    return sulci
