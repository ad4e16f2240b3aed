"""A condition as the denoiser gets it: one tensor for each field, first axis the batch; and how fields are hidden.

Numbers, categories and vectors are float tensors (batch, n), maps are uint8 (batch, x, y, z). NaN, or 255 in a map, is
null: nothing is asked for.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

Condition = Mapping[str, Tensor]
NULL_LABEL = 255


def null_condition(field: Tensor) -> Tensor:
    """Return a null field, shaped as this one."""
    return torch.full_like(field, torch.nan if field.is_floating_point() else NULL_LABEL)


def without_fields(condition: Condition, names: Iterable[str] | None = None) -> Condition:
    """Return the condition with some fields null; None is all of them.

    Raises:
        KeyError: the condition has no such field.
    """
    names = tuple(condition) if names is None else tuple(names)
    return {**condition, **{name: null_condition(condition[name]) for name in names}}


def drop_fields(condition: Condition, shares: Mapping[str, float], generator: torch.Generator) -> Condition:
    """Return a condition whose fields are null at random (Ho and Salimans 2022, algorithm 1).

    Args:
        condition: of a batch.
        shares: probability of each field to be null, by name; each sample is drawn on its own.
        generator: on the CPU.
    """
    result = {}
    for name, field in condition.items():
        drop = torch.rand(len(field), generator=generator) < shares[name]
        drop = drop.to(field.device).reshape(-1, *(1,) * (field.ndim - 1))
        result[name] = torch.where(drop, null_condition(field), field)
    return result
