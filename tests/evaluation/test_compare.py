"""From measured to rows: what was put in comes out, in the right unit."""

from datetime import UTC, datetime

import numpy as np
import pytest

from braindiffusion.evaluation import compare
from braindiffusion.evaluation.brain_measures import BrainMeasures
from braindiffusion.evaluation.compare import Comparison
from braindiffusion.evaluation.targets import MINIMUM, targets, too_few
from braindiffusion.runs.reports.evaluation import Estimate, Evaluation, Memorization, Neighbour, Row, Spread


def measured(count: int, rng: np.random.Generator, shift: float = 0.0, power: float = 1.0) -> list[BrainMeasures]:
    """People whose hippocampus is 3 ml +- 0.5, shifted by so many standard deviations."""
    return [
        BrainMeasures(
            name=f"p{i}",
            quantities={"brain volume": 1400.0, "volume: left hippocampus": rng.normal(3 + 0.5 * shift, 0.5)},
            histogram=rng.dirichlet(np.ones(100) * 50),
            spectrum=power * rng.uniform(0.9, 1.1, 8),
            features={"mine": rng.normal(shift, 1, 4).astype(np.float32)},
        )
        for i in range(count)
    ]


@pytest.fixture
def shifted() -> Comparison:
    """Generated brains that are one standard deviation off, and of half the power."""
    rng = np.random.default_rng(0)
    made, held_out, training = measured(40, rng, 1.0, 0.5), measured(40, rng), measured(80, rng)
    return Comparison(made, held_out, training, spacing=2.0, repeats=100, rng=rng)


def test_half_the_power_is_three_decibels_at_every_frequency(shifted: Comparison) -> None:
    (half, whole), curve = shifted.power()
    assert [each.value for each in curve.generated] == pytest.approx([-3.01] * 8, abs=0.15)
    assert [each.value for each in curve.real_baseline] == pytest.approx([0] * 8, abs=0.15)
    assert half.generated.value == pytest.approx(-3.01, abs=0.15)
    assert whole.unit == "dB"
    assert curve.x[-1] == 0.25  # Nyquist of 2 mm


def test_a_shift_is_told_in_standard_deviations_of_real_brains(shifted: Comparison) -> None:
    rows = {(row.group, row.name): row for row in shifted.measures()}
    row = rows["volumes", "left hippocampus (ml)"]
    assert row.generated.value == pytest.approx(1, abs=0.35)
    assert row.real_baseline is not None
    assert row.real_baseline.value < 0.5
    assert row.spread is not None
    assert row.spread.real_mean == pytest.approx(3, abs=0.15)
    assert row.spread.generated_mean == pytest.approx(3.5, abs=0.25)
    # The only region that moves is the median of all regions; a constant measure is 0 apart.
    assert rows["volumes", compare.ALL_REGIONS].generated.value == pytest.approx(row.generated.value)
    assert rows["shape", "brain volume (ml)"].generated.value == 0
    assert rows["volumes", compare.JOINTLY].generated.low > 0


def test_features_far_apart_stand_above_their_floor(shifted: Comparison) -> None:
    for row in shifted.fidelity():
        assert row.real_baseline is not None
        assert row.group == "mine"
        assert row.generated.low > row.real_baseline.value, row.name


def test_of_very_many_brains_some_are_drawn(shifted: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "MOST", 25)
    groups = shifted.groups
    assert len(groups.generated) == len(groups.held_out) == len(groups.training) == 25
    assert len(shifted.chosen) == 75


def estimate(value: float, half_width: float = 0.001) -> Estimate:
    return Estimate(value=value, low=value - half_width, high=value + half_width)


def evaluation_of(
    values: tuple[float, ...], p: float, *, brains: int = 30, half_width: float = 0.001, copies: int = 0
) -> Evaluation:
    kid, diversity, volumes, spectrum, age, overlap = values

    def row(group: str, name: str, value: float) -> Row:
        one, baseline = estimate(value, half_width), estimate(0.2)
        return Row(group=group, name=name, generated=one, real_baseline=baseline, brains=brains, held_out=30)

    near = {"training": "t", "held_out": "h", "to_training": 0.1, "to_held_out": 1.0, "ratio": 0.1}
    return Evaluation(
        created=datetime.now(UTC),
        command="",
        versions={},
        model="",
        segmenter="",
        generated=[],
        training=[],
        held_out=[],
        repeats=10,
        rows=[
            row("embedding", "KID", kid),
            row("diversity", "MS-SSIM", diversity),
            row("volumes", compare.ALL_REGIONS, volumes),
            row("spectrum", compare.BELOW_HALF, spectrum),
            row("spectrum", compare.BELOW_NYQUIST, -5.0),
            row("condition adherence", "age, correlation", age),
            row("condition adherence", "regions, mean Dice", overlap),
        ],
        memorization=[
            Memorization(
                space="voxels",
                p=p,
                ratio=estimate(1),
                real_baseline=estimate(1),
                threshold=0.1,
                ratios=[1.0] * brains,
                real_baseline_ratios=[1.0] * 30,
                neighbours=[Neighbour(generated=f"g{i}", copied=True, **near) for i in range(copies)],
            )
        ],
    )


GOOD = (0.39, -0.028, 0.29, -0.9, 0.91, 0.83)
BAD = (0.41, -0.032, 0.31, -1.1, 0.89, 0.81)


@pytest.mark.parametrize(
    ("values", "p", "copies", "expected"),
    # KID 2 x 0.201, diversity 0.03, volumes 1.5 x 0.2, spectrum 1 dB, p 0.05, age 0.9, Dice 0.82
    [(GOOD, 0.06, 0, "met"), (BAD, 0.04, 1, "missed")],
    ids=["just met", "just missed"],
)
def test_the_targets_are_those_of_the_project(values: tuple[float, ...], p: float, copies: int, expected: str) -> None:
    evaluation = evaluation_of(values, p, copies=copies)
    found = list(targets(evaluation))
    assert [one.outcome for one in found] == [expected] * 8
    assert not any(one.stretch_outcome == "met" for one in found)
    assert Evaluation.model_validate_json(evaluation.model_dump_json()) == evaluation


def test_an_interval_across_the_limit_is_inconclusive() -> None:
    found = list(targets(evaluation_of(GOOD, 0.06, half_width=0.2)))
    assert [one.outcome for one in found if one.group not in ("memorization", "copies")] == ["inconclusive"] * 6


def test_four_brains_meet_no_target_but_can_miss() -> None:
    assert {one.outcome for one in targets(evaluation_of(GOOD, 0.9, brains=4))} == {"inconclusive"}
    assert {one.outcome for one in targets(evaluation_of(BAD, 0.01, brains=4, copies=1))} == {"missed"}


@pytest.mark.parametrize(
    ("mean", "count", "expected"),
    # People: 4.4 +- 1.96 x 0.1, thus 4.204 to 4.596; the mean of 25 brains is known to +- 0.0392.
    # Of 4000 brains 1000 are compared, whose mean is known to +- 0.0062.
    [
        (4.55, 25, "met"),
        (4.6, 25, "inconclusive"),
        (4.7, 25, "missed"),
        (4.4, 4, "inconclusive"),
        (4.7, 4, "missed"),
        (4.5925, 4000, "inconclusive"),
    ],
)
def test_the_mean_of_generated_brains_has_to_lie_among_people(mean: float, count: int, expected: str) -> None:
    spread = Spread(generated_mean=mean, generated_sd=0.1, real_mean=4.4, real_sd=0.1)
    thickness = Row(
        group="cortex",
        name="cortical thickness (mm)",
        generated=estimate(0.2),
        brains=count,
        held_out=30,
        spread=spread,
    )
    evaluation = evaluation_of(GOOD, 0.06).model_copy(
        update={"rows": [thickness], "memorization": [], "generated": [f"g{i}" for i in range(count)]}
    )
    (found,) = targets(evaluation)
    assert (found.title, found.outcome) == ("cortical thickness", expected)
    assert "4.2 to 4.6" in found.target


def test_more_brains_are_asked_for() -> None:
    assert "4 generated and 30 held-out" in too_few(4, 30)
    assert too_few(MINIMUM, MINIMUM) == ""
