"""Region map of a painted part: that of a training subject whose regions agree with those around the part.

The model generates folds only from a region map, and a segmentation can say nothing of a part that is to be replaced.
The map of the subject, or its mirror image, is deformed until it agrees with the surroundings; the painted part gets
its regions.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from braindiffusion.generation.anatomy import AnatomyLibrary
from braindiffusion.generation.registration import register, soft_regions
from braindiffusion.regions import mirror
from braindiffusion.regions.deformation import COARSER, Field, Labels, flow, places_of, warped
from braindiffusion.regions.sulci import deformed_sulci, with_thin_sulci

SURROUNDINGS_MM = 14.0
"""How far from the painted part regions are compared."""
MARGIN_MM = 32.0
"""How far around the painted part the map of a subject is deformed."""
BEST = 8
"""Subjects that proposals are made from: as many as agree best."""


def sample_regions(
    library: AnatomyLibrary, regions: Labels, hole: NDArray[np.bool_], seed: int
) -> tuple[Labels, dict[str, object]]:
    """Return a region map whose hole has the regions of a training subject, and where they come from.

    Args:
        library: region maps of the training subjects, on the grid of `regions`.
        regions: (x, y, z), the region map outside of the hole.
        hole: (x, y, z).
        seed: chooses among the subjects whose maps agree best with the surroundings; 0 takes the best.

    Returns:
        The map, and the record for the sidecar.
    """
    away = ndimage.distance_transform_edt(~hole, sampling=library.spacing)
    around = (away > 0) & (away <= SURROUNDINGS_MM)
    wanted = regions[around]
    mirrored_around, mirrored_wanted = around[::-1], mirror(regions)[around[::-1]]
    agreement = [
        max((np.mean(labels[around] == wanted), False), (np.mean(labels[mirrored_around] == mirrored_wanted), True))
        for labels in library.maps
    ]
    order = sorted(range(len(agreement)), key=lambda index: agreement[index], reverse=True)
    index = order[seed % min(BEST, len(order))]
    share, is_mirrored = agreement[index]
    subject = mirror(library.maps[index]) if is_mirrored else library.maps[index]
    box = _box(hole, round(MARGIN_MM / library.spacing))
    displacement = _registered(subject[box], regions[box], hole[box])
    proposed = warped(subject[box], displacement)
    if library.relative is not None:
        relative = library.relative[index][::-1] if is_mirrored else library.relative[index]
        sulci = deformed_sulci(proposed, relative[box], places_of(displacement))
        proposed = with_thin_sulci(proposed, sulci)
    filled = regions.copy()
    filled[box][hole[box]] = proposed[hole[box]]
    return filled, {
        "kind": "sampled",
        "subject": library.subjects[index],
        "mirrored": is_mirrored,
        "agreement_with_surroundings": round(float(share), 3),
    }


def _registered(subject: Labels, regions: Labels, hole: NDArray[np.bool_]) -> Field:
    """Return the displacement of a subject's map towards another one; what that shows in the hole does not count."""
    x, y, z = hole.shape
    inside = hole.reshape(x // COARSER, COARSER, y // COARSER, COARSER, z // COARSER, COARSER).mean((1, 3, 5))
    known = torch.from_numpy(1 - inside)[None].float()
    template = soft_regions(regions)
    velocity = torch.zeros(3, *template.shape[1:])
    for _ in range(2):
        velocity = register(template, soft_regions(subject), velocity, known)
    displacement: Field = flow(velocity).numpy()
    return displacement


def _box(hole: NDArray[np.bool_], margin: int) -> tuple[slice, ...]:
    """Return the box of a hole with a margin, in whole voxels of the coarser grid."""
    (box,) = ndimage.find_objects(hole.astype(np.uint8))
    return tuple(
        slice(max(0, side.start - margin) // COARSER * COARSER, min(n, -(-(side.stop + margin) // COARSER) * COARSER))
        for side, n in zip(box, hole.shape, strict=True)
    )
