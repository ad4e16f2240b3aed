"""Samplers: generators of steps from noise to a sample. The caller shows progress and previews, and may stop.

All work on `x = clean + sigma * noise`, and move along the noise direction `(x - D(x, sigma)) / sigma` from one noise
level to the next. Sampling noise is drawn by a function, so that each sample of a batch has its own seed.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

from torch import Tensor

from braindiffusion.diffusion.condition import Condition
from braindiffusion.diffusion.denoiser import Denoiser

Noise = Callable[[], Tensor]
"""Draws unit noise, shaped as x."""

SamplerName = Literal["ddim", "ddpm", "dpmpp_2m", "heun", "euler_flow"]


@dataclass(frozen=True)
class Step:
    """One step of a sampler.

    Attributes:
        step: number, from 1.
        of: number of steps.
        sigma: the noise level that `x` has now, in standard deviations of the data.
        x: (batch, channels, x, y, z), the current noisy sample.
        denoised: the denoiser's estimate of the clean data, from which `x` was made.
    """

    step: int
    of: int
    sigma: float
    x: Tensor
    denoised: Tensor


class Sampler(Protocol):
    """Signature of every sampler.

    Args:
        denoiser: D(x, sigma, condition).
        x: noise times sigmas[0], (batch, channels, x, y, z).
        sigmas: (steps + 1,) falling. The last is 0; a larger one stops there.
        condition: handed to the denoiser.
        noise: what `ddpm`, and `ddim` with eta, add at each step; the others need none.

    Raises:
        ValueError: sigmas that do not fall, or noise that is needed and not there.
    """

    def __call__(
        self,
        denoiser: Denoiser,
        x: Tensor,
        sigmas: Tensor,
        condition: Condition | None = None,
        *,
        noise: Noise | None = None,
    ) -> Iterator[Step]:
        """Yield a step for each noise level, falling."""
        ...


def ddim(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    condition: Condition | None = None,
    *,
    noise: Noise | None = None,
    eta: float = 0.0,
) -> Iterator[Step]:
    """DDIM (Song, Meng and Ermon 2021, equations 12 and 16), in the coordinates of Karras et al. 2022. First order.

    With eta = 0 it is deterministic, the Euler method of the probability-flow ODE in sigma; with eta = 1 it is DDPM.
    """
    if not 0 <= eta <= 1 or (eta and noise is None):
        msg = "DDIM takes an eta from 0 to 1, and needs a source of noise if it is not 0."
        raise ValueError(msg)
    for step, of, now, sigma_next in _pairs(_falling(sigmas)):
        denoised = _at(denoiser, x, now, condition)
        # Equation 16, with alpha_bar = 1 / (1 + sigma^2) and divided by alpha_bar of the next step.
        fresh = eta * sigma_next * math.sqrt(1 - (sigma_next / now) ** 2)
        kept = math.sqrt(sigma_next**2 - fresh**2)
        x = denoised + (kept / now) * (x - denoised)
        if fresh and noise is not None:
            x = x + fresh * noise()
        yield Step(step, of, sigma_next, x, denoised)


ddpm: Sampler = partial(ddim, eta=1.0)
"""DDPM's ancestral sampling with the posterior's variance (Ho et al. 2020, equation 7), between any two levels: it is
DDIM with eta = 1 (Song, Meng and Ermon 2021, section 4.1)."""

euler_flow: Sampler = ddim
"""Euler's method for the flow (1 - t) * clean + t * noise (Liu et al. 2023), t = sigma / (1 + sigma): it is DDIM with
eta = 0, since both move along a straight line to the estimate of the clean data. What makes it a sampler for flow is
its noise levels, even in t: `NoiseSchedule("flow").sampling_sigmas(steps)`."""


def dpmpp_2m(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    condition: Condition | None = None,
    *,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2). Second order with one evaluation a step.

    The ODE is solved in lambda = -ln sigma, with D extrapolated linearly from the step before. The first step knows
    none, and the last one goes to lambda = infinity: both are DDIM's.
    """
    before: Tensor | None = None
    last_h = 0.0
    for step, of, now, sigma_next in _pairs(_falling(sigmas)):
        denoised = _at(denoiser, x, now, condition)
        ahead = denoised
        if sigma_next:
            h = math.log(now / sigma_next)
            if before is not None:
                ahead = denoised + h / (2 * last_h) * (denoised - before)
            last_h = h
        x = ahead + (sigma_next / now) * (x - ahead)
        before = denoised
        yield Step(step, of, sigma_next, x, denoised)


def heun(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    condition: Condition | None = None,
    *,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """Heun's method (Karras et al. 2022, algorithm 1). Second order with two evaluations a step, one in the last.

    Its slopes are in sigma, so it wants the steps of `karras`. A first step from a sigma in the thousands, as `flow`
    and zero-SNR tables may take, ruins it; the other samplers do not mind.
    """
    for step, of, now, sigma_next in _pairs(_falling(sigmas)):
        denoised = _at(denoiser, x, now, condition)
        slope = (x - denoised) / now
        there = x + (sigma_next - now) * slope
        if sigma_next:
            slope_there = (there - _at(denoiser, there, sigma_next, condition)) / sigma_next
            there = x + (sigma_next - now) * (slope + slope_there) / 2
        x = there
        yield Step(step, of, sigma_next, x, denoised)


def ddim_inversion(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    condition: Condition | None = None,
    *,
    iterations: int = 5,
) -> Iterator[Step]:
    """The noise from which DDIM (eta = 0) with these sigmas would make x.

    The step of DDIM that came to `below` came from where x = below + (sigma - sigma_below) * (x - D(x, sigma)) / sigma.
    That is solved by repetition (Pan et al. 2023, "Effective real image editing with accelerated iterative diffusion
    inversion"), from the guess that only the noise has grown, in data of unit variance. One iteration is the usual
    inversion (Dhariwal and Nichol 2021, appendix F), which does not quite come back.

    Args:
        denoiser: D(x, sigma, condition).
        x: clean data, or data with noise of sigmas[-1], (batch, channels, x, y, z).
        sigmas: as the sampler takes them, (steps + 1,) falling; they are climbed.
        condition: handed to the denoiser.
        iterations: network evaluations a step, 1 or more.

    Yields:
        a step; the last one's `x` has noise level sigmas[0].
    """
    for step, of, now, sigma_next in _pairs(_falling(sigmas)[::-1]):
        below, x = x, x * math.sqrt((1 + sigma_next**2) / (1 + now**2))
        for _ in range(iterations):
            direction = (x - _at(denoiser, x, sigma_next, condition)) / sigma_next
            x = below + (sigma_next - now) * direction
        yield Step(step, of, sigma_next, x, below - now * direction)


SAMPLERS: dict[SamplerName, Sampler] = {
    "ddim": ddim,
    "ddpm": ddpm,
    "dpmpp_2m": dpmpp_2m,
    "heun": heun,
    "euler_flow": euler_flow,
}
"""The samplers by name. Only `ddim` takes an `eta` of its own."""


def evaluations(sampler: SamplerName, steps: int) -> int:
    """Return the number of denoiser evaluations of a sampler down to sigma = 0."""
    return 2 * steps - 1 if sampler == "heun" else steps


def _at(denoiser: Denoiser, x: Tensor, sigma: float, condition: Condition | None) -> Tensor:
    return denoiser(x, x.new_full((len(x),), sigma), condition)


def _pairs(levels: list[float]) -> Iterator[tuple[int, int, float, float]]:
    """Each step's number, of how many, from which noise level and to which."""
    for step, (now, sigma_next) in enumerate(itertools.pairwise(levels), start=1):
        yield step, len(levels) - 1, now, sigma_next


def _falling(sigmas: Tensor) -> list[float]:
    levels: list[float] = sigmas.double().tolist()
    if len(levels) < 2 or levels[-1] < 0 or any(a <= b for a, b in itertools.pairwise(levels)):
        msg = f"A sampler needs two or more noise levels that fall, down to 0 at most, not {levels}."
        raise ValueError(msg)
    return levels
