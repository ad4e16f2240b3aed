"""The part of a network that is told what to make: numbers and words for the whole volume, labels for each place.

All of it starts as nothing and says nothing where nothing is asked for, so that a model can learn new conditions, and a
hidden field is the very network that never had it. (The missing token of a field is zero: contributions are added, so a
learned one would only move the bias that they are added to.)
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from braindiffusion.conditions import (
    AnyField,
    CategoryField,
    ConditionSchema,
    MapField,
    ScalarField,
    Value,
    VectorField,
)
from braindiffusion.diffusion.condition import UNASKED_LABEL, Condition

FEATURES = 64
FREQUENCIES = 6


class FieldEncoder(nn.Module):
    """A field that is numbers: (batch, n), NaN where unasked, to (batch, embedding); the last layer starts as zero."""

    def __init__(self, field: AnyField, embedding: int) -> None:
        super().__init__()
        self.classes = len(field.values) if isinstance(field, CategoryField) else 0
        seen = field.seen if isinstance(field, VectorField) else (field.seen,) if isinstance(field, ScalarField) else ()
        inputs = self.classes or len(seen) * (2 + 2 * FREQUENCIES * (len(seen) == 1))
        self.layers = nn.Sequential(nn.Linear(inputs, FEATURES), nn.SiLU(), nn.Linear(FEATURES, embedding, bias=False))
        nn.init.zeros_(self.layers[2].weight)  # type: ignore[arg-type]
        # Constants, not buffers: they are part of the schema, which is stored beside the weights.
        self._centre = torch.tensor([n.mean for n in seen])
        self._spread = torch.tensor([n.std for n in seen])

    def forward(self, values: Tensor) -> Tensor:
        """Zero for a sample of which nothing is asked."""
        asked = values.isfinite()
        filled = values.nan_to_num()
        if self.classes:
            features = F.one_hot(filled[:, 0].long(), self.classes).to(values.dtype)
        else:
            centre, spread = self._centre.to(values), self._spread.to(values)
            filled = torch.where(asked, (filled - centre) / spread, 0)
            features = torch.cat((filled, asked.to(values.dtype)), dim=1)
            if values.shape[1] == 1:
                angles = filled * 2.0 ** torch.arange(-2, FREQUENCIES - 2, device=values.device)
                features = torch.cat((features, angles.sin(), angles.cos()), dim=1)
        out: Tensor = self.layers(features) * asked.any(dim=1, keepdim=True)
        return out


class MapEncoder(nn.Module):
    """A label map, voxel by voxel, as features of each coefficient site; a linear map of its eight octants' labels.

    Args:
        labels: how many.
        voxels: edge of a site, in voxels of the label map.
        width: features.
    """

    def __init__(self, labels: int, voxels: int, width: int) -> None:
        super().__init__()
        self.labels, self.voxels = labels, voxels
        self.octants = 2 if voxels > 1 else 1
        self.mix = nn.Linear(labels * self.octants**3, width, bias=False)
        nn.init.normal_(self.mix.weight)

    def forward(self, labels: Tensor) -> Tensor:
        """(batch, x * voxels, y * voxels, z * voxels) uint8 to (batch, width, x, y, z); zero where unasked."""
        slabs = labels.split(8 * self.voxels, dim=1)  # the shares of a 1 mm brain would fill a gigabyte
        return torch.cat([self.mix(self._shares(slab)) for slab in slabs], dim=1).movedim(-1, 1)

    def _shares(self, labels: Tensor) -> Tensor:
        """How much of each octant of each site each label fills: (batch, x, y, z, labels * octants)."""
        edge, kinds = self.voxels // self.octants, self.labels + 1  # the last kind is "unasked", cut off again
        batch, x, y, z = (n // edge for n in (labels.shape[0] * edge, *labels.shape[1:]))
        pieces = labels.reshape(batch, x, edge, y, edge, z, edge).permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, edge**3)
        kind = pieces.long().clamp_max(self.labels) + kinds * torch.arange(len(pieces), device=labels.device)[:, None]
        counts = torch.bincount(kind.flatten(), minlength=kinds * len(pieces)).reshape(batch, x, y, z, kinds)
        shares = counts[..., :-1].float() / edge**3
        o = self.octants
        shares = shares.reshape(batch, x // o, o, y // o, o, z // o, o, self.labels)
        return shares.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4)


class Conditioning(nn.Module):
    """All fields of a schema, for one level.

    Args:
        schema: the fields.
        embedding: width of what the numbers and words give.
        map_width: features a site of what label maps give.
        voxels: edge of a site in voxels.
    """

    def __init__(self, schema: ConditionSchema, embedding: int, map_width: int, voxels: int) -> None:
        super().__init__()
        self.numbers = nn.ModuleDict(
            {f.name: FieldEncoder(f, embedding) for f in schema.fields if not isinstance(f, MapField)}
        )
        self.maps = nn.ModuleDict(
            {f.name: MapEncoder(f.labels, voxels, map_width) for f in schema.fields if isinstance(f, MapField)}
        )

    def forward(self, condition: Condition | None) -> tuple[Tensor | None, Tensor | None]:
        """What to add to the embedding (batch, embedding), and the features of each site (batch, map_width, x, y, z).

        None where nothing can be, or is, asked.
        """
        if condition is None:
            return None, None
        told = [encoder(condition[name]) for name, encoder in self.numbers.items()]
        placed = [encoder(condition[name]) for name, encoder in self.maps.items()]
        return sum(told[1:], told[0]) if told else None, sum(placed[1:], placed[0]) if placed else None


def as_condition(
    schema: ConditionSchema, asked: Mapping[str, Value | np.ndarray], shape: tuple[int, int, int], batch: int = 1
) -> Condition:
    """A checked request (`ConditionSchema.check`) as tensors, the same for all samples of a batch.

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
            labels = torch.full(shape, UNASKED_LABEL, dtype=torch.uint8)
            if isinstance(value, np.ndarray):
                labels = torch.from_numpy(np.ascontiguousarray(value, dtype=np.uint8))
            condition[field.name] = labels.expand(batch, *shape)
            continue
        if isinstance(field, VectorField):
            entries = value if isinstance(value, dict) else {}
            numbers = [float(entries.get(entry, np.nan)) for entry in field.entries]
        elif isinstance(field, CategoryField):
            numbers = [np.nan if value is None else float(field.values.index(str(value)))]
        else:
            numbers = [np.nan if value is None else float(value)]  # type: ignore[arg-type]
        condition[field.name] = torch.tensor(numbers, dtype=torch.float32).expand(batch, len(numbers))
    return condition
