"""Animations of sweeps: what the frames show, in which order, and how long."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.figures.animation import PIXELS_PER_MM, TEXT, frames, write_animation
from braindiffusion.volume import Volume

SPACING = (1.0, 2.0, 3.0)


@pytest.fixture(scope="module")
def sweep() -> Volume:
    """A block that grows darker, brightest at its left, posterior, inferior corner."""
    data = np.zeros((3, 30, 20, 12), np.float32)
    data[:, 5:25, 4:16, 3:9] = 100
    data[:, 5:15, 4:10, 3:6] = 200
    return Volume(data * np.array([1, 0.75, 0.5], np.float32)[:, None, None, None], np.diag([*SPACING, 1]))


def test_a_frame_shows_three_planes_in_millimetres_with_left_at_the_left(sweep: Volume) -> None:
    made = frames(sweep, ["age 20", "age 50", "age 80"], centre=(10, 6, 4))
    x, y, z = ((20 + 2) * 1.0, (12 + 2) * 2.0, (6 + 2) * 3.0)  # the block with a margin of a voxel on each side
    assert made[0].size == (round((y + x + x) * PIXELS_PER_MM), round(max(y, z) * PIXELS_PER_MM) + TEXT)
    axial = np.asarray(made[0])[:-TEXT, round((y + x) * PIXELS_PER_MM) :].astype(float)
    left, right = axial[:, : axial.shape[1] // 2].mean(), axial[:, axial.shape[1] // 2 :].mean()
    back, front = axial[axial.shape[0] // 2 :].mean(), axial[: axial.shape[0] // 2].mean()
    assert left > 1.1 * right
    assert back > 1.1 * front
    planes = [np.asarray(frame)[:-TEXT].mean() for frame in made]
    assert planes[1] / planes[0] == pytest.approx(0.75, abs=0.02)  # the contrast of the first
    texts = [np.asarray(frame)[-TEXT:] for frame in made]
    assert all(text.max() == 255 for text in texts)
    assert (texts[0] != texts[2]).any()


def test_planes_go_through_the_centre_that_is_given(sweep: Volume) -> None:
    through = frames(sweep, ["a", "b", "c"], centre=(10, 6, 4))[0]
    beside = frames(sweep, ["a", "b", "c"], centre=(20, 14, 7))[0]
    assert np.asarray(through)[:-TEXT].mean() > 1.2 * np.asarray(beside)[:-TEXT].mean()


def test_an_animation_plays_forwards_and_backwards(sweep: Volume, tmp_path: Path) -> None:
    path = write_animation(sweep, ["a", "b", "c"], tmp_path / "new" / "sweep.gif")
    with Image.open(path) as gif:
        assert gif.info["loop"] == 0
        shown = [
            (frame.info["duration"], np.asarray(frame.convert("L")).mean()) for frame in ImageSequence.Iterator(gif)
        ]
    (first, bright), (second, middle), (third, dark), (fourth, again) = shown
    assert first == third > second == fourth
    assert bright > middle > dark
    assert again == pytest.approx(middle, abs=1)


def test_a_sweep_without_contrast_and_a_folder_that_is_a_file_are_told(sweep: Volume, tmp_path: Path) -> None:
    flat = Volume(np.zeros((2, 4, 4, 4), np.float32), np.eye(4))
    with pytest.raises(BrainDiffusionError, match="same value"):
        write_animation(flat, ["a", "b"], tmp_path / "flat.gif")
    (tmp_path / "file").write_text("")
    with pytest.raises(BrainDiffusionError, match="cannot be written"):
        write_animation(sweep, ["a", "b", "c"], tmp_path / "file" / "sweep.gif")
