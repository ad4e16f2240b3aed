"""Augmentation of brains: mirror, affine and elastic deformation, bias field.

Rotation, scale and shift stay within the range of heads in a scanner, since they are learnt as part of the
distribution. Linear interpolation blurs: levels that learn fine texture only mirror, or interpolate by splines.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindiffusion.cohort.transforms import Interpolation, Movement, draw_bias, move
from braindiffusion.regions import MIRRORED

DEGREES, SCALE, SHIFT_MM = 4.0, 0.04, 2.0
CONTROLS, LOCKED = 7, 2


@dataclass(frozen=True)
class Warp:
    """Deformations of augmented copies, besides the mirror.

    Attributes:
        affine: rotate by up to 4 degrees, scale by 4 % and shift by 2 mm.
        elastic: largest elastic displacement in mm, smooth over about 4 cm; beyond 8 mm it may fold. 0 for none.
        bias: largest coefficient of a polynomial bias field; 0.1 is a few per cent, 0 for none.
        interpolation: of volume, mask and region map where they are deformed.
    """

    affine: bool = True
    elastic: float = 0.0
    bias: float = 0.0
    interpolation: Interpolation = "linear"


Copy = tuple[Tensor, Tensor, Tensor | None]
"""Volume, mask and region map of one copy, as `augment` takes them."""


def augment(
    volume: Tensor,
    mask: Tensor,
    labels: Tensor | None,
    spacing: float,
    key: tuple[int, int, int],
    warp: Warp = Warp(),
) -> tuple[Copy, Copy]:
    """Return a pair of augmented copies of a brain, the same for the same key: one deformation and its mirror image.

    Args:
        volume: (channels, x, y, z) in [-1, 1], background -1.
        mask: (1, x, y, z) in [0, 1].
        labels: (x, y, z) uint8, grouped regions, or None. The mirror exchanges left and right regions.
        spacing: mm.
        key: (seed, subject, pair). Pair 0 is not deformed.
        warp: deformations of the other pairs.
    """
    seed, subject, pair = key
    if pair:
        rng = np.random.default_rng((seed, subject, pair))
        movement = _draw(rng, warp)
        if movement is not None:
            (volume, mask), labels = move([volume, mask], labels, spacing, movement, warp.interpolation)
            mask = mask.clamp(0, 1)
        if warp.bias:
            volume = draw_bias(volume + 1, warp.bias, rng) - 1
        volume = volume.clamp(-1, 1)
    mirrored = None if labels is None else torch.from_numpy(MIRRORED)[labels.flip(0).long()]
    return (volume, mask, labels), (volume.flip(1), mask.flip(1), mirrored)  # x runs from left to right in RAS+


def _draw(rng: np.random.Generator, warp: Warp) -> Movement | None:
    if not warp.affine and not warp.elastic:
        return None
    limits = np.array([SCALE, DEGREES, SHIFT_MM])[:, None] * warp.affine
    scales, degrees, shift = (tuple(row) for row in (rng.uniform(-1, 1, (3, 3)) * limits + [[1], [0], [0]]).tolist())
    bend = None
    if warp.elastic:  # the borders are fixed, so that nothing is pulled in from outside of the box
        bend = np.zeros((CONTROLS, CONTROLS, CONTROLS, 3))
        inner = (slice(LOCKED, -LOCKED),) * 3
        bend[inner] = rng.uniform(-warp.elastic, warp.elastic, bend[inner].shape)
    return Movement(scales, degrees, shift, bend)
