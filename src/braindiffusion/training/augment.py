"""The brains that a small cohort lacks: mirrored, moved and scaled a little, through TorchIO.

The amounts are what living heads in a scanner differ by (they are learnt as part of the distribution). Interpolation
blurs, so levels that learn fine texture only mirror: see the presets.
"""

import numpy as np
import torch
from torch import Tensor

from braindiffusion.cohort.transforms import move_randomly
from braindiffusion.regions import MIRRORED

DEGREES, SCALE, SHIFT_MM = 4.0, 0.04, 2.0


def augment(
    volume: Tensor, mask: Tensor, labels: Tensor | None, spacing: float, key: tuple[int, int, int]
) -> tuple[Tensor, Tensor, Tensor | None]:
    """One version of a brain, the same for the same key.

    Args:
        volume: (channels, x, y, z) in [-1, 1], background -1.
        mask: (1, x, y, z) in [0, 1].
        labels: (x, y, z) uint8, grouped regions: the names of the sides change in the mirror. Or None.
        spacing: mm.
        key: (seed, subject, variant). Even variants are not mirrored, odd ones are; 0 and 1 stay in place.
    """
    seed, subject, variant = key
    if variant > 1:
        draw = int(np.random.default_rng((seed, subject, variant // 2)).integers(2**62))
        (volume, mask), labels = move_randomly(
            [volume, mask], labels, spacing, draw, degrees=DEGREES, scale=SCALE, shift_mm=SHIFT_MM
        )
        volume = volume.clamp(-1, 1)
    if variant % 2:  # x runs from left to right in RAS+
        volume, mask = volume.flip(1), mask.flip(1)
        if labels is not None:
            labels = torch.from_numpy(MIRRORED)[labels.flip(0).long()]
    return volume, mask, labels
