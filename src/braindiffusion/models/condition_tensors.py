"""Conditions as the tensors that denoisers take."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from braindiffusion.conditions import CategoryField, ConditionSchema, MapField, Value, VectorField
from braindiffusion.diffusion.condition import NULL_LABEL, Condition


def as_condition(
    schema: ConditionSchema, asked: Mapping[str, Value | np.ndarray], shape: tuple[int, int, int], batch: int = 1
) -> Condition:
    """Return checked conditions (`ConditionSchema.check`) as tensors, the same for all samples of a batch.

    Args:
        schema: of the model.
        asked: plain values; a map as an array of labels (x, y, z) in the model's box.
        shape: voxels of the box.
        batch: samples.
    """
    condition: dict[str, Tensor] = {}
    for field in schema.fields:
        value = asked.get(field.name)
        if isinstance(field, MapField):
            labels = torch.full(shape, NULL_LABEL, dtype=torch.uint8)
            if isinstance(value, np.ndarray):
                labels = torch.from_numpy(np.ascontiguousarray(value, dtype=np.uint8))
            condition[field.name] = labels.expand(batch, *shape)
            continue
        if isinstance(field, VectorField):
            if isinstance(value, tuple | list):
                value = {entry: x for entry, x in zip(field.entries, value, strict=True) if x is not None}
            entries = value if isinstance(value, dict) else {}
            numbers = [float(entries.get(entry, np.nan)) for entry in field.entries]
        elif isinstance(field, CategoryField):
            numbers = [np.nan if value is None else float(field.values.index(str(value)))]
        else:
            numbers = [np.nan if value is None else float(value)]  # type: ignore[arg-type]
        condition[field.name] = torch.tensor(numbers, dtype=torch.float32).expand(batch, len(numbers))
    return condition
