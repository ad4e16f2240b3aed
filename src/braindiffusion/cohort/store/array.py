"""An array of a cohort on the disk, read so that a damaged or lost chunk is an error, and never an empty brain."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from braindiffusion.errors import BrainDiffusionError

if TYPE_CHECKING:
    import zarr


class StoredArray:
    """A Zarr array with one chunk for each index of its first axis, to read.

    Args:
        array: The array.
        store: The cohort's folder.
        names: Ids of the subjects, for messages.
        may_lack: Whether a chunk that is not there holds zeros: earlier versions wrote none for an empty label map.
    """

    def __init__(self, array: "zarr.Array[Any]", store: Path, names: Sequence[str], *, may_lack: bool = False) -> None:
        self._array, self._store, self._names, self._may_lack = array, store, names, may_lack

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape, subjects first."""
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of its values."""
        return np.dtype(self._array.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read a part.

        Raises:
            BrainDiffusionError: a chunk of it is lost or damaged.
        """
        first = index[0] if isinstance(index, tuple) else index
        rows = range(len(self))[first] if isinstance(first, slice) else [range(len(self))[int(first)]]
        for row in rows:
            self._check_chunk(row)
        try:
            return np.asarray(self._array[index])
        except Exception as error:  # damaged chunks make codecs and Zarr raise nearly anything
            raise self.damaged(rows[0], f"{type(error).__name__} while reading") from error

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read all of it."""
        return np.asarray(self[:], dtype)

    def damaged(self, row: int, what: str) -> BrainDiffusionError:
        """Return the error of a subject whose data are not as they were written."""
        name = self._names[row] if row < len(self._names) else f"number {row + 1}"
        kind = self._array.basename
        msg = f"The cohort {self._store} is damaged: the {kind} of {name} cannot be used ({what})"
        return BrainDiffusionError(f"{msg}: prepare it again, which repairs it.")

    def _check_chunk(self, row: int) -> None:
        key = self._array.metadata.encode_chunk_key((row, *[0] * (len(self.shape) - 1)))
        if not self._may_lack and not (self._store / self._array.basename / key).is_file():
            raise self.damaged(row, "its file is missing")


def checksum(*arrays: NDArray[Any] | None) -> str:
    """Return the SHA-256 of what is stored of one subject, None left out."""
    total = hashlib.sha256()
    for array in arrays:
        if array is not None:
            total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()
