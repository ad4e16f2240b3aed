"""TorchIO transforms; no other module of the engine imports TorchIO. Imports torch."""

import itertools
from typing import cast

import numpy as np
import torch
import torchio as tio
from numpy.typing import NDArray

Array = NDArray[np.float32]
EQUAL, NUDGE = 1e-3, 1e-2
"""Shares of a voxel: distances that differ by less are equal, and how far a voxel is moved to either side of a tie."""


def resample(data: Array, affine: NDArray[np.float64], spacing: float) -> tuple[Array, NDArray[np.float64]]:
    """Bring an image to an isotropic spacing: antialiasing blur where voxels grow, then linear interpolation.

    An image that has the spacing already is given back untouched.

    Args:
        data: (C, x, y, z).
        affine: (4, 4), mm.
        spacing: mm.

    Returns:
        Image (C, x', y', z') float32 and its affine.
    """
    if has_spacing(affine, spacing):
        return data, affine
    image = tio.ScalarImage(tensor=torch.from_numpy(np.ascontiguousarray(data, dtype=np.float32)), affine=affine)
    resampled = tio.Resample(spacing, image_interpolation="linear", antialias=True)(image)
    return resampled.numpy().astype(np.float32, copy=False), np.asarray(resampled.affine, dtype=np.float64)


def resample_onto(
    data: Array, affine: NDArray[np.float64], shape: tuple[int, int, int], target: NDArray[np.float64]
) -> Array:
    """Bring an image (C, x, y, z) onto another grid, as `resample` does; its minimum where it does not reach.

    Same grid: untouched.
    """
    if data.shape[1:] == shape and np.allclose(affine, target, atol=1e-3):
        return data
    low = float(data.min())
    image = tio.ScalarImage(tensor=torch.from_numpy(np.ascontiguousarray(data - low, dtype=np.float32)), affine=affine)
    resampled = tio.Resample((shape, target), image_interpolation="linear", antialias=True)(image)
    moved: Array = resampled.numpy().astype(np.float32, copy=False) + low
    return moved


def resample_labels(
    labels: NDArray[np.integer], affine: NDArray[np.float64], shape: tuple[int, int, int], target: NDArray[np.float64]
) -> NDArray[np.integer]:
    """Bring a label map (x, y, z) onto another grid, nearest neighbour. Same grid: untouched.

    Where several voxels are equally near, as where their size doubles, most of them decide: one of them, always on the
    same side, would move the map against the image.
    """
    if labels.shape == shape and np.allclose(affine, target, atol=1e-3):
        return labels
    image = tio.LabelMap(tensor=torch.from_numpy(labels[None].astype(np.int32)), affine=affine)
    sides = [(-NUDGE, NUDGE) if tied else (0.0,) for tied in _tied(affine, shape, target)]
    nearest = []
    for nudge in itertools.product(*sides):
        nudged = target.copy()
        nudged[:3, 3] += affine[:3, :3] @ nudge
        nearest.append(tio.Resample((shape, nudged))(image).numpy()[0].astype(labels.dtype))
    return _commonest(np.stack(nearest))


def _tied(affine: NDArray[np.float64], shape: tuple[int, int, int], target: NDArray[np.float64]) -> list[bool]:
    """Return along which axes voxels of a new grid lie in the middle between two of the old one."""
    to_old = np.linalg.inv(affine) @ target
    tied = []
    for axis, number in enumerate(shape):
        places = to_old[axis, axis] * np.arange(number) + to_old[axis, 3]
        across = np.delete(to_old[axis, :3], axis) * np.delete(shape, axis)  # of an oblique grid hardly any
        tied.append(bool((np.abs(across) < EQUAL).all() and (np.abs(places % 1 - 0.5) < EQUAL).any()))
    return tied


def _commonest(labels: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the commonest of several labels of each voxel, (N, x, y, z) to (x, y, z).

    Of equally common ones the lowest in every other voxel, and the highest in those between, so that no label grows.
    """
    ordered = np.sort(labels, axis=0)
    chosen: NDArray[np.integer] = ordered[0].copy()
    differ = ordered[0] != ordered[-1]
    several = ordered[:, differ]
    counts = (several[:, None] == several[None]).sum(1)
    lowest, highest = counts.argmax(0), len(counts) - 1 - counts[::-1].argmax(0)
    odd = np.argwhere(differ).sum(1) % 2 == 1
    chosen[differ] = np.take_along_axis(several, np.where(odd, highest, lowest)[None], axis=0)[0]
    return chosen


def cut_box(
    data: NDArray[np.generic],
    affine: NDArray[np.float64],
    start: tuple[int, int, int],
    shape: tuple[int, int, int],
    fill: float,
) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    """Crop and pad to a box of whole voxels; nothing is interpolated.

    Args:
        data: (C, x, y, z).
        affine: (4, 4), mm.
        start: first voxel of the box, in voxels of `data`; may be negative.
        shape: voxels of the box.
        fill: value of voxels that `data` does not have.

    Returns:
        (C, *shape) of the same type, and its affine.
    """
    grid = data.shape[1:]
    crop: list[int] = []
    pad: list[int] = []
    for first, length, size in zip(start, shape, grid, strict=True):
        last = first + length
        crop += [max(first, 0), max(size - last, 0)]
        pad += [max(-first, 0), max(last - size, 0)]
    image = tio.ScalarImage(tensor=torch.from_numpy(np.ascontiguousarray(data)), affine=affine)
    image = tio.Pad(tuple(pad), padding_mode=fill)(tio.Crop(tuple(crop))(image))
    return image.numpy().astype(data.dtype, copy=False), np.asarray(image.affine, dtype=np.float64)


def has_spacing(affine: NDArray[np.float64], spacing: float) -> bool:
    """Return whether voxels are isotropic of this size, to a thousandth of a mm."""
    return bool(np.allclose(np.sqrt((affine[:3, :3] ** 2).sum(axis=0)), spacing, atol=1e-3))


def draw_bias(image: torch.Tensor, strength: float, rng: np.random.Generator) -> torch.Tensor:
    """Multiply an image by a bias field, the exponential of a random polynomial of degree 3; its mean stays.

    Args:
        image: (C, x, y, z), not negative.
        strength: coefficients are drawn up to this, either sign.
        rng: what draws them.
    """
    coefficients = rng.uniform(-strength, strength, 20).tolist()
    uneven = _tensor(tio.BiasField(coefficients, 3)(tio.Subject(image=tio.ScalarImage(tensor=image))), "image")
    return uneven * (image.sum() / uneven.sum())


def _tensor(subject: tio.Subject, name: str) -> torch.Tensor:
    return cast(tio.Image, subject[name]).data
