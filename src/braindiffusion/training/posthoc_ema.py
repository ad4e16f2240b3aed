"""A finished training's model with another memory: an average of any width, made of those that were written down."""

from pathlib import Path

import torch

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.cascade.files import load_cascade, save_model
from braindiffusion.runs import Run
from braindiffusion.training.checkpoint_files import load_averages
from braindiffusion.training.ema import SIGMA_RELS, posthoc_coefficients

LEAST = 4
"""Moments that it takes: with four, the result is off by a fifth of what separates it from the average that was kept
(on random walks); with eight, by a thirtieth."""


@torch.no_grad()
def save_posthoc_ema(run: Run, width: float, out: Path) -> Path:
    """Write the model that averaging with another relative width would have given (Karras et al. 2024, section 3.2).

    Args:
        run: a training.
        width: relative width, for instance 0.07; between 0.03 and 0.2 it is accurate.
        out: model folder to write.

    Raises:
        BrainDiffusionError: the run kept no model, or too few averages; the width is none.
    """
    cascade, card = load_cascade(run.checkpoints / "last")
    steps = []
    for index in range(cascade.config.number_of_levels):
        noted = load_averages(run.checkpoints / "averages", index)
        if card["steps"][index] and len(noted) < LEAST:
            noticed = f"noted its averages {len(noted)} times, and it takes {LEAST}"
            msg = f"Level {index} of {run.name} {noticed}: train longer."
            raise BrainDiffusionError(msg)
        steps.append(max(noted, default=0))
        if not noted:
            continue
        keys = [(step, one) for step in noted for one in SIGMA_RELS]
        try:
            shares = posthoc_coefficients([step for step, _ in keys], [one for _, one in keys], steps[-1], width)
        except ValueError as error:
            raise BrainDiffusionError(str(error)) from error
        for name, parameter in cascade.level(index).named_parameters():
            stored = torch.stack([noted[step][f"ema.{one}.{name}"] for step, one in keys])
            parameter.copy_(torch.tensordot(torch.from_numpy(shares).float(), stored, 1))
    save_model(cascade, out, {**card, "steps": steps, "validation_loss": [None] * len(steps), "average_width": width})
    return out
