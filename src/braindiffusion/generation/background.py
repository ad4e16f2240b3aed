"""The air around a skull-stripped brain: exactly 0 in all that such a model has seen, nearly 0 in what it makes."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from braindiffusion.cohort.mask import largest_component

BLUR_VOXELS = 1.0
AIR = 0.1  # of the brightest tissue; CSF at the surface, blurred once, is brighter


def clear_background(data: NDArray[np.float32], regions: NDArray[np.uint8] | None = None) -> NDArray[np.float32]:
    """Set to 0 what lies outside the brain: the largest connected, filled part that is brighter than air.

    Args:
        data: (channels, x, y, z) in [0, 1]; the first channel tells where the brain is.
        regions: (x, y, z), the region map that the brain was generated from. Region maps cover all of a skull-stripped
            brain, so what is as dark as air outside of this one is noise at its surface. None if there is no map.

    Returns:
        The same voxels inside the brain, 0 outside; all of `data` where nothing is brighter than air.
    """
    brain = ndimage.binary_fill_holes(largest_component(ndimage.gaussian_filter(data[0], BLUR_VOXELS) > AIR))
    if not brain.any():
        return data
    if regions is not None:
        brain &= (regions > 0) | (data[0] >= AIR)
    return np.where(brain, data, np.float32(0))
