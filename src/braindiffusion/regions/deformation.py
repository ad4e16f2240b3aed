"""Smooth, invertible deformations of region maps.

A deformation is the time-1 flow of a stationary velocity field, computed by scaling and squaring (Arsigny et al. 2006,
"A log-Euclidean framework for statistics on diffeomorphisms"): smooth, invertible, without folding.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import fft, ndimage
from torch import Tensor

from braindiffusion.regions.interpolation import interpolate_labels

Labels = NDArray[np.uint8]
Field = NDArray[np.float32]

COARSER = 2
"""Deformations are computed on a grid that is this much coarser than the maps: they are smoother than that."""
SQUARINGS = 6
SMOOTHNESS_MM, STRENGTH_MM = 8.0, 1.0
"""Standard deviation of the Gaussian that smooths a random velocity, and of the smoothed velocity, in mm."""

MIDPLANE_MM = 15.0
"""Distance from the plane between the hemispheres within which a random velocity does not bend it."""
ASYMMETRY = 0.3
"""Share that is kept of what a random velocity does to one hemisphere alone: people's hemispheres are alike."""


def random_velocity(rng: np.random.Generator, shape: Sequence[int], spacing: float) -> Field:
    """Draw a smooth random velocity field, (3, x, y, z) in voxels, without a mean translation.

    It is nearly symmetric, and the plane between the hemispheres, in the middle of the first axis, is moved within
    itself: people's is nearly flat.
    """
    noise = rng.standard_normal((3, *shape), dtype=np.float32)
    smooth = np.stack([ndimage.gaussian_filter(axis, SMOOTHNESS_MM / spacing, mode="constant") for axis in noise])
    mirrored = smooth[:, ::-1] * np.array([-1, 1, 1], np.float32)[:, None, None, None]
    uneven = (smooth - mirrored) / 2  # of the first component, what is not 0 in the middle
    across = (np.arange(shape[0]) - (shape[0] - 1) / 2) * spacing / MIDPLANE_MM
    kept = ASYMMETRY * uneven
    kept[0] -= kept[0] * np.exp(-(across**2) / 2).astype(np.float32)[:, None, None]
    velocity = smooth - uneven + kept
    velocity -= velocity.mean((1, 2, 3), keepdims=True)
    scaled: Field = velocity / velocity.std() * np.float32(STRENGTH_MM / spacing)
    return scaled


def exponential(velocity: Field) -> Field:
    """Return the displacement, (3, x, y, z) in voxels, of the time-1 flow of a stationary velocity field."""
    displacement: Field = flow(torch.from_numpy(velocity)).numpy()
    return displacement


def composed(first: Field, then: Field) -> Field:
    """Return the displacement of x -> first(then(x)), both displacements in voxels."""
    displacement: Field = then + warp(torch.from_numpy(first), torch.from_numpy(then)).numpy()
    return displacement


def flow(velocity: Tensor) -> Tensor:
    """Return the displacement of the time-1 flow of a velocity, both (3, x, y, z) in voxels: scaling and squaring."""
    displacement: Tensor = velocity / 2**SQUARINGS
    for _ in range(SQUARINGS):
        displacement = displacement + warp(displacement, displacement)
    return displacement


def warp(image: Tensor, displacement: Tensor) -> Tensor:
    """Return an image (channels, x, y, z) pulled back along a displacement (3, x, y, z) in voxels."""
    shape = image.shape[1:]
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in shape), indexing="ij")
    places = torch.stack(axes) + displacement
    size = torch.tensor(shape, dtype=torch.float32)[:, None, None, None]
    grid = ((places + 0.5) * 2 / size - 1).flip(0).movedim(0, -1)  # PyTorch orders the axes from last to first
    slabs = image.expand(shape[0], *image.shape)  # PyTorch shares out the images of a batch among threads
    pulled = F.grid_sample(slabs, grid[:, None], padding_mode="border", align_corners=False)
    return pulled[:, :, 0].movedim(0, 1)


def refined(displacement: Field) -> Field:
    """Return a displacement of the coarser grid on the grid of the maps, in voxels of that."""
    shape = [COARSER * n for n in displacement.shape[1:]]
    return np.stack([COARSER * refined_component(axis, shape) for axis in displacement])


def refined_component(component: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """Return one component on the grid that is `COARSER` times finer, linearly interpolated and cut to a shape."""
    for axis in range(component.ndim):
        before, after = (np.take(component, _shifted(component.shape[axis], by), axis) for by in (-1, 1))
        fine = np.stack([0.75 * component + 0.25 * before, 0.75 * component + 0.25 * after], axis + 1)
        component = fine.reshape(*component.shape[:axis], -1, *component.shape[axis + 1 :])
    return component[tuple(slice(n) for n in shape)]


def _shifted(length: int, by: int) -> NDArray[np.intp]:
    """Return the index of each site's neighbour along an axis, that of a border being itself."""
    return np.clip(np.arange(length) + by, 0, length - 1)


def warped(labels: Labels, displacement: Field, *, nearest: bool = False) -> Labels:
    """Return labels pulled back along a displacement of the coarser grid: at x lies what was at x + displacement(x).

    Args:
        labels: (x, y, z).
        displacement: (3, x / COARSER, y / COARSER, z / COARSER), in voxels of that grid.
        nearest: take the label of the nearest voxel, which is ten times as fast and frays thin parts.
    """
    places = places_of(displacement)
    if nearest:
        taken: Labels = ndimage.map_coordinates(labels, places, order=0, mode="constant")
        return taken
    return interpolate_labels(labels, places)


def places_of(displacement: Field) -> Field:
    """Return where each voxel of a warped map comes from, (3, x, y, z) in voxels."""
    fine = refined(displacement)
    places: Field = np.indices(fine.shape[1:], dtype=np.float32) + fine
    return places


def expansion(growth: NDArray[np.float32]) -> Field:
    """Return the curl-free velocity whose divergence is `growth` (less its mean): Poisson's equation, solved by FFT."""
    frequencies = [fft.fftfreq(n) for n in growth.shape[:-1]] + [fft.rfftfreq(growth.shape[-1])]
    k = np.stack(np.meshgrid(*(2 * np.pi * f for f in frequencies), indexing="ij"))
    squared = (k**2).sum(0)
    squared[0, 0, 0] = 1
    potential = -fft.rfftn(growth - growth.mean()) / squared
    return np.stack([fft.irfftn(1j * axis * potential, growth.shape) for axis in k]).astype(np.float32)


def lengths_mm(displacement: Field, spacing: float) -> Field:
    """Return the length of a displacement of the coarser grid on the grid of the maps, (x, y, z) in mm."""
    length: Field = np.sqrt((refined(displacement) ** 2).sum(0)) * np.float32(spacing)
    return length
