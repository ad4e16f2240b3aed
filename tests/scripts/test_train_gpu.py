"""Training on a GPU, at toy size on the CPU: packed, planned, interrupted, resumed, and joined."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from braindiffusion.cohort.store import Cohort
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.estimate.result import Estimate, LevelEstimate
from braindiffusion.models.cascade import load_model
from braindiffusion.runs import Run, TrainRequest

MakeCohort = Callable[..., Cohort]


@pytest.fixture
def script(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("train_gpu")


def test_a_packed_cohort_is_the_cohort_in_eight_bits(
    script: ModuleType, make_cohort: MakeCohort, tmp_path: Path
) -> None:
    cohort = make_cohort("ixi")
    script.pack_cohort(cohort, tmp_path / "ixi.npz")
    again = script.unpack_cohort(tmp_path / "ixi.npz", tmp_path / "again.zarr")
    assert again.subjects == cohort.subjects
    assert again.preprocessing == cohort.preprocessing
    assert again.hash == cohort.hash
    np.testing.assert_array_equal(np.asarray(again.labels), np.asarray(cohort.labels))
    np.testing.assert_array_equal(np.asarray(again.masks), np.asarray(cohort.masks))
    np.testing.assert_array_equal(again.affines, cohort.affines)
    np.testing.assert_allclose(np.asarray(again.volumes), np.asarray(cohort.volumes), atol=0.0045)
    assert (np.asarray(again.volumes)[np.asarray(cohort.volumes) == -1] == -1).all()
    script.pack_cohort(cohort, tmp_path / "some.npz", subjects=2)
    some = script.unpack_cohort(tmp_path / "some.npz", tmp_path / "some.zarr")
    assert [subject.id for subject in some.subjects] == ["ixi0", "ixi3"]


def test_too_large_a_pack_is_refused(
    script: ModuleType, make_cohort: MakeCohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "LIMIT", 1000)
    monkeypatch.setattr(script, "pack_code", lambda path: path.touch())
    with pytest.raises(BrainDiffusionError, match="take fewer heads"):
        script.pack([make_cohort("ixi").path], tmp_path / "packed")


def estimated(request: TrainRequest) -> list[Estimate]:
    """A step takes 0.1 s at each level."""
    levels = tuple(LevelEstimate(i, 10, 1, 0.1, 1.0) for i in range(4))
    return [Estimate("cpu", levels, 100)]


def test_levels_take_their_shares_of_the_time(
    script: ModuleType, make_cohort: MakeCohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "training_estimates", estimated)
    request = TrainRequest(data=make_cohort("ixi", 5).path, preset="tiny", validation_subjects=1)
    planned = script.plan_cascade(request, 10.0, tmp_path)
    recipes = script.preset(planned.preset).recipes
    assert [one.steps(4) for one in recipes] == pytest.approx([4800 * share for share in script.SHARES], abs=1)
    assert [one.batch_size for one in recipes] == list(script.BATCHES)


def test_everything_is_trained_in_several_calls_and_comes_back_in_parts(
    script: ModuleType, make_cohort: MakeCohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_cohort("ixi"), make_cohort("heads", shape=(34, 34, 42), skull="keep")
    for path in tmp_path.glob("*.zarr"):
        script.pack_cohort(Cohort.open(path), tmp_path / "packed" / f"{path.stem}.npz")
    monkeypatch.setattr(script, "training_estimates", estimated)
    monkeypatch.setattr(script, "PART", 50_000)
    monkeypatch.setattr("braindiffusion.jobs.train_segmentation.METRIC_SECONDS", 0)
    monkeypatch.setattr(
        script, "plan_segmentation", lambda request, *_: request.model_copy(update={"steps": 2, "window": (16, 16, 16)})
    )
    results, work = tmp_path / "results", tmp_path / "work"

    def call(minutes: float) -> list[bool]:
        # 0.001 minutes in all: one step a level
        script.train(tmp_path / "packed", results, minutes, 0.001, work, "tiny", 2, 1, "cpu")
        return [Run.open(path.parent).state == "finished" for path in sorted(work.glob("runs/*/*/run.json"))]

    assert call(0.0) == [False, False]  # planned, and stopped at once
    assert call(10.0) == [True, True]
    files = [path for path in results.glob("*/*") if path.is_file()]
    assert max(path.stat().st_size for path in files) <= 50_000
    script.collect(results, tmp_path / "models")
    cascade, card = load_model(tmp_path / "models" / "ixi")
    assert card.steps == [1, 1, 1, 1]
    best, _ = load_model(next(work.glob("runs/ixi/*")) / "checkpoints" / "best")
    for ours, theirs in zip(cascade.parameters(), best.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs.to(torch.bfloat16).float(), rtol=0, atol=0)
    assert (tmp_path / "models" / "heads" / "model.safetensors").stat().st_size > 50_000
