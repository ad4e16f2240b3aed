"""What was asked beside what was read."""

import numpy as np
import pytest
from scipy import stats

from braindiffusion.evaluation.brain_measures import BrainMeasures
from braindiffusion.evaluation.metrics.condition_adherence import (
    ConditionedBrains,
    SexClassifier,
    agreement,
    asked_volumes,
    condition_adherence,
)

EMPTY = np.zeros(1)


def measures(age: float = np.nan, dice: dict[int, float] | None = None, **volumes: float) -> BrainMeasures:
    measures = {f"volume: {name}": value for name, value in volumes.items()}
    return BrainMeasures("p", measures, EMPTY, EMPTY, age=age, dice=dice or {})


def test_agreement_is_a_regression_of_what_was_read() -> None:
    rng = np.random.default_rng(0)
    asked = rng.uniform(20, 80, 25)
    read = 0.6 * asked + 15 + rng.normal(0, 4, 25)
    found = agreement(asked[:, None], read[:, None], 100, rng)
    expected = stats.linregress(asked, read)
    assert found is not None
    assert found.r.value == pytest.approx(expected.rvalue)
    assert found.slope.value == pytest.approx(expected.slope)
    assert found.error.value == pytest.approx(np.abs(asked - read).mean())
    assert found.slope.low < 0.6 < found.slope.high
    assert found.brains == 25


def test_brains_that_were_not_asked_do_not_count_and_two_are_too_few() -> None:
    asked = np.array([[20.0], [np.nan], [40.0], [60.0], [np.nan]])
    found = agreement(asked, asked * 2 + 0 * asked, 20, np.random.default_rng(0))
    assert found is None or found.brains == 3
    assert agreement(asked[:3], np.ones((3, 1)), 20, np.random.default_rng(0)) is None


def test_volumes_are_pooled_in_units_of_their_own_spread() -> None:
    """A large region must not drown a small one: the small one is not followed at all."""
    rng = np.random.default_rng(1)
    asked = rng.normal([500, 1], [50, 0.1], (200, 2))
    read = np.stack([asked[:, 0], rng.normal(1, 0.1, 200)], 1)
    spread = np.array([[500, 1], [50, 0.1]])
    found = agreement(asked, read, 50, rng, spread)
    assert found is not None
    assert found.r.value == pytest.approx(0.5, abs=0.1)


def test_volumes_come_from_the_sidecar_by_name() -> None:
    found = asked_volumes([{"volumes": {"b": 3.0}}, {}], ["volume: a", "volume: b"])
    np.testing.assert_array_equal(found, [[np.nan, 3.0], [np.nan, np.nan]])


def test_sex_is_read_from_volumes() -> None:
    rng = np.random.default_rng(2)
    sexes = rng.choice(["M", "F"], 80)
    volumes = rng.normal(100, 5, (80, 6)) + np.where(sexes == "M", 15, 0)[:, None]
    classifier = SexClassifier(volumes[:40], list(sexes[:40]))
    assert (classifier.predict(volumes[40:]) == sexes[40:]).mean() > 0.95


def test_rows_of_control() -> None:
    rng = np.random.default_rng(3)

    def group(count: int, dice: dict[int, float] | None = None, error: float = 0.0) -> ConditionedBrains:
        ages = rng.uniform(20, 80, count)
        sexes = rng.choice(["M", "F"], count)
        sizes = np.where(sexes == "M", 60.0, 40.0) + rng.normal(0, 1, count)
        measured = [measures(age + error, dice, a=size, b=2 * size) for age, size in zip(ages, sizes, strict=True)]
        asked = [
            {"age": age, "sex": sex, "volumes": {"a": size}} for age, sex, size in zip(ages, sexes, sizes, strict=True)
        ]
        return ConditionedBrains(measured, asked)

    made = group(10, {1: 0.5, 2: 0.9}, error=3.0)
    rows = {row.name: row for row in condition_adherence(made, group(12), group(30), 50, rng)}
    assert rows["age, correlation"].generated.value == pytest.approx(1)
    assert rows["age, mean absolute error"].generated.value == pytest.approx(3)
    baseline = rows["age, mean absolute error"].real_baseline
    assert baseline is not None
    assert baseline.value == pytest.approx(0)
    assert rows["age, mean absolute error"].held_out == 12
    assert rows["region volumes, correlation"].generated.value == pytest.approx(1)
    assert rows["sex, share read as asked"].generated.value == 1
    assert rows["regions, mean Dice"].generated.value == pytest.approx(0.7)
    assert all(row.group == "condition adherence" for row in rows.values())


def test_nothing_asked_gives_no_rows() -> None:
    told = ConditionedBrains([measures(50.0, a=1.0) for _ in range(5)], [{}] * 5)
    assert list(condition_adherence(told, told, told, 10, np.random.default_rng(0))) == []
