"""The conditioning of a network: numbers and categories for the whole volume, labels for each voxel.

Each field adds to an embedding, and adds exactly zero where it is null and before it is trained: a model can learn new
conditions, and with a null field it is the network that never had it. (A learned token for null fields would only move
the bias that contributions are added to.)
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from braindiffusion.conditions import (
    AnyField,
    CategoryField,
    ConditionSchema,
    MapField,
    ScalarField,
    VectorField,
)
from braindiffusion.diffusion.condition import Condition

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
    """A label map as features of each coefficient site: the mean of one vector a label and octant.

    Args:
        labels: how many.
        voxels: edge of a site, in voxels of the label map.
        width: features.
        places: places along the edge of a site at which the map is read; a site with fewer voxels is read at each.
    """

    def __init__(self, labels: int, voxels: int, width: int, places: int) -> None:
        super().__init__()
        self.labels, self.stride = labels, max(1, voxels // places)
        self.places = voxels // self.stride  # along each edge of a site
        octants = 8 if voxels > 1 else 1
        # One row more than is used: what nobody asked for adds nothing.
        self._unasked = octants * labels
        self.vectors = nn.EmbeddingBag(octants * labels + 1, width, mode="sum", padding_idx=self._unasked)
        # Where a site has many voxels it is faster to count the labels than to add up a vector for each.
        self._counts = self._unasked < self.places**3 * width
        self._last: tuple[Tensor, Tensor, Tensor] | None = None
        """Labels, vectors and features of the last evaluation by a sampler."""

    def forward(self, labels: Tensor) -> Tensor:
        """(batch, x * voxels, y * voxels, z * voxels) uint8 to (batch, width, x, y, z); zero where unasked.

        A sampler asks for the same labels at every step: on a CPU their features are computed once.
        """
        if not torch.is_inference_mode_enabled() or labels.device.type != "cpu":
            return self._features(labels)
        vectors = self.vectors.weight
        if self._last is None or not (torch.equal(self._last[0], labels) and torch.equal(self._last[1], vectors)):
            self._last = None  # two are not needed at once
            self._last = labels.clone(), vectors.clone(), self._features(labels)
        return self._last[2]

    def forget(self) -> None:
        """Free the features that are kept for the next step."""
        self._last = None

    def _features(self, labels: Tensor) -> Tensor:
        n, stride = self.places, self.stride
        labels = labels[:, stride // 2 :: stride, stride // 2 :: stride, stride // 2 :: stride]
        batch, x, y, z = labels.shape[0], *(side // n for side in labels.shape[1:])
        sites = labels.reshape(batch, x, n, y, n, z, n).permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, n, n, n)
        side = torch.arange(n, device=labels.device) // max(1, n // 2)
        octant = 4 * side[:, None, None] + 2 * side[:, None] + side
        row = torch.where(sites < self.labels, octant * self.labels + sites.long(), self._unasked)
        summed = self._counted(row.flatten(1)) if self._counts else self.vectors(row.flatten(1))
        return (summed / n**3).reshape(batch, x, y, z, -1).movedim(-1, 1)

    def _counted(self, row: Tensor) -> Tensor:
        """Return the sums of vectors, (sites, width), of the rows of each site: as `vectors`, up to rounding."""
        with torch.autocast(row.device.type, enabled=False):
            counts = torch.zeros(len(row), self._unasked + 1, device=row.device)
            counts.scatter_add_(1, row, torch.ones(1, 1, device=row.device).expand(row.shape))
            return counts[:, : self._unasked] @ self.vectors.weight[: self._unasked]


class Conditioning(nn.Module):
    """All fields of a schema, for one level.

    Args:
        schema: the fields.
        embedding: width of what the numbers and words give.
        map_width: features a site of what label maps give.
        map_places: places along the edge of a site at which label maps are read.
        voxels: edge of a site in voxels.
    """

    def __init__(self, schema: ConditionSchema, embedding: int, map_width: int, map_places: int, voxels: int) -> None:
        super().__init__()
        self.numbers = nn.ModuleDict(
            {_key(f.name): FieldEncoder(f, embedding) for f in schema.fields if not isinstance(f, MapField)}
        )
        self._fields = {_key(f.name): f.name for f in schema.fields}
        self.maps = nn.ModuleDict(
            {
                _key(f.name): MapEncoder(f.labels, voxels, map_width, map_places)
                for f in schema.fields
                if isinstance(f, MapField)
            }
        )

    def forward(self, condition: Condition | None) -> tuple[Tensor | None, Tensor | None]:
        """Return an addition to the embedding (batch, embedding) and features of the sites (batch, map_width, x, y, z).

        None where nothing can be, or is, asked.
        """
        if condition is None:
            return None, None
        embeddings = [encoder(condition[self._fields[name]]) for name, encoder in self.numbers.items()]
        placed = [encoder(condition[self._fields[name]]) for name, encoder in self.maps.items()]
        embedding = sum(embeddings[1:], embeddings[0]) if embeddings else None
        return embedding, sum(placed[1:], placed[0]) if placed else None

    def forget(self) -> None:
        """Free what is kept from one step of a sampler to the next."""
        for encoder in self.maps.values():
            cast(MapEncoder, encoder).forget()


def _key(name: str) -> str:
    """Return the name of a field as that of a module, of which some names are taken by PyTorch."""
    return f"{name}_" if hasattr(nn.ModuleDict, name) or name == "training" else name
