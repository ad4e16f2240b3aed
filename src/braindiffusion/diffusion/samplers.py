"""Samplers are generators: each step yields a record, and whoever drives owns progress, preview and cancel.

All work on `x = clean + sigma * noise`. Sampling noise is drawn by a function, so that each sample of a batch keeps to
its own seed.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from braindiffusion.diffusion.condition import Condition
from braindiffusion.diffusion.denoiser import Denoiser


@dataclass(frozen=True)
class Step:
    """One step of a sampler.

    Attributes:
        step: from 1.
        of: how many.
        sigma: the noise level that `x` has now.
        x: (batch, channels, x, y, z), the current noisy sample.
        clean: the denoiser's estimate of the clean data, from which `x` was made.
    """

    step: int
    of: int
    sigma: float
    x: Tensor
    clean: Tensor


def ddim(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    condition: Condition | None = None,
    *,
    eta: float = 0.0,
    noise: Callable[[], Tensor] | None = None,
) -> Iterator[Step]:
    """DDIM (Song, Meng and Ermon 2021, equations 12 and 16), in the coordinates of Karras et al. 2022.

    With eta = 0 this is the Euler method of the probability-flow ODE in sigma.

    Args:
        denoiser: D(x, sigma, condition).
        x: noise times sigmas[0], (batch, channels, x, y, z).
        sigmas: (steps + 1,) falling, the last is 0.
        condition: handed to the denoiser.
        eta: 0 is deterministic, 1 as random as DDPM.
        noise: draws unit noise shaped as x; needed when eta > 0.

    Raises:
        ValueError: eta > 0 and no noise.
    """
    if eta and noise is None:
        msg = "DDIM with eta > 0 needs a source of noise."
        raise ValueError(msg)
    levels = sigmas.double().tolist()
    for step, (now, following) in enumerate(itertools.pairwise(levels), start=1):
        clean = denoiser(x, x.new_full((len(x),), now), condition)
        # Equation 16, with alpha_bar = 1 / (1 + sigma^2) and divided by alpha_bar of the next step.
        fresh = eta * following * max(0.0, 1 - (following / now) ** 2) ** 0.5
        kept = max(0.0, following**2 - fresh**2) ** 0.5
        x = clean + (kept / now) * (x - clean)
        if fresh and noise is not None:
            x = x + fresh * noise()
        yield Step(step, len(levels) - 1, following, x, clean)
