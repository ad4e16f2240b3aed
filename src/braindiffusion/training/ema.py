"""Averages of the weights: power-function averages during training, and their combination to another width afterwards.

Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models". Parameters only, no buffers.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

SIGMA_RELS = (0.05, 0.10)
"""Relative widths of the two averages that training keeps; models are sampled with the second."""


class PowerEma:
    """A power-function average of a module's parameters; its length is a fixed share of the training so far.

    Equation 1 of Karras et al.

    Args:
        module: the module.
        sigma_rel: relative width of the profile; 0.10 covers about the last quarter of the training.
    """

    def __init__(self, module: nn.Module, sigma_rel: float = 0.10) -> None:
        self.gamma = sigma_rel_to_gamma(sigma_rel)
        self.parameters = {name: p.detach().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Add the parameters after step `step` (from 1)."""
        beta = (1 - 1 / step) ** (self.gamma + 1)
        now = dict(module.named_parameters())
        for name, average in self.parameters.items():
            average.lerp_(now[name].detach(), 1 - beta)

    def state(self) -> dict[str, torch.Tensor]:
        """Return the averaged parameters by name."""
        return self.parameters


def sigma_rel_to_gamma(sigma_rel: float) -> float:
    """Return the exponent gamma of a relative width: the positive root of equation 127.

    Raises:
        ValueError: the width is not between 0 and 0.288, the width of the plain mean.
    """
    if not 0 < sigma_rel < 12**-0.5:
        raise ValueError(f"A relative width is above 0 and below 0.288, not {sigma_rel}.")
    t = sigma_rel**-2
    return float(np.roots([1, 7, 16 - t, 12 - t]).real.max())


def profile_products(
    steps: NDArray[np.float64], gammas: NDArray[np.float64], step: float, gamma: float
) -> NDArray[np.float64]:
    """Return integrals of products of two profiles (gamma + 1) t^gamma / step^(gamma + 1) over t (appendix C).

    Args:
        steps: (n,) ends of the first profiles.
        gammas: (n,) exponents of the first profiles.
        step: end of the second profile.
        gamma: exponent of the second profile.
    """
    earlier, total = np.minimum(steps, step), gammas + gamma + 1
    # Ratios of at most one, to powers: the steps themselves would overflow.
    ratios = (earlier / steps) ** (gammas + 1) * (earlier / step) ** (gamma + 1)
    value: NDArray[np.float64] = (gammas + 1) * (gamma + 1) / total * ratios / earlier
    return value


def posthoc_coefficients(
    steps: Sequence[int], sigma_rels: Sequence[float], step: int, sigma_rel: float
) -> NDArray[np.float64]:
    """Return the coefficients of stored averages that make an average of another width (section 3.2).

    They are a least-squares fit of the profiles.

    Args:
        steps: (n,) steps of the stored averages.
        sigma_rels: (n,) relative widths of the stored averages.
        step: step of the wanted average.
        sigma_rel: relative width of the wanted average.

    Returns:
        (n,), summing to about one.
    """
    ends, gammas = np.array(steps, dtype=np.float64), np.array([sigma_rel_to_gamma(rel) for rel in sigma_rels])
    matrix = np.stack([profile_products(ends, gammas, end, gamma) for end, gamma in zip(ends, gammas, strict=True)])
    target = profile_products(ends, gammas, step, sigma_rel_to_gamma(sigma_rel))
    return np.asarray(np.linalg.lstsq(matrix, target, rcond=None)[0], dtype=np.float64)
