"""Intervals that cover, and real baseline at the same size."""

import numpy as np
import pytest

from braindiffusion.evaluation.bootstrap import GroupRows, between, compare, of_one
from braindiffusion.evaluation.metrics import distances


def groups(generated: int, held_out: int, training: int) -> GroupRows:
    ends = np.cumsum([generated, held_out, training])
    return GroupRows(*(np.arange(end - n, end) for end, n in zip(ends, (generated, held_out, training), strict=True)))


def test_generated_and_training_brains_are_compared_in_equal_numbers() -> None:
    sizes = []

    def statistic(a: np.ndarray, b: np.ndarray) -> float:
        sizes.append((len(a), len(b)))
        return 0.0

    compare(statistic, groups(7, 5, 30), 10, np.random.default_rng(0))
    compare(statistic, groups(50, 5, 30), 10, np.random.default_rng(0))
    assert set(sizes) == {(7, 5), (30, 5)}


def test_the_floor_is_that_of_brains_which_differ_by_chance_alone() -> None:
    """Generated brains that are shifted by one standard deviation lie 1 apart, and the real baseline well below."""
    rng = np.random.default_rng(1)
    table = rng.normal(size=(200, 1))
    parts = groups(40, 60, 100)
    table[parts.generated] += 1
    ours, baseline = compare(distances.wasserstein(table), parts, 200, rng)
    assert ours.value[0] == pytest.approx(1, abs=0.35)
    assert baseline.value[0] < 0.4 < ours.low[0]


@pytest.mark.parametrize(("generated", "held_out"), [(3, 3), (30, 3), (3, 30), (5, 4)])
@pytest.mark.filterwarnings("error")
def test_few_brains_have_intervals_too(generated: int, held_out: int) -> None:
    """Of three brains, one alone is drawn in every ninth repetition: it has no distance to another one."""
    table = np.random.default_rng(1).normal(size=(generated + held_out + 6, 4))
    parts = groups(generated, held_out, 6)
    for statistic in (
        distances.mmd_squared(distances.polynomial_kernel(table)),
        distances.mmd_squared(distances.gaussian_kernel(table)),
        distances.energy_distance(table),
        distances.frechet(table),
    ):
        for found in compare(statistic, parts, 200, np.random.default_rng(2)):
            assert found.low < found.high


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(200):
        found = of_one(np.mean, rng.normal(3, 2, size=40), 200, rng)
        assert found.low < found.value < found.high
        covered += bool(found.low <= 3 <= found.high)
    assert 0.88 <= covered / 200 <= 0.99


@pytest.mark.parametrize("size", [30, 20], ids=["all", "samples of 20"])
def test_the_interval_of_a_comparison_covers_the_truth_as_often_as_it_says(size: int) -> None:
    """Both groups vary: an interval of the first alone would be too narrow."""
    rng = np.random.default_rng(4)
    rows, others = np.arange(30), np.arange(30, 50)
    covered = 0
    for _ in range(200):
        table = rng.normal(np.repeat([0.5, 0.0], (30, 20)), np.repeat([0.5, 2.0], (30, 20)))
        found = between(lambda a, b, table=table: table[a].mean() - table[b].mean(), rows, others, size, 100, rng)
        covered += bool(found.low <= 0.5 <= found.high)
    assert 0.88 <= covered / 200 <= 0.99


def test_the_interval_of_a_distance_stays_around_it() -> None:
    """Plain percentiles of a distance lie above it: groups with doubles are further apart than groups without."""
    rng = np.random.default_rng(3)
    features = rng.normal(size=(60, 20))
    ours, _ = compare(distances.frechet(features), groups(20, 20, 20), 100, rng)
    assert ours.low < ours.value < ours.high


def test_equal_seeds_give_equal_intervals() -> None:
    table = np.random.default_rng(4).normal(size=(30, 2))
    found = [compare(distances.wasserstein(table), groups(5, 10, 15), 50, np.random.default_rng(9)) for _ in range(2)]
    np.testing.assert_array_equal(found[0][1].high, found[1][1].high)
