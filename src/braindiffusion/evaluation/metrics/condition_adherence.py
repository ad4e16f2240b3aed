"""Condition adherence: agreement of the requested properties of a brain with those measured in it.

The real baseline is the same agreement in held-out people, whose properties are in their table.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braindiffusion.evaluation.bootstrap import Interval, Numbers, Rows, of_one
from braindiffusion.evaluation.brain_measures import BrainMeasures, shared_measures
from braindiffusion.runs.reports.evaluation import ADHERENCE, Estimate, Row

VOLUME = "volume: "
RIDGE = 1.0
FEWEST = 3
"""Fewest brains for a correlation."""


@dataclass(frozen=True)
class Agreement:
    """Agreement of requested numbers with measured ones.

    Attributes:
        r: Pearson's correlation.
        slope: slope of measured on requested numbers, 1 if changes are followed in full.
        error: mean absolute error, in the numbers' unit.
        brains: number of brains.
    """

    r: Interval
    slope: Interval
    error: Interval
    brains: int


def agreement(
    asked: Numbers, read: Numbers, repeats: int, rng: np.random.Generator, spread: Numbers | None = None
) -> Agreement | None:
    """Return the agreement of requested numbers with measured ones.

    Args:
        asked: (N, K), requested; NaN where nothing was.
        read: (N, K), measured.
        repeats: repetitions of the bootstrap over brains.
        rng: random generator.
        spread: (K,) means (first row) and standard deviations (second) of real brains, by which columns of different
            size are pooled in correlation and slope; None takes them as they are.

    Returns:
        None where fewer than three brains have a request.
    """
    kept = np.isfinite(asked).any(1) & np.isfinite(read).all(1)
    asked, read = asked[kept], read[kept]
    if len(asked) < FEWEST:
        return None
    mean, sd = (0.0, 1.0) if spread is None else (spread[0], np.where(spread[1] > 0, spread[1], 1))
    x, y = (asked - mean) / sd, (read - mean) / sd

    def line(rows: Rows) -> Numbers:
        known = np.isfinite(x[rows])
        a, b = x[rows][known], y[rows][known]
        a0, b0 = a - a.mean(), b - b.mean()
        shared, own, other = (a0 * b0).sum(), (a0**2).sum(), (b0**2).sum()
        error = np.abs(asked[rows] - read[rows])[known].mean()
        return np.array([shared / np.sqrt(own * other) if own * other else 0.0, shared / own if own else 0.0, error])

    found = of_one(line, np.arange(len(asked)), repeats, rng)
    r, slope, error = (Interval(found.value[i], found.low[i], found.high[i]) for i in range(3))
    return Agreement(r, slope, error, len(asked))


def asked_number(asked: Sequence[Mapping[str, Any]], name: str) -> Numbers:
    """Return a scalar condition, (N, 1); NaN where it was not requested."""
    return np.array([[float(one[name]) if one.get(name) is not None else np.nan] for one in asked])


def asked_volumes(asked: Sequence[Mapping[str, Any]], measures: Sequence[str]) -> Numbers:
    """Return the requested region volumes, (N, K), in the order of the measures; NaN where there are none."""
    rows = [one.get("volumes") or {} for one in asked]
    return np.array([[float(row.get(name.removeprefix(VOLUME), np.nan)) for name in measures] for row in rows])


def mean_dice(measured: Sequence[BrainMeasures]) -> Numbers:
    """Return the mean over regions of the Dice overlap with the requested map, (N,); NaN where none was requested."""
    return np.array([np.mean(list(one.dice.values())) if one.dice else np.nan for one in measured])


class SexClassifier:
    """Predicts sex from region volumes: a linear discriminant with a ridge, fitted to the training people."""

    def __init__(self, volumes: Numbers, sexes: Sequence[str | None]) -> None:
        """Fit to volumes (N, K) in ml of people of sex `M` or `F`."""
        known = np.array([sex in ("M", "F") for sex in sexes])
        logs = np.log1p(volumes[known])
        is_male = np.array([sex == "M" for sex in sexes])[known]
        self._mean, self._sd = logs.mean(0), np.where(logs.std(0) > 0, logs.std(0), 1)
        scaled = (logs - self._mean) / self._sd
        men, women = scaled[is_male], scaled[~is_male]
        within = np.concatenate([men - men.mean(0), women - women.mean(0)])
        scatter = within.T @ within / len(within) + RIDGE * np.eye(within.shape[1])
        self._direction = np.linalg.solve(scatter, men.mean(0) - women.mean(0))
        self._middle = (men.mean(0) + women.mean(0)) / 2

    def predict(self, volumes: Numbers) -> NDArray[np.str_]:
        """Return `M` or `F` for each row."""
        scaled = (np.log1p(volumes) - self._mean) / self._sd
        return np.where((scaled - self._middle) @ self._direction > 0, "M", "F")


@dataclass(frozen=True)
class ConditionedBrains:
    """Brains with their conditions: requested ones, or age and sex of real people.

    Attributes:
        measured: measures of the brains.
        asked: conditions of each, in the fields of `braindiffusion.conditions`; volumes in ml.
    """

    measured: Sequence[BrainMeasures]
    asked: Sequence[Mapping[str, Any]]

    def volumes(self, measures: Sequence[str]) -> Numbers:
        """Return measured volumes in ml, (N, K)."""
        return np.array([[one.quantities[name] for name in measures] for one in self.measured])


def condition_adherence(
    made: ConditionedBrains,
    people: ConditionedBrains,
    training: ConditionedBrains,
    repeats: int,
    rng: np.random.Generator,
) -> Iterator[Row]:
    """Yield the rows of condition adherence.

    Args:
        made: generated brains.
        people: held-out people.
        training: training people, to whom the classifier of sex is fitted.
        repeats: repetitions of the bootstrap.
        rng: random generator.
    """

    def ages(brains: ConditionedBrains) -> Agreement | None:
        read = np.array([[one.age] for one in brains.measured])
        return agreement(asked_number(brains.asked, "age"), read, repeats, rng)

    yield from _rows("age", "years", ages(made), ages(people))
    everybody = [*made.measured, *people.measured, *training.measured]
    measures = [name for name in shared_measures(everybody) if name.startswith(VOLUME)]
    if not measures:
        return
    known = np.concatenate([people.volumes(measures), training.volumes(measures)])
    spread = np.stack([known.mean(0), known.std(0)])
    volumes = agreement(asked_volumes(made.asked, measures), made.volumes(measures), repeats, rng, spread)
    yield from _rows("region volumes", "ml", volumes, None)
    yield from _sexes(made, people, training, measures, repeats, rng)
    overlap = mean_dice(made.measured)
    overlap = overlap[np.isfinite(overlap)]
    if len(overlap):
        found = of_one(np.mean, overlap, repeats, rng)
        yield Row(
            group=ADHERENCE, name="regions, mean Dice", generated=Estimate.from_interval(found), brains=len(overlap)
        )


def _rows(what: str, unit: str, made: Agreement | None, people: Agreement | None) -> Iterator[Row]:
    if made is None:
        return
    for name, unit_, part in (("correlation", "", "r"), ("slope", "", "slope"), ("mean absolute error", unit, "error")):
        yield Row(
            group=ADHERENCE,
            name=f"{what}, {name}",
            unit=unit_,
            generated=Estimate.from_interval(getattr(made, part)),
            real_baseline=None if people is None else Estimate.from_interval(getattr(people, part)),
            brains=made.brains,
            held_out=0 if people is None else people.brains,
        )


def _sexes(
    made: ConditionedBrains,
    people: ConditionedBrains,
    training: ConditionedBrains,
    measures: Sequence[str],
    repeats: int,
    rng: np.random.Generator,
) -> Iterator[Row]:
    sexes = [one.get("sex") for one in training.asked]
    asked, known = ([one.get("sex") or "" for one in brains.asked] for brains in (made, people))
    if not any(asked) or not {"M", "F"} <= set(sexes):
        return
    classifier = SexClassifier(training.volumes(measures), sexes)

    def right(brains: ConditionedBrains, sexes: Sequence[str]) -> NDArray[np.bool_]:
        sex = np.array(sexes)
        return np.asarray((classifier.predict(brains.volumes(measures)) == sex)[sex != ""])

    hits, others = right(made, asked), right(people, known)
    found, baseline = (
        Estimate.from_interval(of_one(np.mean, each, repeats, rng)) if len(each) else None for each in (hits, others)
    )
    if found is not None:
        yield Row(
            group=ADHERENCE,
            name="sex, share read as asked",
            generated=found,
            real_baseline=baseline,
            brains=len(hits),
            held_out=len(others),
        )
