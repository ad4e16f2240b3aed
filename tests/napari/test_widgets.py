"""The pieces that docks share: they show what they are told, and emit what the user asks for."""

import numpy as np
import pytest
from qtpy.QtCore import Qt

from braindiffusion.runs import Metric, Run, RunState, TrainRequest
from napari_braindiffusion.widgets.plots.loss_curve import LossCurve
from napari_braindiffusion.widgets.plots.training_plot import Curves
from napari_braindiffusion.widgets.progress_row import ProgressRow
from napari_braindiffusion.widgets.run_list import RunList


class TestCurves:
    def test_a_hint_stands_where_there_is_nothing_to_draw(self, shown):
        curves = shown(Curves())
        curves.set_theme("#ffffff", "#101010")
        curves.smoothing.setValue(2)
        curves.add("level 0", 0, {"learning_rate": 0.1})
        assert curves._loss.made is None  # pyqtgraph is not needed yet
        assert curves._loss.hint.isVisible()
        assert curves.points("level 0", "loss") == ([], [])

        curves.add("level 0", 1, {"loss": 4.0})
        curves.add("level 0", 2, {"loss": 1.0, "novelty": 0.9})
        assert curves.loss.isVisible()
        assert not curves._loss.hint.isVisible()
        assert curves.novelty.isVisible()
        assert curves.points("level 0", "novelty") == ([2], [0.9])
        (drawn,) = curves.loss.getPlotItem().listDataItems()
        np.testing.assert_allclose(drawn.getOriginalDataset()[1], [4, 2])  # (4 / 2 + 1) / 1.5
        assert curves.loss.backgroundBrush().color().name() == "#ffffff"

        curves.clear_curves()
        assert curves._loss.hint.isVisible()
        assert not curves._novelty.isVisible()
        curves.add_all([Metric(stage="level 0", step=1, values={"loss": 1.0})], "other")
        assert curves.loss.isVisible()
        curves.forget("other")
        assert curves._loss.hint.isVisible()

    def test_controls_work_before_and_after_there_is_a_plot(self, shown):
        curves = shown(Curves())
        curves.log.setChecked(False)
        curves.add("level 0", 1, {"loss": 4.0})
        curves.add("level 1", 1, {"loss": 2.0})
        plot = curves.loss.getPlotItem()
        assert [item.opts["logMode"] for item in plot.listDataItems()] == [[False, False]] * 2
        curves.log.setChecked(True)
        assert [item.opts["logMode"] for item in plot.listDataItems()] == [[False, True]] * 2
        curves.level.setCurrentIndex(2)
        assert [item.isVisible() for item in plot.listDataItems()] == [False, True]


class TestLossCurve:
    def test_draws_each_level_and_kind(self, shown):
        curve = shown(LossCurve())
        for step in range(1, 6):
            curve.add("level 0", step, {"loss": 1 / step, "learning_rate": 0.1})
        curve.add("level 1", 1, {"loss": 3.0, "validation_loss": 4.0})
        assert curve.points("level 0", "loss") == ([1, 2, 3, 4, 5], [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])
        names = [item.name() for item in curve.getPlotItem().listDataItems()]
        assert names == ["level 0, training", "level 1, training", "level 1, validation"]
        drawn = curve.getPlotItem().listDataItems()[0].getOriginalDataset()
        np.testing.assert_array_equal(drawn[1], [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])

    def test_a_level_keeps_its_colour_for_both_kinds(self, shown):
        curve = shown(LossCurve())
        curve.add("level 0", 1, {"loss": 1.0, "validation_loss": 2.0})
        curve.add("level 1", 1, {"loss": 1.0})
        first, second, other = (item.opts["pen"].color().name() for item in curve.getPlotItem().listDataItems())
        assert first == second != other

    @pytest.mark.parametrize("pixels", [60, 150, 400])
    @pytest.mark.parametrize("ends", [(0.27, 0.31), (0.2, 0.9), (0.03, 0.9), (1e-3, 30.0), (1e-12, 1e9)])
    def test_numbers_of_a_logarithmic_axis_keep_apart(self, shown, ends, pixels):
        curve = shown(LossCurve())
        axis = curve.getPlotItem().getAxis("left")
        least, largest = np.log10(ends)
        ticks = axis.tickValues(least, largest, pixels)
        places = np.sort(np.concatenate([values for _, values in ticks]))
        assert len(places) >= 1
        assert (np.diff(places) * pixels / (largest - least) >= 13.9).all()
        numbers = [text for spacing, values in ticks for text in axis.tickStrings(values, 1.0, spacing)]
        assert len(set(numbers)) == len(numbers) == len(places)

    def test_passes_over_what_a_logarithm_cannot_show(self, shown):
        curve = shown(LossCurve())
        for step, loss in enumerate([1.0, float("nan"), 0.0, float("inf"), 0.5]):
            curve.add("level 0", step, {"loss": loss})
        assert curve.points("level 0", "loss") == ([0, 4], [1.0, 0.5])

    def test_history_at_once_equals_one_by_one(self, shown):
        metrics = [Metric(stage="level 0", step=step, values={"loss": 1.0 + step}) for step in range(50)]
        at_once, one_by_one = shown(LossCurve()), shown(LossCurve())
        at_once.add_all(metrics)
        for metric in metrics:
            one_by_one.add(metric.stage, metric.step, metric.values)
        assert at_once.points("level 0", "loss") == one_by_one.points("level 0", "loss")
        at_once.clear_curves()
        assert not at_once.getPlotItem().listDataItems()
        assert at_once.points("level 0", "loss") == ([], [])

    def test_follows_the_theme(self, shown):
        curve = shown(LossCurve())
        curve.set_theme("#ffffff", "#101010")
        assert curve.backgroundBrush().color().name() == "#ffffff"
        assert curve.getPlotItem().getAxis("left").textPen().color().name() == "#101010"

    def test_its_legend_leaves_room_for_the_curves(self, shown, qtbot):
        curve = shown(LossCurve())
        for level in range(4):
            curve.add(f"level {level}", 1, {"loss": 0.5, "validation_loss": 0.6})
        legend = curve.getPlotItem().legend
        curve.resize(300, 200)
        qtbot.waitUntil(lambda: legend.columnCount == 1)
        tall = legend.height()
        curve.resize(380, 200)
        qtbot.waitUntil(lambda: legend.columnCount == 2 and legend.height() < 0.6 * tall)
        assert legend.width() < 380


class TestProgressRow:
    def test_shows_stage_steps_and_time_left(self, shown):
        row = shown(ProgressRow())
        row.show_progress("level 1", 30, 120, 200.0, "sharpening")
        assert row.label.text() == "level 1 · 30 of 120 · sharpening · 3 min left"
        assert (row.bar.value(), row.bar.maximum()) == (30, 120)

    def test_estimates_the_time_left_where_it_is_not_told(self, shown, monkeypatch):
        clock = iter([100.0, 110.0])
        monkeypatch.setattr("napari_braindiffusion.widgets.progress_row.time.monotonic", lambda: next(clock))
        row = shown(ProgressRow())
        row.show_progress("level 0", 0, 50, None)
        row.show_progress("level 0", 10, 50, None)
        assert row.label.text().endswith("40 s left")

    def test_stop_is_asked_for_once(self, shown, qtbot):
        row = shown(ProgressRow())
        row.begin("Starting …")
        with qtbot.waitSignal(row.stop_requested):
            qtbot.mouseClick(row.stop_button, Qt.MouseButton.LeftButton)
        assert not row.stop_button.isEnabled()

    def test_only_words_stay_of_a_job_that_is_over(self, shown):
        row = shown(ProgressRow("Stop", pause_tooltip="Holds it."))
        controls = (row.bar, row.stop_button, row.pause_button)
        row.begin("Starting …")
        assert all(control.isVisible() for control in controls)
        row.rest("Cancelled.")
        assert row.label.isVisible()
        assert not any(control.isVisible() for control in controls)
        row.rest()
        assert row.isHidden()


class TestRunList:
    def test_shows_states_and_keeps_the_choice(self, shown, tmp_path):
        runs = [Run.create(TrainRequest(data=tmp_path), root=tmp_path, name=name) for name in ("one", "two")]
        listed = shown(RunList())
        listed.set_runs([(run, RunState.CANCELLED) for run in runs])
        assert [listed.itemText(i) for i in range(listed.count())] == ["New training", "one · stopped", "two · stopped"]
        assert listed.run is None
        listed.choose(runs[1])
        listed.set_runs([(run, RunState.FINISHED) for run in runs])
        assert listed.run == runs[1]
        listed.set_runs([])
        assert listed.run is None
