"""The prepared cohort on disk: a Zarr v3 group with one chunk for each volume. Needs no torch.

Volumes are appended, and the table of subjects is written after the voxels that it speaks of, so a store whose writer
died is a shorter store and never a wrong one.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from braindiffusion.cohort.preprocessing import Modalities, Preprocessing
from braindiffusion.cohort.store.array import StoredArray, checksum
from braindiffusion.cohort.store.subject import PreparedVolume, Subject
from braindiffusion.cohort.vectors.storage import GROUP, StoredVectors, read_vectors, write_vectors
from braindiffusion.cohort.vectors.table import VectorTable
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs.lock import LOCK

if TYPE_CHECKING:  # its import takes 0.2 s: the plugin's docks pay for it when they open a cohort
    import zarr

FORMAT = "braindiffusion-cohort"
CHECKED = ("volumes", "masks", "labels", "affines")
"""The arrays that a subject's checksum is of, in this order."""
MEMBERS = ("zarr.json", *CHECKED, GROUP)
"""Files and folders of a store."""

SMALL, AT_ONCE = 1000, 100
"""Subjects up to which the table is written with each, and of how many at once beyond: it is written whole, so that the
time for all would grow with the square of their number. A writer that dies loses as many."""


class Cohort:
    """A prepared cohort, open for reading (and, through `create` and `put`, for writing).

    Attributes:
        path: the store.
        subjects: one `Subject` a volume, in the order of the arrays.
        preprocessing: how it was prepared.
        complete: False while it is being written, or if that was interrupted.
    """

    def __init__(self, group: "zarr.Group", path: Path) -> None:
        self._group = group
        self.path = path
        attributes: dict[str, Any] = dict(group.attrs.asdict())
        if attributes.get("format") != FORMAT:
            raise BrainDiffusionError(f"{path} is a Zarr store but no prepared cohort: make one with `prepare`.")
        try:
            self.subjects = [Subject.model_validate(row) for row in attributes["subjects"]]
            self.preprocessing = Preprocessing.model_validate(attributes["preprocessing"])
            self._checksums = {str(name): str(one) for name, one in attributes.get("checksums", {}).items()}
            grid = self.preprocessing.shape
            self._arrays = {
                "volumes": _array(group, "volumes", (None, *grid), "f"),
                "masks": _array(group, "masks", grid, "b"),
                "affines": _array(group, "affines", (4, 4), "f"),
            }
            if "labels" in group:
                self._arrays["labels"] = _array(group, "labels", grid, "iu")
            if shorter := [name for name, array in self._arrays.items() if array.shape[0] < len(self.subjects)]:
                raise ValueError(f"{shorter[0]} holds fewer subjects than the table")
        except Exception as error:  # a damaged store can make Zarr raise nearly anything
            raise BrainDiffusionError(
                f"The cohort {path} is damaged or of another version ({_first_line(error)}): prepare it again."
            ) from error
        self.complete = bool(attributes.get("complete", False))
        self._pending = False

    @cached_property
    def tables(self) -> dict[str, StoredVectors]:
        """Tables of numbers with a row for each subject, by name.

        Raises:
            BrainDiffusionError: one is damaged.
        """
        return read_vectors(self._group, self.path, len(self))

    @classmethod
    def open(cls, path: str | Path, *, mode: str = "r") -> "Cohort":
        """Open a prepared cohort.

        Args:
            path: the store, a folder that ends in `.zarr`.
            mode: `r` to read, `r+` to add volumes.

        Raises:
            BrainDiffusionError: there is no prepared cohort at `path`.
        """
        import zarr

        path = Path(path)
        try:
            group = zarr.open_group(path, mode=mode)  # type: ignore[arg-type]
        except (FileNotFoundError, NotADirectoryError) as error:
            msg = f"There is no prepared cohort at {path}: make one with `prepare`."
            raise BrainDiffusionError(msg) from error
        except PermissionError as error:  # nothing is damaged
            raise BrainDiffusionError(f"{error.filename or path} cannot be read ({error.strerror}).") from error
        except Exception as error:  # a damaged store can make Zarr raise nearly anything
            if not (path / "zarr.json").is_file():
                msg = f"There is no prepared cohort at {path}: make one with `prepare`."
                raise BrainDiffusionError(msg) from error
            raise BrainDiffusionError(
                f"The cohort {path} is damaged ({_first_line(error)}): delete it and prepare it again."
            ) from error
        return cls(group, path)

    @classmethod
    def create(
        cls, path: str | Path, preprocessing: Preprocessing, *, channels: int = 1, labels: np.dtype[Any] | None = None
    ) -> "Cohort":
        """Make an empty store, open for writing.

        Args:
            path: the folder to make; it must not exist, or be empty but for a lock, or hold a cohort without volumes.
            preprocessing: how its volumes will be prepared.
            channels: C.
            labels: type of the label maps; None stores none.

        Raises:
            BrainDiffusionError: something else is at `path`, or it cannot be written.
        """
        import zarr

        path = Path(path)
        check_store_path(path)
        if _holds_anything(path) and len(cls.open(path)):
            raise BrainDiffusionError(f"{path} holds a cohort already: choose another place to prepare into.")
        try:
            for member in (path / name for name in MEMBERS):  # not all of the folder: it has the lock of its writer
                if member.is_dir():
                    shutil.rmtree(member)
                member.unlink(missing_ok=True)
            group = zarr.create_group(path)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise BrainDiffusionError(f"{path} cannot be written ({reason}): choose another place.") from error
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
    def volumes(self) -> StoredArray:
        """(N, C, x, y, z) float16 in [-1, 1]."""
        return self._stored("volumes")

    @property
    def masks(self) -> StoredArray:
        """(N, x, y, z) bool."""
        return self._stored("masks")

    @property
    def labels(self) -> StoredArray | None:
        """(N, x, y, z), or None."""
        return self._stored("labels", may_lack=not self._checksums) if "labels" in self._arrays else None

    @property
    def affines(self) -> NDArray[np.float64]:
        """(N, 4, 4) float64, voxel indices to mm in RAS+."""
        return np.asarray(self._stored("affines")[: len(self)], dtype=np.float64)

    def _stored(self, name: str, *, may_lack: bool = False) -> StoredArray:
        return StoredArray(self._arrays[name], self.path, [one.id for one in self.subjects], may_lack=may_lack)

    def verify(self, row: int) -> None:
        """Check that a subject's data are there, and as they were prepared.

        Raises:
            BrainDiffusionError: a chunk is lost, damaged, or holds something else. Of a cohort of an earlier version,
                which holds no checksums, other contents are not noticed.
        """
        labels = None if self.labels is None else self.labels[row]
        found = checksum(self.volumes[row], self.masks[row], labels, self._stored("affines")[row])
        if self._checksums.get(self.subjects[row].id, found) != found:
            raise self.volumes.damaged(row, "its content is not what was prepared")

    def not_finite(self, row: int) -> bool:
        """Return whether a volume holds a value that is no number, or infinite."""
        return not bool(np.isfinite(self.volumes[row]).all())

    @property
    def table_hash(self) -> str:
        """Sha256 of what the tables say of each subject: age, sex, site, and the numbers of vector tables."""
        table: list[Any] = [subject.model_dump(mode="json", exclude={"source"}) for subject in self.subjects]
        if self.tables:
            table.append({name: one.sha256 for name, one in self.tables.items()})
        return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()

    @property
    def hash(self) -> str:
        """Sha256 of the preprocessing and of every input, in order."""
        inputs = [(subject.id, subject.input_hash) for subject in self.subjects]
        return hashlib.sha256(json.dumps([self.preprocessing.hash, inputs]).encode()).hexdigest()

    def put(self, subject: Subject, prepared: PreparedVolume) -> None:
        """Add a subject, or replace the one of the same id. Only one process may write a store.

        In a large store, the table follows at the next multiple of `AT_ONCE` subjects, or with `flush`.
        """
        index = next((i for i, known in enumerate(self.subjects) if known.id == subject.id), len(self))
        self._fit(max(len(self), index + 1))
        values = {"volumes": prepared.volume, "masks": prepared.mask, "affines": prepared.affine}
        if "labels" in self._arrays:
            grid = self.preprocessing.shape
            values["labels"] = np.zeros(grid, np.uint8) if prepared.labels is None else prepared.labels
        written = {name: np.asarray(value, self._arrays[name].dtype) for name, value in values.items()}
        for name, value in written.items():
            # Every chunk is written, an empty one too: one that is not there is lost.
            self._arrays[name].with_config({"write_empty_chunks": True})[index] = value
        self._checksums[subject.id] = checksum(*(written.get(name) for name in CHECKED))
        self.subjects[index : index + 1] = [subject]
        self._pending = True
        if len(self) <= SMALL or len(self) % AT_ONCE == 0:
            self.flush()

    def flush(self) -> None:
        """Write the table, where it lacks a subject that was put."""
        if self._pending:
            self._write_table(complete=False)

    def finish(self, subjects: list[Subject] | None = None, tables: Sequence[VectorTable] = ()) -> None:
        """Mark the store as complete.

        Args:
            subjects: a newer table of the same subjects, where there is one.
            tables: tables of numbers, which replace those of the store.
        """
        if subjects is not None:
            self.subjects = subjects
        self._fit(len(self))
        separate = Modalities.parse(self.preprocessing.modality).separate
        ids = [one.id.removesuffix(f"_{one.modality}") if separate else one.id for one in self.subjects]
        write_vectors(self._group, tables, ids)
        self.__dict__.pop("tables", None)
        self._write_table(complete=True)

    def _fit(self, count: int) -> None:
        # A writer that died between voxels and table leaves arrays one longer than the table.
        for array in self._arrays.values():
            if array.shape[0] != count:
                array.resize((count, *array.shape[1:]))

    def _write_table(self, *, complete: bool) -> None:
        self.complete, self._pending = complete, False
        table = [subject.model_dump(mode="json") for subject in self.subjects]
        checksums = {one.id: self._checksums[one.id] for one in self.subjects if one.id in self._checksums}
        attributes: dict[str, Any] = {
            "subjects": table,
            "hash": self.hash,
            "complete": complete,
            "checksums": checksums,
        }
        self._group.attrs.update(attributes if complete else {**attributes, GROUP: {}})  # its rows may be others now


def _array(group: "zarr.Group", name: str, shape: Sequence[int | None], kinds: str) -> "zarr.Array[Any]":
    """Return an array of a group: one chunk for each subject, of this shape (None: any), of one of these kinds."""
    import zarr

    array = group[name]
    if not isinstance(array, zarr.Array):
        raise TypeError(f"{name} is no array")
    fits = len(array.shape) == len(shape) + 1 and all(a == b for a, b in zip(array.shape[1:], shape, strict=True) if b)
    if not fits or array.chunks != (1, *array.shape[1:]) or np.dtype(array.dtype).kind not in kinds:
        raise ValueError(f"{name} has the shape {array.shape} and the type {array.dtype}")
    return array


def check_store_path(path: Path) -> None:
    """Check that a cohort may be written to a path: nothing is there yet, or a cohort and no file of the user's.

    Raises:
        BrainDiffusionError: something else is there.
    """
    if not _holds_anything(path):
        return
    msg = f"{path} exists and is no prepared cohort: choose another place to prepare into."
    try:
        Cohort.open(path)
    except BrainDiffusionError as error:
        raise BrainDiffusionError(msg if not (path / "zarr.json").is_file() else str(error), "out") from error
    strangers = {entry.name for entry in path.iterdir()} - {*MEMBERS, LOCK}
    if strangers:
        msg = f"{path} holds {min(strangers)}, which is no part of a cohort: choose another place, or move it."
        raise BrainDiffusionError(msg, "out")


def _holds_anything(path: Path) -> bool:
    """Return whether a file is there, or a folder that holds more than the lock of its writer."""
    return path.exists() and (not path.is_dir() or any(entry.name != LOCK for entry in path.iterdir()))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
