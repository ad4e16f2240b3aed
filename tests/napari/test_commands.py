"""What a menu or the palette calls opens what it names: run through npe2, as napari does it."""

import numpy as np
import pytest
from napari.qt.threading import WorkerBase
from npe2 import PluginManager
from qtpy.QtWidgets import QApplication

from napari_braindiffusion.settings import PLUGIN
from napari_braindiffusion.widgets.forms.export_form import ExportDialog


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    yield make_napari_viewer_proxy()
    WorkerBase.await_workers(10_000)
    QApplication.processEvents()


def execute(viewer, command: str) -> None:
    PluginManager.instance().commands.execute(f"{PLUGIN}.{command}", (viewer,))


def test_docks_open_by_what_one_wants_to_do(viewer):
    for command, dock in (("generate_brain", "Generate"), ("import_brains", "Cohort")):
        assert f"{dock} ({PLUGIN})" not in viewer.window.dock_widgets
        execute(viewer, command)
        assert f"{dock} ({PLUGIN})" in viewer.window.dock_widgets


@pytest.mark.parametrize(("command", "has_name"), [("export_nifti", False), ("export_bids", True)])
def test_exports_ask_first_and_write_nothing_yet(viewer, qtbot, tmp_path, monkeypatch, command, has_name):
    monkeypatch.chdir(tmp_path)
    viewer.add_image(np.zeros((4, 4, 4), np.float32), name="brain")
    execute(viewer, command)
    (dialog,) = (one for one in QApplication.topLevelWidgets() if isinstance(one, ExportDialog) and one.isVisible())
    assert dialog.name.isVisibleTo(dialog) is has_name
    dialog.reject()
    qtbot.waitUntil(lambda: not any(isinstance(one, ExportDialog) for one in QApplication.topLevelWidgets()))
    assert not list(tmp_path.iterdir())
