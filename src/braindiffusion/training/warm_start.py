"""Warm start of a training from another model.

The new model has the networks and conditions of the other one, and may learn further conditions. Its cohort must be
prepared as that one's was, or with half the voxel size: then the new model has one level more, and only that one is
trained.
"""

import shutil
from pathlib import Path

import torch

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.store import Cohort
from braindiffusion.conditions import ConditionSchema
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.cascade.cascade import Cascade
from braindiffusion.models.cascade.config import CascadeConfig
from braindiffusion.models.cascade.files import load_cascade, read_configuration
from braindiffusion.models.registry import CARD, WEIGHTS, find_model, read_card
from braindiffusion.regions.codes import CHANNELS as CODE_CHANNELS
from braindiffusion.runs import Run, TrainRequest
from braindiffusion.training.distributed import Command, Distributed
from braindiffusion.training.presets import FINER, Preset
from braindiffusion.training.subject_condition import check_region_maps, schema_of

INITIAL = "start"
"""Folder of a run's checkpoints that has a copy of the initial model."""


def with_networks_of(chosen: Preset, start: Path) -> Preset:
    """Return the recipes of a preset with the networks of the initial model.

    Levels that were added to the model are trained as the preset's finest.

    Args:
        chosen: the preset.
        start: folder of the initial model.

    Raises:
        BrainDiffusionError: the model has fewer levels.
    """
    there = read_configuration(start)
    added = len(there.levels) - len(chosen.recipes)
    if added < 0:
        msg = f"The model {start} has {len(there.levels)} levels, the preset {len(chosen.recipes)}: choose another."
        raise BrainDiffusionError(msg)
    recipes = (*chosen.recipes, *[chosen.recipes[-1]] * added)
    return chosen.model_copy(update={"depth": there.depth, "levels": there.levels, "recipes": recipes})


def refines(start: Path, cohort: Cohort) -> bool:
    """Return whether a cohort has half the voxel size of the initial model, in the same box."""
    there, here = read_configuration(start), cohort.preprocessing
    return here.spacing == there.spacing / 2 and tuple(here.shape) == tuple(2 * n for n in there.shape)


def with_finer_level(chosen: Preset) -> Preset:
    """Return a preset with one level more, of half the voxel size, trained as the finest is."""
    levels = (*chosen.levels, FINER)
    return chosen.model_copy(
        update={"depth": chosen.depth + 1, "levels": levels, "recipes": (*chosen.recipes, chosen.recipes[-1])}
    )


def copy_initial_model(request: TrainRequest, run: Run, distributed: Distributed) -> Path | None:
    """Copy the initial model into the run, so that it is the same when the run is resumed, and return its folder.

    Raises:
        BrainDiffusionError: there is no such model.
    """
    if request.start_from is None:
        return None
    if distributed.is_main:
        keep_initial_model(request.start_from, run)
    distributed.broadcast_command(Command.STEP)
    return run.checkpoints / INITIAL


def keep_initial_model(name_or_path: str, run: Run) -> Path:
    """Copy the initial model into the run, unless it has it, and return its folder there.

    Raises:
        BrainDiffusionError: there is no such model.
    """
    kept = run.checkpoints / INITIAL
    if not (kept / CARD).is_file():
        found = find_model(name_or_path)
        kept.mkdir(parents=True, exist_ok=True)
        for name in (WEIGHTS, CARD):  # the card last: where it is, all is there
            shutil.copyfile(found / name, kept / name)
    return kept


def configuration_of(
    request: TrainRequest, chosen: Preset, cohort: Cohort, rows: list[int], start: Path | None
) -> CascadeConfig:
    """Return the configuration of the model to train.

    Args:
        request: the request, for its conditions.
        chosen: the preset.
        cohort: the prepared brains.
        rows: training subjects.
        start: folder of the initial model, or None.

    Raises:
        BrainDiffusionError: the cohort is not prepared as the initial model's was, or other conditions are asked for.
    """
    preprocessing, channels = cohort.preprocessing, cohort.volumes.shape[1]
    if request.content == "regions":
        check_region_maps(cohort, rows)
        channels = CODE_CHANNELS
    if start is None:
        condition = schema_of(cohort, rows, request.conditions, content=request.content)
    else:
        there = read_configuration(start)
        if there.content != request.content:
            names = {"image": "images", "regions": "region maps"}
            msg = f"The initial model {request.start_from} generates {names[there.content]}, not"
            raise BrainDiffusionError(f"{msg} {names[request.content]}: choose another one.", "start_from")
        _same_preparation(start, cohort)
        condition = _with_added(there.condition, request, cohort, rows, start)
    return chosen.cascade(preprocessing.shape, preprocessing.spacing, channels, condition, request.content)


def _with_added(
    schema: ConditionSchema, request: TrainRequest, cohort: Cohort, rows: list[int], start: Path
) -> ConditionSchema:
    """Return the conditions of the initial model, and after them those that the request names and it does not have.

    Raises:
        BrainDiffusionError: the request would take conditions away, or adds one that this network cannot have.
    """
    if request.conditions is None:
        return schema
    if not request.conditions:
        msg = f"A training that is initialized from {request.start_from} keeps its conditions: name only those to add."
        raise BrainDiffusionError(msg, field="conditions")
    added = [name for name in request.conditions if name not in schema.names]
    if added and refines(start, cohort):
        msg = f"A finer level on top of {request.start_from} has its conditions: leave out {', '.join(added)}."
        raise BrainDiffusionError(msg, field="conditions")
    if "regions" in added:
        msg = f"The network of {request.start_from} has no input for region maps: leave out regions, or train anew."
        raise BrainDiffusionError(msg, field="conditions")
    return ConditionSchema(fields=(*schema.fields, *schema_of(cohort, rows, added, content=request.content).fields))


def _same_preparation(start: Path, cohort: Cohort) -> None:
    """Raise where the cohort is not prepared as the initial model's was; another modality is allowed."""
    here, there = cohort.preprocessing, read_card(start).prepared or Preprocessing()
    for name in ("spacing", "shape", "skull"):
        ours, its = getattr(here, name), getattr(there, name)
        if ours != its and not (name != "skull" and refines(start, cohort)):
            msg = f"{cohort.path} has {name} {ours}, the initial model {its}: prepare it with the same {name}."
            raise BrainDiffusionError(msg)
    if len(here.channels) != len(there.channels):
        msg = f"{cohort.path} has {len(here.channels)} channels, the initial model {len(there.channels)}."
        raise BrainDiffusionError(msg)


def load_initial_model(cascade: Cascade, start: Path) -> tuple[int, ...]:
    """Load the weights and normalisation of the initial model.

    Args:
        cascade: a model of the same configuration; it may have conditions more, which say nothing at first.
        start: folder of the initial model.

    Returns:
        Steps that each level was trained; 0 for one that the initial model does not have.
    """
    known, card = load_cascade(start)
    levels = known.config.number_of_levels
    steps = card.level_steps or (1,) * levels
    if added := cascade.config.number_of_levels - levels:
        cascade.load_coarser(known)
        return (*steps, *(0,) * added)
    with torch.no_grad():
        cascade.load_state_dict(cascade.state_dict() | known.state_dict())
    return steps
