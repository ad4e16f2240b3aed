"""Whether the loss of a training rises so far that it has diverged."""

import math
from dataclasses import dataclass

LOSS_STEPS = 20
"""Steps that the loss is averaged over to tell whether a training diverges."""
DIVERGED = 10.0
"""A training has diverged where the average loss stays above so many times its lowest value."""


@dataclass
class LossWatch:
    """The loss of a level, averaged over about `LOSS_STEPS` steps.

    Attributes:
        mean: average of the last steps.
        lowest: lowest such average so far.
        steps: number of steps since the average rose above `DIVERGED` times the lowest.
    """

    mean: float = math.nan
    lowest: float = math.inf
    steps: int = 0

    @property
    def rising(self) -> bool:
        """Whether the loss is far above what it was: no checkpoint is written."""
        return self.steps > 0

    @property
    def diverged(self) -> bool:
        """Whether it has been for long."""
        return self.steps >= LOSS_STEPS

    def add(self, loss: float) -> None:
        """Count a step."""
        self.mean = loss if math.isnan(self.mean) else self.mean + (loss - self.mean) / LOSS_STEPS
        self.lowest = min(self.lowest, self.mean)
        self.steps = self.steps + 1 if not self.mean <= DIVERGED * self.lowest else 0
