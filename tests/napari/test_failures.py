"""Whatever fails, the user gets one notification that says what to do, and loses nothing of hers."""

import shutil

import numpy as np
import pytest
from napari.layers import Image

from braindiffusion.runs import GenerateRequest, Run, TrainRequest
from napari_braindiffusion.docks.generate import GenerateDock
from napari_braindiffusion.docks.open import open_dock
from napari_braindiffusion.docks.train import TrainDock
from napari_braindiffusion.engine import process as engine_process
from napari_braindiffusion.engine import trainings as training
from napari_braindiffusion.engine.client import EngineClient
from napari_braindiffusion.engine.process import exit_message
from napari_braindiffusion.layers import files as layer_files
from napari_braindiffusion.layers.files import PROVENANCE

TIMEOUT = 60_000


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    painted = viewer.add_labels(np.ones((4, 5, 6), np.uint8), name="painted by hand", units="mm")
    yield viewer
    assert painted in viewer.layers


@pytest.mark.parametrize(
    ("model", "advice", "kept"),
    [
        ("dies", "for want of memory", 0),
        ("needy", "close other programs", 0),
        ("full", "make room and start the run again", 1),
    ],
)
def test_a_generation_that_fails(viewer, qtbot, fake_engine, notices, model, advice, kept):
    dock = GenerateDock(viewer)
    viewer.window.add_dock_widget(dock, name="Generate")
    dock.engine = dock.preview.engine = EngineClient(command=fake_engine, parent=dock)
    job = dock.generate(GenerateRequest(model=model, num_samples=2))
    with qtbot.waitSignal(job.failed, timeout=TIMEOUT):
        pass
    ((severity, message),) = notices()
    assert severity == "error"
    assert advice in message
    assert "bug" not in message
    assert [layer.name for layer in viewer.layers] == ["painted by hand", "sample 1 (seed 0)"][: 1 + kept]
    assert dock.generate_button.isEnabled()


@pytest.mark.parametrize("name", ["Edit", "Region volumes", "Anomaly map"])
def test_a_layer_that_cannot_be_handed_over(make_napari_viewer_proxy, qtbot, notices, tmp_path, monkeypatch, name):
    """The dock and one notification say why; nobody has cancelled anything."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(layer_files, "FOLDER", str(tmp_path / "file" / "layers"))
    viewer = make_napari_viewer_proxy()
    image = viewer.add_image(np.ones((4, 5, 6)), name="brain", units="mm")
    dock = open_dock(viewer, name)
    if name == "Edit":
        dock.form.operation.setCurrentIndex(dock.form.operation.findData("vary"))
    start = {"Edit": "generate", "Region volumes": "segment", "Anomaly map": "make_map"}[name]
    viewer.layers.selection.active = image
    with qtbot.waitSignal(dock.job.failed, timeout=30_000):
        getattr(dock, start)()
    ((severity, message),) = notices()
    assert severity == "error"
    assert "could not be written" in message
    assert dock.progress.label.text() == message
    assert dock.job.is_busy is False


@pytest.mark.parametrize("what", ["generate", "generate from a map", "reproduce"])
def test_a_runs_folder_that_cannot_be_written(viewer, notices, tmp_path, monkeypatch, what):
    """A file where the folder would be; a full or protected disk fails in the same place."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("BRAINDIFFUSION_RUNS", str(tmp_path / "file" / "runs"))
    dock = GenerateDock(viewer)
    viewer.window.add_dock_widget(dock, name="Generate")
    dock.form.live.value = False
    if what == "generate from a map":
        dock.form.conditions.ask({"regions": "painted by hand"})
    made = Image(np.zeros((4, 4, 4)), metadata={PROVENANCE: {"request": GenerateRequest().model_dump(mode="json")}})
    assert (dock.regenerate(made) if what == "reproduce" else dock.generate()) is None
    ((severity, message),) = notices()
    assert severity == "error"
    assert str(tmp_path / "file" / "runs") in message
    assert ("could not be written" if "from a map" in what else "in napari's preferences") in message
    assert dock.generate_button.isEnabled()


def test_a_training_whose_folder_vanishes(viewer, qtbot, fake_engine, notices, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "ENGINE", fake_engine)
    dock = TrainDock(viewer)
    viewer.window.add_dock_widget(dock, name="Train")
    dock.form.fields["data"].value = tmp_path
    dock.start()
    with qtbot.waitSignal(dock.job.metric, timeout=TIMEOUT):
        pass
    folder = dock.job.run.path
    with qtbot.waitSignal(dock.job.failed, timeout=TIMEOUT):
        # The training writes its heartbeat into it meanwhile.
        qtbot.waitUntil(lambda: shutil.rmtree(folder, ignore_errors=True) or not folder.exists(), timeout=TIMEOUT)
    errors = [message for severity, message in notices() if severity == "error"]
    assert len(errors) == 1
    assert f"The folder {folder} has gone" in errors[0]


def test_last_words_of_a_process(tmp_path, monkeypatch):
    run = Run.create(TrainRequest(data=tmp_path), tmp_path / "runs")
    log = run.path / "engine.log"
    assert "smaller patches or checkpointing" in exit_message(-9, log)
    assert "exit status 1" in exit_message(1, log)
    monkeypatch.setattr(engine_process, "FULL", 2**80)
    assert "is full" in exit_message(1, log)
    shutil.rmtree(run.path)
    assert "has gone" in exit_message(1, log)
