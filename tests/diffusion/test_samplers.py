"""DDIM against diffusers' on the same noise table and the same toy network, and against what is known of Gaussians."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from braindiffusion.diffusion.noise import karras_sigmas, lognormal_sigmas
from braindiffusion.diffusion.samplers import ddim


def toy_noise_prediction(x_vp: torch.Tensor, t: int) -> torch.Tensor:
    return torch.tanh(x_vp * 0.7 + t / 1000) * 0.9 + 0.05 * x_vp


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("steps", [1, 7, 25])
def test_ddim_equals_diffusers(eta: float, steps: int) -> None:
    scheduler = DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="leading",
    )
    scheduler.set_timesteps(steps)
    timesteps = [int(t) for t in scheduler.timesteps]
    alpha_bar = scheduler.alphas_cumprod.double()
    generator = torch.Generator().manual_seed(3)
    shape = (2, 1, 4, 5, 6)
    start = torch.randn(shape, generator=generator)
    fresh = [torch.randn(shape, generator=generator) for _ in timesteps]

    theirs = start.clone()
    for t, noise in zip(timesteps, fresh, strict=True):
        predicted = toy_noise_prediction(theirs, t)
        theirs = scheduler.step(predicted, t, theirs, eta=eta, variance_noise=noise if eta else None).prev_sample

    sigmas = torch.tensor([((1 - alpha_bar[t]) / alpha_bar[t]).sqrt() for t in timesteps] + [0.0], dtype=torch.float64)
    by_sigma = {round(float(s), 6): t for s, t in zip(sigmas, timesteps, strict=False)}

    def denoiser(x: torch.Tensor, sigma: torch.Tensor, _: object = None) -> torch.Tensor:
        t = min(by_sigma.items(), key=lambda item: abs(item[0] - float(sigma[0])))[1]
        return x - sigma.view(-1, 1, 1, 1, 1) * toy_noise_prediction(x * alpha_bar[t].sqrt().float(), t)

    queue = iter(fresh)
    records = list(
        ddim(denoiser, start / alpha_bar[timesteps[0]].sqrt().float(), sigmas, eta=eta, noise=lambda: next(queue))
    )
    assert len(records) == steps
    scale = theirs.abs().max()  # the first steps divide by a small alpha: errors are relative to what is large there
    assert float((records[-1].x - theirs).abs().max() / scale) < 1e-5


def test_ddim_reaches_the_known_gaussian_at_first_order() -> None:
    # For data N(m, s^2) the ideal denoiser is linear, and the exact ODE maps noise z * sigma_max to
    # m + z * s * sigma_max / sqrt(s^2 + sigma_max^2): the Euler method's error halves as the steps double.
    mean, std, sigma_max = 0.3, 0.5, 80.0
    z = torch.linspace(-2, 2, 9, dtype=torch.float64).view(1, 1, 1, 1, 9)

    def ideal(x: torch.Tensor, sigma: torch.Tensor, _: object = None) -> torch.Tensor:
        s2 = sigma.double().view(-1, 1, 1, 1, 1) ** 2
        return mean + (x - mean) * std**2 / (std**2 + s2)

    exact = mean + (z * sigma_max - mean) * std / (std**2 + sigma_max**2) ** 0.5
    errors = []
    for steps in (16, 32, 64, 128):
        *_, last = ddim(ideal, z * sigma_max, karras_sigmas(steps, 1e-4, sigma_max))
        errors.append(float((last.x - exact).abs().max()))
    slope = np.polyfit(np.log([16, 32, 64, 128]), np.log(errors), 1)[0]
    assert -1.2 < slope < -0.8


def test_steps_tell_where_they_are() -> None:
    sigmas = karras_sigmas(4, 0.1, 10.0)
    records = list(ddim(lambda x, sigma, *_: x * 0, torch.ones(1, 1, 2, 2, 2), sigmas))
    assert [(r.step, r.of) for r in records] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [r.sigma for r in records] == pytest.approx(sigmas[1:].tolist())
    assert records[-1].sigma == 0


def test_eta_without_noise_is_refused() -> None:
    with pytest.raises(ValueError, match="source of noise"):
        next(ddim(lambda x, sigma, *_: x, torch.ones(1, 1, 2, 2, 2), karras_sigmas(2, 0.1, 1.0), eta=0.5))


def test_karras_sigmas_are_those_of_diffusers() -> None:
    from diffusers import EDMEulerScheduler

    scheduler = EDMEulerScheduler(sigma_min=0.002, sigma_max=80.0, rho=7.0)
    scheduler.set_timesteps(18)
    torch.testing.assert_close(karras_sigmas(18, 0.002, 80.0).float(), scheduler.sigmas, rtol=1e-5, atol=1e-6)


def test_training_noise_is_lognormal_and_stratified() -> None:
    sigma = lognormal_sigmas(4096, -0.5, 1.2, torch.Generator().manual_seed(0))
    log = sigma.log()
    assert float(log.mean()) == pytest.approx(-0.5, abs=0.01)
    assert float(log.std()) == pytest.approx(1.2, abs=0.02)
    # one of each stratum: even two draws are never both above the median
    for seed in range(20):
        pair = lognormal_sigmas(2, 0.0, 1.0, torch.Generator().manual_seed(seed))
        assert float(pair[0]) <= 1.0 <= float(pair[1])
