"""The job `train`: a cohort in, a model out, level by level, coarse first."""

import math
from collections.abc import Generator, Iterator
from time import monotonic
from typing import Any

import torch
from lightning_fabric import Fabric

from braindiffusion.cohort.prepare import prepare
from braindiffusion.cohort.split import split_rows
from braindiffusion.cohort.store import Cohort
from braindiffusion.devices import choose_device, choose_precision
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.model.cascade import Cascade
from braindiffusion.runs import ArtifactWritten, Event, Finished, Metric, PrepareRequest, Progress, Run, TrainRequest
from braindiffusion.training.checkpoint import load_state
from braindiffusion.training.conditions import schema_of
from braindiffusion.training.keeper import Keeper
from braindiffusion.training.level import LevelTrainer, fit_normalisation
from braindiffusion.training.patches import Patches
from braindiffusion.training.presets import LevelRecipe, preset

METRIC_SECONDS = 1.0
VALIDATION_BATCHES = 4


def train(request: TrainRequest, run: Run) -> Iterator[Event]:
    """Train a cascade, or go on where this run stopped.

    Args:
        request: what to train on, and how.
        run: gets the checkpoints, samples, and (where `request.data` is a folder of volumes) the prepared cohort.

    Yields:
        Progress and Metric by level (`level 0` is the coarsest), CheckpointWritten, samples as previews.

    Raises:
        BrainDiffusionError: no cohort, no such preset, too few subjects, a damaged checkpoint.
    """
    chosen = preset(request.preset)
    cohort = yield from _cohort(request, run)
    training, validation = _rows(cohort, request.validation_subjects)
    torch.manual_seed(request.seed)
    shape, spacing = cohort.preprocessing.shape, cohort.preprocessing.spacing
    condition = schema_of(cohort, training, request.conditions)
    cascade = Cascade(chosen.cascade(shape, spacing, cohort.volumes.shape[1], condition))
    device = choose_device(request.device)
    dtype = choose_precision(device, request.precision)
    fabric = Fabric(
        accelerator=device.type, devices=1, precision="bf16-mixed" if dtype == torch.bfloat16 else "32-true"
    )
    cascade.to(fabric.device)
    wanted = range(len(chosen.recipes)) if request.levels is None else request.levels
    if not set(wanted) <= set(range(len(chosen.recipes))):
        msg = f"Preset '{request.preset}' has levels 0 to {len(chosen.recipes) - 1}, not {request.levels}."
        raise BrainDiffusionError(msg)

    keeper = Keeper(run, cascade, _card(request, cohort, training, validation))
    trainers: dict[int, LevelTrainer] = {}
    for index in range(len(chosen.recipes)):
        recipe = _recipe(chosen.recipes[index], request)
        patches = Patches(cohort, cascade, index, training, recipe.variants, request.seed)
        state = load_state(keeper.resume_folder, index)
        if state is None:
            fit_normalisation(patches, cascade.level(index))
        trainers[index] = LevelTrainer(fabric, cascade, index, recipe, request.seed)
        if state is not None:
            keeper.restore(trainers[index], state)
    for index in wanted:
        trainer = trainers[index]
        patches = Patches(cohort, cascade, index, training, trainer.recipe.variants, request.seed)
        held_out = Patches(cohort, cascade, index, validation or training, 0, request.seed)
        steps = max(1, math.ceil(trainer.recipe.epochs * len(training) / trainer.recipe.batch_size))
        yield from _level(request, trainer, patches, held_out, keeper, steps)
    yield ArtifactWritten(kind="model", path=str(keeper.best), name="best")
    yield Finished(message=f"The model is in {keeper.best}.")


def _level(
    request: TrainRequest, trainer: LevelTrainer, patches: Patches, held_out: Patches, keeper: Keeper, until: int
) -> Iterator[Event]:
    """Train one level; whatever ends it, a checkpoint is kept."""
    stage = f"level {trainer.index}"
    begun, first = monotonic(), trainer.step
    said, kept, sampled = -math.inf, begun, begun
    yield Progress(stage=stage, step=first, total=until)
    if first >= until:
        return
    losses: list[float] = []
    try:
        for done in trainer.run(patches, until):
            now, last = monotonic(), done.step == until
            losses.append(done.loss)
            if now - said >= METRIC_SECONDS or last:
                said = now
                left = (now - begun) / (done.step - first) * (until - done.step)
                yield Progress(stage=stage, step=done.step, total=until, seconds_left=left)
                values = {"loss": sum(losses) / len(losses), "learning_rate": done.learning_rate}
                yield Metric(stage=stage, step=done.step, values=values | {"seconds_per_step": done.seconds})
                losses.clear()
            if now - kept >= 60 * request.checkpoint_minutes or last:
                error = trainer.validate(held_out, VALIDATION_BATCHES)
                yield Metric(stage=stage, step=done.step, values={"validation_loss": error})
                yield keeper.keep(trainer, error)
                kept = monotonic()
            if now - sampled >= 60 * request.sample_minutes or last:
                yield keeper.sample(request.seed)
                sampled = monotonic()
    finally:
        if keeper.kept_step(trainer.index) < trainer.step:
            keeper.keep(trainer, None)


def _cohort(request: TrainRequest, run: Run) -> Generator[Event, None, Cohort]:
    """The prepared cohort; a folder of volumes is prepared into the run first."""
    if (request.data / "zarr.json").is_file() or request.data.suffix == ".zarr":
        return Cohort.open(request.data)
    out = run.path / "cohort.zarr"
    for event in prepare(PrepareRequest(data_dir=request.data, out=out), run):
        if not isinstance(event, Finished):
            yield event
    return Cohort.open(out)


def _rows(cohort: Cohort, aside: int | None) -> tuple[list[int], list[int]]:
    """Rows of the training and of the validation subjects; all rows of one person are on one side."""
    people = len({subject.person for subject in cohort.subjects})
    if people < 2:
        msg = f"{cohort.path} holds {people} subject: a model needs at least 2 to learn from."
        raise BrainDiffusionError(msg)
    aside = people // 5 if aside is None else aside
    if aside > people - 1:
        msg = f"Cannot keep {aside} of {people} subjects for validation: keep fewer."
        raise BrainDiffusionError(msg)
    return split_rows(cohort.subjects, aside)


def _recipe(recipe: LevelRecipe, request: TrainRequest) -> LevelRecipe:
    changes: dict[str, float] = {}
    if request.batch_size is not None:
        changes["batch_size"] = request.batch_size
    if request.epochs is not None:
        changes["epochs"] = request.epochs
    return recipe.model_copy(update=changes)


def _card(request: TrainRequest, cohort: Cohort, training: list[int], validation: list[int]) -> dict[str, Any]:
    return {
        "name": request.data.stem,
        "preset": request.preset,
        "seed": request.seed,
        "preprocessing": cohort.preprocessing.model_dump(mode="json"),
        "preprocessing_hash": cohort.preprocessing.hash,
        "cohort_hash": cohort.hash,
        "split": {
            "train": [cohort.subjects[i].id for i in training],
            "validation": [cohort.subjects[i].id for i in validation],
        },
    }
