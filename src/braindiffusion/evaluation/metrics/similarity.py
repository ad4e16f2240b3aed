"""Similarity of two volumes with intensities in [0, 1]: PSNR, SSIM and MS-SSIM in 3D.

PSNR and SSIM are scikit-image's; SSIM with the window as published (Wang et al. 2004): Gaussian, 11 voxels, sigma 1.5,
valid part only. MS-SSIM (Wang, Simoncelli and Bovik 2003) needs the contrast term alone, which scikit-image does not
return; MONAI has it but would be a heavy dependency, so it is the test's reference. Of the five scales it takes as many
as the window fits into, three at 80 x 104 x 88, with their weights scaled to sum 1.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import block_reduce
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

WINDOW, SIGMA = 11, 1.5
K2 = 0.03
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
RANGE = 1.0

Grid = NDArray[np.float32]


def psnr(a: Grid, b: Grid) -> float:
    """Return the peak signal-to-noise ratio in dB; infinite for equal volumes."""
    if not mean_squared_error(a, b):
        return math.inf
    return float(peak_signal_noise_ratio(a, b, data_range=RANGE))


def ssim(a: Grid, b: Grid) -> float:
    """Return the structural similarity, 1 for equal volumes."""
    window = {"win_size": WINDOW, "gaussian_weights": True, "sigma": SIGMA, "use_sample_covariance": False}
    return float(structural_similarity(a, b, data_range=RANGE, **window))


def scales(shape: tuple[int, ...]) -> int:
    """Return the number of scales of MS-SSIM for a volume of this shape.

    Raises:
        ValueError: it is smaller than the window.
    """
    fitting = [n for n in range(1, len(WEIGHTS) + 1) if min(shape) // 2 ** (n - 1) >= WINDOW]
    if not fitting:
        raise ValueError(f"MS-SSIM needs {WINDOW} voxels along each axis, and the volume has {shape}.")
    return fitting[-1]


def ms_ssim(a: Grid, b: Grid) -> float:
    """Return the structural similarity over several scales, 1 for equal volumes."""
    count = scales(a.shape)
    weights = np.array(WEIGHTS[:count]) / sum(WEIGHTS[:count])
    product = 1.0
    for scale, weight in enumerate(weights, start=1):
        product *= max(ssim(a, b) if scale == count else _contrast(a, b), 0.0) ** weight
        a, b = _halved(a), _halved(b)
    return product


def _contrast(a: Grid, b: Grid) -> float:
    """Return the mean of SSIM's contrast term."""
    # Around the means of the whole volumes: float32 would lose small variances on a large offset.
    a, b = a - a.mean(), b - b.mean()
    mean_a, mean_b = _blurred(a), _blurred(b)
    variances = _blurred(a * a) - mean_a**2 + _blurred(b * b) - mean_b**2
    covariance = _blurred(a * b) - mean_a * mean_b
    constant = (K2 * RANGE) ** 2
    return float(((2 * covariance + constant) / (variances + constant)).mean(dtype=np.float64))


def _blurred(volume: Grid) -> Grid:
    radius = WINDOW // 2
    inner = (slice(radius, -radius),) * 3
    return np.asarray(ndimage.gaussian_filter(volume, SIGMA, radius=radius)[inner])


def _halved(volume: Grid) -> Grid:
    x, y, z = (n // 2 * 2 for n in volume.shape)
    return np.asarray(block_reduce(volume[:x, :y, :z], 2, np.mean), np.float32)
