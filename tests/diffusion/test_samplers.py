"""Samplers against diffusers' and MONAI's, on the same noise table and the same toy network."""

from collections.abc import Callable

import pytest
import torch
from diffusers import (
    DDIMInverseScheduler,
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
)
from monai.networks.schedulers import DDIMScheduler as MonaiDDIMScheduler
from monai.networks.schedulers import DDPMScheduler as MonaiDDPMScheduler
from monai.networks.schedulers import RFlowScheduler
from torch import Tensor

from braindiffusion.diffusion.denoiser import Denoiser, denoise, over
from braindiffusion.diffusion.noise import NoiseSchedule
from braindiffusion.diffusion.samplers import SAMPLERS, SamplerName, ddim, ddim_inversion, ddpm, evaluations

# diffusers hands tensors to numpy in an old way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SHAPE = (2, 1, 4, 5, 6)


def network(scaled: Tensor, sigma: Tensor) -> Tensor:
    """Something smooth of both its inputs; taken for whatever a peer's prediction type is."""
    return torch.tanh(0.7 * scaled + torch.log1p(sigma) / 8) * 0.9 + 0.05 * scaled


def denoiser(prediction: str, sigma_data: float = 1.0) -> Denoiser:
    def d(x: Tensor, sigma: Tensor, _: object = None) -> Tensor:
        def told(scaled: Tensor, log_sigma: Tensor, _: object) -> Tensor:
            return network(scaled, over((4 * log_sigma).exp(), scaled))

        return denoise(told, x, sigma, prediction=prediction, sigma_data=sigma_data)

    return d


def randn(count: int, dtype: torch.dtype, seed: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(SHAPE, generator=generator, dtype=dtype) for _ in range(count)]


def sigma_of(alpha_bar: Tensor) -> Tensor:
    return ((1 - alpha_bar) / alpha_bar).sqrt()


def in_float64(scheduler: DDIMScheduler) -> DDIMScheduler:
    """With the table of its own betas, and not its rounding."""
    scheduler.betas = scheduler.betas.double()
    scheduler.alphas = 1 - scheduler.betas
    scheduler.alphas_cumprod = scheduler.alphas.cumprod(0)
    return scheduler


def walk_of(scheduler: DDIMScheduler) -> tuple[list[int], Tensor]:
    """Its timesteps, and their noise levels with a final 0."""
    timesteps = [int(t) for t in scheduler.timesteps]
    return timesteps, torch.cat((sigma_of(scheduler.alphas_cumprod[timesteps]), torch.zeros(1)))


def close(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    """Relative to what is large there: the first steps divide by a small alpha."""
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < tolerance


PRECISIONS = pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
PREDICTIONS = pytest.mark.parametrize(
    ("prediction", "name"), [("noise", "epsilon"), ("v", "v_prediction"), ("x0", "sample")]
)


@PRECISIONS
@PREDICTIONS
@pytest.mark.parametrize(("steps", "eta"), [(1, 0.0), (7, 0.4), (25, 0.0), (25, 1.0)])
def test_ddim_equals_diffusers(
    prediction: str, name: str, steps: int, eta: float, dtype: torch.dtype, tolerance: float
) -> None:
    scheduler = in_float64(DDIMScheduler(prediction_type=name, clip_sample=False))
    scheduler.set_timesteps(steps)
    timesteps, sigmas = walk_of(scheduler)
    start, *fresh = randn(steps + 1, dtype)
    theirs = start
    for t, sigma, noise in zip(timesteps, sigmas, fresh, strict=False):
        predicted = network(theirs, sigma.to(dtype))
        theirs = scheduler.step(predicted, t, theirs, eta=eta, variance_noise=noise if eta else None).prev_sample
    alpha = scheduler.alphas_cumprod[timesteps[0]].sqrt().to(dtype)
    queue = iter(fresh)
    records = list(ddim(denoiser(prediction), start / alpha, sigmas, eta=eta, noise=lambda: next(queue)))
    assert len(records) == steps
    close(records[-1].x, theirs, tolerance)


@PRECISIONS
@PREDICTIONS
def test_ddim_equals_monai_on_all_its_steps(prediction: str, name: str, dtype: torch.dtype, tolerance: float) -> None:
    scheduler = in_float64(MonaiDDIMScheduler(50, schedule="cosine", prediction_type=name, clip_sample=False))
    scheduler.set_timesteps(50)
    timesteps, sigmas = walk_of(scheduler)
    theirs = start = randn(1, dtype)[0]
    for t, sigma in zip(timesteps, sigmas, strict=False):
        theirs, _ = scheduler.step(network(theirs, sigma.to(dtype)), t, theirs)
    *_, last = ddim(denoiser(prediction), start / scheduler.alphas_cumprod[-1].sqrt().to(dtype), sigmas)
    close(last.x, theirs, tolerance)


@PRECISIONS
@PREDICTIONS
@pytest.mark.parametrize("steps", [1, 7, 25])
def test_ddpm_equals_diffusers(prediction: str, name: str, steps: int, dtype: torch.dtype, tolerance: float) -> None:
    scheduler = in_float64(DDPMScheduler(prediction_type=name, clip_sample=False))
    scheduler.set_timesteps(steps)
    timesteps, sigmas = walk_of(scheduler)
    theirs = start = randn(1, dtype)[0]
    generator = torch.Generator().manual_seed(5)
    for t, sigma in zip(timesteps, sigmas, strict=False):
        theirs = scheduler.step(network(theirs, sigma.to(dtype)), t, theirs, generator=generator).prev_sample
    queue = iter(randn(steps, dtype, seed=5))
    alpha = scheduler.alphas_cumprod[timesteps[0]].sqrt().to(dtype)
    *_, last = ddpm(denoiser(prediction), start / alpha, sigmas, noise=lambda: next(queue))
    close(last.x, theirs, tolerance)


@PRECISIONS
def test_ddpm_equals_monai_on_all_its_steps(dtype: torch.dtype, tolerance: float) -> None:
    scheduler = in_float64(MonaiDDPMScheduler(50, schedule="cosine", clip_sample=False))
    scheduler.set_timesteps(50)
    timesteps, sigmas = walk_of(scheduler)
    theirs = start = randn(1, dtype)[0]
    generator = torch.Generator().manual_seed(5)
    for t, sigma in zip(timesteps, sigmas, strict=False):
        theirs, _ = scheduler.step(network(theirs, sigma.to(dtype)), t, theirs, generator=generator)
    queue = iter(randn(50, dtype, seed=5))
    alpha = scheduler.alphas_cumprod[-1].sqrt().to(dtype)
    *_, last = ddpm(denoiser("noise"), start / alpha, sigmas, noise=lambda: next(queue))
    close(last.x, theirs, tolerance)


@pytest.mark.parametrize(
    ("prediction", "name"),
    [("noise", "epsilon"), ("v", "v_prediction"), ("x0", "sample"), ("flow", "flow_prediction")],
)
@pytest.mark.parametrize("steps", [1, 5, 20])
def test_dpmpp_2m_equals_diffusers(prediction: str, name: str, steps: int) -> None:
    flow = prediction == "flow"
    settings = {"use_flow_sigmas": True, "flow_shift": 2.0} if flow else {"beta_schedule": "scaled_linear"}
    scheduler = DPMSolverMultistepScheduler(prediction_type=name, **settings)
    scheduler.set_timesteps(steps)
    sigmas = scheduler.sigmas.double()
    sigmas = sigmas / (1 - sigmas) if flow else sigmas
    theirs = start = randn(1, torch.float32)[0]
    for t, sigma in zip(scheduler.timesteps, sigmas.float(), strict=False):
        theirs = scheduler.step(network(theirs, sigma), t, theirs).prev_sample
    scale = 1 + sigmas[0] if flow else (1 + sigmas[0].square()).sqrt()
    *_, last = SAMPLERS["dpmpp_2m"](denoiser(prediction), start * scale.float(), sigmas)
    close(last.x, theirs, 1e-5)


@pytest.mark.parametrize("steps", [3, 20])  # in one step from sigma 80, diffusers' own rounding is 4e-5
@pytest.mark.parametrize(
    ("name", "peer"), [("ddim", EDMEulerScheduler), ("dpmpp_2m", EDMDPMSolverMultistepScheduler)], ids=str
)
def test_edm_s_samplers_equal_diffusers(name: SamplerName, peer: type, steps: int) -> None:
    scheduler = peer(sigma_data=0.5)
    scheduler.set_timesteps(steps)
    theirs = start = randn(1, torch.float32)[0] * float(scheduler.sigmas[0])
    for t, sigma in zip(scheduler.timesteps, scheduler.sigmas, strict=False):
        predicted = network(scheduler.scale_model_input(theirs, t), sigma)
        theirs = scheduler.step(predicted, t, theirs).prev_sample
    *_, last = SAMPLERS[name](
        denoiser("edm", sigma_data=0.5), start, NoiseSchedule("karras", 80.0, 0.002).sampling_sigmas(steps)
    )
    close(last.x, theirs, 1e-5)


@pytest.mark.parametrize(("prediction", "name"), [("noise", "epsilon"), ("v", "v_prediction"), ("x0", "sample")])
@pytest.mark.parametrize("steps", [1, 5, 20])
def test_heun_equals_diffusers(prediction: str, name: str, steps: int) -> None:
    scheduler = HeunDiscreteScheduler(beta_schedule="scaled_linear", prediction_type=name)
    scheduler.set_timesteps(steps)
    scheduler.sigmas = scheduler.sigmas.double()
    theirs = start = randn(1, torch.float64)[0] * scheduler.sigmas[0]
    assert len(scheduler.timesteps) == evaluations("heun", steps)
    for t, sigma in zip(scheduler.timesteps, scheduler.sigmas, strict=False):
        predicted = network(scheduler.scale_model_input(theirs, t), sigma)
        theirs = scheduler.step(predicted, t, theirs).prev_sample
    *_, last = SAMPLERS["heun"](denoiser(prediction), start, scheduler.sigmas.unique().flip(0))
    close(last.x, theirs, 1e-10)


@pytest.mark.parametrize("steps", [1, 7, 25])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_euler_flow_equals_diffusers(steps: int, shift: float) -> None:
    sigmas = NoiseSchedule("flow", sigma_max=500.0, shift=shift).sampling_sigmas(steps)
    t = (sigmas / (1 + sigmas)).float()
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=t[:-1].tolist())
    theirs = start = randn(1, torch.float32)[0]
    for timestep, sigma in zip(scheduler.timesteps, sigmas.float(), strict=False):
        theirs = scheduler.step(network(theirs, sigma), timestep, theirs).prev_sample
    *_, last = SAMPLERS["euler_flow"](denoiser("flow"), start * (1 + sigmas[0]).float(), sigmas)
    close(last.x, theirs, 1e-5)


@PRECISIONS
def test_euler_flow_equals_monai(dtype: torch.dtype, tolerance: float) -> None:
    scheduler = RFlowScheduler(num_train_timesteps=1000)
    scheduler.set_timesteps(10)
    timesteps = scheduler.timesteps[1:].tolist()  # the first, t = 1, has no sigma
    t = torch.tensor([*timesteps, 0], dtype=torch.float64) / 1000
    sigmas = t / (1 - t)
    theirs = start = randn(1, dtype)[0]
    for now, following, sigma in zip(timesteps, [*timesteps[1:], 0], sigmas, strict=False):
        theirs, _ = scheduler.step(-network(theirs, sigma.to(dtype)), now, theirs, following)
    *_, last = SAMPLERS["euler_flow"](denoiser("flow"), start / (1 - t[0]).to(dtype), sigmas)
    close(last.x, theirs, tolerance)


@PRECISIONS
@pytest.mark.parametrize("steps", [1, 7, 25])
def test_one_iteration_of_ddim_inversion_equals_diffusers(steps: int, dtype: torch.dtype, tolerance: float) -> None:
    # Of a network that predicts noise only: for the others diffusers reads the prediction, made for the higher noise
    # level, with the coefficients of the lower one, and divides 0 by 0 at the clean data if it predicts those.
    scheduler = in_float64(DDIMInverseScheduler(clip_sample=False))
    scheduler.set_timesteps(steps)
    timesteps, sigmas = walk_of(scheduler)
    theirs = clean = randn(1, dtype)[0]
    for t, sigma in zip(timesteps, sigmas, strict=False):
        theirs = scheduler.step(network(theirs, sigma.to(dtype)), t, theirs).prev_sample
    falling = torch.cat((sigmas[:-1].flip(0), torch.zeros(1)))
    records = list(ddim_inversion(denoiser("noise"), clean, falling, iterations=1))
    assert [record.sigma for record in records] == falling.flip(0)[1:].tolist()
    close(records[-1].x * scheduler.alphas_cumprod[timesteps[-1]].sqrt().to(dtype), theirs, tolerance)


def test_ddim_inversion_comes_back() -> None:
    # 50 steps down, up and down again, with networks that are far from linear. (Not with x0: this one is no denoiser,
    # its estimate does not come near the data as the noise goes.)
    sigmas = NoiseSchedule("karras", 20.0, 0.01).sampling_sigmas(50)
    start = randn(1, torch.float32)[0] * 20
    for prediction in ("v", "flow", "noise", "edm"):
        d = denoiser(prediction)
        *_, made = ddim(d, start, sigmas)
        *_, inverted = ddim_inversion(d, made.x, sigmas)
        assert inverted.sigma == pytest.approx(20.0)
        *_, again = ddim(d, inverted.x, sigmas)
        close(again.x, made.x, 1e-3)
        close(inverted.x, start, 1e-3)
        *_, once = ddim_inversion(d, made.x, sigmas, iterations=1)
        *_, differs = ddim(d, once.x, sigmas)
        assert float((differs.x - made.x).norm() / made.x.norm()) > 1e-3


def knows(clean: Tensor, told: list[float] | None = None) -> Callable[[Tensor, float], Tensor]:
    """A network that knows the clean data: its noise prediction for data that it takes to be at alpha_bar."""

    def predict(x_vp: Tensor, alpha_bar: float) -> Tensor:
        if told is not None:
            told.append(alpha_bar)
        return (x_vp - alpha_bar**0.5 * clean) / (1 - alpha_bar) ** 0.5

    return predict


def test_where_diffusers_stops_short_of_the_clean_data_ours_does_not() -> None:
    # With "trailing" spacing and steps that do not divide 1000, diffusers' DDIM steps to t - 142, which is not the next
    # timestep, and at the end to timestep 0 rather than to the clean data: some noise is left.
    scheduler = in_float64(DDIMScheduler(clip_sample=False, timestep_spacing="trailing"))
    scheduler.set_timesteps(7)
    timesteps, sigmas = walk_of(scheduler)
    clean, theirs = randn(2, torch.float64)
    for t in timesteps:
        predicted = knows(clean)(theirs, float(scheduler.alphas_cumprod[t]))
        theirs = scheduler.step(predicted, t, theirs).prev_sample
    assert float((theirs - clean).abs().max()) > 1e-3
    *_, last = ddim(lambda x, *_: clean, randn(1, torch.float64)[0] * sigmas[0], sigmas)
    torch.testing.assert_close(last.x, clean)


@pytest.mark.parametrize("peer", [MonaiDDIMScheduler, MonaiDDPMScheduler])
def test_where_monai_skips_timesteps_it_loses_the_noise_level_ours_does_not(peer: type) -> None:
    # With fewer steps than it was trained with, MONAI's timesteps are 111 apart. DDIM takes away 100 steps' worth of
    # noise, DDPM that of 1: the next call of the network finds more noise in the data than it is told.
    scheduler = in_float64(peer(1000, schedule="cosine", clip_sample=False))
    scheduler.set_timesteps(10)
    timesteps, sigmas = walk_of(scheduler)
    assert timesteps[5:7] == [444, 333]
    now, following = (float(scheduler.alphas_cumprod[t]) for t in timesteps[5:7])
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(64, 64, 64, generator=generator, dtype=torch.float64)[None, None]
    clean = torch.zeros_like(noise)
    theirs, _ = scheduler.step(knows(clean)((1 - now) ** 0.5 * noise, now), timesteps[5], (1 - now) ** 0.5 * noise)
    between = timesteps[5] - (100 if peer is MonaiDDIMScheduler else 1)
    left = float(1 - scheduler.alphas_cumprod[between])
    assert float(theirs.var()) == pytest.approx(left, rel=0.02)
    assert left > 1.05 * (1 - following)
    name: SamplerName = "ddim" if peer is MonaiDDIMScheduler else "ddpm"
    fresh = torch.randn(64, 64, 64, generator=generator, dtype=torch.float64)[None, None]
    step = next(SAMPLERS[name](lambda x, *_: clean, sigmas[5] * noise, sigmas[5:], noise=lambda: fresh))
    assert float(step.x.var() * following) == pytest.approx(1 - following, rel=0.02)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_steps_tell_where_they_are_and_cost_what_is_said(name: SamplerName, steps: int) -> None:
    sigmas = NoiseSchedule("karras", 10.0, 0.1).sampling_sigmas(steps)
    condition = {"age": torch.tensor([[60.0], [70.0]])}
    calls = []

    def counting(x: Tensor, sigma: Tensor, condition: object = None) -> Tensor:
        calls.append(condition)
        assert sigma.shape == (2,)
        return denoiser("v")(x, sigma)

    start = randn(1, torch.float32)[0] * 10
    records = list(SAMPLERS[name](counting, start, sigmas, condition, noise=lambda: torch.zeros(SHAPE)))
    assert [(r.step, r.of) for r in records] == [(i, steps) for i in range(1, steps + 1)]
    assert [r.sigma for r in records] == pytest.approx(sigmas[1:].tolist())
    torch.testing.assert_close(records[-1].x, records[-1].denoised)  # nothing is left but the estimate
    assert len(calls) == evaluations(name, steps)
    assert all(asked is condition for asked in calls)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "dpmpp_2m"])  # which remembers a step
def test_half_way_and_on_from_there_is_the_whole_way(name: SamplerName) -> None:
    sigmas = NoiseSchedule("karras", 10.0, 0.1).sampling_sigmas(8)
    start = randn(1, torch.float64)[0] * 10
    quiet = torch.zeros(SHAPE)
    *_, whole = SAMPLERS[name](denoiser("v"), start, sigmas, noise=lambda: quiet)
    *_, half = SAMPLERS[name](denoiser("v"), start, sigmas[:5], noise=lambda: quiet)
    assert half.sigma == pytest.approx(float(sigmas[4]))
    *_, rest = SAMPLERS[name](denoiser("v"), half.x, sigmas[4:], noise=lambda: quiet)
    close(rest.x, whole.x, 1e-12)


@pytest.mark.parametrize("sigmas", [[1.0], [1.0, 1.0, 0.0], [0.0, 1.0], [1.0, -1.0]])
@pytest.mark.parametrize("sampler", [*SAMPLERS.values(), ddim_inversion])
def test_sigmas_that_do_not_fall_are_refused(sampler: Callable[..., object], sigmas: list[float]) -> None:
    with pytest.raises(ValueError, match="noise levels that fall"):
        next(sampler(denoiser("v"), torch.ones(SHAPE), torch.tensor(sigmas), **noise_if_any(sampler)))


def noise_if_any(sampler: Callable[..., object]) -> dict[str, Callable[[], Tensor]]:
    return {} if sampler is ddim_inversion else {"noise": lambda: torch.zeros(SHAPE)}


@pytest.mark.parametrize("eta", [0.5, -0.1, 1.1])
def test_eta_without_noise_or_out_of_range_is_refused(eta: float) -> None:
    noise = None if eta == 0.5 else lambda: torch.zeros(SHAPE)
    with pytest.raises(ValueError, match="source of noise"):
        next(
            ddim(
                denoiser("v"),
                torch.ones(SHAPE),
                NoiseSchedule("karras", 1.0, 0.1).sampling_sigmas(2),
                eta=eta,
                noise=noise,
            )
        )
