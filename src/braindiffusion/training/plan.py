"""Plan of a training from its request: preset with changes, levels to train, training and validation subjects."""

from collections.abc import Sequence
from typing import Any

from braindiffusion.cohort.store import Cohort, split_rows
from braindiffusion.devices import choose_device
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.cascade.config import LevelConfig
from braindiffusion.models.registry import find_model
from braindiffusion.runs import TrainRequest
from braindiffusion.training.presets import AUTO, Preset, preset, preset_for
from braindiffusion.training.warm_start import with_networks_of


def preset_of(request: TrainRequest) -> Preset:
    """Return the preset with the request's changes."""
    chosen = preset(preset_for(choose_device(request.device)) if request.preset == AUTO else request.preset)
    if request.start_from is not None:
        chosen = with_networks_of(chosen, find_model(request.start_from))
    asked = {name: getattr(request, name) for name in ("batch_size", "accumulate", "epochs", "patience")}
    changes = {name: value for name, value in asked.items() if value is not None}
    recipes = tuple(recipe.model_copy(update=changes) for recipe in chosen.recipes)
    levels = tuple(_changed(level, request) for level in chosen.levels)
    return chosen.model_copy(update={"recipes": recipes, "levels": levels})


def levels_of(request: TrainRequest, chosen: Preset) -> Sequence[int]:
    """Return the indices of the levels to train.

    Raises:
        BrainDiffusionError: the preset has fewer levels.
    """
    there = range(len(chosen.recipes))
    wanted = there if request.levels is None else request.levels
    if not set(wanted) <= set(there):
        msg = f"Preset '{request.preset}' has levels 0 to {len(there) - 1}, not {request.levels}."
        raise BrainDiffusionError(msg)
    return wanted


def levels_with_copies_of(chosen: Preset, wanted: Sequence[int], index: int) -> tuple[int, ...]:
    """Return the levels to train that take the same augmented copies as one of them, itself included.

    Only levels of whole brains share: a fine level's copies are large.
    """

    def copies(level: int) -> tuple[object, ...]:
        recipe = chosen.recipes[level]
        return chosen.levels[level].patch, recipe.augmented_copies, recipe.warp

    if chosen.levels[index].patch is not None:
        return (index,)
    return tuple(level for level in sorted({*wanted, index}) if copies(level) == copies(index))


def _changed(level: LevelConfig, request: TrainRequest) -> LevelConfig:
    changes: dict[str, Any] = {}
    if request.checkpointing:
        changes["unet"] = level.unet.model_copy(update={"checkpointing": True})
    if request.patch is not None and not any(level.unet.attention):  # attention needs the whole brain
        changes["patch"] = request.patch
    return level.model_copy(update=changes)


def rows_of(cohort: Cohort, aside: int | None) -> tuple[list[int], list[int]]:
    """Return the rows of the training and of the validation subjects. All rows of one person are in one of them."""
    people = len({subject.person for subject in cohort.subjects})
    if people < 2:
        msg = f"{cohort.path} holds {people} subject: a model needs at least 2 to learn from."
        raise BrainDiffusionError(msg)
    aside = people // 5 if aside is None else aside
    if aside > people - 1:
        msg = f"Cannot keep {aside} of {people} subjects for validation: keep fewer."
        raise BrainDiffusionError(msg)
    return split_rows(cohort.subjects, aside)
