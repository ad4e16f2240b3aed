"""Region maps as volumes of several channels, which a diffusion model can generate.

Each region has a code, a corner of a hypercube: -1 or 1 in each channel, and -1 in all of them for background. The
codes are the column `code` of the table, chosen by simulated annealing: regions that touch differ in few channels, and
what lies between two of them decodes to one of the two, rarely to a third.
"""

import numpy as np
from numpy.typing import NDArray

from braindiffusion.regions.table import REGIONS

CODES: NDArray[np.float32] = np.array([[2 * int(bit) - 1 for bit in region.code] for region in REGIONS], np.float32)
"""(regions, channels)."""
CHANNELS = CODES.shape[1]
MOST_FAVOUR, STEPS = 3.0, 0.8 ** np.arange(16)
"""Of `decode` with counts: most that a region is favoured by, in units of the scalar product with its code (two codes
that differ in a channel are 2 apart); and by how much the logarithm of a ratio of volumes changes that, each time."""


def encode(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the codes of a region map: (x, y, z) to (channels, x, y, z)."""
    return np.ascontiguousarray(np.moveaxis(CODES[labels], -1, 0))


def decode(volume: NDArray[np.floating], counts: NDArray[np.integer] | None = None) -> NDArray[np.uint8]:
    """Return the region whose code is nearest at each voxel.

    Between two regions the nearer one wins, and so a thin one vanishes where its place is uncertain: the fluid of a
    sulcus between two banks of cortex. With `counts`, regions that are too small win there.

    Args:
        volume: (channels, x, y, z).
        counts: (regions,) voxels that each region should have, about; 0 where that is not known.

    Returns:
        (x, y, z).
    """
    flat = np.asarray(volume, np.float32).reshape(CHANNELS, -1)
    nearness = CODES @ flat  # all codes have the same length
    regions: NDArray[np.uint8] = nearness.argmax(0).astype(np.uint8)
    if counts is not None:
        unsure = np.partition(nearness, -2, axis=0)
        unsure = np.flatnonzero(unsure[-1] - unsure[-2] < 2 * MOST_FAVOUR)
        nearness = nearness[:, unsure]
        favour = np.zeros((len(CODES), 1), np.float32)
        for step in STEPS:
            found = np.bincount(regions, minlength=len(CODES))
            change = np.where(counts > 0, np.log((counts + 1) / (found + 1)), 0)
            favour = np.clip(favour + step * change[:, None], -MOST_FAVOUR, MOST_FAVOUR).astype(np.float32)
            regions[unsure] = (nearness + favour).argmax(0)
    shaped: NDArray[np.uint8] = regions.reshape(volume.shape[1:])
    return shaped
