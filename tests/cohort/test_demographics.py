import json
from pathlib import Path

import pytest

from braindiffusion.cohort.demographics import Person, demographics_of, find_participants, read_demographics
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


def test_a_column_counts_by_its_whole_name(tmp_path: Path) -> None:
    onset = table(
        tmp_path / "onset.tsv", "id\tage of onset\tage\tsex of sibling\tsex\na\t45\t60\tF\tM\nb\t50\t70\tM\tF\n"
    )
    people = read_demographics(onset)
    assert (people.of("a"), people.of("b")) == (Person(60, "M"), Person(70, "F"))
    assert people.notes == ()
    mother = table(tmp_path / "mother.csv", "ID of mother,ID,Age,Sex\nb,a,60,M\na,b,70,F\n")
    assert read_demographics(mother).of("a") == Person(60, "M")
    only_onset = table(tmp_path / "only.tsv", "id\tage of onset\na\t45\n")
    assert read_demographics(only_onset).of("a").age is None


def test_two_columns_of_one_meaning_are_told(tmp_path: Path) -> None:
    text = "participant_id\tAge (months)\tage\tgender\tsex\ta\nx\t720\t61\tF\tM\n"
    people = read_demographics(table(tmp_path / "p.tsv", text))
    assert people.of("x") == Person(61, "M")
    assert people.problems(["x"]) == [
        "p.tsv has 2 columns of ages (age, Age (months)): the first is used.",
        "p.tsv has 2 columns of sexes (sex, gender): the first is used.",
    ]


@pytest.mark.parametrize(
    ("column", "units", "years"),
    [
        ("Age (months)", None, 2.0),
        ("age_in_months", None, 2.0),
        ("Age at scan [days]", None, 24 / 365.25),
        ("age", "months", 2.0),
        ("age", "Weeks", 24 * 7 / 365.25),
        ("Age (years)", "year", 24.0),
        ("age", "a", 24.0),
    ],
)
def test_ages_become_years(tmp_path: Path, column: str, units: str | None, years: float) -> None:
    people = table(tmp_path / "p.tsv", f"participant_id\t{column}\nsub-1\t24\n")
    if units is not None:
        table(tmp_path / "p.json", json.dumps({column: {"Units": units}}))
    assert read_demographics(people).of("sub-1").age == pytest.approx(years, abs=0.005)


@pytest.mark.parametrize(("column", "units"), [("age", "decades"), ("age (months)", "years")])
def test_ages_of_an_unknown_unit_are_left_out_and_told(tmp_path: Path, column: str, units: str) -> None:
    table(tmp_path / "p.json", json.dumps({column: {"Units": units}}))
    people = read_demographics(table(tmp_path / "p.tsv", f"id\t{column}\na\t24\n"))
    assert people.of("a").age is None
    assert "are left out" in people.notes[0]
    assert units in people.notes[0]


@pytest.mark.parametrize(
    ("header", "levels", "sexes"),
    [
        ("sex", {"1": "female", "2": "male"}, ("F", "M")),
        ("sex", {"1": {"Description": "Female participant"}, "2": {"Description": "Male participant"}}, ("F", "M")),
        ("sex (1=f, 2=m)", None, ("F", "M")),
        ("sex", None, ("M", "F")),
    ],
)
def test_the_key_of_sexes(
    tmp_path: Path, header: str, levels: dict[str, object] | None, sexes: tuple[str, str]
) -> None:
    if levels is not None:
        table(tmp_path / "p.json", json.dumps({"sex": {"Levels": levels}}))
    people = read_demographics(table(tmp_path / "p.tsv", f"id\t{header}\na\t1\nb\t2\n"))
    assert (people.of("a").sex, people.of("b").sex) == sexes


def test_numbers_for_sex_without_a_key_are_told(tmp_path: Path) -> None:
    people = read_demographics(table(tmp_path / "p.tsv", "id\tsex\na\t1\nb\t0\n"))
    assert people.of("a").sex is None
    assert "numbers without a key" in people.notes[0]


def test_a_description_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    table(tmp_path / "p.json", '{"age": ')
    people = read_demographics(table(tmp_path / "p.tsv", "id\tage\na\t24\n"))
    assert people.of("a").age == 24
    assert people.notes == ("p.json cannot be read (JSONDecodeError), so that p.tsv is taken without it.",)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings_and_trailing_tabs(tmp_path: Path, encoding: str, end: str) -> None:
    lines = ["participant_id\tage\tsex\tnote", "sub-1\t30\tF\tKöln\t\t", "sub-2\t40\tM", ""]
    path = tmp_path / "p.tsv"
    path.write_bytes(end.join(lines).encode(encoding))
    people = read_demographics(path)
    assert (people.of("sub-1"), people.of("sub-2")) == (Person(30, "F"), Person(40, "M"))


def test_separators_and_decimal_commas(tmp_path: Path) -> None:
    people = read_demographics(table(tmp_path / "p.csv", 'id;age;sex\na;30,5;F\n"b";"40";M\n'))
    assert (people.of("a"), people.of("b")) == (Person(30.5, "F"), Person(40, "M"))


def test_a_row_with_more_cells_than_the_header(tmp_path: Path) -> None:
    with pytest.raises(BrainDiffusionError, match="row 3 has 4 cells, and the header 3"):
        read_demographics(table(tmp_path / "p.tsv", "id\tage\tsex\na\t30\tF\nb\tx\t40\tM\n"))


def test_rows_of_sessions(tmp_path: Path) -> None:
    text = "participant_id\tsession_id\tage\tsex\nsub-1\tses-a\t30\tF\nsub-1\tses-b\t32\tF\nsub-2\tb\t50\tM\n"
    people = read_demographics(table(tmp_path / "p.tsv", text))
    assert people.of("sub-1_ses-a") == Person(30, "F")
    assert people.of("sub-1_ses-b") == Person(32, "F")
    assert people.of("sub-2_ses-b") == people.of("sub-2") == Person(50, "M")
    assert people.of("sub-1").age is None
    assert "the table says 30.0 and 32.0" in people.of("sub-1").problem


@pytest.mark.parametrize("sessions", [("01", "02"), ("1", "2"), ("ses-01", "ses-02"), ("pre", "post")])
def test_a_session_never_gets_the_age_of_another(tmp_path: Path, sessions: tuple[str, str]) -> None:
    first, second = (one.removeprefix("ses-") for one in sessions)
    text = f"participant_id\tsession_id\tage\tsex\tsite\nsub-1\t{sessions[0]}\t30\tF\tA\nsub-2\tn/a\t40\tM\tB\n"
    people = read_demographics(table(tmp_path / "p.tsv", text))
    assert people.of(f"sub-1_ses-{first}") == people.of("sub-1") == Person(30, "F", site="A")
    other = people.of(f"sub-1_ses-{second}")
    assert (other.age, other.sex, other.site) == (None, "F", None)
    assert people.problems([f"sub-1_ses-{second}"]) == [
        f"sub-1_ses-{second}: age unknown, the table has other sessions."
    ]
    assert people.of("sub-2_ses-1") == Person(40, "M", site="B")  # whatever the session


def test_a_table_is_found_by_itself(tmp_path: Path) -> None:
    scans = tmp_path / "study" / "scans"
    scans.mkdir(parents=True)
    assert demographics_of(scans, None, ["sub-1"]).people == {}
    beside = table(scans.parent / "participants.tsv", "participant_id\tage\nsub-1\t30\n")
    assert find_participants(scans) == beside
    assert demographics_of(scans, None, ["sub-1", "sub-2"]).of("sub-1").age == 30
    assert demographics_of(scans, None, ["sub-7"]).source == ""  # the table of other people
    table(scans / "participants.tsv", "participant_id\tage\nsub-1\t31\n")
    assert demographics_of(scans, None, ["sub-1"]).of("sub-1").age == 31
    assert demographics_of(scans, beside, ["sub-1"]).of("sub-1").age == 30
