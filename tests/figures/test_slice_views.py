"""Three linked slices, as numbers and in a real browser."""

from collections.abc import Callable

import numpy as np
import plotly.graph_objects as go
import pytest

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.figures import slice_views as module
from braindiffusion.figures.slice_views import slice_views
from braindiffusion.volume import Volume


def trace(figure: go.Figure, name: str) -> go.Heatmap:
    return next(one for one in figure.data if one.name == name)


@pytest.fixture(scope="module")
def oblique_free() -> Volume:
    """Spacing and place differ along each axis; every voxel has its own value."""
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = (-4.0, 10.0, 100.0)
    data = np.random.default_rng(0).random((1, 9, 7, 5), dtype=np.float32) + 1
    data[0, 0, 0, 0] = 0
    return Volume(data, affine)


def test_planes_are_the_voxels_of_the_middle(oblique_free: Volume) -> None:
    figure = slice_views(oblique_free)
    data = oblique_free.data[0]
    scaled = np.clip(data / np.percentile(data[data > 0], 99.5), 0, 1) * 255
    for name, cut in (("sagittal 0", scaled[4].T), ("coronal 0", scaled[:, 3].T), ("axial 0", scaled[:, :, 2].T)):
        np.testing.assert_allclose(trace(figure, name).z, cut, atol=0.51)


def test_places_are_world_millimetres(oblique_free: Volume) -> None:
    figure = slice_views(oblique_free)
    np.testing.assert_allclose(trace(figure, "sagittal 0").x, 10 + 2 * np.arange(7))
    np.testing.assert_allclose(trace(figure, "coronal 0").x, -4 + np.arange(9))
    np.testing.assert_allclose(trace(figure, "axial 0").y, 10 + 2 * np.arange(7))
    x, y, z = figure.layout.sliders
    assert [step.label for step in x.steps] == [str(mm) for mm in range(-4, 5)]
    assert [step.label for step in y.steps] == [str(mm) for mm in range(10, 24, 2)]
    assert [step.label for step in z.steps] == [str(mm) for mm in range(100, 115, 3)]


def test_each_step_of_a_slider_shows_its_own_slice_and_moves_its_lines(oblique_free: Volume) -> None:
    figure = slice_views(oblique_free)
    frames = {frame.name: frame for frame in figure.frames}
    data = oblique_free.data[0]
    scaled = np.clip(data / np.percentile(data[data > 0], 99.5), 0, 1) * 255
    for number, step in enumerate(figure.layout.sliders[1].steps):
        frame = frames[step.args[0][0]]
        plane, *lines = frame.data
        assert figure.data[frame.traces[0]].name == "coronal 0"
        np.testing.assert_allclose(plane.z, scaled[:, number].T, atol=0.51)
        place = 10 + 2 * number
        sagittal, axial = (figure.data[one] for one in frame.traces[1:])
        assert sagittal.xaxis == trace(figure, "sagittal 0").xaxis
        assert axial.xaxis == trace(figure, "axial 0").xaxis
        assert list(lines[0].x) == [place, place]  # y runs to the right in a sagittal plane,
        assert list(lines[1].y) == [place, place]  # and up in an axial one


def test_letters_say_where_each_plane_points(oblique_free: Volume) -> None:
    figure = slice_views(oblique_free)
    told = {}
    for note in figure.layout.annotations:
        if note.text and len(note.text) == 1:
            edge = {0.02: "low", 0.98: "high"}
            told[note.xref, edge.get(note.x), edge.get(note.y)] = note.text
    assert told == {
        ("x domain", "low", None): "P",
        ("x domain", "high", None): "A",
        ("x domain", None, "low"): "I",
        ("x domain", None, "high"): "S",
        ("x2 domain", "low", None): "L",
        ("x2 domain", "high", None): "R",
        ("x2 domain", None, "low"): "I",
        ("x2 domain", None, "high"): "S",
        ("x3 domain", "low", None): "L",
        ("x3 domain", "high", None): "R",
        ("x3 domain", None, "low"): "P",
        ("x3 domain", None, "high"): "A",
    }


def test_a_large_volume_has_fewer_slices_and_all_their_voxels(brain: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    many = slice_views(brain)
    monkeypatch.setattr(module, "FRAME_BYTES", 8000)
    few = slice_views(brain)
    assert sum(frame.data[0].z.size for frame in few.frames) <= 8000 * 1.3
    assert len(few.frames) < len(many.frames) / 2
    np.testing.assert_array_equal(trace(few, "axial 0").z, trace(many, "axial 0").z)


def test_nothing_to_see_is_told() -> None:
    with pytest.raises(BrainDiffusionError, match="same value"):
        slice_views(Volume(np.ones((1, 4, 4, 4)), np.eye(4)))


def test_in_a_browser_each_slider_moves_its_plane(show: Callable, brain: Volume) -> None:
    browser = show(slice_views(brain, title="A <ball>"))
    assert browser.run("return plot._fullData.map(one => one.type)") == ["heatmap"] * 3 + ["scatter"] * 6
    for slider in range(3):
        brightness = f"Array.from(plot.calcdata[{slider}][0].z.flat()).reduce((a, b) => Math.max(a, b))"
        before = browser.run(f"return {brightness}")
        others = [browser.run(f"return JSON.stringify(plot.calcdata[{n}][0].z)") for n in range(3) if n != slider]
        browser.slide(slider, 0.7)
        browser.wait(f"{brightness} !== {before}")
        assert others == [
            browser.run(f"return JSON.stringify(plot.calcdata[{n}][0].z)") for n in range(3) if n != slider
        ]
    # The sagittal plane was moved to the right: so is the line that marks it in the coronal one.
    line = browser.run("return plot._fullData.find(one => one.type === 'scatter' && one.xaxis === 'x2').x")
    assert line[0] == line[1] > 21
    browser.check()
