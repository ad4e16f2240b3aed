"""What an evaluation wrote, read back: figures of its verdicts, and what they mean."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs.reports.evaluation import JSON, Evaluation, Figure, Originality, Row, Verdict, read_evaluation
from braindiffusion.runs.reports.metric_descriptions import meaning

ONE, TWO = (Figure(value=value, low=value - 1, high=value + 1) for value in (1.0, 2.0))
SPACE = Originality(
    space="voxels", p=0.5, ratio=TWO, people=ONE, threshold=0.1, ratios=[], people_ratios=[], neighbours=[]
)


def verdict(group: str, name: str) -> Verdict:
    return Verdict(target="t", reached="r", met=True, group=group, name=name)


@pytest.fixture
def evaluation() -> Evaluation:
    return Evaluation(
        created=datetime(2026, 1, 1, tzinfo=UTC),
        command="",
        versions={},
        model="toy",
        ruler="",
        generated=[],
        training=[],
        held_out=[],
        repeats=10,
        rows=[Row(group="spectrum", name="below", unit="dB", generated=ONE, floor=TWO, brains=3)],
        originality=[SPACE],
    )


def test_a_verdict_finds_its_figure(evaluation: Evaluation) -> None:
    assert evaluation.judged(verdict("spectrum", "below")) == (ONE, TWO, "dB")
    assert evaluation.judged(verdict("originality", "voxels")) == (TWO, ONE, "")
    assert evaluation.judged(verdict("copies", "voxels")) == (None, None, "")
    assert evaluation.judged(verdict("", "")) == (None, None, "")


def test_a_report_is_read_back_or_told(evaluation: Evaluation, tmp_path: Path) -> None:
    with pytest.raises(BrainDiffusionError, match="cannot be read"):
        read_evaluation(tmp_path)
    (tmp_path / JSON).write_text("{}")
    with pytest.raises(BrainDiffusionError, match="is not what"):
        read_evaluation(tmp_path)
    (tmp_path / JSON).write_text(evaluation.model_dump_json())
    assert read_evaluation(tmp_path) == evaluation


@pytest.mark.parametrize("group", ["volumes", "control", "embedding", "copies"])
def test_every_group_has_a_meaning_in_plain_words(group: str) -> None:
    assert len(meaning(group).split()) > 10
    assert ("floor is what real training brains reach" in meaning(group)) == (group in ("volumes", "embedding"))
