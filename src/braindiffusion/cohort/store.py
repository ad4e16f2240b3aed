"""The prepared cohort on disk: a Zarr v3 group with one chunk for each volume. Needs no torch.

Volumes are appended, and the table of subjects is written after the voxels that it speaks of, so a store whose writer
died is a shorter store and never a wrong one.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.errors import BrainDiffusionError

FORMAT = "braindiffusion-cohort"


class Subject(BaseModel):
    """One row of a cohort's table."""

    model_config = ConfigDict(frozen=True)

    id: str
    person: str = Field(default_factory=lambda row: str(row.get("id", "")).split("_ses-")[0])
    """Id of the person, the same in all volumes of one person; by default the id without its session."""
    age: float | None = None
    """Years."""
    sex: str | None = None
    """`M` or `F`."""
    site: str | None = None
    modality: str = "T1"
    source: str = ""
    """File name of the volume that this was prepared from; of channels, comma-separated."""
    input_hash: str = ""
    """Sha256 of the volumes' files and of the label map's."""


@dataclass(frozen=True)
class PreparedVolume:
    """The arrays of one subject.

    Attributes:
        volume: (C, x, y, z) float16 in [-1, 1], RAS+.
        mask: (x, y, z) bool, the brain (or the head, where no labels tell).
        labels: (x, y, z) unsigned integers, or None.
        affine: (4, 4) float64, voxel indices to mm.
        note: a sentence on what is odd; empty if nothing is. Not stored.
    """

    volume: NDArray[np.float16]
    mask: NDArray[np.bool_]
    labels: NDArray[np.unsignedinteger[Any]] | None
    affine: NDArray[np.float64]
    note: str = ""


class Cohort:
    """A prepared cohort, open for reading (and, through `create` and `put`, for writing).

    Attributes:
        path: the store.
        subjects: one `Subject` a volume, in the order of the arrays.
        volumes: Zarr array (N, C, x, y, z) float16 in [-1, 1].
        masks: Zarr array (N, x, y, z) bool.
        labels: Zarr array (N, x, y, z), or None.
        affines: (N, 4, 4) float64, voxel indices to mm in RAS+.
        preprocessing: how it was prepared.
        complete: False while it is being written, or if that was interrupted.
    """

    def __init__(self, group: zarr.Group, path: Path) -> None:
        self._group = group
        self.path = path
        attributes: dict[str, Any] = dict(group.attrs.asdict())
        if attributes.get("format") != FORMAT:
            raise BrainDiffusionError(f"{path} is a Zarr store but no prepared cohort: make one with `prepare`.")
        try:
            self.subjects = [Subject.model_validate(row) for row in attributes["subjects"]]
            self.preprocessing = Preprocessing.model_validate(attributes["preprocessing"])
            self.volumes = _array(group, "volumes")
            self.masks = _array(group, "masks")
            self._affines = _array(group, "affines")
        except (KeyError, TypeError, ValidationError) as error:
            raise BrainDiffusionError(
                f"The cohort {path} is damaged or of another version ({_first_line(error)}): prepare it again."
            ) from error
        self.labels = _array(group, "labels") if "labels" in group else None
        self.complete = bool(attributes.get("complete", False))

    @classmethod
    def open(cls, path: str | Path, *, mode: str = "r") -> "Cohort":
        """Open a prepared cohort.

        Args:
            path: the store, a folder that ends in `.zarr`.
            mode: `r` to read, `r+` to add volumes.

        Raises:
            BrainDiffusionError: there is no prepared cohort at `path`.
        """
        path = Path(path)
        try:
            group = zarr.open_group(path, mode=mode)  # type: ignore[arg-type]
        except (FileNotFoundError, ValueError, KeyError, OSError) as error:
            msg = f"There is no prepared cohort at {path}: make one with `prepare`."
            raise BrainDiffusionError(msg) from error
        return cls(group, path)

    @classmethod
    def create(
        cls, path: str | Path, preprocessing: Preprocessing, *, channels: int = 1, labels: np.dtype[Any] | None = None
    ) -> "Cohort":
        """Make an empty store, open for writing.

        Args:
            path: the folder to make; it must not exist, or be empty, or hold a cohort without volumes.
            preprocessing: how its volumes will be prepared.
            channels: C.
            labels: type of the label maps; None stores none.

        Raises:
            BrainDiffusionError: something else is at `path`.
        """
        path = Path(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())) and not _is_empty_cohort(path):
            raise BrainDiffusionError(f"{path} exists and is no prepared cohort: choose another place to prepare into.")
        group = zarr.create_group(path, overwrite=True)
        grid = preprocessing.shape
        group.create_array(
            "volumes", shape=(0, channels, *grid), chunks=(1, channels, *grid), dtype="float16", fill_value=-1.0
        )
        group.create_array("masks", shape=(0, *grid), chunks=(1, *grid), dtype="bool")
        if labels is not None:
            group.create_array("labels", shape=(0, *grid), chunks=(1, *grid), dtype=labels)
        group.create_array("affines", shape=(0, 4, 4), chunks=(1, 4, 4), dtype="float64")
        group.attrs.update(
            {
                "format": FORMAT,
                "preprocessing": preprocessing.model_dump(mode="json"),
                "subjects": [],
                "hash": "",
                "complete": False,
            }
        )
        return cls(group, path)

    def __len__(self) -> int:
        return len(self.subjects)

    @property
    def affines(self) -> NDArray[np.float64]:
        """(N, 4, 4) float64, voxel indices to mm in RAS+."""
        return np.asarray(self._affines[: len(self)], dtype=np.float64)

    @property
    def hash(self) -> str:
        """Sha256 of the preprocessing and of every input, in order."""
        inputs = [(subject.id, subject.input_hash) for subject in self.subjects]
        return hashlib.sha256(json.dumps([self.preprocessing.hash, inputs]).encode()).hexdigest()

    def put(self, subject: Subject, prepared: PreparedVolume) -> None:
        """Add a subject, or replace the one of the same id. Only one process may write a store."""
        index = next((i for i, known in enumerate(self.subjects) if known.id == subject.id), len(self))
        self._fit(max(len(self), index + 1))
        self.volumes[index] = prepared.volume
        self.masks[index] = prepared.mask
        self._affines[index] = prepared.affine
        if self.labels is not None and prepared.labels is not None:
            self.labels[index] = prepared.labels
        self.subjects[index : index + 1] = [subject]
        self._write_table(complete=False)

    def finish(self, subjects: list[Subject] | None = None) -> None:
        """Mark the store as complete, with a newer table of the same subjects where one is given."""
        if subjects is not None:
            self.subjects = subjects
        self._fit(len(self))
        self._write_table(complete=True)

    def _fit(self, count: int) -> None:
        # A writer that died between voxels and table leaves arrays one longer than the table.
        for array in (self.volumes, self.masks, self.labels, self._affines):
            if array is not None and array.shape[0] != count:
                array.resize((count, *array.shape[1:]))

    def _write_table(self, *, complete: bool) -> None:
        self.complete = complete
        table = [subject.model_dump(mode="json") for subject in self.subjects]
        self._group.attrs.update({"subjects": table, "hash": self.hash, "complete": complete})


def split(subject_ids: Iterable[str], n_validation: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Split subjects into training and validation by a hash of their ids.

    It depends neither on the order of the ids nor on the machine; a subject that joins or leaves the cohort moves at
    most one other.

    Args:
        subject_ids: unique ids.
        n_validation: how many to keep aside.
        seed: another seed, another split.

    Returns:
        Training ids and validation ids, both sorted.

    Raises:
        ValueError: fewer subjects than are to be kept aside.
    """
    ids = sorted(set(subject_ids))
    if not 0 <= n_validation <= len(ids):
        msg = f"Cannot keep {n_validation} of {len(ids)} subjects for validation."
        raise ValueError(msg)
    ranked = sorted(ids, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    return sorted(ranked[n_validation:]), sorted(ranked[:n_validation])


def split_rows(subjects: Sequence[Subject], n_validation: int, seed: int = 0) -> tuple[list[int], list[int]]:
    """Split a cohort's rows so that all of one person (sessions, modalities) are on the same side.

    Args:
        subjects: the table.
        n_validation: how many people to keep aside.
        seed: another seed, another split.

    Returns:
        Training rows and validation rows, by person.

    Raises:
        ValueError: fewer people than are to be kept aside.
    """
    rows: dict[str, list[int]] = {}
    for row, subject in enumerate(subjects):
        rows.setdefault(subject.person, []).append(row)
    training, validation = split(rows, n_validation, seed)
    return [row for name in training for row in rows[name]], [row for name in validation for row in rows[name]]


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise TypeError(f"{name} is no array")
    return array


def _is_empty_cohort(path: Path) -> bool:
    try:
        return len(Cohort.open(path)) == 0
    except BrainDiffusionError:
        return False


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
