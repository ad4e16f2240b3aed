"""The denoiser contract: `D(x, sigma)` estimates the clean data from `x = clean + sigma * noise`.

Samplers, guidance and editing see only D. What the network inside predicts, and how it is told the noise level, stays
here.
"""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

Network = Callable[[Tensor, Tensor], Tensor]
"""(variance-preserving noisy data, (batch,) log sigma / 4) to the predicted v."""


class Denoiser(Protocol):
    """D(x, sigma): an estimate of the clean data.

    x is (batch, channels, x, y, z) float32, sigma (batch,) float32; the answer is shaped as x.
    """

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Estimate the clean data."""
        ...


def _over(sigma: Tensor, like: Tensor) -> Tensor:
    return sigma.reshape(-1, *(1,) * (like.ndim - 1)).to(like.dtype)


def denoise(network: Network, x: Tensor, sigma: Tensor) -> Tensor:
    """D from a network that predicts v (Salimans and Ho 2022, appendix D).

    With unit-variance data this is also EDM's preconditioning with sigma_data = 1 (Karras et al. 2022, table 1):
    c_skip = 1 / (1 + sigma^2), c_out = -sigma / sqrt(1 + sigma^2), c_in = 1 / sqrt(1 + sigma^2),
    c_noise = ln(sigma) / 4.
    """
    s = _over(sigma, x)
    alpha = (1 + s.square()).rsqrt()
    v = network(x * alpha, sigma.log() / 4).to(x.dtype)
    return x * alpha.square() - s * alpha * v


def v_loss(network: Network, clean: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """Squared error of the predicted v, per site: the EDM loss with its weight (both are 1 at initialisation).

    v = alpha * noise - sigma * alpha * clean, with alpha = 1 / sqrt(1 + sigma^2).

    Returns:
        shaped as clean.
    """
    s = _over(sigma, clean)
    alpha = (1 + s.square()).rsqrt()
    v = network((clean + s * noise) * alpha, sigma.log() / 4)
    return (v.float() - alpha * (noise - s * clean)).square()
