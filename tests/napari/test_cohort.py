"""The Cohort dock in the real viewer, with real engine processes."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from napari.utils.theme import get_theme
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QApplication

from braindiffusion.cohort.store import Cohort
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import samples_dir
from napari_braindiffusion.docks import cohort as cohort_dock
from napari_braindiffusion.docks.cohort import CohortDock
from napari_braindiffusion.docks.open import open_dock
from napari_braindiffusion.engine.latest import LatestJob
from napari_braindiffusion.widgets.tables.subject_model import USE

TIMEOUT = 180_000  # preparing imports torch


@pytest.fixture
def dock(viewer):
    dock = CohortDock(viewer)
    viewer.window.add_dock_widget(dock, name="Cohort", area="right")
    return dock


@pytest.fixture
def brains(tmp_path):
    """Two of the samples, the second with its head down, and a file that is no volume."""
    folder = tmp_path / "brains"
    for name in ("IXI-T1", "labels"):
        shutil.copytree(samples_dir() / name, folder / name)
    shutil.copy(samples_dir() / "participants.tsv", folder)
    volumes = sorted((folder / "IXI-T1").iterdir())
    for path in volumes[2:]:
        path.unlink()
    (labels,) = (folder / "labels").glob(f"{volumes[1].name.removesuffix('-T1.nii.gz')}*")
    for path in (volumes[1], labels):
        image = nib.load(path)
        axis = nib.io_orientation(image.affine)[:, 0].tolist().index(2)
        nib.save(nib.Nifti1Image(np.flip(np.asarray(image.dataobj), axis).copy(), image.affine), path)
    (folder / "IXI-T1" / "IXI999-HH-9999-T1.nii.gz").write_bytes(b"no volume")
    return folder / "IXI-T1"


@pytest.fixture
def headers_only(monkeypatch):
    """No engine looks at the volumes: for tests that are about something else."""
    monkeypatch.setattr(LatestJob, "ask", lambda *_: None)


def click(qtbot, button):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def choose(qtbot, dock, folder, count=3):
    dock.form.fields["data_dir"].value = folder
    qtbot.waitUntil(lambda: len(dock.table.subjects) == count, timeout=TIMEOUT)


def test_a_table_at_once_and_then_what_the_voxels_tell(dock, viewer, qtbot, brains, engines):
    choose(qtbot, dock, brains)
    good, _, bad = dock.table.subjects
    assert (good.problem, good.spacing) == ("", (2, 2, 2))
    assert good.age is not None
    assert good.sex in ("F", "M")
    assert (bad.subject, bad.severity) == ("IXI999-HH-9999", "problem")
    assert "1 with a problem" in dock.summary.text()
    assert dock.prepare_button.isEnabled()
    assert dock.card.isHidden()
    dock.table.selectRow(1)
    with qtbot.waitSignal(dock.inspection.ended, timeout=TIMEOUT) as ended:
        assert not dock.inspecting.isHidden()
    assert ended.args == [""]
    assert dock.inspecting.isHidden()
    good, turned, bad = dock.table.subjects
    assert good.marks == ()
    assert "top is bottom" in turned.remarks
    assert dock.summary.text().startswith("3 volumes found, 2 selected, 1 with a problem, 1 with a warning. IXI999")
    assert "top is bottom" in dock.card.label.text()
    assert dock.card.picture.pixmap().width() > 100
    viewer.theme = "light"
    colours = [dock.table.model().index(row, USE).data(Qt.ItemDataRole.BackgroundRole) for row in range(3)]
    theme = get_theme(viewer.theme)
    assert colours == [None, QColor(theme.warning.as_hex()), QColor(theme.error.as_hex())]
    qtbot.waitUntil(lambda: not engines(), timeout=TIMEOUT)


def test_the_inspection_can_be_stopped(dock, qtbot, brains, notices):
    choose(qtbot, dock, brains)
    with qtbot.waitSignal(dock.inspection.ended, timeout=TIMEOUT):
        click(qtbot, dock.inspecting.stop_button)
    assert dock.inspecting.isHidden()
    assert notices() == [("warning", "Not all volumes were inspected.")]


def test_without_an_engine_the_table_stays(dock, qtbot, brains, monkeypatch, notices):
    def refuse(*_):
        raise BrainDiffusionError("No engine can be started.")

    monkeypatch.setattr(dock.inspection.engine, "submit", refuse)
    choose(qtbot, dock, brains)
    assert dock.inspecting.isHidden()
    assert notices() == [("warning", "No engine can be started.")]
    assert dock.prepare_button.isEnabled()


@pytest.mark.usefixtures("headers_only")
def test_loads_the_selected_or_else_the_ticked_with_their_labels(dock, viewer, qtbot, brains, monkeypatch, notices):
    choose(qtbot, dock, brains)
    assert dock.load_button.text() == "Open as layers (2)"
    dock.table.selectRow(0)
    assert dock.load_button.text() == "Open as layers (1)"
    click(qtbot, dock.load_button)
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=TIMEOUT)
    image, regions = viewer.layers
    assert (image._type_string, regions._type_string) == ("image", "labels")
    expected = nib.as_closest_canonical(nib.load(sorted(brains.iterdir())[0])).get_fdata()
    np.testing.assert_array_equal(image.data, expected)
    assert {str(unit) for unit in regions.units} == {"millimeter"}
    assert viewer.dims.order == (2, 1, 0)
    assert list(regions.features["region"])[1] == "CortCSF"
    monkeypatch.setattr(cohort_dock, "MAX_OPENED", 1)
    dock.table.clearSelection()
    click(qtbot, dock.load_button)
    qtbot.waitUntil(lambda: len(viewer.layers) == 4, timeout=TIMEOUT)
    assert notices()[0] == ("warning", "Only the first 1 of these 2 volumes are opened.")
    sorted(brains.iterdir())[0].write_bytes(b"gone")
    click(qtbot, dock.load_button)
    qtbot.waitUntil(lambda: any(severity == "error" for severity, _ in notices()), timeout=TIMEOUT)


@pytest.mark.usefixtures("headers_only")
def test_prepares_in_an_engine_and_names_what_is_left_out(dock, viewer, qtbot, brains, notices, engines):
    sorted(brains.iterdir())[0].unlink()
    choose(qtbot, dock, brains, count=2)
    dock.form.fields["spacing"].value = 4.0
    assert dock.prepare_button.text() == "Preprocess (1)"
    click(qtbot, dock.prepare_button)
    assert not dock.prepare_button.isEnabled()
    with qtbot.waitSignal(dock.job.finished, timeout=TIMEOUT):
        pass
    cohort = Cohort.open(dock.form.fields["out"].value)
    assert len(cohort) == 1
    assert any(severity == "warning" and "IXI999" in message for severity, message in notices())
    assert not dock.next_button.isHidden()  # it offers to train on the cohort
    qtbot.waitUntil(lambda: not engines(), timeout=TIMEOUT)
    click(qtbot, dock.show_button)
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=TIMEOUT)
    volumes, regions = viewer.layers
    assert volumes.data.shape == regions.data.shape == (1, *cohort.preprocessing.shape)
    assert viewer.dims.axis_labels == ("subject", "x", "y", "z")
    assert viewer.canvas.overlays.text.text.startswith(cohort.subjects[0].id)
    click(qtbot, dock.next_button)
    assert Path(open_dock(viewer, "Train").form.fields["data"].value) == cohort.path


@pytest.mark.usefixtures("headers_only")
def test_several_opened_subjects_are_shown_as_a_grid(dock, viewer, qtbot, brains):
    choose(qtbot, dock, brains)
    click(qtbot, dock.load_button)
    qtbot.waitUntil(lambda: len(viewer.layers) == 4, timeout=TIMEOUT)
    qtbot.waitUntil(lambda: viewer.canvas.grid.enabled, timeout=TIMEOUT)
    images = [layer for layer in viewer.layers if layer._type_string == "image"]
    assert [layer.visible for layer in images] == [True, True]
    qtbot.waitUntil(lambda: all(layer.name_overlay.visible for layer in images))


@pytest.mark.usefixtures("headers_only")
def test_prepares_only_what_is_checked(dock, qtbot, brains):
    choose(qtbot, dock, brains)
    dock.table.selectRow(1)
    qtbot.keyClick(dock.table, Qt.Key.Key_Space)
    assert dock.prepare_button.text() == "Preprocess (1)"
    click(qtbot, dock.copy_button)
    (left,) = dock.table.checked
    assert QApplication.clipboard().text().endswith(f"--subject {left.subject}")
    dock.tools.text.setText("IXI")
    click(qtbot, dock.tools.deselect_button)
    assert not dock.prepare_button.isEnabled()
    assert not dock.table.checked


@pytest.mark.usefixtures("headers_only")
def test_a_cancelled_preparation_can_go_on(dock, qtbot, brains):
    choose(qtbot, dock, brains)
    click(qtbot, dock.prepare_button)
    with qtbot.waitSignal(dock.job.cancelled, timeout=TIMEOUT):
        click(qtbot, dock.progress.stop_button)
    assert dock.progress.label.text().startswith("Cancelled.")
    assert dock.prepare_button.isEnabled()


@pytest.mark.usefixtures("headers_only")
def test_what_is_missing_is_told_in_plain_words(dock, qtbot, brains, tmp_path, notices):
    click(qtbot, dock.copy_button)
    assert notices()[-1] == ("error", "Choose a folder of volumes, and an output for the cohort.")
    assert not dock.show_button.isEnabled()
    dock.form.fields["out"].value = tmp_path / "nothing.zarr"
    click(qtbot, dock.show_button)
    qtbot.waitUntil(lambda: "There is no prepared cohort at" in notices()[-1][1], timeout=TIMEOUT)
    choose(qtbot, dock, brains)
    (tmp_path / "file.zarr").write_text("no store")
    dock.form.fields["out"].value = tmp_path / "file.zarr"
    click(qtbot, dock.prepare_button)
    with qtbot.waitSignal(dock.job.failed, timeout=TIMEOUT):
        pass
    assert "file.zarr" in dock.progress.label.text()


@pytest.mark.parametrize("content", ["missing", "empty"])
def test_a_bad_folder_is_told_in_plain_words(dock, qtbot, tmp_path, notices, content):
    folder = tmp_path / content
    if content == "empty":
        folder.mkdir()
    dock.form.fields["data_dir"].value = folder
    qtbot.waitUntil(lambda: bool(notices()), timeout=TIMEOUT)
    ((severity, message),) = notices()
    assert severity == "error"
    assert str(folder) in message
    assert not dock.prepare_button.isEnabled()


def test_only_the_last_folder_counts(dock, qtbot, brains):
    dock.form.fields["data_dir"].value = brains
    dock.form.fields["data_dir"].value = None
    qtbot.waitUntil(lambda: not dock._workers, timeout=TIMEOUT)
    assert dock.table.subjects == []
    assert dock.summary.text() == "Choose a folder of volumes."
    choose(qtbot, dock, brains)
    dock.form.fields["data_dir"].value = None  # while the volumes are looked at
    qtbot.waitUntil(lambda: dock.inspection.job is None, timeout=TIMEOUT)
    assert dock.table.subjects == []
    assert dock.inspecting.isHidden()


def test_fits_into_300_pixels(dock):
    assert dock.minimumSizeHint().width() <= 300
