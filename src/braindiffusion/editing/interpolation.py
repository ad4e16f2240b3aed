"""Interpolation between two brains: coarse levels of the one, finer levels from noise between those of both."""

import numpy as np
from numpy.typing import NDArray

from braindiffusion.diffusion.condition import Condition
from braindiffusion.editing.inversion import InterpolatedNoise, Inversion
from braindiffusion.editing.proposal import Proposal, in_box
from braindiffusion.generation.kept_levels import keep_levels
from braindiffusion.models.generator import EditableGenerator

Grid = NDArray[np.float32]


class Interpolation:
    """Brains between two: the levels before the first one are those of the first brain.

    Args:
        generator: the model.
        boxes: both brains, (x, y, z) in [-1, 1].
        conditions: of both, as the denoisers take them. What is generated has that of the first one.
        share: of the second brain's noise; 1 is its noise alone.
        number: of values from 0 to the share; 1 is the share alone.
        first_level: the first level that is generated.
        iterations: network evaluations at each noise level of the inversions.
    """

    def __init__(
        self,
        generator: EditableGenerator,
        boxes: tuple[Grid, Grid],
        conditions: tuple[Condition | None, Condition | None],
        *,
        share: float = 1.0,
        number: int = 1,
        first_level: int = 2,
        iterations: int = 3,
    ) -> None:
        self._box, self._condition, self._first_level = boxes[0], conditions[0], first_level
        self._kept = keep_levels(generator, in_box(boxes[0], generator), first_level)
        one, other = (
            Inversion(generator, in_box(box, generator), condition, iterations=iterations, first=first_level)
            for box, condition in zip(boxes, conditions, strict=True)
        )
        self._one, self._other = one, other
        self.values = np.linspace(0, share, number).tolist() if number > 1 else [share]
        """Share of the second brain in each volume."""

    def proposal(self, number: int) -> Proposal:
        """Return what is generated for a volume (from 1)."""
        share = float(self.values[number - 1])
        noise = InterpolatedNoise(self._one, self._other, share, self._first_level)
        details = {"share": round(share, 4), "name": f"share {share:.2g}"}
        return Proposal(
            self._box, [self._kept, noise], self._condition, noise.edit_band, "ddim", details, self._first_level
        )
