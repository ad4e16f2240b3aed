"""Plan of a training from its request: preset with changes, levels to train, training and validation subjects."""

import json
from collections.abc import Generator, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from braindiffusion.cohort.store import Cohort, split
from braindiffusion.devices import choose_device
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import write_whole
from braindiffusion.models.card import Split
from braindiffusion.models.cascade.config import LevelConfig
from braindiffusion.models.registry import CARD, find_model, read_card
from braindiffusion.runs import Event, Progress, Run, TrainRequest, Warned
from braindiffusion.training.presets import AUTO, Preset, preset, preset_for
from braindiffusion.training.warm_start import refines, with_finer_level, with_networks_of
from braindiffusion.untrusted import read_json

COHORT = "cohort.json"
"""File of a run that says which cohort its training began with."""
CHECK_SECONDS = 2.0
"""Seconds between two events of the check of a cohort."""


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


def with_level_for(
    cohort: Cohort, start: Path | None, chosen: Preset, wanted: Sequence[int]
) -> tuple[Preset, Sequence[int], bool]:
    """Return the preset, the levels to train, and whether the cohort, of half the initial model's voxels, adds one.

    Args:
        cohort: the prepared brains.
        start: folder of the initial model, or None.
        chosen: the preset.
        wanted: its levels to train; an added level is trained alone.
    """
    if start is None or not refines(start, cohort):
        return chosen, wanted, False
    return with_finer_level(chosen), (len(chosen.recipes),), True


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
    if request.checkpointing and level.unet.network == "monai":
        msg = "Levels with a network of MONAI's have no gradient checkpointing: leave it out."
        raise BrainDiffusionError(msg, field="checkpointing")
    if request.checkpointing:
        changes["unet"] = level.unet.model_copy(update={"checkpointing": True})
    whole = any(level.unet.attention) or level.unet.network == "monai"
    if request.patch is not None and not whole:
        changes["patch"] = request.patch
    return level.model_copy(update=changes)


def rows_of(
    cohort: Cohort, aside: int | None, initial: Split | None = None, *, adds_level: bool = False
) -> tuple[list[int], list[int]]:
    """Return the rows of the training and of the validation subjects. All rows of one person are in one of them.

    Args:
        cohort: the prepared brains.
        aside: people to hold out; None for a fifth of those that the initial model does not know, and its own.
        initial: the split of the initial model: what it held out is held out again, and what it was trained on is not.
        adds_level: the initial model stays as it is below a new level, which knows nobody yet: where too few others are
            there, people that the initial model was trained on are held out from the new level.

    Raises:
        BrainDiffusionError: too few people.
    """
    people = {subject.person for subject in cohort.subjects}
    if len(people) < 2:
        msg = f"{cohort.path} has too few subjects ({len(people)}): a model needs at least 2 to learn from."
        raise BrainDiffusionError(msg)
    known = initial or Split()
    held_out = {subject.person for subject in cohort.subjects if subject.id in set(known.validation)}
    trained_on = {subject.person for subject in cohort.subjects if subject.id in set(known.train or ())}
    if adds_level:
        wanted = len(people) // 5 if aside is None else aside
        trained_on = trained_on if len(people - trained_on) >= wanted else set()
    new = people - held_out - trained_on
    most = min(len(people) - 1, len(people) - len(trained_on))
    aside = len(held_out) + len(new) // 5 if aside is None else aside
    if aside < len(held_out):
        msg = f"The initial model held out {len(held_out)} of the people of {cohort.path}: hold out at least as many."
        raise BrainDiffusionError(msg, field="validation_subjects")
    if aside > most:
        seen = f", of whom the initial model was trained on {len(trained_on)}" if trained_on else ""
        msg = f"Cannot keep {aside} of {len(people)} subjects for validation{seen}: keep fewer."
        raise BrainDiffusionError(msg)
    chosen = held_out.union(split(new, aside - len(held_out))[1])
    rows = {name: [row for row, subject in enumerate(cohort.subjects) if subject.person == name] for name in people}
    training, validation = sorted(people - chosen), sorted(chosen)
    return [row for name in training for row in rows[name]], [row for name in validation for row in rows[name]]


def usable_rows(cohort: Cohort, rows: Sequence[int]) -> Generator[Event, None, list[int]]:
    """Check the data of subjects before they are trained on.

    Yields:
        Warned for each subject that is left out, since a voxel of it is no number or infinite; Progress where it takes
        long.

    Returns:
        The rows of the others.

    Raises:
        BrainDiffusionError: the data of a subject are lost or damaged.
    """
    usable, checked = [], monotonic()
    for step, row in enumerate(rows, start=1):
        if monotonic() - checked > CHECK_SECONDS:
            checked = monotonic()
            yield Progress(stage="check", step=step, total=len(rows), message="data of the cohort")
        cohort.verify(row)
        if cohort.not_finite(row):
            name = cohort.subjects[row].id
            message = f"{name} is left out: its volume in {cohort.path} holds values that are no numbers."
            yield Warned(message=message, subject=name)
        else:
            usable.append(row)
    return usable


def check_same_cohort(run: Run, cohort: Cohort, *, writes: bool = True) -> None:
    """Check that a training goes on with the cohort that it began with; the first time, write down which that is.

    Args:
        run: The training.
        cohort: The cohort that its request names now.
        writes: Whether this process may write.

    Raises:
        BrainDiffusionError: other subjects, other files, another preprocessing, or other ages or sexes.
    """
    file = run.path / COHORT
    now = {"cohort_hash": cohort.hash, "table_hash": cohort.table_hash}
    try:
        began = read_json(file)
    except FileNotFoundError:
        began = _cohort_of_card(run)
    except (OSError, ValueError) as error:
        raise BrainDiffusionError(f"{file} cannot be read ({error}): begin a new training.") from error
    if not isinstance(began, dict) or any(began.get(name, value) != value for name, value in now.items()):
        msg = f"The cohort {cohort.path} is not the one that the run {run.name} began with"
        differs = "subjects, files, preprocessing, ages or sexes differ"
        raise BrainDiffusionError(f"{msg} ({differs}): bring that one back, or begin a new training.")
    if writes and not file.exists():
        write_whole(file, json.dumps(now, indent=2) + "\n")


def _cohort_of_card(run: Run) -> dict[str, Any]:
    """Return the hash in the last model of a run; empty before the first. Earlier versions kept it there alone."""
    for name in ("last", "best"):
        if (run.checkpoints / name / CARD).is_file():
            card = read_card(run.checkpoints / name).to_json()
            return {"cohort_hash": card["cohort_hash"]} if card.get("cohort_hash") else {}
    return {}
