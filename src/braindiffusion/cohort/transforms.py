"""TorchIO, behind the one door that its version 2 will need changed. Importing this imports torch."""

from typing import cast

import numpy as np
import torch
import torchio as tio
from numpy.typing import NDArray

Array = NDArray[np.float32]


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
    """Bring a label map (x, y, z) onto another grid, nearest neighbour. Same grid: untouched."""
    if labels.shape == shape and np.allclose(affine, target, atol=1e-3):
        return labels
    image = tio.LabelMap(tensor=torch.from_numpy(labels[None].astype(np.int32)), affine=affine)
    resampled = tio.Resample((shape, target))(image)
    moved: NDArray[np.integer] = resampled.numpy()[0].astype(labels.dtype)
    return moved


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
    """Whether voxels are isotropic of this size, to a thousandth of a mm."""
    return bool(np.allclose(np.sqrt((affine[:3, :3] ** 2).sum(axis=0)), spacing, atol=1e-3))


def move_randomly(
    images: list[torch.Tensor],
    labels: torch.Tensor | None,
    spacing: float,
    seed: int,
    *,
    degrees: float,
    scale: float,
    shift_mm: float,
) -> tuple[list[torch.Tensor], torch.Tensor | None]:
    """Turn, scale and shift images together, by amounts that the seed alone decides; linear interpolation.

    Args:
        images: each (C, x, y, z) float32 on the same grid; what comes in from outside is the image's minimum.
        labels: (x, y, z) on the same grid, nearest neighbour; or None.
        spacing: mm.
        seed: of the amounts; the global generator is left as it was.
        degrees: up to this, about each axis.
        scale: up to this share, each axis on its own.
        shift_mm: up to this, along each axis.
    """
    affine = np.diag([spacing, spacing, spacing, 1.0])
    subject = tio.Subject({f"image{i}": tio.ScalarImage(tensor=t, affine=affine) for i, t in enumerate(images)})
    if labels is not None:
        subject.add_image(tio.LabelMap(tensor=labels[None], affine=affine), "labels")
    move = tio.RandomAffine(scales=scale, degrees=degrees, translation=shift_mm, default_pad_value="minimum")
    with torch.random.fork_rng(devices=[]):  # TorchIO draws from the global generator
        torch.manual_seed(seed)
        moved = move(subject)
    turned = None if labels is None else _tensor(moved, "labels")[0].to(labels.dtype)
    return [_tensor(moved, f"image{i}") for i in range(len(images))], turned


def draw_patch(
    image: torch.Tensor, probability: torch.Tensor, size: tuple[int, int, int], seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut one patch out of an image, centred where the probability map says.

    Args:
        image: (C, x, y, z).
        probability: (x, y, z), not negative.
        size: voxels of the patch.
        seed: decides where; the global generator is left as it was.

    Returns:
        The patch (C, *size) and its first voxel (3,) float32.
    """
    subject = tio.Subject(image=tio.ScalarImage(tensor=image), probability=tio.ScalarImage(tensor=probability[None]))
    sampler = tio.WeightedSampler(size, probability_map="probability")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        patch = next(iter(sampler(subject, num_patches=1)))
    first = torch.as_tensor(np.asarray(patch[tio.LOCATION])[:3]).float()
    return _tensor(patch, "image"), first


def _tensor(subject: tio.Subject, name: str) -> torch.Tensor:
    return cast(tio.Image, subject[name]).data
