"""Loss weights: the same as weighing the error of the clean data, and as diffusers' training scripts do it."""

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr

from braindiffusion.diffusion.denoiser import Prediction, denoise, denoising_loss, over
from braindiffusion.diffusion.weights import Weighting, noise_weight, weighted

SIGMA = torch.tensor([0.02, 0.3, 1.0, 7.0], dtype=torch.float64)


@pytest.mark.parametrize("prediction", ["v", "flow", "x0", "noise", "edm"])
@pytest.mark.parametrize("weighting", ["min_snr", "edm"])
@pytest.mark.parametrize("sigma_data", [1.0, 0.5])
def test_a_weight_is_one_of_the_clean_data_s_error(
    prediction: Prediction, weighting: Weighting, sigma_data: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(4, 2, 3, 3, 3, generator=generator, dtype=torch.float64) for _ in range(2))

    def network(scaled: torch.Tensor, log_sigma: torch.Tensor, _: object) -> torch.Tensor:
        return torch.sin(3 * scaled) + over(log_sigma, scaled)

    settings = {"prediction": prediction, "sigma_data": sigma_data}
    estimate = denoise(network, clean + over(SIGMA, clean) * noise, SIGMA, **settings)
    of_clean = {
        "min_snr": torch.minimum(1 / SIGMA**2, torch.tensor(5.0)),
        "edm": (SIGMA**2 + sigma_data**2) / (SIGMA * sigma_data) ** 2,  # Karras et al. 2022, table 1
    }[weighting]
    wanted = (over(of_clean, clean) * (estimate - clean).square()).mean()
    loss = denoising_loss(network, clean, noise, SIGMA, **settings)
    torch.testing.assert_close(
        weighted(loss, noise_weight(weighting, prediction, SIGMA, sigma_data=sigma_data)), wanted
    )


@pytest.mark.parametrize("prediction", ["v", "noise", "x0"])
def test_min_snr_equals_that_of_diffusers_training_scripts(prediction: Prediction) -> None:
    scheduler = DDPMScheduler()
    timesteps = torch.tensor([0, 10, 400, 999])
    snr = compute_snr(scheduler, timesteps)
    divisor = {"noise": snr, "v": snr + 1, "x0": torch.ones(4)}[prediction]  # theirs for epsilon and v_prediction
    wanted = torch.stack((snr, 5.0 * torch.ones(4)), dim=1).min(dim=1)[0] / divisor
    alpha_bar = scheduler.alphas_cumprod[timesteps]
    sigma = ((1 - alpha_bar) / alpha_bar).sqrt()
    torch.testing.assert_close(noise_weight("min_snr", prediction, sigma), wanted, rtol=1e-5, atol=0)


def test_gamma_is_where_min_snr_stops_to_grow() -> None:
    assert noise_weight("min_snr", "x0", SIGMA, gamma=2.0).tolist() == pytest.approx([2, 2, 1, 1 / 49])


def test_none_and_edm_leave_the_error_of_an_edm_network_alone() -> None:
    for weighting in ("none", "edm"):
        torch.testing.assert_close(noise_weight(weighting, "edm", SIGMA, sigma_data=0.5), torch.ones_like(SIGMA))
    assert noise_weight("none", "noise", SIGMA).tolist() == [1, 1, 1, 1]


def test_bands_are_weighed_against_each_other() -> None:
    loss = torch.rand(2, 3, 2, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    of_noise, of_bands = torch.tensor([1.0, 4.0]).double(), torch.tensor([1.0, 2.0, 6.0]).double()
    wanted = sum(
        float(of_noise[i] * of_bands[j] / 3 * loss[i, j].mean()) for i in range(2) for j in range(3)
    ) / 6  # 3: mean of the bands' weights  # fmt: skip
    assert float(weighted(loss, of_noise, of_bands)) == pytest.approx(wanted)
    assert float(weighted(loss, of_noise, 10 * of_bands)) == pytest.approx(wanted)
    assert float(weighted(loss, torch.ones(2))) == pytest.approx(float(loss.mean()))
