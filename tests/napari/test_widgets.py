"""The pieces that docks share: they show what they are told, and emit what the user asks for."""

import numpy as np
import pytest
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent

from braindiffusion.conditions import (
    CategoryField,
    ConditionSchema,
    MapField,
    Numbers,
    ScalarField,
    VectorField,
)
from braindiffusion.runs import GenerateRequest, Metric, Run, RunState, TrainRequest
from napari_braindiffusion.widgets.forms.cohort_form import CohortForm
from napari_braindiffusion.widgets.forms.condition_form import ConditionForm
from napari_braindiffusion.widgets.forms.generate_form import GenerateForm
from napari_braindiffusion.widgets.forms.path_row import PathRow
from napari_braindiffusion.widgets.forms.train_form import TrainForm
from napari_braindiffusion.widgets.plots.loss_curve import LossCurve
from napari_braindiffusion.widgets.progress_row import ProgressRow
from napari_braindiffusion.widgets.run_list import RunList


@pytest.fixture
def shown(qtbot):
    def show(widget):
        qtbot.addWidget(widget)
        widget.show()
        return widget

    return show


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
        assert not row.stop_button.isEnabled()
        row.begin("Starting …")
        with qtbot.waitSignal(row.stop_requested):
            qtbot.mouseClick(row.stop_button, Qt.MouseButton.LeftButton)
        assert not row.stop_button.isEnabled()


class TestPathRow:
    def test_tells_once_when_a_path_is_entered(self, shown, qtbot):
        row, told = shown(PathRow()), []
        row.path_changed.connect(told.append)
        qtbot.keyClicks(row.line, "/data/ixi")
        assert told == []
        qtbot.keyClick(row.line, Qt.Key.Key_Return)
        assert [str(path) for path in told] == ["/data/ixi"]
        row.line.clear()
        assert told[1:] == [None]

    def test_takes_a_dropped_folder(self, shown, tmp_path):
        row, told = shown(PathRow()), []
        row.path_changed.connect(told.append)
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(tmp_path))])
        buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        row.dropEvent(QDropEvent(QPointF(QPoint(1, 1)), Qt.DropAction.CopyAction, data, buttons, keys))
        assert told == [tmp_path]

    @pytest.mark.parametrize(
        ("kind", "function", "answer"),
        [
            ("folder", "getExistingDirectory", lambda path: path),
            ("file", "getOpenFileName", lambda path: (path, "")),
            ("save", "getSaveFileName", lambda path: (path, "")),
        ],
    )
    def test_takes_what_the_dialog_answers(self, shown, qtbot, monkeypatch, tmp_path, kind, function, answer):
        dialog = f"napari_braindiffusion.widgets.forms.path_row.QFileDialog.{function}"
        monkeypatch.setattr(dialog, lambda *_, **__: answer(str(tmp_path)))
        row = shown(PathRow(kind))
        with qtbot.waitSignal(row.path_changed) as told:
            qtbot.mouseClick(row.button, Qt.MouseButton.LeftButton)
        assert told.args == [tmp_path]


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


class TestConditionForm:
    @pytest.fixture
    def form(self, shown):
        ages, volumes = Numbers.of(np.arange(20.0, 81.0)), Numbers.of(np.linspace(5, 15, 101))
        form = shown(ConditionForm())
        fields = (
            ScalarField(name="age", unit="years", seen=ages),
            CategoryField(name="sex", values=("F", "M")),
            VectorField(name="volumes", unit="ml", entries=("left caudate", "brainstem"), seen=(volumes, volumes)),
            MapField(name="regions", labels=41),
        )
        form.set_schema(ConditionSchema(fields=fields))
        return form

    def test_asks_for_nothing_until_it_is_touched(self, form):
        assert form.asked() == {}

    def test_a_slider_that_is_moved_asks(self, form, qtbot):
        with qtbot.waitSignal(form.changed):
            form.rows["age"].slider.setSliderPosition(400)
            form.rows["age"].slider.sliderMoved.emit(400)
        assert form.asked() == {"age": 40.0}
        assert form.rows["age"].number.value() == 40.0
        assert (form.rows["age"].slider.minimum(), form.rows["age"].slider.maximum()) == (200, 800)
        form.rows["age"].tick.setChecked(False)
        assert form.asked() == {}

    def test_regions_are_added_by_name_and_taken_back(self, form, qtbot):
        volumes = form.rows["volumes"]
        qtbot.keyClicks(volumes.box.lineEdit(), "brainst")
        volumes.box.activated.emit(volumes.box.findText("Brainstem"))
        volumes.sliders["brainstem"].slider.setValue(75)
        assert form.asked() == {"volumes": {"brainstem": "75%"}}
        assert volumes.sliders["brainstem"].amount.text() == "75%: 12.5 ml"
        qtbot.mouseClick(volumes.sliders["brainstem"].reset, Qt.MouseButton.LeftButton)
        assert form.asked() == {}

    def test_shows_what_was_asked_and_asks_for_the_same(self, form):
        form.offer_layers(["painted"])
        asked = {"age": 33.3, "sex": "M", "volumes": {"left caudate": "10%"}, "regions": "painted"}
        form.ask(asked)
        assert form.asked() == asked
        assert form.map_fields == ("regions",)
        form.offer_layers([])
        assert "regions" not in form.asked()

    def test_another_model_keeps_what_both_know(self, form):
        form.ask({"age": 50.0, "sex": "F"})
        older = ScalarField(name="age", unit="years", seen=Numbers.of(np.arange(40.0, 91.0)))
        form.set_schema(ConditionSchema(fields=(older,)))
        assert form.asked() == {"age": 50.0}
        form.set_schema(ConditionSchema())
        assert form.asked() == {}
        assert form.isHidden()


class TestForms:
    def test_generate_form_asks_for_what_it_shows(self, shown):
        form = shown(GenerateForm())
        form.set_models([("nice", "nice-model", "a card"), ("mine", "/runs/mine", "")])
        assert form.request() == GenerateRequest(model="nice-model", previews=True)
        form.choose_model("/runs/mine")
        form.number.setValue(3)
        form.seed.setValue(7)
        form.steps.setValue(12)
        form.eta.setValue(0.5)
        form.trajectory.setChecked(True)
        assert form.request() == GenerateRequest(
            model="/runs/mine", num_samples=3, seed=7, steps=12, eta=0.5, previews=True, trajectory=True
        )
        form.go_on()
        assert form.seed.value() == 10
        form.seed_row.then.setCurrentIndex(form.seed_row.then.findData("fixed"))
        form.go_on()
        assert form.seed.value() == 10
        form.seed_row.then.setCurrentIndex(form.seed_row.then.findData("random"))
        form.go_on()
        assert form.seed.value() != 10

    def test_a_chosen_model_stays_and_a_new_path_is_added(self, shown, tmp_path):
        form = shown(GenerateForm())
        form.set_models([("nice", "nice", "")])
        form.choose_model(tmp_path)
        assert form.request().model == str(tmp_path)
        form.set_models([("nice", "nice", "")])
        assert form.request().model == str(tmp_path)

    def test_train_form_asks_for_what_it_shows_and_shows_what_was_asked(self, shown, tmp_path):
        form = shown(TrainForm())
        assert form.request() is None
        form.data.set_path(tmp_path)
        assert form.request() == TrainRequest(data=tmp_path)
        asked = TrainRequest(data=tmp_path, preset="tiny", batch_size=2, epochs=1.5, validation_subjects=0)
        form.show_request(asked)
        assert form.request() == asked
        own = asked.model_copy(update={"preset": "my own"})
        form.show_request(own)
        assert form.request() == own

    def test_cohort_form_guesses_what_lies_beside(self, shown, qtbot, tmp_path):
        for folder in ("ixi/IXI-T1", "ixi/labels"):
            (tmp_path / folder).mkdir(parents=True)
        (tmp_path / "ixi/participants.tsv").touch()
        form, told = shown(CohortForm()), []
        form.sources_changed.connect(lambda: told.append(True))
        form.folder.set_path(tmp_path / "ixi/IXI-T1")
        assert len(told) == 1  # three paths, one look
        request = form.request()
        assert request.labels == tmp_path / "ixi/labels"
        assert request.participants == tmp_path / "ixi/participants.tsv"
        assert request.out == tmp_path / "ixi/IXI-T1-2mm.zarr"
        form.spacing.setValue(1.0)
        assert form.request().out == tmp_path / "ixi/IXI-T1-1mm.zarr"
        form.out.set_path(tmp_path / "mine.zarr")
        form.spacing.setValue(2.0)
        assert form.request().out == tmp_path / "mine.zarr"
        form.labels.set_path(None)
        assert len(told) == 2
        assert form.request().labels is None
