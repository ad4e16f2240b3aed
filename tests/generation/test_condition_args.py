"""Words of the command line and of tables become a condition; each mistake is one sentence."""

from pathlib import Path

import pytest

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.condition_args import from_flags, from_table


def test_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("map.nii.gz").touch()
    flags = ["age = 63", "sex=F", "volumes.left hippocampus=90%", "volumes.brainstem=20", "regions=map.nii.gz"]
    assert from_flags(flags) == {
        "age": "63",
        "sex": "F",
        "volumes": {"left hippocampus": "90%", "brainstem": "20"},
        "regions": str(tmp_path / "map.nii.gz"),
    }


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["age"], "The condition 'age' is no FIELD=VALUE"),
        (["=63"], "is no FIELD=VALUE"),
        (["age="], "is no FIELD=VALUE"),
        (["age=63", "age=64"], "'age' is asked for twice"),
        (["volumes=3", "volumes.brainstem=3"], "'volumes.brainstem' is asked for twice"),
        (["volumes.brainstem=3", "volumes.brainstem=3"], "'volumes.brainstem' is asked for twice"),
    ],
)
def test_odd_flags_are_told(flags: list[str], told: str) -> None:
    with pytest.raises(BrainDiffusionError, match=told):
        from_flags(flags)


def test_a_table_has_a_row_a_sample(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "1.nii").touch()
    table = tmp_path / "cohort.csv"
    table.write_text("\ufeffage,sex,volumes.brainstem,regions\n63,F,,maps/1.nii\n,M,90%,\n", encoding="utf-8")
    rows = from_table(table)
    assert rows == [
        {"age": "63", "sex": "F", "regions": str(tmp_path / "maps" / "1.nii")},
        {"sex": "M", "volumes": {"brainstem": "90%"}},
    ]
    tabs = tmp_path / "cohort.tsv"
    tabs.write_text("age\tsex\n63\tF\n")
    assert from_table(tabs) == [{"age": "63", "sex": "F"}]
    table.write_text('\ufeff"age";sex\r\n"63";F\r\n;\r\n', encoding="utf-8")  # as a European Excel writes it
    assert from_table(table) == [{"age": "63", "sex": "F"}, {}]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has no rows"),
        ("age,sex\n", "has no rows"),
        ("age,sex\n63\n", "more or fewer cells"),
        ("age\n63,F\n", "more or fewer cells"),
        ("age;sex\n60;F;1\n", "more or fewer cells"),
        ("age,age\n60,61\n", "the column 'age' twice"),
        ('age,sex\n"60"1,F\n', "cannot be read"),
    ],
)
def test_odd_tables_are_told(tmp_path: Path, text: str, told: str) -> None:
    table = tmp_path / "cohort.csv"
    table.write_text(text)
    with pytest.raises(BrainDiffusionError, match=told):
        from_table(table)
    with pytest.raises(BrainDiffusionError, match="cannot be read"):
        from_table(tmp_path / "none.csv")
    with pytest.raises(BrainDiffusionError, match="workbook: save its sheet"):
        from_table(tmp_path / "cohort.xlsx")
