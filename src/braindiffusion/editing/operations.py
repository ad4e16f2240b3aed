"""The operations of an edit request, checked: regenerate a part, change a brain, interpolate, add resolution."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.vectors.table import with_rows
from braindiffusion.conditions import Value
from braindiffusion.diffusion.samplers import SamplerName
from braindiffusion.editing.counterfactual import Counterfactual, checked_change
from braindiffusion.editing.inpainting import Inpainting
from braindiffusion.editing.interpolation import Interpolation
from braindiffusion.editing.proposal import Proposal, conditioned, in_box, map_field
from braindiffusion.editing.sampled_regions import sample_regions
from braindiffusion.editing.scan import BoxedScan, box_scan, coarsened, painted_voxels, upsampled
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.anatomy import AnatomyLibrary, load_anatomy
from braindiffusion.generation.guidance import guidance_from
from braindiffusion.generation.kept_levels import keep_levels
from braindiffusion.models.generator import EditableGenerator, Generator, Hook
from braindiffusion.models.registry import anatomy_folder, find_model
from braindiffusion.runs import EditRequest, GenerateRequest
from braindiffusion.runs.requests import label
from braindiffusion.volume import Volume, load_volume

Propose = Callable[[int], Proposal]
"""Makes the proposal, or the value of a sweep, of a number from 1."""

ROOM_MM = 8.0
"""How far a brain that changes its shape may grow into the background of a skull-stripped scan."""


def check_combination(request: EditRequest) -> None:
    """Raise where a request asks for two operations, or for what its operation does not have: values, guidance.

    Raises:
        BrainDiffusionError: the sentence names the field.
    """
    given = [name for name in ("mask", "change", "second", "super_resolution") if getattr(request, name)]
    if len(given) > 1:
        one, other = (label(EditRequest, name) for name in given[:2])
        raise BrainDiffusionError(f"'{one}' and '{other}' are two different edits: choose one of them.", given[1])
    if request.num_values > 1:
        if not {"change", "second"} & set(given):
            msg = "A sweep needs a change, such as age=75, or a second scan."
            raise BrainDiffusionError(msg, "num_values")
        if request.num_proposals > 1:
            raise BrainDiffusionError("A sweep is made of one proposal: choose 1 proposal.", "num_proposals")
    if request.guidance is not None and {"change", "second"} & set(given):
        msg = "The guidance scale has no effect on a change or an interpolation: leave it out."
        raise BrainDiffusionError(msg, "guidance")
    if request.label is not None and request.mask is None:
        raise BrainDiffusionError("A label is one of a mask: give the mask, too, or leave the label out.", "label")
    if not given and not request.first_level:
        msg = "Give a mask of what shall be regenerated, or a first level above 0 to vary the whole brain."
        raise BrainDiffusionError(msg, "mask")


def editable_model(generator: Generator, request: EditRequest) -> EditableGenerator:
    """Return a model as one that can edit.

    Raises:
        BrainDiffusionError: it cannot, or has fewer levels than the request names.
    """
    if not isinstance(generator, EditableGenerator):
        msg = f"The model {request.model} cannot edit scans: choose a cascade that is not distilled."
        raise BrainDiffusionError(msg, "model")
    levels = len(generator.voxel_sizes)
    last = levels if request.change else levels - 1
    if request.first_level > last and not request.super_resolution:  # which finds its own
        msg = f"The model has {levels} levels, the first of which is 0: choose a first level of {last} at most."
        raise BrainDiffusionError(msg, "first_level")
    return generator


def operation(
    request: EditRequest, generator: EditableGenerator, preprocessing: Preprocessing
) -> tuple[BoxedScan, Propose]:
    """Return the scan in the model's box, and what makes the proposals of a request.

    Raises:
        BrainDiffusionError: the scan, the mask, the second scan or the change cannot be used with the model.
    """
    asked = _conditions(generator, request)
    anatomy = _anatomy(request, generator)
    library, start, after = None, None, None
    if request.change:  # before the scan is segmented
        library = _library(request, generator, "the effect of a change is learnt")
        start, after = checked_change(generator.conditions, request.change, asked, request.num_values)
    scan = load_volume(request.scan)
    first_level = request.first_level
    if request.super_resolution:
        first_level, scan = _finer(request, scan, generator)
    painted = None if request.mask is None else painted_voxels(scan, load_volume(request.mask), request.label)
    boxed = _boxed(request, scan, painted, preprocessing)
    regions = None if anatomy == "none" else boxed.regions
    if library is not None and after is not None:
        if "age" not in asked and not np.isnan(boxed.age):
            asked["age"] = round(float(boxed.age), 1)
        changes = Counterfactual(
            generator,
            library,
            boxed.box,
            boxed.regions,
            asked,
            after,
            start=start,
            number=request.num_values,
            first_level=first_level,
        )
        return _with_room(boxed), changes.proposal
    if request.second is not None:
        second = _boxed(request, load_volume(request.second), None, preprocessing, is_second=True)
        conditions = [
            conditioned(generator, asked, None if regions is None else one.regions) for one in (boxed, second)
        ]
        mixed = Interpolation(
            generator,
            (boxed.box, second.box),
            (conditions[0], conditions[1]),
            share=request.share,
            number=request.num_values,
            first_level=first_level,
        )
        return boxed, mixed.proposal
    if anatomy == "sampled":
        library = _library(request, generator, "a region map is sampled")
    return boxed, _regeneration(request, generator, boxed, first_level, asked, regions, library)


def _anatomy(request: EditRequest, generator: EditableGenerator) -> str:
    """Return which region map guides the generation.

    Raises:
        BrainDiffusionError: the model takes none, or nothing is painted that could be given one.
    """
    if request.anatomy is None:
        if request.mask is not None:
            return "none" if _maps(request, generator) is None else "sampled"
        varied = not (request.second or request.super_resolution or request.change)
        return "scan" if varied and map_field(generator) is not None else "none"
    if request.anatomy != "none" and map_field(generator) is None:
        raise BrainDiffusionError(f"The model {request.model} takes no region map: choose none.", "anatomy")
    if request.anatomy == "sampled" and request.mask is None:
        msg = "A region map is sampled for a painted part: give a mask, or choose another region map."
        raise BrainDiffusionError(msg, "anatomy")
    return request.anatomy


def _regeneration(
    request: EditRequest,
    generator: EditableGenerator,
    boxed: BoxedScan,
    first_level: int,
    asked: dict[str, Value],
    regions: NDArray[np.uint8] | None,
    library: AnatomyLibrary | None,
) -> Propose:
    """Return what regenerates the painted part, or the whole brain from a level on.

    Each proposal has regions of its own in the painted part where they are sampled from a library.
    """
    volume = in_box(boxed.box, generator)
    hole = torch.from_numpy(boxed.hole).to(generator.device)
    inpainting = Inpainting(generator, volume, hole, resampling=request.resampling)
    hooks: list[Hook] = [inpainting.window]
    fields = [*asked, *([] if regions is None else [str(map_field(generator))])]
    scale = 1.0 if request.guidance is None and request.mask is not None else request.guidance
    guidance, guided = guidance_from(GenerateRequest(guidance=scale), generator, asked=fields)
    if guidance is not None:
        hooks.append(guidance)
    if first_level:
        hooks.append(keep_levels(generator, volume, first_level))
    sampler: SamplerName | None = "ddim" if request.resampling > 1 else None  # it needs one of first order

    def proposal(number: int) -> Proposal:
        here, details = regions, {} if guided is None else {"guidance": guided}
        if library is not None:
            here, anatomy = sample_regions(library, boxed.regions, boxed.hole, request.seed + number - 1)
            details["anatomy"] = anatomy
        condition = conditioned(generator, asked, here)
        every: list[Hook] = [*hooks, inpainting]
        edit_band = inpainting.edit_band
        return Proposal(boxed.box, every, condition, edit_band, sampler, details, first_level, refine_from=first_level)

    return proposal


def _finer(request: EditRequest, scan: Volume, generator: EditableGenerator) -> tuple[int, Volume]:
    """Return the first level that is finer than a scan, and the scan at the voxel size of the model.

    Raises:
        BrainDiffusionError: no level is finer.
    """
    coarsest = max(scan.spacing)
    sizes = generator.voxel_sizes
    if scan.channels != 1 or coarsest < 1.2 * sizes[-1]:
        msg = (
            f"{request.scan} has voxels of {coarsest:g} mm, and the model makes {sizes[-1]:g} mm: give a coarser scan."
        )
        raise BrainDiffusionError(msg, "super_resolution")
    level = next(index for index, size in enumerate(sizes) if size < coarsest / 1.2)
    return level, upsampled(coarsened(scan, sizes[-1]), sizes[-1])


def _library(request: EditRequest, generator: EditableGenerator, purpose: str) -> AnatomyLibrary:
    """Return the region maps of a model's training subjects.

    Raises:
        BrainDiffusionError: it has none on its own grid.
    """
    library = _maps(request, generator)
    if library is None:
        msg = f"The model {request.model} has no region maps of its own voxel size, from which {purpose}: "
        raise BrainDiffusionError(f"{msg}choose ixi-2mm.", "model")
    return library


def _maps(request: EditRequest, generator: EditableGenerator) -> AnatomyLibrary | None:
    """Return the region maps of a model's training subjects; None where it has none on its own grid."""
    folder = anatomy_folder(find_model(request.model)) if map_field(generator) is not None else None
    library = None if folder is None else load_anatomy(folder)
    return library if library is not None and library.maps.shape[1:] == generator.shape else None


def _with_room(boxed: BoxedScan) -> BoxedScan:
    """Return a scan whose brain may grow: into the background if it is skull-stripped, not into a skull."""
    if boxed.background is None:
        return boxed
    away = ndimage.distance_transform_edt(~boxed.painted, sampling=boxed.scan.spacing)
    return replace(boxed, painted=away <= ROOM_MM)


def _boxed(
    request: EditRequest,
    scan: Volume,
    painted: NDArray[np.bool_] | None,
    preprocessing: Preprocessing,
    *,
    is_second: bool = False,
) -> BoxedScan:
    """Return a scan in the model's box; a message about the scan names its file."""
    # Nothing of what the scan shows in the painted part is used, unless its coarse structure is kept.
    fill = request.coarse == "interpolated" or request.first_level == 0
    try:
        return box_scan(scan, painted, preprocessing, fill=fill, keep_anatomy=request.anatomy == "scan")
    except BrainDiffusionError as error:
        if error.field not in (None, "scan"):
            raise
        path, field = (request.second, "second") if is_second else (request.scan, "scan")
        raise BrainDiffusionError(f"{path}: {str(error).rstrip('.')}.", field) from error


def _conditions(generator: EditableGenerator, request: EditRequest) -> dict[str, Value]:
    """Return the checked conditions of a request.

    Raises:
        BrainDiffusionError: the model cannot be asked for that.
    """
    name = map_field(generator)
    if name is not None and name in request.condition:
        msg = f"The condition '{name}' comes from the scan when it is edited: choose a region map instead."
        raise BrainDiffusionError(msg, "condition")
    schema = generator.conditions
    return schema.check(with_rows(schema, request.condition))
