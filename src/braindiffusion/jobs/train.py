"""The job `train`: a cohort in, a model out, level by level, coarse first."""

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import torch

from braindiffusion.cohort.prepare import prepare
from braindiffusion.cohort.store import Cohort
from braindiffusion.models.cascade.cascade import Cascade
from braindiffusion.runs import (
    ArtifactWritten,
    Event,
    Finished,
    Log,
    Metric,
    PrepareRequest,
    Progress,
    Run,
    TrainRequest,
)
from braindiffusion.runs.durations import seconds_left
from braindiffusion.runs.files import write_whole
from braindiffusion.training.checkpoint_files import load_state
from braindiffusion.training.checkpoints import CheckpointManager
from braindiffusion.training.distributed import Command, Distributed
from braindiffusion.training.novelty import Novelty
from braindiffusion.training.patches import PatchDataset
from braindiffusion.training.plan import levels_of, preset_of, rows_of
from braindiffusion.training.presets import Preset
from braindiffusion.training.trainer import LevelTrainer, StepDone, fit_normalisation
from braindiffusion.training.warm_start import configuration_of, keep_start, load_start

METRIC_SECONDS = 1.0


def train(request: TrainRequest, run: Run) -> Iterator[Event]:
    """Train a cascade, or go on where this run stopped.

    Every process of a launch does this job, each with its share of every batch; the first one's events are the run's.

    Args:
        request: what to train on, and how.
        run: gets the checkpoints, samples, and (where `request.data` is a folder of volumes) the prepared cohort.

    Yields:
        Progress and Metric by level (`level 0` is the coarsest), CheckpointWritten, samples as previews.

    Raises:
        BrainDiffusionError: no cohort, no such preset, too few subjects, a damaged checkpoint.
    """
    distributed = Distributed(request)
    start = keep_start(request, run, distributed)
    chosen = _preset(request, run, distributed)
    wanted = levels_of(request, chosen)
    cohort = yield from _cohort(request, run, distributed)
    training, validation = rows_of(cohort, request.validation_subjects)
    torch.manual_seed(request.seed)
    cascade = Cascade(configuration_of(request, chosen, cohort, training, start)).to(distributed.fabric.device)
    before = None if start is None else load_start(cascade, start)

    checkpoints = CheckpointManager(
        run, cascade, _card(request, chosen, cohort, training, validation), before, writes=distributed.is_main
    )
    states = [load_state(checkpoints.resume_folder, index) for index in range(len(chosen.recipes))]
    for index, state in enumerate(states):
        level = cascade.level(index)
        if state is None:
            if start is None:
                fit_normalisation(PatchDataset(cohort, cascade, index, training, 0, request.seed), level)
        else:
            checkpoints.restore(index, state)
            for name, buffer in level.named_buffers():
                buffer.copy_(state[f"constant.{name}"])
        checkpoints.constants(index, dict(level.named_buffers()))
    novelty = Novelty(cohort, training, validation)
    for index in wanted:
        recipe = chosen.recipes[index]
        trainer = LevelTrainer(distributed, cascade, index, recipe, request.seed)
        if (state := states[index]) is not None:
            trainer.load(state)
        seen = PatchDataset(cohort, cascade, index, training, recipe.augmented_copies, request.seed, recipe.warp)
        held_out = PatchDataset(cohort, cascade, index, validation or training, 0, request.seed)
        until = max(1, math.ceil(recipe.epochs * len(training) / trainer.samples))
        if (
            yield from _Level(request, distributed, trainer, checkpoints, novelty, until).train(seen, held_out)
        ) is Command.STOP:
            return
    yield ArtifactWritten(kind="model", path=str(checkpoints.best), name="best")
    yield Finished(message=f"The model is in {checkpoints.best}.")


@dataclass
class _Level:
    """The training of one level as the run tells it."""

    request: TrainRequest
    distributed: Distributed
    trainer: LevelTrainer
    checkpoints: CheckpointManager
    novelty: Novelty
    until: int
    losses: list[float] = field(default_factory=list)
    said: float = -math.inf

    def train(self, patches: PatchDataset, held_out: PatchDataset) -> Generator[Event, None, Command]:
        """Train it; whatever ends it, a checkpoint is kept.

        Events are only yielded between two steps, where it may be closed: the fellows of this process then hear that it
        is the end before they begin the next step, which they could not do alone.

        Returns:
            STOP where the first process was stopped.
        """
        trainer, checkpoints, distributed = self.trainer, self.checkpoints, self.distributed
        self.begun, self.first = monotonic(), trainer.step
        kept = sampled = self.begun
        steps, order = trainer.run(patches, self.until), Command.GO
        try:
            yield Progress(stage=self.stage, step=self.first, total=self.until)
            if not self.first and self.request.start_from is not None:  # so that what is worse never counts as the best
                yield self.validate(held_out)
            while not self.finished():
                now = monotonic()
                sample = now - sampled >= 60 * self.request.sample_minutes
                keep = sample or now - kept >= 60 * self.request.checkpoint_minutes
                order = distributed.broadcast_command(Command.KEEP if keep else Command.GO)
                if order is Command.STOP:
                    break
                events = list(self.tell(next(steps)))
                if self.due(trainer.recipe.validations):
                    events.append(self.validate(held_out))
                if trainer.recipe.snapshots and (self.due(trainer.recipe.snapshots) or self.finished()):
                    checkpoints.note_averages(trainer)
                if order is Command.KEEP or self.finished():
                    events.append(checkpoints.keep(trainer))
                    kept = monotonic()
                if distributed.is_main and (sample or self.finished()):
                    events += self.sample()
                    sampled = monotonic()
                if self.finished() and trainer.step < self.until:
                    best = checkpoints.levels[trainer.index].best_step
                    events.append(Log(message=f"{self.stage} stops early: nothing was better than step {best}."))
                told = monotonic()
                yield from events
                held = monotonic() - told  # a pause is no time that learning took
                self.begun, kept, sampled = self.begun + held, kept + held, sampled + held
        except GeneratorExit:
            order = Command.STOP
            if not self.finished():
                distributed.broadcast_command(order)
            raise
        finally:
            steps.close()
            # Alone, whatever happened; together only where all know of the end.
            if checkpoints.levels[trainer.index].step < trainer.step and (
                distributed.world == 1 or order is Command.STOP
            ):
                checkpoints.keep(trainer)
        return order

    def validate(self, held_out: PatchDataset) -> Metric:
        """Ask the held-out subjects, and remember what does best."""
        loss = self.trainer.validate(held_out)
        self.checkpoints.validated(self.trainer, loss)
        return Metric(stage=self.stage, step=self.trainer.step, values={"validation_loss": loss})

    def sample(self) -> Iterator[Event]:
        """A brain by what has been learnt so far, always of the same seed, and how new it is."""
        written, brain = self.checkpoints.sample(self.request.seed)
        yield written
        if (novelty := self.novelty.of(brain)) is not None:
            yield Metric(stage=self.stage, step=self.trainer.step, values={"novelty": novelty})

    @property
    def stage(self) -> str:
        """Its name in events."""
        return f"level {self.trainer.index}"

    def finished(self) -> bool:
        """All steps are done, or it gets no better."""
        patience, stale = self.trainer.recipe.patience, self.checkpoints.levels[self.trainer.index].stale
        return self.trainer.step >= self.until or (patience is not None and stale >= patience)

    def due(self, times: int) -> bool:
        """Whether something that is done so many times, evenly, is to be done after this step."""
        step = self.trainer.step
        return step % math.ceil(self.until / times) == 0 or step == self.until

    def tell(self, done: StepDone) -> Iterator[Event]:
        """Where it stands, not oftener than anybody looks."""
        now = monotonic()
        self.losses.append(done.loss)
        if now - self.said < METRIC_SECONDS and done.step < self.until:
            return
        self.said = now
        left = seconds_left(self.begun, done.step - self.first, self.until - self.first)
        yield Progress(stage=self.stage, step=done.step, total=self.until, seconds_left=left)
        values = {"loss": sum(self.losses) / len(self.losses), "learning_rate": done.learning_rate}
        yield Metric(stage=self.stage, step=done.step, values=values | {"seconds_per_step": done.seconds})
        self.losses.clear()


def _preset(request: TrainRequest, run: Run, distributed: Distributed) -> Preset:
    """The preset with the request's changes; the run keeps it, so that resuming needs no other file."""
    kept = run.path / "preset.json"
    text = distributed.broadcast(
        kept.read_text() if kept.is_file() else preset_of(request).model_dump_json(indent=2) + "\n"
    )
    if distributed.is_main:
        write_whole(kept, text)
    return Preset.model_validate_json(text)


def _cohort(request: TrainRequest, run: Run, distributed: Distributed) -> Generator[Event, None, Cohort]:
    """The prepared cohort; a folder of volumes is prepared into the run first."""
    if (request.data / "zarr.json").is_file() or request.data.suffix == ".zarr":
        return Cohort.open(request.data)
    out = run.path / "cohort.zarr"
    if distributed.is_main:
        for event in prepare(PrepareRequest(data_dir=request.data, out=out), run):
            if not isinstance(event, Finished):
                yield event
    distributed.broadcast_command(Command.GO)  # the others wait for it
    return Cohort.open(out)


def _card(
    request: TrainRequest, chosen: Preset, cohort: Cohort, training: list[int], validation: list[int]
) -> dict[str, Any]:
    return {
        "name": request.data.stem,
        "preset": chosen.name or request.preset,
        "start_from": request.start_from,
        "recipes": [recipe.model_dump(mode="json") for recipe in chosen.recipes],
        "seed": request.seed,
        "preprocessing": cohort.preprocessing.model_dump(mode="json"),
        "preprocessing_hash": cohort.preprocessing.hash,
        "cohort_hash": cohort.hash,
        "split": {
            "train": [cohort.subjects[i].id for i in training],
            "validation": [cohort.subjects[i].id for i in validation],
        },
    }
