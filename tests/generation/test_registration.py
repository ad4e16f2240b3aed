"""Registration of region maps: the flow of the velocity carries the template onto the map."""

import numpy as np
import pytest
import torch

from braindiffusion.generation.anatomy import AnatomyLibrary
from braindiffusion.generation.registration import register_maps, soft_regions
from braindiffusion.regions import region_index
from braindiffusion.regions.deformation import composed, exponential, flow, warp, warped

SHAPE = (32, 40, 32)
BRAINSTEM, THALAMUS = region_index("brainstem"), region_index("left thalamus")


def ellipsoid(radii: tuple[float, float, float]) -> np.ndarray:
    """A solid with a core, centred in the box."""
    x, y, z = (np.arange(n) - (n - 1) / 2 for n in SHAPE)
    a, b, c = radii
    distance = np.sqrt((x[:, None, None] / a) ** 2 + (y[:, None] / b) ** 2 + (z / c) ** 2)
    return np.select([distance < 0.5, distance < 1], [THALAMUS, BRAINSTEM], 0).astype(np.uint8)


@pytest.fixture(scope="module")
def registered() -> tuple[np.ndarray, list[np.ndarray]]:
    maps = np.stack([ellipsoid(radii) for radii in ((10, 12, 10), (12, 15, 11), (9, 16, 12), (12, 12, 9))])
    return maps, list(register_maps(maps))[-len(maps) :]


def test_registered_maps_agree(registered: tuple[np.ndarray, list[np.ndarray]]) -> None:
    maps, velocities = registered
    soft = torch.stack([soft_regions(labels) for labels in maps])
    together = torch.stack([warp(one, flow(torch.from_numpy(v))) for one, v in zip(soft, velocities, strict=True)])
    assert together.var(0).sum() < 0.25 * soft.var(0).sum()


def test_the_flow_is_that_of_sampled_anatomy(registered: tuple[np.ndarray, list[np.ndarray]]) -> None:
    _, velocities = registered
    ours = flow(torch.from_numpy(velocities[1])).numpy()
    np.testing.assert_allclose(ours, exponential(velocities[1]), atol=1e-4)


def test_to_the_template_and_back_changes_little(registered: tuple[np.ndarray, list[np.ndarray]]) -> None:
    maps, velocities = registered
    for labels, velocity in zip(maps, velocities, strict=True):
        back = warped(labels, composed(exponential(velocity), exponential(-velocity)))
        assert (back != labels).sum() < 0.03 * (labels > 0).sum()


def test_drawn_shapes_vary_as_the_subjects_do(registered: tuple[np.ndarray, list[np.ndarray]]) -> None:
    maps, velocities = registered
    coarse = np.stack(velocities)[:, :, ::2, ::2, ::2] * 4.0  # mm: the coarser voxels have 4 mm
    step = float(np.abs(coarse).max() / 127)
    library = AnatomyLibrary.build(
        maps, 2.0, list("abcd"), [None] * 4, [None] * 4, np.rint(coarse / step).astype(np.int8), step
    )
    drawn = np.array([(library.sample(seed, {}).regions > 0).sum() for seed in range(24)])
    people = (maps > 0).sum((1, 2, 3))
    assert drawn.mean() == pytest.approx(people.mean(), rel=0.15)
    assert 0.3 < drawn.std() / people.std() < 2
