"""Bootstrap intervals of a statistic, for generated and for real training brains, both against held-out ones."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.intp]
Numbers = NDArray[np.float64]
Statistic = Callable[[Rows, Rows], Any]
"""A function of the rows of two groups of one table that returns a number or an array. A row may occur twice; a
statistic of pairs leaves out the pairs of a row with itself."""

DRAWS = 20
"""Samples of brains that are averaged where a group has more brains than are compared."""


@dataclass(frozen=True)
class Interval:
    """A number, or an array of them, with the ends of its 95 % interval."""

    value: Numbers
    low: Numbers
    high: Numbers

    def map(self, function: Callable[[Numbers], Any]) -> "Interval":
        """Return the same number in another unit; `function` is increasing."""
        return Interval(*(np.asarray(function(part)) for part in (self.value, self.low, self.high)))


@dataclass(frozen=True)
class GroupRows:
    """Rows of a table that belong to each group.

    Attributes:
        generated: generated brains.
        held_out: real brains that training never saw.
        training: real brains that it saw.
    """

    generated: Rows
    held_out: Rows
    training: Rows

    @property
    def size(self) -> int:
        """Number of brains that are compared with the held-out ones at a time: as many generated as real."""
        return min(len(self.generated), len(self.training))


def compare(
    statistic: Statistic, groups: GroupRows, repeats: int, rng: np.random.Generator
) -> tuple[Interval, Interval]:
    """Compare generated with held-out brains, and as many training brains with them: the real baseline.

    Args:
        statistic: of two groups of rows.
        groups: the rows.
        repeats: repetitions of the bootstrap over brains.
        rng: random generator.

    Returns:
        The estimate and its real baseline.
    """
    size = groups.size
    return tuple(  # type: ignore[return-value]
        between(statistic, rows, groups.held_out, size, repeats, rng) for rows in (groups.generated, groups.training)
    )


def between(
    statistic: Statistic, rows: Rows, others: Rows, size: int, repeats: int, rng: np.random.Generator
) -> Interval:
    """Return a statistic of two groups of at least two brains, at `size` brains of the first.

    The interval is that of the bootstrap over brains, both groups drawn with replacement, moved to have the estimate in
    its middle: groups with doubles lie further apart than groups without, and would push the interval up.
    """
    if size == len(rows):
        value = np.asarray(statistic(rows, others), np.float64)
    else:
        drawn = [statistic(rng.choice(rows, size, replace=False), others) for _ in range(DRAWS)]
        value = np.mean(drawn, axis=0)
    again = [statistic(_redrawn(rows, size, rng), _redrawn(others, len(others), rng)) for _ in range(repeats)]
    return around(value, np.asarray(again, np.float64))


def _redrawn(rows: Rows, size: int, rng: np.random.Generator) -> Rows:
    """Draw rows with replacement; not one row alone, in which a statistic of pairs finds no pair."""
    while True:
        drawn = rng.choice(rows, size, replace=True)
        if np.ptp(drawn):
            return drawn


def around(value: Any, again: Numbers) -> Interval:
    """Return the 95 % interval of bootstrap repetitions (first axis), moved to `value`."""
    value = np.asarray(value, np.float64)
    low, middle, high = np.percentile(again, (2.5, 50, 97.5), axis=0)
    return Interval(value, value + low - middle, value + high - middle)


def of_one(statistic: Callable[[Any], Any], values: NDArray[Any], repeats: int, rng: np.random.Generator) -> Interval:
    """Return a statistic of one group of values (first axis), with the interval of its bootstrap."""
    again = [statistic(rng.choice(values, len(values), replace=True)) for _ in range(repeats)]
    return around(statistic(values), np.asarray(again, np.float64))
