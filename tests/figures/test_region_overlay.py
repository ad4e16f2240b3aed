"""Regions over a brain, as numbers and in a real browser."""

from collections.abc import Callable

import numpy as np
import pytest

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.figures import region_overlay as module
from braindiffusion.figures.region_overlay import region_colour, region_overlay
from braindiffusion.regions import REGIONS, region_index
from braindiffusion.volume import Volume

LEFT, RIGHT, CORTEX = map(region_index, ("left hippocampus", "right hippocampus", "left frontal cortex"))


@pytest.fixture(scope="module")
def labels(brain: Volume) -> Volume:
    """Two blocks of 4 x 6 x 6 voxels of 8 mm³, and a plate in front of them."""
    data = np.zeros((1, *brain.shape), np.uint8)
    data[0, 4:8, 9:15, 8:14] = LEFT
    data[0, 12:16, 9:15, 8:14] = RIGHT
    data[0, 6:14, 16:18, 8:14] = CORTEX
    return Volume(data, brain.affine)


def test_shapes_have_names_volumes_and_places(brain: Volume, labels: Volume) -> None:
    figure = region_overlay(brain, labels)
    shapes = {trace.name: trace for trace in figure.data if trace.type == "mesh3d"}
    assert set(shapes) == {"left hippocampus", "right hippocampus", "left frontal cortex"}
    left = shapes["left hippocampus"]
    assert left.hovertemplate == "left hippocampus: 1.2 ml<extra></extra>"  # 4 * 6 * 6 * 8 mm³ = 1.152 ml
    for points, first, last in ((left.x, 4, 7), (left.y, 9, 14), (left.z, 8, 13)):
        assert points.min() == pytest.approx(2 * (first - 0.5), abs=0.5)
        assert points.max() == pytest.approx(2 * (last + 0.5), abs=0.5)


def test_shapes_of_a_fine_grid_have_larger_triangles_at_the_same_place(
    brain: Volume, labels: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine = region_overlay(brain, labels)
    monkeypatch.setattr(module, "SHAPE_SIDE", 12)
    coarse = region_overlay(brain, labels)
    left, larger = (next(t for t in one.data if t.name == "left hippocampus") for one in (fine, coarse))
    assert len(larger.x) < len(left.x) / 2
    for axis in "xyz":
        assert larger[axis].mean() == pytest.approx(left[axis].mean(), abs=1.0)
        assert np.ptp(larger[axis]) == pytest.approx(np.ptp(left[axis]), abs=2.0)


def test_slices_carry_the_labels_and_what_they_are_called(brain: Volume, labels: Volume) -> None:
    figure = region_overlay(brain, labels)
    axial = next(trace for trace in figure.data if trace.name == "axial overlay")
    first = [round(float(line[0]) / 2) for line in (axial.x, axial.y)]
    expected = labels.data[0, first[0] :, first[1] :, 11].T[: axial.z.shape[0], : axial.z.shape[1]]
    np.testing.assert_array_equal(axial.z, expected)
    names = axial.meta["names"]
    assert names[RIGHT] == "right hippocampus: 1.2 ml"
    assert [names[0], names[region_index("brainstem")]] == ["", ""]


def test_dlmuse_is_grouped(brain: Volume, labels: Volume) -> None:
    dlmuse = np.choose(np.searchsorted([LEFT], labels.data), [0, 0]).astype(np.int16)
    for index in (LEFT, RIGHT, CORTEX):
        dlmuse[labels.data == index] = max(REGIONS[index].dlmuse)
    figure = region_overlay(brain, Volume(dlmuse.astype(np.float32), brain.affine))
    assert {trace.name for trace in figure.data if trace.type == "mesh3d"} == {
        REGIONS[index].name for index in (LEFT, RIGHT, CORTEX)
    }


def test_both_sides_of_a_region_have_one_colour_and_others_another() -> None:
    assert region_colour(LEFT) == region_colour(RIGHT)
    colours = {region_colour(region.index) for region in REGIONS[1:]}
    assert len(colours) == len({region.name.replace("left ", "").replace("right ", "") for region in REGIONS[1:]})


def test_what_does_not_fit_is_told(brain: Volume, labels: Volume) -> None:
    with pytest.raises(BrainDiffusionError, match="does not lie on the grid"):
        region_overlay(brain, Volume(labels.data, np.diag([2.0, 2.0, 2.1, 1.0])))
    with pytest.raises(BrainDiffusionError, match="background only"):
        region_overlay(brain, Volume(np.zeros_like(labels.data), brain.affine))
    with pytest.raises(BrainDiffusionError, match=r"The regions cannot be shown: .* whole numbers"):
        region_overlay(brain, Volume(labels.data * np.float32(0.5) + 0.25, brain.affine))


def test_in_a_browser_the_pointer_is_told_the_region(show: Callable, brain: Volume, labels: Volume) -> None:
    browser = show(region_overlay(brain, labels))
    place = """(x, y) => {
        const {xaxis, yaxis} = plot._fullLayout._plots.x3y3, box = plot.getBoundingClientRect();
        return [box.x + xaxis._offset + xaxis.d2p(x), box.y + yaxis._offset + yaxis.d2p(y)];
    }"""
    browser.point(*browser.run(f"return ({place})(28, 24)"))
    browser.wait("document.querySelector('#tip').style.display === 'block'")
    assert browser.run("return document.querySelector('#tip').textContent") == "right hippocampus: 1.2 ml"
    browser.point(*browser.run(f"return ({place})(20, 24)"))  # between the two
    browser.wait("document.querySelector('#tip').style.display === 'none'")
    browser.press("Subcortical")
    shown = "plot._fullData.filter(one => one.type === 'mesh3d' && one.visible).map(one => one.name).join()"
    browser.wait(f"{shown} === 'left hippocampus,right hippocampus'")
    overlay = "plot.calcdata[5][0].z.flat().join()"
    before = browser.run(f"return {overlay}")
    browser.slide(2, 0.05)
    browser.wait(f"{overlay} !== '{before}'")
    browser.check()
