"""Averages of the weights, and those that are made afterwards."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from braindiffusion.training.ema import SIGMA_RELS, PowerEma, posthoc_coefficients, profile_products, sigma_rel_to_gamma

STEPS = 2000


def profile(t: float, step: float, gamma: float) -> float:
    return (gamma + 1) * t**gamma / step ** (gamma + 1) if t <= step else 0.0


@pytest.mark.parametrize(("step", "other"), [(3.0, 5.0), (5.0, 3.0), (4.0, 4.0)])
@pytest.mark.parametrize(("width", "wide"), [(0.05, 0.10), (0.10, 0.07), (0.2, 0.03)])
def test_profile_products_are_the_integral_of_the_profiles(
    step: float, other: float, width: float, wide: float
) -> None:
    gamma, g = sigma_rel_to_gamma(width), sigma_rel_to_gamma(wide)
    end = min(step, other)
    wanted = quad(lambda t: profile(t, step, gamma) * profile(t, other, g), 0, end, epsabs=1e-13, epsrel=1e-11)[0]
    found = profile_products(np.array([step]), np.array([gamma]), other, g)
    np.testing.assert_allclose(found, wanted, rtol=1e-8)


def test_an_average_of_any_width_is_made_of_those_that_were_kept() -> None:
    rng = np.random.default_rng(0)
    times = np.arange(STEPS)[:, None]
    # Weights wander, forget where they began, and tremble.
    path = 0.02 * np.cumsum(rng.standard_normal((STEPS, 20)), 0) + 3 * np.exp(-times / 400) * rng.standard_normal(20)
    path = torch.from_numpy(path + 0.3 * rng.standard_normal((STEPS, 20)))
    module = torch.nn.Linear(20, 1, bias=False).double()
    wanted = (0.03, 0.07, 0.15)
    averages = {width: PowerEma(module, width) for width in SIGMA_RELS + wanted}
    keys, stored = [], []
    for step, weight in enumerate(path, start=1):
        module.weight.data.copy_(weight)
        for average in averages.values():
            average.update(module, step)
        if step % (STEPS // 8) == 0:
            for width in SIGMA_RELS:
                keys.append((step, width))
                stored.append(averages[width].state()["weight"].clone())
    kept = averages[SIGMA_RELS[-1]].state()["weight"]
    for width, error in zip(wanted, (0.15, 0.04, 0.06), strict=True):
        shares = posthoc_coefficients([step for step, _ in keys], [one for _, one in keys], STEPS, width)
        made = torch.tensordot(torch.from_numpy(shares), torch.stack(stored), 1)
        truth = averages[width].state()["weight"]
        assert (made - truth).norm() < error * (kept - truth).norm()
        assert (made - truth).norm() < 0.02 * truth.norm()


def test_what_was_kept_is_found_again() -> None:
    shares = posthoc_coefficients([50, 100, 100], [0.1, 0.05, 0.1], 100, 0.1)
    np.testing.assert_allclose(shares, [0, 0, 1], atol=1e-9)


@pytest.mark.parametrize("width", [0.0, 0.3, -1.0])
def test_a_width_has_limits(width: float) -> None:
    with pytest.raises(ValueError, match="relative width"):
        sigma_rel_to_gamma(width)
