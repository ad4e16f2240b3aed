"""The one dialog of every export, and what it writes."""

import json
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialogButtonBox

from braindiffusion.cohort.find import find
from braindiffusion.example_data import sample_labels_path, sample_t1_path
from braindiffusion.runs.sidecar import read_sidecar
from braindiffusion.volume import Volume, load_volume, save_volume
from napari_braindiffusion.io.export import ask_and_export
from napari_braindiffusion.layers.files import PROVENANCE, save_brain, write_layers
from napari_braindiffusion.widgets.forms.export_form import ExportDialog

PLUGIN = "napari-braindiffusion"
TOLD = {"synthetic": True, "seed": 4, "condition": {"age": 30.0}, "model": {"name": "ixi-2mm"}}


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


def save(dialog: ExportDialog, out: Path, qtbot) -> None:
    dialog.fields["out"].value = out
    qtbot.mouseClick(dialog.buttons.button(QDialogButtonBox.StandardButton.Save), Qt.MouseButton.LeftButton)


def told(notices, qtbot) -> list[tuple[str, str]]:
    qtbot.waitUntil(lambda: bool(notices()), timeout=30_000)
    return notices()


def test_selected_layers_become_files_with_sidecars(viewer, tmp_path, qtbot, notices):
    image, labels = viewer.open_sample(PLUGIN, "real")
    image.name = labels.name = "a/b: c"
    image.metadata[PROVENANCE] = TOLD
    viewer.add_points([[0, 0, 0]], units="mm")
    viewer.layers.selection = set(viewer.layers)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a_b_c.nii.gz").write_text("somebody's")
    dialog = ask_and_export(viewer, bids=False)
    assert dialog.fields["what"].current_choice == "the 2 selected layers"
    assert not dialog.buttons.button(QDialogButtonBox.StandardButton.Save).isEnabled()
    assert not dialog.fields["name"].native.isVisibleTo(dialog)
    save(dialog, tmp_path / "out", qtbot)
    assert told(notices, qtbot) == [("info", f"2 volumes are in {tmp_path / 'out'}.")]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a_b_c-2.json",
        "a_b_c-2.nii.gz",
        "a_b_c.nii.gz",
        "a_b_c_1.nii.gz",
    ]
    (tmp_path / "out" / "a_b_c.nii.gz").unlink()
    written = {load_volume(path).data.max() for path in (tmp_path / "out").glob("*.nii.gz")}
    assert written == {load_volume(path).data.max() for path in (sample_t1_path(), sample_labels_path())}
    (sidecar,) = (tmp_path / "out").glob("*.json")
    assert json.loads(sidecar.read_text())["seed"] == 4


def test_layers_of_any_name_become_files(viewer, tmp_path, qtbot, notices):
    """Layers are named after their conditions, which may be forty region volumes."""
    for name in ("age 75, " * 40, "é" * 300, "/", ".", "..", ""):
        viewer.add_image(np.ones((4, 5, 6), np.float32), name=name or "x", units="mm")
    viewer.layers[-1].name = ""
    handed: list[object] = []
    write_layers(viewer, list(viewer.layers), handed.append)
    qtbot.waitUntil(lambda: len(handed) == 1, timeout=30_000)
    assert len({path.name for path in handed[0]}) == len(viewer.layers)
    assert all(path.is_file() for path in handed[0])
    viewer.layers.selection = set(viewer.layers)
    save(ask_and_export(viewer, bids=False), tmp_path / "out", qtbot)
    assert told(notices, qtbot) == [("info", f"6 volumes are in {tmp_path / 'out'}.")]
    assert len(list((tmp_path / "out").iterdir())) == 6


def test_selected_layers_become_a_dataset_with_their_labels(viewer, tmp_path, qtbot, notices):
    image, labels = viewer.open_sample(PLUGIN, "real")
    image.name = "IXI080-T1"
    made = viewer.add_image(np.ones((4, 5, 6)), name="made", metadata={PROVENANCE: TOLD}, units="mm")
    way = viewer.add_image(np.ones((2, 4, 5, 6)), name="way", units=("pixel", "mm", "mm", "mm"))
    stray = viewer.add_labels(np.ones((2, 2, 2), np.uint8), name="stray", units="mm")
    viewer.layers.selection = {image, labels, made, way, stray}
    dialog = ask_and_export(viewer, bids=True)
    dialog.fields["name"].value = "Two"
    save(dialog, tmp_path / "out", qtbot)
    qtbot.waitUntil(lambda: len(notices()) == 3, timeout=30_000)
    assert ["'way'" in notices()[0][1], "'stray'" in notices()[1][1]] == [True, True]
    found = {item.subject: item.path for item in find(tmp_path / "out")}
    assert set(found) == {"sub-IXI080", "sub-gen001"}
    assert read_sidecar(found["sub-gen001"])["seed"] == 4
    assert "sub-gen001\t30" in (tmp_path / "out" / "participants.tsv").read_text()
    (written,) = (tmp_path / "out" / "derivatives").rglob("*_dseg.nii.gz")
    np.testing.assert_array_equal(load_volume(written).data, load_volume(sample_labels_path()).data)


@pytest.mark.parametrize("bids", [True, False])
def test_the_results_of_a_run(viewer, tmp_path, qtbot, notices, bids):
    volume = Volume(np.ones((1, 4, 5, 6), np.float32), np.eye(4))
    for number in (1, 2):
        save_brain(volume, tmp_path / f"in/sample_{number:03d}.nii.gz", TOLD | {"sample": number})
    save_volume(volume, tmp_path / "in/sample_001_trajectory.nii.gz")
    dialog = ask_and_export(viewer, bids=bids)
    assert len(dialog.fields["what"]) == 1
    dialog.fields["out"].value = tmp_path / "out"
    assert dialog.choice is None
    dialog.fields["source"].value = tmp_path / "in"
    save(dialog, tmp_path / "out", qtbot)
    assert told(notices, qtbot) == [("info", f"2 volumes are in {tmp_path / 'out'}.")]
    assert len(list((tmp_path / "out").rglob("*.nii.gz"))) == 2


def test_what_cannot_be_written_is_told(viewer, tmp_path, qtbot, notices):
    (layer, _) = viewer.open_sample(PLUGIN, "real")
    viewer.layers.selection = {layer}
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").write_text("")
    save(ask_and_export(viewer, bids=True), tmp_path / "full", qtbot)
    ((severity, message),) = told(notices, qtbot)
    assert (severity, "holds something already" in message) == ("error", True)


def test_a_layer_that_is_no_volume_of_millimetres_is_told(viewer, tmp_path, qtbot, notices):
    layer = viewer.add_image(np.ones((4, 5, 6)), units="second")
    viewer.layers.selection = {layer}
    save(ask_and_export(viewer, bids=False), tmp_path / "out", qtbot)
    assert "unit of length" in told(notices, qtbot)[0][1]
    assert not (tmp_path / "out").exists()


def test_the_dialog_follows_the_theme(viewer):
    dialog = ask_and_export(viewer, bids=True)
    brightness = {}
    for theme in ("light", "dark"):
        viewer.theme = theme
        image = dialog.grab().toImage()
        brightness[theme] = image.pixelColor(image.width() // 2, image.height() - 2).lightness()
    dialog.reject()
    assert brightness["light"] > 150
    assert brightness["dark"] < 100
