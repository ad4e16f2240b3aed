"""Thumbnails: three slices through the middle of the head, in true proportions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 96
"""Pixels of each of the three squares."""


def write_thumbnail(
    data: NDArray[np.number], spacing: Sequence[float], middle: NDArray[np.float64], path: Path
) -> None:
    """Write a PNG of `3 * SIDE` x `SIDE` pixels: from the left, from the front, from the top; black where nothing is.

    Left is at the left, front at the top of the third and at the left of the first.

    Args:
        data: (x, y, z) in RAS+.
        spacing: mm.
        middle: mm from the outer corner to the middle of the head.
        path: the file.
    """
    low = float(data.min())
    sample = data[::3, ::3, ::3]
    above = sample[sample > low]
    high = float(np.percentile(above, 99.5)) if above.size else low
    extent = np.array(data.shape) * spacing
    tiles = []
    for axis in range(3):
        place = min(max(int(middle[axis] / spacing[axis]), 0), data.shape[axis] - 1)
        across, up = (other for other in range(3) if other != axis)
        slice_ = np.take(data, place, axis).astype(np.float32)
        grey = np.clip((slice_ - low) / ((high - low) or 1.0), 0, 1) * 255
        # Columns to the right, rows downwards; seen from the left, the front is at the left.
        upright = np.flipud(grey.T) if axis else np.flip(grey.T, (0, 1))
        size = [max(1, round(SIDE * extent[side] / extent.max())) for side in (across, up)]
        tile = Image.new("L", (SIDE, SIDE))
        picture = Image.fromarray(upright.astype(np.uint8)).resize((size[0], size[1]), Image.Resampling.BILINEAR)
        tile.paste(picture, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
        tiles.append(np.asarray(tile))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.hstack(tiles)).save(path)
