"""Training of the segmentation model, and its files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file

from braindiffusion.cohort.store import Cohort
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.jobs import perform
from braindiffusion.jobs.train_segmentation import STAGE, fit
from braindiffusion.models.registry import list_models, list_segmentation_models
from braindiffusion.regions.overlap import mask_dice, region_dice
from braindiffusion.runs import Failed, Finished, Metric, Progress, Run
from braindiffusion.runs.requests import TrainSegmentationRequest
from braindiffusion.segmentation import files, load_segmentation_model, save_segmentation_model
from braindiffusion.segmentation.calibration import calibrate, uncalibrated
from braindiffusion.segmentation.examples import Examples
from braindiffusion.segmentation.model import SegmentationModel
from braindiffusion.segmentation.network import SegmentationConfig, SegmentationNet
from braindiffusion.segmentation.training import SegmentationTrainer

CONFIG = SegmentationConfig(shape=(24, 24, 32), widths=(8, 16), down_blocks=(0, 1), up_blocks=(1, 1), hidden=32)


def trainer(steps: int, rate: float = 5e-3) -> SegmentationTrainer:
    torch.manual_seed(0)
    fabric = Fabric(accelerator="cpu", devices=1)
    return SegmentationTrainer(
        fabric, SegmentationNet(CONFIG), steps=steps, batch_size=2, learning_rate=rate, muon_learning_rate=rate, seed=0
    )


def test_a_tiny_model_learns_a_drawn_head(heads: Cohort) -> None:
    examples = Examples(heads, [0], CONFIG.shape, CONFIG.shape, 0)
    training = trainer(120, rate=1e-2)
    for _ in training.run(examples):
        pass
    model = SegmentationModel(training.averaged(), uncalibrated(CONFIG.features), {})
    for stripped in (True, False):
        volume, truth = examples.plain(0, stripped=stripped)
        found = model.predict(volume.numpy())
        assert np.nanmean(region_dice(found.regions, truth.numpy())[1:]) > 0.65
        assert mask_dice(found.mask, truth.numpy() > 0) > 0.9
        assert np.isnan(found.age)


def test_going_on_from_a_state_is_exact(heads: Cohort) -> None:
    examples = Examples(heads, [0, 1, 2], CONFIG.shape, (16, 16, 24), 0)
    straight, first, second = trainer(4), trainer(4), trainer(4)
    for _ in straight.run(examples):
        pass
    for done in first.run(examples):
        if done.step == 2:
            break
    second.load({name: tensor.clone() for name, tensor in first.state().items()})
    for _ in second.run(examples):
        pass
    one, other = straight.state(), second.state()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("stop", [1, 3])
def test_the_job_trains_and_calibrates_and_goes_on(
    heads: Cohort, tmp_runs: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """Wherever it was stopped: after the last step, too, when its model is validated and calibrated."""
    monkeypatch.setattr("braindiffusion.jobs.train_segmentation.METRIC_SECONDS", 0.0)
    request = TrainSegmentationRequest(
        data=heads.path, steps=3, window=(16, 16, 24), validation_subjects=1, device="cpu", precision="float32"
    )
    run = Run.create(request)
    stopped = perform(run)
    for event in stopped:
        if isinstance(event, Metric) and event.step == stop:
            break
    stopped.close()
    state = run.checkpoints / "resume" / "level-0.safetensors"
    assert int(load_file(state)["step"]) == stop
    *events, last = perform(run)
    assert isinstance(last, Finished), last
    *_, shown = (e for e in events if isinstance(e, Progress | Metric) and e.stage == STAGE)
    assert isinstance(shown, Progress)  # the last line of a log has what was measured before
    assert int(load_file(state)["step"]) == 3
    model = load_segmentation_model(run.path)
    assert model.card["step"] == 3
    assert len(model.card["split"]["train"]) == 3
    box, _ = Examples(heads, [0], (24, 24, 32), (24, 24, 32), 0).plain(0, stripped=True)
    assert 25 <= model.predict(box.numpy()).age <= 65

    other = Run.create(request)
    list(perform(other))
    one, two = (load_file(r.checkpoints / "best" / "model.safetensors") for r in (run, other))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_all_sessions_of_a_person_are_left_out_together_when_ages_are_fitted(
    heads: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("a_ses-1", "b", "a_ses-2", "c")
    subjects = [one.model_copy(update={"id": n, "person": n[0]}) for one, n in zip(heads.subjects, names, strict=True)]
    sessions = Cohort.open(heads.path)
    sessions.subjects = subjects
    examples = Examples(sessions, [0, 1, 2, 3], CONFIG.shape, CONFIG.shape, 0)
    model = SegmentationModel(SegmentationNet(CONFIG).eval(), uncalibrated(CONFIG.features), {})
    seen = []

    def calibrated(pooled: np.ndarray, features: np.ndarray, ages: np.ndarray, people: np.ndarray) -> object:
        seen.extend(people.tolist())
        return calibrate(pooled, features, ages, people)

    monkeypatch.setattr("braindiffusion.jobs.train_segmentation.calibrate", calibrated)
    for _ in fit(model, examples, tmp_path / "model"):
        pass
    a, a_stripped, b, _, other_session, _, c, _ = seen
    assert a == a_stripped == other_session
    assert len({a, b, c}) == 3


def test_a_training_starts_from_another_models_weights_and_split(heads: Cohort, tmp_runs: Path) -> None:
    def train(**settings: object) -> Run:
        asked = {"data": heads.path, "window": (16, 16, 24), "device": "cpu", "precision": "float32", **settings}
        run = Run.create(TrainSegmentationRequest.model_validate(asked))
        *_, last = perform(run)
        assert isinstance(last, Finished), last
        return run

    first = train(steps=2, validation_subjects=1, seed=0)
    second = train(
        steps=1,
        validation_subjects=1,
        seed=7,
        start_from=str(first.path),
        learning_rate=1e-12,
        muon_learning_rate=1e-12,
    )
    one, two = (load_segmentation_model(run.path) for run in (first, second))
    for name, weight in one.net.state_dict().items():
        torch.testing.assert_close(two.net.state_dict()[name], weight, rtol=0, atol=1e-6)
    assert set(one.card["split"]["validation"]) <= set(two.card["split"]["validation"])
    assert two.card["start_from"] == str(first.path)

    # What it started from is kept with the run.
    (first.checkpoints / "best" / "model.safetensors").unlink()
    assert load_segmentation_model(second.checkpoints / "start").card == one.card


def test_a_warm_start_never_ends_worse_than_it_began(
    heads: Cohort, tmp_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = TrainSegmentationRequest(
        data=heads.path, steps=1, window=(16, 16, 24), validation_subjects=1, device="cpu"
    )
    first = Run.create(request)
    assert isinstance(list(perform(first))[-1], Finished)
    scores = iter((0.9, 0.5))
    monkeypatch.setattr("braindiffusion.jobs.train_segmentation.validate", lambda *_: next(scores))
    second = Run.create(request.model_copy(update={"start_from": str(first.path), "seed": 3}))
    events = list(perform(second))
    assert isinstance(events[-1], Finished)
    measured = [
        event.values["validation_dice"]
        for event in events
        if isinstance(event, Metric) and "validation_dice" in event.values
    ]
    assert measured == [0.9, 0.5]
    model = load_segmentation_model(second.path)
    assert (model.card["step"], model.card["validation_dice"]) == (0, 0.9)


def test_an_initial_model_of_another_box_is_told(heads: Cohort, tmp_runs: Path, tmp_path: Path) -> None:
    config = SegmentationConfig(shape=(16, 24, 32), widths=(8, 16), down_blocks=(0, 1), up_blocks=(1, 1), hidden=32)
    save_segmentation_model(SegmentationModel(SegmentationNet(config), uncalibrated(config.features), {}), tmp_path)
    request = TrainSegmentationRequest(data=heads.path, validation_subjects=1, start_from=str(tmp_path))
    *_, last = perform(Run.create(request))
    assert isinstance(last, Failed)
    assert "segments a box of 16 x 24 x 32 voxels of 2 mm" in last.message
    assert "24 x 24 x 32" in last.message
    assert "26 x 34 x 42" in last.message
    *_, last = perform(Run.create(request.model_copy(update={"start_from": "ixi-2mm"})))
    assert isinstance(last, Failed)
    assert "is a generator" in last.message


def test_the_job_says_what_it_cannot_learn_from(heads: Cohort, tmp_runs: Path) -> None:
    *_, last = perform(Run.create(TrainSegmentationRequest(data=heads.path, validation_subjects=4)))
    assert isinstance(last, Failed)
    assert "Cannot keep 4 of 4" in last.message


def test_saved_models_load_and_are_not_listed_as_generators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = SegmentationModel(SegmentationNet(CONFIG).eval(), uncalibrated(CONFIG.features), {"name": "small"})
    save_segmentation_model(model, tmp_path / "small", dtype=torch.float16)
    monkeypatch.setattr("braindiffusion.models.registry._HOME", tmp_path)
    again = load_segmentation_model("small")
    box = np.random.default_rng(0).uniform(-1, 1, CONFIG.shape)
    rounded = {name: tensor.half().float() for name, tensor in model.net.state_dict().items()}
    model.net.load_state_dict(rounded)
    assert np.array_equal(again.predict(box).regions, model.predict(box).regions)
    np.testing.assert_allclose(again.predict(box).embedding, model.predict(box).embedding, atol=1e-5)
    assert list_models() == []
    assert [model.name for model in list_segmentation_models()] == ["small"]


@pytest.mark.parametrize(
    "change",
    [
        {"widths": [16_384, 16_384, 16_384]}, {"shape": [1024, 1024, 1024]}, {"shape": [10**9, 8, 8]}, {"widths": []},
        {"down_blocks": [1]}, {"up_blocks": [-1, 1, 1]}, {"hidden": 8},
    ],
)  # fmt: skip
def test_a_card_of_another_network_is_one_sentence_before_memory_is_taken(
    change: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SegmentationConfig(shape=(16, 16, 16), widths=(8, 8, 8), detail=8, hidden=16)
    model = SegmentationModel(SegmentationNet(config), uncalibrated(config.features), {"name": "small"})
    save_segmentation_model(model, tmp_path)
    load_segmentation_model(tmp_path)
    card = json.loads((tmp_path / "model.json").read_text())
    card["configuration"] |= change
    (tmp_path / "model.json").write_text(json.dumps(card))
    monkeypatch.setattr(files, "load_file", None)  # nothing is read
    with pytest.raises(BrainDiffusionError, match="is damaged, or of another version"):
        load_segmentation_model(tmp_path)
