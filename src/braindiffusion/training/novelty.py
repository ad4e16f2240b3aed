"""Novelty of training samples: a hint whether a model begins to copy training brains.

`evaluate` measures it on many brains, with intervals.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from braindiffusion.cohort.nearest import low_pass, neighbours, neighbours_of_people, views
from braindiffusion.cohort.store import Cohort

FEWEST = 2
"""Least number of held-out people, who give the novelty of a new person: each is compared with the others."""
FINE_MM = 4.0
"""Finer volumes are averaged to about this spacing first: it is faster, and the compared volumes are coarser still."""


class Novelty:
    """Novelty of generated brains against training brains and held-out brains.

    Args:
        cohort: all brains.
        training: rows of the training subjects.
        held_out: rows of other people.
    """

    def __init__(self, cohort: Cohort, training: Sequence[int], held_out: Sequence[int]) -> None:
        self._cohort, self._rows = cohort, (training, held_out)
        self._people = [cohort.subjects[row].person for row in held_out]
        self._spacing = cohort.preprocessing.spacing

    def of(self, volume: NDArray[np.float32]) -> float | None:
        """Return the novelty of a brain: 1 for a new person, towards 0 for a copy.

        It is the distance to the nearest training brain over that to the nearest held-out one, divided by the median
        of this ratio for held-out people. The first call reads the cohort.

        Args:
            volume: (x, y, z) in [-1, 1].

        Returns:
            None where fewer than `FEWEST` people are held out, or the volume is empty.
        """
        if len(set(self._people)) < FEWEST or not (volume > -1).any():
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
        people = neighbours_of_people(training, held_out, self._people, views)
        return training, held_out, float(np.median([one.ratio for one in people]))

    def _vector(self, volume: NDArray[np.float32]) -> NDArray[np.float32]:
        side = max(1, round(FINE_MM / self._spacing))
        x, y, z = (n // side for n in volume.shape)
        blocks = volume[: x * side, : y * side, : z * side].reshape(x, side, y, side, z, side)
        return low_pass((blocks.mean((1, 3, 5)) + 1) / 2, self._spacing * side)
