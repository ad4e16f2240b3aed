"""What is known exactly: for Gaussian data the ideal denoiser is affine, and so is every sampler.

A sampler's map from all its noise to its sample is read off by running it on unit vectors, one a batch entry: no chance
is involved. The probability-flow ODE brings N(m, C + sigma^2) to N(m, C) by (C / (C + sigma^2))^(1/2).
"""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from braindiffusion.diffusion.noise import TERMINAL_SIGMA, NoiseSchedule, Schedule
from braindiffusion.diffusion.samplers import SAMPLERS, SamplerName, ddim, ddim_inversion

MEAN = torch.tensor([0.3, -1.0, 0.5, 0.0], dtype=torch.float64)
MIX = torch.tensor(
    [[1.0, 0.2, 0.0, 0.0], [0.7, 0.5, 0.1, 0.0], [-0.4, 0.3, 0.8, 0.0], [0.1, -0.6, 0.2, 0.3]], dtype=torch.float64
)
COVARIANCE = MIX @ MIX.T  # correlated, standard deviations from 0.25 to 1.5 along its axes
VARIANCES, AXES = torch.linalg.eigh(COVARIANCE)


def function_of_covariance(f: Callable[[Tensor], Tensor]) -> Tensor:
    return AXES @ torch.diag(f(VARIANCES)) @ AXES.T


def ideal(x: Tensor, sigma: Tensor, _: object = None) -> Tensor:
    """m + C (C + sigma^2)^-1 (x - m); all samples at one noise level."""
    shrink = function_of_covariance(lambda v: v / (v + sigma[0].double() ** 2))
    return (MEAN + (x.flatten(1) - MEAN) @ shrink).view_as(x)


def mean_and_map(name: SamplerName, sigmas: Tensor, eta: float | None = None) -> tuple[Tensor, Tensor]:
    """The sample without any noise, and its derivative by all the noise: (sources of noise * 4, 4).

    The start is drawn from the data's distribution at sigmas[0].
    """
    size = len(MEAN)
    start_map = function_of_covariance(lambda v: (v + sigmas[0] ** 2).sqrt())
    drawn = itertools.count(1)

    def source(index: int) -> Tensor:
        """Unit vectors for the batch entries of this source of noise, nothing for all others."""
        units = torch.zeros(1 + size * len(sigmas), size, dtype=torch.float64)
        units[1 + size * index : 1 + size * (index + 1)] = torch.eye(size, dtype=torch.float64)
        return units.view(-1, size, 1, 1, 1)

    start = (MEAN + source(0).flatten(1) @ start_map).view(-1, size, 1, 1, 1)
    noise = {"noise": lambda: source(next(drawn))}
    *_, last = SAMPLERS[name](ideal, start, sigmas, **noise) if eta is None else ddim(
        ideal, start, sigmas, **noise, eta=eta
    )  # fmt: skip
    flat = last.x.flatten(1)
    return flat[0], flat[1:] - flat[0]


def slope(steps: list[int], errors: list[float]) -> float:
    return float(np.polyfit(np.log(steps), np.log(errors), 1)[0])


KARRAS = NoiseSchedule("karras", sigma_max=80.0, sigma_min=1e-4)
FLOW = NoiseSchedule("flow", sigma_max=80.0)


@pytest.mark.parametrize(
    ("name", "schedule", "order"),
    [("ddim", KARRAS, 1), ("euler_flow", FLOW, 1), ("dpmpp_2m", KARRAS, 2), ("heun", KARRAS, 2), ("heun", FLOW, 2)],
    ids=lambda value: value.name if isinstance(value, NoiseSchedule) else str(value),
)
def test_deterministic_samplers_are_of_the_order_of_their_papers(
    name: SamplerName, schedule: NoiseSchedule, order: int
) -> None:
    steps, errors = [32, 64, 128, 256], []
    for count in steps:
        sigmas = schedule.sampling_sigmas(count)
        mean, linear = mean_and_map(name, sigmas)
        torch.testing.assert_close(mean, MEAN)  # an affine method is exact there
        wanted = function_of_covariance(torch.sqrt)  # of unit noise, through the exact ODE
        errors.append(float((linear[:4] - wanted).abs().max()))
        assert float(linear[4:].abs().max()) == 0  # and draws nothing on its way
    assert -order - 0.25 < slope(steps, errors) < -order + 0.2
    assert errors[-1] < (0.02 if order == 1 else 1e-3)


@pytest.mark.parametrize(("name", "eta"), [("ddpm", None), ("ddim", 0.5), ("ddim", 1.0)])
def test_stochastic_samplers_reproduce_mean_and_covariance_at_first_order(name: SamplerName, eta: float | None) -> None:
    steps, errors = [16, 32, 64, 128], []
    for count in steps:
        mean, linear = mean_and_map(name, KARRAS.sampling_sigmas(count), eta)
        torch.testing.assert_close(mean, MEAN)
        assert float(linear[4:].abs().max()) > 0.01  # it did draw noise
        errors.append(float((linear.T @ linear - COVARIANCE).abs().max()))
    assert -1.25 < slope(steps, errors) < -0.8
    assert errors[-1] < 0.1


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("schedule", ["karras", "flow", "linear", "scaled_linear", "cosine", "sigmoid"])
def test_every_sampler_on_every_schedule_gives_mean_and_covariance(name: SamplerName, schedule: Schedule) -> None:
    sigmas = NoiseSchedule(schedule, sigma_max=80.0, sigma_min=1e-4).sampling_sigmas(150)
    mean, linear = mean_and_map(name, sigmas)
    torch.testing.assert_close(mean, MEAN)
    torch.testing.assert_close(linear.T @ linear, COVARIANCE, atol=0.08, rtol=0)


def test_a_walk_from_zero_snr_gives_mean_and_covariance_too() -> None:
    sigmas = NoiseSchedule("cosine", sigma_max=TERMINAL_SIGMA, zero_terminal_snr=True).sampling_sigmas(50)
    assert float(sigmas[0]) == TERMINAL_SIGMA
    for name in SAMPLERS:
        mean, linear = mean_and_map(name, sigmas)
        torch.testing.assert_close(mean, MEAN)
        error = float((linear.T @ linear - COVARIANCE).abs().max())
        assert (error < 0.25) is (name != "heun")  # whose slopes are in sigma, and whose first step is 65,000 long


def test_ddim_inversion_finds_the_noise() -> None:
    # 50 steps, in float32: back to the data and to the noise that they were made of.
    start = torch.randn(64, 4, 1, 1, 1, generator=torch.Generator().manual_seed(0)) * 80

    def modes(x: Tensor, sigma: Tensor, _: object = None) -> Tensor:
        """The ideal denoiser of N(-1, 0.3^2) and N(1, 0.3^2), half each: as far from affine as two classes are."""
        total = 0.3**2 + sigma.view(-1, 1, 1, 1, 1) ** 2
        middle = torch.tanh(x / total)
        return middle + 0.3**2 / total * (x - middle)

    def gaussian(x: Tensor, sigma: Tensor, _: object = None) -> Tensor:
        return ideal(x.double(), sigma).float()

    sigmas = NoiseSchedule("karras", sigma_max=80.0, sigma_min=0.002).sampling_sigmas(50)
    for denoiser in (gaussian, modes):
        *_, made = ddim(denoiser, start, sigmas)
        *_, inverted = ddim_inversion(denoiser, made.x, sigmas)
        *_, again = ddim(denoiser, inverted.x, sigmas)
        assert float((again.x - made.x).norm() / made.x.norm()) < 1e-3
        assert float((inverted.x - start).norm() / start.norm()) < 1e-3
        assert inverted.x.dtype == torch.float32


def test_ddim_inversion_converges_as_it_is_repeated() -> None:
    sigmas = KARRAS.sampling_sigmas(50)
    start = 80 * torch.eye(4, dtype=torch.float64).view(4, 4, 1, 1, 1)
    *_, made = ddim(ideal, start, sigmas)
    errors = []
    for iterations in (1, 3, 5, 7):
        *_, inverted = ddim_inversion(ideal, made.x, sigmas, iterations=iterations)
        *_, again = ddim(ideal, inverted.x, sigmas)
        errors.append(float((again.x - made.x).norm() / made.x.norm()))
    assert all(after < before / 5 for before, after in itertools.pairwise(errors))
    assert errors[0] > 1e-2  # the usual inversion does not come back


@pytest.mark.parametrize(("steps", "start"), [(30, 80.0), (15, 20.0), (10, 20.0), (8, 20.0)])
def test_few_steps_lose_less_contrast_with_the_second_order(steps: int, start: float) -> None:
    """The presets' steps: standard deviation of samples over that of the data, which has unit variance."""
    sigmas = NoiseSchedule("karras", start, 0.01).sampling_sigmas(steps)

    def unit(x: Tensor, sigma: Tensor, _: object = None) -> Tensor:
        return x / (1 + sigma.view(-1, 1, 1, 1, 1).double() ** 2)

    x = torch.full((1, 1, 1, 1, 1), (1 + start**2) ** 0.5, dtype=torch.float64)
    lost = {name: abs(float([*SAMPLERS[name](unit, x, sigmas)][-1].x) - 1) for name in ("ddim", "dpmpp_2m")}
    assert lost["ddim"] > 0.07
    assert lost["dpmpp_2m"] < 0.12
    assert lost["dpmpp_2m"] < 0.6 * lost["ddim"]
