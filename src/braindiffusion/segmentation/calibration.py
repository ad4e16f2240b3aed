"""Calibration of a trained segmentation model, in closed form: scale of the embedding, and age.

Age is a ridge regression on the segmentation: the logarithm of each region's share of the brain, its mean
intensity, and the embedding. 118 ages are too few to train a head of many weights, but enough for this.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from braindiffusion.regions import REGIONS

Floats = NDArray[np.float64]
PENALTIES = tuple(10.0 ** np.arange(-1, 5.1, 0.5))
FOLDS = 20
"""Of the cross-validation over people."""
SMALLEST = 1e-5
"""Least share of the brain that a region counts as (about 10 mm³)."""
BEYOND = 5.0
"""Years beyond the youngest and oldest training subject to which ages are limited."""


@dataclass(frozen=True)
class Calibration:
    """Constants of a segmentation model.

    Attributes:
        embedding_mean: (D,) of the training brains.
        embedding_std: (D,).
        age_mean: (F,) of the training brains' age features.
        age_std: (F,).
        age_weights: (F,) years for each standard deviation.
        age_offset: (1,) years; NaN where no age is known.
        age_range: (2,) years: limits of estimated ages.
    """

    embedding_mean: Floats
    embedding_std: Floats
    age_mean: Floats
    age_std: Floats
    age_weights: Floats
    age_offset: Floats
    age_range: Floats

    def embedding(self, pooled: Floats) -> Floats:
        """Return pooled features as an embedding: mean 0 and variance 1 over the training brains."""
        return (pooled - self.embedding_mean) / self.embedding_std

    def age(self, features: Floats) -> float:
        """Return the age in years."""
        standard = (features - self.age_mean) / self.age_std
        return float(np.clip(self.age_offset[0] + standard @ self.age_weights, *self.age_range))


def uncalibrated(pooled: int) -> Calibration:
    """Return the calibration of a model in training: the embedding is not scaled, and no age is known."""
    features = 2 * (len(REGIONS) - 1) + pooled
    none, one = np.zeros(pooled), np.ones(pooled)
    nothing = np.zeros(features)
    return Calibration(none, one, nothing, np.ones(features), nothing, np.full(1, np.nan), np.array([-np.inf, np.inf]))


def age_features(regions: NDArray[np.uint8], box: NDArray[np.float32], pooled: Floats) -> Floats:
    """Return the features from which age is estimated.

    Args:
        regions: (x, y, z), grouped.
        box: (x, y, z) in [-1, 1].
        pooled: (D,).

    Returns:
        (40 + 40 + D,): log shares of the brain, mean intensities in units of white matter's, pooled features.
    """
    counts = np.bincount(regions.ravel(), minlength=len(REGIONS))[1:].astype(np.float64)
    sums = np.bincount(regions.ravel(), (box.ravel() + 1.0) / 2, minlength=len(REGIONS))[1:]
    brain = max(counts.sum(), 1.0)
    white = np.array([region.tissue == "white" for region in REGIONS[1:]])
    unit = max(sums[white].sum() / max(counts[white].sum(), 1.0), SMALLEST)
    means = np.where(counts > 0, sums / np.maximum(counts, 1) / unit, sums.sum() / brain / unit)
    return np.concatenate((np.log(np.maximum(counts / brain, SMALLEST)), means, pooled))


def calibrate(pooled: Floats, features: Floats, ages: Floats, people: NDArray[np.int64]) -> tuple[Calibration, float]:
    """Fit the calibration.

    Args:
        pooled: (m, D) pooled features of training brains.
        features: (n, F) age features, of each brain in one view or several.
        ages: (n,) years, NaN where unknown.
        people: (n,) person of each view: views of one person are left out together.

    Returns:
        The calibration, and the mean absolute error in years of cross-validated ages.
    """
    known = np.isfinite(ages)
    mean, std = _spread(features)
    pooled_mean, pooled_std = _spread(pooled)
    if len(np.unique(people[known])) < 2:
        return replace(uncalibrated(pooled.shape[1]), embedding_mean=pooled_mean, embedding_std=pooled_std), np.nan
    x, y, person = (features[known] - mean) / std, ages[known], people[known]
    errors = [_left_out_error(x, y, person, penalty) for penalty in PENALTIES]
    best = int(np.argmin(errors))
    weights, offset = _ridge(x, y, PENALTIES[best])
    span = np.array([y.min() - BEYOND, y.max() + BEYOND])
    return Calibration(pooled_mean, pooled_std, mean, std, weights, np.array([offset]), span), errors[best]


def _spread(values: Floats) -> tuple[Floats, Floats]:
    std = values.std(0)
    return values.mean(0), np.where(std > 0, std, 1.0)


def _ridge(x: Floats, y: Floats, penalty: float) -> tuple[Floats, float]:
    """Return weights and offset, solved in the dual: there are fewer brains than features."""
    middle, offset = x.mean(0), y.mean()
    centred = x - middle
    weights = centred.T @ np.linalg.solve(centred @ centred.T + penalty * np.eye(len(y)), y - offset)
    return weights, float(offset - middle @ weights)


def _left_out_error(x: Floats, y: Floats, people: NDArray[np.int64], penalty: float) -> float:
    """Return the mean absolute error of cross-validation over people."""
    _, number = np.unique(people, return_inverse=True)
    estimated = np.empty_like(y)
    for fold in range(FOLDS):
        out = number % FOLDS == fold
        if out.any():
            weights, offset = _ridge(x[~out], y[~out], penalty)
            estimated[out] = x[out] @ weights + offset
    return float(np.abs(estimated - y).mean())
