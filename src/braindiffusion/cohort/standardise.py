"""Standardisation of one subject, from files to arrays of a cohort, and of any volume that a model is given."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from braindiffusion.cohort.describe import header_problem
from braindiffusion.cohort.mask import brain_centre, brain_mask, dark_background, head_mask
from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.qc.checks import picture_problem
from braindiffusion.cohort.qc.labels import known_regions, label_values, placement_problem
from braindiffusion.cohort.store import PreparedVolume
from braindiffusion.errors import BrainDiffusionError, about
from braindiffusion.volume import Volume, load_volume

BACKGROUND = -1.0
TISSUE = 0.1
"""Share of the brightest intensity below which a voxel is air (or fluid, in T1 and FLAIR)."""
SAME_PLACE = 0.8
"""Share of a brain that should be tissue in its further channels too; with less than half of it, it is left out."""


def standardise_file(
    paths: Path | Sequence[Path], labels_path: Path | None, preprocessing: Preprocessing, modality: str | None = None
) -> PreparedVolume:
    """Read a volume (or one for each channel), and the label map where there is one, and bring all into the box.

    Args:
        paths: the volume, or one for each channel.
        labels_path: its label map.
        preprocessing: what to do.
        modality: of the volume, where the preprocessing is of several; a T1w one that shows no head gets a note.

    Raises:
        BrainDiffusionError: a file is unreadable or odd; the sentence names it.
    """
    first, *others = (load_volume(path) for path in ([paths] if isinstance(paths, Path) else paths))
    labels = load_volume(labels_path) if labels_path is not None else None
    with about(paths if isinstance(paths, Path) else paths[0]):
        prepared = standardise(first, preprocessing, labels, others)
        if (modality or preprocessing.modality).startswith("T1") and (doubt := picture_problem(dark_background(first))):
            prepared = replace(prepared, note=" ".join(filter(None, (_sentences([doubt]), prepared.note))))
        return prepared


def standardise(
    volume: Volume,
    preprocessing: Preprocessing,
    labels: Volume | None = None,
    others: Sequence[Volume] = (),
    *,
    own_mask: bool = False,
) -> PreparedVolume:
    """Resample, mask, scale intensities to [-1, 1], and cut the brain's box out.

    Args:
        volume: one channel, any unit of intensity.
        preprocessing: what to do.
        labels: region label map on any grid, 0 is background.
        others: the further channels, each on any grid. They are brought onto the first one's by their world positions
            alone: nothing is registered, and who moved between two scans should be registered before.
        own_mask: the label map is a brain mask made from this volume: its place needs no check.

    Returns:
        Volume, mask and labels in the box of `preprocessing.shape`.

    Raises:
        BrainDiffusionError: the volume is empty or a slab, the label map is none, or the brain does not fit into the
            box. The sentence does not name the file, of which nothing is known here.
    """
    from braindiffusion.cohort import transforms  # imports torch

    needed, given = len(preprocessing.channels), 1 + len(others)
    if needed != given:
        raise BrainDiffusionError(f"{preprocessing.modality} needs {needed} volumes, and {given} is given")
    for one in (volume, *others):
        if problem := header_problem(one):
            raise BrainDiffusionError(problem)
        if one.data.max() == one.data.min():
            raise BrainDiffusionError("the volume has the same value everywhere")
    volume, *others = (dark_background(one) for one in (volume, *others))
    notes: list[str] = []
    image, grid = transforms.resample(_intensities(volume), volume.affine, preprocessing.spacing)
    x, y, z = image.shape[1:]
    moved = [transforms.resample_onto(_intensities(one), one.affine, (x, y, z), grid) for one in others]
    image = np.concatenate((image, *moved))
    regions = None
    closing = preprocessing.closing_mm / preprocessing.spacing
    if labels is not None:
        regions = transforms.resample_labels(label_values(labels), labels.affine, image.shape[1:], grid)
        mask = brain_mask(regions, closing)
        if not mask.any():
            raise BrainDiffusionError("its label map is empty, or lies elsewhere in the world")
        if not own_mask:
            if problem := placement_problem(image[0], regions, mask, preprocessing.spacing):
                raise BrainDiffusionError(problem)
            regions, doubt = known_regions(regions, preprocessing.spacing)
            notes.append(doubt)
    elif preprocessing.skull == "strip":
        raise BrainDiffusionError("there is no label map to strip the skull with")
    else:
        mask = head_mask(image[0], closing)
        if not mask.any():
            raise BrainDiffusionError("no head stands out from the background")

    notes.append(_overlap(image, mask, preprocessing))
    scaled = _scale(image, mask, preprocessing)
    if preprocessing.skull == "strip":
        scaled[:, ~mask] = BACKGROUND
    shape = preprocessing.shape
    centre = brain_centre(mask, preprocessing.spacing, shape, is_brain=regions is not None)
    start = _first_voxel(centre, shape)
    box_mask = transforms.cut_box(mask[None].astype(np.uint8), grid, start, shape, 0)[0][0].astype(bool)
    if regions is not None and np.count_nonzero(box_mask) < np.count_nonzero(mask):
        size = " x ".join(f"{n * preprocessing.spacing:g}" for n in shape)
        raise BrainDiffusionError(f"its brain does not fit into the box of {size} mm")
    box, affine = transforms.cut_box(scaled, grid, start, shape, BACKGROUND)
    box_regions = None
    if regions is not None:
        # torch knows uint16 by name only; every label fits into int32.
        box_regions = transforms.cut_box(regions[None].astype(np.int32), grid, start, shape, 0)[0][0].astype(np.uint16)
    return PreparedVolume(box.astype(np.float16), box_mask, box_regions, affine, _sentences(notes))


def standardise_labels(
    labels: Volume, spacing: float, shape: tuple[int, int, int]
) -> tuple[NDArray[np.uint16], NDArray[np.float64]]:
    """Bring a label map alone into the box that `standardise` would cut out for its brain.

    Args:
        labels: on any grid, 0 is background; it takes the nearest neighbour where its voxels are not of `spacing`.
        spacing: mm, isotropic.
        shape: voxels of the box.

    Returns:
        (x, y, z), the brain in the middle, and the affine of the box.

    Raises:
        BrainDiffusionError: it is empty or no label map, or does not fit. The sentence does not name the file.
    """
    from braindiffusion.cohort import transforms  # imports torch

    regions: NDArray[np.integer] = label_values(labels)
    grid = labels.affine
    if not transforms.has_spacing(grid, spacing):
        grid_shape, grid = _isotropic(labels, spacing)
        regions = transforms.resample_labels(regions, labels.affine, grid_shape, grid)
    if not regions.any():
        raise BrainDiffusionError("its label map is empty")
    start = _first_voxel(brain_centre(regions > 0, spacing, shape, is_brain=True), shape)
    cut, affine = transforms.cut_box(regions[None].astype(np.int32), grid, start, shape, 0)
    box: NDArray[np.uint16] = cut[0].astype(np.uint16)
    if np.count_nonzero(box) < np.count_nonzero(regions):
        size = " x ".join(f"{n * spacing:g}" for n in shape)
        raise BrainDiffusionError(f"its brain does not fit into the box of {size} mm")
    return box, affine


def _isotropic(volume: Volume, spacing: float) -> tuple[tuple[int, int, int], NDArray[np.float64]]:
    """Return shape and affine of the grid of this spacing that covers a volume, with the same outer corner."""
    factor = spacing / np.array(volume.spacing)
    x, y, z = (int(n) for n in np.ceil(np.array(volume.shape) / factor - 1e-6))
    step = np.diag([*factor, 1.0])
    step[:3, 3] = (factor - 1) / 2
    return (x, y, z), volume.affine @ step


def _first_voxel(centre: NDArray[np.float64], shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the first voxel of the box around a centre. Half voxels are rounded towards the origin."""
    x, y, z = (int(n) for n in np.ceil(centre - np.array(shape) / 2 - 0.5))
    return x, y, z


def _intensities(volume: Volume) -> NDArray[np.float32]:
    return volume.data.astype(np.float32, copy=False)


def _overlap(image: NDArray[np.float32], mask: NDArray[np.bool_], preprocessing: Preprocessing) -> str:
    """Return half a sentence on channels that show much air where the first one's brain is; empty if all show tissue.

    Raises:
        BrainDiffusionError: one shows mostly air.
    """
    doubts = []
    for name, channel in zip(preprocessing.channels[1:], image[1:], strict=True):
        floor = float(channel.min())
        tissue = channel[mask] > floor + TISSUE * (float(np.percentile(channel, 99.5)) - floor)
        share = float(tissue.mean())
        if share < SAME_PLACE:
            doubts.append(f"its {name} volume shows tissue in {share:.0%} of its brain")
        if share < SAME_PLACE / 2:
            raise BrainDiffusionError(f"{doubts[-1]} only, so that it lies elsewhere in the world: register it first")
    return f"in world space {' and '.join(doubts)} only (is it registered?)" if doubts else ""


def _scale(image: NDArray[np.float32], mask: NDArray[np.bool_], preprocessing: Preprocessing) -> NDArray[np.float32]:
    scaled = np.empty_like(image)
    for channel, out in zip(image, scaled, strict=True):
        low, high = np.percentile(channel[mask], preprocessing.percentiles)
        if not high > low:
            raise BrainDiffusionError("nearly all voxels of its brain have one intensity")
        np.clip((channel - low) / (high - low) * 2 - 1, -1, 1, out=out)
    return scaled


def _sentences(notes: Sequence[str]) -> str:
    return " ".join(f"{note[0].upper()}{note[1:].rstrip('.')}." for note in notes if note)
