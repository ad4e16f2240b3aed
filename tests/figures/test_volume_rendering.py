"""The rendering, as numbers and in a real browser."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.figures.page import write_figure
from braindiffusion.figures.volume_rendering import LONGEST_SIDE, volume_rendering
from braindiffusion.volume import Volume


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> np.ndarray:
    """A bright ball in the dark, in voxels."""
    grid = np.indices(shape) - np.asarray(centre).reshape(3, 1, 1, 1)
    return (np.sqrt((grid**2).sum(axis=0)) <= radius).astype(np.float32)[None]


def centre_of_mass(trace: object) -> np.ndarray:
    points = np.stack([trace.x, trace.y, trace.z])  # type: ignore[attr-defined]
    return (points * trace.value).sum(axis=1) / trace.value.sum()  # type: ignore[attr-defined]


@pytest.mark.parametrize("shape", [(40, 48, 44), (160, 128, 140)], ids=["small", "averaged down"])
def test_it_stands_where_the_volume_is_in_millimetres(shape: tuple[int, int, int]) -> None:
    centre = (20.0, 30.0, 25.0)
    affine = np.diag([1.5, 2.0, 1.0, 1.0])
    affine[:3, 3] = (-30.0, 10.0, 5.0)
    cloud = volume_rendering(Volume(ball(shape, centre, 10), affine)).data[0]
    expected = (affine @ [*centre, 1])[:3]
    np.testing.assert_allclose(centre_of_mass(cloud), expected, atol=1.0)
    assert np.ptp(cloud.x[cloud.value > 0.5]) == pytest.approx(20 * 1.5, abs=4)


def test_a_large_volume_is_averaged_to_what_a_browser_bears() -> None:
    shape = (160, 208, 176)
    cloud = volume_rendering(Volume(ball(shape, (80, 104, 88), 78), np.eye(4))).data[0]
    sides = [len(np.unique(along)) for along in (cloud.x, cloud.y, cloud.z)]
    assert max(sides) <= LONGEST_SIDE
    inside = (np.stack([cloud.x, cloud.y, cloud.z]) - [[80], [104], [88]]) ** 2
    assert cloud.value[np.sqrt(inside.sum(axis=0)) < 70].min() == pytest.approx(1)


def test_the_surface_lies_on_the_ball() -> None:
    centre = np.array([20.0, 24.0, 22.0])
    affine = np.diag([1.5, 2.0, 1.0, 1.0])
    affine[:3, 3] = (-30.0, 10.0, 5.0)
    surface = volume_rendering(Volume(ball((40, 48, 44), tuple(centre), 15), affine)).data[1]
    points = np.stack([surface.x, surface.y, surface.z], axis=1)
    voxels = (points - affine[:3, 3]) / [1.5, 2.0, 1.0]
    radii = np.linalg.norm(voxels - centre, axis=1)
    assert radii.min() > 14
    assert radii.max() < 16
    assert max(surface.i.max(), surface.j.max(), surface.k.max()) == len(points) - 1


def test_slices_show_every_voxel_and_lie_in_the_middle() -> None:
    data = np.random.default_rng(0).random((1, 20, 22, 24), dtype=np.float32) + 1
    data[0, 0, 0, 0] = 0
    _, _, sagittal, coronal, axial = volume_rendering(Volume(data, np.diag([2.0, 2.0, 2.0, 1.0]))).data
    assert np.unique(sagittal.x).tolist() == [20.0]
    assert np.unique(coronal.y).tolist() == [22.0]
    assert np.unique(axial.z).tolist() == [24.0]
    high = np.percentile(data[data > 0], 99.5)
    np.testing.assert_allclose(axial.surfacecolor, np.clip(data[0, :, :, 12] / high, 0, 1), rtol=1e-5)


def test_one_hot_voxel_does_not_dim_the_rest() -> None:
    data = ball((40, 40, 40), (20, 20, 20), 12)
    data[0, 20, 20, 20] = 1000
    cloud = volume_rendering(Volume(data, np.eye(4))).data[0]
    assert np.median(cloud.value[cloud.value > 0]) == pytest.approx(1)


def test_nothing_to_see_and_no_such_channel_are_told() -> None:
    with pytest.raises(BrainDiffusionError, match="same value"):
        volume_rendering(Volume(np.ones((1, 4, 4, 4)), np.eye(4)))
    with pytest.raises(BrainDiffusionError, match="no channel 1"):
        volume_rendering(Volume(ball((9, 9, 9), (4, 4, 4), 2), np.eye(4)), channel=1)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BrainDiffusionError, match="cannot be written"):
        write_figure(volume_rendering(Volume(ball((9, 9, 9), (4, 4, 4), 2), np.eye(4))), tmp_path / "file" / "a.html")


def test_in_a_browser_buttons_change_what_is_shown(show: Callable, brain: Volume) -> None:
    browser = show(volume_rendering(brain, title="A <ball>"))
    assert browser.run("return plot._fullData.map(one => one.type)") == [
        "volume",
        "mesh3d",
        "surface",
        "surface",
        "surface",
    ]
    background = browser.pixels()[-20:, :20].mean()
    for button, shown in (("Surface", [1]), ("Slices", [2, 3, 4])):
        browser.press(button)
        visible = "plot._fullData.flatMap((one, number) => one.visible ? [number] : [])"
        browser.wait(f"JSON.stringify({visible}) === '{json.dumps(shown, separators=(',', ':'))}'")
        middle = browser.pixels()[160:240, 320:400]
        assert middle.mean() > background + 25
