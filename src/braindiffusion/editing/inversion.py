"""Inversion: the noise from which a model would generate a real volume, level by level.

A sampler that starts from that noise with the condition of the volume gives the volume back; with another condition it
gives a counterfactual: the same brain, older for instance (Song, Meng and Ermon 2021, section 4.3). The noise of two
volumes can be interpolated (their section 5.3).
"""

from dataclasses import replace

import torch
from torch import Tensor

from braindiffusion.diffusion.condition import Condition
from braindiffusion.diffusion.denoiser import Denoiser, over
from braindiffusion.diffusion.samplers import ddim_inversion
from braindiffusion.models.generator import EditableGenerator, LevelContext


class Inversion:
    """A hook under which each level starts from the noise of a volume, and the `BandEdit` that belongs to it.

    It needs a deterministic sampler of first order (`ddim` without eta), whose answers for x + sigma * shift are its
    answers for x, shifted: so the noise of the seed is replaced without the sampler knowing.

    Args:
        generator: the model.
        volume: (1, channels, x, y, z) in [-1, 1].
        condition: of the volume, as the denoiser takes it; None is no condition.
        iterations: network evaluations at each noise level, see `ddim_inversion`.
        first: the first level that starts from the noise of the volume; those before it are left as they are.
    """

    def __init__(
        self,
        generator: EditableGenerator,
        volume: Tensor,
        condition: Condition | None = None,
        *,
        iterations: int = 3,
        first: int = 0,
    ) -> None:
        self._generator, self._volume = generator, volume
        self._condition, self._iterations, self._first = condition, iterations, first
        self._clean: dict[int, Tensor] = {}
        self._found: dict[tuple[int, tuple[int, ...]], Tensor] = {}  # of a level and seeds: a sweep asks again

    def edit_band(self, level: int, band: Tensor) -> Tensor:
        """Keep the coarse band of a level, whose noise the inversion shares."""
        self._clean[level] = band
        return band

    def noise(self, context: LevelContext) -> Tensor:
        """Return the noisy coefficients of a level, at the first noise level of the sampler, that lead to the volume.

        The coarse band that the level is given is the volume's own, with the noise that the context has.
        """
        level, key = context.level, (context.level, context.seeds)
        if key in self._found:
            return self._found[key]
        own = self._generator.coarse_band(self._volume, level)
        if own is not None and context.coarse is not None:
            context = replace(context, coarse=own + context.coarse - self._clean[level], windows=None)
        *_, step = ddim_inversion(
            self._generator.denoiser(context),
            self._generator.coefficients(self._volume, level),
            context.sigmas,
            self._condition,
            iterations=self._iterations,
        )
        self._found[key] = step.x
        return step.x

    def __call__(self, context: LevelContext, denoiser: Denoiser) -> Denoiser:
        """Return a denoiser that moves the noise of the seed to that of the volume."""
        return denoiser if context.level < self._first else starting_from(self.noise(context), context, denoiser)


class InterpolatedNoise:
    """A hook under which each level starts from noise between those of two volumes, and its `BandEdit`.

    Args:
        one: of the first volume.
        other: of the second volume.
        share: of the second volume; 0 is the first one's noise.
        first: the first level whose noise is interpolated; those before it are left as they are.
    """

    def __init__(self, one: Inversion, other: Inversion, share: float, first: int = 0) -> None:
        self._one, self._other, self._share, self._first = one, other, share, first

    def edit_band(self, level: int, band: Tensor) -> Tensor:
        """Keep the coarse band of a level, whose noise both inversions share."""
        return self._other.edit_band(level, self._one.edit_band(level, band))

    def __call__(self, context: LevelContext, denoiser: Denoiser) -> Denoiser:
        """Return a denoiser that moves the noise of the seed to that between the volumes."""
        if context.level < self._first:
            return denoiser
        if self._share in (0, 1):  # without an inversion that has no weight
            return starting_from((self._other if self._share else self._one).noise(context), context, denoiser)
        noise = slerp(self._one.noise(context), self._other.noise(context), self._share)
        return starting_from(noise, context, denoiser)


def slerp(one: Tensor, other: Tensor, share: float) -> Tensor:
    """Return the spherical interpolation of two tensors, which keeps the length of noise (Shoemake 1985)."""
    a, b = one.flatten().double(), other.flatten().double()
    angle = torch.arccos((a @ b / (a.norm() * b.norm())).clamp(-1, 1))
    if angle < 1e-4:  # the same direction: a straight line
        return one + share * (other - one)
    weights = torch.sin((1 - share) * angle), torch.sin(share * angle)
    return ((weights[0] * one + weights[1] * other) / torch.sin(angle)).to(one.dtype)


def starting_from(noisy: Tensor, context: LevelContext, denoiser: Denoiser) -> Denoiser:
    """Return a denoiser under which a deterministic sampler of first order goes the way from given coefficients.

    Args:
        noisy: at the first noise level of the sampler, (1, bands, x, y, z).
        context: with the noise levels of the sampler.
        denoiser: D(x, sigma, condition).
    """
    top = float(context.sigmas[0])
    shift: Tensor | None = None

    def moved(x: Tensor, sigma: Tensor, condition: Condition | None = None) -> Tensor:
        nonlocal shift
        if shift is None:
            shift = (noisy - x) / top
        return denoiser(x + over(sigma, x) * shift, sigma, condition)

    return moved
