"""The schema of `evaluation.json`: every estimate with its interval, real baseline, unit and number of brains."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

from braindiffusion.runs.reports.files import read_result

JSON, PAGE = "evaluation.json", "report.html"
FORMAT = "braindiffusion-evaluation-2"
ADHERENCE, MEMORIZATION, COPIES = "condition adherence", "memorization", "copies"
"""Groups of rows and targets that code refers to."""

Outcome = Literal["met", "missed", "inconclusive"]


class Interval(Protocol):
    """A number, or an array of them, with the ends of its 95 % interval."""

    @property
    def value(self) -> Any:
        """The number."""

    @property
    def low(self) -> Any:
        """Lower end of the interval."""

    @property
    def high(self) -> Any:
        """Upper end of the interval."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


class Estimate(_Part):
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def from_interval(cls, interval: Interval, index: int | None = None) -> "Estimate":
        """Convert an interval of one number, or entry `index` of an interval of an array."""
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
    """One estimate."""

    group: str
    name: str
    unit: str = ""
    generated: Estimate
    """Generated brains against held-out ones."""
    real_baseline: Estimate | None = None
    """Real training brains against held-out ones; for condition adherence, held-out people."""
    brains: int
    """Generated brains compared at a time; the real baseline uses as many training brains."""
    held_out: int = 0
    """Held-out brains that both are compared with."""
    spread: Spread | None = None
    description: str = ""
    """Plain words for a metric whose group has no description of its own."""


class Curve(_Part):
    """An estimate along an axis."""

    name: str
    x: list[float]
    x_unit: str
    unit: str
    generated: list[Estimate]
    real_baseline: list[Estimate]


class Neighbour(_Part):
    """A generated brain, the real brains nearest to it and their distances."""

    generated: str
    training: str
    to_training: float
    held_out: str
    to_held_out: float
    ratio: float
    copied: bool


class Memorization(_Part):
    """A test for copies of training brains in one feature space; brains nearest to a training brain come first."""

    space: str
    p: float
    """Two-sided Mann-Whitney test of the ratios."""
    ratio: Estimate
    """Median ratio of distances: to the nearest training brain over to the nearest held-out brain."""
    real_baseline: Estimate
    """The same median for held-out people."""
    threshold: float
    """A brain nearer than this to a training brain is called a copy."""
    ratios: list[float]
    real_baseline_ratios: list[float]
    neighbours: list[Neighbour]


class TargetResult(_Part):
    """A target and its outcome."""

    target: str
    reached: str
    """The estimate with its 95 % interval and the number of brains."""
    outcome: Outcome
    stretch: str = ""
    stretch_outcome: Outcome | None = None
    title: str = ""
    """A short name."""
    group: str = ""
    """Group of the judged row, or `memorization` or `copies` for a feature space."""
    name: str = ""
    """Name of the judged row or feature space."""


class LeftOut(_Part):
    """A part that the report lacks, and the reason."""

    what: str
    why: str


class Evaluation(_Part):
    """A whole report. Files of format 1 are read too."""

    format: str = FORMAT
    created: datetime
    command: str
    versions: dict[str, str | None]
    model: str
    segmenter: str
    """Source of the region label maps, in words."""
    generated: list[str]
    training: list[str]
    held_out: list[str]
    repeats: int
    """Repetitions of every bootstrap."""
    targets: list[TargetResult] = Field(default_factory=list)
    rows: list[Row] = Field(default_factory=list)
    curves: list[Curve] = Field(default_factory=list)
    memorization: list[Memorization] = Field(default_factory=list)
    left_out: list[LeftOut] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _migrate(cls, data: Any) -> Any:
        return _from_format_1(data) if isinstance(data, dict) and data.get("format", "").endswith("-1") else data

    def row(self, group: str, name: str) -> Row | None:
        """Return the row of a group and name, or None."""
        return next((row for row in self.rows if (row.group, row.name) == (group, name)), None)

    def estimate_of(self, result: TargetResult) -> tuple[Estimate | None, Estimate | None, str]:
        """Return the estimate that a target judges, its real baseline and their unit; None where there is none."""
        if result.group == MEMORIZATION:
            space = next(one for one in self.memorization if one.space == result.name)
            return space.ratio, space.real_baseline, ""
        row = self.row(result.group, result.name)
        return (row.generated, row.real_baseline, row.unit) if row else (None, None, "")

    def count(self, outcome: Outcome) -> int:
        """Return the number of targets with this outcome."""
        return sum(result.outcome == outcome for result in self.targets)

    @property
    def summary(self) -> str:
        """Count of targets met, and of those that too few brains leave open."""
        open_ = self.count("inconclusive")
        more = f", {open_} inconclusive" if open_ else ""
        return f"{self.count('met')} of {len(self.targets)} targets met{more}"


def _from_format_1(data: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the fields of format 1: `floor`, `ruler`, `verdicts`, `originality` and `people`."""
    groups = {"control": ADHERENCE, "originality": MEMORIZATION}
    outcome: dict[bool | None, str | None] = {True: "met", False: "missed", None: None}

    def renamed(part: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
        return {
            names.get(key, key): groups.get(value, value) if key == "group" else value for key, value in part.items()
        }

    def judged(part: Mapping[str, Any]) -> dict[str, Any]:
        new = renamed(part, {"met": "outcome", "stretch_met": "stretch_outcome"})
        return new | {key: outcome[new[key]] for key in ("outcome", "stretch_outcome") if key in new}

    baseline = {"floor": "real_baseline"}
    people = {"people": "real_baseline", "people_ratios": "real_baseline_ratios"}
    new = renamed(data, {"ruler": "segmenter"}) | {"format": FORMAT}
    new["targets"] = [judged(one) for one in new.pop("verdicts", ())]
    new["memorization"] = [renamed(one, people) for one in new.pop("originality", ())]
    for name in ("rows", "curves"):
        new[name] = [renamed(one, baseline) for one in new.get(name, ())]
    return new


def read_evaluation(folder: Path) -> Evaluation:
    """Read the report in a folder.

    Raises:
        BrainDiffusionError: there is none, or it cannot be read.
    """
    return read_result(Evaluation, folder / JSON, "evaluate")
