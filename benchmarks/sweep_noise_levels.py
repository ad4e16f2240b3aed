"""Compare noise levels of training: the same network, trained with several means of log sigma.

    python benchmarks/sweep_noise_levels.py ixi.zarr --levels 1 2 --means -0.9 -0.3 0.3 --steps 150

Each training of a level has the same initial weights, batches and number of steps. Losses of different noise levels do
not compare, so each trained network is validated at the same noise levels: those of the level's sampler. Printed is the
loss at each, and their mean.
"""

import argparse
import json
import math
import sys
from pathlib import Path
from time import process_time

from measure_recipes import Level

from braindiffusion.runs import TrainRequest
from braindiffusion.training.recipe import LevelRecipe

NARROW = 0.01
"""Standard deviation of log sigma in a validation at one noise level."""


def losses(level: Level, recipe: LevelRecipe, steps: int, mean: float) -> dict[float, float]:
    """Train with a mean of log sigma; return the validation loss by noise level of the sampler."""
    trainer, patches = level.begin(recipe, steps, log_sigma_mean=mean)
    begun = process_time()
    for _ in trainer.run(patches, steps):
        pass
    sys.stderr.write(f"level {level.index}, mean {mean}: {process_time() - begun:.0f} processor seconds\n")
    held_out, config = level.held_out(patches.cascade), trainer.level.config
    found = {}
    for sigma in config.sampling_sigmas(config.steps)[:-1].tolist():
        narrow = {"log_sigma_mean": math.log(sigma), "log_sigma_std": NARROW}
        trainer.level.config = config.model_copy(update=narrow)
        found[sigma] = trainer.validate(held_out)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="a prepared cohort")
    parser.add_argument("--preset", default="laptop")
    parser.add_argument("--levels", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--means", type=float, nargs="+", default=[-0.9, -0.3, 0.3], help="means of log sigma")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--copies", type=int, default=0, help="augmented copies of each subject")
    parser.add_argument("--validation-subjects", type=int, default=30)
    chosen = parser.parse_args()
    request = TrainRequest(data=chosen.data, preset=chosen.preset, validation_subjects=chosen.validation_subjects)
    for index in chosen.levels:
        level = Level(request, index)
        recipe = level.recipe.model_copy(update={"augmented_copies": chosen.copies, "interpolation": "linear"})
        for mean in chosen.means:
            found = losses(level, recipe, chosen.steps, mean)
            by_sigma = {f"{sigma:.3g}": round(loss, 4) for sigma, loss in found.items()}
            average = round(sum(found.values()) / len(found), 4)
            row = {"level": index, "mean of log sigma": mean, "loss": average, "loss by sigma": by_sigma}
            sys.stdout.write(json.dumps(row) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
