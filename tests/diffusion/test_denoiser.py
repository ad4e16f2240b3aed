"""The forward process and the five parameterisations, against diffusers, MONAI and the clean data themselves."""

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler
from monai.networks.schedulers import DDIMScheduler as MonaiDDIMScheduler
from monai.networks.schedulers import DDPMScheduler as MonaiDDPMScheduler
from monai.networks.schedulers import RFlowScheduler

from braindiffusion.diffusion.denoiser import Prediction, coefficients, denoise, denoising_loss, over

PREDICTIONS: tuple[Prediction, ...] = ("v", "flow", "x0", "noise", "edm")
SHAPE = (3, 2, 4, 3, 2)


def random(seed: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    clean, noise = (torch.randn(SHAPE, generator=generator, dtype=torch.float64) for _ in range(2))
    return clean.to(dtype), noise.to(dtype)


def what_is_predicted(
    prediction: Prediction, clean: torch.Tensor, noise: torch.Tensor, s: torch.Tensor, sigma_data: float
) -> torch.Tensor:
    """By the papers' own formulas, with alpha_bar or t."""
    alpha_bar, t = 1 / (1 + s**2), s / (1 + s)
    x_t = (1 - t) * clean + t * noise
    return {
        "v": alpha_bar**0.5 * noise - (1 - alpha_bar) ** 0.5 * clean,
        "flow": (x_t - clean) / t,
        "x0": clean,
        "noise": (alpha_bar**0.5 * (clean + s * noise) - alpha_bar**0.5 * clean) / (1 - alpha_bar) ** 0.5,
        "edm": (clean - sigma_data**2 / (s**2 + sigma_data**2) * (clean + s * noise))
        * (s**2 + sigma_data**2) ** 0.5
        / (s * sigma_data),
    }[prediction]


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("sigma_data", [1.0, 0.5])
def test_a_network_that_knows_denoises_perfectly_and_has_no_loss(prediction: Prediction, sigma_data: float) -> None:
    clean, noise = random(1)
    sigma = torch.tensor([0.01, 1.0, 80.0], dtype=torch.float64)
    s = over(sigma, clean)
    target = what_is_predicted(prediction, clean, noise, s, sigma_data)
    settings = {"prediction": prediction, "sigma_data": sigma_data}
    torch.testing.assert_close(denoise(lambda *_: target, clean + s * noise, sigma, **settings), clean)
    assert float(denoising_loss(lambda *_: target, clean, noise, sigma, **settings).max()) < 1e-9
    wrong = denoising_loss(lambda *_: target + 0.5, clean, noise, sigma, **settings)
    torch.testing.assert_close(wrong, torch.full_like(wrong, 0.25), atol=1e-5, rtol=0)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_equivalent_networks_are_the_same_denoiser(prediction: Prediction) -> None:
    # One estimate of the clean data, told as each of the predictions: what a network of that kind would have to say.
    x = random(2)[0] * 3
    sigma = torch.tensor([0.05, 0.7, 12.0], dtype=torch.float64)
    s = over(sigma, x)
    estimate = torch.tanh(x / (1 + s)) * 0.8

    def network(scaled: torch.Tensor, log_sigma: torch.Tensor, _: object) -> torch.Tensor:
        torch.testing.assert_close((4 * log_sigma).exp(), sigma)
        torch.testing.assert_close(scaled, coefficients(prediction, s).c_in * x)
        return what_is_predicted(prediction, estimate, (x - estimate) / s, s, 1.0)

    torch.testing.assert_close(denoise(network, x, sigma, prediction=prediction), estimate)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_input_of_a_network_has_unit_variance_or_is_flow_s(prediction: Prediction) -> None:
    sigma = torch.logspace(-2, 2, 9, dtype=torch.float64)
    scaled = coefficients(prediction, sigma).c_in
    of_flow = (1 / (1 + sigma)).square() * (1 + sigma.square())
    wanted = of_flow if prediction == "flow" else torch.ones_like(sigma)
    torch.testing.assert_close(scaled.square() * (1 + sigma.square()), wanted)


def test_edm_of_unit_data_is_v_with_the_other_sign() -> None:
    sigma = torch.logspace(-2, 2, 9, dtype=torch.float64)
    v, edm = coefficients("v", sigma), coefficients("edm", sigma)
    torch.testing.assert_close(torch.stack((v.c_in, v.c_skip, -v.c_out)), torch.stack(edm))


@pytest.mark.parametrize(
    ("prediction", "name"), [("v", "v_prediction"), ("noise", "epsilon"), ("x0", "sample")], ids=lambda word: word
)
@pytest.mark.parametrize("peer", [DDIMScheduler, MonaiDDIMScheduler])
def test_predictions_of_ddpm_equal_diffusers_and_monai(prediction: Prediction, name: str, peer: type) -> None:
    scheduler = peer(num_train_timesteps=1000, prediction_type=name, clip_sample=False)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    scheduler.set_timesteps(1000)
    x_vp = random(3)[0]
    for t in (10, 500, 900):
        alpha_bar = scheduler.alphas_cumprod[t]
        step = scheduler.step(torch.sin(x_vp), t, x_vp)
        theirs = step.pred_original_sample if peer is DDIMScheduler else step[1]
        sigma = ((1 - alpha_bar) / alpha_bar).sqrt().expand(3)
        ours = denoise(lambda scaled, *_: torch.sin(scaled), x_vp / alpha_bar.sqrt(), sigma, prediction=prediction)
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_edm_equals_diffusers() -> None:
    scheduler = EDMEulerScheduler(sigma_data=0.5)
    x = random(4, torch.float32)[0]
    for sigma in (0.01, 1.0, 50.0):
        level = torch.tensor(sigma)
        network_input = scheduler.precondition_inputs(x, level)
        theirs = scheduler.precondition_outputs(x, torch.sin(network_input), level)
        ours = denoise(lambda scaled, *_: torch.sin(scaled), x, level.expand(3), prediction="edm", sigma_data=0.5)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_flow_equals_monai() -> None:
    scheduler = RFlowScheduler(num_train_timesteps=1000)
    scheduler.set_timesteps(10)
    x_t = random(5)[0]
    for timestep in (100, 500, 900):
        t = timestep / 1000
        theirs = scheduler.step(-torch.sin(x_t), timestep, x_t)[1]  # MONAI's velocity points to the data
        sigma = torch.full((3,), t / (1 - t), dtype=torch.float64)
        ours = denoise(lambda scaled, *_: torch.sin(scaled), x_t / (1 - t), sigma, prediction="flow")
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("peer", [DDPMScheduler, MonaiDDPMScheduler])
def test_the_forward_process_equals_diffusers_and_monai(peer: type) -> None:
    scheduler = peer(num_train_timesteps=1000)
    clean, noise = random(6, torch.float32)
    t = torch.tensor([0, 321, 999])
    alpha_bar = scheduler.alphas_cumprod[t].double()
    theirs = scheduler.add_noise(clean, noise, t)
    ours = over(alpha_bar.sqrt(), clean) * (clean + over(((1 - alpha_bar) / alpha_bar).sqrt(), clean) * noise)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("peer", [FlowMatchEulerDiscreteScheduler, RFlowScheduler])
def test_the_forward_process_of_flow_equals_diffusers_and_monai(peer: type) -> None:
    scheduler = peer(num_train_timesteps=1000)
    clean, noise = random(7, torch.float32)
    timesteps = torch.tensor([50.0, 500.0, 950.0])
    forward = scheduler.scale_noise if peer is FlowMatchEulerDiscreteScheduler else scheduler.add_noise
    theirs = forward(
        clean, noise=noise, **{"timestep" if hasattr(scheduler, "scale_noise") else "timesteps": timesteps}
    )
    sigma = timesteps / (1000 - timesteps)
    c_in = coefficients("flow", over(sigma, clean)).c_in
    torch.testing.assert_close(c_in * (clean + over(sigma, clean) * noise), theirs, rtol=1e-5, atol=1e-6)


def test_monai_loses_its_noise_table_to_bfloat16_and_ours_does_not() -> None:
    # MONAI casts the table in place to the data's type: one bfloat16 batch, and every later one is noised wrongly.
    scheduler = MonaiDDPMScheduler(num_train_timesteps=1000)
    before = scheduler.alphas_cumprod.clone()
    clean, noise = random(8, torch.bfloat16)
    scheduler.add_noise(clean, noise, torch.tensor([1, 2, 3]))
    scheduler.add_noise(clean.float(), noise.float(), torch.tensor([1, 2, 3]))
    true, degraded = 1 - before[:100], 1 - scheduler.alphas_cumprod[:100]
    assert float((degraded / true - 1).abs().max()) > 0.5  # the noise's variance, where there is little of it
    # Ours are functions of sigma; only the network may be imprecise, and its answer is brought back to the data's type.
    x, sigma = random(8, torch.float32)[0], torch.tensor([0.01, 0.02, 0.05])
    precise = denoise(lambda scaled, *_: torch.sin(scaled), x, sigma)
    rough = denoise(lambda scaled, *_: torch.sin(scaled).bfloat16(), x, sigma)
    assert rough.dtype == torch.float32
    c_out = coefficients("v", over(sigma, x)).c_out.abs()
    assert bool(((rough - precise).abs() <= 2**-8 * c_out + 1e-6).all())


def test_a_silent_network_has_unit_loss_at_every_noise_level() -> None:
    # The point of the v target: no noise level dominates when training begins.
    generator = torch.Generator().manual_seed(2)
    clean, noise = (torch.randn(4, 1, 24, 24, 24, generator=generator) for _ in range(2))
    loss = denoising_loss(lambda x, *_: torch.zeros_like(x), clean, noise, torch.tensor([0.02, 0.5, 3.0, 50.0]))
    torch.testing.assert_close(loss.mean((1, 2, 3, 4)), torch.ones(4), atol=0.05, rtol=0)
