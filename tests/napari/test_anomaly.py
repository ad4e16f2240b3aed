"""The Anomaly map dock: choose a brain, make its map, see it on top, through the real viewer and worker process."""

import numpy as np
import pytest
from qtpy.QtCore import Qt

from braindiffusion.editing.anomaly import NOISE_LEVELS
from braindiffusion.editing.normative import CLASSES, NormativeTable, save_normative
from braindiffusion.volume import load_volume
from napari_braindiffusion.docks.open import open_dock
from napari_braindiffusion.layers.files import PROVENANCE
from napari_braindiffusion.orthoviews.difference import COLORS
from napari_braindiffusion.settings import PLUGIN

TIMEOUT = 240_000


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy(show=True)


@pytest.fixture
def dock(viewer, toy_model):
    """With a small model that has learnt nothing, and a table by which everything is unusual."""
    table = NormativeTable(
        subjects=2,
        noise_levels=NOISE_LEVELS,
        spacing=8.0,
        middle_age=50.0,
        mean=[(0.0, 0.0, 0.0)] * CLASSES,
        log_variance=[(-6.0, 0.0, 0.0)] * CLASSES,
        scores=(1.0, 2.0),
    )
    save_normative(table, toy_model)
    dock = open_dock(viewer, "Anomaly map")
    assert dock.form.fields["model"].value == "ixi-2mm"  # the only packaged model with a table
    dock.form.fields["model"].offer([("toy", str(toy_model), "")])
    dock.form.fields["model"].value = str(toy_model)
    return dock


def test_a_map_lies_on_top_of_its_image_and_can_be_saved(viewer, dock, qtbot, notices, tmp_path):
    dock.make_map()
    assert "Choose an image" in notices()[-1][1]
    image, regions = viewer.open_sample(PLUGIN, "real")
    regions.visible = False
    assert dock.image.currentText() == image.name
    assert dock.form.fields["age"].native.text() == "Estimated"
    assert dock.form.fields["sex"].native.currentText() == "Unknown"
    dock.form.fields["age"].value = 61.0
    with qtbot.waitSignal(dock.job.ended, timeout=TIMEOUT):
        qtbot.mouseClick(dock.map_button, Qt.MouseButton.LeftButton)
        assert not dock.map_button.isEnabled()
    assert [level for level, _ in notices()[1:] if level != "info"] == []
    layer = viewer.layers[-1]
    np.testing.assert_allclose(layer.scale, image.scale)
    np.testing.assert_allclose(layer.translate, image.translate)
    assert layer.data.shape == image.data.shape
    assert layer.contrast_limits == [-6, 6]
    assert layer.colormap.name == COLORS.name
    assert layer.colormap.map(np.array([0.5]))[0, 3] == pytest.approx(0, abs=0.02)  # transparent where as expected
    assert layer.blending == "translucent_no_depth"
    told = layer.metadata[PROVENANCE]
    assert told["age"] == 61
    assert not told["age_estimated"]
    assert "ml lie beyond 3 healthy spreads, more than in 100 % of 2 healthy people. Age 61." in dock.result.text()
    assert [dock.image.itemText(i) for i in range(dock.image.count())] == [image.name]
    layer.save(str(tmp_path / "map.nii.gz"))
    np.testing.assert_array_equal(load_volume(tmp_path / "map.nii.gz").data[0], layer.data)


def test_a_map_is_cancelled_and_a_failure_is_told(viewer, dock, qtbot, notices):
    viewer.open_sample(PLUGIN, "real")
    dock.make_map()
    with qtbot.waitSignal(dock.job.cancelled, timeout=TIMEOUT):
        dock.job.cancel()
    assert dock.map_button.isEnabled()
    dock.form.fields["model"].offer([("brain-1mm", "brain-1mm", "")])
    dock.form.fields["model"].value = "brain-1mm"
    with qtbot.waitSignal(dock.job.failed, timeout=TIMEOUT) as failed:
        dock.make_map()
    assert "has no normative table" in failed.args[0]
    assert len(viewer.layers) == 2
