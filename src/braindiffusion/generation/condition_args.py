"""Conditions given in words, `--condition age=63` and tables, as the plain data of a request. Needs no torch."""

import csv
from collections.abc import Iterable
from pathlib import Path

from braindiffusion.conditions import Value
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.tables import SHEETS, lines_of_text

ConditionArgs = dict[str, Value]


def from_flags(flags: Iterable[str]) -> ConditionArgs:
    """`["age=63", "volumes.brainstem=90%"]` as `{"age": "63", "volumes": {"brainstem": "90%"}}`.

    Numbers stay words until the model's schema reads them. Paths of files become absolute.

    Raises:
        BrainDiffusionError: a flag is no FIELD=VALUE, or a field is asked for twice.
    """
    pairs = []
    for flag in flags:
        name, equals, value = (part.strip() for part in flag.partition("="))
        if not (name and equals and value):
            msg = f"The condition '{flag}' is no FIELD=VALUE, such as age=63 or 'volumes.left hippocampus=90%'."
            raise BrainDiffusionError(msg, field="condition")
        pairs.append((name, _absolute(value)))
    return _nested(pairs)


def from_table(path: Path) -> list[ConditionArgs]:
    """One condition for each row of a table; an empty cell is no condition, and an empty line is skipped.

    Args:
        path: table of text, with tabs, commas or semicolons. Columns are fields, and entries of vectors as
            `volumes.left hippocampus`; label maps are paths, from the table's folder.

    Raises:
        BrainDiffusionError: it cannot be read, is a workbook, has no rows, has a column twice, or has a row of another
            number of cells.
    """
    if path.suffix.lower() in SHEETS:
        raise BrainDiffusionError(f"The table {path} is a workbook: save its sheet as .csv.")
    try:
        header, *rows = [*lines_of_text(path.read_bytes(), strict=True)] or [[]]
    except (OSError, ValueError, csv.Error) as error:
        raise BrainDiffusionError(f"The table {path} cannot be read ({error}).") from error
    if not rows:
        raise BrainDiffusionError(f"The table {path} has no rows: give it a line of column names and a line a sample.")
    if twice := next((name for name in header if header.count(name) > 1), None):
        raise BrainDiffusionError(f"The table {path} has the column '{twice}' twice: leave one out.")
    if any(len(row) != len(header) for row in rows):
        raise BrainDiffusionError(f"The table {path} has a row with more or fewer cells than it has columns.")
    pairs = (zip(header, row, strict=True) for row in rows)
    return [_nested((name, _absolute(cell, path.parent)) for name, cell in row if cell) for row in pairs]


def _absolute(value: str, folder: Path = Path()) -> str:
    """Return the path of a file, with the row that may be named behind it, in full; any other word as it is."""
    file, mark, row = value.rpartition("#")
    if mark and (folder / file).is_file():
        return f"{(folder / file).absolute()}#{row}"
    return str((folder / value).absolute()) if (folder / value).is_file() else value


def _nested(pairs: Iterable[tuple[str, str]]) -> ConditionArgs:
    asked: ConditionArgs = {}
    for name, value in pairs:
        field, dot, entry = name.partition(".")
        inner = asked.setdefault(field, {}) if dot else asked
        if not isinstance(inner, dict) or (entry if dot else field) in inner:
            raise BrainDiffusionError(f"'{name}' is asked for twice.")
        inner[entry if dot else field] = value
    return asked
