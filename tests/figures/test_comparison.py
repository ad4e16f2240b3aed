"""Volumes side by side, as numbers and in a real browser."""

from collections.abc import Callable

import numpy as np
import pytest

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.figures.comparison import MOST, comparison
from braindiffusion.volume import Volume


@pytest.fixture(scope="module")
def other(brain: Volume) -> Volume:
    """The same brain at another place in the scanner, in other units, with twice the resolution."""
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = (50.0, -20.0, 7.0)
    finer = brain.data.repeat(2, 1).repeat(2, 2).repeat(2, 3)
    return Volume((finer * 1000).astype(np.int16), affine)


def test_two_volumes_are_cut_at_the_same_place(brain: Volume, other: Volume) -> None:
    figure = comparison({"real": brain, "generated": other})
    traces = [trace.name for trace in figure.data]
    checked = 0
    for frame in figure.frames:
        axis = "xyz".index(frame.name[0])
        plane = ("sagittal", "coronal", "axial")[axis]
        assert [traces[number] for number in frame.traces[:2]] == [f"{plane} 0", f"{plane} 1"]
        coarse, fine = frame.data[0].z.astype(float), frame.data[1].z.astype(float)
        # Of the same place, in the same contrast: so their middles are as bright (a voxel of 1 mm, or of 2, beside).
        middle = coarse.shape[0] // 2, coarse.shape[1] // 2
        if coarse[middle] and fine.any():
            assert fine[fine.shape[0] // 2, fine.shape[1] // 2] == pytest.approx(coarse[middle], abs=8)
            checked += 1
    assert checked > 30


def test_sliders_begin_in_the_middle_of_both(brain: Volume, other: Volume) -> None:
    figure = comparison({"real": brain, "generated": other})
    for slider in figure.layout.sliders:
        assert float(slider.steps[slider.active].label) == 0
        assert abs(float(slider.steps[0].label) + float(slider.steps[-1].label)) < 1e-6


def test_one_volume_or_too_many_are_told(brain: Volume) -> None:
    with pytest.raises(BrainDiffusionError, match="2 to 4 volumes, not 1"):
        comparison({"real": brain})
    with pytest.raises(BrainDiffusionError, match="not 5"):
        comparison({str(number): brain for number in range(MOST + 1)})


def test_in_a_browser_scenes_turn_together(show: Callable, brain: Volume, other: Volume) -> None:
    browser = show(comparison({"real": brain, "generated": other}))
    assert browser.run("return plot._fullData.filter(one => one.type === 'mesh3d').map(one => one.name)") == [
        "real",
        "generated",
    ]
    eye = "JSON.stringify(plot._fullLayout.{}.camera.eye)"
    before = browser.run(f"return {eye.format('scene2')}")
    place = browser.run("return plot._fullLayout.scene._scene.container.getBoundingClientRect().toJSON()")
    browser.drag(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2, by=40)
    browser.wait(f"{eye.format('scene2')} !== '{before}'")
    assert browser.run(f"return {eye.format('scene2')} === {eye.format('scene')}")
    browser.slide(2, 0.3)
    planes = "JSON.stringify([2, 5].map(n => plot.calcdata[n][0].z.flat().some(value => value > 0)))"
    browser.wait(f"{planes} === '[true,true]'")
    browser.check()
