import numpy as np
import pytest
import torch

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.store import Cohort
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.regions import region_index
from braindiffusion.segmentation import examples as module
from braindiffusion.segmentation.examples import Examples, _distance_outside

BOX = (24, 24, 32)


def test_an_example_is_a_function_of_its_key(heads: Cohort) -> None:
    one, other = (Examples(heads, [0, 1, 2, 3], BOX, (16, 16, 24), 5) for _ in range(2))
    other.batch(0, 2)
    for a, b in zip(one.batch(3, 2), other.batch(3, 2), strict=True):
        assert torch.equal(a.volume, b.volume)
        assert torch.equal(a.regions, b.regions)
        assert torch.equal(a.origin, b.origin)


def test_every_other_example_is_stripped_and_the_brain_stays_under_its_regions(heads: Cohort) -> None:
    served = Examples(heads, [0, 1, 2, 3], BOX, BOX, 0)
    made = [one for step in range(12) for one in served.batch(step, 2)]
    for i, one in enumerate(made):
        brain = one.regions > 0
        bone = (one.volume[0] > -0.5) & ~brain
        assert (bone.sum() > brain.sum() * 0.2) == (i % 2 == 0)
        white = torch.isin(one.regions, torch.tensor([32, 33], dtype=torch.uint8))
        assert one.volume[0][white].mean() > one.volume[0][brain & ~white].mean() + 0.1
        # Left stays left of right, in the mirror too.
        x = torch.arange(BOX[0])[:, None, None].expand(BOX).float()
        left, right = (one.regions == region_index(f"{side} cerebral white matter") for side in ("left", "right"))
        assert x[left].mean() < x[right].mean() - 3


def test_moving_by_nothing_is_cutting(heads: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEGREES", 0.0)
    monkeypatch.setattr(module, "SCALE", 0.0)
    served = Examples(heads, [0], BOX, (16, 8, 24), 0)
    volume, regions = served._head(0, None, stripped=False)
    origin, shift = np.array([8, 2, 4]), np.array([-3, 5, 1])
    moved, named = served._moved(volume, regions, origin, shift, np.random.default_rng(0))
    first = served.margin + origin + shift
    cut = tuple(slice(a, a + n) for a, n in zip(first, (16, 8, 24), strict=True))
    torch.testing.assert_close(moved, volume[cut], atol=1e-5, rtol=0)
    assert torch.equal(named, regions[cut])


def test_turning_follows_a_rotation(heads: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a ramp trilinear interpolation is exact: the gradient turns by the matrix that was drawn."""
    served = Examples(heads, [0], BOX, BOX, 0)
    ramps = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in heads.preprocessing.shape), indexing="ij")
    columns = []
    for ramp in ramps:
        moved, _ = served._moved(
            torch.from_numpy(ramp), torch.zeros(ramp.shape, dtype=torch.uint8), np.zeros(3), np.zeros(3, int),
            np.random.default_rng(3),
        )  # fmt: skip
        middle = moved[8:16, 8:16, 12:20].numpy()
        columns.append([np.diff(middle, axis=k).mean() for k in range(3)])
    linear = np.array(columns)
    rng = np.random.default_rng(3)
    rng.uniform(size=3)
    scales = 1 + rng.uniform(-module.SCALE, module.SCALE, 3)
    turn = linear / scales[:, None]
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-4)
    assert np.linalg.det(turn) == pytest.approx(1, abs=1e-4)


def test_distance_outside_counts_voxels_to_the_brain() -> None:
    mask = torch.zeros(9, 9, 9, dtype=torch.bool)
    mask[4, 4, 4] = True
    assert _distance_outside(mask)[4, 4].tolist() == [3, 3, 2, 1, 0, 1, 2, 3, 3]


def test_stripped_cohorts_cannot_teach(heads: Cohort, tmp_path) -> None:
    stripped = Cohort.create(tmp_path / "a.zarr", Preprocessing(shape=(34, 34, 42)), labels=np.dtype(np.uint16))
    with pytest.raises(BrainDiffusionError, match="the skull kept, on 34 x 34 x 42"):
        Examples(stripped, [], BOX, BOX, 0)
    with pytest.raises(BrainDiffusionError, match="on 44 x 34 x 42"):
        Examples(heads, [], (34, 24, 32), BOX, 0)
