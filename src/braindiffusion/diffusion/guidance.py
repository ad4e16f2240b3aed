"""Guidance wraps one denoiser in another: the sampler does not know.

A guided estimate is an extrapolation between two estimates of the clean data, `weak + scale * (strong - weak)`. What a
network predicts is affine in that estimate for the same x, so the guidance is the same whatever it predicts.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from braindiffusion.diffusion.condition import Condition, without_fields
from braindiffusion.diffusion.denoiser import Denoiser

Interval = tuple[float, float]


def guided(
    denoiser: Denoiser,
    scale: float,
    interval: Interval | None = None,
    rescale: float = 0.0,
    fields: Iterable[str] | None = None,
) -> Denoiser:
    """Classifier-free guidance (Ho and Salimans 2022; our scale is 1 + their w).

    Where it acts, the denoiser gets one batch of twice the size: all samples with the fields hidden, then all of them
    as they were asked for. What the denoiser closes over has to be repeated alike.

    Args:
        denoiser: D(x, sigma, condition), trained with fields dropped.
        scale: 1 is the conditional denoiser itself, at its cost; 0 the unconditional one.
        interval: guide where low < sigma <= high (Kynkaanniemi et al. 2024); elsewhere the conditional denoiser stands
            alone, at half the cost. None guides everywhere.
        rescale: from 0 to 1, how much of the standard deviation that guidance changed is given back (Lin et al. 2024,
            section 3.4, their phi). It is that of each sample's estimated clean data.
        fields: guide by these alone, and ask for the others in both halves; None guides by all.
    """
    hide = None if fields is None else tuple(fields)

    def halves(x: Tensor, sigma: Tensor, condition: Condition | None) -> tuple[Tensor, Tensor]:
        if not condition:  # nothing is asked for: both halves would be the same
            clean = denoiser(x, sigma, condition)
            return clean, clean
        hidden = without_fields(condition, hide)
        both = {name: torch.cat((hidden[name], asked)) for name, asked in condition.items()}
        weak, strong = denoiser(torch.cat((x, x)), torch.cat((sigma, sigma)), both).chunk(2)
        return weak, strong

    return _extrapolated(denoiser, halves, scale, interval, rescale)


def guided_from(denoiser: Denoiser, other: Condition, scale: float) -> Denoiser:
    """Guidance away from another condition instead of none: what the change of the condition does, exaggerated.

    Where both conditions are the same, so are the estimates, whatever the scale.

    Args:
        denoiser: D(x, sigma, condition).
        other: as the denoiser takes it.
        scale: 1 is the denoiser itself, at its cost; others take two evaluations.
    """

    def pair(x: Tensor, sigma: Tensor, condition: Condition | None) -> tuple[Tensor, Tensor]:
        return denoiser(x, sigma, other), denoiser(x, sigma, condition)

    return _extrapolated(denoiser, pair, scale, None)


def autoguided(denoiser: Denoiser, weak: Denoiser, scale: float, interval: Interval | None = None) -> Denoiser:
    """Autoguidance: away from a weaker version of the same model, such as an earlier average of its weights.

    Karras et al. 2024, "Guiding a diffusion model with a bad version of itself". Both get the whole condition.

    Args:
        denoiser: D(x, sigma, condition).
        weak: a worse one, of the same data.
        scale: 1 is the denoiser itself, at its cost.
        interval: as in `guided`.
    """

    def pair(x: Tensor, sigma: Tensor, condition: Condition | None) -> tuple[Tensor, Tensor]:
        return weak(x, sigma, condition), denoiser(x, sigma, condition)

    return _extrapolated(denoiser, pair, scale, interval)


def _extrapolated(
    alone: Denoiser,
    pair: Callable[[Tensor, Tensor, Condition | None], tuple[Tensor, Tensor]],
    scale: float,
    interval: Interval | None,
    rescale: float = 0.0,
) -> Denoiser:
    """From the weak to the strong estimate and beyond; `alone` is the strong one without the other."""
    if scale == 1:
        return alone
    low, high = interval or (0.0, math.inf)

    def denoiser(x: Tensor, sigma: Tensor, condition: Condition | None = None) -> Tensor:
        acts = (sigma > low) & (sigma <= high)
        if not acts.any():
            return alone(x, sigma, condition)
        weak, strong = pair(x, sigma, condition)
        clean = weak + scale * (strong - weak)
        if rescale:
            sites = tuple(range(1, x.ndim))
            spread = strong.std(sites, keepdim=True) / clean.std(sites, keepdim=True)
            clean = clean * (1 + rescale * (spread - 1))
        return torch.where(acts.reshape(-1, *(1,) * (x.ndim - 1)), clean, strong)

    return denoiser
