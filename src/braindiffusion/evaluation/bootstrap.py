"""Bootstrap intervals of a statistic, for generated and for real training brains, both against held-out ones."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.intp]
Numbers = NDArray[np.float64]
Statistic = Callable[[Rows, Rows], Any]
"""Of rows of one group and rows of another, both of the same table: a number, or an array of them. A row may come
twice; a statistic of pairs leaves out the pairs of a row with itself."""

DRAWS = 20
"""Where there are more brains than are compared, so many samples of them are averaged."""


@dataclass(frozen=True)
class Interval:
    """A figure, or an array of them, with the ends of its 95 % interval."""

    value: Numbers
    low: Numbers
    high: Numbers

    def map(self, function: Callable[[Numbers], Any]) -> "Interval":
        """The same figure in another unit; `function` is increasing."""
        return Interval(*(np.asarray(function(part)) for part in (self.value, self.low, self.high)))


@dataclass(frozen=True)
class GroupRows:
    """Which rows of a table are whose.

    Attributes:
        generated: rows of generated brains.
        held_out: rows of real brains that training never saw.
        training: rows of those that it saw.
    """

    generated: Rows
    held_out: Rows
    training: Rows

    @property
    def size(self) -> int:
        """Brains that are compared with the held-out ones at a time: as many generated as real."""
        return min(len(self.generated), len(self.training))


def compare(
    statistic: Statistic, groups: GroupRows, repeats: int, rng: np.random.Generator
) -> tuple[Interval, Interval]:
    """A statistic of generated against held-out brains, and its real baseline: of as many training brains instead.

    Args:
        statistic: of two groups of rows.
        groups: the rows.
        repeats: of the bootstrap over brains.
        rng: draws.

    Returns:
        The figure and its real baseline.
    """
    size = groups.size
    return tuple(  # type: ignore[return-value]
        between(statistic, rows, groups.held_out, size, repeats, rng) for rows in (groups.generated, groups.training)
    )


def between(
    statistic: Statistic, rows: Rows, others: Rows, size: int, repeats: int, rng: np.random.Generator
) -> Interval:
    """A statistic of two groups of brains, at `size` brains of the first.

    The interval is that of the bootstrap over brains, both groups drawn anew with replacement, moved to have the figure
    in its middle: groups with doubles lie further apart than groups without, and would push the interval up.
    """
    if size == len(rows):
        value = np.asarray(statistic(rows, others), np.float64)
    else:
        drawn = [statistic(rng.choice(rows, size, replace=False), others) for _ in range(DRAWS)]
        value = np.mean(drawn, axis=0)
    again = [
        statistic(rng.choice(rows, size, replace=True), rng.choice(others, len(others), replace=True))
        for _ in range(repeats)
    ]
    return around(value, np.asarray(again, np.float64))


def around(value: Any, again: Numbers) -> Interval:
    """The 95 % interval of bootstrap repetitions (first axis), moved to `value`."""
    value = np.asarray(value, np.float64)
    low, middle, high = np.percentile(again, (2.5, 50, 97.5), axis=0)
    return Interval(value, value + low - middle, value + high - middle)


def of_one(statistic: Callable[[Any], Any], values: NDArray[Any], repeats: int, rng: np.random.Generator) -> Interval:
    """A statistic of one group of values (first axis), with the interval of its bootstrap."""
    again = [statistic(rng.choice(values, len(values), replace=True)) for _ in range(repeats)]
    return around(statistic(values), np.asarray(again, np.float64))
