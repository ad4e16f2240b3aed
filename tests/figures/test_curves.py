"""Curves of runs, as numbers and in a real browser."""

from collections.abc import Callable
from pathlib import Path

import pytest

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.figures.curves import curves
from braindiffusion.runs import Log, Metric, Run, TrainRequest


@pytest.fixture
def training(tmp_path: Path) -> Run:
    run = Run.create(TrainRequest(data=tmp_path), tmp_path, "mine")
    run.append(Log(message="between"))
    for stage in (0, 1):
        for step in (10, 20, 30):
            run.append(Metric(stage=f"level {stage}", step=step, values={"loss": 1 / step + stage, "rate": 0.1}))
        run.append(Metric(stage=f"level {stage}", step=30, values={"gain": -1.0}))
    run.append(Metric(stage="level 1", step=20, values={"loss": 7.0}))  # resumed from step 10
    return run


def test_a_trace_for_each_metric_and_stage(training: Run) -> None:
    figure = curves([training])
    panels = {
        note.text: f"y{number or ''}".replace("y1", "y2") for number, note in enumerate(figure.layout.annotations)
    }
    assert list(panels) == ["loss", "rate", "gain"]
    losses = {trace.name: trace for trace in figure.data if trace.yaxis == "y"}
    assert list(losses["level 0"].x) == [10, 20, 30]
    assert list(losses["level 0"].y) == [1 / 10, 1 / 20, 1 / 30]
    assert list(losses["level 1"].y) == [1.1, 7.0, 1 / 30 + 1]
    assert len(figure.data) == 6
    assert losses["level 0"].line.color != losses["level 1"].line.color


def test_what_a_logarithm_cannot_show_stays_linear(training: Run) -> None:
    layout = curves([training]).layout
    assert (layout.yaxis.type, layout.yaxis2.type, layout.yaxis3.type) == ("log", "log", None)


def test_several_runs_are_told_apart(training: Run, tmp_path: Path) -> None:
    other = Run.create(TrainRequest(data=tmp_path), tmp_path, "other")
    other.append(Metric(stage="level 0", step=5, values={"loss": 0.5}))
    figure = curves([training, other])
    by_name = {trace.name: trace for trace in figure.data if trace.yaxis == "y"}
    assert set(by_name) == {"mine: level 0", "mine: level 1", "other: level 0"}
    assert by_name["mine: level 0"].line.color == by_name["other: level 0"].line.color
    assert by_name["mine: level 0"].line.dash != by_name["other: level 0"].line.dash


def test_a_run_without_metrics_is_told(tmp_path: Path) -> None:
    with pytest.raises(BrainDiffusionError, match="no metric was written by idle"):
        curves([Run.create(TrainRequest(data=tmp_path), tmp_path, "idle")])


def test_in_a_browser_axes_become_linear(show: Callable, training: Run) -> None:
    browser = show(curves([training]))
    assert browser.run("return plot._fullData.map(one => one.type)") == ["scatter"] * 6
    browser.press("Linear")
    browser.wait("plot._fullLayout.yaxis.type === 'linear'")
    browser.press("Log")
    browser.wait("plot._fullLayout.yaxis.type === 'log'")
    browser.check()
