"""Where two brains differ: on the finer grid, in a unit that is said."""

import json
from pathlib import Path

import numpy as np
import pytest

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.jobs import perform
from braindiffusion.jobs.difference import AS_STORED, OWN_RANGE, difference
from braindiffusion.runs import ArtifactWritten, DifferenceRequest, Failed, Finished, Run
from braindiffusion.volume import Volume, load_volume, save_volume


def ball(spacing: float = 4.0, radius: float = 30.0, bright: float = 1.0, shift: float = 0.0) -> Volume:
    """A ball of 40 mm and a brighter core, its middle at `shift` mm to the right."""
    n = round(96 / spacing)
    axis = (np.arange(n) - (n - 1) / 2) * spacing
    away = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
    data = np.where(away < 40, 0.5, 0) + np.where(away < radius, 0.5, 0)
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = [axis[0] + shift, axis[0], axis[0]]
    return Volume((bright * data).astype(np.float32)[None], affine)


def test_a_brain_less_itself_is_nothing() -> None:
    found = difference(ball(), ball(), align=False, own_range=False)
    assert not found.volume.data.any()
    assert found.unit == AS_STORED


def test_what_is_brighter_in_the_first_is_positive() -> None:
    found = difference(ball(radius=30), ball(radius=20), align=False, own_range=False)
    assert found.volume.data.max() == pytest.approx(0.5)
    assert found.volume.data.min() == 0
    assert found.limit == pytest.approx(0.5)


def test_it_lies_on_the_finer_grid_whichever_comes_first() -> None:
    fine, coarse = ball(2.0), ball(4.0)
    for first, second in ((fine, coarse), (coarse, fine)):
        found = difference(first, second, align=False, own_range=False).volume
        assert found.shape == fine.shape
        np.testing.assert_allclose(found.affine, fine.affine)
        inside = np.abs(found.data[0][18:30, 18:30, 18:30])
        assert inside.max() < 1e-5  # where both are even, resampling changes nothing


def test_other_units_are_taken_by_their_own_ranges() -> None:
    scanner = ball(bright=1300.0)
    same = difference(ball(), scanner, align=False, own_range=True)
    assert np.abs(same.volume.data).max() < 1e-5
    assert same.unit == OWN_RANGE


def test_middles_are_laid_together() -> None:
    found = difference(ball(), ball(shift=20), align=True, own_range=False)
    np.testing.assert_allclose(found.moved, (-20, 0, 0), atol=1e-6)
    assert np.abs(found.volume.data).max() < 1e-5


def test_volumes_apart_are_told() -> None:
    with pytest.raises(BrainDiffusionError, match="align their centers"):
        difference(ball(), ball(shift=500), align=False, own_range=False)


@pytest.mark.parametrize(("bright", "unit"), [(1.3, AS_STORED), (900.0, OWN_RANGE)])
def test_the_job_says_the_unit(tmp_path: Path, tmp_runs: Path, bright: float, unit: str) -> None:
    save_volume(ball(), tmp_path / "a.nii.gz")
    save_volume(ball(bright=bright), tmp_path / "b.nii")
    run = Run.create(DifferenceRequest(first=tmp_path / "a.nii.gz", second=tmp_path / "b.nii"))
    events = list(perform(run))
    last = events[-1]
    assert isinstance(last, Finished), last
    assert unit in last.message
    (written,) = [event for event in events if isinstance(event, ArtifactWritten)]
    assert written.name == "a - b"
    assert load_volume(written.path).shape == ball().shape
    told = json.loads(Path(written.path.replace(".nii.gz", ".json")).read_text())
    assert told["unit"] == unit
    assert told["limit"] > 0


def test_a_missing_volume_is_told(tmp_path: Path, tmp_runs: Path) -> None:
    run = Run.create(DifferenceRequest(first=tmp_path / "gone.nii", second=tmp_path / "gone.nii"))
    last = list(perform(run))[-1]
    assert isinstance(last, Failed)
    assert "gone.nii" in last.message
