"""The job `train`: train a model on a cohort, level by level, the coarsest first."""

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import torch

from braindiffusion.cohort.store import Cohort
from braindiffusion.devices import return_free_memory
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import write_whole
from braindiffusion.models.card import Split
from braindiffusion.models.cascade.cascade import Cascade
from braindiffusion.models.registry import read_card
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
    Warned,
)
from braindiffusion.runs.durations import seconds_left
from braindiffusion.training.checkpoints import CheckpointManager, fitting, load_state
from braindiffusion.training.copy_cache import CopyCache
from braindiffusion.training.distributed import Command, Distributed
from braindiffusion.training.loss_watch import LossWatch
from braindiffusion.training.novelty import Novelty
from braindiffusion.training.optimizers import NotFiniteError
from braindiffusion.training.patches import PatchDataset
from braindiffusion.training.plan import (
    check_same_cohort,
    levels_of,
    levels_with_copies_of,
    preset_of,
    rows_of,
    usable_rows,
    with_level_for,
)
from braindiffusion.training.presets import Preset, preset
from braindiffusion.training.trainer import LevelTrainer, StepDone, fit_normalisation
from braindiffusion.training.warm_start import (
    configuration_of,
    copy_initial_model,
    load_initial_model,
)

METRIC_SECONDS = 1.0


def train(request: TrainRequest, run: Run) -> Iterator[Event]:
    """Train a cascade, or resume the training of this run.

    Every process of a launch performs this job, each with its part of every batch. Only the main process writes.

    Args:
        request: the cohort, and how to train.
        run: gets the checkpoints, samples, and (where `request.data` is a folder of volumes) the prepared cohort.

    Yields:
        Progress and Metric by level (`level 0` is the coarsest), CheckpointWritten, samples as previews.

    Raises:
        BrainDiffusionError: no cohort, no such preset, too few subjects, a damaged checkpoint, a loss that is not
            finite.
    """
    distributed = Distributed(request)
    start = copy_initial_model(request, run, distributed)
    chosen = _preset(request, run, distributed)
    wanted = levels_of(request, chosen)
    cohort = yield from _cohort(request, run, distributed)
    check_same_cohort(run, cohort, writes=distributed.is_main)
    chosen, wanted, adds_level = with_level_for(cohort, start, chosen, wanted)
    known = None if start is None else read_card(start).split
    training, validation = rows_of(cohort, request.validation_subjects, known, adds_level=adds_level)
    training = yield from usable_rows(cohort, training)
    validation = yield from usable_rows(cohort, validation)
    if not training:
        raise BrainDiffusionError(f"No subject of {cohort.path} can be trained on: see the warnings.")
    torch.manual_seed(request.seed)
    cascade = Cascade(configuration_of(request, chosen, cohort, training, start)).to(distributed.device)
    before = None if start is None else load_initial_model(cascade, start)

    card = _card(request, chosen, cohort, training, validation, known)
    if seen := card["split"]["seen_by_coarser_levels"]:
        msg = f"{len(seen)} of {len(validation)} validation subjects are held out from the finest level alone"
        yield Warned(message=f"{msg}: the levels below were trained on them.")
    checkpoints = CheckpointManager(run, cascade, card, before, writes=distributed.is_main)
    states = [load_state(checkpoints.resume_folder, index) for index in range(len(chosen.recipes))]
    for index, state in enumerate(states):
        level = cascade.level(index)
        if state is not None:
            with fitting(checkpoints.resume_folder, index):
                checkpoints.restore(index, state)
                for name, buffer in level.named_buffers():
                    buffer.copy_(state[f"constant.{name}"])
        elif before is None or not before[index]:
            brains = PatchDataset(cohort, cascade, index, training, 0, request.seed, cache=CopyCache(run.path))
            fit_normalisation(brains, level)
        checkpoints.set_buffers(index, dict(level.named_buffers()))
    novelty = Novelty(cohort, training, validation)
    levels: tuple[int, ...] = ()
    cache = CopyCache(run.path)
    for index in wanted:
        recipe = chosen.recipes[index]
        until = recipe.steps(len(training), distributed.world)
        trainer = LevelTrainer(distributed, cascade, index, recipe, request.seed, until)
        if (state := states[index]) is not None:
            with fitting(checkpoints.resume_folder, index):
                trainer.load(state)
            state = states[index] = None
        if levels != (group := levels_with_copies_of(chosen, wanted, index)):
            levels, cache = group, CopyCache(run.path)
        copies, seed = recipe.augmented_copies, request.seed
        augmented = recipe.augmented_samples(until, distributed.world)
        patches = PatchDataset(cohort, cascade, index, training, copies, seed, recipe.warp, levels, cache, augmented)
        held_out = PatchDataset(
            cohort, cascade, index, validation or training, 0, request.seed, cache=CopyCache(run.path)
        )
        level_training = _LevelTraining(request, distributed, trainer, checkpoints, novelty, until)
        if (yield from level_training.run(patches, held_out)) is Command.STOP:
            return
        del trainer, level_training  # before the next level has its own
        return_free_memory()
    yield ArtifactWritten(kind="model", path=str(checkpoints.best), name="best")
    yield Finished(message=f"The model is in {checkpoints.best}.")


@dataclass
class _LevelTraining:
    """The training of one level: steps, validations, checkpoints, samples, and the events of these."""

    request: TrainRequest
    distributed: Distributed
    trainer: LevelTrainer
    checkpoints: CheckpointManager
    novelty: Novelty
    until: int
    losses: list[float] = field(default_factory=list)
    watch: LossWatch = field(default_factory=LossWatch)
    warned: bool = False
    reported: float = -math.inf

    def run(self, patches: PatchDataset, held_out: PatchDataset) -> Generator[Event, None, Command]:
        """Train the level. However it ends, a checkpoint is written.

        Events are yielded only between two steps, where the generator may be closed. The other processes then receive
        STOP before the next step, which they could not do alone.

        Returns:
            STOP where the main process was stopped.
        """
        trainer, checkpoints, distributed = self.trainer, self.checkpoints, self.distributed
        self.started, self.first = monotonic(), trainer.step
        saved = sampled = self.started
        steps, command = trainer.run(patches, self.until), Command.STEP
        try:
            yield Progress(stage=self.stage, step=self.first, total=self.until)
            # A warm start is validated first, so that worse weights never count as the best.
            if not self.first and self.request.start_from is not None:
                yield from list(self.validate(held_out))
            while not self.finished():
                now = monotonic()
                sample = now - sampled >= 60 * self.request.sample_minutes
                save = sample or now - saved >= 60 * self.request.checkpoint_minutes
                save, sample = save and not self.watch.rising, sample and not self.watch.rising
                command = distributed.broadcast_command(Command.SAVE if save else Command.STEP)
                if command is Command.STOP:
                    break
                progress = list(self.report(self.next_step(steps)))
                events = list(self.validate(held_out)) if self.due(trainer.recipe.validations) else []
                events += progress
                if trainer.recipe.snapshots and (self.due(trainer.recipe.snapshots) or self.finished()):
                    checkpoints.save_averages(trainer)
                if (command is Command.SAVE and not self.watch.rising) or self.finished():
                    events.append(checkpoints.save(trainer))
                    saved = monotonic()
                if distributed.is_main and (sample or self.finished()):
                    events += self.sample()
                    sampled = monotonic()
                if self.finished() and trainer.step < self.until:
                    best = checkpoints.levels[trainer.index].best_step
                    events.append(Log(message=f"{self.stage} stops early: nothing was better than step {best}."))
                yielded = monotonic()
                yield from events
                paused = monotonic() - yielded  # a pause is not training time
                self.started, saved, sampled = self.started + paused, saved + paused, sampled + paused
        except GeneratorExit:
            command = Command.STOP
            if not self.finished():
                distributed.broadcast_command(command)
            raise
        finally:
            steps.close()
            # A single process saves whatever happened; several only where all of them stop here.
            unsaved = checkpoints.levels[trainer.index].step < trainer.step and not self.watch.rising
            if unsaved and (distributed.world == 1 or command is Command.STOP):
                checkpoints.save(trainer)
        return command

    def next_step(self, steps: Generator[StepDone]) -> StepDone:
        """Return the next step.

        Raises:
            BrainDiffusionError: the loss has risen far above what it was, or is no number.
        """
        try:
            done = next(steps)
        except NotFiniteError as error:
            if self.watch.rising:
                raise self.diverged() from error
            raise
        self.watch.add(done.loss)
        if self.watch.diverged:
            raise self.diverged()
        return done

    def diverged(self) -> BrainDiffusionError:
        """Return the error of a training whose loss has risen. What was trained since the last checkpoint is lost."""
        kept = self.checkpoints.levels[self.trainer.index].step
        last = f"The checkpoint of step {kept}, from before, is kept" if kept else "There was no checkpoint yet"
        return BrainDiffusionError(
            f"The training of {self.stage} has diverged by step {self.trainer.step}: its loss rose from "
            f"{self.watch.lowest:.3g} to {self.watch.mean:.3g}. {last}: begin again with a lower learning rate or in "
            "float32."
        )

    def validate(self, held_out: PatchDataset) -> Iterator[Event]:
        """Compute the validation loss, and keep the weights if it is the best. One that is no number is told once."""
        loss = self.trainer.validate(held_out)
        self.checkpoints.record_validation(self.trainer, loss)
        yield Metric(stage=self.stage, step=self.trainer.step, values={"validation_loss": loss})
        if not math.isfinite(loss) and not self.warned:
            self.warned = True
            what = f"The validation loss of {self.stage} is not finite at step {self.trainer.step}"
            yield Warned(message=f"{what}: such weights are never kept as the best.")

    def sample(self) -> Iterator[Event]:
        """Generate a brain of the request's seed with the present weights, and measure its novelty."""
        written, brain = self.checkpoints.sample(self.request.seed)
        yield written
        if self.request.content == "image" and (novelty := self.novelty.of(brain)) is not None:
            yield Metric(stage=self.stage, step=self.trainer.step, values={"novelty": novelty})

    @property
    def stage(self) -> str:
        """Name of the level in events."""
        return f"level {self.trainer.index}"

    def finished(self) -> bool:
        """Return whether all steps are done, or the validation loss has stopped to fall."""
        patience, stale = self.trainer.recipe.patience, self.checkpoints.levels[self.trainer.index].stale
        return self.trainer.step >= self.until or (patience is not None and stale >= patience)

    def due(self, times: int) -> bool:
        """Return whether an action that happens so many times, evenly, is due after this step."""
        step = self.trainer.step
        return step % math.ceil(self.until / times) == 0 or step == self.until

    def report(self, done: StepDone) -> Iterator[Event]:
        """Yield progress and metrics, at most once in `METRIC_SECONDS`."""
        now = monotonic()
        self.losses.append(done.loss)
        if now - self.reported < METRIC_SECONDS and done.step < self.until:
            return
        self.reported = now
        left = seconds_left(self.started, done.step - self.first, self.until - self.first)
        values = {"loss": sum(self.losses) / len(self.losses), "learning_rate": done.learning_rate}
        yield Metric(stage=self.stage, step=done.step, values=values | self.trainer.speed(done))
        yield Progress(stage=self.stage, step=done.step, total=self.until, seconds_left=left)
        self.losses.clear()


def _preset(request: TrainRequest, run: Run, distributed: Distributed) -> Preset:
    """Return the preset with the request's changes, and write it into the run, so that resuming needs no other file."""
    file = run.path / "preset.json"
    chosen = preset(str(file)) if file.is_file() else preset_of(request)
    text = distributed.broadcast(chosen.model_dump_json(indent=2) + "\n")
    if distributed.is_main:
        write_whole(file, text)
    return Preset.model_validate_json(text)


def _cohort(request: TrainRequest, run: Run, distributed: Distributed) -> Generator[Event, None, Cohort]:
    """Return the prepared cohort; a folder of volumes is prepared into the run first."""
    if (request.data / "zarr.json").is_file() or request.data.suffix == ".zarr":
        return Cohort.open(request.data)
    from braindiffusion.cohort.prepare import prepare  # with the libraries of its checks, which training does not need

    out = run.path / "cohort.zarr"
    if distributed.is_main:
        for event in prepare(PrepareRequest(data_dir=request.data, out=out), run):
            if not isinstance(event, Finished):
                yield event
    distributed.broadcast_command(Command.STEP)  # the other processes wait for it
    return Cohort.open(out)


def _card(
    request: TrainRequest,
    chosen: Preset,
    cohort: Cohort,
    training: list[int],
    validation: list[int],
    known: Split | None,
) -> dict[str, Any]:
    learnt = set(known.train or ()) if known is not None else set()
    learnt |= set(known.seen_by_coarser_levels) if known is not None else set()
    people = {subject.person for subject in cohort.subjects if subject.id in learnt}
    seen = [cohort.subjects[i].id for i in validation if cohort.subjects[i].person in people]
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
            "seen_by_coarser_levels": seen,
        },
    }
