"""Generated anatomy: a region map from a diffusion model of region maps.

The shape of the brain is that of a sampled map (`braindiffusion.generation.anatomy`): its coarse levels are kept, and
the volumes of its regions, about. The finer levels, which are the folds of the cortex, are generated: they are not
those of any person.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from scipy import ndimage

from braindiffusion.conditions import Value
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.anatomy import Anatomy, AnatomyLibrary
from braindiffusion.generation.guidance import Guidance
from braindiffusion.generation.kept_levels import keep_levels
from braindiffusion.generation.reproduce import model_identity
from braindiffusion.models.card import GeneratedAnatomy
from braindiffusion.models.condition_tensors import as_condition
from braindiffusion.models.generator import EditableGenerator
from braindiffusion.models.model_cache import cached_model
from braindiffusion.models.registry import find_model
from braindiffusion.regions import REGIONS
from braindiffusion.regions.codes import decode, encode
from braindiffusion.regions.deformation import COARSER, Labels, warped

PREVIEW_MM = 8.0
"""Voxel size of the finest level that a preview generates."""
SMALLEST_PIECE = 2
"""Voxels; smaller pieces of a region that lie apart from the rest of it take the label around them."""


class RegionMapModel:
    """The model of region maps of an image model.

    Args:
        settings: from the card of the image model.
        library: the maps whose coarse shape is kept.
        device: where to generate.

    Raises:
        BrainDiffusionError: there is no such model, or it is of another grid, or generates images.
    """

    def __init__(self, settings: GeneratedAnatomy, library: AnatomyLibrary, device: torch.device) -> None:
        folder = find_model(settings.model)
        model = cached_model(folder, device, "regions")
        if model.shape != library.maps.shape[1:]:
            raise BrainDiffusionError(f"The region maps of {settings.model} are of another grid: install it again.")
        if not all(model.card.level_steps[settings.first_level :]):
            msg = f"The model {settings.model} has not learnt all levels from {settings.first_level} on"
            raise BrainDiffusionError(f"{msg}: choose a later first level in the card of the image model.")
        self._model = cast("EditableGenerator", model)
        self._settings, self._library = settings, library
        self._identity = model_identity(folder)

    def generate(self, sampled: Anatomy, seed: int, condition: Mapping[str, Value], *, quick: bool = False) -> Anatomy:
        """Return a map with the coarse shape of a sampled one and folds of its own. The same seed gives the same map.

        Args:
            sampled: a map of the library, deformed.
            seed: of the sample.
            condition: checked values; what the model does not know is left out.
            quick: generate the levels of `PREVIEW_MM` and coarser only, for previews.
        """
        model, settings = self._model, self._settings
        volume = torch.from_numpy(encode(sampled.regions))[None].to(model.device)
        known = {name: value for name, value in condition.items() if name in model.conditions.names}
        tensors = as_condition(model.conditions, known, model.shape) if known else None
        guidance = model.card.guidance
        hooks = [keep_levels(model, volume, settings.first_level, settings.sigma)]
        if known and guidance.scale != 1:
            hooks.insert(0, Guidance(guidance.scale, fields=guidance.fields, levels=guidance.levels))
        levels = sum(size >= PREVIEW_MM for size in model.voxel_sizes) if quick else len(model.voxel_sizes)
        if levels <= settings.first_level:
            return sampled
        steps = [1 if level < settings.first_level else n for level, n in enumerate(model.steps())]
        for step in model.sample(
            [seed],
            condition=None if tensors is None else {name: one.to(model.device) for name, one in tensors.items()},
            hooks=hooks,
            steps=steps,
            levels=levels,
            refine_from=settings.first_level,
        ):
            generated = step
        counts = np.bincount(sampled.regions.ravel(), minlength=len(REGIONS))
        regions = without_specks(decode(generated.smooth()[0].cpu().numpy(), counts))
        wanted = condition.get("volumes")
        if isinstance(wanted, Mapping) and wanted:
            still = np.zeros((3, *(n // COARSER for n in regions.shape)), np.float32)
            regions = warped(regions, self._library.towards(regions, still, wanted))
        return replace(
            sampled,
            regions=regions,
            sulci=None,
            generated={"model": self._identity, "first_level": settings.first_level, "sigma": settings.sigma},
        )


def without_specks(regions: Labels) -> Labels:
    """Return a map in which pieces of a region of fewer than `SMALLEST_PIECE` voxels have the label beside them."""
    specks = np.zeros(regions.shape, bool)
    for region in np.unique(regions):
        pieces, _ = ndimage.label(regions == region)
        sizes = np.bincount(pieces.ravel())
        sizes[0] = SMALLEST_PIECE
        specks |= (sizes < SMALLEST_PIECE)[pieces]
    nearest = ndimage.distance_transform_edt(specks, return_distances=False, return_indices=True)
    cleaned: Labels = regions[tuple(nearest)]
    return cleaned
