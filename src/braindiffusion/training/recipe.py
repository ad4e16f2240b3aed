"""The recipe by which one level of a cascade is trained: samples, augmentation, optimizer, schedule, validation."""

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from braindiffusion.diffusion.weights import Weighting
from braindiffusion.training.augment import Interpolation, Warp

WARMUP = 200
"""Steps of linear warm-up where a recipe names none."""


class LevelRecipe(BaseModel):
    """The training of one level."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_size: int = Field(ge=1)
    """Samples of each process at once."""
    accumulate: int = Field(default=1, ge=1)
    """Batches whose gradients are added for one step: a larger batch in the memory of one."""
    epochs: float = Field(gt=0)
    """Passes over the training subjects, with one patch of each subject."""
    augmented_copies: int = Field(default=2, ge=0)
    """Augmented copies of each brain: the brain, its mirror image, and others deformed by the next
    three options; 0 for the brain as it is."""
    unaugmented: float = Field(default=0.0, ge=0, le=1)
    """Share of the steps, at the end, that take brains as they are: copies, mirror images above all, pull the mean of
    what is generated away from people."""
    affine: bool = True
    """Rotate, scale and shift copies a little."""
    elastic: float = Field(default=0.0, ge=0, le=20)
    """Largest elastic displacement of copies in mm."""
    bias: float = Field(default=0.0, ge=0, le=1)
    """Largest coefficient of a polynomial bias field in copies; 0.1 is a few per cent."""
    interpolation: Interpolation = "linear"
    """Interpolation of deformed copies: linear is fast; cubic splines keep fine texture and thin parts of region maps,
    at about a second for each copy of 2 mm."""
    optimizer: Literal["muon", "adamw"] = "muon"
    """Muon for the matrices within the network and AdamW for the rest, or AdamW for all."""
    learning_rate: float = Field(default=6e-4, gt=0)
    """Highest learning rate of AdamW."""
    muon_learning_rate: float = Field(default=2e-3, gt=0)
    """Highest learning rate of Muon, whose updates are as large as AdamW's."""
    warmup: int | None = Field(default=None, ge=0)
    """Steps of linear warm-up; None takes 200, or a tenth of the steps where that is less."""
    decay: float = Field(default=0.25, ge=0, le=1)
    """Share of the steps, at the end, in which the learning rate falls to zero, linearly."""
    constant: int | None = Field(default=None, ge=1)
    """Steps after which the rate falls as one over the square root of the step (Karras et al. 2024), or None."""
    weight_decay: float = Field(default=1e-2, ge=0)
    """Share of a weight that is taken away at each step, times the learning rate."""
    max_norm: float = Field(default=1.0, gt=0)
    """Norm to which gradients are clipped."""
    weighting: Weighting = "none"
    """Loss weight of noise levels: see `diffusion.weights`."""
    min_snr_gamma: float = Field(default=5.0, gt=0)
    """Signal-to-noise ratio at which the weight `min_snr` stops growing."""
    band_weights: tuple[float, ...] | None = None
    """Loss weight of each band (7 of a detail level, 1 of the coarsest), relative to each other; None: all alike."""
    validations: int = Field(default=20, ge=1)
    """Number of validations, evenly over the training."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after so many validations without a better one; None trains to the end. The best weights are kept anyway."""
    snapshots: int = Field(default=8, ge=0)
    """Number of times that both averages of the weights are stored, evenly, for a post-hoc average."""

    @model_validator(mode="before")
    @classmethod
    def _earlier_names(cls, values: Any) -> Any:
        """Read what earlier versions wrote into preset files and model cards; they knew AdamW without decay alone."""
        if isinstance(values, dict) and "variants" in values:
            values = {"optimizer": "adamw", "decay": 0.0, **values, "augmented_copies": values["variants"]}
            del values["variants"]
        return values

    def samples(self, processes: int = 1) -> int:
        """Return the samples of one step of all processes together."""
        return self.batch_size * self.accumulate * processes

    def steps(self, subjects: int, processes: int = 1) -> int:
        """Return the optimizer steps of a training on some subjects."""
        return max(1, math.ceil(self.epochs * subjects / self.samples(processes)))

    def augmented_samples(self, steps: int, processes: int = 1) -> int:
        """Return how many samples of a training of some steps are of augmented copies; those after them are not."""
        return round((1 - self.unaugmented) * steps) * self.samples(processes)

    def rate_scale(self, step: int, steps: int | None) -> float:
        """Return the share of the highest learning rate at a step.

        Args:
            step: from 1.
            steps: of the whole training; None where its end is not known, for a rate that does not fall to zero.
        """
        warmup = self.warmup
        if warmup is None:
            warmup = WARMUP if steps is None else min(WARMUP, steps // 10)
        scale = min(1.0, step / max(1, warmup))
        if self.constant is not None:
            scale *= min(1.0, math.sqrt(self.constant / step))
        if steps is not None and self.decay:
            scale *= min(1.0, (steps + 1 - step) / (self.decay * steps + 1))
        return scale

    @property
    def warp(self) -> Warp:
        """The deformations of the augmented copies."""
        return Warp(self.affine, self.elastic, self.bias, self.interpolation)
