"""Thickness and depth of cortices that are known: shells, and a block with grooves; continuity of known sulci."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from braindiffusion.evaluation.metrics.cortex import cortex_measures, sulcal_continuity
from braindiffusion.regions import mirror, region_index

CORTEX, WHITE = region_index("left frontal cortex"), region_index("left cerebral white matter")


def shell(radius: float, thickness: float, spacing: float = 2.0, bumps: float = 0.0) -> NDArray[np.uint8]:
    """White matter of a radius in a cortex of a thickness, both in mm; the centre is on no voxel."""
    grid = (np.indices((48, 48, 48)) - 23.5 + np.array([0.13, 0.31, -0.2]).reshape(3, 1, 1, 1)) * spacing
    noise = gaussian_filter(np.random.default_rng(0).standard_normal(grid.shape[1:]), 2.5)
    distance = np.sqrt((grid**2).sum(0)) + bumps * noise / noise.std()
    return np.select([distance < radius, distance < radius + thickness], [WHITE, CORTEX]).astype(np.uint8)


@pytest.mark.parametrize("radius", [22, 30])
@pytest.mark.parametrize("thickness", [2, 3, 5])
def test_a_shell_has_its_thickness_and_no_sulci(radius: float, thickness: float) -> None:
    found = cortex_measures(shell(radius, thickness), 2.0)
    assert found["cortex: cortical thickness"] == pytest.approx(thickness, abs=0.4)
    assert found["cortex: sulcal depth"] == pytest.approx(thickness / 2, abs=0.4)


def test_millimetres_follow_the_voxel_size() -> None:
    two, one = (cortex_measures(shell(20, 4, spacing), spacing) for spacing in (2.0, 1.0))
    assert two["cortex: cortical thickness"] == pytest.approx(one["cortex: cortical thickness"], abs=0.3)


@pytest.mark.parametrize("depth", [8, 20])
@pytest.mark.parametrize("gap", [0, 4], ids=["banks touch", "open"])
def test_a_folded_sheet_keeps_its_thickness_and_has_the_depth_of_its_folds(depth: int, gap: int) -> None:
    """A block of white matter with grooves: 4 mm of cortex on its top and on both banks, 2 mm voxels."""
    sheet = np.zeros((60, 60, 40), np.uint8)
    sheet[5:55, 5:55, 2:30] = WHITE
    wide, deep = 4 + gap // 2, depth // 2 + 2  # voxels: two voxels of cortex on each bank, and under the groove
    for left in range(10, 46, 12):
        sheet[left : left + wide, 5:55, 30 - deep : 30] = CORTEX
        sheet[left + 2 : left + 2 + gap // 2, 5:55, 32 - deep : 30] = 0
    top = sheet[..., 28:30]
    top[top == WHITE] = CORTEX
    found = cortex_measures(sheet, 2.0)
    assert found["cortex: cortical thickness"] == pytest.approx(4, abs=0.6)
    voxels = np.argwhere(sheet == CORTEX)
    to_faces = np.minimum(voxels - np.array([5, 5, 2]), np.array([54, 54, 29]) - voxels).min(1) + 0.5
    assert found["cortex: sulcal depth"] == pytest.approx(2 * to_faces.mean(), rel=0.05)


def test_folds_are_deeper_than_a_smooth_surface() -> None:
    smooth, folded = (cortex_measures(shell(26, 4, bumps=bumps), 2.0)["cortex: sulcal depth"] for bumps in (0, 5))
    assert folded > 1.5 * smooth


def test_both_hemispheres_count_alike_and_the_medial_wall_is_a_surface() -> None:
    left = shell(20, 4)
    both = np.concatenate([left, mirror(left)])
    for name, value in cortex_measures(left, 2.0).items():
        assert cortex_measures(both, 2.0)[name] == pytest.approx(value)


def test_without_cortex_or_white_matter_there_is_nothing_to_measure() -> None:
    none = {"cortex: cortical thickness": 0.0, "cortex: sulcal depth": 0.0}
    assert cortex_measures(np.zeros((8, 8, 8), np.uint8), 2.0) == none
    assert cortex_measures(np.full((8, 8, 8), CORTEX, np.uint8), 2.0) == none


def block_of_cortex(dark: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Grey cortex with dark voxels in it, blurred as a scan is."""
    return gaussian_filter(0.6 - 0.4 * dark.astype(np.float32), 0.6), np.full(dark.shape, CORTEX, np.uint8)


def planes(side: int = 40) -> NDArray[np.bool_]:
    """Dark planes of one voxel, eight voxels apart, inclined to the axes."""
    i, j, k = np.indices((side,) * 3)
    return np.rint(0.8 * i + 0.5 * j + 0.33 * k) % 8 == 0


@pytest.mark.parametrize("contrast", [0.1, 1.0])
def test_whole_sheets_are_more_even_than_broken_ones_and_dots_whatever_the_contrast(contrast: float) -> None:
    rng = np.random.default_rng(0)
    whole = planes()
    broken, dots = whole & (rng.random(whole.shape) < 0.7), rng.random(whole.shape) < 0.02
    found = []
    for dark in (whole, broken, dots):
        voxels, labels = block_of_cortex(dark)
        found.append(sulcal_continuity((contrast * voxels).astype(np.float32), labels, 2.0))
    assert found[0] > found[1] + 0.04
    assert found[1] > found[2] + 0.03


def test_a_flat_image_and_a_map_without_cortex_have_no_sulci() -> None:
    voxels, labels = block_of_cortex(planes(20))
    assert sulcal_continuity(np.ones_like(voxels), labels, 2.0) == 0.0
    assert sulcal_continuity(voxels, np.full_like(labels, WHITE), 2.0) == 0.0
    assert sulcal_continuity(voxels, np.zeros_like(labels), 2.0) == 0.0
