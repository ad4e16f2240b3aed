"""Distillation: a copy that comes near to its teacher's samples in a few steps, and is a model as any."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from braindiffusion.conditions import ConditionSchema, Numbers, ScalarField
from braindiffusion.diffusion.samplers import dpmpp_2m
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.guidance import Guidance
from braindiffusion.jobs import perform
from braindiffusion.jobs.distill import distill
from braindiffusion.jobs.edit import edit
from braindiffusion.jobs.generate import generate, regenerate
from braindiffusion.models import registry
from braindiffusion.models.card import ModelCard
from braindiffusion.models.cascade import Cascade, save_model
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.models.cascade.files import load_cascade
from braindiffusion.models.cascade.generator import CascadeGenerator, SampledCascade, load_generator
from braindiffusion.models.generator import EditableGenerator
from braindiffusion.runs import (
    DistillRequest,
    EditRequest,
    Failed,
    Finished,
    GenerateRequest,
    Metric,
    Progress,
    RegenerateRequest,
    Run,
    Started,
)
from braindiffusion.training.distillation import Recorder, Trajectory, chosen_noise_levels, distance, targets
from braindiffusion.volume import Volume, save_volume

STEPS = (3, 8, 9)


def level(steps: int, patch: int | None) -> LevelConfig:
    unet = UNetConfig(widths=(8,), blocks=(1,), attention=(False,), map_width=4)
    return LevelConfig(unet=unet, steps=steps, patch=patch, sampler="dpmpp_2m")


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    """A model of three levels, the finer two for patches, whose weights are noise."""
    config = CascadeConfig(
        shape=(16, 24, 16),
        depth=2,
        levels=tuple(level(steps, patch) for steps, patch in zip(STEPS, (None, 4, 4), strict=True)),
        condition=ConditionSchema(
            fields=(
                ScalarField(
                    name="age", unit="years", seen=Numbers(mean=50, std=12, quantiles=(20.0, *[50.0] * 9, 80.0))
                ),
            )
        ),
    )
    cascade = Cascade(config).eval()
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in cascade.parameters():
            p.copy_(0.2 * torch.randn(p.shape, generator=random))
    card = {"name": "toy", "guidance": {"scale": 2.0}, "fast": {"model": "toy-fast"}}
    save_model(cascade, tmp_path / "pretrained" / "toy", card)
    return tmp_path / "pretrained" / "toy"


@pytest.fixture
def packaged(teacher: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of packaged models, of which it is the only one."""
    monkeypatch.setattr(registry, "_HOME", teacher.parent)
    return teacher.parent


def request(model: str, **fields: object) -> DistillRequest:
    few = {"num_samples": 4, "training_steps": 150, "steps": 3, "learning_rate": 2e-3, "condition": {"age": 40}}
    return DistillRequest(model=model, device="cpu", **{**few, **fields})


def test_the_last_step_starts_where_there_is_still_something_to_do() -> None:
    sigmas = torch.tensor([20.0, 8, 3, 1, 0.3, 0.1, 0.03, 0.01, 0])
    assert chosen_noise_levels(sigmas, 2) == (0, 3, 8)
    assert chosen_noise_levels(sigmas, 3) == (0, 2, 4, 8)
    assert chosen_noise_levels(sigmas, 4) == (0, 2, 3, 5, 8)
    assert chosen_noise_levels(sigmas, 1) == (0, 8)
    assert chosen_noise_levels(sigmas, 8) == tuple(range(9))
    assert chosen_noise_levels(torch.tensor([1.0, 0.01, 0]), 2) == (0, 1, 2)


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_what_is_recorded_is_the_path_of_the_sampler(teacher: Path, scale: float) -> None:
    """The sampler's own steps, at all noise levels, and the sample of the same seed."""
    generator = load_generator(teacher)
    condition = {"age": torch.tensor([[0.3]])}
    recorder = Recorder({2: 3})
    hooks = [*([Guidance(scale)] if scale != 1 else []), recorder]
    *_, last = generator.sample([5], condition=condition, hooks=hooks, sampler="dpmpp_2m", steps=3)
    trajectory = recorder.trajectories()[2]
    assert trajectory.states.shape == (4, 7, 8, 12, 8)
    fine = last.denoised  # what the finest level made, as coefficients again
    own = generator.coefficients(fine, 2)[0] if isinstance(generator, CascadeGenerator) else None
    torch.testing.assert_close(trajectory.states[-1], own, atol=1e-4, rtol=1e-3)
    near = distance(generator.cascade.level(2), trajectory)
    assert near < 1e-8 if scale == 1 else near > 1e-4  # guidance is not the network's own


def test_the_targets_lead_the_sampler_through_the_states() -> None:
    random = torch.Generator().manual_seed(2)
    states, sigmas = torch.randn(6, 7, 4, 4, 4, generator=random), torch.tensor([20.0, 7, 2, 0.8, 0.1, 0])
    trajectory = Trajectory(states, sigmas, torch.tensor([[0, 4]] * 3), {})
    found = dict(zip(sigmas.tolist(), targets(trajectory), strict=False))
    steps = dpmpp_2m(lambda x, sigma, condition: found[float(sigma[0])][None], states[:1], sigmas)
    torch.testing.assert_close(torch.cat([step.x for step in steps]), states[1:], atol=1e-4, rtol=1e-4)


def test_a_trajectory_comes_back_from_its_file(tmp_path: Path) -> None:
    made = Trajectory(
        torch.randn(3, 7, 4, 4, 4),
        torch.tensor([2.0, 1, 0]),
        torch.tensor([[0, 4], [1, 3], [2, 4]]),
        {"age": torch.tensor([[0.5]])},
        torch.randn(1, 1, 4, 4, 4),
        torch.tensor([0.03]),
    )
    made.save(tmp_path / "one.safetensors")
    back = Trajectory.load(tmp_path / "one.safetensors", torch.device("cpu"))
    torch.testing.assert_close(vars(back), vars(made))
    assert back.window == (slice(0, 4), slice(1, 3), slice(2, 4))


def test_a_student_comes_nearer_to_its_teacher_and_is_a_model_as_any(
    packaged: Path, tmp_path: Path, tmp_runs: Path
) -> None:
    asked = request("toy", out=packaged / "toy-fast", other_steps=2)
    events = list(distill(asked, Run.create(asked)))
    for index in (1, 2):
        losses = [
            e.values["validation_loss"]
            for e in events
            if isinstance(e, Metric) and e.stage == f"level {index}" and "validation_loss" in e.values
        ]
        assert losses[-1] < 0.7 * losses[0]
        *_, last = (e for e in events if isinstance(e, Progress | Metric) and e.stage == f"level {index}")
        assert isinstance(last, Progress)  # the last line of a log has what was measured before
    card = registry.read_card(packaged / "toy-fast")
    assert card.distilled
    assert card.distilled_from == "toy"
    assert card.guidance.model_dump() == {"scale": 2.0, "fields": None, "levels": 1}
    assert card.fast is None
    with safe_open(packaged / "toy-fast" / "model.safetensors", "pt") as file:
        assert {name.split(".")[1] for name in file.keys()} == {"1", "2"}  # noqa: SIM118 it is no dict
    cascade, _ = load_cascade(packaged / "toy-fast")
    first, _ = load_cascade(packaged / "toy")
    torch.testing.assert_close(cascade.level(0).state_dict(), first.level(0).state_dict(), atol=0, rtol=0)
    generator = load_generator(packaged / "toy-fast")
    assert generator.steps() == (2, 3, 3)
    assert generator.samplers() == ("dpmpp_2m",) * 3
    assert type(generator) is SampledCascade
    assert not isinstance(generator, EditableGenerator)

    # The base takes it for fast brains, and the sidecar makes the same one again.
    fast = GenerateRequest(model="toy", fast=True, seed=9, out=tmp_path / "out", device="cpu")
    list(generate(fast, Run.create(fast)))
    told = json.loads((tmp_path / "out" / "sample_001.json").read_text())
    assert told["model"]["name"] == "toy-fast"
    assert told["steps_by_level"] == [2, 3, 3]
    again = RegenerateRequest(like=tmp_path / "out" / "sample_001.json", out=tmp_path / "again", device="cpu")
    *_, done = regenerate(again, Run.create(again))
    assert done.message == "The very same brain, to the last bit"


def test_brains_of_no_condition_can_be_learnt_from(teacher: Path, tmp_path: Path, tmp_runs: Path) -> None:
    """All of them, or some rows of a table."""
    (tmp_path / "ages.csv").write_text('age\n""\n40\n')
    for number, conditions in enumerate((None, tmp_path / "ages.csv")):
        asked = request(str(teacher), out=tmp_path / str(number), training_steps=2, condition={}, conditions=conditions)
        *_, last = perform(Run.create(asked))
        assert isinstance(last, Finished), last


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"steps": 5}, "3 steps at level 1, not 5"),
        ({"steps": (3, 3, 2)}, "3 steps at level 2, not 2"),
        ({"sampler": "heun"}, "its own sampler"),
        ({"guidance": 3.0, "condition": {"age": 30}}, "its guidance"),
    ],
)
def test_a_distilled_model_takes_its_own_settings_only(
    packaged: Path, tmp_path: Path, tmp_runs: Path, fields: dict[str, object], said: str
) -> None:
    """What else is asked for is refused before anything is generated, and names its field."""
    asked = request("toy", out=packaged / "toy-fast", training_steps=1)
    list(distill(asked, Run.create(asked)))
    other = GenerateRequest(model="toy-fast", out=tmp_path / "out", device="cpu", **fields)
    first, *rest = perform(Run.create(other))
    assert isinstance(first, Started)
    assert [(event.type, getattr(event, "field", "")) for event in rest] == [("failed", next(iter(fields)))]
    assert said in rest[0].message
    twice = request("toy-fast", out=tmp_path / "twice")
    with pytest.raises(BrainDiffusionError, match="cannot be distilled"):
        list(distill(twice, Run.create(twice)))
    save_volume(Volume(np.ones((1, 16, 24, 16), np.float32), np.eye(4)), tmp_path / "scan.nii.gz")
    edited = EditRequest(model="toy-fast", scan=tmp_path / "scan.nii.gz", first_level=1, out=tmp_path / "e")
    with pytest.raises(BrainDiffusionError, match="cannot edit scans"):
        list(edit(edited, Run.create(edited)))


def test_a_model_of_a_folder_is_whole_without_its_teacher(teacher: Path, tmp_path: Path, tmp_runs: Path) -> None:
    asked = request(str(teacher), out=tmp_path / "own", training_steps=1)
    list(distill(asked, Run.create(asked)))
    (teacher / "model.safetensors").unlink()
    cascade, card = load_cascade(tmp_path / "own")
    assert card.distilled_from is None
    assert cascade.config.levels[2].noise_levels is not None


def test_each_level_has_its_own_steps_and_none_is_guided_any_more(
    teacher: Path, tmp_path: Path, tmp_runs: Path
) -> None:
    asked = request(str(teacher), out=tmp_path / "own", training_steps=1, first_level=0, steps=(2, 3, 4))
    list(distill(asked, Run.create(asked)))
    generator = load_generator(tmp_path / "own")
    assert generator.steps() == (2, 3, 4)
    assert generator.card.guidance.scale == 1
    made = GenerateRequest(model=str(tmp_path / "own"), condition={"age": 40}, out=tmp_path / "out", device="cpu")
    list(generate(made, Run.create(made)))
    assert json.loads((tmp_path / "out" / "sample_001.json").read_text())["guidance"] is None


def test_a_model_on_a_coarser_one_is_distilled_whole(packaged: Path, tmp_path: Path, tmp_runs: Path) -> None:
    """Levels change that a model on a coarser one does not keep in its own file."""
    coarser, _ = load_cascade(packaged / "toy")
    config = coarser.config.model_copy(
        update={"shape": (32, 48, 32), "spacing": 1.0, "depth": 3, "levels": (*coarser.config.levels, level(6, 4))}
    )
    cascade = Cascade(config)
    cascade.load_coarser(coarser)
    save_model(cascade, packaged / "fine", {"name": "fine", "coarser_model": "toy"})
    asked = request("fine", out=packaged / "fine-fast", training_steps=1)
    list(distill(asked, Run.create(asked)))
    made, card = load_cascade(packaged / "fine-fast")
    assert (card.coarser_model, card.distilled_from) == (None, "fine")
    assert [one.steps for one in made.config.levels] == [3, 3, 3, 3]


@pytest.mark.parametrize("field", ["distilled_from", "coarser_model"])
def test_a_model_that_takes_weights_from_itself_is_refused(teacher: Path, field: str) -> None:
    card = json.loads((teacher / "model.json").read_text())
    (teacher / "model.json").write_text(json.dumps(card | {field: str(teacher)}))
    for read in (registry.other_model, registry.model_files, load_cascade):
        with pytest.raises(BrainDiffusionError, match="takes weights from itself"):
            read(teacher)


def test_a_stopped_run_goes_on_with_the_brains_that_it_has(teacher: Path, tmp_path: Path, tmp_runs: Path) -> None:
    asked = request(str(teacher), out=tmp_path / "own", training_steps=2)
    run = Run.create(asked)
    events = perform(run)
    next(e for e in events if isinstance(e, Progress) and e.step == 2)
    events.close()
    made = {file: file.stat().st_mtime_ns for file in (run.path / "trajectories").rglob("*.safetensors")}
    assert len(made) == 4  # two brains, two levels
    last = list(perform(run))[-1]
    assert last.type == "finished"
    assert all(file.stat().st_mtime_ns == when for file, when in made.items())


def test_a_stopped_run_does_not_go_on_with_another_teacher(teacher: Path, tmp_runs: Path) -> None:
    run = Run.create(request(str(teacher), training_steps=2))
    events = perform(run)
    next(e for e in events if isinstance(e, Progress) and e.step == 1)
    events.close()
    card = json.loads((teacher / "model.json").read_text())
    (teacher / "model.json").write_text(json.dumps(card | {"guidance": {"scale": 3.0}}))
    last = list(perform(run))[-1]
    assert last.type == "failed"
    assert "has changed since the run" in last.message


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"first_level": 3}, "3 levels"),
        ({"steps": 8}, "takes 8 steps at level 1"),
        ({"first_level": 0}, "takes 3 steps"),
        ({"steps": (2, 3, 4)}, "sampling steps (3) are not as many as the levels to distil (2)"),
    ],
)
def test_what_cannot_be_distilled_is_told(
    teacher: Path, tmp_path: Path, tmp_runs: Path, fields: dict[str, object], said: str
) -> None:
    asked = request(str(teacher), out=tmp_path / "own", **fields)
    *_, last = perform(Run.create(asked))
    assert isinstance(last, Failed)
    assert said in last.message


def test_a_file_of_the_user_is_not_written_over(teacher: Path, tmp_path: Path, tmp_runs: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "model.json").write_text("{}")
    asked = request(str(teacher), out=tmp_path / "own")
    with pytest.raises(BrainDiffusionError, match="BrainDiffusion did not write it"):
        list(distill(asked, Run.create(asked)))


def test_noise_levels_of_a_card_are_checked() -> None:
    given = {"steps": 2, "sampler": "ddim"}
    assert LevelConfig(**given, noise_levels=(3.0, 1.0)).sampling_sigmas(2).tolist() == [3.0, 1.0, 0.0]
    for wrong in ((3.0,), (1.0, 3.0), (3.0, 3.0), (3.0, float("inf"))):
        with pytest.raises(ValueError, match=r"noise_levels|finite"):
            LevelConfig(**given, noise_levels=wrong)
    with pytest.raises(ValueError, match="one of the two"):
        ModelCard.model_validate({"fast": {"model": "a", "steps": [1]}})
    with pytest.raises(ValueError, match="one of the two"):
        ModelCard.model_validate({"fast": {}})
