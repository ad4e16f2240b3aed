"""Anomaly maps: where a scan differs from what a model expects of a healthy brain, in units of healthy spread.

Noise is added to a scan at every level of the model, coarse to fine, and taken away again in one step, each level given
what the coarser one has made (partial diffusion: Wyatt et al. 2022, "AnoDDPM"; one step estimates the mean of what many
seeds would sample). The residual, scan less reconstruction, is averaged over noise levels and seeds, and divided by its
spread in healthy people (`normative`), since a model errs far more in the cortex than in white matter.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from braindiffusion.conditions import MapField, Value
from braindiffusion.diffusion.condition import Condition
from braindiffusion.models.condition_tensors import as_condition
from braindiffusion.models.generator import EditableGenerator, Generator, LevelContext, SeededNoise

Grid = NDArray[np.float32]
Mask = NDArray[np.bool_]

NOISE_LEVELS = (0.5, 2.0)
"""Noise levels (sigma, the coefficients have unit variance) of the residual."""
COARSE_SIGMA = 0.03
"""Noise of the coarse band that a level is given, as in sampling."""
BEYOND = 3.0
"""A voxel further from what is expected than this many healthy spreads counts in the score."""


@dataclass(frozen=True)
class Person:
    """What is known of the person of a scan: what the model is conditioned on.

    Attributes:
        regions: (x, y, z) region map in the model's box.
        age: years; None is unknown.
        sex: `F`, `M` or None.
    """

    regions: NDArray[np.uint8]
    age: float | None
    sex: str | None

    def condition(self, generator: Generator) -> Condition | None:
        """Return these as the condition of a model, as far as it has such fields, on its device."""
        known: dict[str, Value | NDArray[np.uint8]] = {}
        for field in generator.conditions.fields:
            if isinstance(field, MapField):
                known[field.name] = self.regions
            elif field.name == "age" and self.age is not None:
                known["age"] = self.age
            elif field.name == "sex" and self.sex is not None:
                known["sex"] = self.sex
        if not known:
            return None
        tensors = as_condition(generator.conditions, known, generator.shape)
        return {name: one.to(generator.device) for name, one in tensors.items()}


def residuals(
    generator: Generator, volume: Tensor, condition: Condition | None, where: Tensor, seeds: Sequence[int]
) -> Iterator[Tensor]:
    """Yield the residual of each noise level and seed: scan less reconstruction, (1, channels, x, y, z).

    Args:
        generator: the model, an `EditableGenerator`.
        volume: (1, channels, x, y, z) in [-1, 1], on the model's device.
        condition: of the person.
        where: (x, y, z) bool, the brain; elsewhere the reconstruction means nothing.
        seeds: of the noise.
    """
    for sigma in NOISE_LEVELS:
        for seed in seeds:
            yield volume - _reconstructed(generator, volume, condition, where, sigma, seed)


def score(spreads: Grid, brain: Mask, spacing: float) -> float:
    """Return the score of a map: how many ml of the brain lie more than `BEYOND` spreads from what is expected.

    Args:
        spreads: (x, y, z) anomaly map.
        brain: (x, y, z).
        spacing: voxel size in mm.
    """
    return float(np.count_nonzero(np.abs(spreads[brain]) > BEYOND) * spacing**3 / 1000)


@torch.inference_mode()
def _reconstructed(
    generator: Generator, volume: Tensor, condition: Condition | None, where: Tensor, sigma: float, seed: int
) -> Tensor:
    """Return a volume with noise added and removed at each level, given the reconstruction of the coarser levels."""
    if not isinstance(generator, EditableGenerator):
        msg = "Only a model whose levels can be called one by one reconstructs a volume."
        raise TypeError(msg)
    made = volume
    for level in range(len(generator.voxel_sizes)):
        own, given, given_sigma = generator.coefficients(volume, level), None, None
        noise = SeededNoise((seed,), level, tuple(own.shape[1:]), volume.device)
        coarse = generator.coarse_band(made, level)
        if coarse is not None:
            given_sigma = torch.full((1,), COARSE_SIGMA, device=volume.device)
            given = coarse + COARSE_SIGMA * noise(*coarse.shape[1:])
        context = LevelContext(level, (seed,), torch.tensor([sigma, 0.0]), given, given_sigma)
        denoiser = generator.denoiser(context, where)
        estimate = denoiser(own + sigma * noise(), torch.full((1,), sigma, device=volume.device), condition)
        made = generator.assemble(level, coarse, estimate.float())
    return made
