"""Averages of the weights: kept while training, and made afterwards for any other memory. Parameters only, no buffers.

Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models".
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

SIGMA_RELS = (0.05, 0.10)
"""Relative widths of the two averages that are kept; models are sampled with the second."""


class PowerEma:
    """Power-function average: its memory is a fixed share of the training so far (equation 1).

    Args:
        module: whose parameters are averaged.
        relative_width: sigma_rel, the share; 0.10 remembers about the last quarter.
    """

    def __init__(self, module: nn.Module, relative_width: float = 0.10) -> None:
        self.gamma = sigma_rel_to_gamma(relative_width)
        self.parameters = {name: p.detach().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the parameters after step `step` (from 1)."""
        beta = (1 - 1 / step) ** (self.gamma + 1)
        now = dict(module.named_parameters())
        torch._foreach_lerp_(list(self.parameters.values()), [now[name].detach() for name in self.parameters], 1 - beta)

    def state(self) -> dict[str, torch.Tensor]:
        """The averaged parameters by name."""
        return self.parameters


def sigma_rel_to_gamma(relative_width: float) -> float:
    """Gamma of sigma_rel: the positive root of equation 127.

    Raises:
        ValueError: the width is not between 0 and 0.288, that of the plain mean.
    """
    if not 0 < relative_width < 12**-0.5:
        raise ValueError(f"A relative width is above 0 and below 0.288, not {relative_width}.")
    t = relative_width**-2
    return float(np.roots([1, 7, 16 - t, 12 - t]).real.max())


def overlap(steps: NDArray[np.float64], gammas: NDArray[np.float64], step: float, gamma: float) -> NDArray[np.float64]:
    """Integral of the product of profiles (gamma + 1) t^gamma / step^(gamma + 1), t in [0, step] (appendix C).

    Args:
        steps: (n,) where the first profiles end.
        gammas: (n,) their exponents.
        step: where the second one ends.
        gamma: its exponent.
    """
    earlier, total = np.minimum(steps, step), gammas + gamma + 1
    # Ratios of at most one, to powers: the steps themselves would overflow.
    shares = (earlier / steps) ** (gammas + 1) * (earlier / step) ** (gamma + 1)
    value: NDArray[np.float64] = (gammas + 1) * (gamma + 1) / total * shares / earlier
    return value


def posthoc_coefficients(steps: Sequence[int], widths: Sequence[float], step: int, width: float) -> NDArray[np.float64]:
    """How much of each stored average makes one of another width: least squares between their profiles (section 3.2).

    Args:
        steps: (n,) where each stored average was taken.
        widths: (n,) their relative widths.
        step: where the wanted one ends.
        width: its relative width.

    Returns:
        (n,), summing to about one.
    """
    ends, gammas = np.array(steps, dtype=np.float64), np.array([sigma_rel_to_gamma(w) for w in widths])
    matrix = np.stack([overlap(ends, gammas, end, gamma) for end, gamma in zip(ends, gammas, strict=True)])
    target = overlap(ends, gammas, step, sigma_rel_to_gamma(width))
    return np.asarray(np.linalg.lstsq(matrix, target, rcond=None)[0], dtype=np.float64)
