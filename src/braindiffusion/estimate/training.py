"""Estimate of a training: memory counted level by level, time measured by a few real steps of each."""

import importlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import median
from time import perf_counter

from braindiffusion.cohort.store import Cohort
from braindiffusion.devices import choose_precision
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.estimate.advice import in_words, mildest_change
from braindiffusion.estimate.device import free_bytes, held_bytes
from braindiffusion.estimate.memory import learning, parameters, sample_bytes, sampling, training_bytes
from braindiffusion.estimate.result import Estimate, LevelEstimate
from braindiffusion.models.cascade.cascade import Cascade
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig
from braindiffusion.models.registry import find_model, read_card
from braindiffusion.runs import TrainRequest
from braindiffusion.training.distributed import Distributed
from braindiffusion.training.patches import PatchDataset
from braindiffusion.training.plan import levels_of, levels_with_copies_of, preset_of, rows_of, with_level_for
from braindiffusion.training.presets import Preset
from braindiffusion.training.recipe import LevelRecipe
from braindiffusion.training.trainer import AHEAD, HELD_OUT, LevelTrainer, samples_at_once
from braindiffusion.training.warm_start import configuration_of

LEAST_SECONDS = 2.0
"""Time for which the steps of a level are measured, after a first step that chooses kernels."""
MOST_SECONDS = 5.0
"""Longest step that is measured; longer ones are extrapolated from two small batches."""
SMALL, LARGER = 2, 8
BORROWED = 1.5
"""Factor on the counted memory on a CPU, whose convolutions work on copies that are not counted. With it, large batches
are within a quarter of the measurements of `benchmarks/check_estimate.py`."""
MAKING = 60
"""Bytes a voxel while a pair of copies is made: volumes, masks, region maps before and after, and a sampling grid."""
FORWARD = 1 / 3
"""Share of the forward pass in a step."""


def training_estimates(request: TrainRequest) -> Iterator[Estimate]:
    """Yield the memory of a training in this process; then, where it fits, its time too.

    Raises:
        BrainDiffusionError: as the training itself before its first step; or the cohort is not prepared.
    """
    trial = _Trial(request)
    needs = {index: trial.bytes(trial.preset, index) for index in trial.wanted}
    available = free_bytes(trial.device)
    untimed = tuple(LevelEstimate(index, needs[index], trial.steps(index)) for index in trial.wanted)
    estimate = Estimate(str(trial.device), untimed, available, preset=trial.preset.name, defaults=trial.defaults())
    if not estimate.fits:
        hungriest = sorted(needs, key=lambda index: -needs[index])
        changes = mildest_change(
            request, lambda preset: all(trial.bytes(preset, index) <= available for index in hungriest)
        )
        yield replace(estimate, advice=in_words(changes), changes=changes)
        return
    yield estimate
    levels, sample = [], 0.0
    for index in trial.wanted:
        step, pair = trial.seconds(index)
        if index in trial.sampled(index):
            sample += trial.sampling_seconds(index, step)
        levels.append(trial.level(index, needs[index], step, pair, sample))
    yield replace(estimate, levels=tuple(levels), around=trial.begun)


class _Trial:
    """A training that is prepared and not started.

    Attributes:
        begun: seconds that it took to make it ready.
    """

    def __init__(self, request: TrainRequest) -> None:
        begun = perf_counter()
        if not (request.data / "zarr.json").is_file():
            msg = f"{request.data} is no prepared cohort: prepare it first, then ask what it will take."
            raise BrainDiffusionError(msg)
        self.request, chosen = request, preset_of(request)
        self.distributed, self.cohort = Distributed(request), Cohort.open(request.data)
        self.device = self.distributed.device
        self.dtype = choose_precision(self.device, request.precision)
        start = None if request.start_from is None else find_model(request.start_from)
        known = None if start is None else read_card(start).split
        self.preset, self.wanted, adds_level = with_level_for(self.cohort, start, chosen, levels_of(request, chosen))
        self.rows, held_out = rows_of(self.cohort, request.validation_subjects, known, adds_level=adds_level)
        self.validation_subjects = len({self.cohort.subjects[row].person for row in held_out})
        self.config = configuration_of(request, self.preset, self.cohort, self.rows, start)
        self.cascade = Cascade(self.config).to(self.device)
        if any(level.unet.checkpointing for level in self.preset.levels):
            importlib.import_module("torch._dynamo")  # as its first step will: 0.07 GB
        self.held = held_bytes(self.device)
        self.begun = perf_counter() - begun

    def steps(self, index: int) -> int:
        """Return the optimizer steps of a level."""
        recipe = self.preset.recipes[index]
        return recipe.steps(len(self.rows))

    def defaults(self) -> dict[str, float | list[float]]:
        """Return the numbers that the fields left out of the request stand for, of the levels that have one."""
        recipes = [self.preset.recipes[index] for index in self.wanted]
        numbers: dict[str, list[float | None]] = {
            name: [getattr(recipe, name) for recipe in recipes]
            for name in ("batch_size", "accumulate", "epochs", "patience")
        }
        numbers["patch"] = [self.preset.levels[index].patch for index in self.wanted]
        numbers["validation_subjects"] = [self.validation_subjects]
        found = {name: [one for one in values if one is not None] for name, values in numbers.items()}
        left_out = (name for name, values in found.items() if values and getattr(self.request, name) is None)
        return {name: found[name][0] if len(set(found[name])) == 1 else found[name] for name in left_out}

    def bytes(self, preset: Preset, index: int) -> int:
        """Return the memory while a level is trained."""
        recipe, on_cpu = preset.recipes[index], self.device.type == "cpu"
        config = _plain(self.config, preset.levels)
        at_once = samples_at_once(recipe.batch_size, self._sites(index, preset.levels[index].patch), self.device)
        step = learning(_plain(self.config, preset.levels, but=index), index, at_once, self.dtype)
        drawn = max(sampling(config, level, 1, self.dtype).working for level in self.sampled(index))
        weights = parameters(config)
        total = training_bytes(weights, step, drawn, muon=recipe.optimizer == "muon")
        if on_cpu:
            step = replace(step, working=round(BORROWED * step.working))
            # What was trained has its last and its best weights, too; all else is there once.
            kept = 2 * sum(weights[level] for level in self.wanted if level <= index)
            total = training_bytes(weights, step, drawn, 1, muon=recipe.optimizer == "muon") + kept
            total += self._data(index, recipe)
        return self.held + total

    def _sites(self, index: int, patch: int | None) -> int:
        """Return the sites of a sample of a level."""
        return math.prod(min(patch or side, side) for side in self.config.grid(index))

    def sampled(self, index: int) -> range:
        """Return the levels of a training sample while this one is trained: the trained ones from the coarsest on."""
        return range(max(1, next((i for i in range(index + 1) if i not in self.wanted), index + 1)))

    def _data(self, index: int, recipe: LevelRecipe) -> int:
        """Return the memory of the batches that are made ahead, and of making copies of brains, which lie on disk."""
        ahead = (AHEAD + 1) * recipe.samples() * sample_bytes(self.config, index)
        return ahead + AHEAD * MAKING * math.prod(self.config.shape) * self.config.channels

    def pairs(self, index: int) -> float:
        """Return the expected number of pairs of copies that a level takes; each is made once."""
        recipe = self.preset.recipes[index]
        pairs = len(self.rows) * max(1, math.ceil(recipe.augmented_copies / 2))
        return pairs * (1 - (1 - 1 / pairs) ** recipe.augmented_samples(self.steps(index)))

    def seconds(self, index: int) -> tuple[float, float]:
        """Return the time of a step of a level, and of making a pair of copies; 0 where an earlier level makes them."""
        recipe = self.preset.recipes[index]
        levels = levels_with_copies_of(self.preset, self.wanted, index)
        step = self._step_seconds(index, recipe)
        if index > min(levels, default=index):
            return step, 0.0
        copies = recipe.augmented_copies
        patches = PatchDataset(self.cohort, self.cascade, index, self.rows[:2], copies, 0, recipe.warp, levels)
        patches.brain(self.rows[0])  # reading for the first time takes longer
        begun = perf_counter()
        for row in self.rows[:2]:
            patches.brain(row, copies - 1)  # deformed, unlike the first ones
        return step, (perf_counter() - begun) / 2

    def _step_seconds(self, index: int, recipe: LevelRecipe) -> float:
        """Return the time of a step: measured, or extrapolated where a small batch shows that it takes too long."""
        samples = recipe.samples()
        small, larger = (
            recipe.model_copy(update={"batch_size": min(size, recipe.batch_size), "accumulate": 1})
            for size in (SMALL, LARGER)
        )
        step = self._tried(index, small)
        if samples == small.batch_size:
            return step
        if step * samples / small.batch_size < MOST_SECONDS:
            return self._tried(index, recipe)
        if larger.batch_size == small.batch_size:  # the same batch again and again makes such a step
            return step * samples / small.batch_size
        # Optimizer and averages take the same time whatever the batch.
        each = (self._tried(index, larger) - step) / (larger.batch_size - small.batch_size)
        return step + each * (samples - small.batch_size)

    def _tried(self, index: int, recipe: LevelRecipe) -> float:
        trainer = LevelTrainer(self.distributed, self.cascade, index, recipe, 0)
        patches = PatchDataset(self.cohort, self.cascade, index, self.rows[:2], 0, 0)
        taken: list[float] = []
        for done in trainer.run(patches, 1000):
            taken.append(done.seconds)
            if len(taken) > 1 and sum(taken[1:]) > LEAST_SECONDS:
                break
        return median(taken[1:])

    def sampling_seconds(self, index: int, step: float) -> float:
        """Return the time of a level's part of a training sample."""
        level, recipe = self.config.levels[index], self.preset.recipes[index]
        grid = self.config.grid(index)
        patch = math.prod(min(level.patch or n, n) for n in grid)
        return level.steps * FORWARD * step / recipe.samples() * math.prod(grid) / patch

    def level(self, index: int, needs: int, step: float, pair: float, sample: float) -> LevelEstimate:
        """Return the estimate of a level: steps, copies, validations, samples."""
        recipe, steps = self.preset.recipes[index], self.steps(index)
        learn, brains = steps * step, self.pairs(index) * pair
        # Another device works while the CPU makes brains; a CPU does both.
        total = learn + brains if self.device.type == "cpu" else max(learn, brains)
        asked = max(HELD_OUT, recipe.samples()) / recipe.samples() * FORWARD * step
        total += min(recipe.validations, steps) * asked
        total += (1 + total / (60 * self.request.sample_minutes)) * sample
        return LevelEstimate(index, needs, steps, step, total)


def _plain(config: CascadeConfig, levels: Sequence[LevelConfig], but: int | None = None) -> CascadeConfig:
    """Return the configuration without options of training at all levels but one, so that cached counts are reused."""
    plain = [
        level
        if index == but
        else level.model_copy(
            update={"patch": None, "unet": level.unet.model_copy(update={"checkpointing": False})},
        )
        for index, level in enumerate(levels)
    ]
    return config.model_copy(update={"levels": tuple(plain)})
