"""`braindiffusion inspect`: a table, or JSON, and the exit status that `prepare` has."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from braindiffusion.cli import app
from braindiffusion.example_data import SUBJECTS, sample_t1_path


@pytest.fixture
def folder(tmp_path: Path, tmp_runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "200")
    folder = tmp_path / "brains"
    folder.mkdir()
    shutil.copy(sample_t1_path(), folder)
    return folder


def inspect(*words: object) -> Result:
    return CliRunner().invoke(app, ["inspect", *map(str, words)])


@pytest.mark.parametrize("columns", ["200", "60"])
def test_a_table_of_who_is_there(folder: Path, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    result = inspect(folder)
    assert result.exit_code == 0
    assert SUBJECTS[0] in result.stdout
    assert columns == "60" or "2 x 2 x 2" in result.stdout
    assert "there is no table of participants" in result.stderr


def test_what_cannot_be_used_ends_in_3_and_programs_read_json(folder: Path) -> None:
    (folder / "IXI999-HH-9999-T1.nii.gz").write_bytes(b"no volume")
    result = inspect(folder, "--json")
    assert result.exit_code == 3
    good, bad = json.loads(result.stdout)
    assert good["marks"] == []
    assert Path(good["thumbnail"]).is_file()
    assert (bad["subject"], bad["marks"][0]["severity"]) == ("IXI999-HH-9999", "problem")
    result = inspect(folder)
    assert result.exit_code == 3
    assert "problem: " in result.stdout


def test_nothing_there_ends_in_1(tmp_path: Path, tmp_runs: Path) -> None:
    result = inspect(tmp_path)
    assert result.exit_code == 1
    assert "There are no T1 volumes" in result.stderr
