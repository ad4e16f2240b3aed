"""The schema of `nearest.json`: the real brains nearest to a brain, and usual distances between people."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from braindiffusion.runs.reports.files import read_result

NEAREST = "nearest.json"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Normal(_Part):
    """Distances of real held-out people to the nearest of a group: median and the middle 95 %."""

    median: float
    low: float
    high: float


class Match(_Part):
    """The real brain of a group that is nearest to the brain in question."""

    name: str
    age: float | None = None
    sex: str | None = None
    distance: float
    """0 for a copy, sqrt(2) for brains that have nothing in common."""
    people: Normal
    """Usual distances of held-out people to the nearest brain of this group."""
    volume: Path
    """Path of the volume, in the same box as the brain."""


class Nearest(_Part):
    """The real brains nearest to a brain."""

    brain: str
    space: str
    training: Match
    held_out: Match
    threshold: float
    """A brain nearer than this to a training brain is called a copy."""
    model: str = ""
    """Name of the model whose training brains these are; empty without a model."""

    @property
    def copied(self) -> bool:
        """Whether it is nearer to a training brain than half of the smallest distance between two people."""
        return self.training.distance < self.threshold

    @property
    def summary(self) -> str:
        """The result in one sentence."""
        near, normal = self.training.distance, self.training.people
        usual = f"real people are {normal.low:.2f} to {normal.high:.2f} away from theirs"
        if self.copied:
            return f"A copy: its nearest training brain is {near:.2f} away, and {usual}."
        if near < normal.low:
            return f"Suspiciously like a training brain: {near:.2f} away, while {usual}."
        if near > normal.high:
            return f"Unlike any training brain: the nearest is {near:.2f} away, while {usual}."
        return f"As new as a person: its nearest training brain is {near:.2f} away, and {usual}."


def read_nearest(folder: Path) -> Nearest:
    """Read the result of a run of `nearest`.

    Raises:
        BrainDiffusionError: there is none, or it cannot be read.
    """
    return read_result(Nearest, folder / NEAREST, "nearest")
