"""Thickness of the cortex, depth of its sulci (from a region map), and their continuity (from the image)."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt, find_objects
from skimage.feature import hessian_matrix, hessian_matrix_eigvals

from braindiffusion.regions import REGIONS
from braindiffusion.regions.table import Labels

CLOSING_MM = 15.0
"""Radius of the ball that closes the sulci of a hemisphere (Schaer et al. 2008 take the same)."""
SHEET_MM = 1.2
"""Standard deviation of the Gaussian whose second derivatives find sulci."""
CORTEX = tuple(r.index for r in REGIONS if r.name.endswith("cortex") and "cerebellar" not in r.name)
"""Regions of the cerebral cortex."""
WHITE = tuple(r.index for r in REGIONS if r.name.endswith("cerebral white matter"))
"""Cerebral white matter of both sides."""
_HEMISPHERES = tuple(
    tuple(r.index for r in REGIONS if r.hemisphere == side and "cerebellar" not in r.name) for side in "LR"
)


def cortex_measures(labels: Labels, spacing: float) -> dict[str, float]:
    """Return mean cortical thickness and mean sulcal depth (mm); 0 without cortex or white matter.

    *Thickness*: twice the mean distance of cortical voxels to cerebral white matter. The mean distance of a sheet's
    points to one of its faces is half of its thickness; unlike the distance to cerebrospinal fluid, this holds where
    two banks of a sulcus touch.

    *Depth*: mean distance of cortical voxels to the outside of their hemisphere after closing. Without sulci it is half
    of the thickness.

    Args:
        labels: (x, y, z), grouped regions.
        spacing: mm, isotropic.
    """
    cortex, white = np.isin(labels, CORTEX), np.isin(labels, WHITE)
    if not cortex.any() or not white.any():
        return {"cortex: cortical thickness": 0.0, "cortex: sulcal depth": 0.0}
    depths = [_depths(np.isin(labels, side), cortex, spacing) for side in _HEMISPHERES]
    return {
        "cortex: cortical thickness": 2 * float(_distance(~white, spacing)[cortex].mean()),
        "cortex: sulcal depth": float(np.concatenate(depths).mean()),
    }


def sulcal_continuity(voxels: NDArray[np.float32], labels: Labels, spacing: float) -> float:
    """Return how evenly dark sulci run through the cortex: near 1 for whole sheets, less for rows of dots.

    In a dark sheet the intensity curves across it alone. So 1 - |b| / a, where a >= b >= c are the eigenvalues of the
    Hessian matrix: 1 within an even sheet, 0 in a round dot. The median is returned over the tenth of the voxels of the
    cerebral cortex where a - |b| is largest, away from the surface of the brain; 0 without cortex. It does not depend
    on contrast.

    Args:
        voxels: (x, y, z), the image.
        labels: (x, y, z), grouped regions.
        spacing: mm, isotropic.
    """
    brain = labels > 0
    cortex = np.isin(labels, CORTEX) & binary_erosion(brain, iterations=2)
    if not cortex.any():
        return 0.0
    box = find_objects(brain.astype(np.uint8))[0]
    hessian = hessian_matrix(voxels[box].astype(np.float32), SHEET_MM / spacing, use_gaussian_derivatives=False)
    across, along = (part[cortex[box]] for part in hessian_matrix_eigvals(hessian)[:2])
    sheet = across - np.abs(along)
    sulci = (sheet >= np.quantile(sheet, 0.9)) & (across > 0)
    return float(1 - np.median(np.abs(along[sulci]) / across[sulci])) if sulci.any() else 0.0


def _depths(hemisphere: NDArray[np.bool_], cortex: NDArray[np.bool_], spacing: float) -> NDArray[np.float64]:
    """Return the depth of each cortical voxel of a hemisphere below its closed surface, in mm."""
    inside = np.argwhere(hemisphere)
    if not len(inside):
        return np.empty(0)
    box = tuple(slice(low, high + 1) for low, high in zip(inside.min(0), inside.max(0), strict=True))
    margin = int(np.ceil(CLOSING_MM / spacing)) + 2
    padded = np.pad(hemisphere[box], margin)
    dilated = distance_transform_edt(~padded) * spacing <= CLOSING_MM
    closed = padded | (distance_transform_edt(dilated) * spacing > CLOSING_MM)
    return _distance(closed, spacing)[np.pad((cortex & hemisphere)[box], margin)]


def _distance(mask: NDArray[np.bool_], spacing: float) -> NDArray[np.float64]:
    """Return the distance of the centre of each voxel within a mask to the mask's boundary, in mm."""
    return np.asarray(distance_transform_edt(mask) * spacing - spacing / 2)
