"""While a training and a generation run, and volumes of 256 x 256 x 256 come and go, the viewer stays awake.

What the event loop does in one piece is held against what the same viewer does for a volume of a few voxels with nobody
at work: napari itself needs a while to add a layer. It is measured in processor time of the GUI thread, which does not
depend on who else uses the machine; waiting for a disk costs none, so that no volume is read or written in the GUI
thread is tested for itself.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import QObject, Qt, QTimer

from braindiffusion import volume as volumes
from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.store import Cohort, PreparedVolume, Subject
from braindiffusion.runs import ArtifactWritten, Finished, GenerateRequest, Run
from braindiffusion.volume import Volume, save_volume
from napari_braindiffusion.engine import job as jobs
from napari_braindiffusion.engine.job import JobHandle
from napari_braindiffusion.io import files as io
from napari_braindiffusion.layers import files as layer_files
from napari_braindiffusion.layers.display import show_volume
from napari_braindiffusion.settings import PLUGIN

TIMEOUT = 120_000
MORE_MS = 50
LARGE, SMALL = (256, 256, 256), (8, 8, 8)


class Heartbeat(QObject):
    """How long the event loop of this thread worked in one piece, at most."""

    def __init__(self) -> None:
        super().__init__()
        self._timer = QTimer(self, interval=0, timerType=Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)

    def begin(self) -> None:
        self._longest, self._last = 0.0, time.thread_time()
        self._timer.start()

    def end(self) -> float:
        """Milliseconds since `begin`."""
        self._beat()
        self._timer.stop()
        return self._longest * 1000

    def _beat(self) -> None:
        now = time.thread_time()
        self._longest, self._last = max(self._longest, now - self._last), now


@pytest.fixture
def files(tmp_path: Path) -> Callable[[tuple[int, int, int]], Path]:
    def file(shape: tuple[int, int, int]) -> Path:
        voxels = np.zeros((1, *shape), np.float32)
        voxels[0, 1:-1, 1:-1, 1:-1] = np.linspace(0, 1, shape[2] - 2, dtype=np.float32)
        path = tmp_path / f"{shape[0]}.nii"
        save_volume(Volume(voxels, np.eye(4)), path)
        return path

    return file


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Six brains of 24 x 32 x 24 voxels, which nobody would mistake for brains."""
    shape = (24, 32, 24)
    store = Cohort.create(tmp_path / "blobs.zarr", Preprocessing(spacing=8.0, shape=shape, skull="strip"))
    rng = np.random.default_rng(0)
    for number in range(6):
        data = rng.uniform(-1, 1, (1, *shape)).astype(np.float16)
        prepared = PreparedVolume(data, np.ones(shape, bool), None, np.diag([8.0, 8, 8, 1]))
        store.put(Subject(id=f"s{number}"), prepared)
    store.finish()
    return tmp_path / "blobs.zarr"


@pytest.fixture
def by_whom(monkeypatch) -> list[tuple[str, bool]]:
    """Each large volume that is read or written: how, and whether by the GUI thread."""
    seen: list[tuple[str, bool]] = []

    def watched(name: str) -> Callable[..., object]:
        real = getattr(volumes, name)

        def call(*args: object, **kwargs: object) -> object:
            result = real(*args, **kwargs)
            brain = result if isinstance(result, Volume) else args[0]
            if brain.data.size > 1_000_000:
                seen.append((name, threading.current_thread() is threading.main_thread()))
            return result

        return call

    for module, name in ((io, "load_volume"), (layer_files, "save_volume"), (jobs, "load_volume")):
        monkeypatch.setattr(module, name, watched(name))
    return seen


def test_the_viewer_stays_awake(make_napari_viewer_proxy, qtbot, files, cohort, tmp_path, notices, by_whom):
    viewer = make_napari_viewer_proxy(show=True)
    train, generate = (
        viewer.window.add_plugin_dock_widget(PLUGIN, name, tabify=True)[1] for name in ("Train", "Generate")
    )
    heart = Heartbeat()

    def stalls(shape: tuple[int, int, int]) -> dict[str, float]:
        """Of a volume that the engine made, one that is opened, and of saving it."""
        path, saved = files(shape), tmp_path / f"saved-{shape[0]}.nii"
        acts = {
            "jobs": (lambda: None, lambda: True),
            "made": (lambda: made(viewer, path), lambda: "made" in viewer.layers),
            "opened": (lambda: viewer.open(path, plugin=PLUGIN), lambda: path.stem in viewer.layers),
            "saved": (lambda: viewer.layers[path.stem].save(str(saved), plugin=PLUGIN), saved.exists),
        }
        found = {}
        for name, (act, done) in acts.items():
            heart.begin()
            QTimer.singleShot(0, act)
            qtbot.waitUntil(done, timeout=TIMEOUT)
            qtbot.wait(500)
            found[name] = heart.end()
        viewer.layers.clear()
        return found

    stalls(SMALL)  # what is imported and drawn for the first time
    rest = max(stalls(SMALL).values())
    assert by_whom == []

    train.form.fields["data"].value = cohort
    train.form.fields["preset"].value = "tiny"
    train.form.fields["epochs"].value = 1000
    train.start()
    # The full model, so that no brain is finished, and becomes a layer, while gaps are measured.
    job = generate.generate(GenerateRequest(previews=True, num_samples=50, fast=False))
    with qtbot.waitSignals([train.job.metric, job.artifact], timeout=TIMEOUT):
        pass
    busy = stalls(LARGE)
    assert not job.is_over
    assert train.job is not None
    job.cancel()
    train.stop()
    qtbot.waitUntil(lambda: job.is_over and train.job is None, timeout=TIMEOUT)
    assert {name for name, _ in by_whom} == {"load_volume", "save_volume"}
    assert not any(in_gui for _, in_gui in by_whom)
    assert [notice for notice in notices() if notice[0] in ("error", "warning")] == []
    assert max(busy.values()) <= rest + MORE_MS, (rest, busy)


_jobs: list[JobHandle] = []


def made(viewer, path: Path) -> None:
    """What the engine announces: read by the listener, shown as the docks show it."""
    run = Run.create(GenerateRequest())

    def events():
        yield ArtifactWritten(kind="volume", path=str(path))
        yield Finished()

    job = JobHandle(run, events, lambda: None)
    job.artifact.connect(lambda event, volume: show_volume(viewer, volume, "made"))
    _jobs.append(job)
