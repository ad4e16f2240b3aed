"""Each distance against its definition, written down the slow way, or against scipy."""

import numpy as np
import pytest
from scipy import linalg, stats

from braindiffusion.evaluation.metrics import distances

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(30, 7)) * RNG.uniform(0.5, 2, 7)
A, B = np.arange(12), np.arange(12, 30)


def test_kid_is_the_unbiased_mmd_of_the_cubic_kernel() -> None:
    x, y = FEATURES[A], FEATURES[B]

    def kernel(u: np.ndarray, v: np.ndarray) -> float:
        return float((u @ v / 7 + 1) ** 3)

    own = np.mean([kernel(x[i], x[j]) for i in range(12) for j in range(12) if i != j])
    other = np.mean([kernel(y[i], y[j]) for i in range(18) for j in range(18) if i != j])
    both = np.mean([kernel(u, v) for u in x for v in y])
    statistic = distances.mmd_squared(distances.polynomial_kernel(FEATURES))
    assert statistic(A, B) == pytest.approx(own + other - 2 * both, rel=1e-12)


def test_a_row_that_was_drawn_twice_makes_no_pair_with_itself() -> None:
    kernel = distances.polynomial_kernel(FEATURES)
    rows = np.array([0, 0, 1, 2])
    own = np.mean([kernel[i, j] for i in rows for j in rows if i != j])
    other = np.mean([kernel[i, j] for i in B for j in B if i != j])
    expected = own + other - 2 * kernel[np.ix_(rows, B)].mean()
    assert distances.mmd_squared(kernel)(rows, B) == pytest.approx(expected)


def test_the_gaussian_kernel_takes_the_median_distance() -> None:
    lengths = [np.linalg.norm(FEATURES[i] - FEATURES[j]) for i in range(30) for j in range(i)]
    expected = np.exp(-(np.linalg.norm(FEATURES[3] - FEATURES[8]) ** 2) / (2 * np.median(lengths) ** 2))
    assert distances.gaussian_kernel(FEATURES)[3, 8] == pytest.approx(expected)


def test_the_gaussian_mmd_sees_another_variance_where_a_linear_kernel_is_blind() -> None:
    rng = np.random.default_rng(1)
    features = np.concatenate([rng.normal(size=(100, 5)), 5 * rng.normal(size=(100, 5))])
    one, other = np.arange(100), np.arange(100, 200)
    half, rest = np.arange(50), np.arange(50, 100)
    gaussian = distances.mmd_squared(distances.gaussian_kernel(features))
    assert gaussian(one, other) > 0.1
    assert abs(gaussian(half, rest)) < 0.02


def test_energy_distance() -> None:
    x, y = FEATURES[A], FEATURES[B]
    both = np.mean([np.linalg.norm(u - v) for u in x for v in y])
    own = np.mean([np.linalg.norm(x[i] - x[j]) for i in range(12) for j in range(12) if i != j])
    other = np.mean([np.linalg.norm(y[i] - y[j]) for i in range(18) for j in range(18) if i != j])
    assert distances.energy_distance(FEATURES)(A, B) == pytest.approx(2 * both - own - other)


@pytest.mark.parametrize("columns", [5, 40], ids=["more brains than features", "fewer"])
def test_frechet_equals_the_formula_with_a_matrix_root(columns: int) -> None:
    features = np.random.default_rng(2).normal(size=(30, columns)) @ np.diag(np.linspace(0.5, 2, columns))
    x, y = features[A], features[B]
    cx, cy = np.cov(x.T), np.cov(y.T)
    # tr((Cx Cy)^(1/2)) by the eigenvalues of the product: real and not negative, zeros where the matrices are singular
    roots = np.sqrt(np.clip(linalg.eigvals(cx @ cy).real, 0, None)).sum()
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cx) + np.trace(cy) - 2 * roots
    assert distances.frechet(features)(A, B) == pytest.approx(expected, rel=1e-5)


def test_frechet_of_two_known_gaussians() -> None:
    """|0 - 1|^2 a feature, and (2 - 1)^2 a feature for standard deviations of 1 and 2."""
    rng = np.random.default_rng(3)
    features = np.concatenate([rng.normal(size=(4000, 3)), 1 + 2 * rng.normal(size=(4000, 3))])
    assert distances.frechet(features)(np.arange(4000), np.arange(4000, 8000)) == pytest.approx(6, rel=0.05)


@pytest.mark.parametrize("sizes", [(7, 7), (5, 8), (1, 9)])
def test_wasserstein_equals_scipy_in_every_column(sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(4)
    table = rng.normal(size=(sum(sizes), 4))
    a, b = np.arange(sizes[0]), rng.choice(np.arange(sizes[0], sum(sizes)), sizes[1])
    expected = [stats.wasserstein_distance(table[a, k], table[b, k]) for k in range(4)]
    np.testing.assert_allclose(distances.wasserstein(table)(a, b), expected, rtol=1e-9)


def test_the_histogram_distance_equals_scipy_on_mean_histograms() -> None:
    histograms = np.random.default_rng(5).dirichlet(np.ones(20), size=9)
    places = (np.arange(20) + 0.5) / 20
    expected = stats.wasserstein_distance(places, places, histograms[:4].mean(0), histograms[4:].mean(0))
    found = distances.histogram_distance(histograms, 1 / 20)(np.arange(4), np.arange(4, 9))
    assert found == pytest.approx(expected)


def test_decibels() -> None:
    spectra = np.array([[1.0, 10.0], [3.0, 30.0], [1.0, 2.0]])
    np.testing.assert_allclose(distances.decibels(spectra)(np.array([0, 1]), np.array([2])), [3.0103, 10.0], atol=1e-4)


def test_columns_are_standardised_by_real_brains_and_a_constant_one_stays() -> None:
    table = np.array([[0.0, 5.0], [2.0, 5.0], [9.0, 5.0]])
    np.testing.assert_allclose(distances.standardised(table, np.array([0, 1])), [[-1, 0], [1, 0], [8, 0]])
    rounded = np.array([[1000.0], [1000.00006], [1001.0]])  # real brains that differ by the rounding of float32
    np.testing.assert_allclose(distances.standardised(rounded, np.array([0, 1])), [[0], [0], [1]], atol=1e-4)


def test_a_feature_that_hardly_varies_among_real_brains_does_not_outweigh_the_others() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((60, 40))
    features[:, 0] = 0
    features[5, 0] = 1e-7  # of a rectifier that fires in one real brain
    features[50, 0] = 0.1  # and in a generated one
    real = np.arange(40)
    plain, compared = (distances.standardised(features, real, one_unit=one_unit) for one_unit in (False, True))
    assert abs(plain[50, 0]) > 1e5
    assert abs(compared[50, 0]) < 2
    np.testing.assert_allclose(compared[:, 1:], plain[:, 1:])
    a, b = np.arange(20), np.arange(40, 60)
    kid = distances.mmd_squared(distances.polynomial_kernel(compared))
    assert abs(kid(a, b)) < 1 < abs(distances.mmd_squared(distances.polynomial_kernel(plain))(a, b))
