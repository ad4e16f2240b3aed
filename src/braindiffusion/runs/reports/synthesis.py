"""The schema of the report of a synthetic cohort."""

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from braindiffusion.runs.reports.files import read_result

REPORT = "report.json"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Ages(_Part):
    """Requested ages, in years."""

    youngest: float
    median: float
    oldest: float


class RegionRow(_Part):
    """The volume of a region over the cohort, beside the training subjects of the model."""

    region: str
    low_ml: float
    """5th percentile of the cohort."""
    median_ml: float
    high_ml: float
    """95th percentile of the cohort."""
    percentile: float | None = None
    """Percentile of the median among the training subjects; None where the model does not know them."""
    outside: int | None = None
    """Subjects whose volume no training subject has."""


class Novelty(_Part):
    """Distances of the subjects to the training brains and to held-out people, by one comparison."""

    space: str
    subjects: int
    threshold: float
    """Distance to a training brain below which a brain counts as a copy."""
    copies: int
    nearest: float
    """Smallest distance to a training brain."""
    ratio: float
    """Median of the distance to the nearest training brain over that to the nearest held-out brain."""
    people_ratio: float
    """The same of held-out people: what a model that copies nobody reaches."""
    p: float
    """p value of the Mann-Whitney test between the ratios of subjects and of people."""
    similarity: float | None = None
    """Highest cosine similarity to a training brain, where the comparison is by that."""
    people_similarity: float | None = None
    """The same of held-out people."""


class CohortReport(_Part):
    """What a synthetic cohort is like, and how new."""

    created: datetime
    command: str
    versions: dict[str, str | None]
    model: str
    seed: int
    asked: int
    """Subjects that were asked for."""
    subjects: int
    """Subjects that are complete."""
    ages: Ages | None = None
    sexes: dict[str, int] = Field(default_factory=dict)
    regions: list[RegionRow] = Field(default_factory=list)
    redraws: int = 0
    """Brains that were thrown away, since they were too close to a training brain."""
    redrawn: list[str] = Field(default_factory=list)
    """Subjects that were drawn again."""
    novelty: list[Novelty] = Field(default_factory=list)
    limits: list[str] = Field(default_factory=list)
    """Sentences on what this report does not tell."""

    @property
    def summary(self) -> str:
        """The result in one sentence."""
        made = f"{self.subjects} of {self.asked} subjects"
        if not self.novelty:
            return f"{made}; not compared with training brains"
        one = self.novelty[0]
        return f"{made}, {self.redraws} redrawn, {one.copies} copies of training brains left (p = {one.p:.2g})"


def read_cohort_report(folder: Path) -> CohortReport:
    """Read the report of a synthetic cohort.

    Raises:
        BrainDiffusionError: there is none, or it cannot be read.
    """
    return read_result(CohortReport, folder / REPORT, "synthesize")
