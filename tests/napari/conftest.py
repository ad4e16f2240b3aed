"""A real viewer, real engine processes, and nothing of the user's touched."""

import gc
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import napari.settings
import psutil
import pytest
import torch
from napari.qt.threading import WorkerBase
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QSettings
from qtpy.QtWidgets import QApplication

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.models.cascade import Cascade, save_model
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from napari_braindiffusion.settings import PLUGIN
from napari_braindiffusion.widgets import dialogs as questions


@pytest.fixture(autouse=True, scope="session")
def _workers_are_measured() -> Iterator[None]:
    """Coverage sees Python's threads, not Qt's: what workers do would count as never done."""
    with pytest.MonkeyPatch.context() as patch:
        run = WorkerBase.run

        def measured(worker: WorkerBase) -> None:
            sys.settrace(threading.gettrace())
            run(worker)

        patch.setattr(WorkerBase, "run", measured)
        yield


@pytest.fixture(autouse=True)
def _what_is_there_before_is_never_garbage() -> None:
    """napari's fixture collects garbage ten times a test: not among the million objects that were there before."""
    from napari.qt import QtViewer  # noqa: F401

    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _objects_are_garbage_again_at_the_end() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _own_runs(tmp_runs: Path) -> None:
    """Runs go into the test's own folder, never into the user's."""


@pytest.fixture(autouse=True)
def _own_settings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Preferences are the test's own, and the guided tour has been seen."""
    folder = tmp_path_factory.mktemp("preferences")
    (folder / f"{PLUGIN}.yaml").write_text("tour:\n  seen: true\n")
    # As napari's own fixture `plugin_settings` does it, but with the plugin that is installed.
    napari.settings._clear_plugin_settings_cache()
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(folder))
    monkeypatch.setattr(napari.settings, "_CFG_PATH", str(folder / "settings.yaml"))
    yield
    napari.settings._clear_plugin_settings_cache()


@pytest.fixture(autouse=True)
def answers(monkeypatch: pytest.MonkeyPatch) -> list[questions.OnClose]:
    """What the user will answer, last first; STOP where nothing is left. No test waits for a dialog."""
    coming: list[questions.OnClose] = []

    def answer(*_: object, **__: object) -> questions.OnClose:
        return coming.pop() if coming else questions.OnClose.STOP

    monkeypatch.setattr(questions, "ask_on_close", answer)
    monkeypatch.setattr(questions, "ask_cancel", lambda *_: answer() is questions.OnClose.STOP)
    return coming


@pytest.fixture(autouse=True)
def _no_early_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Generate dock starts an engine when it is shown; most tests need none."""
    monkeypatch.setattr("napari_braindiffusion.docks.generate.GenerateDock._start_engine", lambda dock: None)


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    """A viewer; worker threads end before it is checked for what it leaves behind."""
    yield make_napari_viewer_proxy()
    WorkerBase.await_workers(10_000)
    QApplication.processEvents()


@pytest.fixture
def shown(qtbot):
    """A function that shows a widget until the test ends."""

    def show(widget):
        qtbot.addWidget(widget)
        widget.show()
        return widget

    return show


@pytest.fixture
def fake_engine() -> tuple[str, str]:
    """Command of an engine whose jobs are made for tests."""
    return sys.executable, str(Path(__file__).with_name("fake_engine.py"))


@pytest.fixture
def notices():
    """The notifications of this test, as (severity, message)."""
    notification_manager.records.clear()
    yield lambda: [(str(one.severity), one.message) for one in notification_manager.records]
    notification_manager.records.clear()


@pytest.fixture
def engines():
    """The engine processes that live now."""

    def alive() -> list[psutil.Process]:
        found = []
        for process in psutil.Process().children(recursive=True):
            try:
                words = " ".join(process.cmdline())
                if process.status() != psutil.STATUS_ZOMBIE and (
                    "braindiffusion.engine" in words or "fake_engine" in words
                ):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    return alive


@pytest.fixture
def toy_model(tmp_path: Path) -> Path:
    """A small model of brains that has learnt nothing: what it makes is not air, and is no brain."""
    settings = Preprocessing(spacing=8.0, shape=(20, 26, 22))
    level = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)), steps=2)
    cascade = Cascade(CascadeConfig(shape=settings.shape, spacing=8.0, depth=1, levels=(level,) * 2)).eval()
    with torch.no_grad():
        cascade.level(0).mean.fill_(0.0)
    save_model(cascade, tmp_path / "toy", {"name": "toy", "preprocessing": settings.model_dump(mode="json")})
    return tmp_path / "toy"
