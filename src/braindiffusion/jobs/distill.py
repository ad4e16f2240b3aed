"""The job `distill`: a copy of a model that generates in a few sampling steps, with the guidance learnt along."""

import copy
import json
import shutil
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from safetensors.torch import load_file, save_file

from braindiffusion.devices import choose_device, choose_precision
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import replacing, write_whole
from braindiffusion.generation.guidance import guidance_from
from braindiffusion.generation.inputs import Conditions
from braindiffusion.generation.reproduce import model_identity
from braindiffusion.models.cascade.cascade import Cascade, Level
from braindiffusion.models.cascade.config import LevelConfig
from braindiffusion.models.cascade.files import save_model
from braindiffusion.models.cascade.generator import CascadeGenerator
from braindiffusion.models.model_cache import cached_model, release
from braindiffusion.models.registry import ANATOMY, CARD, WEIGHTS, anatomy_folder, find_model, is_packaged
from braindiffusion.outputs import Outputs
from braindiffusion.runs import (
    ArtifactWritten,
    DistillRequest,
    Event,
    Finished,
    GenerateRequest,
    Metric,
    Progress,
    Run,
)
from braindiffusion.runs.durations import seconds_left
from braindiffusion.training.distillation import (
    Recorder,
    Student,
    Trajectory,
    chosen_noise_levels,
    distance,
    learning_names,
)
from braindiffusion.untrusted import read_json

TEACHER = "teacher.json"
"""File of a run that says which model it distils."""
HELD_OUT = 16
"""One brain in so many is not learnt from."""
VALIDATIONS = 4
METRIC_SECONDS = 1.0


def distill(request: DistillRequest, run: Run) -> Iterator[Event]:
    """Generate brains with a model, and train a copy of its finest levels on the paths that their sampling took.

    What a stopped run has made, brains and finished levels, is kept, and it goes on from there.

    Args:
        request: the model, and how to distil it.
        run: gets the paths in `trajectories`, the finished levels in `checkpoints`, and the model where the request
            names no folder.

    Yields:
        Progress and Metric; the validation loss is the distance of the samples of a few steps to the model's own.

    Raises:
        BrainDiffusionError: the model is no cascade, or distilled already; or it has no more steps than are asked for.
    """
    device = choose_device(request.device)
    folder = find_model(request.model)
    teacher = cached_model(folder, device)
    if not isinstance(teacher, CascadeGenerator):
        raise BrainDiffusionError(
            f"The model {request.model} cannot be distilled: choose a cascade that is not distilled.", "model"
        )
    steps = _steps(request, teacher)
    _check_same_teacher(run, folder)
    out, maps = request.out or run.results / "model", _own_maps(request, folder)
    outputs = Outputs.of(request, () if maps is None else (maps,))
    outputs.check(out / name for name in (CARD, WEIGHTS, *(() if maps is None else (ANATOMY,))))
    try:
        yield from _record(request, run, teacher, steps)
        cascade = copy.deepcopy(teacher.cascade)
        distances: dict[int, dict[str, float]] = {}
        for index in steps:
            distances[index] = yield from _train_level(request, run, cascade.level(index), teacher.cascade.level(index))
        distilled, card = _finished(request, teacher, cascade, steps)
        with outputs.writing():
            save_model(distilled, out, {**card, "distillation": {"distance": distances}})
            if maps is not None:
                shutil.copyfile(maps, out / ANATOMY)
        yield ArtifactWritten(kind="model", path=str(out), name="distilled")
        yield Finished(message=f"The distilled model is in {out}.")
    finally:
        release(device)


def _steps(request: DistillRequest, teacher: CascadeGenerator) -> dict[int, int]:
    """Return the steps of the levels to distil: the first that is asked for, or was trained on patches, and all finer.

    Raises:
        BrainDiffusionError: the model has no such level, takes no more steps there than are asked for, or has another
            number of levels to distil than numbers of steps are given.
    """
    configs = teacher.cascade.config.levels[: teacher.levels]
    first = request.first_level
    if first is None:
        first = next((i for i, config in enumerate(configs) if config.patch is not None), teacher.levels - 1)
    if first >= teacher.levels:
        msg = f"The model has {teacher.levels} levels, the first of which is 0: choose {teacher.levels - 1} at most."
        raise BrainDiffusionError(msg, "first_level")
    levels = range(first, teacher.levels)
    steps = request.steps if isinstance(request.steps, tuple) else (request.steps,) * len(levels)
    if len(steps) != len(levels):
        msg = f"The numbers of sampling steps ({len(steps)}) are not as many as the levels to distil ({len(levels)})"
        raise BrainDiffusionError(f"{msg}: give one for all, or one for each from level {first} on.", "steps")
    if any(configs[i].sampler == "ddpm" for i in levels):
        raise BrainDiffusionError("The sampler ddpm adds noise at each step, which no model can learn.", "model")
    by_level = dict(zip(levels, steps, strict=True))
    if (index := next((i for i in levels if configs[i].steps <= by_level[i]), None)) is not None:
        msg = f"The model takes {configs[index].steps} steps at level {index}: choose fewer than these."
        raise BrainDiffusionError(msg, "steps")
    return by_level


def _check_same_teacher(run: Run, folder: Path) -> None:
    """Write down which model is distilled; a run that is resumed goes on with the same one only.

    Raises:
        BrainDiffusionError: the model has changed since the run began.
    """
    file, now = run.path / TEACHER, model_identity(folder)
    if not file.is_file():
        write_whole(file, json.dumps(now, indent=2) + "\n")
    elif read_json(file) != now:
        msg = f"The model {folder} has changed since the run {run.name} began"
        raise BrainDiffusionError(f"{msg}: bring that one back, or begin a new distillation.", "model")


def _own_maps(request: DistillRequest, folder: Path) -> Path | None:
    """Return the region maps that are copied beside the new model; None where there are none, or it finds them."""
    there = anatomy_folder(folder)
    return None if there is None or is_packaged(request.model) else there / ANATOMY


def _file(run: Run, level: int, number: int) -> Path:
    return run.path / "trajectories" / f"level_{level}" / f"{number:04d}.safetensors"


def _record(request: DistillRequest, run: Run, teacher: CascadeGenerator, steps: Mapping[int, int]) -> Iterator[Event]:
    """Generate the brains that are not there yet, and keep their paths."""
    names = ("model", "num_samples", "seed", "condition", "conditions", "device", "precision")
    asked = GenerateRequest(**{name: getattr(request, name) for name in names})
    conditions = Conditions(asked, teacher)
    guidance, _ = guidance_from(asked, teacher, asked=conditions.names)
    dtype = choose_precision(teacher.device, request.precision)
    missing = [n for n in range(request.num_samples) if not all(_file(run, i, n).is_file() for i in steps)]
    began = monotonic()
    for done, number in enumerate(missing):
        recorder = Recorder(steps)
        left = seconds_left(began, done, len(missing))
        for step in teacher.sample(
            [request.seed + number],
            condition=conditions.tensors([number + 1], teacher.device),
            hooks=[recorder] if guidance is None else [guidance, recorder],
            dtype=dtype,
        ):
            where = f"level {step.level}, step {step.step} of {step.of}"
            made = request.num_samples - len(missing) + done
            yield Progress(stage="brains", step=made, total=request.num_samples, seconds_left=left, message=where)
        for index, trajectory in recorder.trajectories().items():
            file = _file(run, index, number)
            file.parent.mkdir(parents=True, exist_ok=True)
            trajectory.save(file)


def _train_level(
    request: DistillRequest, run: Run, level: Level, teacher: Level
) -> Generator[Event, None, dict[str, float]]:
    """Train the copy of a level; one that is finished already is read. It gets the weights of the least distance.

    Returns:
        distances to the teacher's samples: of the teacher's own network with these steps and without guidance, and of
        the copy.
    """
    stage, device = f"level {level.index}", next(level.parameters()).device
    files = [_file(run, level.index, number) for number in range(request.num_samples)]
    held = [Trajectory.load(file, device) for file in files[::HELD_OUT]]
    learning = [file for number, file in enumerate(files) if number % HELD_OUT]
    student = Student(level, learning_names(level), request.learning_rate, request.training_steps)

    def away(of: Level) -> float:
        return float(np.mean([distance(of, trajectory) for trajectory in held]))

    untrained = away(teacher)
    yield Metric(stage=stage, step=0, values={"validation_loss": untrained})
    saved = run.checkpoints / f"distilled_{level.index}.safetensors"
    if saved.is_file():
        level.load_state_dict(load_file(saved))
        return {"before": untrained, "after": away(level)}
    random = np.random.default_rng((request.seed, level.index))
    began, reported, losses, nearest = monotonic(), 0.0, [], untrained
    kept = copy.deepcopy(level.state_dict())
    while student.step < request.training_steps:
        drawn = random.choice(len(learning), request.batch_size, replace=request.batch_size > len(learning))
        losses.append(student.train([Trajectory.load(learning[i], device) for i in drawn], random))
        now, last = monotonic(), student.step == request.training_steps
        if last or student.step % -(-request.training_steps // VALIDATIONS) == 0:
            trained = away(level)
            yield Metric(stage=stage, step=student.step, values={"validation_loss": trained})
            if trained < nearest:
                nearest, kept = trained, copy.deepcopy(level.state_dict())
        if now - reported >= METRIC_SECONDS or last:
            reported, left = now, seconds_left(began, student.step, request.training_steps)
            yield Metric(stage=stage, step=student.step, values={"loss": float(np.mean(losses))})
            yield Progress(stage=stage, step=student.step, total=request.training_steps, seconds_left=left)
            losses.clear()
    level.load_state_dict(kept)
    run.checkpoints.mkdir(exist_ok=True)
    with replacing(saved) as part:
        save_file({name: t.cpu().contiguous() for name, t in level.state_dict().items()}, part)
    return {"before": untrained, "after": nearest}


def _finished(
    request: DistillRequest, teacher: CascadeGenerator, cascade: Cascade, steps: Mapping[int, int]
) -> tuple[Cascade, dict[str, Any]]:
    """Return the distilled model and its card."""
    configs: list[LevelConfig] = list(cascade.config.levels)
    for index, config in enumerate(configs):
        if index in steps:
            sigmas = config.sampling_sigmas(config.steps)
            kept = [float(sigmas[i]) for i in chosen_noise_levels(sigmas, steps[index])[:-1]]
            update: dict[str, Any] = {"sampler": "dpmpp_2m", "steps": len(kept), "noise_levels": tuple(kept)}
            if config.refinement is not None:
                update["refinement"] = kept[-1]
        else:
            update = {"steps": min(config.steps, request.other_steps or config.steps)}
        configs[index] = LevelConfig.model_validate({**config.model_dump(), **update})
    cascade.config = cascade.config.model_copy(update={"levels": tuple(configs)})
    for index, config in enumerate(configs):
        cascade.level(index).config = config
    card = teacher.card.to_json()
    for gone in ("coarser_model", "fast", "evaluated", "missed", "recipes", "history", "history_columns"):
        card.pop(gone, None)
    guidance = {**teacher.card.guidance.model_dump(mode="json"), "levels": min(steps)}
    if not min(steps):
        guidance = {}
    name = teacher.card.name or Path(request.model).name
    return cascade, {
        **card,
        "name": f"{name}-fast",
        "summary": f"{name} in {' + '.join(map(str, steps.values()))} sampling steps (distilled levels).",
        "guidance": guidance,
        "distilled_from": request.model if is_packaged(request.model) else None,
    }
