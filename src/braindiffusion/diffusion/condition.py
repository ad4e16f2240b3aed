"""A condition as the denoiser gets it: one tensor a field, first axis the batch. The mathematics only hides fields.

Numbers, categories and vectors are float tensors (batch, n) where NaN says "not asked for"; maps are uint8
(batch, x, y, z) where 255 says so.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

Condition = Mapping[str, Tensor]
NULL_LABEL = 255


def null_condition(field: Tensor) -> Tensor:
    """A field that asks for nothing, shaped as this one."""
    return torch.full_like(field, torch.nan if field.is_floating_point() else NULL_LABEL)


def without_fields(condition: Condition, names: Iterable[str] | None = None) -> Condition:
    """The condition with some fields hidden; None hides all.

    Raises:
        KeyError: the condition has no such field.
    """
    names = tuple(condition) if names is None else tuple(names)
    return {**condition, **{name: null_condition(condition[name]) for name in names}}


def drop_fields(condition: Condition, shares: Mapping[str, float], generator: torch.Generator) -> Condition:
    """Hide each field of each sample on its own, as often as its share says (Ho and Salimans 2022, algorithm 1)."""
    result = {}
    for name, field in condition.items():
        drop = torch.rand(len(field), generator=generator) < shares[name]
        drop = drop.to(field.device).reshape(-1, *(1,) * (field.ndim - 1))
        result[name] = torch.where(drop, null_condition(field), field)
    return result
