"""From portraits to rows: what was put in comes out, in the right unit."""

from datetime import UTC, datetime

import numpy as np
import pytest

from braindiffusion.evaluation import compare
from braindiffusion.evaluation.brain_measures import Portrait
from braindiffusion.evaluation.compare import Comparison
from braindiffusion.evaluation.targets import verdicts
from braindiffusion.runs.reports.evaluation import Evaluation, Figure, Originality, Row


def portraits(count: int, rng: np.random.Generator, shift: float = 0.0, power: float = 1.0) -> list[Portrait]:
    """People whose hippocampus is 3 ml +- 0.5, shifted by so many standard deviations."""
    return [
        Portrait(
            name=f"p{i}",
            measures={"brain volume": 1400.0, "volume: left hippocampus": rng.normal(3 + 0.5 * shift, 0.5)},
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
    made, held_out, training = portraits(40, rng, 1.0, 0.5), portraits(40, rng), portraits(80, rng)
    return Comparison(made, held_out, training, spacing=2.0, repeats=100, rng=rng)


def test_half_the_power_is_three_decibels_at_every_frequency(shifted: Comparison) -> None:
    (half, whole), curve = shifted.power()
    assert [each.value for each in curve.generated] == pytest.approx([-3.01] * 8, abs=0.15)
    assert [each.value for each in curve.floor] == pytest.approx([0] * 8, abs=0.15)
    assert half.generated.value == pytest.approx(-3.01, abs=0.15)
    assert whole.unit == "dB"
    assert curve.x[-1] == 0.25  # Nyquist of 2 mm


def test_a_shift_is_told_in_standard_deviations_of_real_brains(shifted: Comparison) -> None:
    rows = {(row.group, row.name): row for row in shifted.measures()}
    row = rows["volumes", "left hippocampus (ml)"]
    assert row.generated.value == pytest.approx(1, abs=0.35)
    assert row.floor is not None
    assert row.floor.value < 0.5
    assert row.spread is not None
    assert row.spread.real_mean == pytest.approx(3, abs=0.15)
    assert row.spread.generated_mean == pytest.approx(3.5, abs=0.25)
    # The only region that moves is the median of all regions; a constant measure is 0 apart.
    assert rows["volumes", compare.ALL_REGIONS].generated.value == pytest.approx(row.generated.value)
    assert rows["shape", "brain volume (ml)"].generated.value == 0
    assert rows["volumes", compare.JOINTLY].generated.low > 0


def test_features_far_apart_stand_above_their_floor(shifted: Comparison) -> None:
    for row in shifted.fidelity():
        assert row.floor is not None
        assert row.group == "mine"
        assert row.generated.low > row.floor.value, row.name


def test_of_very_many_brains_some_are_drawn(shifted: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "MOST", 25)
    groups = shifted.groups
    assert len(groups.generated) == len(groups.held_out) == len(groups.training) == 25
    assert len(shifted.chosen) == 75


def figure(value: float) -> Figure:
    return Figure(value=value, low=value - 0.1, high=value + 0.1)


def row(group: str, name: str, value: float, floor: float = 0.2) -> Row:
    return Row(group=group, name=name, generated=figure(value), floor=figure(floor), brains=9, held_out=9)


@pytest.mark.parametrize(
    ("rows", "p", "expected"),
    [
        # KID 2 x (0.2 + 0.1), diversity 0.03, volumes 1.5 x 0.2, spectrum 1 dB, p 0.05, age 0.85, Dice 0.8
        ((0.59, -0.029, 0.29, -0.9, 0.86, 0.81), 0.06, [True] * 8),
        ((0.61, -0.031, 0.31, -1.1, 0.84, 0.79), 0.04, [False] * 5 + [True] + [False] * 2),
    ],
    ids=["just met", "just missed"],
)
def test_the_targets_are_those_of_the_project(rows: tuple[float, ...], p: float, expected: list[bool]) -> None:
    kid, diversity, volumes, spectrum, age, overlap = rows
    evaluation = Evaluation(
        created=datetime.now(UTC),
        command="",
        versions={},
        model="",
        ruler="",
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
            row("control", "age, correlation", age),
            row("control", "regions, mean Dice", overlap),
        ],
        originality=[
            Originality(
                space="voxels",
                p=p,
                ratio=figure(1),
                people=figure(1),
                threshold=0.1,
                ratios=[],
                people_ratios=[],
                neighbours=[],
            )
        ],
    )
    found = list(verdicts(evaluation))
    assert [verdict.met for verdict in found] == expected
    assert not any(verdict.stretch_met for verdict in found)
    assert Evaluation.model_validate_json(evaluation.model_dump_json()) == evaluation
