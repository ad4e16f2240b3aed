"""The training job: cohort in, model out; stopped and resumed as if nothing had been."""

import json
import re
import shutil
import time
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor
from torch.nn.functional import avg_pool3d

from braindiffusion import example_data as samples
from braindiffusion.cohort.store import Cohort, PreparedVolume
from braindiffusion.conditions import ConditionSchema
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.estimate import estimate
from braindiffusion.jobs import perform
from braindiffusion.jobs.train import train
from braindiffusion.models.card import Split
from braindiffusion.models.cascade import load_cascade, save_model
from braindiffusion.models.cascade.sampling import sample_cascade
from braindiffusion.regions import is_grouped
from braindiffusion.regions.codes import CHANNELS
from braindiffusion.runs import (
    ArtifactWritten,
    CheckpointWritten,
    Failed,
    Finished,
    Metric,
    Progress,
    Run,
    RunState,
    TrainRequest,
    Warned,
)
from braindiffusion.training.checkpoints import save_posthoc_ema
from braindiffusion.training.patches import Batch
from braindiffusion.training.plan import rows_of
from braindiffusion.training.presets import PRESETS, preset
from braindiffusion.training.trainer import LevelTrainer
from braindiffusion.volume import load_volume


def request(cohort: Cohort, **changes: object) -> TrainRequest:
    fields = {"data": cohort.path, "preset": "tiny", "epochs": 2, "batch_size": 2, "device": "cpu"}
    return TrainRequest(**fields | changes)


def weights(run: Run, name: str = "last") -> dict[str, np.ndarray]:
    return load_file(run.checkpoints / name / "model.safetensors")


@pytest.fixture(scope="module")
def trained(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[object]]:
    run = Run.create(request(cohort, validation_subjects=2), root=tmp_path_factory.mktemp("runs"))
    return run, list(perform(run))


def test_every_level_is_trained_validated_and_kept(trained: tuple[Run, list[object]]) -> None:
    run, events = trained
    assert isinstance(events[-1], Finished)
    for level in range(4):
        stage = f"level {level}"
        progress = [e for e in events if isinstance(e, Progress) and e.stage == stage]
        assert (progress[-1].step, progress[-1].total) == (4, 4)  # 2 epochs of 4 subjects, 2 at a time
        # The last line of a log is that of the last progress: it has what was measured before.
        before = events[: events.index(progress[-1])]
        values = {k for e in before if isinstance(e, Metric) and e.stage == stage and e.step == 4 for k in e.values}
        assert {"loss", "validation_loss", "learning_rate"} <= values
    assert sum(isinstance(e, CheckpointWritten) for e in events) == 4
    samples_made = [e for e in events if isinstance(e, ArtifactWritten) and e.kind == "preview"]
    assert len(samples_made) == 4
    assert all(Path(e.path).is_file() for e in samples_made)
    card = json.loads((run.checkpoints / "best" / "model.json").read_text())
    assert card["steps"] == [4, 4, 4, 4]
    assert len(card["split"]["train"]) == 4
    assert len(card["split"]["validation"]) == 2
    assert not set(card["split"]["train"]) & set(card["split"]["validation"])


def test_stopped_and_resumed_equals_uninterrupted_whatever_the_clock_does(
    cohort: Cohort, trained: tuple[Run, list[object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, jumps = time.time(), cycle((0, 86400, -86400))
    monkeypatch.setattr(time, "time", lambda: now + next(jumps))
    run = Run.create(request(cohort, validation_subjects=2), root=tmp_path)
    for stop_at in ("level 0", "level 2", "level 3"):
        events = perform(run)
        for event in events:
            if isinstance(event, Progress) and event.stage == stop_at and event.step:
                break
        events.close()
        assert run.state is RunState.CANCELLED
    *rest, last = perform(run)
    assert isinstance(last, Finished)
    left = [event.seconds_left for event in rest if isinstance(event, Progress) and event.seconds_left is not None]
    assert left
    assert all(0 <= seconds < 3600 for seconds in left)
    for name, expected in weights(trained[0]).items():
        np.testing.assert_array_equal(weights(run)[name], expected, err_msg=name)


def test_a_model_of_region_maps_learns_codes_and_samples_label_maps(cohort: Cohort, tmp_path: Path) -> None:
    run = Run.create(request(cohort, content="regions", validation_subjects=2), root=tmp_path)
    events = list(perform(run))
    assert isinstance(events[-1], Finished), events[-1]
    cascade, card = load_cascade(run.checkpoints / "best")
    assert (card.content, cascade.config.channels) == ("regions", CHANNELS)
    assert set(cascade.config.condition.names) == {"age", "sex", "volumes"}
    sample = load_volume(next(Path(e.path) for e in reversed(events) if isinstance(e, ArtifactWritten)
                              and e.kind == "preview"))  # fmt: skip
    assert sample.data.shape == (1, *cohort.preprocessing.shape)
    assert is_grouped(sample.data.astype(np.int64))
    assert not any("novelty" in e.values for e in events if isinstance(e, Metric))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"conditions": ("age", "regions")}, "cannot learn 'regions'"),
        ({"start_from": "trained"}, "generates images, not region maps"),
    ],
)
def test_bad_requests_for_region_maps_are_told(
    cohort: Cohort, trained: tuple[Run, list[object]], changes: dict[str, object], said: str, tmp_path: Path
) -> None:
    changes = {name: str(trained[0].path) if value == "trained" else value for name, value in changes.items()}
    last = list(perform(Run.create(request(cohort, content="regions", **changes), root=tmp_path)))[-1]
    assert isinstance(last, Failed)
    assert said in last.message


def test_a_cohort_without_region_maps_teaches_none(cohort: Cohort, tmp_path: Path) -> None:
    masks = Cohort.create(tmp_path / "masks.zarr", cohort.preprocessing, labels=np.dtype(np.uint8))
    for row, subject in enumerate(cohort.subjects):
        mask = cohort.masks[row]
        masks.put(subject, PreparedVolume(cohort.volumes[row], mask, mask.astype(np.uint8), cohort.affines[row]))
    masks.finish()
    last = list(perform(Run.create(request(masks, content="regions"), root=tmp_path)))[-1]
    assert isinstance(last, Failed)
    assert "has no region maps to learn from" in last.message


def test_one_level_can_be_trained_alone(cohort: Cohort, trained: tuple[Run, list[object]], tmp_path: Path) -> None:
    run = Run.create(request(cohort, validation_subjects=2, levels=(3,)), root=tmp_path)
    events = list(perform(run))
    assert {e.stage for e in events if isinstance(e, Metric)} == {"level 3"}
    whole = weights(trained[0])
    for name, value in weights(run).items():
        if name.startswith("levels.3."):
            np.testing.assert_array_equal(value, whole[name], err_msg=name)


def test_a_folder_of_volumes_is_prepared_first(tmp_path: Path) -> None:
    data = samples.samples_dir() / "IXI-T1"
    run = Run.create(TrainRequest(data=data, preset="tiny", levels=(0,), epochs=0.5, device="cpu"), root=tmp_path)
    events = list(perform(run))
    assert isinstance(events[-1], Finished), events[-1]
    assert len(Cohort.open(run.path / "cohort.zarr")) == 6


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"preset": "huge"}, "no preset 'huge'"),
        ({"validation_subjects": 6}, "keep fewer"),
        ({"levels": (7,)}, "levels 0 to 3"),
        ({"data": Path("nowhere.zarr")}, "nowhere.zarr"),
        ({"device": "warp"}, "warp"),
    ],
)
def test_bad_requests_are_told(cohort: Cohort, changes: dict[str, object], said: str, tmp_runs: Path) -> None:
    asked = request(cohort, **changes)
    with pytest.raises(BrainDiffusionError, match=said):
        list(train(asked, Run.create(asked)))


def test_a_loss_that_is_not_finite_stops_and_keeps_what_was_learnt(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = LevelTrainer.loss

    def spoilt(self: LevelTrainer, batch: Batch, *args: int) -> Tensor:
        return loss(self, batch, *args) * (float("nan") if batch.first >= 4 else 1.0)

    monkeypatch.setattr(LevelTrainer, "loss", spoilt)
    run = Run.create(request(cohort, levels=(0,), validation_subjects=2), root=tmp_path)
    events = list(perform(run))
    failed = events[-1]
    assert isinstance(failed, Failed)
    assert "level 0 is not finite at step 3" in failed.message
    (warned,) = [event for event in events if isinstance(event, Warned)]  # held-out samples are spoilt too
    assert "The validation loss of level 0 is not finite at step 1" in warned.message
    assert re.search(r"The batch was of s\d, s\d\.", failed.message)
    assert "bug" not in failed.message
    assert not run.error_file.exists()
    state = load_file(run.checkpoints / "resume" / "level-0.safetensors")
    assert state["step"] == 2
    assert all(np.isfinite(tensor).all() for name, tensor in state.items() if name != "best.loss")
    assert state["best.step"] == 0  # never one whose validation loss is no number


def test_a_training_that_diverges_is_told_and_leaves_no_model_of_it(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = LevelTrainer._step

    def rising(self: LevelTrainer, batches: list[Batch]) -> tuple[float, float]:
        _, rate = step(self, batches)
        return (1.0 if self.step <= 3 else 100.0), rate

    monkeypatch.setattr(LevelTrainer, "_step", rising)
    # Checkpoints at every step: the last is from before the loss rose.
    asked = request(cohort, levels=(0,), validation_subjects=2, epochs=20, checkpoint_minutes=1e-9)
    run = Run.create(asked, root=tmp_path)
    failed = list(perform(run))[-1]
    assert isinstance(failed, Failed)
    assert "level 0 has diverged by step 2" in failed.message
    assert "lower learning rate" in failed.message
    assert not run.error_file.exists()
    state = load_file(run.checkpoints / "resume" / "level-0.safetensors")
    assert state["step"] == 4  # its average had not risen by then
    assert json.loads((run.checkpoints / "best" / "model.json").read_text())["steps"][0] <= 4


def copied(cohort: Cohort, folder: Path) -> Cohort:
    shutil.copytree(cohort.path, folder / "copy.zarr")
    return Cohort.open(folder / "copy.zarr", mode="r+")


def test_a_brain_of_no_numbers_is_left_out_and_told_once(cohort: Cohort, tmp_path: Path) -> None:
    store = copied(cohort, tmp_path)
    _, (row, *_) = rows_of(store, 2)
    spoilt = np.array(store.volumes[row])
    spoilt[0, 3, 3, 3] = np.nan
    labels = store.labels[row] if store.labels is not None else None
    store.put(store.subjects[row], PreparedVolume(spoilt, store.masks[row], labels, store.affines[row]))
    store.finish()
    run = Run.create(request(store, levels=(0,), validation_subjects=2), root=tmp_path)
    events = list(perform(run))
    assert isinstance(events[-1], Finished)
    name = store.subjects[row].id
    assert [e.subject for e in events if isinstance(e, Warned)] == [name]
    losses = [e.values["validation_loss"] for e in events if isinstance(e, Metric) and "validation_loss" in e.values]
    assert np.isfinite(losses).all()
    card = json.loads((run.checkpoints / "best" / "model.json").read_text())
    assert name not in card["split"]["validation"]


def test_a_cohort_with_a_lost_chunk_is_not_trained_on(cohort: Cohort, tmp_path: Path) -> None:
    store = copied(cohort, tmp_path)
    next(path for path in (store.path / "volumes" / "c" / "4").rglob("*") if path.is_file()).unlink()
    run = Run.create(request(store, levels=(0,)), root=tmp_path)
    failed = list(perform(run))[-1]
    assert isinstance(failed, Failed)
    assert "the volumes of s4 cannot be used" in failed.message
    assert not run.error_file.exists()


@pytest.mark.parametrize("earlier_version", [False, True])
def test_a_training_does_not_go_on_with_another_cohort(cohort: Cohort, tmp_path: Path, earlier_version: bool) -> None:
    store = copied(cohort, tmp_path)
    run = Run.create(request(store, levels=(0,)), root=tmp_path)
    events = perform(run)
    next(event for event in events if isinstance(event, Progress) and event.stage == "level 0" and event.step)
    events.close()
    if earlier_version:  # it wrote the cohort into the card alone
        (run.path / "cohort.json").unlink()
    before = store.subjects[0]
    for change in ({"input_hash": "other"}, {} if earlier_version else {"age": 99.0}):
        store.finish([before.model_copy(update=change), *store.subjects[1:]])
        last = list(perform(run))[-1]
        if change:
            assert isinstance(last, Failed)
            assert "is not the one that the run" in last.message
    store.finish([before, *store.subjects[1:]])
    assert isinstance(list(perform(run))[-1], Finished)


def test_a_damaged_checkpoint_is_told_and_kept(cohort: Cohort, tmp_path: Path) -> None:
    run = Run.create(request(cohort, levels=(0,)), root=tmp_path)
    list(perform(run))
    state = run.checkpoints / "resume" / "level-0.safetensors"
    state.write_bytes(b"cut off")
    last = list(perform(run))[-1]
    assert isinstance(last, Failed)
    assert "level-0.safetensors is damaged" in last.message
    assert state.read_bytes() == b"cut off"
    save_file({"step": np.array(3)}, state)  # as an older version wrote it
    last = list(perform(run))[-1]
    assert isinstance(last, Failed)
    assert "level-0.safetensors is of another version" in last.message


def test_a_training_goes_on_with_as_many_processes_as_it_was_begun_with(cohort: Cohort, tmp_path: Path) -> None:
    run = Run.create(request(cohort, levels=(0,)), root=tmp_path)
    list(perform(run))
    state = run.checkpoints / "resume" / "level-0.safetensors"
    whole = load_file(state)
    save_file(whole | {"samples": np.array(3 * whole["samples"])}, state)
    last = list(perform(run))[-1]
    assert isinstance(last, Failed)
    assert "begun by 3 processes" in last.message
    save_file({name: value for name, value in whole.items() if name != "samples"}, state)  # of an earlier version
    assert isinstance(list(perform(run))[-1], Finished)


def test_a_run_folder_that_does_not_fit_together_is_one_sentence(cohort: Cohort, tmp_path: Path) -> None:
    """Weights that are missing or of another shape, a damaged preset, another cohort's record."""
    run = Run.create(request(cohort, levels=(0,)), root=tmp_path)
    list(perform(run))
    state = run.checkpoints / "resume" / "level-0.safetensors"
    whole = load_file(state)
    weight = next(name for name in whole if name.startswith("weight."))
    for damaged in ({weight: None}, {weight: np.zeros((1, 2, 3), np.float32)}, {"step": None}, {"best.loss": None}):
        changed = whole | damaged
        save_file({name: value for name, value in changed.items() if value is not None}, state)
        last = list(perform(run))[-1]
        assert isinstance(last, Failed)
        assert "level-0.safetensors is not of this training" in last.message
    save_file(whole, state)
    for name, content in (("preset.json", "\xff{"), ("preset.json", '{"recipes": 3}'), ("cohort.json", "[" * 100_000)):
        kept = (run.path / name).read_bytes()
        (run.path / name).write_text(content)
        last = list(perform(run))[-1]
        assert isinstance(last, Failed)
        assert name in last.message
        assert not run.error_file.is_file(), run.error_file.read_text()
        (run.path / name).write_bytes(kept)
    assert isinstance(list(perform(run))[-1], Finished)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_fit_the_packaged_box(name: str) -> None:
    config = preset(name).cascade((80, 104, 88), 2.0, 1, ConditionSchema())
    assert len(preset(name).recipes) == config.number_of_levels
    for index, level in enumerate(config.levels):
        tokens = [int(np.prod(config.grid(index))) // 8**i for i in range(len(level.unet.widths))]
        assert all(n <= 1500 for n, attends in zip(tokens, level.unet.attention, strict=True) if attends)


@pytest.fixture(scope="module")
def tuned(
    trained: tuple[Run, list[object]], cohort: Cohort, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, list[object]]:
    begin = str(trained[0].path)
    asked = request(cohort, validation_subjects=2, start_from=begin, levels=(1,), epochs=1)
    run = Run.create(asked, root=tmp_path_factory.mktemp("runs"))
    return run, list(perform(run))


def test_fine_tuning_changes_only_what_it_trains(
    trained: tuple[Run, list[object]], tuned: tuple[Run, list[object]]
) -> None:
    before, after = weights(trained[0], "best"), weights(tuned[0])
    changed = {name.split(".")[1] for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"1"}


def test_what_fine_tuning_begins_with_is_validated_and_its_steps_count(tuned: tuple[Run, list[object]]) -> None:
    run, events = tuned
    assert isinstance(events[-1], Finished)
    losses = [e.values["validation_loss"] for e in events if isinstance(e, Metric) and "validation_loss" in e.values]
    first = next(e for e in events if isinstance(e, Metric) and "validation_loss" in e.values)
    assert first.step == 0
    card = json.loads((run.checkpoints / "best" / "model.json").read_text())
    assert card["validation_loss"][1] == min(losses)
    begun = json.loads((run.checkpoints / "start" / "model.json").read_text())["steps"]
    assert json.loads((run.checkpoints / "last" / "model.json").read_text())["steps"] == [
        begun[0],
        begun[1] + 2,
        *begun[2:],
    ]


def test_fine_tuning_refuses_a_cohort_prepared_otherwise(cohort: Cohort, tmp_path: Path) -> None:
    run = Run.create(request(cohort, start_from="ixi-2mm", preset="laptop"), root=tmp_path)
    *_, last = perform(run)
    assert isinstance(last, Failed)
    assert "spacing 8.0" in last.message


def test_fine_tuning_keeps_the_conditions_of_its_model(
    trained: tuple[Run, list[object]], cohort: Cohort, tmp_path: Path
) -> None:
    asked = request(cohort, start_from=str(trained[0].path), conditions=())
    *_, last = perform(Run.create(asked, root=tmp_path))
    assert isinstance(last, Failed)
    assert "keeps its conditions" in last.message


def test_fine_tuning_learns_a_condition_that_its_model_does_not_have(cohort: Cohort, tmp_path: Path) -> None:
    first = Run.create(request(cohort, validation_subjects=2, conditions=("sex",), epochs=1), root=tmp_path)
    assert isinstance(list(perform(first))[-1], Finished)
    asked = request(
        cohort, validation_subjects=2, start_from=str(first.path), conditions=("age",), levels=(0,), epochs=2
    )
    run = Run.create(asked, root=tmp_path)
    assert isinstance(list(perform(run))[-1], Finished)
    assert load_cascade(run.checkpoints / "last")[0].config.condition.names == ("sex", "age")
    after = weights(run, "last")
    learnt = {name for name in after if "numbers.age.layers.2" in name and np.abs(after[name]).max() > 0}
    assert learnt == {name for name in after if name.startswith("levels.0.") and "numbers.age.layers.2" in name}


def test_a_network_without_maps_cannot_learn_them_by_fine_tuning(cohort: Cohort, tmp_path: Path) -> None:
    first = Run.create(request(cohort, validation_subjects=2, conditions=("sex",), epochs=1), root=tmp_path)
    assert isinstance(list(perform(first))[-1], Finished)
    *_, last = perform(Run.create(request(cohort, start_from=str(first.path), conditions=("regions",)), root=tmp_path))
    assert isinstance(last, Failed)
    assert "no input for region maps" in last.message


def test_what_an_initial_model_held_out_stays_held_out(cohort: Cohort) -> None:
    people = [subject.id for subject in cohort.subjects]
    known = Split(train=people[:3], validation=[people[-1]])
    for aside in (None, 1, 2):
        training, validation = ({people[row] for row in rows} for rows in rows_of(cohort, aside, known))
        assert people[-1] in validation
        assert set(people[:3]) <= training
        assert len(validation) == (aside or 1 + (len(people) - 4) // 5)
    for aside, sentence in ((0, "hold out at least as many"), (len(people) - 2, "was trained on 3")):
        with pytest.raises(BrainDiffusionError, match=sentence):
            rows_of(cohort, aside, known)


def test_a_new_level_holds_out_whom_the_levels_below_learnt_from(cohort: Cohort) -> None:
    """Where there are too few others; else, people that no level knows."""
    people = [subject.id for subject in cohort.subjects]
    for learnt, validation, aside, allowed in (
        (people, [], 2, set(people)),
        (people[:3], [], 2, set(people[3:])),
        (people[:3], [people[-1]], 4, set(people)),
        (people, [], None, set(people)),
    ):
        known = Split(train=learnt, validation=validation)
        rows = rows_of(cohort, aside, known, adds_level=True)
        training, kept = ({people[row] for row in some} for some in rows)
        assert len(kept) == (aside or 1)
        assert set(validation) <= kept <= allowed
        assert training == set(people) - kept
    with pytest.raises(BrainDiffusionError, match="was trained on 6"):
        rows_of(cohort, 2, Split(train=people))


def test_other_averages_of_what_fine_tuning_trained_leave_the_other_levels(
    trained: tuple[Run, list[object]], cohort: Cohort, tmp_path: Path
) -> None:
    asked = request(cohort, validation_subjects=2, start_from=str(trained[0].path), levels=(1,), epochs=2)
    run = Run.create(asked, root=tmp_path)
    assert isinstance(list(perform(run))[-1], Finished)
    narrow, card = load_cascade(save_posthoc_ema(run, 0.07, tmp_path / "narrow"))
    kept, last = load_cascade(run.checkpoints / "last")
    assert card.level_steps == last.level_steps == (4, 8, 4, 4)
    differ = {n.split(".")[1] for n, weight in narrow.state_dict().items() if not weight.equal(kept.state_dict()[n])}
    assert differ == {"1"}
    for file in (run.checkpoints / "averages" / "level-1").iterdir():
        file.unlink()
    with pytest.raises(BrainDiffusionError, match=r"Level 1 of .* too few stored averages \(0 of 4\)"):
        save_posthoc_ema(run, 0.07, tmp_path / "none")


@pytest.fixture(scope="module")
def refined(
    trained: tuple[Run, list[object]], finer_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, list[object]]:
    asked = request(finer_cohort, validation_subjects=2, start_from=str(trained[0].path), epochs=1)
    run = Run.create(asked, root=tmp_path_factory.mktemp("runs"))
    return run, list(perform(run))


def test_a_cohort_at_half_the_voxel_size_adds_a_level(
    trained: tuple[Run, list[object]], refined: tuple[Run, list[object]]
) -> None:
    run, events = refined
    assert isinstance(events[-1], Finished), events[-1]
    assert {e.stage for e in events if isinstance(e, Metric)} == {"level 4"}
    before, after = weights(trained[0], "best"), weights(run)
    kept = [name for name in before if not name.endswith((".mean", ".std"))]
    assert all(np.array_equal(before[name], after[name]) for name in kept)
    assert json.loads((run.checkpoints / "best" / "model.json").read_text())["steps"] == [4, 4, 4, 4, 2]


def test_who_is_held_out_from_the_new_level_alone_is_told(
    trained: tuple[Run, list[object]], finer_cohort: Cohort, tmp_path: Path
) -> None:
    asked = request(finer_cohort, validation_subjects=3, start_from=str(trained[0].path), epochs=1)
    run = Run.create(asked, root=tmp_path)
    told = [event.message for event in perform(run) if isinstance(event, Warned)]
    before, after = (
        json.loads((one.checkpoints / "best" / "model.json").read_text())["split"] for one in (trained[0], run)
    )
    seen = sorted(set(after["validation"]) & set(before["train"]))
    assert len(seen) == 1
    assert sorted(after["seen_by_coarser_levels"]) == seen
    assert before["seen_by_coarser_levels"] == []
    assert any("1 of 3 validation subjects are held out from the finest level alone" in line for line in told)
    further = Run.create(request(finer_cohort, start_from=str(run.path), levels=(4,), epochs=1), root=tmp_path)
    list(perform(further))
    again = json.loads((further.checkpoints / "best" / "model.json").read_text())["split"]
    assert again["seen_by_coarser_levels"] == after["seen_by_coarser_levels"]


def test_the_estimate_is_of_the_new_level_alone(
    trained: tuple[Run, list[object]],
    refined: tuple[Run, list[object]],
    finer_cohort: Cohort,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("braindiffusion.estimate.training.LEAST_SECONDS", 0.0)
    asked = request(finer_cohort, validation_subjects=2, start_from=str(trained[0].path), epochs=1)
    (level,) = estimate(asked).levels
    card = json.loads((refined[0].checkpoints / "best" / "model.json").read_text())
    assert (level.level, level.steps) == (4, card["steps"][4])


def test_an_added_level_is_trained_further(
    refined: tuple[Run, list[object]], finer_cohort: Cohort, cohort: Cohort, tmp_path: Path
) -> None:
    """By the recipe of the preset's finest level; a model of fewer levels than the preset is told."""
    asked = request(finer_cohort, start_from=str(refined[0].path), levels=(4,), epochs=1)
    run = Run.create(asked, root=tmp_path)
    events = list(perform(run))
    assert isinstance(events[-1], Finished), events[-1]
    before, after = weights(refined[0], "best"), weights(run)
    assert {name.split(".")[1] for name in before if not np.array_equal(before[name], after[name])} == {"4"}
    deeper = preset("tiny").model_dump(mode="json")
    deeper["recipes"].append(deeper["recipes"][-1])
    deeper["levels"].append(deeper["levels"][-1])
    deeper["depth"] += 1
    (tmp_path / "deeper.json").write_text(json.dumps(deeper))
    base = Run.create(request(cohort, levels=(0,), epochs=1), root=tmp_path)
    list(perform(base))
    asked = request(cohort, preset=str(tmp_path / "deeper.json"), start_from=str(base.path))
    *_, last = perform(Run.create(asked, root=tmp_path))
    assert isinstance(last, Failed)
    assert "has 4 levels, the preset 5" in last.message


def test_the_finer_brain_of_a_seed_is_the_coarser_one_with_more_detail(
    trained: tuple[Run, list[object]], refined: tuple[Run, list[object]]
) -> None:
    coarser, finer = (load_cascade(run.checkpoints / "best")[0] for run, _ in (trained, refined))
    brains = []
    for cascade in (coarser, finer):
        for step in sample_cascade(cascade, [3], refine_from=None):  # that changes the means, too
            brain = step.volume()
        brains.append(brain)
    assert brains[1].shape[2:] == tuple(2 * n for n in brains[0].shape[2:])
    inside = avg_pool3d(brains[1], 2)
    # Both are clipped to the range of intensities, which is not linear.
    assert (inside - brains[0]).abs().median() < 0.01


def test_a_model_may_hold_its_finest_level_only(
    trained: tuple[Run, list[object]], refined: tuple[Run, list[object]], tmp_path: Path
) -> None:
    cascade, card = load_cascade(refined[0].checkpoints / "best")
    coarser = trained[0].checkpoints / "best"
    save_model(cascade, tmp_path / "finest", {**card.to_json(), "coarser_model": str(coarser)})
    assert {name.split(".")[1] for name in load_file(tmp_path / "finest" / "model.safetensors")} == {"4"}
    again, _ = load_cascade(tmp_path / "finest")
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in cascade.state_dict().items())
    wrong = {**card.to_json(), "coarser_model": str(refined[0].checkpoints / "best")}
    save_model(cascade, tmp_path / "wrong", wrong)
    with pytest.raises(BrainDiffusionError, match="refines another model"):
        load_cascade(tmp_path / "wrong")
