"""The way from noise to a brain, as numbers and in a real browser."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.figures.process import Step, process, recorded_steps
from braindiffusion.volume import Volume


@pytest.fixture(scope="module")
def trajectory(brain: Volume) -> Volume:
    """Five frames, from noise to the brain."""
    noise = np.random.default_rng(0).random(brain.shape, dtype=np.float32)
    return Volume(np.stack([brain.data[0] * t + noise * (1 - t) for t in np.linspace(0, 1, 5)]), brain.affine)


def test_all_frames_have_the_contrast_of_the_brain(trajectory: Volume) -> None:
    figure = process(trajectory)
    last = trajectory.data[-1]
    scaled = np.clip(trajectory.data / np.percentile(last[last > 0], 99.5), 0, 1) * 255
    assert len(figure.frames) == 5
    for number, frame in enumerate(figure.frames):
        np.testing.assert_allclose(frame.data[2].z, scaled[number][:, :, 10].T, atol=0.51)
    np.testing.assert_array_equal(figure.data[2].z, figure.frames[-1].data[2].z)


def test_steps_come_from_the_sidecar(trajectory: Volume, tmp_path: Path) -> None:
    path = tmp_path / "sample_001_trajectory.nii.gz"
    assert recorded_steps(path) is None
    sidecar = tmp_path / "sample_001.json"
    sidecar.write_text("{}")
    assert recorded_steps(path) is None
    sidecar.write_text(
        json.dumps({"trajectory": [{"level": 0, "step": 5, "of": 10}, {"level": 1, "step": 2, "of": 4}]})
    )
    steps = recorded_steps(path)
    assert list(map(str, steps or [])) == ["level 0, step 5 of 10", "level 1, step 2 of 4"]
    with pytest.raises(BrainDiffusionError, match="5 frames, not 2"):
        process(trajectory, steps=steps)


def test_what_sample_gives_tells_its_steps_itself(trajectory: Volume) -> None:
    records = [{"level": level, "step": 1, "of": 1, "sigma": 0.0} for level in range(5)]
    (slider,) = process(replace(trajectory, metadata={"trajectory": records})).layout.sliders
    assert [step.label for step in slider.steps] == [f"level {level}, step 1 of 1" for level in range(5)]


def test_a_volume_is_no_trajectory(brain: Volume) -> None:
    with pytest.raises(BrainDiffusionError, match="several frames"):
        process(brain)


def test_in_a_browser_it_plays_stops_and_slides(show: Callable, trajectory: Volume) -> None:
    browser = show(
        process(trajectory, steps=[Step(0, 1, 2), Step(0, 2, 2), Step(1, 1, 2), Step(1, 2, 2), Step(2, 1, 1)])
    )
    browser.run("window.shown = []; plot.on('plotly_animatingframe', event => window.shown.push(event.name))")
    browser.press("Play")
    browser.wait("window.shown.length === 5")
    assert browser.run("return window.shown") == list("01234")
    axial = "plot.calcdata[2][0].z.flat().join()"
    brain = browser.run(f"return {axial}")
    browser.slide(0, 0.5)
    browser.wait("plot.layout.sliders[0].active === 2")
    browser.wait(f"{axial} !== '{brain}'")
    assert browser.run("return document.querySelector('.slider-label').textContent") == "level 1, step 1 of 2"
    browser.run("window.shown = []")
    browser.press("Level 1")
    browser.wait("window.shown.length === 2 && plot.layout.sliders[0].active === 3")
    assert browser.run("return window.shown") == ["2", "3"]
    browser.run("window.shown = []")
    browser.press("Play")
    browser.wait("window.shown.length === 2")
    browser.press("Pause")
    assert browser.run("return window.shown.length") < 5
    browser.check()
