"""The denoiser's algebra against diffusers' v-prediction and against the clean data themselves."""

import torch
from diffusers import DDIMScheduler

from braindiffusion.diffusion.denoiser import denoise, denoising_loss


def test_denoiser_of_a_v_network_equals_diffusers() -> None:
    scheduler = DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", clip_sample=False)
    scheduler.set_timesteps(10)
    x_vp = torch.randn(2, 1, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    for t in (100, 500, 900):
        alpha_bar = scheduler.alphas_cumprod[t]
        v = torch.sin(x_vp)
        theirs = scheduler.step(v, t, x_vp).pred_original_sample
        sigma = ((1 - alpha_bar) / alpha_bar).sqrt().expand(2)
        ours = denoise(lambda scaled, *_: torch.sin(scaled), x_vp / alpha_bar.sqrt(), sigma)
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_network_that_knows_v_denoises_perfectly_and_has_no_loss() -> None:
    generator = torch.Generator().manual_seed(1)
    clean, noise = (torch.randn(3, 2, 4, 4, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    sigma = torch.tensor([0.01, 1.0, 80.0], dtype=torch.float64)
    s = sigma.view(-1, 1, 1, 1, 1)
    v = (noise - s * clean) / (1 + s**2).sqrt()
    torch.testing.assert_close(denoise(lambda *_: v, clean + s * noise, sigma), clean)
    assert float(denoising_loss(lambda *_: v, clean, noise, sigma).max()) < 1e-10


def test_a_silent_network_has_unit_loss_at_every_noise_level() -> None:
    # The point of the v target: no noise level dominates when training begins.
    generator = torch.Generator().manual_seed(2)
    clean, noise = (torch.randn(4, 1, 24, 24, 24, generator=generator) for _ in range(2))
    loss = denoising_loss(lambda x, *_: torch.zeros_like(x), clean, noise, torch.tensor([0.02, 0.5, 3.0, 50.0]))
    torch.testing.assert_close(loss.mean((1, 2, 3, 4)), torch.ones(4), atol=0.05, rtol=0)
