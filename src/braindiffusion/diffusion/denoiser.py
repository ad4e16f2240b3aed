"""The denoiser contract: `D(x, sigma, condition)` estimates the clean data from `x = clean + sigma * noise`.

Samplers, guidance and editing see only D. What the network predicts, and how it gets the noise level, is
defined here: every parameterisation is three numbers for each noise level,

    D(x, sigma) = c_skip * x + c_out * F(c_in * x, ln(sigma) / 4)

(Karras et al. 2022, equation 7, with their c_noise).
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

from torch import Tensor

from braindiffusion.diffusion.condition import Condition

Network = Callable[[Tensor, Tensor, Condition | None], Tensor]
"""F: (c_in * noisy data, (batch,) ln sigma / 4, condition) to what it predicts."""

Prediction = Literal["v", "flow", "x0", "noise", "edm"]


class Denoiser(Protocol):
    """D(x, sigma, condition): an estimate of the clean data.

    x is (batch, channels, x, y, z) float32, sigma (batch,) float32; the answer is shaped as x.
    """

    def __call__(self, x: Tensor, sigma: Tensor, condition: Condition | None = None) -> Tensor:
        """Estimate the clean data."""
        ...


class Coefficients(NamedTuple):
    """Coefficients of a parameterisation at some noise levels; each shaped to multiply the data."""

    c_in: Tensor
    c_skip: Tensor
    c_out: Tensor


def coefficients(prediction: Prediction, sigma: Tensor, sigma_data: float = 1.0) -> Coefficients:
    """The three numbers of a parameterisation.

    Args:
        prediction: what the network predicts, with alpha = 1 / sqrt(1 + sigma^2) and t = sigma / (1 + sigma):
            `v` = alpha * (noise - sigma * clean) (Salimans and Ho 2022); `flow` = noise - clean, seen at
            (1 - t) * clean + t * noise (Liu et al. 2023; Lipman et al. 2023); `x0` the clean data; `noise` the noise
            (Ho et al. 2020); `edm` Karras et al. 2022, table 1.
        sigma: noise levels, any shape.
        sigma_data: standard deviation of the data; only `edm` uses it. At 1, `edm` is `v` with the opposite sign.
    """
    alpha = (1 + sigma.square()).rsqrt()
    if prediction == "v":
        return Coefficients(alpha, alpha.square(), -sigma * alpha)
    if prediction == "flow":
        keep = 1 / (1 + sigma)
        return Coefficients(keep, keep, -sigma * keep)
    if prediction == "x0":
        return Coefficients(alpha, alpha * 0, alpha * 0 + 1)
    if prediction == "noise":
        return Coefficients(alpha, alpha * 0 + 1, -sigma)
    total = (sigma.square() + sigma_data**2).rsqrt()
    return Coefficients(total, (sigma_data * total).square(), sigma * sigma_data * total)


def denoise(
    network: Network,
    x: Tensor,
    sigma: Tensor,
    condition: Condition | None = None,
    *,
    prediction: Prediction = "v",
    sigma_data: float = 1.0,
) -> Tensor:
    """D from a network."""
    c = coefficients(prediction, over(sigma, x), sigma_data)
    return c.c_skip * x + c.c_out * network(c.c_in * x, sigma.log() / 4, condition).to(x.dtype)


def denoising_loss(
    network: Network,
    clean: Tensor,
    noise: Tensor,
    sigma: Tensor,
    condition: Condition | None = None,
    *,
    prediction: Prediction = "v",
    sigma_data: float = 1.0,
) -> Tensor:
    """Squared error of what the network predicts, per site. Weights over noise levels: `diffusion.weights`.

    Returns:
        shaped as clean.
    """
    s = over(sigma, clean)
    c = coefficients(prediction, s, sigma_data)
    noisy = clean + s * noise
    # The target is (clean - c_skip * noisy) / c_out, written without the division for a small sigma's sake.
    target = _target(prediction, clean, noise, s, sigma_data)
    return (network(c.c_in * noisy, sigma.log() / 4, condition).float() - target).square()


def _target(prediction: Prediction, clean: Tensor, noise: Tensor, sigma: Tensor, sigma_data: float) -> Tensor:
    if prediction == "v":
        return (1 + sigma.square()).rsqrt() * (noise - sigma * clean)
    if prediction == "flow":
        return noise - clean
    if prediction == "x0":
        return clean
    if prediction == "noise":
        return noise
    return (sigma * clean - sigma_data**2 * noise) * (sigma.square() + sigma_data**2).rsqrt() / sigma_data


def over(sigma: Tensor, like: Tensor) -> Tensor:
    """(batch,) shaped to multiply (batch, ...)."""
    return sigma.reshape(-1, *(1,) * (like.ndim - 1)).to(like.dtype)
