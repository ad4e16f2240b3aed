"""The docks in the real viewer, with real engine processes that do quick jobs (see `fake_engine`)."""

import gc
import json
import os
import signal

import nibabel as nib
import numpy as np
import pytest
from napari.utils.theme import get_theme
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from braindiffusion.conditions import ConditionSchema, MapField, Numbers, ScalarField
from braindiffusion.runs import GenerateRequest, Run, RunState, TrainRequest, list_runs
from napari_braindiffusion.docks.generate import LOW_RESOLUTION, PREVIEW, GenerateDock
from napari_braindiffusion.docks.open import open_dock
from napari_braindiffusion.docks.train import TrainDock
from napari_braindiffusion.engine import trainings as training
from napari_braindiffusion.engine.client import EngineClient
from napari_braindiffusion.widgets.dialogs import OnClose

TIMEOUT = 60_000


START_ENGINE = GenerateDock._start_engine
"""As it is: the other tests start no engine that they do not need."""


def docked(viewer, dock, name):
    viewer.window.add_dock_widget(dock, name=name, area="right")
    return dock


def click(qtbot, button):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


class TestGenerate:
    @pytest.fixture
    def dock(self, viewer, fake_engine):
        dock = docked(viewer, GenerateDock(viewer), "Generate")
        dock.engine = dock.preview.engine = EngineClient(command=fake_engine, parent=dock)
        return dock

    def test_preview_then_result_and_trajectory_as_layers_in_mm(self, dock, viewer, qtbot):
        dock.form.choose_model("ok")
        dock.form.fields["seed"].value = 5
        dock.form.fields["trajectory"].value = True
        names = []
        viewer.layers.events.inserted.connect(lambda event: names.append(event.value.name))
        click(qtbot, dock.generate_button)
        assert not dock.generate_button.isEnabled()
        with qtbot.waitSignal(dock.job.finished, timeout=TIMEOUT):
            pass
        assert names == [PREVIEW, "sample 1 (seed 5), from noise"]
        result, way = viewer.layers
        assert result.name == "sample 1 (seed 5)"
        assert result.metadata["provenance"] == {"seed": 5}
        np.testing.assert_array_equal(result.scale, (2, 2, 2))
        assert {str(unit) for unit in result.units} == {"millimeter"}
        assert result.data.max() == 105
        assert way.data.shape == (4, 16, 16, 16)
        assert way.axis_labels == ("step", "x", "y", "z")
        assert viewer.dims.point[0] == 3
        assert dock.generate_button.isEnabled()
        assert dock.form.fields["seed"].value == 6  # the next press makes another

    def test_the_engine_starts_with_the_dock(self, make_napari_viewer_proxy, qtbot, fake_engine, monkeypatch):
        """It is ready when somebody has filled in the form, and ends with the dock."""
        monkeypatch.setattr(GenerateDock, "_start_engine", START_ENGINE)
        engine = EngineClient(command=fake_engine)
        monkeypatch.setattr(EngineClient, "_shared", engine)
        assert engine.pid is None
        viewer = make_napari_viewer_proxy(show=True)
        dock = docked(viewer, GenerateDock(viewer), "Generate")
        assert engine.pid is not None
        dock.end()
        assert engine.pid is None

    def test_no_garbage_is_collected_while_it_is_made(self, viewer, qtbot, fake_engine):
        """Among all objects of napari that takes longer than the dock itself."""
        begun: list[str] = []
        told = lambda phase, _: begun.append(phase)  # noqa: E731
        gc.callbacks.append(told)
        thresholds = gc.get_threshold()
        gc.set_threshold(10, 1, 1)
        try:
            dock = GenerateDock(viewer)
            built = len(begun)
            docked(viewer, dock, "Generate")
            qtbot.waitUntil(gc.isenabled)
        finally:
            gc.set_threshold(*thresholds)
            gc.callbacks.remove(told)
        assert built < 20  # before the dock's first line
        assert len(begun) > built

    def test_the_first_brain_stands_upright_left_at_the_left(self, dock, viewer, qtbot):
        dock.generate(GenerateRequest(model="ok", previews=True))
        with qtbot.waitSignal(dock.job.finished, timeout=TIMEOUT):
            pass
        assert viewer.dims.order == (2, 1, 0)
        assert viewer.scene.camera.orientation2d == ("up", "right")
        assert viewer.dims.axis_labels == ("x", "y", "z")

    def test_many_brains_are_many_layers(self, dock, viewer, qtbot):
        dock.generate(GenerateRequest(model="ok", num_samples=3, seed=1, previews=True))
        with qtbot.waitSignal(dock.job.finished, timeout=TIMEOUT):
            pass
        assert [layer.name for layer in viewer.layers] == [f"sample {i} (seed {i})" for i in (1, 2, 3)]
        assert [layer.data.max() for layer in viewer.layers] == [101, 102, 103]

    def test_a_preview_that_the_user_removed_does_not_come_back_broken(self, dock, viewer, qtbot):
        dock.generate(GenerateRequest(model="gated", previews=True))
        qtbot.waitUntil(lambda: len(viewer.layers) >= 1, timeout=TIMEOUT)
        viewer.layers.clear()
        with qtbot.waitSignal(dock.job.finished, timeout=TIMEOUT):
            (dock.job.run.path / "open").touch()
        assert [layer.name for layer in viewer.layers] == ["sample 1 (seed 0)"]

    def test_cancel_leaves_no_half_brain(self, dock, viewer, qtbot):
        dock.generate(GenerateRequest(model="gated", num_samples=2, previews=True))
        qtbot.waitUntil(lambda: "sample 1 (seed 0)" in viewer.layers, timeout=TIMEOUT)
        with qtbot.waitSignal(dock.job.cancelled, timeout=TIMEOUT):
            click(qtbot, dock.progress.stop_button)
        assert [layer.name for layer in viewer.layers] == ["sample 1 (seed 0)"]
        assert dock.progress.label.text() == "Cancelled."
        assert dock.generate_button.isEnabled()

    def test_failures_are_told_in_plain_words(self, dock, qtbot, notices):
        dock.generate(GenerateRequest(model="bad"))
        with qtbot.waitSignal(dock.job.failed, timeout=TIMEOUT):
            pass
        assert notices() == [("error", "There is no model 'bad': no such folder.")]

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
    def test_a_killed_engine_is_told_once_and_the_next_press_works(self, dock, viewer, qtbot, notices):
        dock.generate(GenerateRequest(model="gated", previews=True))
        qtbot.waitUntil(lambda: len(viewer.layers) >= 1, timeout=TIMEOUT)
        with qtbot.waitSignal(dock.job.failed, timeout=TIMEOUT):
            os.kill(dock.engine.pid, signal.SIGKILL)
        ((severity, message),) = notices()
        assert severity == "error"
        assert message.startswith("The engine stopped in the middle of the job")
        assert PREVIEW not in viewer.layers
        dock.generate(GenerateRequest(model="ok", previews=True))
        with qtbot.waitSignal(dock.job.finished, timeout=TIMEOUT):
            pass

    def test_without_a_model_it_says_what_to_do(self, dock, qtbot, notices):
        dock.form.model.native.clear()
        click(qtbot, dock.generate_button)
        assert dock.job is None
        assert "train one" in notices()[0][1]

    def test_copies_a_command_that_asks_for_the_same(self, dock, qtbot):
        dock.form.choose_model("some model")
        dock.form.fields["num_samples"].value = 5
        dock.copy_button.menu().actions()[0].trigger()
        assert QApplication.clipboard().text() == "braindiffusion generate --model 'some model' --num-samples 5"

    @pytest.fixture
    def asks(self, tmp_path):
        """The card of a model that can be asked for age and regions."""
        age = ScalarField(name="age", unit="years", seen=Numbers.of(np.arange(20.0, 81.0)))
        schema = ConditionSchema(fields=(age, MapField(name="regions", labels=41)))
        folder = tmp_path / "asks"
        folder.mkdir()
        card = {"configuration": {"condition": schema.model_dump(mode="json")}}
        (folder / "model.json").write_text(json.dumps(card))
        (folder / "model.safetensors").touch()
        return folder

    def test_asks_for_what_the_model_can_be_asked_for(self, dock, viewer, asks):
        dock.form.choose_model(asks)
        conditions = dock.form.conditions
        assert list(conditions.rows) == ["age", "regions"]
        conditions.rows["age"].slider.setValue(635)
        conditions.rows["age"].check_box.setChecked(True)
        assert dock.form.request().condition == {"age": 63.5}
        dock.form.choose_model("ok")
        assert dock.form.request().condition == {}

    def test_a_coarse_brain_follows_what_is_asked(self, dock, viewer, qtbot, asks):
        dock.form.choose_model(asks)
        asked = []
        dock.preview.volume.connect(lambda _: asked.append(dock.form.conditions.asked()))
        age = dock.form.conditions.rows["age"]
        with qtbot.waitSignal(dock.preview.volume, timeout=TIMEOUT):
            for years in range(30, 61):  # a slider that is dragged: only where it rests is shown
                age.slider.setSliderPosition(years * 10)
                age.slider.sliderMoved.emit(years * 10)
        assert asked[-1] == {"age": 60.0}
        assert [layer.name for layer in viewer.layers] == [LOW_RESOLUTION]
        request = dock.preview.last.request
        assert request.condition == {"age": 60.0}
        assert list_runs() == []  # it is nobody's history
        qtbot.waitUntil(lambda: not dock.preview.pending, timeout=TIMEOUT)
        dock.form.live.value = False
        age.slider.setSliderPosition(400)
        assert not dock.preview.pending
        # What is made in full goes on in the same layer.
        click(qtbot, dock.generate_button)
        with qtbot.waitSignal(dock.job.finished, timeout=TIMEOUT):
            pass
        assert [layer.name for layer in viewer.layers] == ["sample 1 (seed 0)"]

    def test_a_painted_layer_is_a_map_in_millimetres(self, dock, viewer, qtbot, asks):
        dock.form.choose_model(asks)
        rows = dock.form.conditions.rows
        viewer.add_image(np.zeros((4, 5, 6)), name="a brain", scale=(2, 2, 2), units="mm")
        painted = np.zeros((4, 5, 6), np.uint8)
        painted[1:3, 2:4, 3] = 18
        labels = viewer.add_labels(painted, name="my regions", scale=(2, 2, 2), translate=(-4, -5, -6), units="mm")
        assert [rows["regions"].box.itemText(i) for i in range(rows["regions"].box.count())] == [
            "none",
            "my regions",
        ]
        rows["regions"].box.setCurrentIndex(1)
        dock.copy_button.menu().actions()[0].trigger()
        file = next(word for word in QApplication.clipboard().text().split() if "label-maps" in word).split("=")[-1]
        saved = nib.load(file.strip("'"))
        np.testing.assert_array_equal(np.asarray(saved.dataobj), painted)
        np.testing.assert_allclose(saved.affine @ [0, 0, 0, 1], [-4, -5, -6, 1])
        viewer.layers.remove(labels)
        assert dock.form.conditions.asked() == {}

    def test_own_trainings_are_offered(self, viewer, qtbot, tmp_path):
        run = Run.create(TrainRequest(data=tmp_path), name="mine")
        (run.checkpoints / "best").mkdir()
        (run.checkpoints / "best" / "model.json").write_text("{}")
        Run.create(TrainRequest(data=tmp_path), name="nothing learnt yet")
        dock = docked(viewer, GenerateDock(viewer), "Generate")

        def trainings():
            texts = [dock.form.model.native.itemText(index) for index in range(len(dock.form.model))]
            return [text for text in texts if "training" in text]

        qtbot.waitUntil(lambda: trainings() == ["my training mine"], timeout=TIMEOUT)

    @pytest.mark.parametrize("how", ["dock", "viewer"])
    def test_closing_leaves_no_process(self, dock, viewer, qtbot, engines, how):
        dock.generate(GenerateRequest(model="gated", previews=True))
        run = dock.job.run
        qtbot.waitUntil(lambda: len(viewer.layers) >= 1, timeout=TIMEOUT)
        assert len(engines()) == 1
        viewer.window.remove_dock_widget(dock) if how == "dock" else viewer.close()
        qtbot.waitUntil(lambda: not engines(), timeout=TIMEOUT)
        assert run.state is RunState.CANCELLED
        if how == "dock":
            assert len(viewer.layers) == 0  # no preview is left

    def test_closing_may_be_called_off(self, dock, viewer, qtbot, answers):
        """The question comes whether the window or the dock is closed; the dock comes back as a tab."""
        dock.generate(GenerateRequest(model="gated", previews=True))
        answers += [OnClose.STAY, OnClose.STAY]
        assert not dock.window().close()
        viewer.window.remove_dock_widget(dock)
        qtbot.waitUntil(lambda: "Generate" in viewer.window.dock_widgets)
        assert not dock.has_ended
        with qtbot.waitSignal(dock.job.finished, timeout=TIMEOUT):
            (dock.job.run.path / "open").touch()

    def test_what_was_made_is_offered_to_evaluate(self, dock, viewer, qtbot):
        assert dock.next_button.isHidden()
        dock.generate(GenerateRequest(model="ok"))
        run = dock.job.run
        with qtbot.waitSignal(dock.job.finished, timeout=TIMEOUT):
            pass
        assert not dock.next_button.isHidden()
        click(qtbot, dock.next_button)
        evaluate = open_dock(viewer, "Evaluate")
        assert evaluate.form.generated.sources == [run.path]

    def test_hiding_and_floating_ends_nothing(self, dock, viewer, qtbot, engines):
        dock.generate(GenerateRequest(model="gated", previews=True))
        qtbot.waitUntil(lambda: len(viewer.layers) >= 1, timeout=TIMEOUT)
        wrapper = dock.parentWidget()
        wrapper.hide()
        wrapper.show()
        wrapper.setFloating(True)
        wrapper.setFloating(False)
        with qtbot.waitSignal(dock.job.finished, timeout=TIMEOUT):
            (dock.job.run.path / "open").touch()
        assert [layer.name for layer in viewer.layers] == ["sample 1 (seed 0)"]
        assert len(engines()) == 1

    def test_fits_into_300_pixels(self, dock):
        assert dock.minimumSizeHint().width() <= 300


class TestTrain:
    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch, fake_engine):
        monkeypatch.setattr(training, "ENGINE", fake_engine)

    @pytest.fixture
    def dock(self, viewer, tmp_path):
        dock = docked(viewer, TrainDock(viewer), "Train")
        dock.form.fields["data"].value = tmp_path
        return dock

    def losses(self, dock):
        return dock.curve.points("level 0", "loss")[0]

    def test_start_stop_resume(self, dock, qtbot):
        dock.form.fields["epochs"].value = 2
        click(qtbot, dock.start_button)
        run = dock.job.run
        qtbot.waitUntil(lambda: len(self.losses(dock)) > 3, timeout=TIMEOUT)
        assert dock.progress.label.text().startswith("level 0 · ")
        with qtbot.waitSignal(dock.job.cancelled, timeout=TIMEOUT):
            click(qtbot, dock.progress.stop_button)
        assert run.state is RunState.CANCELLED
        stopped_at = len(self.losses(dock))
        assert stopped_at < 40
        assert dock.start_button.text() == "Resume"
        click(qtbot, dock.start_button)
        with qtbot.waitSignal(dock.job.finished, timeout=TIMEOUT):
            pass
        assert self.losses(dock) == list(range(1, 41))  # it went on where it had stopped
        assert [r.path for r in list_runs()] == [run.path]
        assert not dock.start_button.isEnabled()

    def test_it_may_go_on_without_the_viewer_and_is_found_again(
        self, dock, viewer, make_napari_viewer_proxy, qtbot, answers, engines
    ):
        dock.form.fields["epochs"].value = 1000
        dock.start()
        run = dock.job.run
        qtbot.waitUntil(lambda: len(self.losses(dock)) > 3, timeout=TIMEOUT)
        answers.append(OnClose.GO_ON)
        viewer.close()
        assert len(engines()) == 1
        assert run.state is RunState.RUNNING

        later = docked(other := make_napari_viewer_proxy(show=True), TrainDock(other), "Train")
        qtbot.waitUntil(lambda: later.job is not None, timeout=TIMEOUT)  # found by itself
        assert later.runs.run == run
        assert "running" in later.runs.currentText()
        missed = self.losses(later)
        assert missed[:3] == [1, 2, 3]
        qtbot.waitUntil(lambda: len(self.losses(later)) > len(missed), timeout=TIMEOUT)
        with qtbot.waitSignal(later.job.cancelled, timeout=TIMEOUT):
            later.stop()
        drawn = self.losses(later)
        assert drawn == list(range(1, len(drawn) + 1))  # what was missed, and what came
        qtbot.waitUntil(lambda: not engines(), timeout=TIMEOUT)

    @pytest.mark.parametrize("how", ["dock", "viewer"])
    def test_closing_may_stop_it(self, dock, viewer, qtbot, answers, engines, how):
        dock.form.fields["epochs"].value = 100
        dock.start()
        run = dock.job.run
        qtbot.waitUntil(lambda: bool(self.losses(dock)), timeout=TIMEOUT)
        answers.append(OnClose.STOP)
        viewer.window.remove_dock_widget(dock) if how == "dock" else viewer.close()
        qtbot.waitUntil(lambda: not engines(), timeout=TIMEOUT)
        assert run.state is RunState.CANCELLED

    def test_closing_may_be_called_off(self, dock, viewer, qtbot, answers, engines):
        dock.form.fields["epochs"].value = 100
        dock.start()
        qtbot.waitUntil(lambda: bool(self.losses(dock)), timeout=TIMEOUT)
        answers.append(OnClose.STAY)
        assert not dock.window().close()
        count = len(self.losses(dock))
        qtbot.waitUntil(lambda: len(self.losses(dock)) > count, timeout=TIMEOUT)
        dock.stop()
        with qtbot.waitSignal(dock.job.cancelled, timeout=TIMEOUT):
            pass

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
    def test_a_killed_training_is_told_and_can_be_resumed(self, dock, qtbot, engines, notices):
        dock.form.fields["epochs"].value = 100
        dock.start()
        run = dock.job.run
        qtbot.waitUntil(lambda: bool(self.losses(dock)), timeout=TIMEOUT)
        with qtbot.waitSignal(dock.job.failed, timeout=TIMEOUT):
            engines()[0].kill()
        assert "Resume goes on from its last checkpoint" in notices()[0][1]
        assert run.state is RunState.INTERRUPTED
        assert dock.start_button.text() == "Resume"
        assert dock.start_button.isEnabled()

    def test_an_earlier_run_is_drawn_with_its_settings(self, viewer, dock, qtbot, tmp_path):
        dock.form.fields["epochs"].value = 0.5
        dock.start()
        run = dock.job.run
        with qtbot.waitSignal(dock.job.finished, timeout=TIMEOUT):
            pass
        dock.show_run(None)
        assert self.losses(dock) == []
        assert dock.start_button.text() == "Start"
        dock.show_run(run)
        qtbot.waitUntil(lambda: self.losses(dock) == list(range(1, 11)), timeout=TIMEOUT)
        assert dock.form.fields["epochs"].value == 0.5
        assert dock.progress.label.text() == "learnt"

    def test_without_data_it_says_what_to_do(self, viewer, qtbot, notices):
        dock = docked(viewer, TrainDock(viewer), "Train")
        click(qtbot, dock.start_button)
        assert dock.job is None
        assert "Choose what to train on" in notices()[0][1]

    def test_copies_commands(self, dock, qtbot, tmp_path):
        dock.form.fields["batch_size"].value = 2
        dock.copy_button.menu().actions()[0].trigger()
        assert QApplication.clipboard().text() == f"braindiffusion train --data-dir {tmp_path} --batch-size 2"

    def test_the_curve_follows_the_theme(self, dock, viewer):
        viewer.theme = "light"
        ground = dock.curve.loss.backgroundBrush().color().name()
        assert ground == get_theme("light").background.as_hex(format="long")

    def test_fits_into_300_pixels(self, dock):
        assert dock.minimumSizeHint().width() <= 300
