"""The linked view in a real viewer: its canvases, its cursor, its letters, and how it ends."""

import gc

import nibabel as nib
import numpy as np
import pytest
import qtpy.compat
from napari.components.overlays import TextOverlay
from napari.layers import Layer
from napari.qt import QtViewer
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent, QOpenGLContext
from qtpy.QtWidgets import QApplication
from vispy.gloo.context import GLContext

from braindiffusion.example_data import dlmuse_names, sample_labels_path
from braindiffusion.volume import Volume
from napari_braindiffusion import commands
from napari_braindiffusion.layers.display import set_axial_view
from napari_braindiffusion.layers.geometry import volume_to_layer_data
from napari_braindiffusion.orthoviews.pane import Pane
from napari_braindiffusion.orthoviews.planes import AXIAL, CORONAL, SAGITTAL, plane_of

PLUGIN = "napari-braindiffusion"


def look(viewer, qtbot):
    """The dock, with all of its canvases."""
    area, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Orthoviews")
    dock.area = area
    qtbot.waitUntil(lambda: len(dock.panes) == 3, timeout=60_000)
    return dock


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy(show=True)
    viewer.window.resize(860, 600)  # llvmpipe paints it
    return viewer


def all_made(dock) -> bool:
    """Whether the dock has all of its canvases, none of which has lost its context."""
    made = [pane for pane in dock.panes if not pane.context_is_lost]
    return len(made) == 3 and not dock._next.isActive() and not dock._renew.isActive()


def settled(dock, qtbot):
    """Wait until all canvases are at the cursor."""

    def at_the_cursor():
        point = dock._viewer.dims.point
        return all(pane.plane is None or pane.model.dims.point == pytest.approx(point) for pane in dock.panes)

    qtbot.waitUntil(at_the_cursor, timeout=10_000)


def pane_of(dock, plane) -> Pane:
    return next(pane for pane in dock.panes if pane.plane is plane)


def letters_of(model) -> dict[str, str]:
    return {name: one.text for name, one in model.canvas.overlays.items() if isinstance(one, TextOverlay) and one.text}


def drag(canvas, start: QPoint, end: QPoint, qtbot, modifier=Qt.KeyboardModifier.NoModifier):
    """As a hand does it. QTest's own moves have no button, and vispy asks the event for it."""
    left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    for kind, button, buttons, at in (
        (QEvent.Type.MouseButtonPress, left, left, start),
        (QEvent.Type.MouseMove, none, left, end),
        (QEvent.Type.MouseButtonRelease, left, none, end),
    ):
        place = QPointF(at)
        event = QMouseEvent(kind, place, canvas.mapToGlobal(place), button, buttons, modifier)
        QApplication.sendEvent(canvas, event)


def test_one_cursor_in_all_planes(viewer, qtbot):
    image, labels = viewer.open_sample(PLUGIN, "real")
    dock = look(viewer, qtbot)
    assert plane_of(viewer) is AXIAL
    assert [pane.plane for pane in dock.panes] == [CORONAL, SAGITTAL, None]
    # Nothing is copied.
    assert all(pane.model.layers["IXI T1w"].data is image.data for pane in dock.panes)
    assert not pane_of(dock, None).model.layers["IXI regions"].visible

    # A click in the coronal plane.
    coronal = pane_of(dock, CORONAL)
    before = viewer.dims.point
    target = QPoint(coronal.native.width() * 2 // 5, coronal.native.height() * 2 // 5)
    qtbot.mouseClick(coronal.native, Qt.MouseButton.LeftButton, pos=target)
    settled(dock, qtbot)
    after = viewer.dims.point
    assert after[1] == before[1]
    assert after[0] < before[0]
    assert after[2] > before[2]
    crossing = coronal.crosshair.places()[0]
    assert abs(crossing.x() - target.x()) < 2
    assert abs(crossing.y() - target.y()) < 2
    x, y, z = after
    place = f"{'R' if x > 0 else 'L'} {abs(x):.1f} · {'A' if y > 0 else 'P'} {abs(y):.1f} · "
    qtbot.waitUntil(lambda: dock.form.values_label.text().startswith(place))
    assert "in IXI regions" in dock.form.values_label.text()

    # A drag; and with Shift it is the picture that moves.
    drag(coronal.native, target, target + QPoint(30, 0), qtbot)
    settled(dock, qtbot)
    assert viewer.dims.point[0] > x
    assert abs(coronal.crosshair.places()[0].x() - target.x() - 30) < 2
    x = viewer.dims.point[0]
    middle = coronal.model.scene.camera.center
    drag(coronal.native, target, target + QPoint(30, 0), qtbot, Qt.KeyboardModifier.ShiftModifier)
    assert coronal.model.scene.camera.center[2] < middle[2]
    assert viewer.dims.point[0] == x
    # The viewer's own slider. A canvas that is zoomed in goes along.
    coronal.model.scene.camera.zoom *= 6
    coronal.model.scene.camera.center = (0, z, x)
    viewer.dims.set_point(2, z - 30)
    settled(dock, qtbot)
    assert coronal.model.scene.camera.center[1] == pytest.approx(viewer.dims.point[2])
    # The wheel with Ctrl, in a pane.
    sagittal = pane_of(dock, SAGITTAL)
    sagittal.model.dims.set_point(0, x + 10)
    assert viewer.dims.point[0] == pytest.approx(x + 10, abs=2)

    # What the pane shows follows its layer: contrast, colours, painting, another array.
    mirror = coronal.model.layers["IXI T1w"]
    image.contrast_limits, image.colormap = (20, 120), "magma"
    assert (tuple(mirror.contrast_limits), mirror.colormap.name) == ((20, 120), "magma")
    image.visible = False
    assert not mirror.visible
    image.visible = True
    shown = coronal.canvas.screenshot(flash=False)
    labels.opacity = 1.0
    labels.data_setitem(tuple(np.indices((68, 82, 10)).reshape(3, -1)), 7)
    assert not np.array_equal(coronal.canvas.screenshot(flash=False), shown)
    image.data = np.zeros_like(image.data)
    assert mirror.data is image.data

    # Layers come and go, are moved in the list; four axes too.
    way = viewer.add_image(
        np.zeros((3, *image.data.shape), np.uint8),
        scale=(1, *image.scale),
        translate=(0, *image.translate),
        units=("pixel", *image.units),
    )
    viewer.layers.move(2, 0)
    viewer.dims.set_point(0, 2)
    settled(dock, qtbot)
    assert [layer.name for layer in coronal.model.layers] == [layer.name for layer in viewer.layers]
    assert plane_of(coronal.model) is CORONAL
    # napari's own buttons: back from 3D, and axes rolled until the slices go along the steps.
    dock.form.in_3d_button.click()
    viewer.dims.ndisplay = 2
    assert not dock.form.in_3d_button.isChecked()
    dock.form.in_3d_button.click()
    assert viewer.dims.ndisplay == 3
    dock.form.in_3d_button.click()
    for _ in range(4):
        viewer.dims.roll()
        assert not dock.form.in_3d_button.isChecked()
        assert None in [pane.plane for pane in dock.panes]
    settled(dock, qtbot)
    coronal = pane_of(dock, CORONAL)
    viewer.layers.remove(way)
    assert len(coronal.model.layers) == 2
    viewer.theme = "light"
    assert coronal.model.theme == "light"

    # Without layers, and with some again.
    viewer.layers.clear()
    assert len(coronal.model.layers) == 0
    qtbot.waitUntil(lambda: "Open a brain" in dock.form.values_label.text())
    viewer.open_sample(PLUGIN, "real")
    assert plane_of(coronal.model) is CORONAL
    assert pane_of(dock, None).model.dims.ndisplay == 3

    # Closed by its x: the canvas is napari's own again.
    viewer.window.remove_dock_widget(dock.area)
    qtbot.waitUntil(lambda: not dock.panes)
    assert letters_of(viewer) == {}
    assert viewer.scene.camera.mouse_pan


def test_it_may_be_floated_and_docked_again(viewer, qtbot):
    """Qt gives a canvas that comes into another window another OpenGL context: it is made anew, and draws."""
    area, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Orthoviews")
    area.setFloating(True)
    assert dock.window() is area  # before there is a brain, and so before it has looked for the viewer's canvas
    _, labels = viewer.open_sample(PLUGIN, "real")
    for floating in (True, False):
        area.setFloating(floating)
        qtbot.waitUntil(lambda: all_made(dock), timeout=60_000)
        viewer.dims.set_point(2, viewer.dims.point[2] + 10)
        settled(dock, qtbot)
        for pane in dock.panes:
            pane.native.grabFramebuffer()  # an error of OpenGL here ends the process
    assert letters_of(viewer)
    viewer.layers.remove(labels)
    for pane in dock.panes:
        pane.native.grabFramebuffer()
    closed = list(dock.panes)
    viewer.window.remove_dock_widget(area)
    qtbot.waitUntil(lambda: dock.has_ended)
    qtbot.waitUntil(lambda: not any(map(qtpy.compat.isalive, closed)))
    # Qt has deleted them; PyQt keeps the Python part of one, which napari's fixture takes for a leak.
    QtViewer._instances.clear()


def test_each_canvas_frees_what_it_drew_in_its_own_context(viewer, qtbot, monkeypatch):
    """In another one, it would free what that draws, and the process would crash."""
    viewer.open_sample(PLUGIN, "real")
    dock = look(viewer, qtbot)
    canvases = {canvas.canvas._scene_canvas for canvas in dock.window().findChildren(QtViewer)}
    qtbot.waitUntil(lambda: all(scene.native.isValid() for scene in canvases), timeout=60_000)
    flush, freed, wrong = GLContext.flush_commands, set(), []

    def watched(context, event=None):
        for scene in canvases:
            if scene.context is context:
                freed.add(scene)
                if QOpenGLContext.currentContext() is not scene.native.context():
                    wrong.append(scene)
        flush(context, event)

    dock.panes[0].native.makeCurrent()
    with monkeypatch.context() as patch:
        patch.setattr(GLContext, "flush_commands", watched)
        viewer.layers.pop()
    assert freed == canvases
    assert wrong == []
    viewer.window.remove_dock_widget(dock.area)
    qtbot.waitUntil(lambda: gc.collect() >= 0 and len(QtViewer._instances) == 1, timeout=30_000)


def test_left_stays_left(viewer, qtbot, tmp_path):
    """Voxels of left regions lie where the letter L is, as pixels of each canvas, however the file was stored."""
    stored = nib.load(sample_labels_path())
    left = [index for index, name in dlmuse_names().items() if name.endswith("_L")]
    data = np.isin(np.asarray(stored.dataobj), left).astype(np.uint8)
    affine = stored.affine @ np.diag([-1, 1, 1, 1])
    affine[:3, 3] = stored.affine @ [data.shape[0] - 1, 0, 0, 1] @ np.eye(4)[:, :3]
    nib.save(nib.Nifti1Image(data[::-1], affine), tmp_path / "flipped.nii")
    viewer.open(tmp_path / "flipped.nii", plugin=PLUGIN)
    (image,) = viewer.layers
    dock = look(viewer, qtbot)
    settled(dock, qtbot)
    for convention, side in ((0, "left"), (1, "right")):
        dock.form.convention_box.setCurrentIndex(convention)
        for model, shot in (
            (viewer, viewer.screenshot(flash=False)),
            (pane_of(dock, CORONAL).model, pane_of(dock, CORONAL).canvas.screenshot(flash=False)),
        ):
            assert letters_of(model)[f"letter_middle_{side}"] == "L"
            bright = shot[..., :3].min(axis=-1) > 200
            bright[:, : shot.shape[1] // 8] = bright[:, -shot.shape[1] // 8 :] = False  # the letters themselves
            share = bright[:, : shot.shape[1] // 2].sum() / bright.sum()
            assert (share > 0.9) if side == "left" else (share < 0.1)
        assert letters_of(pane_of(dock, SAGITTAL).model)["letter_middle_right"] == "A"
        assert letters_of(viewer)["letter_top_center"] == "A"
    assert image.data.sum() == data.sum()
    # Closing the viewer with all open, and left at the right.
    viewer.close()


def add_brain(viewer, name, data):
    affine = np.diag([4.0, 4, 4, 1])
    affine[:3, 3] = -2.0 * (np.array(data.shape) - 1)
    viewer.add_layer(Layer.create(*volume_to_layer_data(Volume(data[None], affine), name)))


def test_two_brains_compared(viewer, qtbot, notices, engines):
    size = (20, 24, 22)
    far = np.linalg.norm(np.indices(size).reshape(3, -1).T - (np.array(size) - 1) / 2, axis=1).reshape(size)
    real = np.where(far < 9, 100, 0).astype(np.float32)
    made = real.copy()
    made[8:12, 8:12, 8:12] = 60
    add_brain(viewer, "real", real)
    set_axial_view(viewer)
    commands.difference(viewer)
    qtbot.waitUntil(lambda: any("Select two brains" in message for _, message in notices()))
    dock = look(viewer, qtbot)
    add_brain(viewer, "made", made)

    # Beside each other in every canvas, a cross in each box.
    commands.side_by_side(viewer)
    coronal = pane_of(dock, CORONAL)
    assert dock.form.side_by_side_button.isChecked()
    assert coronal.model.canvas.grid.enabled
    left, right = coronal.crosshair.places()
    assert right.x() - left.x() == pytest.approx(coronal.native.width() / 2, abs=1)
    assert len(coronal.crosshair.lines()) == 8
    moved = tuple(viewer.layers["made"].translate)
    dock.form.align_centers_box.click()
    assert tuple(viewer.layers["made"].translate) != moved

    # Where they differ.
    with qtbot.waitSignal(dock.difference.ended, timeout=120_000):
        dock.form.difference_button.click()
        assert not dock.form.difference_button.isEnabled()
    layer = viewer.layers[-1]
    assert layer.name == "real - made (intensity, as stored)"
    assert layer.data == pytest.approx(real - made, abs=1e-3)
    low, high = layer.contrast_limits
    assert low == -high
    assert layer.colormap.map(0.5)[..., 3] == pytest.approx(0, abs=0.02)
    assert layer.colormap.map(1.0)[..., 0] > layer.colormap.map(1.0)[..., 2]
    assert layer.metadata["difference"]["unit"] == "intensity, as stored"
    assert [str(unit) for unit in layer.units] == ["millimeter"] * 3
    qtbot.waitUntil(dock.form.difference_button.isEnabled)
    commands.side_by_side(viewer)
    assert dock.compared is None
    assert len(coronal.crosshair.places()) == 1

    # The large canvas in 3D: the plane that it leaves comes to a pane.
    commands.in_3d(viewer)
    assert dock.form.in_3d_button.isChecked()
    assert sorted(pane.plane.name for pane in dock.panes) == ["Axial", "Coronal", "Sagittal"]
    assert letters_of(viewer) == {}
    pane_of(dock, SAGITTAL).button.click()
    assert plane_of(viewer) is SAGITTAL
    assert layer.visible
    assert sum(pane.plane is None for pane in dock.panes) == 1

    # A brain that is compared goes away; so does the comparison.
    viewer.layers["real"].visible = viewer.layers["made"].visible = True
    dock.form.side_by_side_button.click()
    assert dock.compared is not None
    viewer.layers.remove("made")
    assert dock.compared is None
    assert not dock.form.side_by_side_button.isChecked()
    for one in viewer.layers:
        one.visible = False
    commands.in_3d(viewer)
    assert any("no brain to show in 3D" in message for _, message in notices())

    # While it is compared, the dock is closed: the engine ends with it.
    viewer.window.remove_dock_widget(dock.area)
    qtbot.waitUntil(lambda: not engines(), timeout=30_000)
