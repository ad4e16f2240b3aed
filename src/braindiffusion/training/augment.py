"""The brains that a small cohort lacks: mirrored, moved, bent and unevenly lit a little.

The amounts of turning, scaling and shifting are what living heads in a scanner differ by (they are learnt as part of
the distribution). Interpolation blurs, so levels that learn fine texture only mirror: see the presets.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindiffusion.cohort.transforms import Movement, draw_bias, move
from braindiffusion.regions import MIRRORED

DEGREES, SCALE, SHIFT_MM = 4.0, 0.04, 2.0
CONTROLS, LOCKED = 7, 2


@dataclass(frozen=True)
class Warp:
    """What versions of a brain differ by, besides left and right.

    Attributes:
        affine: turn by up to 4 degrees, scale by 4 % and shift by 2 mm.
        elastic: bend by up to this many mm, smoothly over some 4 cm; 0 does not. Beyond a fifth of that it may fold.
        bias: light unevenly, by a polynomial with coefficients up to this; 0 does not, 0.1 is a few per cent.
    """

    affine: bool = True
    elastic: float = 0.0
    bias: float = 0.0


def augment(
    volume: Tensor,
    mask: Tensor,
    labels: Tensor | None,
    spacing: float,
    key: tuple[int, int, int],
    warp: Warp = Warp(),
) -> tuple[Tensor, Tensor, Tensor | None]:
    """One version of a brain, the same for the same key.

    Args:
        volume: (channels, x, y, z) in [-1, 1], background -1.
        mask: (1, x, y, z) in [0, 1].
        labels: (x, y, z) uint8, grouped regions: the names of the sides change in the mirror. Or None.
        spacing: mm.
        key: (seed, subject, copy). Even copies are not mirrored, odd ones are; 0 and 1 stay as they are.
        warp: what happens to the others.
    """
    seed, subject, copy = key
    if copy > 1:
        rng = np.random.default_rng((seed, subject, copy // 2))
        movement = _draw(rng, warp)
        if movement is not None:
            (volume, mask), labels = move([volume, mask], labels, spacing, movement)
        if warp.bias:
            volume = draw_bias(volume + 1, warp.bias, rng) - 1
        volume = volume.clamp(-1, 1)
    if copy % 2:  # x runs from left to right in RAS+
        volume, mask = volume.flip(1), mask.flip(1)
        if labels is not None:
            labels = torch.from_numpy(MIRRORED)[labels.flip(0).long()]
    return volume, mask, labels


def _draw(rng: np.random.Generator, warp: Warp) -> Movement | None:
    if not warp.affine and not warp.elastic:
        return None
    limits = np.array([SCALE, DEGREES, SHIFT_MM])[:, None] * warp.affine
    scales, degrees, shift = (tuple(row) for row in (rng.uniform(-1, 1, (3, 3)) * limits + [[1], [0], [0]]).tolist())
    bend = None
    if warp.elastic:  # the borders stay, so that nothing is pulled in from outside of the box
        bend = np.zeros((CONTROLS, CONTROLS, CONTROLS, 3))
        inner = (slice(LOCKED, -LOCKED),) * 3
        bend[inner] = rng.uniform(-warp.elastic, warp.elastic, bend[inner].shape)
    return Movement(scales, degrees, shift, bend)
