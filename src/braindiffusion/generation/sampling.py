"""Sampling the cascade: a generator over all levels' sampler steps, coarse to fine."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from braindiffusion.diffusion.condition import Condition
from braindiffusion.diffusion.samplers import SAMPLERS, Sampler, SamplerName, ddim
from braindiffusion.generation.guidance import Guidance
from braindiffusion.models.cascade.cascade import Cascade
from braindiffusion.models.cascade.wavelet import BANDS, inverse_haar


@dataclass(frozen=True)
class CascadeStep:
    """One sampler step of one level.

    Attributes:
        level: 0 is the coarsest.
        step: of this level, from 1.
        of: steps of this level.
        sigma: noise level that is left at this level.
        band: (batch, channels, x, y, z), the estimate of what this level hands on: the next coarse band, or the volume.
        halvings: how often `band` must still be doubled to be a volume.
    """

    level: int
    step: int
    of: int
    sigma: float
    band: Tensor
    halvings: int

    @property
    def last(self) -> bool:
        """This step ends the cascade: `band` is the volume."""
        return self.halvings == 0 and self.step == self.of

    def volume(self) -> Tensor:
        """The estimate as a volume, (batch, channels, x, y, z) in [-1, 1]; detail that is not there yet is zero."""
        volume = self.band
        for _ in range(self.halvings):
            bands = torch.zeros(len(volume), BANDS, *volume.shape[1:], device=volume.device)
            bands[:, 0] = volume
            volume = inverse_haar(bands)
        return volume.clamp(-1, 1)

    def smooth(self) -> Tensor:
        """As `volume`, for the eye: what is not there yet is interpolated, where `volume` has blocks."""
        volume = self.band
        for _ in range(self.halvings):
            # A voxel of a coarse band is the mean of eight, times the square root of eight.
            volume = F.interpolate(volume / BANDS**0.5, scale_factor=2, mode="trilinear")
        return volume.clamp(-1, 1)


class SeededNoise:
    """Unit noise for a batch, each sample from its own seed: sample i is the same whoever stands beside it."""

    def __init__(self, seeds: Sequence[int], level: int, shape: tuple[int, ...], device: torch.device) -> None:
        self._shape, self._device = shape, device
        keys = (int(np.random.default_rng((abs(seed), seed < 0, level)).integers(2**62)) for seed in seeds)
        self._generators = [torch.Generator().manual_seed(key) for key in keys]

    def __call__(self, *shape: int) -> Tensor:
        """Draw (batch, *shape); without a shape, that of the level's coefficients."""
        wanted = shape or self._shape
        drawn = [torch.randn(wanted, generator=generator) for generator in self._generators]
        return torch.stack(drawn).to(self._device)


@torch.inference_mode()
def sample_cascade(
    cascade: Cascade,
    seeds: Sequence[int],
    *,
    condition: Condition | None = None,
    guidance: Guidance | None = None,
    sampler: SamplerName | None = None,
    steps: int | Sequence[int] | None = None,
    eta: float = 0.0,
    until: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> Iterator[CascadeStep]:
    """Generate volumes, one for each seed.

    The device is that of the cascade's weights. Noise levels, noise and the samples themselves are float32 whatever the
    precision of the network.

    Args:
        cascade: the model.
        seeds: one for each sample of the batch.
        condition: what to make, on the same device; every level is told. None asks for nothing.
        guidance: around the denoiser of every level.
        sampler: of every level; None takes each level's own.
        steps: sampler steps at each level, or of each one; None takes each level's own.
        eta: DDIM's.
        until: the last level to run; None runs all.
        dtype: precision of the network.

    Yields:
        a step; the last one's `volume()` is the result.
    """
    device = next(cascade.parameters()).device
    coarse: Tensor | None = None
    levels = cascade.config.number_of_levels if until is None else until + 1
    by_level = cascade.config.steps(steps)
    for index in range(levels):
        level = cascade.level(index)
        noise = SeededNoise(seeds, index, (level.outputs, *level.grid), device)
        given = coarse_sigma = None
        if coarse is not None:
            coarse_sigma = torch.full((len(seeds),), level.config.coarse_sigma, device=device)
            clean = (coarse - level.mean[0]) / level.std[0]
            given = clean + level.config.coarse_sigma * noise(*clean.shape[1:])
        sigmas = level.config.sampling_sigmas(by_level[index])
        denoiser = level.denoiser(given, coarse_sigma)
        if guidance is not None:
            denoiser = guidance.around(denoiser, index, given, coarse_sigma)
        way = _way(sampler or level.config.sampler, eta)
        halvings = cascade.config.halvings(index)
        whole = cascade.config.bands(index) > 1  # bands become a grid of twice the sites
        with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            start = noise() * float(sigmas[0]) * level.config.temperature
            for record in way(denoiser, start, sigmas, condition, noise=noise):
                band = cascade.reconstruct(index, record.denoised, coarse)
                yield CascadeStep(index, record.step, record.of, record.sigma, band, halvings - whole)
        coarse = band


def _way(sampler: SamplerName, eta: float) -> Sampler:
    return partial(ddim, eta=eta) if sampler == "ddim" else SAMPLERS[sampler]
