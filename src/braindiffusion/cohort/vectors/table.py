"""Tables of numbers with one row a subject: read, matched by subject id, and as the value of a condition."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from braindiffusion.cohort.demographics import (
    ID_COLUMNS,
    NOTHING,
    SESSION,
    SESSION_COLUMNS,
    column_base,
    id_keys,
    session_key,
    table_key,
)
from braindiffusion.conditions import ConditionSchema, Value, VectorField
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs.durations import listed
from braindiffusion.tables import SHEETS, Table, read_table, read_table_apart

RESERVED = ("age", "sex", "site", "modality", "volumes", "regions", "none", "seed")
"""Names that mean something else on a command line."""
SUFFIXES = (".tsv", ".csv", *SHEETS)
UNKNOWN = (*NOTHING, "null")
"""Cells that say that a number is not known, in small letters."""
ROW = "#"
"""Between the path of a table and the id of its row, where both are the value of a condition."""
LONGEST = 40
"""Letters of a cell that a message shows."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")

Row = tuple[float | None, ...]
"""A number for each entry, None where it is not known."""


@dataclass(frozen=True)
class VectorTable:
    """Numbers of subjects.

    Attributes:
        name: name of the condition, from that of the file.
        entries: names of the columns.
        rows: numbers by subject id, without `sub-`.
        source: name of the file.
        unknown: cells without a number.
        of_one_session: subjects whose row is that of their only session in the table.
    """

    name: str
    entries: tuple[str, ...]
    rows: Mapping[str, Row]
    source: str
    unknown: int = 0
    of_one_session: frozenset[str] = frozenset()

    def of(self, subject: str) -> Row | None:
        """Return the numbers of a subject, None where it has no row. Ids are matched as those of participants are.

        A session that the table does not have gets no row of another session.
        """
        others = self.of_one_session if SESSION in subject else frozenset[str]()
        return next((self.rows[key] for key in id_keys(subject) if key in self.rows and key not in others), None)

    def problems(self, subjects: Sequence[str]) -> list[str]:
        """Return a sentence on the subjects without a row, and one on the cells without a number.

        Raises:
            BrainDiffusionError: no subject has a row.
        """
        without = [subject for subject in subjects if self.of(subject) is None]
        if subjects and len(without) == len(subjects):
            raise BrainDiffusionError(
                f"{self.source} has no row of any of the subjects: its ids are like "
                f"{next(iter(self.rows))}, and those of the volumes like {subjects[0]}.",
                field="table",
            )
        sentences = []
        if without:
            sentences.append(f"{listed(without)}: no row in {self.source}, so that {self.name} is unknown.")
        if self.unknown:
            sentences.append(f"{self.source} has {self.unknown} cells without a number: these entries are unknown.")
        return sentences


def read_vector_tables(paths: Sequence[Path]) -> list[VectorTable]:
    """Read several tables.

    Raises:
        BrainDiffusionError: as `read_vector_table`, or two tables have one name.
    """
    tables = [read_vector_table(path) for path in paths]
    names = [table.name for table in tables]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BrainDiffusionError(f"Two tables are named {twice[0]}: rename one of the files.", field="table")
    return tables


def read_vector_table(path: Path, read: Callable[[Path], Table] = read_table) -> VectorTable:
    """Read a table of numbers: `.tsv`, `.csv`, `.xls` or `.xlsx`, with a column of subject ids.

    All other columns are entries of the vector, but for a column of sessions: with one, a row is that of the session
    `ID_ses-SESSION`, and of the subject where it has no other session.

    Args:
        path: the table.
        read: reads it; the viewer takes `read_table_apart`.

    Raises:
        BrainDiffusionError: it cannot be read, has no ids, no numbers, a column of text, or two rows of one id.
    """
    path = Path(path)
    rows, columns = read(path)
    bases = {str(column): column_base(str(column)) for column in columns}
    identity = _first(bases, ID_COLUMNS)
    if identity is None:
        raise BrainDiffusionError(
            f"{path} has no column of subject ids: give it one named {ID_COLUMNS[0]}.", field="table"
        )
    session = _first(bases, SESSION_COLUMNS)
    entries = tuple(str(column) for column in columns if column not in (identity, session))
    rows = [row for row in rows if table_key(row[identity])]
    if not entries or not rows:
        raise BrainDiffusionError(f"{path} has no numbers: give it a row a subject and a column an entry.", "table")
    if len(set(entries)) < len(entries) or not all(0 < len(entry) <= 200 for entry in entries):
        raise BrainDiffusionError(
            f"{path} needs a name of its own, of at most 200 letters, for each column.", field="table"
        )
    numbers: dict[str, Row] = {}
    of_subject: dict[str, list[Row]] = {}
    for row in rows:
        key = table_key(row[identity])
        values = tuple(_number(row[entry], entry, key, path) for entry in entries)
        of_subject.setdefault(key, []).append(values)
        visit = session_key(row[session]) if session is not None else ""
        _put(numbers, f"{key}{SESSION}{visit}" if visit else key, values, path)
    alone = {key: several[0] for key, several in of_subject.items() if len(several) == 1 and key not in numbers}
    numbers |= alone  # the only session of a subject
    empty = [entry for entry, column in zip(entries, zip(*numbers.values(), strict=True), strict=True) if not any(
        value is not None for value in column
    )]  # fmt: skip
    if empty:
        raise BrainDiffusionError(f"The column '{empty[0]}' of {path} holds no number: remove it.", field="table")
    unknown = sum(value is None for several in of_subject.values() for values in several for value in values)
    return VectorTable(field_name(path), entries, numbers, path.name, unknown, frozenset(alone))


def field_name(path: Path) -> str:
    """Return the name of the condition that a file becomes: its own, without what follows the first dot.

    Raises:
        BrainDiffusionError: the name is taken, or is none that a command line can have.
    """
    name = re.sub(r"[\s.]+", "_", path.name.removesuffix(path.suffix))
    if name in RESERVED:
        raise BrainDiffusionError(f"{path.name} is named like another condition: rename the file.", field="table")
    if not _NAME.fullmatch(name):
        raise BrainDiffusionError(
            f"{path.name} cannot name a condition: rename the file to letters, digits, _ and -, a letter first.",
            field="table",
        )
    return name


def with_rows(schema: ConditionSchema, asked: Mapping[str, Value]) -> dict[str, Value]:
    """Return conditions in which the file of a table is replaced by the numbers of its row.

    Args:
        schema: of the model.
        asked: conditions; the value of a vector may be `TABLE` or `TABLE#ROW`.

    Raises:
        BrainDiffusionError: the table cannot be read, lacks the row or an entry, or has several rows and none is named.
    """
    vectors = {field.name: field for field in schema.fields if isinstance(field, VectorField)}
    return {name: _row(vectors[name], one) if name in vectors else one for name, one in asked.items()}


def row_names(path: Path) -> list[str]:
    """Return the ids of the rows of a table, which is read in a process of its own.

    Raises:
        BrainDiffusionError: as `read_vector_table`.
    """
    return list(read_vector_table(path, read_table_apart).rows)


def _row(field: VectorField, value: Value) -> Value:
    if not isinstance(value, str):
        return value
    name, mark, row = value.rpartition(ROW) if not value.lower().endswith(SUFFIXES) else (value, "", "")
    if not (name if mark else value).lower().endswith(SUFFIXES):
        return value  # numbers, which the schema checks
    path = Path(name)
    table = _cached(path, path.stat().st_mtime_ns if path.is_file() else 0)
    if lacking := [entry for entry in field.entries if entry not in table.entries]:
        raise BrainDiffusionError(
            f"{path} lacks the column '{lacking[0]}' of {field.name} ({len(lacking)} of {len(field.entries)} are "
            "missing): give a table with the columns of the training's."
        )
    if not mark and len(table.rows) > 1:
        example = next(iter(table.rows))
        raise BrainDiffusionError(
            f"{path} has {len(table.rows)} rows: name one, as in {field.name}={path.name}{ROW}{example}."
        )
    numbers = table.of(row) if mark else next(iter(table.rows.values()))
    if numbers is None:
        raise BrainDiffusionError(f"{path} has no row of {row}: its ids are like {next(iter(table.rows))}.")
    return tuple(numbers[table.entries.index(entry)] for entry in field.entries)


@lru_cache(4)
def _cached(path: Path, _changed: int) -> VectorTable:
    return read_vector_table(path)


def _first(bases: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((column for name in names for column, base in bases.items() if base == name), None)


def _put(numbers: dict[str, Row], key: str, values: Row, path: Path) -> None:
    if numbers.setdefault(key, values) != values:
        raise BrainDiffusionError(
            f"{path} has two rows of {key[:LONGEST]} that differ: keep one, or add a column session_id.", field="table"
        )


def _number(cell: object, entry: str, key: str, path: Path) -> float | None:
    key, shown = key[:LONGEST], str(cell)[:LONGEST]
    if str(cell).strip().lower() in UNKNOWN:
        return None
    try:
        number = float(str(cell))
    except ValueError:
        raise BrainDiffusionError(
            f"The column '{entry}' of {path} holds text ('{shown}' in the row of {key}): a vector condition "
            "is of numbers only, so remove the column.",
            field="table",
        ) from None
    if not np.isfinite(np.float32(number)):
        raise BrainDiffusionError(
            f"The column '{entry}' of {path} holds {shown} in the row of {key}, which is no finite number: correct it.",
            field="table",
        )
    return number
