"""Boxes that offer layers follow them through the layer list: renamed, removed, added, in every dock that has one."""

import numpy as np
import pytest

from braindiffusion.conditions import ConditionSchema, MapField
from napari_braindiffusion.docks.open import open_dock
from napari_braindiffusion.widgets.forms.layer_box import LayerBox


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    for name in ("one", "two"):
        viewer.add_image(np.ones((4, 5, 6), np.float32), name=name)
        viewer.add_labels(np.ones((4, 5, 6), np.uint8), name=f"{name} regions")
    return viewer


@pytest.fixture(params=["Edit", "Anomaly map", "Generate"])
def dock(request, viewer):
    dock = open_dock(viewer, request.param)
    if request.param == "Generate":
        dock.form.conditions.set_schema(ConditionSchema(fields=(MapField(name="regions", labels=41),)))
    return dock


def boxes(dock) -> list[LayerBox]:
    return dock.findChildren(LayerBox)


def test_a_layer_that_is_renamed_stays_chosen(dock, viewer):
    assert boxes(dock)
    for box in boxes(dock):
        layer = next(one for one in viewer.layers if one.name.startswith("two") and box.findText(one.name) >= 0)
        box.setCurrentText(layer.name)
        changes: list[int] = []
        box.currentIndexChanged.connect(changes.append)
        layer.name = "another"
        assert box.currentText() == "another"
        assert box.layer == layer
        viewer.layers.move(viewer.layers.index(layer), 0)
        viewer.add_image(np.ones((4, 5, 6), np.float32), name="two")
        assert box.layer == layer
        assert changes == []
        layer.name = "two"  # which is taken
        assert layer.name.startswith("two [")
        assert box.currentText() == layer.name
        box.currentIndexChanged.disconnect(changes.append)


def test_what_takes_the_place_of_a_removed_layer_is_told(dock, viewer):
    for box in boxes(dock):
        layer = box.itemData(box.count() - 1)
        box.choose(layer)
        changes: list[int] = []
        box.currentIndexChanged.connect(changes.append)
        viewer.layers.remove(layer)
        assert box.layer != layer
        assert box.findText(layer.name) < 0
        assert changes == [box.currentIndex()]
        box.currentIndexChanged.disconnect(changes.append)


def test_a_renamed_region_map_is_the_one_that_is_generated_from(viewer):
    dock = open_dock(viewer, "Generate")
    dock.form.conditions.set_schema(ConditionSchema(fields=(MapField(name="regions", labels=41),)))
    row = dock.form.conditions.rows["regions"]
    row.set_value("two regions")
    viewer.layers["two regions"].name = "none"  # as the item that means no layer
    assert dock.form.conditions.asked() == {"regions": "none"}
    request = dock._request()
    assert request.condition["regions"].endswith(".nii.gz")
    row.set_value(None)
    assert dock.form.conditions.asked() == {}
