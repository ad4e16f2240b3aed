"""What an evaluation says: the schema of `evaluation.json`. Every figure with its interval, floor, unit and count."""

from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from braindiffusion.runs.files import read_result

JSON, PAGE = "evaluation.json", "report.html"


class Interval(Protocol):
    """A figure, or an array of them, with the ends of its 95 % interval."""

    @property
    def value(self) -> Any:
        """The figure."""

    @property
    def low(self) -> Any:
        """Where its interval begins."""

    @property
    def high(self) -> Any:
        """Where it ends."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


class Figure(_Part):
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, interval: Interval, index: int | None = None) -> "Figure":
        """Of an interval of one number, or of one entry of an array of them."""
        parts = (interval.value, interval.low, interval.high)
        value, low, high = (float(part if index is None else part[index]) for part in parts)
        return cls(value=value, low=low, high=high)


class Spread(_Part):
    """Mean and standard deviation of a quantity over brains."""

    generated_mean: float
    generated_sd: float
    real_mean: float
    real_sd: float


class Row(_Part):
    """One figure."""

    group: str
    name: str
    unit: str = ""
    generated: Figure
    """Of generated brains, against held-out ones."""
    floor: Figure | None = None
    """Of real brains: the same figure of training brains against held-out ones, or (control) of held-out people."""
    brains: int
    """Generated brains that it comes from, at a time; the floor comes from as many training brains."""
    held_out: int = 0
    """Held-out brains that both are compared with."""
    spread: Spread | None = None


class Curve(_Part):
    """A figure along an axis."""

    name: str
    x: list[float]
    x_unit: str
    unit: str
    generated: list[Figure]
    floor: list[Figure]


class Neighbour(_Part):
    """A generated brain and the real ones next to it, nearest to a training brain first."""

    generated: str
    training: str
    to_training: float
    held_out: str
    to_held_out: float
    ratio: float
    copied: bool


class Originality(_Part):
    """Whether generated brains are as new as real people, as one ruler sees it."""

    space: str
    p: float
    """Of the two-sided Mann-Whitney test of the ratios."""
    ratio: Figure
    """Median of distance to the nearest training over distance to the nearest held-out brain."""
    people: Figure
    """The same of held-out people."""
    threshold: float
    """A brain that is nearer than this to a training brain is called a copy."""
    ratios: list[float]
    people_ratios: list[float]
    neighbours: list[Neighbour]


class Verdict(_Part):
    """A target, and whether it is met."""

    target: str
    reached: str
    """The figure with its 95 % interval and how many brains it comes from."""
    met: bool
    stretch: str = ""
    stretch_met: bool | None = None
    title: str = ""
    """What it is about, in few words."""
    group: str = ""
    """Of the row that it judges; `originality` and `copies` judge a space."""
    name: str = ""
    """Of that row, or of the space."""


class LeftOut(_Part):
    """What is not in the report, and why."""

    what: str
    why: str


class Evaluation(_Part):
    """A whole report."""

    format: str = "braindiffusion-evaluation-1"
    created: datetime
    command: str
    versions: dict[str, str | None]
    model: str
    ruler: str
    """Where regions come from."""
    generated: list[str]
    training: list[str]
    held_out: list[str]
    repeats: int
    """Of every bootstrap."""
    verdicts: list[Verdict] = Field(default_factory=list)
    rows: list[Row] = Field(default_factory=list)
    curves: list[Curve] = Field(default_factory=list)
    originality: list[Originality] = Field(default_factory=list)
    left_out: list[LeftOut] = Field(default_factory=list)

    def row(self, group: str, name: str) -> Row | None:
        """A row by its group and name."""
        return next((row for row in self.rows if (row.group, row.name) == (group, name)), None)

    def judged(self, verdict: Verdict) -> tuple[Figure | None, Figure | None, str]:
        """What a verdict is about: the figure, its floor, and their unit; None for what has none."""
        if verdict.group == "originality":
            space = next(one for one in self.originality if one.space == verdict.name)
            return space.ratio, space.people, ""
        row = self.row(verdict.group, verdict.name)
        return (row.generated, row.floor, row.unit) if row else (None, None, "")


def read_evaluation(folder: Path) -> Evaluation:
    """The report in a folder.

    Raises:
        BrainDiffusionError: there is none, or it cannot be read.
    """
    return read_result(Evaluation, folder / JSON, "evaluate")
