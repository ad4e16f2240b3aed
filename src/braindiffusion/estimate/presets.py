"""Memory of a preset on a GPU, counted without one."""

import torch

from braindiffusion.conditions import ConditionSchema
from braindiffusion.estimate.memory import learning, parameters, sampling, training_bytes
from braindiffusion.training.presets import Preset

BOX = (160, 208, 176)
"""Default box of `prepare` in millimetres, which holds a head."""


def preset_bytes(preset: Preset, spacing: float) -> int:
    """Return the peak of GPU memory in bfloat16 of a model without conditions; these add little.

    Args:
        preset: with its batch sizes.
        spacing: of the cohort in millimetres; its box holds 160 x 208 x 176 of them.
    """
    x, y, z = (round(n / spacing) for n in BOX)
    config = preset.cascade((x, y, z), spacing, 1, ConditionSchema())
    levels = range(config.number_of_levels)
    drawn = max(sampling(config, index, 1, torch.bfloat16).working for index in levels)
    steps = [learning(config, index, preset.recipes[index].batch_size, torch.bfloat16) for index in levels]
    return max(
        training_bytes(parameters(config), step, drawn, muon=recipe.optimizer == "muon")
        for step, recipe in zip(steps, preset.recipes, strict=True)
    )
