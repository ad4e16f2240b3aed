"""One subject, from files to what a cohort stores. The same steps are replayed on any volume that a model is given."""

from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from braindiffusion.cohort.mask import brain_centre, brain_mask, head_mask
from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.store import PreparedVolume
from braindiffusion.errors import BrainDiffusionError

BACKGROUND = -1.0


def standardise_file(path: Path, labels_path: Path | None, preprocessing: Preprocessing) -> PreparedVolume:
    """Read a volume, and its label map where there is one, and bring both into the cohort's box.

    Raises:
        BrainDiffusionError: a file is unreadable or odd; the sentence names it.
    """
    data, affine = _read(path)
    try:
        if labels_path is None:
            return standardise(data, affine, preprocessing)
        labels, labels_affine = _read(labels_path)
        if not np.array_equal(labels, np.rint(labels)) or labels.min() < 0 or labels.max() > np.iinfo(np.uint16).max:
            raise BrainDiffusionError(f"the label map {labels_path.name} holds other values than 0 to 65535")
        return standardise(data, affine, preprocessing, labels[0].astype(np.uint16), labels_affine)
    except BrainDiffusionError as error:
        raise BrainDiffusionError(f"{path.name}: {error}.") from error


def standardise(
    data: NDArray[np.float32],
    affine: NDArray[np.float64],
    preprocessing: Preprocessing,
    labels: NDArray[np.uint16] | None = None,
    labels_affine: NDArray[np.float64] | None = None,
) -> PreparedVolume:
    """Resample, mask, cut the brain's box out, and scale intensities to [-1, 1].

    Args:
        data: (C, x, y, z) in RAS+, any unit.
        affine: (4, 4), mm.
        preprocessing: what to do.
        labels: (x, y, z) in RAS+, on any grid; 0 is background.
        labels_affine: (4, 4), mm; by default `affine`.

    Returns:
        Volume, mask and labels in the box of `preprocessing.shape`.

    Raises:
        BrainDiffusionError: not finite, empty, or the brain does not fit into the box.
    """
    from braindiffusion.cohort import transforms  # imports torch

    if not np.isfinite(data).all():
        raise BrainDiffusionError("the volume holds values that are not finite")
    if data.max() == data.min():
        raise BrainDiffusionError("the volume is the same everywhere")
    image, grid = transforms.resample(data.astype(np.float32, copy=False), affine, preprocessing.spacing)
    closing = preprocessing.closing_mm / preprocessing.spacing
    if labels is not None:
        labels = transforms.resample_labels(labels, affine if labels_affine is None else labels_affine, _grid(image), grid)
        mask = brain_mask(labels, closing)
        if not mask.any():
            raise BrainDiffusionError("its label map is empty, or lies elsewhere")
    elif preprocessing.skull == "strip":
        raise BrainDiffusionError("stripping the skull needs a label map, and there is none")
    else:
        mask = head_mask(image[0], closing)
        if not mask.any():
            raise BrainDiffusionError("there is no head in it that stands out from the background")

    centre = brain_centre(mask, preprocessing.spacing, preprocessing.shape, is_brain=labels is not None)
    corner = np.round(centre - np.array(preprocessing.shape) / 2 - 1e-6).astype(int)
    start, shape = (int(corner[0]), int(corner[1]), int(corner[2])), preprocessing.shape

    scaled = _scale(image, mask, preprocessing)
    if preprocessing.skull == "strip":
        scaled[:, ~mask] = BACKGROUND
    volume, box_affine = transforms.cut_box(scaled, grid, start, shape, BACKGROUND)
    box_mask = transforms.cut_box(mask[None].astype(np.uint8), grid, start, shape, 0)[0][0].astype(bool)
    if labels is not None and box_mask.sum() != mask.sum():
        size = " x ".join(f"{side * preprocessing.spacing:g}" for side in shape)
        raise BrainDiffusionError(f"the brain does not fit into the box of {size} mm")
    box_labels = None
    if labels is not None:
        box_labels = transforms.cut_box(labels[None].astype(np.int32), grid, start, shape, 0)[0][0].astype(np.uint16)
    return PreparedVolume(volume.astype(np.float16), box_mask, box_labels, box_affine)


def _scale(
    image: NDArray[np.float32], mask: NDArray[np.bool_], preprocessing: Preprocessing
) -> NDArray[np.float32]:
    scaled = np.empty_like(image)
    for channel, out in zip(image, scaled, strict=True):
        low, high = np.percentile(channel[mask], preprocessing.percentiles)
        if not high > low:
            raise BrainDiffusionError("nearly all of the brain has one intensity")
        np.clip((channel - low) / (high - low) * 2 - 1, -1, 1, out=out)
    return scaled


def _read(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    try:
        image = nib.as_closest_canonical(nib.load(path))
        data = np.asarray(image.dataobj, dtype=np.float32)
    except Exception as error:  # nibabel, gzip and numpy raise what they like on damaged files
        raise BrainDiffusionError(f"{path.name} cannot be read ({type(error).__name__}: {error}).") from error
    data = data.reshape(data.shape[:3] + tuple(n for n in data.shape[3:] if n != 1))
    if data.ndim != 3:
        raise BrainDiffusionError(f"{path.name} holds {data.shape} voxels, not one 3D volume.")
    return data[None], np.asarray(image.affine, dtype=np.float64)


def _grid(image: NDArray[np.float32]) -> tuple[int, int, int]:
    _, x, y, z = image.shape
    return x, y, z
