"""Conditions from a cohort: the schema that a model can learn from it, and the condition of each subject."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from braindiffusion.cohort.store import Cohort
from braindiffusion.conditions import (
    VOLUMES,
    AnyField,
    CategoryField,
    ConditionSchema,
    MapField,
    Numbers,
    ScalarField,
    VectorField,
    deviation,
)
from braindiffusion.diffusion.condition import Condition, null_condition
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.regions import BACKGROUND, REGIONS, regions_of, volumes_ml
from braindiffusion.runs.requests.base import Content

CATEGORIES = ("sex", "site", "modality")
NAMES = ("age", *CATEGORIES, "volumes", "regions")
ENTRIES = tuple(region.name for region in REGIONS if region.index != BACKGROUND)


OF_IMAGES = ("site", "modality", "regions")
"""Conditions that tell nothing of a region map, or all of it: a model of region maps has none of them."""


def check_region_maps(cohort: Cohort, rows: list[int]) -> None:
    """Raise where a cohort's label maps are no region maps, or it has none."""
    if cohort.labels is None or not _has_regions(cohort, rows):
        msg = f"{cohort.path} has no region maps to learn from: prepare it with label maps, or segment its volumes."
        raise BrainDiffusionError(msg, field="content")


def schema_of(
    cohort: Cohort, rows: list[int], wanted: Iterable[str] | None = None, *, content: Content = "image"
) -> ConditionSchema:
    """Return the conditions that vary among a cohort's training subjects.

    Args:
        cohort: the prepared brains.
        rows: training subjects.
        wanted: fields of `NAMES`, or names of the cohort's tables; None takes all that vary among these subjects.
        content: what the model generates.

    Raises:
        BrainDiffusionError: a wanted field is unknown, or the same in all training subjects.
    """
    known = {field.name: field for field in _fields(cohort, rows)}
    if content == "regions":
        known = {name: field for name, field in known.items() if name not in OF_IMAGES}
    if wanted is None:
        return ConditionSchema(fields=tuple(known.values()))
    for name in wanted:
        if name not in (names := (*NAMES, *cohort.tables)):
            raise BrainDiffusionError(f"There is no condition '{name}': choose among {', '.join(names)}.")
        if content == "regions" and name in OF_IMAGES:
            msg = f"A model of region maps cannot learn '{name}': leave it out of the conditions."
            raise BrainDiffusionError(msg, field="conditions")
        if name not in known:
            msg = f"{cohort.path} cannot teach '{name}': it is missing, or the same, in all training subjects."
            raise BrainDiffusionError(msg)
    return ConditionSchema(fields=tuple(known[name] for name in wanted))


def _fields(cohort: Cohort, rows: list[int]) -> Iterable[AnyField]:
    subjects = [cohort.subjects[row] for row in rows]
    ages = np.array([np.nan if subject.age is None else subject.age for subject in subjects])
    if deviation(ages):
        yield ScalarField(name="age", unit="years", seen=Numbers.of(ages))
    for name in CATEGORIES:
        values = sorted({value for subject in subjects if (value := getattr(subject, name))})
        if len(values) > 1:
            yield CategoryField(name=name, values=tuple(values))
    if cohort.labels is not None and _has_regions(cohort, rows):
        spacing = cohort.preprocessing.spacing
        volumes = np.stack([volumes_ml(regions_of(np.asarray(cohort.labels[row])), spacing)[1:] for row in rows])
        yield VectorField(
            name=VOLUMES,
            unit="ml",
            entries=ENTRIES,
            seen=tuple(Numbers.of(column) for column in volumes.T),
            dropout=0.3,
        )
        yield MapField(name="regions", labels=len(REGIONS))
    for name, table in cohort.tables.items():
        columns = table.values[rows].T.astype(np.float64)
        known = [i for i, column in enumerate(columns) if deviation(column)]
        if known:
            entries = tuple(table.entries[i] for i in known)
            yield VectorField(name=name, entries=entries, seen=tuple(Numbers.of(columns[i]) for i in known))


def _has_regions(cohort: Cohort, rows: list[int]) -> bool:
    """Return whether the label maps are region maps; a mask of background and one value is not."""
    assert cohort.labels is not None  # noqa: S101 asked by the caller
    for row in rows:
        try:
            regions = regions_of(np.asarray(cohort.labels[row]))
        except BrainDiffusionError:
            return False
        if len(np.unique(regions)) <= 2:
            return False
    return True


def subject_condition(
    schema: ConditionSchema, cohort: Cohort, row: int, labels: Tensor | None, shown: Tensor | None = None
) -> Condition:
    """Return the condition of one subject, a batch of one; missing values are null.

    Args:
        schema: the fields.
        cohort: the cohort.
        row: row of the subject.
        labels: (x, y, z) uint8, grouped regions of the copy, deformed with it, or None. Region volumes are
            counted in it.
        shown: the same with thin sulci, for conditions that are maps; None takes `labels`.
    """
    subject = cohort.subjects[row]
    condition: dict[str, Tensor] = {}
    for field in schema.fields:
        if isinstance(field, MapField):
            shape = cohort.preprocessing.shape
            map_ = labels if shown is None else shown
            map_ = null_condition(torch.zeros(shape, dtype=torch.uint8)) if map_ is None else map_
            condition[field.name] = map_[None]
        elif isinstance(field, VectorField):
            condition[field.name] = torch.tensor([_vector(field, cohort, row, labels)], dtype=torch.float32)
        else:
            value = getattr(subject, field.name)
            if isinstance(field, CategoryField):
                value = field.values.index(value) if value in field.values else None
            condition[field.name] = torch.tensor([[np.nan if value is None else float(value)]])
    return condition


def _vector(field: VectorField, cohort: Cohort, row: int, labels: Tensor | None) -> list[float]:
    """Return the numbers of a subject: region volumes, or its row of a table; NaN where unknown."""
    if field.name == VOLUMES:
        if labels is None:
            return [np.nan] * len(field.entries)
        return list(volumes_ml(labels.numpy(), cohort.preprocessing.spacing)[1:])
    table = cohort.tables.get(field.name)
    known = {} if table is None else dict(zip(table.entries, table.values[row].tolist(), strict=True))
    return [known.get(entry, np.nan) for entry in field.entries]
