"""Noise levels: those of training batches, and those of a sampler. Always float32 or better.

A noisy sample is `x = clean + sigma * noise` (variance exploding); the clean data have unit variance. Every other way
to count noise is a name for sigma: alpha_bar = 1 / (1 + sigma^2) in DDPM, t = sigma / (1 + sigma) in flow matching. So
a logit-normal t is a log-normal sigma, and to shift t with the resolution (Esser et al. 2024, equation 23) is to
multiply sigma.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Schedule = Literal["karras", "flow", "linear", "scaled_linear", "cosine", "sigmoid"]
Table = Literal["linear", "scaled_linear", "cosine", "sigmoid"]

TERMINAL_SIGMA = 2.0**16
"""Stands for infinity where sampling begins with nothing but noise. It costs 1 / 65536 of the data's mean, and is above
all other levels of a table whose end is moved to infinity (the last but one comes to 15,600 at most)."""

TABLE_STEPS = 1000


@dataclass(frozen=True)
class NoiseSchedule:
    """Noise levels as a function of time, from 0 (clean) to 1. Sampling is even in time, and so may training be.

    Attributes:
        name: `karras` (Karras et al. 2022, equation 5), `flow` (sigma = t / (1 - t)), or a table of betas: `linear`
            (Ho et al. 2020), `scaled_linear` (Rombach et al. 2022), `cosine` (Nichol and Dhariwal 2021), `sigmoid`
            (GeoDiff: Xu et al. 2022).
        sigma_max: where time 1 is. A table that ends below it ends there.
        sigma_min: the last level of `karras` above 0.
        rho: spacing of `karras`.
        zero_terminal_snr: a table whose end is moved to infinity (Lin et al. 2024, algorithm 1), which is to say to
            `TERMINAL_SIGMA`. Not for a network that predicts the noise: it says nothing about the data there.
        shift: multiplies all levels (Esser et al. 2024, section 5.3.2).

    Raises:
        ValueError: numbers that make no schedule.
    """

    name: Schedule = "karras"
    sigma_max: float = 80.0
    sigma_min: float = 0.002
    rho: float = 7.0
    zero_terminal_snr: bool = False
    shift: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.sigma_min < self.sigma_max and self.rho > 0 and self.shift > 0):
            msg = f"A noise schedule needs 0 < sigma_min < sigma_max, rho > 0 and shift > 0, not {self}."
            raise ValueError(msg)
        if self.zero_terminal_snr and (self.name in ("karras", "flow") or self.sigma_max < TERMINAL_SIGMA):
            msg = f"zero_terminal_snr moves the end of a table to sigma {TERMINAL_SIGMA}, and sigma_max must reach it."
            raise ValueError(msg)

    def at(self, time: Tensor) -> Tensor:
        """The noise levels at some times in [0, 1], float64."""
        time = time.double()
        if self.name == "karras":
            top, bottom = (math.pow(sigma, 1 / self.rho) for sigma in (self.sigma_max, self.sigma_min))
            return self.shift * (bottom + time * (top - bottom)).pow(self.rho)
        if self.name == "flow":
            t = time * self.sigma_max / (1 + self.sigma_max)
            return self.shift * t / (1 - t)
        # Entry i of a table is at time (i + 1) / 1000, and between two of them sigma is linear.
        sigmas = np.insert(table_sigmas(self.name, zero_terminal_snr=self.zero_terminal_snr).numpy(), 0, 0.0)
        times = np.linspace(0, 1, len(sigmas))
        end = np.interp(self.sigma_max, sigmas, times)
        return self.shift * torch.as_tensor(np.interp(time.numpy() * end, times, sigmas))

    def sampling_sigmas(self, steps: int) -> Tensor:
        """Noise levels of a sampler, falling, with a final 0: (steps + 1,) float64."""
        if self.name == "karras":  # ends at sigma_min, and goes to 0 from there
            return torch.cat((self.at(torch.linspace(1, 0, steps, dtype=torch.float64)), torch.zeros(1)))
        return self.at(torch.linspace(1, 0, steps + 1, dtype=torch.float64))

    def training_sigmas(self, count: int, generator: torch.Generator) -> Tensor:
        """Training noise levels, even in time and stratified over the batch: (count,) float32."""
        return self.at(1 - _strata(count, generator)).float()  # 1 minus: never at time 0, which is no noise at all


def lognormal_sigmas(count: int, mean: float, std: float, generator: torch.Generator) -> Tensor:
    """Training noise levels, log-normal, stratified over the batch so that each batch sees the whole range.

    Of flow's t that is the logit-normal distribution (Esser et al. 2024, section 3.1), with the same mean and std; a
    shift adds its logarithm to the mean.

    Returns:
        (count,) float32.
    """
    normal = math.sqrt(2) * torch.erfinv((2 * _strata(count, generator) - 1).clamp(-0.9999, 0.9999))
    return (mean + std * normal).exp()


def table_sigmas(table: Table, *, zero_terminal_snr: bool = False) -> Tensor:
    """The noise levels of DDPM's 1000 steps, rising, (1000,) float64; betas from 0.0001 to 0.02 except for `cosine`."""
    first, last = 1e-4, 0.02
    if table == "cosine":
        angle = (torch.linspace(0, 1, TABLE_STEPS + 1, dtype=torch.float64) + 0.008) / 1.008 * math.pi / 2
        alpha_bar = angle.cos().square()
        betas = (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp_max(0.999)
    elif table == "linear":
        betas = torch.linspace(first, last, TABLE_STEPS, dtype=torch.float64)
    elif table == "scaled_linear":
        betas = torch.linspace(first**0.5, last**0.5, TABLE_STEPS, dtype=torch.float64).square()
    else:
        betas = first + (last - first) * torch.linspace(-6, 6, TABLE_STEPS, dtype=torch.float64).sigmoid()
    signal = (1 - betas).cumprod(0).sqrt()
    if zero_terminal_snr:
        signal = (signal - signal[-1]) * signal[0] / (signal[0] - signal[-1])
    return (signal.square().reciprocal() - 1).sqrt().clamp_max(TERMINAL_SIGMA)


def _strata(count: int, generator: torch.Generator) -> Tensor:
    """One number of each of `count` equal parts of [0, 1), which the last of them would reach by rounding."""
    parts = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    return parts.clamp_max(1 - torch.finfo(torch.float32).eps / 2)
