"""Distances between two sets of brains, each a statistic of the rows of a table of features."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform

from braindiffusion.evaluation.bootstrap import Numbers, Rows, Statistic

LEAST_SPREAD = 0.1
"""Of the median spread of the features of an encoder: a smaller one is taken for this."""


def mmd_squared(kernel: Numbers) -> Statistic:
    """Return the squared maximum mean discrepancy, unbiased (Gretton et al. 2012, lemma 6).

    Args:
        kernel: (N, N), one value for every two brains.
    """

    def statistic(a: Rows, b: Rows) -> float:
        return _within(kernel, a) + _within(kernel, b) - 2 * float(kernel[np.ix_(a, b)].mean())

    return statistic


def _within(kernel: Numbers, rows: Rows) -> float:
    """Mean over pairs of different brains."""
    return float(kernel[np.ix_(rows, rows)][rows[:, None] != rows[None]].mean())


def polynomial_kernel(features: Numbers) -> Numbers:
    """(x . y / D + 1)^3, whose discrepancy is the kernel inception distance, KID (Bińkowski et al. 2018).

    Args:
        features: (N, D).
    """
    return np.asarray((features @ features.T / features.shape[1] + 1) ** 3)


def gaussian_kernel(features: Numbers) -> Numbers:
    """exp(-|x - y|^2 / (2 s^2)), s the median distance between two brains (Gretton et al. 2012, section 8)."""
    distances = pdist(features)
    return np.asarray(np.exp(-((squareform(distances) / np.median(distances)) ** 2) / 2))


def energy_distance(features: Numbers) -> Statistic:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'|, unbiased (Székely and Rizzo 2013).

    Args:
        features: (N, D).
    """
    return mmd_squared(-squareform(pdist(features)))


def frechet(features: Numbers) -> Statistic:
    """Return the squared Fréchet distance between the Gaussians of two sets (Dowson and Landau 1982).

    |mean difference|^2 + tr(A) + tr(B) - 2 tr((A B)^(1/2)) with covariances A and B. With A = X^T X and B = Y^T Y the
    last trace is the sum of the singular values of X Y^T, no larger than the sets are: no root of a singular D x D
    matrix is needed. Biased upwards, the more the fewer brains: read it beside its real baseline.

    Args:
        features: (N, D).
    """

    def statistic(a: Rows, b: Rows) -> float:
        x, y = features[a], features[b]
        shift = x.mean(0) - y.mean(0)
        x, y = ((part - part.mean(0)) / np.sqrt(len(part) - 1) for part in (x, y))
        spread = (x**2).sum() + (y**2).sum()
        overlap = np.linalg.svd(_triangle(x) @ _triangle(y).T, compute_uv=False).sum()
        return float(shift @ shift + spread - 2 * overlap)

    return statistic


def _triangle(table: Numbers) -> Numbers:
    """R of table = Q R where there are more rows than columns: turning by Q changes no singular value of a product."""
    rows, columns = table.shape
    return table if rows <= columns else np.asarray(np.linalg.qr(table, mode="r"))


def wasserstein(columns: Numbers) -> Statistic:
    """Return the 1-Wasserstein distance of every column: the mean distance between equal quantiles.

    Args:
        columns: (N, K), one quantity a column.

    Returns:
        A statistic of shape (K,), in the columns' units.
    """

    def statistic(a: Rows, b: Rows) -> Numbers:
        ends = np.unique(np.concatenate([np.arange(1, len(rows) + 1) / len(rows) for rows in (a, b)]).round(12))
        widths = np.diff(ends, prepend=0.0)
        middles = ends - widths / 2
        x, y = (np.sort(columns[rows], axis=0)[(middles * len(rows)).astype(np.intp)] for rows in (a, b))
        return np.asarray(widths @ np.abs(x - y))

    return statistic


def histogram_distance(histograms: Numbers, width: float) -> Statistic:
    """Return the 1-Wasserstein distance between the mean histograms of two sets.

    Args:
        histograms: (N, bins), each of sum 1.
        width: width of a bin; the distance has its unit.
    """

    def statistic(a: Rows, b: Rows) -> float:
        difference = histograms[a].mean(0) - histograms[b].mean(0)
        return float(np.abs(np.cumsum(difference)).sum() * width)

    return statistic


def decibels(spectra: Numbers) -> Statistic:
    """Return the mean power of the first set over that of the second, in dB at each frequency.

    Args:
        spectra: (N, frequencies).
    """

    def statistic(a: Rows, b: Rows) -> Numbers:
        return np.asarray(10 * np.log10(spectra[a].mean(0) / spectra[b].mean(0)))

    return statistic


def standardised(table: Numbers, real: NDArray[np.intp], *, one_unit: bool = False) -> Numbers:
    """Subtract the mean of the real brains from every column and divide by their standard deviation.

    A column that is constant among real brains, but for the rounding of float32, is not divided.

    Args:
        table: (N, D).
        real: rows of the real brains.
        one_unit: the columns have the same unit, as features of an encoder: none is divided by less than `LEAST_SPREAD`
            times their median spread. A feature that is zero in nearly all real brains would outweigh all others.
    """
    middle, spread = table[real].mean(0), table[real].std(0)
    if one_unit and (usual := float(np.median(spread))):
        return np.asarray((table - middle) / np.maximum(spread, LEAST_SPREAD * usual))
    return np.asarray((table - middle) / np.where(spread > 1e-6 * np.abs(middle), spread, 1))
