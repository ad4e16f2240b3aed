"""How alike two volumes are: PSNR, SSIM and MS-SSIM in 3D.

Intensities in [0, 1]. SSIM as published (Wang et al. 2004): Gaussian window of 11 voxels and sigma 1.5, its valid part
only. MS-SSIM (Wang, Simoncelli and Bovik 2003) takes as many of its five scales as the window fits into, three at
80 x 104 x 88, with their weights scaled to sum 1.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
RANGE = 1.0

Grid = NDArray[np.float32]


def psnr(a: Grid, b: Grid) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal volumes."""
    error = float(((a - b) ** 2).mean(dtype=np.float64))
    return 10 * math.log10(RANGE**2 / error) if error else math.inf


def ssim(a: Grid, b: Grid) -> float:
    """Structural similarity, 1 for equal volumes."""
    return _ssim_and_contrast(a, b)[0]


def scales(shape: tuple[int, ...]) -> int:
    """Of MS-SSIM for a volume of this shape.

    Raises:
        ValueError: it is smaller than the window.
    """
    fitting = [n for n in range(1, len(WEIGHTS) + 1) if min(shape) // 2 ** (n - 1) >= WINDOW]
    if not fitting:
        raise ValueError(f"MS-SSIM needs {WINDOW} voxels along each axis, and the volume has {shape}.")
    return fitting[-1]


def ms_ssim(a: Grid, b: Grid) -> float:
    """Structural similarity over several scales, 1 for equal volumes."""
    count = scales(a.shape)
    weights = np.array(WEIGHTS[:count]) / sum(WEIGHTS[:count])
    product = 1.0
    for scale, weight in enumerate(weights, start=1):
        similarity, contrast = _ssim_and_contrast(a, b)
        product *= max(similarity if scale == count else contrast, 0.0) ** weight
        a, b = _halved(a), _halved(b)
    return product


def _ssim_and_contrast(a: Grid, b: Grid) -> tuple[float, float]:
    mean_a, mean_b = _blurred(a), _blurred(b)
    # Around the means of the whole volumes: float32 would lose small variances on a large offset.
    a0, b0 = a - a.mean(), b - b.mean()
    local_a, local_b = mean_a - a.mean(), mean_b - b.mean()
    variance_a = _blurred(a0 * a0) - local_a**2
    variance_b = _blurred(b0 * b0) - local_b**2
    covariance = _blurred(a0 * b0) - local_a * local_b
    c1, c2 = (K1 * RANGE) ** 2, (K2 * RANGE) ** 2
    contrast = (2 * covariance + c2) / (variance_a + variance_b + c2)
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return float((luminance * contrast).mean(dtype=np.float64)), float(contrast.mean(dtype=np.float64))


def _blurred(volume: Grid) -> Grid:
    radius = WINDOW // 2
    inner = (slice(radius, -radius),) * 3
    return np.asarray(ndimage.gaussian_filter(volume, SIGMA, radius=radius)[inner])


def _halved(volume: Grid) -> Grid:
    x, y, z = (n // 2 * 2 for n in volume.shape)
    blocks = volume[:x, :y, :z].reshape(x // 2, 2, y // 2, 2, z // 2, 2)
    return np.asarray(blocks.mean((1, 3, 5)))
