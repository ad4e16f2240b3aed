"""Augmentation of brains: mirror, affine and elastic deformation, bias field.

Rotation, scale and shift stay within the range of heads in a scanner, since they are learnt as part of the
distribution. Linear interpolation blurs: levels that learn fine texture only mirror, or interpolate by splines.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from braindiffusion.regions import MIRRORED

Interpolation = Literal["linear", "cubic"]

DEGREES, SCALE, SHIFT_MM = 4.0, 0.04, 2.0
CONTROLS, LOCKED = 7, 2
RINGING = 4
"""Voxels from the brain beyond which a cubic spline is taken for the background: at this distance the ringing of a step
has fallen to 0.5 % of it."""


@dataclass(frozen=True)
class Movement:
    """An affine transform and an elastic deformation of a head.

    Attributes:
        scales: scale factor of each axis.
        degrees: rotation about each axis.
        shift_mm: translation along each axis.
        bend_mm: (7, 7, 7, 3), displacements of the control points of a cubic B-spline over the grid, in RAS; or None.
    """

    scales: tuple[float, float, float]
    degrees: tuple[float, float, float]
    shift_mm: tuple[float, float, float]
    bend_mm: NDArray[np.float64] | None = None

    def turned_back(self, centre: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return matrix (3, 3) and offset (3,) in mm of where the affine transform takes each place from.

        Args:
            centre: of rotation and scaling, mm.
        """
        turns = []
        for axis, angle in enumerate(np.radians(self.degrees)):
            turn = np.eye(3)
            first, second = (other for other in range(3) if other != axis)
            turn[[first, second], [first, second]] = np.cos(angle)
            turn[first, second], turn[second, first] = np.array([-1, 1]) * np.sin(angle) * (-1) ** (axis == 1)
            turns.append(turn)
        back = (turns[2] @ turns[0] @ turns[1]).T  # ITK's order
        matrix = back / np.array(self.scales)
        return matrix, centre - matrix @ centre - back @ np.array(self.shift_mm)


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
            from braindiffusion.cohort.transforms import draw_bias  # with TorchIO, 0.09 GB

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


def move(
    images: list[Tensor],
    labels: Tensor | None,
    spacing: float,
    movement: Movement,
    interpolation: Interpolation = "linear",
) -> tuple[list[Tensor], Tensor | None]:
    """Move images together.

    Args:
        images: each (C, x, y, z) float32 on the same grid; what comes in from outside is the image's minimum.
        labels: (x, y, z) on the same grid, or None; 0 comes in from outside.
        spacing: mm.
        movement: the same for all.
        interpolation: linear, and the nearest voxel's label, which is fast; or by cubic splines, which keep fine
            texture and the thin parts of a label map.
    """
    grid = _sampling_grid(movement, images[0].shape[1:], spacing)
    if interpolation == "cubic":
        voxels = (grid[0].flip(-1).movedim(-1, 0).numpy() + 1) / 2
        voxels *= np.array(images[0].shape[1:]).reshape(3, 1, 1, 1) - 1
        from braindiffusion.regions.interpolation import interpolate_labels  # with scipy.ndimage, 0.02 GB

        turned = None if labels is None else torch.from_numpy(interpolate_labels(labels.numpy(), voxels))
        brain = _sample(_near_brain(torch.cat(images)), grid, "nearest")[0] > 0.5
        return [_splines(image, voxels, brain.numpy()) for image in images], turned
    moved = _sample(torch.cat(images), grid, "bilinear").split([len(image) for image in images])
    turned = None if labels is None else _sample(labels[None].float(), grid, "nearest")[0].to(labels.dtype)
    return list(moved), turned


def _sampling_grid(movement: Movement, shape: tuple[int, ...], spacing: float) -> Tensor:
    """Return the sampling grid of a movement, (1, x, y, z, 3) in the coordinates of `grid_sample`.

    Places are first bent, then turned, by the same fields as TorchIO's `ElasticDeformation` and `Affine`, which take
    0.8 s and 0.06 s for each brain, and 0.09 GB of memory. All is linear, so it is summed axis by axis.
    """
    matrix, origin = movement.turned_back(spacing * (np.array(shape) - 1) / 2)
    # From mm in RAS to -1 at the first voxel and 1 at the last one.
    unit = 2 / (spacing * (np.array(shape) - 1))
    matrix, origin = unit[:, None] * matrix, unit * origin - 1
    grid = np.zeros((*shape, 3), np.float32)
    if movement.bend_mm is not None:
        from scipy.interpolate import BSpline  # 0.01 GB

        field = (movement.bend_mm @ matrix.T).astype(np.float32)
        for n in reversed(shape):  # the last axis first, and each becomes the first one
            mesh = field.shape[2] - 3
            places = BSpline.design_matrix(np.linspace(0, mesh, n), np.arange(-3.0, mesh + 4), 3)
            field = np.tensordot(places.toarray().astype(np.float32), field, (1, 2))
        grid = np.ascontiguousarray(field)
    for axis, n in enumerate(shape):
        along = np.outer(np.arange(n) * spacing, matrix[:, axis]) + (origin if axis == 0 else 0)
        grid += along.astype(np.float32).reshape([n if i == axis else 1 for i in range(3)] + [3])
    return torch.from_numpy(grid[None]).flip(-1)  # torch counts axes from the last


def _sample(image: Tensor, grid: Tensor, mode: str) -> Tensor:
    """Return (C, x, y, z) at the places of a grid; outside is each channel's minimum."""
    low = image.amin((1, 2, 3), keepdim=True)
    moved = torch.nn.functional.grid_sample((image - low)[None], grid, mode=mode, align_corners=True)
    return moved[0] + low


def _near_brain(images: Tensor) -> Tensor:
    """Return (1, x, y, z), 1 where a channel is above its minimum or is so within `RINGING` voxels on each axis."""
    from scipy import ndimage

    bright = (images > images.amin((1, 2, 3), keepdim=True)).any(0)
    return torch.from_numpy(ndimage.maximum_filter(bright.numpy().astype(np.float32), 2 * RINGING + 1))[None]


def _splines(image: Tensor, voxels: NDArray[np.floating], brain: NDArray[np.bool_]) -> Tensor:
    """Return (C, x, y, z) at places in voxels by cubic splines; each channel's minimum outside of a mask (x, y, z)."""
    from scipy import ndimage

    places, moved = voxels[:, brain], np.empty((len(image), *brain.shape), np.float32)
    for one, to in zip(image.numpy(), moved, strict=True):
        to[...] = low = float(one.min())
        to[brain] = ndimage.map_coordinates(one, places, order=3, mode="constant", cval=low)
    return torch.from_numpy(moved)
