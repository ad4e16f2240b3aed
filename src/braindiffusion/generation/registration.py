"""Diffeomorphic registration of region maps to a common template, for the shape model of sampled anatomy.

Log-domain demons on soft region maps (Vercauteren et al. 2008, "Symmetric log-domain diffeomorphic registration"): the
time-1 flow of each map's stationary velocity carries the template onto it. The template is the mean of the registered
maps and their mirror images, renewed after each round (Joshi et al. 2004, "Unbiased diffeomorphic atlas construction").
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from braindiffusion.regions import MIRRORED
from braindiffusion.regions.deformation import COARSER, Field, flow, warp

ROUNDS, ITERATIONS = 2, 10
UPDATE_SMOOTHNESS, VELOCITY_SMOOTHNESS, STEP = 1.5, 0.7, 2.0
"""Standard deviations of the Gaussians that smooth the demons' update and the velocity, in voxels of the coarser grid,
and the length of an update."""
SMALLEST_NORM = 1e-4


def register_maps(maps: NDArray[np.uint8]) -> Iterator[Field]:
    """Register region maps to their mean.

    Args:
        maps: (subjects, x, y, z), values of `braindiffusion.regions`.

    Yields:
        After each round and map, its velocity, (3, x / COARSER, ...), in voxels of that coarser grid. The last
        `len(maps)` are the result.
    """
    soft = [soft_regions(labels) for labels in maps]
    velocities = [torch.zeros(3, *one.shape[1:]) for one in soft]
    template = symmetric(torch.stack(soft).mean(0))
    for _ in range(ROUNDS):
        total = torch.zeros_like(template)
        for i, moving in enumerate(soft):
            velocities[i] = register(template, moving, velocities[i])
            total += warp(moving, flow(velocities[i]))
            yield velocities[i].numpy()
        template = symmetric(total / len(soft))


def register(template: Tensor, moving: Tensor, velocity: Tensor, known: Tensor | None = None) -> Tensor:
    """Return the velocity whose flow carries a template onto another soft map, from a first guess.

    Args:
        template: (regions, x, y, z).
        moving: the other map, of that shape.
        velocity: (3, x, y, z) in voxels.
        known: (1, x, y, z) in [0, 1], how much each voxel of the template counts; None counts all.
    """
    for _ in range(ITERATIONS):
        warped = warp(moving, flow(velocity))
        difference = template - warped if known is None else (template - warped) * known
        gradient = torch.stack(torch.gradient(warped, dim=(1, 2, 3)))  # (3, regions, x, y, z)
        norm = (gradient.square().sum(0) + difference.square()).sum(0)
        update = (gradient * difference).sum(1) / norm.clamp(min=SMALLEST_NORM)
        velocity = _smooth(velocity + STEP * _smooth(update, UPDATE_SMOOTHNESS), VELOCITY_SMOOTHNESS)
    return velocity


def soft_regions(labels: NDArray[np.uint8]) -> Tensor:
    """Return the share of each region in every coarse voxel, left and right together: (regions, x, y, z)."""
    one_sided = np.minimum(np.arange(len(MIRRORED)), MIRRORED)
    names, channel = np.unique(one_sided, return_inverse=True)
    channels = torch.from_numpy(channel[labels])
    soft: Tensor = F.avg_pool3d(F.one_hot(channels, len(names)).movedim(-1, 0)[1:].float(), COARSER)
    return soft


def symmetric(template: Tensor) -> Tensor:
    """Return the mean of a soft map and its mirror image."""
    return (template + template.flip(1)) / 2


def _smooth(velocity: Tensor, deviation: float) -> Tensor:
    return torch.from_numpy(
        np.stack([ndimage.gaussian_filter(axis, deviation, mode="nearest") for axis in velocity.numpy()])
    )
