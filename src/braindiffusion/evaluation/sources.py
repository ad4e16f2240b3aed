"""Sources of the brains of an evaluation: folders and lists of volumes, prepared cohorts, runs of `generate`.

A source has a name and a function that reads the brain, so that one brain at a time is in memory.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braindiffusion.cohort.demographics import SESSION
from braindiffusion.cohort.find import SUFFIXES, find, is_volume, match_labels
from braindiffusion.cohort.mask import dark_background
from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.standardise import standardise
from braindiffusion.cohort.store import Cohort, Subject
from braindiffusion.errors import BrainDiffusionError, about
from braindiffusion.models.card import ModelCard
from braindiffusion.regions import group, is_grouped
from braindiffusion.regions.table import Labels
from braindiffusion.runs import GenerateRequest, Run
from braindiffusion.runs.sidecar import (
    is_generated,
    is_synthetic,
    load_sidecar,
    read_sidecar,
    sidecar_path,
    volume_stem,
)
from braindiffusion.volume import Volume, load_volume

_BESIDE = ("_preview", "_trajectory", "_labels", "_regions", "_mask")
"""Endings of files beside volumes that are no brains."""
STRIPPED = 0.3
"""Share of voxels with the lowest value above which a volume is skull-stripped; a head has noise around it."""


@dataclass(frozen=True)
class Brain:
    """One brain in the model's box.

    Attributes:
        name: name of the subject, or of the file.
        voxels: (x, y, z) float32 in [0, 1], background 0; of several channels the first.
        labels: (x, y, z) uint8, grouped regions; None without a label map.
        spacing: mm, isotropic.
        asked: conditions of a generated brain: the `condition` of its sidecar.
    """

    name: str
    voxels: NDArray[np.float32]
    labels: Labels | None
    spacing: float
    asked: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A brain that can be read.

    Attributes:
        name: name of the subject, or of the file.
        read: reads it. Raises BrainDiffusionError.
        subject: age, sex and more of a real person.
        model: name of the model in its sidecar.
        counterpart: name of the real brain of the same name, if any.
    """

    name: str
    read: Callable[[], Brain]
    subject: Subject | None = None
    model: str = ""
    counterpart: str = ""

    @property
    def person(self) -> str:
        """Id of the person of a real brain: sessions of one person have the same."""
        return self.name.split(SESSION)[0] if self.subject is None else self.subject.person


def preprocessing_of(paths: Iterable[Path], card: ModelCard | None) -> Preprocessing:
    """Return the preprocessing of all brains: that of the model, else of the first cohort, else the default."""
    if card is not None and card.prepared is not None:
        return card.prepared
    stores = (Cohort.open(path).preprocessing for path in paths if path.suffix == ".zarr")
    return next(stores, Preprocessing())


def find_brains(paths: Iterable[Path], preprocessing: Preprocessing, labels: Path | None = None) -> list[Source]:
    """Find the brains of folders, files, prepared cohorts and runs of `generate`, in the order of the paths.

    Args:
        paths: each a `.zarr` store, a run folder, a folder of volumes, or a volume.
        preprocessing: preprocessing of all brains.
        labels: folder of label maps of the volumes.

    Raises:
        BrainDiffusionError: nothing there, another box, or two brains of one name.
    """
    sources: list[Source] = []
    for path in paths:
        sources += _cohort(path, preprocessing) if path.suffix == ".zarr" else _files(path, preprocessing, labels)
    names = [source.name for source in sources]
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise BrainDiffusionError(f"Two brains are called {doubles[0]}: give one folder of them, or rename one.")
    return sources


def _cohort(path: Path, preprocessing: Preprocessing) -> Iterator[Source]:
    cohort = Cohort.open(path)
    theirs, ours = _in_words(cohort.preprocessing), _in_words(preprocessing)
    if theirs != ours:
        raise BrainDiffusionError(
            f"The brains of {path} are {theirs}; those of the model are {ours}: preprocess the cohort as the model's."
        )
    for row, subject in enumerate(cohort.subjects):

        def read(row: int = row, name: str = subject.id) -> Brain:
            cohort.verify(row)
            voxels = (np.asarray(cohort.volumes[row], np.float32)[0] + 1) / 2
            labels = None if cohort.labels is None else grouped(np.asarray(cohort.labels[row]))
            return Brain(name, voxels, labels, cohort.preprocessing.spacing)

        yield Source(subject.id, read, subject)


def _in_words(preprocessing: Preprocessing) -> str:
    sides = " x ".join(map(str, preprocessing.shape))
    skull = "without" if preprocessing.skull == "strip" else "with"
    low, high = preprocessing.percentiles
    return (
        f"{sides} voxels of {preprocessing.spacing:g} mm, {skull} the skull, scaled from percentile {low:g} to {high:g}"
    )


def _files(path: Path, preprocessing: Preprocessing, labels: Path | None) -> Iterator[Source]:
    if (path / "run.json").is_file():
        run = Run.open(path)
        if not isinstance(run.request, GenerateRequest):
            raise BrainDiffusionError(f"The run {path} made no brains: its job is {run.request.job}.")
        path = run.request.out or run.results
    if path.is_file():
        if not is_volume(path):
            raise BrainDiffusionError(f"{path} is no volume: they end in {', '.join(SUFFIXES)}.")
        found = [item for item in find(path.parent, modality=None) if item.path == path]
    else:
        found = [item for item in find(path, modality=None) if not volume_stem(item.path).endswith(_BESIDE)]
    if labels is not None:
        found = match_labels(found, labels)
    if not found:
        raise BrainDiffusionError(f"There are no brains in {path}.")
    for item in found:

        def read(path: Path = item.path, name: str = item.subject, map_: Path | None = item.labels) -> Brain:
            return _read_file(name, path, map_, _sidecar(path), preprocessing)

        sidecar = read_sidecar(item.path)  # one that cannot be read is told when the brain is
        model = sidecar.get("model") or {}
        yield Source(item.subject, read, model=str(model.get("name", "")) if is_generated(sidecar) else "")


def _sidecar(path: Path) -> dict[str, Any]:
    file = sidecar_path(path)
    return load_sidecar(file) if file.exists() else {}


def _read_file(
    name: str, path: Path, labels: Path | None, sidecar: Mapping[str, Any], preprocessing: Preprocessing
) -> Brain:
    volume = load_volume(path)
    map_ = None if labels is None else load_volume(labels)
    asked = (sidecar.get("condition") or {}) if is_generated(sidecar) else {}
    spacing = preprocessing.spacing
    in_box = volume.shape == preprocessing.shape and np.allclose(volume.spacing, spacing, atol=1e-3)
    if is_synthetic(path, sidecar) and in_box:  # and in the unit of the box
        drawn = None if map_ is None else on_grid(map_, volume)
        return Brain(name, np.asarray(volume.data[0], np.float32), drawn, spacing, asked)
    first = Volume(volume.data[:1], volume.affine)
    with about(path):
        shape = map_ or (_own_shape(first) if preprocessing.skull == "strip" else None)
        prepared = standardise(first, preprocessing, shape, own_mask=map_ is None)
    drawn = None if map_ is None or prepared.labels is None else grouped(prepared.labels)
    return Brain(name, (prepared.volume[0].astype(np.float32) + 1) / 2, drawn, spacing, asked)


def _own_shape(volume: Volume) -> Volume:
    """Return the mask of a skull-stripped brain: all that is above the background."""
    dark = dark_background(volume).data
    inside = dark > dark.min()
    if inside.mean() > 1 - STRIPPED:
        raise BrainDiffusionError("it is no skull-stripped brain, and has no label map to strip it with")
    return Volume(inside.astype(np.uint8), volume.affine)


def on_grid(labels: Volume, like: Volume) -> Labels | None:
    """Resample a label map to a brain's grid by nearest neighbour, and group it."""
    from braindiffusion.cohort.transforms import resample_labels  # imports torch

    return grouped(resample_labels(labels.data[0].astype(np.int32), labels.affine, like.shape, like.affine))


def grouped(labels: NDArray[Any]) -> Labels | None:
    """Return a label map as regions of `braindiffusion.regions`; None for a map of an unknown scheme."""
    if is_grouped(labels):
        return labels.astype(np.uint8)
    try:
        return group(labels)
    except BrainDiffusionError:
        return None
