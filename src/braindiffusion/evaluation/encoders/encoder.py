"""Measurement of a brain: by a segmentation model, and by networks or tables of features that the user brings."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.evaluation.brain_measures import (
    BrainMeasures,
    brain_mask,
    histogram,
    region_measures,
    shape_measures,
    spectrum,
)
from braindiffusion.evaluation.sources import Brain
from braindiffusion.regions.overlap import region_dice
from braindiffusion.regions.table import Labels

Features = NDArray[np.float32]
TABLES = (".csv", ".npz", ".npy")
WEIGHTS = (".pth", ".pt", ".safetensors")


class Segmentation(Protocol):
    """The result of a segmentation model for one brain."""

    @property
    def regions(self) -> Labels:
        """(x, y, z) grouped regions."""

    @property
    def embedding(self) -> Features:
        """(D,)."""

    @property
    def age(self) -> float:
        """Years; NaN where it is not predicted."""


class SegmentationModel(Protocol):
    """A model that predicts regions, an embedding and an age."""

    def predict(self, volume: NDArray[np.float32], /) -> Segmentation:
        """Predict from (x, y, z) in [-1, 1], in the model's box at 2 mm."""


@dataclass(frozen=True)
class BrainMeasurer:
    """Measures brains, real and generated ones in the same way.

    Attributes:
        model: segmentation model; without one, regions are those of the brain's own label map.
        encoders: functions from a brain to features, by name.
    """

    model: SegmentationModel | None = None
    encoders: Mapping[str, Callable[[Brain], Features]] = field(default_factory=dict)

    def measure(self, brain: Brain, requested: Labels | None = None) -> BrainMeasures:
        """Measure a brain.

        Args:
            brain: the brain.
            requested: the label map that it was generated from.
        """
        mask = brain_mask(brain.voxels)
        measures = shape_measures(mask, brain.spacing)
        features = {name: encode(brain) for name, encode in self.encoders.items()}
        found = None if self.model is None else self.model.predict(brain.voxels * 2 - 1)
        regions = brain.labels if found is None else found.regions
        if regions is not None:
            measures |= region_measures(brain.voxels, regions, brain.spacing)
        if found is not None:
            features["embedding"] = found.embedding
        return BrainMeasures(
            name=brain.name,
            quantities=measures,
            histogram=histogram(brain.voxels, mask),
            spectrum=spectrum(brain.voxels),
            features=features,
            age=np.nan if found is None else found.age,
            dice=_dice(requested, regions) if requested is not None and regions is not None else {},
        )


def load_encoder(path: Path, names: Sequence[str]) -> Callable[[Brain], Features]:
    """Return an encoder that the user brings, by the suffix of its file.

    Args:
        path: `.csv`: one line for each brain, its name first, under a header line. `.npz`: arrays `names` (N,) and
            `features` (N, D). `.npy`: (N, D), in the order of `names`. `.pth`, `.pt` or `.safetensors`: weights of
            MedicalNet's 3D ResNets, or of RadImageNet's 2D ResNet-50.
        names: names of all brains, real before generated, in the order of the report.

    Raises:
        BrainDiffusionError: no such file, another ending, or a brain is missing in it.
    """
    if not path.is_file():
        raise BrainDiffusionError(f"There is no file of features {path}.")
    if path.suffix in WEIGHTS:
        from braindiffusion.evaluation.encoders.resnet import load_resnet  # imports torch

        return load_resnet(path)
    if path.suffix not in TABLES:
        known = ", ".join(TABLES + WEIGHTS)
        raise BrainDiffusionError(f"{path} is neither a table of features nor weights: the ending is one of {known}.")
    try:
        table = _table(path, names)
    except (OSError, ValueError, KeyError) as error:
        raise BrainDiffusionError(f"The features in {path} cannot be read: {error}.") from error
    missing = [name for name in names if name not in table]
    if missing:
        raise BrainDiffusionError(
            f"{path} lacks features of {missing[0]} ({len(missing)} of {len(names)} are missing)."
        )
    return lambda brain: table[brain.name]


def _table(path: Path, names: Sequence[str]) -> dict[str, Features]:
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return {row[0]: np.array(row[1:], np.float32) for row in list(csv.reader(file))[1:] if row}
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            rows = np.asarray(arrays["features"], np.float32)
            return dict(zip((str(name) for name in arrays["names"]), rows, strict=True))
    rows = np.asarray(np.load(path, allow_pickle=False), np.float32)
    if len(rows) != len(names):
        raise BrainDiffusionError(f"{path} has {len(rows)} rows, and there are {len(names)} brains.")
    return dict(zip(names, rows, strict=True))


def _dice(requested: NDArray[np.uint8], regions: NDArray[np.uint8]) -> dict[int, float]:
    """Return the Dice of every region that either map has, by its index."""
    overlap = region_dice(requested, regions)
    return {index: float(value) for index, value in enumerate(overlap) if index and not np.isnan(value)}
