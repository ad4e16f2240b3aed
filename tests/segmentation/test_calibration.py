import numpy as np
import pytest

from braindiffusion.regions import REGIONS, region_index
from braindiffusion.segmentation.calibration import _ridge, age_features, calibrate


def test_ridge_solves_the_normal_equations() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 8)), rng.normal(50, 10, 30)
    weights, offset = _ridge(x, y, 3.0)
    centred = x - x.mean(0)
    np.testing.assert_allclose(
        weights, np.linalg.solve(centred.T @ centred + 3 * np.eye(8), centred.T @ (y - y.mean())), rtol=1e-9
    )
    assert (x @ weights + offset).mean() == pytest.approx(y.mean())


def test_ages_are_learnt_where_features_tell_them_and_the_error_is_of_people_left_out() -> None:
    rng = np.random.default_rng(1)
    people = np.repeat(np.arange(60), 2)
    ages = rng.uniform(20, 80, 60)[people]
    features = rng.normal(size=(120, 88))
    features[:, 3] += ages / 5
    features[:, 5] -= ages / 5
    ages[:10] = np.nan
    calibration, error = calibrate(features[:, 80:], features, ages, people)
    assert error < 8
    told = np.array([calibration.age(row) for row in features[10:]])
    assert np.corrcoef(told, ages[10:])[0, 1] > 0.9
    embedding = calibration.embedding(features[:, 80:])
    np.testing.assert_allclose([embedding.mean(0), embedding.std(0)], [np.zeros(8), np.ones(8)], atol=1e-12)
    assert calibration.age(features[0] * 1e6) in (ages[10:].min() - 5, ages[10:].max() + 5)

    noise = rng.normal(size=(120, 88))
    _, blind = calibrate(noise[:, 80:], noise, ages, people)
    assert blind > 12  # two views of one person do not tell each other's age


def test_without_ages_no_age_is_told() -> None:
    features = np.random.default_rng(2).normal(size=(6, 88))
    calibration, error = calibrate(features[:, 80:], features, np.full(6, np.nan), np.arange(6))
    assert np.isnan(error)
    assert np.isnan(calibration.age(features[0]))


def test_age_features_are_shares_and_intensities_in_units_of_white_matter() -> None:
    regions = np.zeros((4, 4, 4), np.uint8)
    white, cortex = region_index("corpus callosum"), region_index("left frontal cortex")
    regions[:2], regions[2, :2] = white, cortex
    box = np.full((4, 4, 4), -1, np.float32)
    box[regions == white], box[regions == cortex] = 0.6, 0.0
    features = age_features(regions, box, np.array([7.0]))
    shares, means = features[:40], features[40:80]
    assert np.exp(shares[[white - 1, cortex - 1]]) == pytest.approx([0.8, 0.2])
    assert means[[white - 1, cortex - 1]] == pytest.approx([1, 0.5 / 0.8])
    assert features[80] == 7
    assert len(features) == 2 * (len(REGIONS) - 1) + 1
