"""Conditions of each sample of a request: checked against the model, label maps in its box, as tensors."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from braindiffusion.cohort.standardise import standardise_labels
from braindiffusion.cohort.vectors.table import with_rows
from braindiffusion.conditions import MapField, Value
from braindiffusion.diffusion.condition import Condition
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import file_sha256
from braindiffusion.generation.anatomy import Anatomy, AnatomyLibrary, load_anatomy, sample_anatomy
from braindiffusion.generation.condition_args import ConditionArgs, from_table
from braindiffusion.generation.generated_anatomy import RegionMapModel
from braindiffusion.models.condition_tensors import as_condition
from braindiffusion.models.generator import Generator
from braindiffusion.models.registry import anatomy_folder, find_model, generated_anatomy
from braindiffusion.regions import is_grouped, regions_of, table_problem
from braindiffusion.runs import GenerateRequest
from braindiffusion.volume import Volume, box_affine, load_volume

MAPS_REMEMBERED = 8
HEAD_ML = 3000.0
"""A box that is at least this large holds a head; smaller ones are of toy models, whose maps are not checked."""
SMALLEST_BRAIN_ML = 600.0
"""Less than any adult brain has: those of IXI have 1,000 to 1,700 ml."""
FEWEST_REGIONS = 20
"""Half of the regions of `braindiffusion.regions`; a tissue map has 3."""


class Conditions:
    """The conditions of all samples of a request. All words are checked at once, before anything is made.

    Args:
        request: with `condition` and `conditions`.
        generator: the model.
        quick: whether sampled anatomy takes the nearest voxels, for previews.

    Raises:
        BrainDiffusionError: the model cannot be asked for that; the sentence names the row of a table.
    """

    def __init__(self, request: GenerateRequest, generator: Generator, *, quick: bool = False) -> None:
        self._quick = quick
        self._schema, self._shape = generator.conditions, generator.shape
        self._maps = [field.name for field in self._schema.fields if isinstance(field, MapField)]
        rows = from_table(request.conditions) if request.conditions else [{}]
        given = [_merged(request.condition, row) for row in rows]
        self._asked = [{**self._schema.defaults, **one} for one in given]
        self._defaults = [[name for name in self._schema.defaults if name not in one] for one in given]
        self._checked = []
        for number, asked in enumerate(self._asked, start=1):
            try:
                self._checked.append(self._schema.check(with_rows(self._schema, asked)))
            except BrainDiffusionError as error:
                if request.conditions is None:
                    raise
                raise BrainDiffusionError(f"{request.conditions}, row {number}: {error}") from error
        self._seed = request.seed
        self._library = _library(request, self._maps, generator.shape)
        self._region_maps = None
        if self._library is not None:
            self._region_maps = _region_map_model(request, self._library, generator.device)
        self._sampled = lru_cache(MAPS_REMEMBERED)(self._sample_anatomy)
        self._labels = lru_cache(MAPS_REMEMBERED)(
            lambda path: load_label_map(Path(path), generator.shape, generator.spacing)
        )
        self._sha256 = lru_cache(None)(lambda path: file_sha256(Path(path)))
        maps = {str(one[name]) for one in self._checked for name in self._maps if name in one}
        self.paths = tuple(map(Path, sorted(maps)))
        """Label maps of all samples."""
        for path in maps if len(maps) <= MAPS_REMEMBERED else ():  # of many, each when its turn comes
            self._labels(path)

    @property
    def names(self) -> frozenset[str]:
        """Conditions that any sample has, a sampled region map among them."""
        drawn = self._maps[:1] if self._library is not None else []
        return frozenset(drawn).union(*self._checked)

    def anatomy(self, number: int) -> Anatomy | None:
        """Return the region map that was drawn for a sample (from 1); None where it has one of its own, or none."""
        return self._sampled(number)

    def _sample_anatomy(self, number: int) -> Anatomy | None:
        checked = self.checked(number)
        if self._library is None or any(name in checked for name in self._maps):
            return None
        seed = self._seed + number - 1
        drawn = sample_anatomy(self._library, seed, checked, nearest=self._quick)
        if self._region_maps is not None:
            drawn = self._region_maps.generate(drawn, seed, checked, quick=self._quick)
        sulci = None if drawn.sulci is None else _finer(drawn.sulci, self._shape)
        return replace(drawn, regions=_finer(drawn.regions, self._shape), sulci=sulci)

    def region_map(self, number: int) -> NDArray[np.uint8] | None:
        """Return the region map of a sample, (x, y, z), drawn (without thin sulci) or given; None where it has none."""
        if (drawn := self.anatomy(number)) is not None:
            return drawn.regions
        given = [str(self.checked(number)[name]) for name in self._maps if name in self.checked(number)]
        return self._labels(given[0])[0] if given else None

    def asked(self, number: int) -> ConditionArgs:
        """Return the conditions of a sample (from 1), in the words of the request."""
        return self._asked[(number - 1) % len(self._asked)]

    def defaults(self, number: int) -> list[str]:
        """Return the names of those that were not requested: they have the model's default."""
        return self._defaults[(number - 1) % len(self._defaults)]

    def checked(self, number: int) -> ConditionArgs:
        """The same in the model's units."""
        return self._checked[(number - 1) % len(self._checked)]

    def files(self, number: int) -> dict[str, str]:
        """SHA-256 of the label maps of a sample, by field."""
        checked = self.checked(number)
        return {name: self._sha256(str(checked[name])) for name in self._maps if name in checked}

    def affine(self, number: int) -> NDArray[np.float64] | None:
        """Return the affine of the box of a sample's label map; None where it has none."""
        checked = self.checked(number)
        return next((self._labels(str(checked[name]))[1] for name in self._maps if name in checked), None)

    def tensors(self, numbers: Sequence[int], device: torch.device) -> Condition | None:
        """For a batch of these samples; None where nothing is asked of any."""
        if not any(self.checked(number) or self.anatomy(number) for number in numbers):
            return None
        schema, shape = self._schema, self._shape
        alone = []
        for number in numbers:
            asked: dict[str, Value | NDArray[np.uint8]] = {**self.checked(number)}
            asked |= {name: self._labels(str(asked[name]))[0] for name in self._maps if name in asked}
            if (drawn := self.anatomy(number)) is not None:
                asked[self._maps[0]] = drawn.with_sulci
            alone.append(as_condition(schema, asked, shape))
        return {name: torch.cat([one[name] for one in alone]).to(device) for name in schema.names}


def _library(request: GenerateRequest, maps: Sequence[str], shape: tuple[int, int, int]) -> AnatomyLibrary | None:
    """Return the region maps that anatomy is drawn from; None where the request wants none, or the model has none.

    Raises:
        BrainDiffusionError: the request wants anatomy of a model without maps, or these are of another model.
    """
    if request.anatomy == "none":
        return None
    folder = anatomy_folder(find_model(request.model)) if maps else None
    library = None if folder is None else load_anatomy(folder)
    if library is None and request.anatomy is not None:
        msg = f"The model {request.model} has no region maps to draw anatomy from: choose none."
        raise BrainDiffusionError(msg, field="anatomy")
    if library is not None and any(here % there for there, here in zip(library.maps.shape[1:], shape, strict=True)):
        msg = f"The region maps of {request.model} are of another shape than its brains: install the model again."
        raise BrainDiffusionError(msg, field="model")
    return library


def _region_map_model(request: GenerateRequest, library: AnatomyLibrary, device: torch.device) -> RegionMapModel | None:
    """Return the model that generates the region maps of a request; None where they are sampled.

    Raises:
        BrainDiffusionError: the request wants generated anatomy of a model without it.
    """
    if request.anatomy != "generated":
        return None
    if (settings := generated_anatomy(find_model(request.model))) is None:
        msg = f"The model {request.model} has no model of region maps to generate anatomy with: choose sampled or none."
        raise BrainDiffusionError(msg, field="anatomy")
    return RegionMapModel(settings, library, device)


def _finer(map_: NDArray[Any], shape: tuple[int, int, int]) -> NDArray[Any]:
    """Return a map on a grid that is a whole number of times finer, each voxel repeated."""
    for axis, (there, here) in enumerate(zip(map_.shape, shape, strict=True)):
        map_ = map_.repeat(here // there, axis) if here > there else map_
    return map_


def _merged(common: ConditionArgs, row: ConditionArgs) -> ConditionArgs:
    """The row, and what holds for all where the row says nothing; entries of vectors one by one."""
    merged = {**common, **row}
    for name, value in row.items():
        shared = common.get(name)
        if isinstance(value, dict) and isinstance(shared, dict):
            merged[name] = {**shared, **value}
    return merged


def load_label_map(
    path: Path, shape: tuple[int, int, int], spacing: float
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return a label map as the model takes it: grouped into regions, on the grid of the model.

    A map on the very grid of the model's own brains stays where it is; any other is brought to the model's spacing and
    centred on its brain, as brains were before training.

    Args:
        path: DLMUSE values, or those of `braindiffusion.regions`; any orientation and spacing.
        shape: voxels of the box of the model (x, y, z).
        spacing: of the model, in mm.

    Returns:
        (x, y, z), and the affine of that box in the world of the map.

    Raises:
        BrainDiffusionError: it is no label map of a brain, labels too little of one, or does not fit.
    """
    volume = load_volume(path)
    try:
        values, affine = volume.data[0], volume.affine
        in_place = volume.shape == shape and np.allclose(volume.affine, box_affine(shape, spacing), atol=1e-3)
        if not in_place or not _is_whole(volume):
            values, affine = standardise_labels(volume, spacing, shape)
        regions = regions_of(values.astype(np.int64))
        _check_coverage(regions, spacing, check_table=is_grouped(values.astype(np.int64)))
    except BrainDiffusionError as error:
        raise BrainDiffusionError(f"{path}: {str(error).rstrip('.')}.") from error
    return regions, affine


def _check_coverage(regions: NDArray[np.uint8], spacing: float, *, check_table: bool) -> None:
    """Raise where a map in a box of the size of a head labels no whole brain: models make noise of such maps.

    With `check_table`, also where its small numbers are not those of the table of regions.
    """
    millilitres = spacing**3 / 1000
    if regions.size * millilitres < HEAD_ML:
        return
    count, size = np.count_nonzero(np.bincount(regions.ravel())[1:]), np.count_nonzero(regions) * millilitres
    if count < FEWEST_REGIONS or size < SMALLEST_BRAIN_ML:
        raise BrainDiffusionError(
            f"it labels {count} regions and {size:.0f} ml, which is no segmentation of a whole brain "
            f"({FEWEST_REGIONS} regions and {SMALLEST_BRAIN_ML:.0f} ml at least): segment a brain, and change that map"
        )
    if check_table and (problem := table_problem(regions, spacing)):
        raise BrainDiffusionError(problem)


def _is_whole(volume: Volume) -> bool:
    """Whether it is one channel of whole numbers."""
    return volume.channels == 1 and bool((volume.data == np.rint(volume.data)).all())
