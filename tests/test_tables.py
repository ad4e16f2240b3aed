"""Tables of others: the same content from every format, bounded, and no crash of the process that asks."""

import subprocess
import sys
import zipfile
from pathlib import Path

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from braindiffusion import tables
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import samples_dir
from braindiffusion.runs import InspectRequest
from braindiffusion.tables import read_table, read_table_apart
from napari_braindiffusion.io.folder import list_folder

ROWS = [("participant_id", "age", "sex"), ("sub-01", 30.5, "F"), ("sub-02", 41, None)]


def workbook(path: Path, cells: dict[tuple[int, int], object]) -> Path:
    book = openpyxl.Workbook()
    for (row, column), value in cells.items():
        book.active.cell(row, column, value)  # type: ignore[union-attr]
    book.save(path)
    return path


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    cells = {(i, j): value for i, row in enumerate(ROWS, 1) for j, value in enumerate(row, 1)}
    return workbook(tmp_path / "people.xlsx", cells)


def test_a_workbook_and_a_text_file(sheet: Path, tmp_path: Path) -> None:
    rows, columns = read_table(sheet)
    assert columns == list(ROWS[0])
    assert rows[0] == {"participant_id": "sub-01", "age": 30.5, "sex": "F"}
    assert rows[1]["sex"] != rows[1]["sex"], "an empty cell is NaN"
    for name, separator in (("p.tsv", "\t"), ("p.csv", ","), ("q.csv", ";")):
        text = "\ufeff" + "\n".join(separator.join("" if cell is None else str(cell) for cell in row) for row in ROWS)
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert read_table(tmp_path / name) == (
            [
                {"participant_id": "sub-01", "age": "30.5", "sex": "F"},
                {"participant_id": "sub-02", "age": "41", "sex": ""},
            ],
            list(ROWS[0]),
        )


def test_a_table_is_read_in_a_process_of_its_own(sheet: Path, tmp_path: Path) -> None:
    rows, columns = read_table_apart(sheet)
    assert (rows[0], columns) == (read_table(sheet)[0][0], list(ROWS[0]))
    with pytest.raises(BrainDiffusionError, match="no table at"):
        read_table_apart(tmp_path / "absent.tsv")


@pytest.mark.parametrize("end", ["raise SystemExit(3)", "import os; os.abort()", "print('no json')"])
def test_a_process_that_ends_is_one_sentence(sheet: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    run = subprocess.run
    monkeypatch.setattr(tables.subprocess, "run", lambda command, **how: run([sys.executable, "-c", end], **how))
    with pytest.raises(BrainDiffusionError, match="cannot be read"):
        read_table_apart(sheet)


def test_the_cohort_dock_outlives_a_table_that_ends_its_reader(sheet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = subprocess.run
    command = [sys.executable, "-c", "import os; os.abort()"]
    monkeypatch.setattr(tables.subprocess, "run", lambda _, **how: run(command, **how))
    listing = list_folder(3, InspectRequest(data_dir=samples_dir() / "IXI-T1", participants=sheet))
    assert listing.number == 3
    assert "people.xlsx cannot be read" in listing.error


def test_a_cell_in_the_far_corner_is_told(tmp_path: Path) -> None:
    path = workbook(tmp_path / "far.xlsx", {(1, 1): "participant_id", (1048576, 16384): "x"})
    assert path.stat().st_size < 10_000
    with pytest.raises(BrainDiffusionError, match="beyond row"):
        read_table(path)


def test_a_workbook_that_unpacks_to_far_more_is_not_unpacked(sheet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(sheet, "a", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("xl/more.xml", b" " * 5_000_000)
    monkeypatch.setattr(tables, "MOST_BYTES", 4_000_000)
    with pytest.raises(BrainDiffusionError, match="unpacks to more"):
        read_table(sheet)


def test_rows_and_columns_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_ROWS", 10)
    (tmp_path / "long.tsv").write_text("id\n" + "x\n" * 12)
    (tmp_path / "wide.csv").write_text(",".join("id" for _ in range(3000)) + "\n")
    with pytest.raises(BrainDiffusionError, match="more than 10 rows"):
        read_table(tmp_path / "long.tsv")
    with pytest.raises(BrainDiffusionError, match="2000 columns"):
        read_table(tmp_path / "wide.csv")


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_workbooks_are_read_or_told(sheet: Path, data: st.DataObject) -> None:
    content = bytearray(sheet.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=8)):
        content[at] = data.draw(st.integers(0, 255))
    path = sheet.with_name("damaged.xlsx")
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    try:
        read_table(path)
    except BrainDiffusionError as error:
        assert "damaged.xlsx" in str(error)  # noqa: PT017 either is right
