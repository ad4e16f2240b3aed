from pathlib import Path

import pytest

from braindiffusion.cohort.demographics import Person, read_demographics
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import SUBJECTS, sample_participants_path


def table(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_ixi_sheet(shared_data: Path) -> None:
    people = read_demographics(shared_data / "ixi-2mm" / "IXI.xls")
    assert people.of("IXI012-HH-1211").age == pytest.approx(38.78, abs=0.01)
    assert people.of("IXI012-HH-1211").sex == "M"
    # Two rows that agree, two with different ages, two with different ages and sexes, none with an age.
    assert people.of("IXI237-Guys-1049") == Person(78.2, "F")
    assert people.of("IXI219-Guys-0894") == Person(None, "F", "age unknown, the table says 53.08 and 58.07")
    assert people.of("IXI328-Guys-0889").problem == (
        "age unknown, the table says 61.79 and 62.08; sex unknown, the table says F and M"
    )
    assert people.of("IXI001-HH-0000") == Person(None, "M", "age unknown")
    assert people.of("IXI9999-HH-0000").problem == "not in IXI.xls"


def test_the_two_tables_of_ixi_agree(shared_data: Path) -> None:
    sheet = read_demographics(shared_data / "ixi-2mm" / "IXI.xls")
    participants = read_demographics(shared_data / "ixi-2mm" / "participants.tsv")
    compared = 0
    for subject, person in participants.people.items():
        if person.age is not None and sheet.of(subject).age is not None:
            assert sheet.of(subject).age == pytest.approx(person.age, abs=0.011)
            assert sheet.of(subject).sex == person.sex
            compared += 1
    assert compared > 140


def test_bids_participants(shared_data: Path) -> None:
    people = read_demographics(shared_data / "ds002748" / "participants.tsv")
    assert people.of("sub-01") == Person(39, "M")
    assert people.of("sub-01_ses-2") == Person(39, "M")


def test_packaged_participants() -> None:
    people = read_demographics(sample_participants_path())
    ages = [people.of(subject).age for subject in SUBJECTS]
    assert None not in ages
    assert ages == sorted(ages)
    assert sorted(people.of(subject).sex or "" for subject in SUBJECTS) == ["F"] * 3 + ["M"] * 3


@pytest.mark.parametrize(
    ("written", "sex"), [("M", "M"), ("f", "F"), ("male", "M"), ("Female", "F"), ("1", "M"), ("2", "F"), ("?", None)]
)
def test_words_for_sex(tmp_path: Path, written: str, sex: str | None) -> None:
    people = read_demographics(table(tmp_path / "p.csv", f"Subject,Age,Gender\na,30,{written}\nb,n/a,F\n"))
    assert people.of("a").sex == sex


def test_rows_of_one_id_complete_each_other(tmp_path: Path) -> None:
    people = read_demographics(table(tmp_path / "p.tsv", "participant_id\tage\tsex\nsub-1\t30.5\tn/a\nsub-1\tn/a\tF\n"))
    assert people.of("sub-1") == Person(30.5, "F")


@pytest.mark.parametrize("age", ["0", "-1", "999", "old", ""])
def test_impossible_ages_are_unknown(tmp_path: Path, age: str) -> None:
    assert read_demographics(table(tmp_path / "p.tsv", f"id\tage\tsex\na\t{age}\tM\n")).of("a") == Person(
        None, "M", "age unknown"
    )


def test_problems_are_told_of_the_subjects_asked_for_only(tmp_path: Path) -> None:
    rows = "".join(f"s{i}\tn/a\tM\n" for i in range(9)) + "t\t20\tF\n"
    people = read_demographics(table(tmp_path / "p.tsv", "id\tage\tsex\n" + rows))
    assert people.problems(["t"]) == []
    assert people.problems(["t", "s1", "u"]) == ["s1: age unknown.", "u: not in p.tsv."]
    assert people.problems(f"s{i}" for i in range(9)) == ["s0, s1, s2, s3, s4 and 4 more: age unknown."]


def test_unreadable_tables(tmp_path: Path) -> None:
    with pytest.raises(BrainDiffusionError, match="no table at"):
        read_demographics(tmp_path / "absent.tsv")
    with pytest.raises(BrainDiffusionError, match="no column of subject ids: it has name, age"):
        read_demographics(table(tmp_path / "p.csv", "name,age\na,3\n"))
    with pytest.raises(BrainDiffusionError, match=r"bad\.xls cannot be read"):
        read_demographics(table(tmp_path / "bad.xls", "no sheet"))
    with pytest.raises(BrainDiffusionError, match=r"empty\.csv cannot be read"):
        read_demographics(table(tmp_path / "empty.csv", ""))


def test_sites_are_read_and_an_unknown_one_is_no_problem(tmp_path: Path) -> None:
    text = "participant_id\tage\tsex\tsite\nsub-1\t30\tF\tGuys\nsub-2\t31\tM\tn/a\nsub-3\t32\tM\t3\n"
    people = read_demographics(table(tmp_path / "people.tsv", text))
    assert [people.of(f"sub-{i}").site for i in (1, 2, 3)] == ["Guys", None, "3"]
    assert not people.problems(["sub-1", "sub-2", "sub-3"])
    two = table(tmp_path / "two.tsv", "id\tage\tsex\tsite\n1\t30\tF\tA\n1\t30\tF\tB\n")
    assert read_demographics(two).of("1").problem == "site unknown, the table says A and B"
