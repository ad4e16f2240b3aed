"""The brains that a small cohort lacks: mirrored, moved and scaled a little, through TorchIO.

The amounts are what living heads in a scanner differ by (they are learnt as part of the distribution). Interpolation blurs,
so levels that learn fine texture only mirror: see the presets.
"""

import numpy as np
import torch
import torchio as tio
from torch import Tensor

DEGREES, SCALE, SHIFT_MM = 4.0, 0.04, 2.0


def augment(volume: Tensor, mask: Tensor, spacing: float, key: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """One version of a brain, the same for the same key.

    Args:
        volume: (channels, x, y, z) in [-1, 1], background -1.
        mask: (1, x, y, z) in [0, 1].
        spacing: mm.
        key: (seed, subject, variant). Even variants are not mirrored, odd ones are; 0 and 1 stay in place.
    """
    seed, subject, variant = key
    if variant > 1:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.default_rng((seed, subject, variant // 2)).integers(2**62)))
            affine = np.diag([spacing, spacing, spacing, 1.0])
            one = tio.Subject(
                volume=tio.ScalarImage(tensor=volume, affine=affine), mask=tio.ScalarImage(tensor=mask, affine=affine)
            )
            move = tio.RandomAffine(scales=SCALE, degrees=DEGREES, translation=SHIFT_MM, default_pad_value="minimum")
            one = move(one)
            volume, mask = one["volume"].data.clamp(-1, 1), one["mask"].data
    if variant % 2:  # x runs from left to right in RAS+
        volume, mask = volume.flip(1), mask.flip(1)
    return volume, mask
