"""With every option on: stopped and resumed is uninterrupted; accumulated is a larger batch; the best is kept."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from braindiffusion.cli.runner import run_with_progress
from braindiffusion.cohort.store import Cohort
from braindiffusion.jobs import perform
from braindiffusion.models.cascade import load_cascade
from braindiffusion.models.cascade.config import LevelConfig, UNetConfig
from braindiffusion.runs import Cancelled, Finished, Metric, Progress, Run, TrainRequest
from braindiffusion.training.checkpoints import save_posthoc_ema
from braindiffusion.training.ema import SIGMA_RELS
from braindiffusion.training.presets import Preset
from braindiffusion.training.recipe import LevelRecipe

UNET = UNetConfig(widths=(16,), blocks=(1,), attention=(False,), embedding=16, map_width=4, checkpointing=True)
LEVEL = LevelConfig(unet=UNET, patch=4, steps=2)
RECIPE = LevelRecipe(
    batch_size=1,
    accumulate=2,
    epochs=5,
    augmented_copies=8,
    elastic=6.0,
    bias=0.1,
    warmup=2,
    weighting="min_snr",
    validations=5,
    patience=4,
    snapshots=5,
)


@pytest.fixture(scope="module", autouse=True)
def quick() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("braindiffusion.jobs.train.METRIC_SECONDS", -1.0)
        patch.setattr("braindiffusion.training.trainer.HELD_OUT", 4)
        yield


def new_run(cohort: Cohort, folder: Path, recipe: LevelRecipe = RECIPE, precision: str = "auto") -> Run:
    preset = folder / "own.json"
    preset.write_text(Preset(depth=1, levels=(LEVEL, LEVEL), recipes=(recipe, recipe)).model_dump_json())
    request = TrainRequest(
        data=cohort.path, preset=str(preset), validation_subjects=2, device="cpu", precision=precision
    )
    return Run.create(request, root=folder, name="run")


def written(run: Run) -> dict[str, np.ndarray]:
    """Every number of every file that training keeps."""
    files = sorted(run.checkpoints.rglob("*.safetensors"))
    return {f"{f.relative_to(run.path)} {name}": value for f in files for name, value in load_file(f).items()}


def card(run: Run, name: str) -> dict[str, object]:
    return json.loads((run.checkpoints / name / "model.json").read_text())


@pytest.fixture(scope="module")
def straight(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = new_run(cohort, tmp_path_factory.mktemp("straight"))
    assert isinstance(list(perform(run))[-1], Finished)
    return run


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_keeps_a_checkpoint_from_which_it_goes_on_exactly(
    cohort: Cohort, straight: Run, tmp_path: Path, number: signal.Signals
) -> None:
    run = new_run(cohort, tmp_path)
    for stage, step in (("level 0", 3), ("level 1", 4)):

        def stop(event: object, at: tuple[str, int] = (stage, step)) -> None:
            if isinstance(event, Progress) and (event.stage, event.step) == at:
                signal.raise_signal(number)

        assert isinstance(run_with_progress(run, stop), Cancelled)
        torch.manual_seed(step)  # nothing but what was kept may matter
    (tmp_path / "own.json").unlink()  # the run knows what it was asked
    assert isinstance(list(perform(run))[-1], Finished)
    ours, theirs = written(run), written(straight)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[name], value, err_msg=name)
    assert card(run, "best") | {"name": ""} == card(straight, "best") | {"name": ""} | {
        "preset": str(tmp_path / "own.json")
    }


def test_accumulated_batches_are_one_larger_batch(cohort: Cohort, tmp_path: Path) -> None:
    recipes = (RECIPE, RECIPE.model_copy(update={"batch_size": 2, "accumulate": 1}))
    runs = []
    for name, recipe in zip(("accumulated", "larger"), recipes, strict=True):
        (tmp_path / name).mkdir()
        runs.append(new_run(cohort, tmp_path / name, recipe, "float32"))
        assert isinstance(list(perform(runs[-1]))[-1], Finished)
    for name in ("last", "best"):
        accumulated, larger = (load_file(run.checkpoints / name / "model.safetensors") for run in runs)
        for key, value in larger.items():
            np.testing.assert_allclose(accumulated[key], value, rtol=1e-4, atol=1e-6, err_msg=key)


def test_it_stops_early_and_keeps_the_best(cohort: Cohort, tmp_path: Path) -> None:
    worse = RECIPE.model_copy(
        update={"learning_rate": 30.0, "max_norm": 1e3, "patience": 2, "epochs": 20, "validations": 20}
    )
    run = new_run(cohort, tmp_path, worse)
    events = list(perform(run))
    assert isinstance(events[-1], Finished)
    best, last = card(run, "best"), card(run, "last")
    for level in (0, 1):
        values = [
            (e.values["validation_loss"], e.step)
            for e in events
            if isinstance(e, Metric) and e.stage == f"level {level}" and "validation_loss" in e.values
        ]
        loss, step = min(values)
        assert (best["steps"][level], best["validation_loss"][level]) == (step, loss)
        assert last["steps"][level] == values[-1][1] < 40
        assert [s for _, s in values][-3] == step, "two validations without a better one"
    again = list(perform(run))
    assert not any(isinstance(event, Metric) for event in again), "what stopped early stays so"


def test_the_kept_average_is_made_again_from_what_was_noted(straight: Run, tmp_path: Path) -> None:
    made, about = load_cascade(save_posthoc_ema(straight, SIGMA_RELS[-1], tmp_path / "same"))
    kept, _ = load_cascade(straight.checkpoints / "last")
    assert about.to_json()["average_width"] == SIGMA_RELS[-1]
    for (name, one), (_, other) in zip(made.named_parameters(), kept.named_parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=1e-5, msg=name)  # noted in half precision
    other, _ = load_cascade(save_posthoc_ema(straight, 0.2, tmp_path / "other"))
    assert any(not torch.equal(a, b) for a, b in zip(other.parameters(), kept.parameters(), strict=True))
