"""The average of the weights that is sampled from: parameters only, never buffers."""

import numpy as np
import torch
from torch import nn


class PowerEma:
    """Power-function average: its memory is a fixed share of the training so far (Karras et al. 2024, equation 1).

    Args:
        module: whose parameters are averaged.
        relative_width: sigma_rel, the share; 0.10 remembers about the last quarter.
    """

    def __init__(self, module: nn.Module, relative_width: float = 0.10) -> None:
        self.gamma = _exponent(relative_width)
        self.parameters = {name: p.detach().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the parameters after step `step` (from 1)."""
        beta = (1 - 1 / step) ** (self.gamma + 1)
        for name, p in module.named_parameters():
            self.parameters[name].lerp_(p.detach(), 1 - beta)

    def state(self) -> dict[str, torch.Tensor]:
        """The averaged parameters by name."""
        return self.parameters

    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Continue from a saved state."""
        for name, value in state.items():
            self.parameters[name].copy_(value)


def _exponent(relative_width: float) -> float:
    """Gamma of sigma_rel: the positive root of Karras et al. 2024, equation 127."""
    t = relative_width**-2
    return float(np.roots([1, 7, 16 - t, 12 - t]).real.max())
