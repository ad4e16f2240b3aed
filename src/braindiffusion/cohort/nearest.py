"""The real brains nearest to a brain, for training, evaluation and the viewer.

Brains are compared by their low-pass voxels: blurred to 8 mm, so that noise and texture do not count, centred, and
scaled to one intensity. A mirror image is the same brain.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from braindiffusion.cohort.preprocessing import BOX_MM

COARSE_MM = 8.0
"""Voxel size of the low-pass grid."""
BLOCK = 256  # rows that are compared at a time: memory stays bounded

Vectors = NDArray[np.floating]
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Neighbours:
    """The real brains nearest to a brain.

    Attributes:
        training: row of the nearest training brain.
        to_training: its distance.
        held_out: row of the nearest held-out brain.
        to_held_out: its distance.
    """

    training: int
    to_training: float
    held_out: int
    to_held_out: float

    @property
    def ratio(self) -> float:
        """Distance to the nearest training brain over distance to the nearest held-out one."""
        return self.to_training / self.to_held_out if self.to_held_out else np.inf


def low_pass(voxels: NDArray[np.float32], spacing: float) -> NDArray[np.float32]:
    """Return a brain's low-pass voxels around its centre of mass, as one vector of mean 0 and length 1.

    Two vectors of correlation r are sqrt(2 - 2 r) apart, from 0 for copies, also of another brightness, to 2. They are
    sampled on a grid of their own, so any voxel size gives the same vector.

    Args:
        voxels: (x, y, z), air is 0.
        spacing: millimetres of a voxel, the same along all axes.
    """
    smooth = ndimage.gaussian_filter(voxels, COARSE_MM / 2 / spacing)
    if not smooth.any():
        return np.zeros(int(np.prod(_grid())), np.float32)
    centre = np.array(ndimage.center_of_mass(smooth))
    grid = [(np.arange(n) - (n - 1) / 2) * COARSE_MM / spacing for n in _grid()]
    points = np.stack(np.meshgrid(*(axis + c for axis, c in zip(grid, centre, strict=True)), indexing="ij"))
    sampled = ndimage.map_coordinates(smooth, points, order=1)
    vector = sampled.ravel() - sampled.mean()
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def mirrored(vector: Vectors) -> Vectors:
    """Return the low-pass vector of the brain's mirror image."""
    return np.ascontiguousarray(np.flip(vector.reshape(_grid()), 0)).ravel()


def views(vector: Vectors) -> Vectors:
    """Return a low-pass vector and its mirror image, (2, D)."""
    return np.stack([vector, mirrored(vector)])


def nearest(views: Vectors, gallery: Vectors, without: Rows | int | None = None) -> tuple[int, float]:
    """Return the row of the gallery that is nearest to any of the views of a brain, and its distance.

    Args:
        views: (V, D): the brain, and its mirror image.
        gallery: (N, D).
        without: rows that do not count.
    """
    distances = np.empty(len(gallery))
    for start in range(0, len(gallery), BLOCK):
        rows = np.asarray(gallery[start : start + BLOCK], np.float32)
        distances[start : start + BLOCK] = np.min([np.linalg.norm(rows - view, axis=1) for view in views], axis=0)
    if without is not None:
        distances[without] = np.inf
    row = int(distances.argmin())
    return row, float(distances[row])


def neighbours(views: Vectors, training: Vectors, held_out: Vectors, without: Rows | int | None = None) -> Neighbours:
    """Return the nearest real brains of a brain.

    Args:
        views: (V, D).
        training: (T, D).
        held_out: (H, D).
        without: rows of `held_out` that do not count: those of a held-out brain's own person, and for a generated brain
            that is compared with such, those of a person drawn by chance, so that all choose among equally many.
    """
    return Neighbours(*nearest(views, training), *nearest(views, held_out, without))


def neighbours_of_people(
    training: Vectors, held_out: Vectors, people: Sequence[str], views: Callable[[Vectors], Vectors]
) -> list[Neighbours]:
    """Return the nearest real brains of each held-out brain: of other people, not of another session of this one.

    Args:
        training: (T, D).
        held_out: (H, D).
        people: the person of each held-out brain.
        views: returns the views of a brain, (V, D).
    """
    return [neighbours(views(one), training, held_out, rows_of_person(people, row)) for row, one in enumerate(held_out)]


def rows_of_person(people: Sequence[str], row: int) -> Rows:
    """Return all rows of the person of a row."""
    return np.flatnonzero(np.array(people) == people[row])


def _grid() -> list[int]:
    return [round(side / COARSE_MM) for side in BOX_MM]
