"""A channel of a volume scaled to [0, 1], with its axes in mm: the input of all figures of volumes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from skimage.measure import block_reduce

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.volume import Volume

Grid = npt.NDArray[np.float32]
Box = tuple[slice, slice, slice]

AXES = "xyz"
TOWARDS = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))
"""Names of both ends of each axis."""


@dataclass(frozen=True)
class Grey:
    """A channel of a volume, cropped to what is not background.

    Distances are millimetres along the volume's own axes, which point to the right, anterior and superior; an oblique
    volume is shown straight, around its centre.

    Attributes:
        data: (x, y, z) in [0, 1].
        axes: millimetres of the voxels along x, y and z.
        box: where it was cut out of the volume.
    """

    data: Grid
    axes: tuple[Grid, Grid, Grid]
    box: Box

    @classmethod
    def of(cls, volume: Volume, channel: int = 0, box: Box | None = None) -> "Grey":
        """Scale a channel to [0, 1] and crop it.

        Args:
            volume: the volume.
            channel: which channel, or time point.
            box: what to cut out; None takes what is not background.

        Raises:
            BrainDiffusionError: the volume has one value only, or has no such channel.
        """
        if not 0 <= channel < volume.channels:
            msg = f"There is no channel {channel} in a volume of {volume.channels}."
            raise BrainDiffusionError(msg)
        data = np.asarray(volume.data[channel], dtype=np.float32)
        low, high = window(data)
        if box is None:
            box = _bounds(data > low + 0.1 * (high - low))
        spacing = np.asarray(volume.spacing)
        middle = (np.asarray(data.shape) - 1) / 2
        first = (volume.affine @ np.append(middle, 1))[:3] - middle * spacing  # where voxel (0, 0, 0) is drawn
        x, y, z = (
            np.asarray(start + step * np.arange(side.start, side.stop), dtype=np.float32)
            for start, step, side in zip(first, spacing, box, strict=True)
        )
        return cls(np.clip((data[box] - low) / (high - low), 0, 1), (x, y, z), box)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between voxels."""
        x, y, z = (float(np.ptp(axis)) / max(len(axis) - 1, 1) or 1.0 for axis in self.axes)
        return x, y, z

    def centred(self) -> "Grey":
        """Move the middle of the box to 0 mm, to compare brains that lie elsewhere in the scanner."""
        x, y, z = (axis - (axis[0] + axis[-1]) / 2 for axis in self.axes)
        return Grey(self.data, (x, y, z), self.box)

    def averaged(self, longest: int) -> "Grey":
        """Average blocks until no side has more than `longest` voxels."""
        factor = -(-max(self.data.shape) // longest)
        if factor == 1:
            return self
        padded = np.pad(self.data, [(0, -side % factor) for side in self.data.shape], mode="edge")
        blocks = block_reduce(padded, factor, np.mean)
        x, y, z = (
            axis[0] + step * ((factor - 1) / 2 + factor * np.arange(side, dtype=np.float32))
            for axis, step, side in zip(self.axes, self.spacing, blocks.shape, strict=True)
        )
        return Grey(np.asarray(blocks, dtype=np.float32), (x, y, z), self.box)


def window(data: Grid) -> tuple[float, float]:
    """Return the darkest and the brightest value shown, from the minimum to the 99.5th percentile of the rest.

    Raises:
        BrainDiffusionError: all voxels are the same.
    """
    low = float(data.min())
    above = data[data > low]
    if not above.size:
        msg = "The volume cannot be shown: all its voxels have the same value."
        raise BrainDiffusionError(msg)
    return low, float(np.percentile(above, 99.5))


def _bounds(inside: npt.NDArray[np.bool_]) -> Box:
    """Return the smallest box around a mask, with one voxel of margin."""
    sides = []
    for axis, length in enumerate(inside.shape):
        along = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
        sides.append(slice(max(int(along[0]) - 1, 0), min(int(along[-1]) + 2, length)))
    return sides[0], sides[1], sides[2]
