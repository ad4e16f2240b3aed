"""Loss weights of noise levels and of bands.

`denoising_loss` is the squared error of what the network predicts. That error is the error of the clean data divided by
c_out, so a weight w of the latter is a weight w * c_out^2 of the former, for each parameterisation alike.
"""

from typing import Literal

from torch import Tensor

from braindiffusion.diffusion.denoiser import Prediction, coefficients, over

Weighting = Literal["none", "min_snr", "edm"]


def noise_weight(
    weighting: Weighting,
    prediction: Prediction,
    sigma: Tensor,
    *,
    gamma: float = 5.0,
    sigma_data: float = 1.0,
) -> Tensor:
    """The weight of the network's own squared error at some noise levels, shaped as sigma.

    Args:
        weighting: `none` counts that error as it is. `min_snr` counts the error of the clean data min(SNR, gamma)
            times, SNR = 1 / sigma^2 (Hang et al. 2023). `edm` counts it 1 / sigma^2 + 1 / sigma_data^2 times (Karras
            et al. 2022, table 1): a network that has learnt nothing is then equally wrong at each noise level.
        prediction: what the network predicts.
        sigma: noise levels, any shape.
        gamma: where `min_snr` stops to grow.
        sigma_data: standard deviation of the data, for `edm`.
    """
    if weighting == "none":
        return sigma * 0 + 1
    snr = sigma.square().reciprocal()
    of_clean = snr.clamp_max(gamma) if weighting == "min_snr" else snr + sigma_data**-2
    return of_clean * coefficients(prediction, sigma, sigma_data).c_out.square()


def weighted(loss: Tensor, over_noise: Tensor, over_bands: Tensor | None = None) -> Tensor:
    """The mean of a loss per site.

    Args:
        loss: (batch, channels, x, y, z).
        over_noise: (batch,).
        over_bands: (channels,), relative to each other; None weighs all alike.
    """
    loss = loss * over(over_noise, loss)
    if over_bands is not None:
        loss = loss.movedim(1, -1) * (over_bands / over_bands.mean())
    return loss.mean()
