"""Agreement of label maps."""

import numpy as np
from numpy.typing import NDArray

from braindiffusion.regions.table import REGIONS


def region_dice(predicted: NDArray[np.uint8], truth: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the Dice of every region, background first; NaN where neither map has it.

    Args:
        predicted: (x, y, z), grouped regions.
        truth: the true regions on the same grid.

    Returns:
        (regions,).
    """
    count = len(REGIONS)
    pairs = np.bincount(predicted.ravel().astype(np.int64) * count + truth.ravel(), minlength=count**2)
    table = pairs.reshape(count, count)
    with np.errstate(invalid="ignore"):
        return np.asarray(2 * table.diagonal() / (table.sum(0) + table.sum(1)), np.float64)


def mask_dice(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return the Dice of two masks; 1 where both are empty."""
    total = np.count_nonzero(predicted) + np.count_nonzero(truth)
    return 2 * np.count_nonzero(predicted & truth) / total if total else 1.0
