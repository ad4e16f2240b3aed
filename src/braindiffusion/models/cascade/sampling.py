"""Sampling the cascade: a generator over all levels' sampler steps, coarse to fine."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from braindiffusion.diffusion.condition import Condition
from braindiffusion.diffusion.samplers import SAMPLERS, Sampler, SamplerName, ddim
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.cascade.cascade import Cascade
from braindiffusion.models.cascade.refinement import refine as refine_band
from braindiffusion.models.cascade.wavelet import BANDS, inverse_haar
from braindiffusion.models.generator import BandEdit, GenerationStep, Hook, LevelContext, SeededNoise, apply_hooks


@dataclass(frozen=True)
class CascadeStep(GenerationStep):
    """One sampler step of one level.

    Attributes:
        halvings: how often `denoised` must still be doubled to be a volume.
    """

    halvings: int = 0

    @property
    def last(self) -> bool:
        """Whether this step ends the cascade."""
        return self.halvings == 0 and self.step == self.of

    def volume(self) -> Tensor:
        """Return the estimate as a volume, (batch, channels, x, y, z) in [-1, 1]; missing detail is zero."""
        return blocks(self.denoised, self.halvings).clamp(-1, 1)

    def smooth(self) -> Tensor:
        """Return the estimate for display: missing detail is interpolated, where `volume` has blocks."""
        volume = self.denoised
        for _ in range(self.halvings):
            # A voxel of a coarse band is the mean of eight, times the square root of eight.
            volume = F.interpolate(volume / BANDS**0.5, scale_factor=2, mode="trilinear")
        return volume.clamp(-1, 1)

    def noisy_volume(self) -> Tensor:
        """Return the noisy sample as a volume; missing detail is zero."""
        return blocks(self.noisy(), self.halvings).clamp(-1, 1)


def blocks(band: Tensor, halvings: int) -> Tensor:
    """Return a coarse band doubled so many times, with zero detail."""
    for _ in range(halvings):
        bands = torch.zeros(len(band), BANDS, *band.shape[1:], device=band.device)
        bands[:, 0] = band
        band = inverse_haar(bands)
    return band


@torch.inference_mode()
def sample_cascade(
    cascade: Cascade,
    seeds: Sequence[int],
    *,
    condition: Condition | None = None,
    hooks: Sequence[Hook] = (),
    edit_band: BandEdit | None = None,
    sampler: SamplerName | None = None,
    steps: int | Sequence[int] | None = None,
    eta: float = 0.0,
    levels: int | None = None,
    refine_from: int | None = 0,
    dtype: torch.dtype = torch.float32,
) -> Iterator[CascadeStep]:
    """Generate volumes, one for each seed. Arguments and steps as in `Generator.sample`.

    The device is that of the cascade's weights. None for `levels` runs all of the cascade.
    """
    device = next(cascade.parameters()).device
    coarse: Tensor | None = None
    by_level = cascade.config.steps(steps)
    # The coarsest level has no blocks.
    first_refined = cascade.config.number_of_levels if refine_from is None else max(1, refine_from)
    for index in range(cascade.config.number_of_levels if levels is None else levels):
        level = cascade.level(index)
        noise = SeededNoise(seeds, index, (level.outputs, *level.grid), device)
        given = coarse_sigma = None
        if coarse is not None:
            coarse_sigma = torch.full((len(seeds),), level.config.coarse_sigma, device=device)
            clean = (coarse - level.mean[0]) / level.std[0]
            if edit_band is not None:
                clean = edit_band(index, clean)
                coarse = clean * level.std[0] + level.mean[0]
            given = clean + level.config.coarse_sigma * noise(*clean.shape[1:])
        sigmas = level.config.sampling_sigmas(by_level[index])
        windows = None if coarse is None else level.windows_without_air(coarse)
        context = LevelContext(index, tuple(seeds), sigmas, given, coarse_sigma, windows=windows)
        denoiser = apply_hooks(hooks, context, level.denoiser(given, coarse_sigma, windows))
        refines = level.config.refinement is not None and index >= first_refined
        run = _sampler(sampler or level.config.sampler, eta)
        halvings = cascade.config.halvings(index) - (cascade.config.bands(index) > 1)

        def noisy(x: Tensor, sigma: float, index: int = index, coarse: Tensor | None = coarse) -> Tensor:
            return cascade.reconstruct(index, x * (1 + sigma**2) ** -0.5, coarse)

        with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            start = noise() * float(sigmas[0]) * level.config.temperature
            if index == 0:
                sigma = float(sigmas[0])
                first = partial(noisy, start, sigma)
                yield CascadeStep(index, 0, by_level[index], sigma, first(), first, halvings)
            for step in run(denoiser, start, sigmas, condition, noise=noise):
                band = cascade.reconstruct(index, step.denoised, coarse)
                left = partial(noisy, step.x, step.sigma)
                if step.step == step.of and refines:
                    lower = level.config.refinement_sigmas(by_level[index])
                    band = refine_band(
                        level, band, lower, condition, seeds=seeds, hooks=hooks, sampler=run, noise=noise
                    )
                    left = partial(torch.clone, band)
                yield CascadeStep(index, step.step, step.of, step.sigma, band, left, halvings)
        level.conditioning.forget()
        if not bool(band.isfinite().all()):
            msg = f"Level {index} of the model generated values that are no numbers or infinite"
            raise BrainDiffusionError(f"{msg}: nothing is written; take other settings (guidance, steps) or model.")
        coarse = band


def _sampler(name: SamplerName, eta: float) -> Sampler:
    return partial(ddim, eta=eta) if name == "ddim" else SAMPLERS[name]
