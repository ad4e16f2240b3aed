"""The Region volumes dock: a real segmentation, the table of volumes, its reference and its export."""

import csv
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import Qt

from braindiffusion.example_data import sample_labels_path
from braindiffusion.regions import REGIONS, regions_of, volumes_ml
from braindiffusion.volume import load_volume
from napari_braindiffusion.docks.open import open_dock
from napari_braindiffusion.settings import PLUGIN

TIMEOUT = 240_000


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy(show=True)


@pytest.fixture
def dock(viewer):
    return open_dock(viewer, "Region volumes")


def test_a_brain_is_segmented_and_measured(viewer, dock, qtbot, notices):
    """The volumes of the segmentation are those of the reference segmentation within a fifth, in all."""
    image, _ = viewer.open_sample(PLUGIN, "real")
    viewer.layers.selection.active = image
    with qtbot.waitSignal(dock.job.ended, timeout=TIMEOUT):
        qtbot.mouseClick(dock.segment_button, Qt.MouseButton.LeftButton)
        assert not dock.segment_button.isEnabled()
    regions = viewer.layers["IXI T1w regions"]
    assert isinstance(regions, Labels)
    np.testing.assert_allclose(regions.scale, image.scale)
    np.testing.assert_allclose(regions.translate, image.translate)
    features = regions.features
    assert features["region"][features["index"] == 1].item() == REGIONS[1].name
    assert "Estimated age" in dock.summary.text()
    qtbot.waitUntil(lambda: dock.table.rowCount() == len(REGIONS) - 1, timeout=TIMEOUT)
    total = sum(row.volume_ml for row in dock.measured)
    truth = load_volume(sample_labels_path())
    assert total == pytest.approx(volumes_ml(regions_of(truth.data[0]), truth.spacing)[1:].sum(), rel=0.2)


def test_labels_are_measured_beside_a_reference_and_exported(viewer, dock, qtbot, notices, tmp_path):
    _, labels = viewer.open_sample(PLUGIN, "real")
    viewer.layers.selection.active = labels
    qtbot.mouseClick(dock.measure_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(dock.export_button.isEnabled, timeout=TIMEOUT)
    assert "training subjects" in dock.reference.currentText()
    percentiles = [row.percentile for row in dock.measured]
    assert all(0 <= percentile <= 100 for percentile in percentiles)
    dock.table.sortByColumn(1, Qt.SortOrder.DescendingOrder)
    shown = [float(dock.table.item(row, 1).text()) for row in range(dock.table.rowCount())]
    assert shown == sorted(shown, reverse=True)
    dock.reference.setCurrentIndex(dock.reference.count() - 1)
    qtbot.waitUntil(lambda: dock.measured[0].percentile is None, timeout=TIMEOUT)
    dock.export(tmp_path / "volumes.tsv")
    with (tmp_path / "volumes.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["region"] for row in rows] == [region.name for region in REGIONS[1:]]
    assert rows[0]["percentile"] == "n/a"


def test_what_cannot_be_measured_is_reported(viewer, dock, qtbot, notices):
    dock.measure()
    dock.segment()
    strange = viewer.add_labels(np.full((4, 4, 4), 9999), name="strange", units="mm")
    dock.measure(strange)
    qtbot.waitUntil(lambda: len(notices()) == 3, timeout=TIMEOUT)
    messages = [message for _, message in notices()]
    assert "Labels layer" in messages[0]
    assert "3D image" in messages[1]
    assert "'strange'" in messages[2]
    dock.export(Path("/proc/none/a.tsv"))
    assert "could not be written" in notices()[-1][1]
