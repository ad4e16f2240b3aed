"""Measures of one brain: a few thousand numbers instead of a million voxels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from braindiffusion.cohort.mask import largest_component
from braindiffusion.evaluation.metrics.cortex import CORTEX, WHITE, cortex_measures, sulcal_continuity
from braindiffusion.regions import MIRRORED, REGIONS, volumes_ml
from braindiffusion.regions.table import Labels

BINS = 100
"""Bins of the intensity histogram over [0, 1]."""
BLOCK = 8
"""Voxels of the largest blocks whose edges are measured; smaller ones have a half and a quarter of it."""
AIR = 0.02
"""Share of the brightest tissue above which a voxel is brain."""

_PAIRS = [(r.index, int(MIRRORED[r.index])) for r in REGIONS if r.hemisphere == "L"]
_TISSUES = ("csf", "grey", "white")


@dataclass(frozen=True)
class BrainMeasures:
    """Measures of one brain.

    Attributes:
        name: name of the brain.
        quantities: numbers by name, in the unit that `unit` gives.
        histogram: (BINS,) share of the brain's voxels.
        spectrum: (R,) mean power at each spatial frequency, see `spectrum`.
        features: (D,) each, by the name of their encoder (`embedding`, ...).
        age: predicted from the brain, in years; NaN without a segmentation model.
        dice: overlap with the requested label map, by region index; empty where none was requested.
    """

    name: str
    quantities: dict[str, float]
    histogram: NDArray[np.float64]
    spectrum: NDArray[np.float64]
    features: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    age: float = np.nan
    dice: dict[int, float] = field(default_factory=dict)


def shared_measures(measured: Iterable[BrainMeasures]) -> list[str]:
    """Return the names of the measures that all of these brains have."""
    first, *others = measured
    return [name for name in first.quantities if all(name in one.quantities for one in others)]


def brain_mask(voxels: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the largest connected component that is brighter than air, filled."""
    return np.asarray(ndimage.binary_fill_holes(largest_component(voxels > AIR)))


def histogram(voxels: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share of the brain's voxels in each bin of intensity, (BINS,)."""
    counts, _ = np.histogram(voxels[mask], BINS, (0, 1))
    return np.asarray(counts / max(1, counts.sum()))


def spectrum(voxels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean power of the Fourier transform around the frequencies k / R of Nyquist, k = 1 to R, (R,).

    R is half of the longest side, so that every ring holds a frequency. The mean of the volume is no frequency.
    """
    power = np.abs(np.fft.rfftn(voxels)) ** 2
    axes = [np.fft.fftfreq(n) for n in voxels.shape[:2]] + [np.fft.rfftfreq(voxels.shape[2])]
    frequency = np.sqrt(sum(f**2 for f in np.meshgrid(*axes, indexing="ij")))
    rings = max(voxels.shape) // 2
    ring = np.where(frequency <= 0.5, np.rint(frequency * 2 * rings), 0).astype(np.intp)
    # rfftn leaves half of the frequencies out: those with a partner count twice.
    weight = np.full(power.shape, 2.0)
    weight[..., 0] = 1
    if voxels.shape[2] % 2 == 0:
        weight[..., -1] = 1
    sums = np.bincount(ring.ravel(), (power * weight).ravel())
    return np.asarray((sums / np.bincount(ring.ravel(), weight.ravel()))[1:])


def frequencies(rings: int, spacing: float) -> NDArray[np.float64]:
    """Return the frequencies of a spectrum in cycles per mm, (R,); the last one is Nyquist."""
    return np.asarray(np.arange(1, rings + 1) / rings / 2 / spacing)


def shape_measures(mask: NDArray[np.bool_], spacing: float) -> dict[str, float]:
    """Return volume (ml), surface (mm^2), sphericity (1 for a ball) and extents (mm) of a brain mask.

    The surface is the integral of the smoothed mask's gradient (coarea formula), which a staircase of voxels does not
    lengthen.
    """
    if not mask.any():
        names = ("brain volume", "surface", "sphericity", "width", "length", "height")
        return dict.fromkeys(names, 0.0)
    padded = ndimage.gaussian_filter(np.pad(mask, 4).astype(np.float32), 1.0)
    slope = np.sqrt(sum(np.asarray(part) ** 2 for part in np.gradient(padded)))
    surface = float(slope.sum(dtype=np.float64)) * spacing**2
    volume = np.count_nonzero(mask) * spacing**3
    extents = [
        float(np.ptp(np.flatnonzero(mask.any(tuple(j for j in range(3) if j != axis)))) + 1) * spacing
        for axis in range(3)
    ]
    sphericity = np.pi ** (1 / 3) * (6 * volume) ** (2 / 3) / surface
    names = ("brain volume", "surface", "sphericity", "width", "length", "height")
    return dict(zip(names, (volume / 1000, surface, sphericity, *extents), strict=True))


def region_measures(voxels: NDArray[np.float32], labels: Labels, spacing: float) -> dict[str, float]:
    """Return volumes (ml) of regions and tissues, asymmetry of every pair, cortex, contrast and texture."""
    volumes = volumes_ml(labels, spacing)
    measures = {f"volume: {region.name}": float(volumes[region.index]) for region in REGIONS[1:]}
    for tissue in _TISSUES:
        measures[f"tissue: {tissue}"] = float(sum(volumes[r.index] for r in REGIONS if r.tissue == tissue))
    measures |= {f"asymmetry: {name}": value for name, value in asymmetries(volumes).items()}
    measures |= cortex_measures(labels, spacing) | texture_measures(voxels, labels)
    return measures | {"texture: sulcal continuity": sulcal_continuity(voxels, labels, spacing)}


def asymmetries(volumes: NDArray[np.float64]) -> dict[str, float]:
    """Return the difference of left and right over their sum, of every pair of regions; 0 where both are missing.

    Args:
        volumes: (regions,), in the order of `braindiffusion.regions`.
    """
    found = {}
    for left, right in _PAIRS:
        both = volumes[left] + volumes[right]
        found[REGIONS[left].name.removeprefix("left ")] = (
            float((volumes[left] - volumes[right]) / both) if both else 0.0
        )
    return found


def texture_measures(voxels: NDArray[np.float32], labels: Labels) -> dict[str, float]:
    """Return the contrast of cerebral cortex and white matter, and the texture and block edges of white matter.

    Texture is the standard deviation of inner white matter less its blur of one voxel.
    """
    cortex = _mean(voxels, _is(labels, CORTEX))
    white_matter = _is(labels, WHITE)
    white = _mean(voxels, white_matter)
    inner = ndimage.binary_erosion(white_matter, iterations=2)
    residual = (voxels - ndimage.gaussian_filter(voxels, 1.0))[inner]
    return {
        "texture: grey-white contrast": (white - cortex) / (white + cortex) if white + cortex else 0.0,
        "texture: white-matter residual": float(residual.std()) if residual.size else 0.0,
        "texture: block edges": block_edges(voxels, inner),
    }


def block_edges(voxels: NDArray[np.float32], where: NDArray[np.bool_]) -> float:
    """Return how much larger steps are across the faces of blocks than inside them: 1 where nothing shows a grid.

    A model that generates blocks of voxels (wavelet levels, patches, latents) leaves such steps in smooth tissue.
    Blocks of 2, 4 and 8 voxels are counted from each voxel of the first block, the same on every axis; the largest
    ratio is returned.

    Args:
        voxels: (x, y, z).
        where: (x, y, z), smooth tissue: steps between two of these voxels count.
    """
    sums, counts = np.zeros(BLOCK), np.zeros(BLOCK)  # by the place of a step, modulo the largest block
    for axis, sides in enumerate(voxels.shape):
        step = np.abs(np.diff(voxels, axis=axis))
        both = np.take(where, range(sides - 1), axis) & np.take(where, range(1, sides), axis)
        place = np.expand_dims(np.arange(1, sides) % BLOCK, [other for other in range(3) if other != axis])
        place = np.broadcast_to(place, step.shape)[both]
        sums += np.bincount(place, step[both], BLOCK)
        counts += np.bincount(place, minlength=BLOCK)
    ratios = [1.0]
    for block in (2, 4, BLOCK):
        for first in range(block):
            faces = np.arange(BLOCK) % block == first
            across, inside = (sums[at].sum() / max(counts[at].sum(), 1) for at in (faces, ~faces))
            if inside:
                ratios.append(float(across / inside))
    return max(ratios)


def _is(labels: Labels, regions: Sequence[int]) -> NDArray[np.bool_]:
    return np.asarray(np.isin(labels, regions))


def _mean(voxels: NDArray[np.float32], where: NDArray[np.bool_]) -> float:
    return float(voxels[where].mean(dtype=np.float64)) if where.any() else 0.0


def unit(measure: str) -> str:
    """Return the unit of a measure."""
    kind = measure.partition(":")[0]
    units = {"volume": "ml", "tissue": "ml", "brain volume": "ml", "surface": "mm²"}
    return units.get(kind, "mm" if kind in ("cortex", "width", "length", "height") else "")
