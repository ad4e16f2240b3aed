"""What an evaluation wrote, read back: figures of its targets, and what they mean."""

import json
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


def test_a_report_of_format_1_still_opens(tmp_path: Path) -> None:
    """As version 1 wrote it: floors, rulers, verdicts and originality."""
    one = {"value": 1.0, "low": 0.0, "high": 2.0}
    report = {
        "format": "braindiffusion-evaluation-1",
        "created": "2026-01-01T00:00:00Z",
        "command": "braindiffusion evaluate",
        "versions": {},
        "model": "toy",
        "ruler": "read by a toy",
        "generated": ["a"],
        "training": ["b"],
        "held_out": ["c"],
        "repeats": 10,
        "verdicts": [
            {"target": "t", "reached": "r", "met": True, "stretch": "s", "stretch_met": False, "group": "control"},
            {"target": "t", "reached": "r", "met": False, "stretch_met": None, "group": "originality", "name": "v"},
        ],
        "rows": [{"group": "control", "name": "age", "generated": one, "floor": one, "brains": 3}],
        "curves": [{"name": "c", "x": [1], "x_unit": "f", "unit": "dB", "generated": [one], "floor": [one]}],
        "originality": [
            {"space": "v", "p": 0.5, "ratio": one, "people": one, "threshold": 0.1, "ratios": [1.0]}
            | {"people_ratios": [1.0], "neighbours": []}
        ],
        "left_out": [],
    }
    (tmp_path / JSON).write_text(json.dumps(report))
    found = read_evaluation(tmp_path)
    assert found.segmenter == "read by a toy"
    assert [(one.outcome, one.stretch_outcome) for one in found.targets] == [("met", "missed"), ("missed", None)]
    assert found.row("condition adherence", "age") == found.rows[0]
    assert found.rows[0].real_baseline == found.curves[0].real_baseline[0] == ONE
    assert found.estimate_of(found.targets[1]) == (ONE, ONE, "")
    assert found.memorization[0].real_baseline_ratios == [1.0]
    assert found.summary == "1 of 2 targets met"
    assert read_evaluation_again(found, tmp_path) == found


def read_evaluation_again(found: Evaluation, folder: Path) -> Evaluation:
    (folder / JSON).write_text(found.model_dump_json())
    return read_evaluation(folder)
