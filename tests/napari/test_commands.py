"""What a menu or the palette calls opens what it names: run through npe2, as napari does it."""

import numpy as np
import pytest
from app_model.types import KeyBinding
from napari.layers import Image, Labels, Layer
from napari.qt import QtViewer
from napari.qt.threading import WorkerBase
from napari.viewer import Viewer
from npe2 import PluginManager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_braindiffusion.docks.open import open_dock
from napari_braindiffusion.settings import PLUGIN
from napari_braindiffusion.widgets.forms.export_form import ExportDialog


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    yield make_napari_viewer_proxy(show=True)
    WorkerBase.await_workers(10_000)
    QApplication.processEvents()


def execute(viewer, command: str) -> None:
    PluginManager.instance().commands.execute(f"{PLUGIN}.{command}", (viewer,))


def test_docks_open_by_what_one_wants_to_do(viewer):
    for command, dock in (("generate_brain", "Generate"), ("import_brains", "Cohort")):
        assert f"{dock} ({PLUGIN})" not in viewer.window.dock_widgets
        execute(viewer, command)
        assert f"{dock} ({PLUGIN})" in viewer.window.dock_widgets


TIMEOUT = 60_000


def test_docks_are_tabs_of_one_area_and_open_once(viewer, qtbot):
    """By menu, palette, script and command; a dock behind another comes to the front when it is asked for again."""
    docks = [widget.display_name for widget in PluginManager.instance().get_manifest(PLUGIN).contributions.widgets]
    shown = []
    for place, name in enumerate(docks):
        if place % 2:
            area, dock = viewer.window.add_plugin_dock_widget(PLUGIN, name)
        else:
            dock = open_dock(viewer, name)
            area = dock.parentWidget()
        shown.append((area, dock))
        qtbot.waitUntil(lambda area=area: not area.visibleRegion().isEmpty(), timeout=TIMEOUT)
    window = shown[0][1].window()
    qtbot.waitUntil(lambda: len(window.tabifiedDockWidgets(shown[0][0])) == len(docks) - 1, timeout=TIMEOUT)
    execute(viewer, "generate_brain")
    generate = docks.index("Generate")
    assert not shown[generate][0].visibleRegion().isEmpty()
    assert shown[generate + 1][0].visibleRegion().isEmpty()
    assert open_dock(viewer, "Generate") is shown[generate][1]
    assert len(viewer.window.dock_widgets) == len(docks)


@pytest.mark.parametrize("name", ["Generate", "Orthoviews"])
def test_a_second_dock_of_one_kind_closes_and_shows_the_first(viewer, qtbot, name):
    viewer.add_image(np.zeros((4, 4, 4), np.float32))
    first = open_dock(viewer, name)
    qtbot.waitUntil(lambda: first._in_tabs, timeout=TIMEOUT)
    open_dock(viewer, "Cohort")
    second = type(first)(viewer)
    viewer.window.add_dock_widget(second, name="another")
    with qtbot.waitSignal(second.closed, timeout=TIMEOUT):
        pass
    qtbot.waitUntil(lambda: len(viewer.window.dock_widgets) == 2, timeout=TIMEOUT)
    assert not first.parentWidget().visibleRegion().isEmpty()
    assert not first.has_ended
    overlays = dict(viewer.canvas.overlays)
    viewer.window.remove_dock_widget(first)
    qtbot.waitUntil(lambda: first.has_ended, timeout=TIMEOUT)
    assert not [name for name in viewer.canvas.overlays if name.startswith("letter_")], overlays


@pytest.mark.parametrize(("command", "has_name"), [("export_nifti", False), ("export_bids", True)])
def test_exports_ask_first_and_write_nothing_yet(viewer, qtbot, tmp_path, monkeypatch, command, has_name):
    monkeypatch.chdir(tmp_path)
    viewer.add_image(np.zeros((4, 4, 4), np.float32), name="brain")
    execute(viewer, command)
    (dialog,) = (one for one in QApplication.topLevelWidgets() if isinstance(one, ExportDialog) and one.isVisible())
    assert dialog.fields["name"].native.isVisibleTo(dialog) is has_name
    dialog.reject()
    qtbot.waitUntil(lambda: not any(isinstance(one, ExportDialog) for one in QApplication.topLevelWidgets()))
    assert not list(tmp_path.iterdir())


def test_the_shortcuts_of_the_manifest_run_their_commands(viewer, qtbot):
    dock = open_dock(viewer, "Cohort")
    brain = viewer.add_image(np.random.default_rng(0).random((6, 6, 6)), name="brain", units="mm")
    viewer.layers.selection.active = brain
    canvas = dock.window().findChild(QtViewer).canvas.native
    qtbot.keyClick(canvas, Qt.Key.Key_G, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier)
    assert f"Generate ({PLUGIN})" in viewer.window.dock_widgets
    qtbot.keyClick(canvas, Qt.Key.Key_3, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier)
    assert viewer.dims.ndisplay == 3


def test_no_shortcut_of_the_manifest_is_one_of_napari(viewer):
    """A menu of napari takes its key before the canvas sees it."""
    from napari._app_model import get_app_model
    from napari.utils.shortcuts import default_shortcuts

    taken = {str(binding.keybinding) for binding in get_app_model().keybindings}
    taken |= {str(KeyBinding.validate(key)) for keys in default_shortcuts.values() for key in keys}
    taken |= {str(key) for kind in (Viewer, Layer, Image, Labels) for key in kind.class_keymap}
    own = PluginManager.instance().get_manifest(PLUGIN).contributions.keybindings
    assert own
    assert {str(KeyBinding.from_str(binding.key)) for binding in own} & taken == set()
