"""Training in the real viewer: paused, compared, followed, renamed; brains that emerge; what it will take."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from napari.qt.threading import WorkerBase
from qtpy.QtCore import Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QApplication

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.store import Cohort, PreparedVolume, Subject
from braindiffusion.models.registry import find_model
from braindiffusion.runs import (
    Cancelled,
    Estimated,
    Finished,
    GenerateRequest,
    Metric,
    Paused,
    Progress,
    Run,
    RunState,
    Started,
    TrainRequest,
    Warned,
    list_runs,
)
from braindiffusion.training.presets import PRESETS
from braindiffusion.volume import Volume, save_volume
from napari_braindiffusion.docks import base
from napari_braindiffusion.docks import run_browser as run_browser
from napari_braindiffusion.docks.open import open_dock
from napari_braindiffusion.docks.train import TrainDock
from napari_braindiffusion.engine import stall
from napari_braindiffusion.engine import trainings as training
from napari_braindiffusion.engine.client import EngineClient
from napari_braindiffusion.widgets import dialogs as questions
from napari_braindiffusion.widgets.copy_button import LAUNCHERS

TIMEOUT = 30_000


@pytest.fixture
def dock(viewer, tmp_path, monkeypatch, fake_engine):
    monkeypatch.setattr(training, "ENGINE", fake_engine)
    dock = TrainDock(viewer)
    viewer.window.add_dock_widget(dock, name="Train", area="right")
    dock.form.fields["data"].value = tmp_path
    return dock


def click(qtbot, button):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def steps(dock, stage="level 0"):
    return dock.curve.points(stage, "loss")[0]


def finished_run(tmp_path, name, loss=1.0, root=None):
    run = Run.create(TrainRequest(data=tmp_path), root, name)
    run.append(Started(job="train", pid=1, host="node-of-a-cluster"))
    run.append(Metric(stage="level 0", step=1, values={"loss": loss, "novelty": 0.8}))
    run.append(Finished(message="learnt"))
    return run


def show(dock, qtbot, run):
    """Choose a run in the list, once it is known."""
    with qtbot.waitSignal(dock.run_browser.refreshed, timeout=TIMEOUT):
        click(qtbot, dock.run_browser.reload_button)
    dock.runs.setCurrentIndex(1 + dock.runs.runs.index(run))
    dock.runs.activated.emit(dock.runs.currentIndex())


def test_what_draws_the_loss_is_imported_in_a_thread_once_the_dock_is_painted(dock, qtbot, monkeypatch):
    threads = []
    monkeypatch.setattr(base, "import_pyqtgraph", lambda: threads.append(threading.current_thread()))
    assert dock.curve._loss.made is None
    dock.showEvent(QShowEvent())
    assert threads == []
    qtbot.waitUntil(lambda: len(threads) == 1, timeout=TIMEOUT)
    assert threads[0] is not threading.main_thread()


def test_pause_go_on_and_stop_while_paused(dock, qtbot):
    dock.form.fields["epochs"].value = 100
    click(qtbot, dock.start_button)
    run = dock.job.run
    qtbot.waitUntil(lambda: bool(steps(dock)), timeout=TIMEOUT)
    with qtbot.waitSignal(dock.job.paused, timeout=TIMEOUT):
        click(qtbot, dock.progress.pause_button)
    assert run.state is RunState.PAUSED
    assert dock.progress.pause_button.text() == "Resume"
    assert "memory stays taken" in dock.progress.label.text()
    held = len(run.events())
    with qtbot.waitSignal(dock.job.paused, timeout=TIMEOUT, check_params_cb=lambda paused: not paused):
        click(qtbot, dock.progress.pause_button)
    qtbot.waitUntil(lambda: len(run.events()) > held + 2, timeout=TIMEOUT)
    with qtbot.waitSignal(dock.job.paused, timeout=TIMEOUT):
        click(qtbot, dock.progress.pause_button)
    with qtbot.waitSignal(dock.job.cancelled, timeout=TIMEOUT):
        click(qtbot, dock.progress.stop_button)
    assert run.state is RunState.CANCELLED


def test_a_finished_training_is_offered_to_generate(dock, viewer, qtbot, tmp_path):
    run = finished_run(tmp_path, "learnt")
    best = run.checkpoints / "best"
    best.symlink_to(find_model("ixi-2mm"), target_is_directory=True)
    assert dock.next_button.isHidden()
    show(dock, qtbot, run)
    qtbot.waitUntil(lambda: not dock.next_button.isHidden(), timeout=TIMEOUT)
    click(qtbot, dock.next_button)
    assert Path(open_dock(viewer, "Generate").form.model.value) == run.path


def test_runs_are_compared_in_one_plot(dock, qtbot, tmp_path):
    finished_run(tmp_path, "other")
    one = finished_run(tmp_path, "one")
    show(dock, qtbot, one)
    qtbot.waitUntil(lambda: steps(dock) == [1], timeout=TIMEOUT)
    assert dock.curve.novelty.isVisibleTo(dock)
    action = next(a for a in dock.menu.compare.actions() if a.text() == "other")
    action.trigger()
    qtbot.waitUntil(lambda: steps(dock, "other · level 0") == [1], timeout=TIMEOUT)
    names = [item.name() for item in dock.curve.loss.getPlotItem().listDataItems()]
    assert names == ["level 0, training", "other · level 0, training"]
    with qtbot.waitSignal(dock.run_browser.refreshed, timeout=TIMEOUT):
        dock.run_browser.refresh()
    (action,) = dock.menu.compare.actions()
    assert action.isChecked()  # also when the runs were looked for again
    action.trigger()
    assert [item.name() for item in dock.curve.loss.getPlotItem().listDataItems()] == ["level 0, training"]
    assert steps(dock, "other · level 0") == []
    assert steps(dock) == [1]


def test_rename_and_delete(dock, qtbot, tmp_path, monkeypatch):
    run = finished_run(tmp_path, "one")
    show(dock, qtbot, run)
    monkeypatch.setattr(questions, "ask_name", lambda *_: "better")
    with qtbot.waitSignal(dock.run_browser.refreshed, timeout=TIMEOUT):
        dock.menu.rename_action.trigger()
    assert dock.runs.run.name == "better"
    assert dock.runs.currentText() == "better · finished"
    monkeypatch.setattr(questions, "ask_delete", lambda *_: False)
    dock.menu.delete_action.trigger()
    assert dock.runs.run.path.exists()
    monkeypatch.setattr(questions, "ask_delete", lambda *_: True)
    path = dock.runs.run.path
    dock.menu.delete_action.trigger()
    qtbot.waitUntil(lambda: not path.exists() and not dock.runs.runs, timeout=TIMEOUT)


def test_a_live_run_is_never_deleted_nor_renamed(dock, qtbot, tmp_path, notices, monkeypatch):
    run = Run.create(TrainRequest(data=tmp_path), None, "live")
    run.append(Started(job="train", pid=1, host="node-of-a-cluster"))
    show(dock, qtbot, run)
    dock.menu.delete_action.trigger()
    assert "stop it before it is deleted" in notices()[0][1]
    monkeypatch.setattr(questions, "ask_name", lambda *_: "other")
    dock.menu.rename_action.trigger()
    qtbot.waitUntil(lambda: len(notices()) == 2, timeout=TIMEOUT)
    assert "stop it before it is renamed" in notices()[1][1]
    assert run.path.exists()


def test_runs_are_looked_for_away_from_the_gui(dock, qtbot, tmp_path, monkeypatch):
    finished_run(tmp_path, "one")
    threads = []

    def slow(folder):
        threads.append(threading.current_thread())
        return list_runs(folder)

    monkeypatch.setattr(run_browser, "list_runs", slow)
    with qtbot.waitSignal(dock.run_browser.refreshed, timeout=TIMEOUT):
        dock.run_browser.refresh()
    assert threads
    assert threading.main_thread() not in threads
    assert [run.name for run in dock.runs.runs] == ["one"]


def test_a_writer_that_says_nothing_for_long_is_told(dock, qtbot, tmp_path, monkeypatch):
    monkeypatch.setattr(stall, "STALL_SECONDS", 599.0)
    dock.stall_monitor._timer.setInterval(20)
    run = Run.create(TrainRequest(data=tmp_path), tmp_path / "elsewhere", "far")
    run.append(Started(job="train", pid=1, host="node-of-a-cluster", time=time.time() - 620))
    dock.run_browser.follow(run.path)
    qtbot.waitUntil(lambda: "nothing new for 10 min" in dock.progress.label.text(), timeout=TIMEOUT)
    run.append(Progress(stage="level 0", step=1, total=9))
    qtbot.waitUntil(lambda: dock.progress.label.text().startswith("level 0 · 1 of 9"), timeout=TIMEOUT)
    assert "nothing new" not in dock.progress.label.text()
    run.append(Finished())
    qtbot.waitUntil(lambda: dock.job is None, timeout=TIMEOUT)


def test_a_paused_run_is_found_paused_and_its_many_warnings_are_told_as_few(dock, qtbot, tmp_path, notices):
    run = Run.create(TrainRequest(data=tmp_path), None, "far")
    run.append(Started(job="train", pid=1, host="node-of-a-cluster"))
    run.append(Progress(stage="level 0", step=2, total=9))
    run.append(Paused())
    show(dock, qtbot, run)
    qtbot.waitUntil(lambda: dock.progress.pause_button.text() == "Resume", timeout=TIMEOUT)
    dock.start()  # it is being done already
    for number in range(5):
        run.append(Warned(subject=f"s{number}", message="has no age"))
    qtbot.waitUntil(lambda: len(notices()) == 4, timeout=TIMEOUT)
    assert [message for _, message in notices()][::3] == [
        "s0: has no age", f"There are more warnings; all of them are in {run.events_file}."
    ]  # fmt: skip
    other = finished_run(tmp_path, "other")
    show(dock, qtbot, other)  # whoever looks elsewhere leaves it as it is
    qtbot.waitUntil(lambda: dock.progress.label.text() == "learnt", timeout=TIMEOUT)
    assert run.state is RunState.PAUSED
    assert not run.asked_to_stop


def test_the_same_training_for_many_processes(dock, qtbot, tmp_path, notices):
    actions = dict(zip(LAUNCHERS, dock.copy_button.menu().actions(), strict=True))
    dock.form.fields["data"].value = None
    actions["slurm"].trigger()
    assert "Choose what to train on first" in notices()[-1][1]
    dock.form.fields["data"].value = tmp_path
    dock.form.fields["patch"].value = 32
    actions["torchrun"].trigger()
    words = f"braindiffusion train --data-dir {tmp_path} --patch 32"
    assert QApplication.clipboard().text() == f"torchrun --nproc-per-node gpu -m {words}"
    actions["slurm"].trigger()
    script = QApplication.clipboard().text()
    assert script.startswith("#!/bin/bash\n#SBATCH")
    assert script.endswith(f"srun python -m {words}\n")
    run = finished_run(tmp_path, "one")
    show(dock, qtbot, run)
    actions["shell"].trigger()
    assert QApplication.clipboard().text() == f"braindiffusion train --resume {run.path}"


def test_a_folder_that_a_cluster_writes_is_followed_also_when_it_begins_anew(dock, qtbot, tmp_path):
    run = Run.create(TrainRequest(data=tmp_path), tmp_path / "elsewhere", "far")
    dock.restart_monitor.timer.setInterval(50)
    dock.run_browser.follow(run.path)
    node = Started(job="train", pid=1, host="node-of-a-cluster")
    qtbot.waitUntil(dock.restart_monitor.timer.isActive, timeout=TIMEOUT)
    run.append(node)
    run.append(Metric(stage="level 0", step=1, values={"loss": 1.0}))
    qtbot.waitUntil(lambda: dock.job is not None and steps(dock) == [1], timeout=TIMEOUT)
    line = Metric(stage="level 0", step=2, values={"loss": 0.5}).model_dump_json().encode()
    with run.events_file.open("ab") as file:
        file.write(line[:20])
        file.flush()
        qtbot.wait(300)  # a poll sees half a line
        assert steps(dock) == [1]
        file.write(line[20:] + b"\n")
    qtbot.waitUntil(lambda: steps(dock) == [1, 2], timeout=TIMEOUT)
    run.append(Cancelled())
    qtbot.waitUntil(lambda: dock.job is None, timeout=TIMEOUT)
    dock.show_run(run)
    qtbot.waitUntil(dock.restart_monitor.timer.isActive, timeout=TIMEOUT)
    run.append(node)
    run.append(Metric(stage="level 0", step=3, values={"loss": 0.4}))
    qtbot.waitUntil(lambda: dock.job is not None and steps(dock) == [1, 2, 3], timeout=TIMEOUT)
    run.append(Finished())
    qtbot.waitUntil(lambda: dock.job is None, timeout=TIMEOUT)


def test_a_folder_that_is_no_training_is_told(dock, qtbot, tmp_path, notices, monkeypatch):
    monkeypatch.setattr(questions, "ask_folder", lambda *_: tmp_path)
    dock.menu.follow_action.trigger()
    qtbot.waitUntil(lambda: len(notices()) == 1, timeout=TIMEOUT)
    assert "no run folder" in notices()[0][1]
    dock.run_browser.follow(Run.create(GenerateRequest(), tmp_path / "elsewhere").path)
    qtbot.waitUntil(lambda: len(notices()) == 2, timeout=TIMEOUT)
    assert "its job is generate" in notices()[1][1]
    assert dock.runs.run is None


def test_brains_emerge_as_one_layer_that_grows(dock, viewer, qtbot, tmp_path):
    run = finished_run(tmp_path, "samples")

    def sample(step):
        data = np.full((1, 4, 5, 6), step, np.float32)
        data[0, 0, 0, 0] = 0
        save_volume(Volume(data, np.diag([2.0, 2, 2, 1])), run.results / f"sample_step_{step:07d}.nii.gz")

    sample(10)
    sample(20)
    painted = viewer.add_labels(np.zeros((4, 5, 6), np.uint8), scale=(2, 2, 2), units="mm")
    show(dock, qtbot, run)
    qtbot.waitUntil(lambda: dock.training_samples.layer is not None, timeout=TIMEOUT)
    assert viewer.layers.selection == {painted}  # the brush stays in hand
    viewer.layers.remove(painted)
    layer = dock.training_samples.layer
    assert layer.data.shape == (2, 4, 5, 6)
    np.testing.assert_allclose(layer.scale, (1, 2, 2, 2))
    half = run.results / "sample_step_0000030.nii.gz"
    half.write_bytes(b"not whole yet on a cluster's disk")
    dock.training_samples.refresh()
    dock.training_samples.refresh()  # while the first look is on its way
    WorkerBase.await_workers(10_000)
    QApplication.processEvents()
    assert layer.data.shape[0] == 2
    sample(30)
    with qtbot.waitSignal(dock.training_samples.shown, timeout=TIMEOUT):
        dock.training_samples.refresh()
    assert layer.data.shape[0] == 3
    assert layer.metadata["steps"] == [10, 20, 30]
    np.testing.assert_allclose(layer.data[:, 1, 1, 1], [10, 20, 30])
    assert viewer.dims.point[0] == 2  # it was at the newest
    assert len(viewer.layers) == 1
    dock.training_samples.close()
    np.testing.assert_allclose(layer.data[:, 1, 1, 1], [10, 20, 30])  # the layer outlives the file it was mapped from


def test_what_does_not_fit_is_told_with_a_change_that_makes_it_fit(dock, qtbot):
    dock.estimate.show_estimate(Estimated(device="cuda:0", bytes=9_100_000_000, available=8_000_000_000,
                                          preset="gpu-8gb", advice={"patch": 48}))  # fmt: skip
    assert "Preset gpu-8gb needs 9.1 GB" in dock.estimate.label.text()
    assert "has 8.0 free: use patch size 48" in dock.estimate.label.text()
    click(qtbot, dock.estimate.apply_button)
    assert dock.form.request().patch == 48
    dock.estimate.show_estimate(Estimated(device="cuda:0", bytes=9_100_000_000, available=8_000_000_000,
                                          advice={"batch_size": 4, "checkpointing": True}))  # fmt: skip
    assert "batch size 4, gradient checkpointing" in dock.estimate.label.text()
    click(qtbot, dock.estimate.apply_button)
    request = dock.form.request()
    assert (request.batch_size, request.checkpointing, request.patch) == (4, True, 48)


def test_an_estimate_that_cannot_be_made_is_told_in_its_row(dock, qtbot, tmp_path):
    dock.estimating.engine = EngineClient(command=(str(tmp_path / "no python"),), parent=dock)
    with qtbot.waitSignal(dock.estimating.failed, timeout=TIMEOUT):
        dock.form.fields["data"].value = tmp_path / "some.zarr"
    assert "The engine cannot be started" in dock.estimate.label.text()
    dock.form.fields["data"].value = tmp_path  # a folder of volumes is prepared first: nothing to be told yet
    assert not dock.estimate.isVisibleTo(dock)


def test_the_engine_tells_what_it_will_take(viewer, qtbot, tmp_path, engines):
    store = Cohort.create(tmp_path / "noise.zarr", Preprocessing(spacing=8.0, shape=(16, 16, 16)))
    rng = np.random.default_rng(0)
    for i in range(4):
        volume = rng.uniform(-1, 1, (1, 16, 16, 16)).astype(np.float16)
        mask = np.ones((16, 16, 16), bool)
        store.put(Subject(id=f"s{i}"), PreparedVolume(volume, mask, None, np.diag([8.0, 8, 8, 1])))
    store.finish()
    dock = TrainDock(viewer)
    viewer.window.add_dock_widget(dock, name="Train", area="right")
    dock.form.fields["preset"].value = "tiny"
    with qtbot.waitSignal(
        dock.estimating.received, timeout=120_000, check_params_cb=lambda event: isinstance(event, Estimated)
    ):
        dock.form.fields["data"].value = tmp_path / "noise.zarr"
    assert dock.estimate.label.text().startswith("Preset tiny needs")
    assert "GB that this computer has free" in dock.estimate.label.text()
    recipes, fields = PRESETS["tiny"].recipes, dock.form.fields
    epochs = [recipe.epochs for recipe in recipes]
    assert fields["batch_size"].native.text() == "Default (2 to 4)"
    assert fields["epochs"].native.text() == f"Default ({min(epochs):g} to {max(epochs):g})"
    assert fields["validation_subjects"].native.text() == "Default (0)"
    assert dock.form.request() == TrainRequest(data=tmp_path / "noise.zarr", preset="tiny")
    fields["preset"].value = "laptop"
    assert fields["batch_size"].native.text() == "Default"
    assert not list((tmp_path / "runs").glob("*/run.json"))  # an estimate is nobody's history
    dock.estimating.stop()
    qtbot.waitUntil(lambda: not engines(), timeout=TIMEOUT)
