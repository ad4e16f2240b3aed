"""The linked view in a real viewer: its canvases, its cursor, its letters, and how it ends."""

import nibabel as nib
import numpy as np
import pytest
from napari.components.overlays import TextOverlay
from qtpy.QtCore import QPoint, QPointF, Qt

from braindiffusion.samples import region_names, sample_labels_path
from napari_braindiffusion.look.pane import Pane
from napari_braindiffusion.look.planes import AXIAL, CORONAL, SAGITTAL, plane_of

PLUGIN = "napari-braindiffusion"


def look(viewer, qtbot):
    """The dock, with all of its canvases."""
    area, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Look")
    dock.area = area
    qtbot.waitUntil(lambda: len(dock.panes) == 3, timeout=60_000)
    return dock


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy(show=True)
    viewer.window.resize(1200, 760)
    return viewer


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


def drag(pane, start: QPointF, end: QPointF, qtbot, modifier=Qt.KeyboardModifier.NoModifier):
    qtbot.mousePress(pane.native, Qt.MouseButton.LeftButton, modifier, start.toPoint())
    qtbot.mouseMove(pane.native, end.toPoint())
    qtbot.mouseRelease(pane.native, Qt.MouseButton.LeftButton, modifier, end.toPoint())


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
    qtbot.waitUntil(lambda: dock.form.where.text().startswith(place))
    assert "in IXI regions" in dock.form.where.text()

    # The viewer's own slider.
    viewer.dims.set_point(2, z - 20)
    settled(dock, qtbot)
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
    viewer.layers.remove(way)
    assert len(coronal.model.layers) == 2
    viewer.theme = "light"
    assert coronal.model.theme == "light"

    # Without layers, and with some again.
    viewer.layers.clear()
    assert len(coronal.model.layers) == 0
    qtbot.waitUntil(lambda: "Open a brain" in dock.form.where.text())
    viewer.open_sample(PLUGIN, "real")
    assert plane_of(coronal.model) is CORONAL
    assert pane_of(dock, None).model.dims.ndisplay == 3

    # Closed by its x: the canvas is napari's own again.
    viewer.window.remove_dock_widget(dock.area)
    qtbot.waitUntil(lambda: not dock.panes)
    assert letters_of(viewer) == {}
    assert viewer.scene.camera.mouse_pan


def test_left_stays_left(viewer, qtbot, tmp_path):
    """Voxels of left regions lie where the letter L is, as pixels of each canvas, however the file was stored."""
    stored = nib.load(sample_labels_path())
    left = [index for index, name in region_names().items() if name.endswith("_L")]
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
