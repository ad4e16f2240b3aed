"""Checks of a label map: that it is one, that it is a brain's, that it lies on its brain, and whose values it has."""

import numpy as np
from numpy.typing import NDArray

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.regions import is_grouped, mixed_sides, regions_of, table_problem
from braindiffusion.volume import Volume

WHOLE = 0.01
"""Distance to a whole number that rounding in a file with a slope explains (207 in 16 bits: 0.0016)."""
EQUAL = 0.4
"""Share of neighbouring labelled voxels with equal values. DLMUSE at 2 mm has 0.74 and more, T1w scans in 64 grey
values 0.15 and less (15 heads of IXI)."""
BRAIN_ML = (300.0, 2500.0)
"""Volume of a brain, from infants to the largest adults."""
STEP_MM = 8.0
"""Distance by which a label map is moved to see whether it fits better elsewhere."""
FIT = 0.03
"""Variance that a label map explains where it lies, less that explained 8 mm away, in any direction. Of 15 heads of IXI
their own maps reach 0.27 to 0.37, their masks 0.11 to 0.24; maps of other people, and maps 10 or 27 mm off, -0.01 and
less."""
NEAR_MM = 6.0
"""Rim around a label map that counts as its background."""
PLACES = 60_000
"""Most voxels that the fit is measured at."""
UNKNOWN = np.iinfo(np.uint16).max
"""Value of the brain in a label map of an unknown scheme: no scheme has it."""


def label_values(labels: Volume) -> NDArray[np.uint16]:
    """Return the values of a label map, (x, y, z); those that a slope has made uneven are rounded.

    Raises:
        BrainDiffusionError: it holds several volumes, other values than whole numbers, or an image. The sentence does
            not name the file.
    """
    if labels.channels != 1:
        raise BrainDiffusionError(f"its label map holds {labels.channels} volumes, and one is needed")
    values = labels.data[0]
    low, high = values.min(), values.max()
    uneven = values.dtype.kind == "f" and bool(np.abs(values - np.rint(values)).max() > WHOLE)
    if low < -WHOLE or high > UNKNOWN or uneven:
        raise BrainDiffusionError(
            f"its label map holds other values than whole numbers from 0 to {UNKNOWN} ({low:g} to {high:g})"
        )
    whole: NDArray[np.uint16] = (np.rint(values) if values.dtype.kind == "f" else values).astype(np.uint16)
    if _is_image(whole):
        raise BrainDiffusionError("its label map is an image of many intensities, and no map of regions")
    return whole


def _is_image(values: NDArray[np.uint16]) -> bool:
    """Return whether neighbouring voxels mostly differ."""
    below, above = values[:-1], values[1:]
    both = (below > 0) & (above > 0)
    return bool(both.any()) and float(np.mean(below[both] == above[both])) < EQUAL


def known_regions(values: NDArray[np.integer], spacing: float) -> tuple[NDArray[np.integer], str]:
    """Return a label map whose values no other code takes for regions that they are not, and half a sentence on it.

    Values of DLMUSE, of FreeSurfer or of the table of regions stay as they are. Small numbers of another scheme (tissue
    classes, another atlas) look like those of the table; they become `UNKNOWN`, and the map a brain mask.

    Args:
        values: (x, y, z) of a whole brain.
        spacing: mm.

    Raises:
        BrainDiffusionError: left and right are mixed up in it.
    """
    if is_grouped(values) and (problem := table_problem(values.astype(np.uint8), spacing)):
        is_mask = len(np.unique(values)) <= 2
        note = "" if is_mask else f"its label map serves as a brain mask only: {problem}"
        return np.where(values > 0, np.uint16(UNKNOWN), np.uint16(0)), note
    if problem := mixed_sides(values):
        raise BrainDiffusionError(problem)
    return values, ""


def placement_problem(
    image: NDArray[np.float32], values: NDArray[np.integer], mask: NDArray[np.bool_], spacing: float
) -> str:
    """Return half a sentence on a label map that is no brain's, or lies elsewhere; empty where it fits.

    It fits where the intensities differ between its regions and its background (correlation ratio, Roche et al. 1998),
    more than they do 8 mm away in any direction. That needs no certain contrast.

    Args:
        image: (x, y, z) intensities.
        values: (x, y, z) labels on the same grid, 0 is background.
        mask: (x, y, z) the labels, closed and filled.
        spacing: mm.
    """
    millilitres = float(np.count_nonzero(mask)) * spacing**3 / 1000
    low, high = BRAIN_ML
    if not low <= millilitres <= high:
        return f"its label map covers {millilitres:.0f} ml, which is no brain ({low:.0f} to {high:.0f} ml)"
    if fit(image, values, mask, spacing) < FIT:
        return (
            f"its label map does not lie on its brain (it fits as well or better {STEP_MM:.0f} mm away): it is another "
            "person's, or in another space"
        )
    return ""


def fit(image: NDArray[np.float32], values: NDArray[np.integer], mask: NDArray[np.bool_], spacing: float) -> float:
    """Return how much more variance labels explain where they lie than 8 mm away; arguments as `placement_problem`."""
    from scipy import ndimage  # takes 0.2 s to import, and few callers need it

    near = ndimage.binary_dilation(mask, iterations=max(1, round(NEAR_MM / spacing)))
    places = np.argwhere(near)
    places = places[:: max(1, len(places) // PLACES)]
    _, labels = np.unique(values[tuple(places.T)], return_inverse=True)
    low, high = np.percentile(image, (1, 99.5))
    step = max(1, round(STEP_MM / spacing))
    last = np.array(image.shape) - 1

    def explained(shift: NDArray[np.integer]) -> float:
        found = np.clip(image[tuple(np.clip(places + shift, 0, last).T)], low, high).astype(np.float64)
        count = np.bincount(labels)
        means = np.bincount(labels, found) / np.maximum(count, 1)
        total = float(found.var()) * len(found)
        return float((count * (means - found.mean()) ** 2).sum()) / total if total else 0.0

    turns = np.concatenate((np.eye(3, dtype=int), -np.eye(3, dtype=int))) * step
    return explained(np.zeros(3, int)) - max(explained(turn) for turn in turns)


def regions_in(labels: Volume) -> NDArray[np.uint8]:
    """Return a label map as regions of the table, (x, y, z).

    Raises:
        BrainDiffusionError: it is no label map, or its values are of an unknown scheme. The sentence does not name the
            file.
    """
    values = label_values(labels)
    if is_grouped(values) and (problem := table_problem(values.astype(np.uint8), labels.spacing)):
        raise BrainDiffusionError(problem)
    return regions_of(values)
