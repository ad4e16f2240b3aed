"""Tables of others, read with bounds: rows, columns and bytes. In no way does a table end the process that reads it."""

import io
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from braindiffusion.errors import BrainDiffusionError

SHEETS = (".xls", ".xlsx")
MOST_ROWS, MOST_COLUMNS = 200_000, 2_000
MOST_BYTES = 64 << 20
"""Of the file; of a workbook, of what it holds when it is unpacked."""


def read_table(path: Path) -> tuple[list[dict[Any, Any]], list[Any]]:
    """Read a `.tsv`, `.csv`, `.xls` or `.xlsx` table: of a workbook the first sheet.

    Args:
        path: the file.

    Returns:
        A dictionary for each row, and the names of the columns. Cells of text files are strings; those of workbooks are
        strings, numbers, dates, or NaN where they are empty.

    Raises:
        BrainDiffusionError: there is no file, it cannot be read, or it is larger than any table of participants.
    """
    import pandas as pd

    path, suffix = Path(path), Path(path).suffix.lower()
    if not path.is_file():
        raise BrainDiffusionError(f"There is no table at {path}.")
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            raise ValueError(f"it has {size >> 20} MB, and {MOST_BYTES >> 20} MB are the most")
        if suffix in SHEETS:
            rows = [*islice(_old_sheet(path) if suffix == ".xls" else _sheet(path), MOST_ROWS + 2)]
            rows = [row for row in rows if any(value is not None for value in row)]
            header, *body = rows or [()]
            width = max((len(row) for row in rows), default=0)
            names = [
                f"column {n + 1}" if name is None else name for n, name in enumerate((*header, *[None] * width)[:width])
            ]
            frame = pd.DataFrame([[*row, *[None] * (width - len(row))] for row in body], columns=names)
            frame = frame.astype(object).where(frame.notna(), float("nan"))
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:
                text = file.read()
            _check_columns(max(text.splitlines()[:1] or [""], key=len))
            separator = "\t" if suffix == ".tsv" else None
            frame = pd.read_csv(
                io.StringIO(text), sep=separator, engine="python", dtype=str, keep_default_na=False, nrows=MOST_ROWS + 1
            )
        if len(frame) > MOST_ROWS:
            raise ValueError(f"it has more than {MOST_ROWS} rows")
    except Exception as error:  # the readers raise what they like on damaged files
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        msg = f"The table {path} cannot be read ({detail}): give a .tsv, .csv, .xls or .xlsx file."
        raise BrainDiffusionError(msg) from error
    return frame.to_dict(orient="records"), list(frame.columns)


def _check_columns(header: str) -> None:
    if max(header.count(mark) for mark in "\t,;") >= MOST_COLUMNS:
        raise ValueError(f"it has more than {MOST_COLUMNS} columns")


def _sheet(path: Path) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of the first sheet of an `.xlsx`, read one after the other."""
    import openpyxl

    with zipfile.ZipFile(path) as parts:
        if sum(part.file_size for part in parts.infolist()) > MOST_BYTES:
            raise ValueError(f"it unpacks to more than {MOST_BYTES >> 20} MB")
    book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    try:
        sheet = book.worksheets[0]
        if (sheet.max_row or 0) > MOST_ROWS + 1 or (sheet.max_column or 0) > MOST_COLUMNS:
            raise ValueError(f"it has cells beyond row {MOST_ROWS} or column {MOST_COLUMNS}")
        yield from sheet.iter_rows(max_row=MOST_ROWS + 2, max_col=MOST_COLUMNS, values_only=True)
    finally:
        book.close()


def _old_sheet(path: Path) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of the first sheet of an `.xls`."""
    import xlrd

    with xlrd.open_workbook(path, logfile=io.StringIO(), on_demand=True) as book:
        sheet = book.sheet_by_index(0)
        if sheet.nrows > MOST_ROWS + 1 or sheet.ncols > MOST_COLUMNS:
            raise ValueError(f"it has more than {MOST_ROWS} rows or {MOST_COLUMNS} columns")
        for number in range(sheet.nrows):
            yield tuple(_old_cell(one, book.datemode) for one in sheet.row(number))


def _old_cell(one: Any, datemode: int) -> Any:
    import xlrd

    if one.ctype in (xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK, xlrd.XL_CELL_ERROR) or one.value == "":
        return None
    return xlrd.xldate_as_datetime(one.value, datemode) if one.ctype == xlrd.XL_CELL_DATE else one.value
