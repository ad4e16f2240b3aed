"""What a training begins from: nothing, or what another model has learnt.

A model that begins from another is built as that one is and asked what that one is asked; its cohort must be prepared
as that one's was.
"""

import shutil
from pathlib import Path

import torch

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.store import Cohort
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.cascade.cascade import Cascade
from braindiffusion.models.cascade.config import CascadeConfig
from braindiffusion.models.cascade.files import load_cascade, read_configuration
from braindiffusion.models.registry import CARD, WEIGHTS, find_model, read_card
from braindiffusion.runs import Run, TrainRequest
from braindiffusion.training.distributed import Command, Distributed
from braindiffusion.training.presets import Preset
from braindiffusion.training.subject_condition import schema_of


def built_as(chosen: Preset, start: Path) -> Preset:
    """The preset with the levels of the model that is begun from: only its recipes remain.

    Args:
        chosen: how to train.
        start: model folder.

    Raises:
        BrainDiffusionError: it has another number of levels.
    """
    there = read_configuration(start)
    if len(there.levels) != len(chosen.recipes):
        msg = f"The model {start} has {len(there.levels)} levels, the preset {len(chosen.recipes)}: choose another."
        raise BrainDiffusionError(msg)
    return chosen.model_copy(update={"depth": there.depth, "levels": there.levels})


def keep_start(request: TrainRequest, run: Run, distributed: Distributed) -> Path | None:
    """The model that is begun from, copied into the run: it must be the same when the run is resumed.

    Raises:
        BrainDiffusionError: there is no such model.
    """
    if request.start_from is None:
        return None
    kept = run.checkpoints / "start"
    if distributed.is_main and not (kept / CARD).is_file():
        found = find_model(request.start_from)
        kept.mkdir(parents=True, exist_ok=True)
        for name in (WEIGHTS, CARD):  # the card last: where it is, all is there
            shutil.copyfile(found / name, kept / name)
    distributed.broadcast_command(Command.GO)
    return kept


def configuration_of(
    request: TrainRequest, chosen: Preset, cohort: Cohort, rows: list[int], start: Path | None
) -> CascadeConfig:
    """The model to train on these subjects.

    Args:
        request: for its conditions.
        chosen: the preset.
        cohort: the prepared brains.
        rows: training subjects.
        start: folder of the model that is begun from.

    Raises:
        BrainDiffusionError: the cohort is not prepared as that model's was, or conditions are asked for beside it.
    """
    preprocessing, channels = cohort.preprocessing, cohort.volumes.shape[1]
    if start is None:
        condition = schema_of(cohort, rows, request.conditions)
    else:
        if request.conditions is not None:
            msg = f"A training that is initialized from {request.start_from} keeps its conditions: leave them out."
            raise BrainDiffusionError(msg, field="conditions")
        condition = read_configuration(start).condition
        _same_preparation(start, cohort)
    return chosen.cascade(preprocessing.shape, preprocessing.spacing, channels, condition)


def _same_preparation(start: Path, cohort: Cohort) -> None:
    """Raise where a brain of this cohort would look strange to the model; another modality may be learnt."""
    here, there = cohort.preprocessing, Preprocessing.model_validate(read_card(start)["preprocessing"])
    for name in ("spacing", "shape", "skull"):
        ours, its = getattr(here, name), getattr(there, name)
        if ours != its:
            msg = f"{cohort.path} has {name} {ours}, the model that is begun from {its}: prepare it with --{name} so."
            raise BrainDiffusionError(msg)
    if len(here.channels) != len(there.channels):
        msg = f"{cohort.path} has {len(here.channels)} channels, the model that is begun from {len(there.channels)}."
        raise BrainDiffusionError(msg)


def load_start(cascade: Cascade, start: Path) -> tuple[int, ...]:
    """Take over what a model has learnt, and what its coefficients are normalised by.

    Args:
        cascade: of the same configuration.
        start: model folder.

    Returns:
        the steps of each level so far.
    """
    known, card = load_cascade(start)
    with torch.no_grad():
        cascade.load_state_dict(known.state_dict())
    steps = card.get("steps") or [1] * len(cascade.config.levels)
    return tuple(int(n) for n in steps)
