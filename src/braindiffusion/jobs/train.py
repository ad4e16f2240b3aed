"""The job `train`: a cohort in, a model out, level by level, coarse first."""

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import torch

from braindiffusion.cohort.preprocess import prepare
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
from braindiffusion.runs.files import write_whole
from braindiffusion.training.checkpoint_files import load_state
from braindiffusion.training.checkpoints import Keeper
from braindiffusion.training.distributed import Crew, Order
from braindiffusion.training.novelty import Novelty
from braindiffusion.training.patches import Patches
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
    crew = Crew(request)
    start = keep_start(request, run, crew)
    chosen = _preset(request, run, crew)
    wanted = levels_of(request, chosen)
    cohort = yield from _cohort(request, run, crew)
    training, validation = rows_of(cohort, request.validation_subjects)
    torch.manual_seed(request.seed)
    cascade = Cascade(configuration_of(request, chosen, cohort, training, start)).to(crew.fabric.device)
    before = None if start is None else load_start(cascade, start)

    keeper = Keeper(run, cascade, _card(request, chosen, cohort, training, validation), before, writes=crew.leads)
    states = [load_state(keeper.resume_folder, index) for index in range(len(chosen.recipes))]
    for index, state in enumerate(states):
        level = cascade.level(index)
        if state is None:
            if start is None:
                fit_normalisation(Patches(cohort, cascade, index, training, 0, request.seed), level)
        else:
            keeper.restore(index, state)
            for name, buffer in level.named_buffers():
                buffer.copy_(state[f"constant.{name}"])
        keeper.constants(index, dict(level.named_buffers()))
    novelty = Novelty(cohort, training, validation)
    for index in wanted:
        recipe = chosen.recipes[index]
        trainer = LevelTrainer(crew, cascade, index, recipe, request.seed)
        if (state := states[index]) is not None:
            trainer.load(state)
        seen = Patches(cohort, cascade, index, training, recipe.variants, request.seed, recipe.warp)
        held_out = Patches(cohort, cascade, index, validation or training, 0, request.seed)
        until = max(1, math.ceil(recipe.epochs * len(training) / trainer.samples))
        if (yield from _Level(request, crew, trainer, keeper, novelty, until).train(seen, held_out)) is Order.STOP:
            return
    yield ArtifactWritten(kind="model", path=str(keeper.best), name="best")
    yield Finished(message=f"The model is in {keeper.best}.")


@dataclass
class _Level:
    """The training of one level as the run tells it."""

    request: TrainRequest
    crew: Crew
    trainer: LevelTrainer
    keeper: Keeper
    novelty: Novelty
    until: int
    losses: list[float] = field(default_factory=list)
    said: float = -math.inf

    def train(self, patches: Patches, held_out: Patches) -> Generator[Event, None, Order]:
        """Train it; whatever ends it, a checkpoint is kept.

        Events are only yielded between two steps, where it may be closed: the fellows of this process then hear that it
        is the end before they begin the next step, which they could not do alone.

        Returns:
            STOP where the first process was stopped.
        """
        trainer, keeper, crew = self.trainer, self.keeper, self.crew
        self.begun, self.first = monotonic(), trainer.step
        kept = sampled = self.begun
        steps, order = trainer.run(patches, self.until), Order.GO
        try:
            yield Progress(stage=self.stage, step=self.first, total=self.until)
            if not self.first and self.request.start_from is not None:  # so that what is worse never counts as the best
                yield self.validate(held_out)
            while not self.finished():
                now = monotonic()
                sample = now - sampled >= 60 * self.request.sample_minutes
                keep = sample or now - kept >= 60 * self.request.checkpoint_minutes
                order = crew.agree(Order.KEEP if keep else Order.GO)
                if order is Order.STOP:
                    break
                events = list(self.tell(next(steps)))
                if self.due(trainer.recipe.validations):
                    events.append(self.validate(held_out))
                if trainer.recipe.snapshots and (self.due(trainer.recipe.snapshots) or self.finished()):
                    keeper.note_averages(trainer)
                if order is Order.KEEP or self.finished():
                    events.append(keeper.keep(trainer))
                    kept = monotonic()
                if crew.leads and (sample or self.finished()):
                    events += self.sample()
                    sampled = monotonic()
                if self.finished() and trainer.step < self.until:
                    best = keeper.levels[trainer.index].best_step
                    events.append(Log(message=f"{self.stage} stops early: nothing was better than step {best}."))
                told = monotonic()
                yield from events
                held = monotonic() - told  # a pause is no time that learning took
                self.begun, kept, sampled = self.begun + held, kept + held, sampled + held
        except GeneratorExit:
            order = Order.STOP
            if not self.finished():
                crew.agree(order)
            raise
        finally:
            steps.close()
            # Alone, whatever happened; together only where all know of the end.
            if keeper.levels[trainer.index].step < trainer.step and (crew.world == 1 or order is Order.STOP):
                keeper.keep(trainer)
        return order

    def validate(self, held_out: Patches) -> Metric:
        """Ask the held-out subjects, and remember what does best."""
        loss = self.trainer.validate(held_out)
        self.keeper.validated(self.trainer, loss)
        return Metric(stage=self.stage, step=self.trainer.step, values={"validation_loss": loss})

    def sample(self) -> Iterator[Event]:
        """A brain by what has been learnt so far, always of the same seed, and how new it is."""
        written, brain = self.keeper.sample(self.request.seed)
        yield written
        if (novelty := self.novelty.of(brain)) is not None:
            yield Metric(stage=self.stage, step=self.trainer.step, values={"novelty": novelty})

    @property
    def stage(self) -> str:
        """Its name in events."""
        return f"level {self.trainer.index}"

    def finished(self) -> bool:
        """All steps are done, or it gets no better."""
        patience, stale = self.trainer.recipe.patience, self.keeper.levels[self.trainer.index].stale
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
        left = (now - self.begun) / (done.step - self.first) * (self.until - done.step)
        yield Progress(stage=self.stage, step=done.step, total=self.until, seconds_left=left)
        values = {"loss": sum(self.losses) / len(self.losses), "learning_rate": done.learning_rate}
        yield Metric(stage=self.stage, step=done.step, values=values | {"seconds_per_step": done.seconds})
        self.losses.clear()


def _preset(request: TrainRequest, run: Run, crew: Crew) -> Preset:
    """The preset with the request's changes; the run keeps it, so that resuming needs no other file."""
    kept = run.path / "preset.json"
    text = crew.tell(kept.read_text() if kept.is_file() else preset_of(request).model_dump_json(indent=2) + "\n")
    if crew.leads:
        write_whole(kept, text)
    return Preset.model_validate_json(text)


def _cohort(request: TrainRequest, run: Run, crew: Crew) -> Generator[Event, None, Cohort]:
    """The prepared cohort; a folder of volumes is prepared into the run first."""
    if (request.data / "zarr.json").is_file() or request.data.suffix == ".zarr":
        return Cohort.open(request.data)
    out = run.path / "cohort.zarr"
    if crew.leads:
        for event in prepare(PrepareRequest(data_dir=request.data, out=out), run):
            if not isinstance(event, Finished):
                yield event
    crew.agree(Order.GO)  # the others wait for it
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
