"""Inpainting: a hole of a volume is generated so that it fits what is known around it.

At each noise level the denoiser's estimate is assembled to a volume, its known voxels are replaced by the real ones,
and the level's coefficients are taken of that. A coefficient whose support is known is then exactly the real one, and
one whose support is partly known is a mixture by the share of known voxels (Lugmayr et al. 2022, "RePaint", and Wang
et al. 2023, "DDNM", where the data are pixels). The band that a level hands on is treated alike.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from braindiffusion.diffusion.condition import Condition
from braindiffusion.diffusion.denoiser import Denoiser, over
from braindiffusion.models.generator import EditableGenerator, LevelContext, SeededNoise

RESAMPLING_STREAM = 104729  # keeps the noise of resampling apart from that of the levels, which share the seed
RESAMPLED_LEVELS = 2
"""Levels at which noise levels are gone through again, coarsest first."""


class Inpainting:
    """A hook that keeps the known voxels of a volume, and the `BandEdit` that belongs to it.

    Args:
        generator: the model.
        volume: (1, channels, x, y, z) in [-1, 1]; what it holds in the hole does not matter.
        hole: (x, y, z) bool, the voxels to generate.
        resampling: how often each noise level is gone through again with fresh noise (RePaint's resampling); 1 goes
            through it once. Such steps let the hole settle with its surroundings.
    """

    def __init__(
        self,
        generator: EditableGenerator,
        volume: Tensor,
        hole: Tensor,
        *,
        resampling: int = 1,
    ) -> None:
        self._generator, self._volume, self._hole, self._resampling = generator, volume, hole, resampling
        self._coarse: dict[int, Tensor] = {}

    def edit_band(self, level: int, band: Tensor) -> Tensor:
        """Return the coarse band of a level with the known voxels in it."""
        known = self._with_known(self._generator.assemble(level, band))
        self._coarse[level] = band = _given(self._generator.coarse_band(known, level))
        return band

    def window(self, context: LevelContext, denoiser: Denoiser) -> Denoiser:
        """Return the network's denoiser where the hole is: the innermost hook, which saves most of the time."""
        return self._generator.denoiser(context, self._hole)

    def __call__(self, context: LevelContext, denoiser: Denoiser) -> Denoiser:
        """Return the denoiser of a level whose estimate agrees with the known voxels.

        On a moved grid it is as it was: `edit_band` restores the known voxels of what a level hands on, and who writes
        the volume those of the last.
        """
        if context.moved:
            return denoiser
        level, generator = context.level, self._generator

        def keeping(x: Tensor, sigma: Tensor, condition: Condition | None = None) -> Tensor:
            estimate = denoiser(x, sigma, condition)
            whole = generator.assemble(level, self._coarse.get(level), estimate)
            return generator.coefficients(self._with_known(whole), level)

        if self._resampling > 1 and level < RESAMPLED_LEVELS:
            return resampled(keeping, context, self._resampling)
        return keeping

    def _with_known(self, volume: Tensor) -> Tensor:
        return torch.where(self._hole, volume, self._volume)


def resampled(denoiser: Denoiser, context: LevelContext, times: int) -> Denoiser:
    """Return a denoiser that goes down a noise level and back up with fresh noise before it answers.

    A deterministic sampler of first order carries `x` along `(x - D) / sigma`, so that a change of its noise is the
    same at all later noise levels: x + sigma * shift is denoised instead of x, and the answers are those of that path.
    (Lugmayr et al. 2022, algorithm 1, with a jump length of 1.)

    Args:
        denoiser: D(x, sigma, condition).
        context: with the noise levels of the sampler.
        times: denoiser evaluations at each noise level.
    """
    sigmas = context.sigmas.double().tolist()
    shift: Tensor | float = 0.0
    fresh: Callable[..., Tensor] | None = None

    def again(x: Tensor, sigma: Tensor, condition: Condition | None = None) -> Tensor:
        nonlocal shift, fresh
        now = float(sigma[0])
        below = max((one for one in sigmas if one < now * (1 - 1e-6)), default=0.0)
        moved = x + over(sigma, x) * shift
        estimate = denoiser(moved, sigma, condition)
        if fresh is None:
            fresh = SeededNoise(context.seeds, RESAMPLING_STREAM + context.level, tuple(x.shape[1:]), x.device)
        for _ in range(times - 1 if below else 0):
            lower = estimate + (below / now) * (moved - estimate)
            moved = lower + math.sqrt(now**2 - below**2) * fresh()
            estimate = denoiser(moved, sigma, condition)
        shift = (moved - x) / over(sigma, x)
        return estimate

    return again


def _given(band: Tensor | None) -> Tensor:
    if band is None:
        msg = "Level 0 is given no coarse band."
        raise ValueError(msg)
    return band
