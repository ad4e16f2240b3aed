"""Does a model that learns begin to copy? Asked of every sample that is made while it learns.

Cheap, and a hint: `evaluate` judges many brains, with intervals.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from braindiffusion.cohort.nearest import low_pass, neighbours, views
from braindiffusion.cohort.store import Cohort

FEWEST = 2
"""Held-out brains that tell how new a new person is: each is compared with the others."""
FINE_MM = 4.0
"""Finer volumes are averaged to about this first: it is much faster, and what is compared is coarser still."""


class Novelty:
    """Compares brains with those that a model learns from and with those that it never sees.

    Args:
        cohort: all of them.
        training: rows that are learnt from.
        held_out: rows that are not, of people who are not learnt from either.
    """

    def __init__(self, cohort: Cohort, training: Sequence[int], held_out: Sequence[int]) -> None:
        self._cohort, self._rows = cohort, (training, held_out)
        self._spacing = cohort.preprocessing.spacing

    def of(self, volume: NDArray[np.float32]) -> float | None:
        """How new a brain is: 1 as a new person, towards 0 a copy.

        Its distance to the nearest training brain over that to the nearest held-out one, over what this ratio is for
        held-out people, in the middle. The first call reads the cohort.

        Args:
            volume: (x, y, z) in [-1, 1].

        Returns:
            None where fewer than `FEWEST` brains are held out, or there is no brain.
        """
        if len(self._rows[1]) < FEWEST or not (volume > -1).any():
            return None
        training, held_out, normal = self._galleries
        found = neighbours(views(self._vector(volume)), training, held_out).ratio / normal
        return float(found) if np.isfinite(found) else None

    @cached_property
    def _galleries(self) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
        training, held_out = (
            np.stack([self._vector(np.asarray(self._cohort.volumes[row, 0], np.float32)) for row in rows])
            for rows in self._rows
        )
        people = [neighbours(views(one), training, held_out, row).ratio for row, one in enumerate(held_out)]
        return training, held_out, float(np.median(people))

    def _vector(self, volume: NDArray[np.float32]) -> NDArray[np.float32]:
        side = max(1, round(FINE_MM / self._spacing))
        x, y, z = (n // side for n in volume.shape)
        blocks = volume[: x * side, : y * side, : z * side].reshape(x, side, y, side, z, side)
        return low_pass((blocks.mean((1, 3, 5)) + 1) / 2, self._spacing * side)
