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


def encode(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the codes of a region map: (x, y, z) to (channels, x, y, z)."""
    return np.ascontiguousarray(np.moveaxis(CODES[labels], -1, 0))


def decode(volume: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return the region whose code is nearest at each voxel: (channels, x, y, z) to (x, y, z)."""
    flat = np.asarray(volume, np.float32).reshape(CHANNELS, -1)
    nearest: NDArray[np.uint8] = (CODES @ flat).argmax(0).astype(np.uint8)  # all codes have the same length
    return nearest.reshape(volume.shape[1:])
