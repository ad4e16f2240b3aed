"""What an evaluation wrote, read back: figures of its targets, and what they mean."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs.reports.evaluation import (
    JSON,
    Estimate,
    Evaluation,
    Memorization,
    Row,
    TargetResult,
    read_evaluation,
)
from braindiffusion.runs.reports.metric_descriptions import metric_description

ONE, TWO = (Estimate(value=value, low=value - 1, high=value + 1) for value in (1.0, 2.0))
SPACE = Memorization(
    space="voxels",
    p=0.5,
    ratio=TWO,
    real_baseline=ONE,
    threshold=0.1,
    ratios=[],
    real_baseline_ratios=[],
    neighbours=[],
)


def result(group: str, name: str) -> TargetResult:
    return TargetResult(target="t", reached="r", outcome="met", group=group, name=name)


@pytest.fixture
def evaluation() -> Evaluation:
    return Evaluation(
        created=datetime(2026, 1, 1, tzinfo=UTC),
        command="",
        versions={},
        model="toy",
        segmenter="",
        generated=[],
        training=[],
        held_out=[],
        repeats=10,
        rows=[Row(group="spectrum", name="below", unit="dB", generated=ONE, real_baseline=TWO, brains=3)],
        memorization=[SPACE],
    )


def test_a_verdict_finds_its_figure(evaluation: Evaluation) -> None:
    assert evaluation.estimate_of(result("spectrum", "below")) == (ONE, TWO, "dB")
    assert evaluation.estimate_of(result("memorization", "voxels")) == (TWO, ONE, "")
    assert evaluation.estimate_of(result("copies", "voxels")) == (None, None, "")
    assert evaluation.estimate_of(result("", "")) == (None, None, "")


def test_a_report_is_read_back_or_told(evaluation: Evaluation, tmp_path: Path) -> None:
    with pytest.raises(BrainDiffusionError, match="cannot be read"):
        read_evaluation(tmp_path)
    (tmp_path / JSON).write_text("{}")
    with pytest.raises(BrainDiffusionError, match="is not what"):
        read_evaluation(tmp_path)
    (tmp_path / JSON).write_text(evaluation.model_dump_json())
    assert read_evaluation(tmp_path) == evaluation


@pytest.mark.parametrize("group", ["volumes", "condition adherence", "embedding", "copies"])
def test_every_group_has_a_meaning_in_plain_words(group: str) -> None:
    assert len(metric_description(group).split()) > 10
    assert ("real baseline is what real training brains reach" in metric_description(group)) == (
        group in ("volumes", "embedding")
    )
