"""A schema checks what is asked: percentiles, spellings, sides; each mistake is one sentence."""

import numpy as np
import pytest
from pydantic import ValidationError

from braindiffusion.conditions import (
    CategoryField,
    ConditionSchema,
    Numbers,
    ScalarField,
    VectorField,
    deviation,
)
from braindiffusion.errors import BrainDiffusionError


def seen(low: float, high: float) -> Numbers:
    quantiles = tuple(low + (high - low) * q / 100 for q in (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100))
    return Numbers(mean=(low + high) / 2, std=1.0, quantiles=quantiles)


SCHEMA = ConditionSchema(
    fields=(
        ScalarField(name="age", unit="years", seen=seen(20, 80)),
        CategoryField(name="sex", values=("F", "M")),
        VectorField(
            name="volumes",
            unit="ml",
            entries=("left hippocampus", "right hippocampus", "brainstem"),
            seen=(seen(2, 4), seen(3, 5), seen(15, 25)),
        ),
    )
)


def test_a_request_in_the_models_own_units() -> None:
    assert SCHEMA.check({"age": "90%", "sex": "f"}) == {"age": pytest.approx(74), "sex": "F"}
    assert SCHEMA.check({"volumes": {"brainstem": "20", "hippocampus": "50%"}}) == {
        "volumes": {"brainstem": 20, "left hippocampus": pytest.approx(3), "right hippocampus": pytest.approx(4)}
    }
    checked = SCHEMA.check({"volumes": {"hippocampus": "50%"}})
    assert SCHEMA.check(checked) == checked


@pytest.mark.parametrize("numbers", [(3, None, 20.0), [3.0, np.nan, 20], np.array([3, np.nan, 20]), "3,,20"])
def test_volumes_that_are_numbers_get_their_names_and_their_range(numbers: object) -> None:
    by_name = {"volumes": {"left hippocampus": 3.0, "brainstem": 20.0}}
    assert SCHEMA.check({"volumes": numbers.tolist() if isinstance(numbers, np.ndarray) else numbers}) == by_name
    assert SCHEMA.check(by_name) == by_name
    with pytest.raises(BrainDiffusionError, match="brainstem = 32 ml is far from"):
        SCHEMA.check({"volumes": (3, None, 32)})


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"iq": 100}, "cannot be asked for 'iq': it knows age, sex, volumes"),
        ({"age": "old"}, "wants a number or a percentile"),
        ({"age": "101%"}, "from 0% to 100%"),
        ({"age": 200}, r"far from what the model saw \(20 to 80 years\)"),
        ({"sex": "X"}, "sex can be F or M, not 'X'"),
        ({"volumes": 3}, "wants its entries by name"),
        ({"volumes": {"liver": "3"}}, "volumes has no 'liver'"),
        ({"volumes": {"hippocampus": "3"}}, "has two sides, so say left or right, or a percentile for both, not 3"),
        ({"volumes": {"hippocampus": "3%", "left hippocampus": 3}}, "'left hippocampus' is asked for twice"),
    ],
)
def test_each_mistake_is_one_sentence(asked: dict, said: str) -> None:
    with pytest.raises(BrainDiffusionError, match=said):
        SCHEMA.check(asked)


def test_choices_are_told_in_words() -> None:
    assert SCHEMA.choices() == {
        "age": "20 to 80 years",
        "sex": "F or M",
        "volumes.left hippocampus": "2 to 4 ml",
        "volumes.right hippocampus": "3 to 5 ml",
        "volumes.brainstem": "15 to 25 ml",
    }


def test_a_category_may_have_a_default() -> None:
    schema = ConditionSchema(fields=(CategoryField(name="site", values=("HH", "IOP"), default="HH"),))
    assert schema.defaults == {"site": "HH"}
    assert schema.choices() == {"site": "HH or IOP (default HH)"}
    with pytest.raises(ValidationError, match="none of the values"):
        CategoryField(name="site", values=("HH", "IOP"), default="Guys")


@pytest.mark.parametrize("constant", [0.008, 0.1, 30.3, -7e4])
@pytest.mark.parametrize("number", [1, 3, 7, 100, 158])
def test_equal_numbers_have_no_spread(constant: float, number: int) -> None:
    """Rounding alone gives them one of 1e-15, by which the input of a network would be divided."""
    same = np.full(number, constant)
    assert deviation(np.append(same, np.nan)) == 0
    assert Numbers.of(same).std == 1
    one_more = np.append(same, 1.01 * constant)
    assert Numbers.of(one_more).std == deviation(one_more) == pytest.approx(one_more.std(), rel=1e-12)


@pytest.mark.parametrize("unit", [1e-9, 1e-5, 1.0, 1e6])
def test_percentiles_do_not_depend_on_the_unit(unit: float) -> None:
    """Features of an encoder may be small."""
    values = np.random.default_rng(0).normal(3, 1, 200)
    plain, scaled = Numbers.of(values), Numbers.of(unit * values)
    schema = ConditionSchema(fields=(VectorField(name="features", entries=("f1",), seen=(scaled,)),))
    for percentile in (0, 20, 50, 100):
        value = plain.at(percentile)
        assert scaled.at(percentile) == pytest.approx(unit * value, rel=1e-4)
        assert scaled.percentile(unit * value) == pytest.approx(percentile, abs=0.1)
        assert schema.check({"features": {"f1": unit * value}}) == {"features": {"f1": unit * value}}
