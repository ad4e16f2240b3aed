"""Measure how much sooner the present training recipe reaches the validation loss of the former one.

    python benchmarks/measure_recipes.py ixi.zarr --levels 0 1 --steps 90

Of each level, a network is trained with the former recipe (AdamW, warm-up, then a rate that falls as one over the
square root of the step) for some steps. The same network, from the same initial weights and with the same
batches, is then trained with the present recipe (Muon, a rate that falls to zero) for a third of the steps, for half of
them if that does not reach the validation loss of the former one, and for all of them if neither does. The ratio
is that of the processor seconds until this loss, on the same held-out subjects and noise; validation is not counted.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import torch

from braindiffusion.cohort.store import Cohort
from braindiffusion.models.cascade import Cascade
from braindiffusion.runs import TrainRequest
from braindiffusion.training.copy_cache import CopyCache
from braindiffusion.training.distributed import Distributed
from braindiffusion.training.patches import PatchDataset
from braindiffusion.training.plan import preset_of, rows_of
from braindiffusion.training.recipe import LevelRecipe
from braindiffusion.training.trainer import LevelTrainer, fit_normalisation
from braindiffusion.training.warm_start import configuration_of

FORMER: dict[str, Any] = {"optimizer": "adamw", "learning_rate": 6e-4, "constant": 300, "decay": 0.0}
"""As `ixi-2mm` was first trained: see the recipe of level 0 in its card."""
FORMER_WARMUP = 100
"""Steps of its warm-up, or a tenth of all where that is less, as in the present recipe."""
SHARES = (1 / 3, 1 / 2, 1.0)
"""Steps of the present recipe, over those of the former one."""
VALIDATIONS = 8


@dataclass(frozen=True)
class Point:
    """A validation: steps, processor seconds until then, loss."""

    step: int
    seconds: float
    loss: float


class Level:
    """One level, to be trained several times from the same initial weights."""

    def __init__(self, request: TrainRequest, index: int) -> None:
        self.request, self.index = request, index
        self.cohort, self.preset = Cohort.open(request.data), preset_of(request)
        self.training, self.validation = rows_of(self.cohort, request.validation_subjects)
        self.recipe = self.preset.recipes[index]
        self.cache = CopyCache()  # augmented copies are made once, and their time is not counted
        self.processes = Distributed(request)

    def begin(self, recipe: LevelRecipe, steps: int, **settings: float) -> tuple[LevelTrainer, PatchDataset]:
        """Return a trainer of the initial weights, and its training data, whose copies are made.

        Args:
            recipe: by which it will be trained.
            steps: of the whole training.
            settings: of the level's configuration that differ from the preset's.
        """
        torch.manual_seed(self.request.seed)
        config = configuration_of(self.request, self.preset, self.cohort, self.training, None)
        levels = list(config.levels)
        levels[self.index] = levels[self.index].model_copy(update=settings)
        cascade = Cascade(config.model_copy(update={"levels": tuple(levels)}))
        fit_normalisation(
            PatchDataset(self.cohort, cascade, self.index, self.training, 0, 0), cascade.level(self.index)
        )
        copies, seed = recipe.augmented_copies, self.request.seed
        augmented = recipe.augmented_samples(steps)
        patches = PatchDataset(
            self.cohort,
            cascade,
            self.index,
            self.training,
            copies,
            seed,
            recipe.warp,
            cache=self.cache,
            augmented=augmented,
        )
        for subject in self.training:
            for copy in range(-1, copies):
                patches.brain(subject, copy)
        return LevelTrainer(self.processes, cascade, self.index, recipe, seed, steps), patches

    def held_out(self, cascade: Cascade) -> PatchDataset:
        """Return the validation data."""
        return PatchDataset(self.cohort, cascade, self.index, self.validation, 0, self.request.seed)

    def trained(self, recipe: LevelRecipe, steps: int) -> Iterator[Point]:
        """Train, and validate evenly."""
        trainer, patches = self.begin(recipe, steps)
        held_out = self.held_out(patches.cascade)
        spent = 0.0
        due = {round(steps * n / VALIDATIONS) for n in range(1, VALIDATIONS + 1)}
        running = trainer.run(patches, steps)
        for _ in range(steps):
            begun = process_time()
            next(running)
            spent += process_time() - begun
            if trainer.step in due:
                point = Point(trainer.step, spent, trainer.validate(held_out))
                sys.stderr.write(f"{recipe.optimizer}: {point}\n")
                yield point
        running.close()


def seconds_until(points: list[Point], loss: float) -> float | None:
    """Return the processor seconds until a loss was reached, between two validations by interpolation; None if never.

    >>> seconds_until([Point(1, 10, 0.5), Point(2, 20, 0.3)], 0.4)
    15.0
    """
    before: Point | None = None
    for point in points:
        if point.loss <= loss:
            if before is None:
                return point.seconds
            share = (before.loss - loss) / (before.loss - point.loss)
            return before.seconds + share * (point.seconds - before.seconds)
        before = point
    return None


def compare(level: Level, steps: int) -> dict[str, Any]:
    """Return processor seconds of both recipes until the last loss of the former one, and their ratio."""
    warmup = min(FORMER_WARMUP, steps // 10)
    *_, last = level.trained(level.recipe.model_copy(update={**FORMER, "warmup": warmup}), steps)
    found: dict[str, Any] = {"loss": last.loss, "former steps": last.step, "former seconds": last.seconds}
    for share in SHARES:
        fewer = max(VALIDATIONS, round(share * steps))
        present = list(level.trained(level.recipe, fewer))
        seconds = seconds_until(present, last.loss)
        if seconds is not None:
            break
    found |= {"present steps": fewer, "present loss": present[-1].loss, "present seconds": seconds}
    return found | {"ratio": None if seconds is None else last.seconds / seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="a prepared cohort")
    parser.add_argument("--preset", default="laptop")
    parser.add_argument("--levels", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=90, help="steps of the former recipe")
    parser.add_argument("--copies", type=int, default=0, help="augmented copies of each subject, for both recipes")
    parser.add_argument("--validation-subjects", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args()
    request = TrainRequest(
        data=chosen.data, preset=chosen.preset, validation_subjects=chosen.validation_subjects, device=chosen.device
    )
    for index in chosen.levels:
        level = Level(request, index)
        level.recipe = level.recipe.model_copy(update={"augmented_copies": chosen.copies, "interpolation": "linear"})
        sys.stdout.write(json.dumps({"level": index, **compare(level, chosen.steps)}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
