"""Refinement: a level's sample is sampled once more, from a low noise level, on a grid that is moved by half a site.

The Haar transform takes each block of 2 x 2 x 2 voxels by itself, and a level that has not quite learnt how its sites
go together leaves steps between them, which show as blocks in smooth tissue. On the moved grid the faces of these
blocks lie inside sites, where the level knows what is smooth. This is cycle spinning (Coifman and Donoho 1995,
"Translation-invariant de-noising") with the level's own denoiser in place of a threshold.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from braindiffusion.diffusion.condition import Condition
from braindiffusion.diffusion.samplers import Sampler
from braindiffusion.models.cascade.cascade import AIR, MAP_AXES, Level
from braindiffusion.models.cascade.wavelet import haar, inverse_haar
from braindiffusion.models.generator import Hook, LevelContext, SeededNoise, apply_hooks

SPACE = (-3, -2, -1)
"""Axes of space of every tensor."""


def refine(
    level: Level,
    band: Tensor,
    sigmas: Tensor,
    condition: Condition | None,
    *,
    seeds: Sequence[int],
    hooks: Sequence[Hook],
    sampler: Sampler,
    noise: SeededNoise,
) -> Tensor:
    """Return what a level hands on, sampled once more. Air and the outermost voxels stay as they are.

    Args:
        level: the level.
        band: (batch, channels, x, y, z), not normalised; a site of the level is two of its voxels wide.
        sigmas: noise levels, falling, with a final 0.
        condition: a tensor for each field, as for the level.
        seeds: one for each sample of the batch.
        hooks: around the denoiser; they see a context that is `moved`.
        sampler: the level's.
        noise: the level's.
    """
    bands = haar(torch.roll(band, (-1, -1, -1), SPACE))
    normalised = level.normalise(bands)
    coarse, details = normalised[:, 0], normalised[:, 1:].flatten(1, 2)
    coarse_sigma = torch.full((len(seeds),), level.config.coarse_sigma, device=band.device)
    given = coarse + level.config.coarse_sigma * noise(*coarse.shape[1:])
    windows = level.windows_without_air(bands[:, 0])
    context = LevelContext(level.index, tuple(seeds), sigmas, given, coarse_sigma, moved=True, windows=windows)
    denoiser = apply_hooks(hooks, context, level.denoiser(given, coarse_sigma, windows, moved=True))
    start = details + float(sigmas[0]) * noise()
    *_, last = sampler(denoiser, start, sigmas, _moved(condition, level.voxels // 2), noise=noise)
    generated = torch.cat((normalised[:, :1], last.denoised.unflatten(1, (-1, level.channels))), dim=1)
    refined = torch.roll(inverse_haar(level.restore(generated)), (1, 1, 1), SPACE)
    return torch.where(_inside(band / (level.voxels / 2) ** 1.5), refined, band)


def _moved(condition: Condition | None, voxels: int) -> Condition | None:
    """Return a condition whose label maps are moved by so many voxels."""
    if condition is None:
        return None
    by = (-voxels,) * 3
    return {name: torch.roll(one, by, SPACE) if one.ndim == MAP_AXES else one for name, one in condition.items()}


def _inside(intensity: Tensor) -> Tensor:
    """Return where a volume in [-1, 1] is neither air nor the outermost voxel, which the move wraps around."""
    tissue = (intensity > AIR - 1).any(1, keepdim=True).float()
    near = F.max_pool3d(tissue, 3, stride=1, padding=1) > 0
    return near & F.pad(torch.ones_like(near[..., 1:-1, 1:-1, 1:-1]), (1, 1, 1, 1, 1, 1))
