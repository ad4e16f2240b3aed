"""The orthonormal 3D Haar transform: a volume as one coarse band and seven detail bands, without loss.

Bands are numbered by the axes that they difference: bit 2 is x, bit 1 is y, bit 0 is z; band 0 is the coarse one.
(Mallat, A Wavelet Tour of Signal Processing, section 7.7.) Additions only: no matrices, no convolution kernels.
"""

import torch
from torch import Tensor

BANDS = 8
_SQRT_HALF = 0.5**0.5


def haar(volume: Tensor) -> Tensor:
    """Take volumes apart: (batch, channels, x, y, z) to (batch, 8 bands, channels, x/2, y/2, z/2).

    Raises:
        ValueError: a side is odd.
    """
    if any(n % 2 for n in volume.shape[-3:]):
        msg = f"The Haar transform needs even sides, not {tuple(volume.shape[-3:])}."
        raise ValueError(msg)
    bands = volume.unsqueeze(1)
    for axis in (-3, -2, -1):
        even = bands[(..., slice(None, None, 2)) + (slice(None),) * (-axis - 1)]
        odd = bands[(..., slice(1, None, 2)) + (slice(None),) * (-axis - 1)]
        bands = torch.stack((even + odd, even - odd), dim=2).flatten(1, 2) * _SQRT_HALF
    return bands


def inverse_haar(bands: Tensor) -> Tensor:
    """Put volumes together again: (batch, 8, channels, x, y, z) to (batch, channels, 2x, 2y, 2z)."""
    for axis in (-1, -2, -3):
        low, high = bands.unflatten(1, (-1, 2)).unbind(2)
        pair = torch.stack((low + high, low - high), dim=low.ndim + axis + 1) * _SQRT_HALF
        bands = pair.flatten(low.ndim + axis, low.ndim + axis + 1)
    return bands.squeeze(1)
