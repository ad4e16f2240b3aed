"""TorchIO transforms; no other module of the engine imports TorchIO. Imports torch."""

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
import torchio as tio
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import BSpline

from braindiffusion.regions.interpolation import interpolate_labels

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


def patch_centres(inside: torch.Tensor, size: tuple[int, int, int]) -> NDArray[np.intp]:
    """Return the voxels that TorchIO's weighted sampler may centre a patch on: brain, away from the box's faces.

    Drawing among them, all alike, is that sampler. Drawing through it would copy the whole brain for each patch.

    Args:
        inside: (x, y, z), the share of each voxel that is brain.
        size: voxels of the patch; a patch reaches from `centre - size // 2`.

    Returns:
        (n, 3); the middle of the box where no brain is.
    """
    sampler = tio.WeightedSampler(size, probability_map="inside")
    try:
        subject = tio.Subject(inside=tio.ScalarImage(tensor=torch.ones(1, 1, 1, 1)))
        allowed = sampler.process_probability_map((inside > 0)[None], subject)
    except RuntimeError:  # no brain there, or only at the faces
        return np.array([inside.shape]) // 2
    return np.argwhere(allowed > 0)


def has_spacing(affine: NDArray[np.float64], spacing: float) -> bool:
    """Return whether voxels are isotropic of this size, to a thousandth of a mm."""
    return bool(np.allclose(np.sqrt((affine[:3, :3] ** 2).sum(axis=0)), spacing, atol=1e-3))


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


Interpolation = Literal["linear", "cubic"]


def move(
    images: list[torch.Tensor],
    labels: torch.Tensor | None,
    spacing: float,
    movement: Movement,
    interpolation: Interpolation = "linear",
) -> tuple[list[torch.Tensor], torch.Tensor | None]:
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
        turned = None if labels is None else torch.from_numpy(interpolate_labels(labels.numpy(), voxels))
        return [_splines(image, voxels) for image in images], turned
    moved = _sample(torch.cat(images), grid, "bilinear").split([len(image) for image in images])
    turned = None if labels is None else _sample(labels[None].float(), grid, "nearest")[0].to(labels.dtype)
    return list(moved), turned


def _sampling_grid(movement: Movement, shape: tuple[int, ...], spacing: float) -> torch.Tensor:
    """Return the sampling grid of a movement, (1, x, y, z, 3) in the coordinates of `grid_sample`.

    Places are first bent, then turned, by the same fields as TorchIO's `ElasticDeformation` and `Affine`, which take
    0.8 s and 0.06 s for each brain. All is linear, so it is summed axis by axis.
    """
    affine = np.diag([spacing, spacing, spacing, 1.0])
    image = tio.ScalarImage(tensor=torch.empty(1, 1, 1, 1).expand(1, *shape), affine=affine)
    turn = tio.Affine(movement.scales, movement.degrees, movement.shift_mm).get_affine_transform(image)
    lps = np.array([-1.0, -1.0, 1.0])
    origin = np.array(turn.TransformPoint((0.0, 0.0, 0.0)))
    matrix = np.stack([np.array(turn.TransformPoint(tuple(axis))) - origin for axis in np.eye(3)], axis=1)
    # From mm in RAS to -1 at the first voxel and 1 at the last one.
    unit = 2 / (spacing * (np.array(shape) - 1))
    matrix, origin = unit[:, None] * (lps[:, None] * matrix * lps), unit * lps * origin - 1
    grid = np.zeros((*shape, 3), np.float32)
    if movement.bend_mm is not None:
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


def _sample(image: torch.Tensor, grid: torch.Tensor, mode: str) -> torch.Tensor:
    """Return (C, x, y, z) at the places of a grid; outside is each channel's minimum."""
    low = image.amin((1, 2, 3), keepdim=True)
    moved = torch.nn.functional.grid_sample((image - low)[None], grid, mode=mode, align_corners=True)
    return moved[0] + low


def _splines(image: torch.Tensor, voxels: NDArray[np.floating]) -> torch.Tensor:
    """Return (C, x, y, z) at places in voxels by cubic splines; outside is each channel's minimum."""
    channels = [
        ndimage.map_coordinates(one, voxels, order=3, mode="constant", cval=float(one.min())) for one in image.numpy()
    ]
    return torch.from_numpy(np.stack(channels))


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
