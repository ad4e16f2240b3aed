"""Vector tables in a cohort's store: `tables/NAME`, (N, entries) float32, a row for each row of the cohort."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from braindiffusion.cohort.vectors.table import VectorTable
from braindiffusion.errors import BrainDiffusionError

if TYPE_CHECKING:
    import zarr

GROUP = "tables"
"""The group of the arrays, and the attribute that lists them."""


@dataclass(frozen=True)
class StoredVectors:
    """One table of a cohort.

    Attributes:
        entries: names of the numbers.
        values: (N, entries) float32, NaN where unknown.
    """

    entries: tuple[str, ...]
    values: NDArray[np.float32]

    @property
    def sha256(self) -> str:
        """Hash of names and numbers."""
        names = json.dumps(self.entries).encode()
        return hashlib.sha256(names + np.ascontiguousarray(self.values, "<f4").tobytes()).hexdigest()


def write_vectors(group: "zarr.Group", tables: Sequence[VectorTable], subjects: Sequence[str]) -> None:
    """Replace the tables of a store.

    Args:
        group: the store.
        tables: the new ones; none removes those that are there.
        subjects: ids of the rows of the store, in order.
    """
    group.attrs.update({GROUP: {}})  # a writer that dies leaves no table rather than half of one
    if GROUP in group:
        del group[GROUP]
    described = {}
    for table in tables:
        none = (None,) * len(table.entries)
        rows = [table.of(subject) or none for subject in subjects]
        stored = StoredVectors(table.entries, np.array(rows, np.float32))
        array = group.create_array(f"{GROUP}/{table.name}", shape=stored.values.shape, dtype="float32")
        array[:] = stored.values
        described[table.name] = {"entries": list(table.entries), "sha256": stored.sha256}
    group.attrs.update({GROUP: described})


def read_vectors(group: "zarr.Group", path: Path, rows: int) -> dict[str, StoredVectors]:
    """Return the tables of a store by name.

    Raises:
        BrainDiffusionError: one is lost or damaged.
    """
    described: dict[str, Any] = dict(group.attrs.asdict()).get(GROUP) or {}  # type: ignore[assignment]
    tables = {}
    for name, description in described.items():
        try:
            values = np.asarray(group[f"{GROUP}/{name}"][:], np.float32)  # type: ignore[index]
            tables[name] = StoredVectors(tuple(map(str, description["entries"])), values)
            whole = values.shape == (rows, len(tables[name].entries)) and tables[name].sha256 == description["sha256"]
        except Exception:  # noqa: BLE001 a damaged store can make Zarr raise nearly anything
            whole = False
        if not whole:
            raise BrainDiffusionError(f"The table {name} of the cohort {path} is damaged: prepare the cohort again.")
    return tables
