"""The Region volumes dock: a real segmentation, the table of volumes, its reference and its export."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import Qt

from braindiffusion.cohort.region_volumes import region_volume_table
from braindiffusion.conditions import Numbers
from braindiffusion.example_data import sample_labels_path
from braindiffusion.regions import REGIONS, regions_of, volumes_ml
from braindiffusion.volume import load_volume
from napari_braindiffusion.docks import region_volumes
from napari_braindiffusion.docks.open import open_dock
from napari_braindiffusion.settings import PLUGIN
from napari_braindiffusion.widgets import readable
from napari_braindiffusion.widgets.tables.region_table import RegionTable

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


@pytest.fixture
def answers_of_threads(monkeypatch):
    """What worker threads of the dock were asked for, to be answered in any order."""
    asked: list[Callable[[], None]] = []

    def keep(work, *args, then):
        asked.append(lambda: then(work(*args)))

    monkeypatch.setattr(region_volumes, "run_in_thread", keep)
    monkeypatch.setattr(region_volumes, "_measure", lambda volume, name: [1.0] * len(REGIONS))
    return asked


def test_the_table_shows_the_reference_that_is_chosen(viewer, dock, monkeypatch, answers_of_threads):
    """A slow cohort is read while another one is chosen; a damaged one leaves no percentiles of another."""
    cohorts = {"slow": Numbers.of(np.arange(1000.0)), "quick": Numbers.of(np.arange(2000.0, 3000.0))}
    monkeypatch.setattr(region_volumes.Cohort, "open", lambda path: path)
    monkeypatch.setattr(
        region_volumes,
        "cohort_reference",
        lambda cohort: {region.name: cohorts[cohort.name] for region in REGIONS[1:]},
    )
    dock.measure(viewer.add_labels(np.ones((4, 4, 4), np.uint8), name="labels", units="mm"))
    for name in ("slow", "quick", "damaged"):
        dock.reference.addItem(name, Path(name))
    dock.reference.setCurrentText("slow")
    measured, *_ = answers_of_threads
    answers_of_threads.clear()
    measured()
    dock.reference.setCurrentText("quick")
    assert dock.measured[0].percentile is None
    assert not dock.export_button.isEnabled()
    slow, quick = answers_of_threads
    quick()
    assert dock.export_button.isEnabled()
    slow()
    assert {row.reference_median_ml for row in dock.measured} == {2499.5}
    dock.reference.setCurrentText("damaged")  # nothing comes
    assert {row.percentile for row in dock.measured} == {None}


def test_the_labels_that_were_asked_for_last_are_shown(viewer, dock, answers_of_threads):
    for name in ("large", "small"):
        dock.measure(viewer.add_labels(np.ones((4, 4, 4), np.uint8), name=name, units="mm"))
    large, small = answers_of_threads
    small()
    large()
    assert dock.summary.text().startswith("small")


def test_regions_have_one_name_in_all_forms_and_tables(dock):
    """The table and the plots have a letter for the side; else they say what the Generate form says."""
    dock.table.set_rows(region_volume_table([1.0] * len(REGIONS)))
    shown = [dock.table.item(row, 0).text() for row in range(dock.table.rowCount())]
    full = [dock.table.item(row, 0).toolTip() for row in range(dock.table.rowCount())]
    assert full == [readable(region.name) for region in REGIONS[1:]]
    assert [text.replace("L ", "Left ").replace("R ", "Right ") for text in shown] == full
    assert "Sulcal CSF" in shown


def test_names_of_regions_are_whole_in_a_narrow_dock(qtbot):
    table = RegionTable()
    qtbot.addWidget(table)
    table.set_rows(region_volume_table([100.0] * len(REGIONS)))
    table.show()
    names = [table.item(row, 0).text() for row in range(table.rowCount())]

    def whole(row: int) -> bool:
        room = table.columnWidth(0) - 2
        needed = table.fontMetrics().boundingRect(0, 0, room, 999, Qt.TextFlag.TextWordWrap, names[row])
        return needed.width() <= room and needed.height() <= table.rowHeight(row)

    for width in (346, 600, 346):
        table.resize(width, 400)
        qtbot.waitUntil(lambda: [names[row] for row in range(len(names)) if not whole(row)] == [])


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
