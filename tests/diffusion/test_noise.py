"""Noise schedules against diffusers' and MONAI's, and training noise against the distributions that it should have."""

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
)
from monai.networks.schedulers import DDPMScheduler as MonaiDDPMScheduler
from monai.networks.schedulers import RFlowScheduler
from monai.networks.schedulers.rectified_flow import timestep_transform
from scipy import stats

from braindiffusion.diffusion.noise import (
    TERMINAL_SIGMA,
    NoiseSchedule,
    Schedule,
    Table,
    lognormal_sigmas,
    table_sigmas,
)
from braindiffusion.diffusion.samplers import ddim

SCHEDULES: tuple[Schedule, ...] = ("karras", "flow", "linear", "scaled_linear", "cosine", "sigmoid")


def sigmas_of(alphas_cumprod: torch.Tensor) -> torch.Tensor:
    return ((1 - alphas_cumprod) / alphas_cumprod).sqrt()


@pytest.mark.parametrize(
    ("table", "of_diffusers", "of_monai"),
    [
        ("linear", "linear", "linear_beta"),
        ("scaled_linear", "scaled_linear", "scaled_linear_beta"),
        ("cosine", "squaredcos_cap_v2", "cosine"),
        ("sigmoid", "sigmoid", "sigmoid_beta"),
    ],
)
def test_tables_equal_diffusers_and_monai(table: Table, of_diffusers: str, of_monai: str) -> None:
    ours = table_sigmas(table)
    for theirs in (DDPMScheduler(beta_schedule=of_diffusers), MonaiDDPMScheduler(1000, schedule=of_monai)):
        # Theirs are float32, where 1 - alpha_bar of the first entries keeps three digits; from their betas it is better
        # (MONAI rounds those of the cosine too).
        torch.testing.assert_close(sigmas_of(theirs.alphas_cumprod).double(), ours, rtol=2e-3, atol=0)
        exact = sigmas_of((1 - theirs.betas.double()).cumprod(0))
        rtol = 1e-3 if isinstance(theirs, MonaiDDPMScheduler) and table == "cosine" else 1e-5
        torch.testing.assert_close(exact[:-1], ours[:-1], rtol=rtol, atol=0)


def test_the_cosine_table_is_its_formula() -> None:
    # Nichol and Dhariwal 2021, equation 17: alpha_bar = f(t) / f(0), up to where beta is capped.
    t = np.arange(1, 1000) / 1000
    alpha_bar = (np.cos((t + 0.008) / 1.008 * np.pi / 2) / np.cos(0.008 / 1.008 * np.pi / 2)) ** 2
    np.testing.assert_allclose(table_sigmas("cosine")[:-1], np.sqrt(1 / alpha_bar - 1), rtol=1e-9)


@pytest.mark.parametrize(
    ("table", "of_diffusers"),
    [("linear", "linear"), ("scaled_linear", "scaled_linear"), ("cosine", "squaredcos_cap_v2"), ("sigmoid", "sigmoid")],
)
def test_zero_terminal_snr_equals_diffusers(table: Table, of_diffusers: str) -> None:
    theirs = DDPMScheduler(beta_schedule=of_diffusers, rescale_betas_zero_snr=True).alphas_cumprod
    ours = table_sigmas(table, zero_terminal_snr=True)
    assert float(theirs[-1]) == 0
    assert float(ours[-1]) == TERMINAL_SIGMA
    torch.testing.assert_close((1 / (1 + ours.square())).sqrt().float(), theirs.sqrt(), rtol=1e-3, atol=1e-4)
    assert bool((ours.diff() > 0).all())
    assert float(ours[0]) == pytest.approx(float(table_sigmas(table)[0]))


def test_where_diffusers_walk_rises_at_zero_snr_ours_falls() -> None:
    # diffusers puts sigma 4096 where infinity would be; its last but one is 15,406 already.
    theirs = DPMSolverMultistepScheduler(beta_schedule="linear", rescale_betas_zero_snr=True).sigmas
    assert float(theirs[-1]) == pytest.approx(4096)
    assert float(theirs[-2]) > 15_000
    walk = NoiseSchedule("linear", sigma_max=TERMINAL_SIGMA, zero_terminal_snr=True).sampling_sigmas(1000)
    assert bool((walk.diff() < 0).all())


@pytest.mark.parametrize("zero_terminal_snr", [False, True])
def test_what_a_start_without_the_mean_forgets_of_it(zero_terminal_snr: bool) -> None:
    # A sampler starts from noise alone, but training's noisiest data still have a mean. For data N(m, 1) the ODE brings
    # a start that is wrong by m to a sample that is wrong by m / sqrt(1 + sigma_max^2): 0.6 % with DDPM's own table.
    schedule = NoiseSchedule("linear", sigma_max=TERMINAL_SIGMA, zero_terminal_snr=zero_terminal_snr)
    sigmas = schedule.sampling_sigmas(400)
    start = torch.tensor([0.0, 1.0], dtype=torch.float64).view(2, 1, 1, 1, 1)  # without and with the mean

    def ideal(x: torch.Tensor, sigma: torch.Tensor, _: object = None) -> torch.Tensor:
        return 1 + (x - 1) / (1 + sigma.view(-1, 1, 1, 1, 1).square())

    *_, last = ddim(ideal, start, sigmas)
    forgotten = float((last.x[1] - last.x[0]).squeeze())
    assert forgotten == pytest.approx(1 / float(sigmas[0]), rel=0.1)
    assert (forgotten < 2e-5) is zero_terminal_snr


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 7, 50, 1000, 1500])
def test_any_number_of_steps_falls_to_zero(name: Schedule, steps: int) -> None:
    schedule = NoiseSchedule(name, sigma_max=20.0, sigma_min=0.01)
    sigmas = schedule.sampling_sigmas(steps)
    assert sigmas.shape == (steps + 1,)
    assert sigmas.dtype == torch.float64
    assert bool((sigmas.diff() < 0).all())
    assert float(sigmas[0]) == pytest.approx(20.0)
    assert float(sigmas[-1]) == 0
    shifted = NoiseSchedule(name, sigma_max=20.0, sigma_min=0.01, shift=1.5).sampling_sigmas(steps)
    torch.testing.assert_close(shifted, 1.5 * sigmas)


def test_karras_equals_diffusers() -> None:
    scheduler = EDMEulerScheduler(sigma_min=0.002, sigma_max=80.0, rho=7.0)
    scheduler.set_timesteps(18)
    torch.testing.assert_close(
        NoiseSchedule("karras", 80.0, 0.002).sampling_sigmas(18).float(), scheduler.sigmas, rtol=1e-5, atol=1e-6
    )
    assert (
        NoiseSchedule("karras", 80.0, 0.002, 3.0).sampling_sigmas(18)[9]
        > NoiseSchedule("karras", 80.0, 0.002).sampling_sigmas(18)[9]
    )


@pytest.mark.parametrize("steps", [10, 50])
def test_tables_are_walked_as_diffusers_trailing_does(steps: int) -> None:
    # Lin et al. 2024, table 2: the only spacing that begins at the noisiest level.
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    theirs = sigmas_of(scheduler.alphas_cumprod[scheduler.timesteps]).double()
    ours = NoiseSchedule("scaled_linear", sigma_max=TERMINAL_SIGMA).sampling_sigmas(steps)
    torch.testing.assert_close(ours[:-1], theirs, rtol=1e-4, atol=0)


def test_a_table_is_cut_off_at_sigma_max() -> None:
    whole = NoiseSchedule("linear", sigma_max=TERMINAL_SIGMA)
    assert float(whole.sampling_sigmas(5)[0]) == pytest.approx(float(table_sigmas("linear")[-1]))
    cut = NoiseSchedule("linear", sigma_max=20.0)
    assert float(cut.at(torch.tensor(1.0))) == pytest.approx(20.0)
    # and runs through the same levels below
    index = int((table_sigmas("linear") < 20.0).sum())
    assert float(cut.at(torch.tensor(0.5))) == pytest.approx(float(table_sigmas("linear")[index // 2]), rel=0.01)


def test_flow_is_even_in_time_and_shifted_as_diffusers_and_monai_do() -> None:
    steps, shift = 20, 3.0
    walk = NoiseSchedule("flow", sigma_max=TERMINAL_SIGMA, shift=shift).sampling_sigmas(steps)
    t = walk / (1 + walk)
    even = [1 - i / steps for i in range(steps)]
    theirs = FlowMatchEulerDiscreteScheduler(shift=shift)
    theirs.set_timesteps(sigmas=even)
    torch.testing.assert_close(t.float(), theirs.sigmas, rtol=0, atol=2e-5)
    # MONAI's shift is the edge's ratio: (3^3 times the voxels) gives 3.
    monai = [timestep_transform(1000 * u, 27 * 32**3) / 1000 for u in even]
    torch.testing.assert_close(t[:-1], torch.tensor(monai, dtype=torch.float64), rtol=0, atol=2e-5)
    plain = RFlowScheduler(num_train_timesteps=1000)
    plain.set_timesteps(steps)
    unshifted = NoiseSchedule("flow", sigma_max=TERMINAL_SIGMA).sampling_sigmas(steps)[:-1]
    torch.testing.assert_close((unshifted / (1 + unshifted)).float() * 1000, plain.timesteps.float(), rtol=0, atol=0.02)


def test_where_diffusers_shifts_its_last_time_twice_ours_does_not() -> None:
    # FlowMatchEulerDiscreteScheduler shifts its limits when it is made, and all between them again when it is asked.
    theirs = FlowMatchEulerDiscreteScheduler(shift=3.0)
    theirs.set_timesteps(1000)
    assert float(theirs.sigmas[-2]) == pytest.approx(9 * 0.001 / (1 + 8 * 0.001), rel=1e-4)
    t = NoiseSchedule("flow", sigma_max=TERMINAL_SIGMA, shift=3.0).sampling_sigmas(1000)[-2]
    assert float(t / (1 + t)) == pytest.approx(3 * 0.001 / (1 + 2 * 0.001), rel=1e-4)


def test_training_noise_is_lognormal_and_stratified() -> None:
    sigma = lognormal_sigmas(4096, -0.5, 1.2, torch.Generator().manual_seed(0))
    log = sigma.log()
    assert float(log.mean()) == pytest.approx(-0.5, abs=0.01)
    assert float(log.std()) == pytest.approx(1.2, abs=0.02)
    # one of each stratum: even two draws are never both above the median
    for seed in range(20):
        pair = lognormal_sigmas(2, 0.0, 1.0, torch.Generator().manual_seed(seed))
        assert float(pair[0]) <= 1.0 <= float(pair[1])


def test_lognormal_sigma_is_logit_normal_time() -> None:
    mean, std = 0.4, 0.9
    sigma = lognormal_sigmas(512, mean, std, torch.Generator().manual_seed(1)).double()
    t = (sigma / (1 + sigma)).numpy()
    logit_normal = stats.norm(mean, std).cdf(np.log(t / (1 - t)))
    assert stats.kstest(logit_normal, "uniform").statistic < 1 / 512 + 1e-3  # stratified: not even a draw's chance
    scheduler = RFlowScheduler(use_discrete_timesteps=False, sample_method="logit-normal", loc=mean, scale=std)
    torch.manual_seed(0)
    theirs = scheduler.sample_timesteps(torch.zeros(4000, 1, 1, 1, 1)).numpy() / 1000
    assert stats.ks_2samp(t, theirs).pvalue > 0.01


@pytest.mark.parametrize("name", SCHEDULES)
def test_even_draws_are_the_schedule_stratified(name: Schedule) -> None:
    schedule = NoiseSchedule(name, sigma_max=20.0, sigma_min=0.01, shift=1.5)
    count = 64
    sigma = schedule.training_sigmas(count, torch.Generator().manual_seed(0))
    assert sigma.dtype == torch.float32
    edges = schedule.at(torch.linspace(1, 0, count + 1, dtype=torch.float64))
    assert bool((sigma <= edges[:-1] * (1 + 1e-6)).all())
    assert bool((sigma >= edges[1:] * (1 - 1e-6)).all())
    assert bool((sigma > 0).all())
    assert not torch.equal(sigma, schedule.training_sigmas(count, torch.Generator().manual_seed(1)))


@pytest.mark.parametrize(
    "settings",
    [
        {"sigma_min": 2.0, "sigma_max": 1.0},
        {"rho": 0.0},
        {"shift": -1.0},
        {"name": "flow", "zero_terminal_snr": True, "sigma_max": TERMINAL_SIGMA},
        {"name": "linear", "zero_terminal_snr": True},
    ],
)
def test_what_is_no_schedule_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"needs 0 < sigma_min|moves the end of a table"):
        NoiseSchedule(**settings)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("count", [1, 8, 32, 1000])
def test_a_batch_never_has_a_noise_level_of_zero(name: Schedule, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest random number below 1, in the last of `count` parts, is 1 in float32."""
    monkeypatch.setattr(torch, "rand", lambda size, generator: torch.full((size,), 1 - 2**-24))
    sigmas = NoiseSchedule(name).training_sigmas(count, torch.Generator())
    assert bool((sigmas > 0).all())
    assert bool(sigmas.log().isfinite().all())
