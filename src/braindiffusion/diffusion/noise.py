"""Noise levels: how they are drawn in training, and how a sampler walks down them. Always float32 or better.

A noisy sample is `x = clean + sigma * noise` (variance exploding); the clean data have unit variance.
"""

import math

import torch
from torch import Tensor


def karras_sigmas(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """Noise levels of a sampler, falling, with a final 0 (Karras et al. 2022, equation 5).

    Returns:
        (steps + 1,) float64.
    """
    if steps == 1:
        return torch.tensor([sigma_max, 0.0], dtype=torch.float64)
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    top, bottom = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return torch.cat(((top + ramp * (bottom - top)) ** rho, torch.zeros(1, dtype=torch.float64)))


def lognormal_sigmas(count: int, mean: float, std: float, generator: torch.Generator) -> Tensor:
    """Training noise levels, log-normal, stratified over the batch so that each batch sees the whole range.

    Returns:
        (count,) float32.
    """
    strata = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    normal = math.sqrt(2) * torch.erfinv((2 * strata - 1).clamp(-0.9999, 0.9999))
    return (mean + std * normal).exp()
