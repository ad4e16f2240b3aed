"""What is generated for one proposal of an edit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from braindiffusion.conditions import MapField, Value
from braindiffusion.diffusion.condition import Condition
from braindiffusion.diffusion.samplers import SamplerName
from braindiffusion.models.condition_tensors import as_condition
from braindiffusion.models.generator import BandEdit, Generator, Hook


@dataclass(frozen=True)
class Proposal:
    """All that a model needs for one proposal.

    Attributes:
        box: (x, y, z) in [-1, 1], what the brain is where nothing is generated.
        hooks: around the denoisers.
        condition: as the denoisers take it; None leaves all to the model.
        edit_band: changes the band that a level hands on.
        sampler: None is the model's own.
        details: joins the sidecar.
        first_level: the first level that is generated; coarser ones are those of the box.
        refine_from: the first level that may be refined, see `Generator.sample`; None where all keep a scan's noise.
    """

    box: NDArray[np.float32]
    hooks: Sequence[Hook]
    condition: Condition | None = None
    edit_band: BandEdit | None = None
    sampler: SamplerName | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    first_level: int = 0
    refine_from: int | None = None


def conditioned(
    generator: Generator, asked: Mapping[str, Value], regions: NDArray[np.uint8] | None = None
) -> Condition | None:
    """Return conditions on the device of a model; None where nothing is asked.

    Args:
        generator: the model.
        asked: checked values.
        regions: region map, for a model that takes one; None leaves the anatomy to the model.
    """
    values: dict[str, Value | NDArray[np.uint8]] = dict(asked)
    field_of_map = map_field(generator)
    if regions is not None and field_of_map is not None:
        values[field_of_map] = regions
    if not values:
        return None
    tensors = as_condition(generator.conditions, values, generator.shape)
    return {name: one.to(generator.device) for name, one in tensors.items()}


def map_field(generator: Generator) -> str | None:
    """Return the name of the region map among the conditions of a model; None where it takes none."""
    return next((one.name for one in generator.conditions.fields if isinstance(one, MapField)), None)


def in_box(box: NDArray[np.float32], generator: Generator) -> torch.Tensor:
    """Return a volume (x, y, z) as a model takes it, (1, 1, x, y, z)."""
    return torch.from_numpy(np.ascontiguousarray(box))[None, None].to(generator.device)
