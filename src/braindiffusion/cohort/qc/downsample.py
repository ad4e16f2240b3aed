"""Downsampling of a volume, so that checks of a whole head take milliseconds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_BLUR = 0.35
"""Sigma, in new voxels, of the blur that keeps what is too fine for them from turning up as something else."""


def downsample(data: NDArray[np.generic], spacing: Sequence[float], mm: float) -> NDArray[np.float32]:
    """Return a volume with larger isotropic voxels.

    Args:
        data: (x, y, z).
        spacing: mm of its voxels.
        mm: of the new ones; the outer corner of the first voxel stays where it is.

    Returns:
        (x', y', z') float32, to within half a voxel as large as the volume; its faces are those of the volume.
    """
    # Whole blocks are averaged first: that is most of the way, and fast.
    blocks = [min(n, max(1, int(mm / size / 2))) for n, size in zip(data.shape, spacing, strict=True)]
    whole = [n // block for n, block in zip(data.shape, blocks, strict=True)]
    cut = data[tuple(slice(n * block) for n, block in zip(whole, blocks, strict=True))]
    split = [side for pair in zip(whole, blocks, strict=True) for side in pair]
    averaged = cut.reshape(split).mean((1, 3, 5), dtype=np.float32)
    zoom = mm / (np.array(spacing) * blocks)
    smooth = ndimage.gaussian_filter(averaged, _BLUR * zoom)
    shape = tuple(max(1, int(n)) for n in np.round(averaged.shape / zoom))
    sampled: NDArray[np.float32] = ndimage.affine_transform(
        smooth, zoom, offset=(zoom - 1) / 2, output_shape=shape, order=1, mode="nearest"
    )
    return sampled
