"""Tables of others, read with bounds of rows, columns and bytes; for the viewer, in a process of their own."""

import codecs
import csv
import io
import json
import subprocess
import sys
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

UNKNOWN = "n/a"
"""A cell whose value is not known, as BIDS has it."""

Table = tuple[list[dict[Any, Any]], list[Any]]
"""A dictionary for each row, and the names of the columns."""
SECONDS = 120.0
"""Time that a table may take in a process of its own."""


def read_table(path: Path) -> Table:
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
            rows = [row for row in rows if row]
            header, *body = rows or [()]
            width = max(map(len, rows), default=0)
            names = [str(name or f"column {n}") for n, name in enumerate([*header, *[None] * (width - len(header))], 1)]
            frame = pd.DataFrame([[*row, *[None] * (width - len(row))] for row in body], columns=names)
            frame = frame.astype(object).where(frame.notna(), float("nan"))
            records, columns = frame.to_dict(orient="records"), list(frame.columns)
        else:
            records, columns = _read_text(path.read_bytes())
        if len(records) > MOST_ROWS:
            raise ValueError(f"it has more than {MOST_ROWS} rows")
    except Exception as error:  # the readers raise what they like on damaged files
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        msg = f"The table {path} cannot be read ({detail}): give a .tsv, .csv, .xls or .xlsx file."
        raise BrainDiffusionError(msg) from error
    return records, columns


def read_table_apart(path: Path) -> Table:
    """Read a table in a process of its own: whatever it does to that process, this one goes on.

    Args:
        path: as of `read_table`.

    Returns:
        As `read_table`; dates are strings.

    Raises:
        BrainDiffusionError: as `read_table`, or reading it takes too long or ends the process.
    """
    command = [sys.executable, "-m", __name__, str(Path(path).absolute())]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, stdin=subprocess.DEVNULL, check=False)
        rows, columns, problem = json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise BrainDiffusionError(
            f"The table {path} takes more than {SECONDS:.0f} s to read: give a smaller one."
        ) from error
    except ValueError as error:
        raise BrainDiffusionError(f"The table {path} cannot be read: it is damaged, or too large.") from error
    if problem:
        raise BrainDiffusionError(problem)
    return [dict(zip(columns, row, strict=True)) for row in rows], columns


def main(path: str) -> None:
    """Print a table as JSON for `read_table_apart`: rows, columns, and what is wrong."""
    try:
        rows, columns = read_table(Path(path))
        result: list[Any] = [[[row[name] for name in columns] for row in rows], columns, ""]
    except BrainDiffusionError as error:
        result = [[], [], str(error)]
    sys.stdout.write(json.dumps(result, default=str))


def _read_text(content: bytes) -> Table:
    """Read a table of text, see `lines_of_text`.

    Empty cells at the ends of rows are ignored, whether or not the header has a name for them.

    Raises:
        ValueError: it is empty, is no text, or a row has more cells than the header.
    """
    lines = [*islice((line for line in lines_of_text(content) if any(line)), MOST_ROWS + 2)]
    if not lines:
        raise ValueError("it is empty")
    header, *others = lines
    while header and not header[-1]:
        header.pop()
    rows: list[dict[Any, Any]] = []
    for number, line in enumerate(others, start=2):
        if any(line[len(header) :]):
            raise ValueError(f"row {number} has {len(line)} cells, and the header {len(header)}")
        pairs = zip(header, [*line, *[""] * len(header)], strict=False)
        rows.append(dict(reversed(list(pairs))))  # of two columns of one name the first counts
    return rows, header


def lines_of_text(content: bytes, *, strict: bool = False) -> Iterator[list[str]]:
    """Yield the cells of each line of a table of text that is not empty, without spaces around them.

    Args:
        content: of the file: with tabs, commas or semicolons, with or without a byte order mark.
        strict: whether quotation marks that do not match are an error.

    Raises:
        ValueError: it is no text, or has too many columns.
        csv.Error: it cannot be taken apart.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = content.decode("utf-16")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("latin-1")
    first = next((line for line in text.splitlines() if line.strip()), "")
    _check_columns(first)
    delimiter = max("\t,;", key=first.count)
    delimiter = delimiter if delimiter in first else ","  # one column
    for line in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=strict):
        if line:
            yield [cell.strip() for cell in line]


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
        for row in sheet.iter_rows(max_row=MOST_ROWS + 2, max_col=MOST_COLUMNS, values_only=True):
            yield _without_end(row)
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
            yield _without_end(tuple(_old_cell(one, book.datemode) for one in sheet.row(number)))


def _without_end(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row without the empty cells at its end."""
    return row[: next((n for n in range(len(row), 0, -1) if row[n - 1] is not None), 0)]


def _old_cell(one: Any, datemode: int) -> Any:
    import xlrd

    if one.ctype in (xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK, xlrd.XL_CELL_ERROR) or one.value == "":
        return None
    return xlrd.xldate_as_datetime(one.value, datemode) if one.ctype == xlrd.XL_CELL_DATE else one.value


if __name__ == "__main__":
    main(sys.argv[1])
