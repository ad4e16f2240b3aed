"""Age, sex and site of subjects, from IXI's own sheet or from a participants table."""

import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs.durations import listed
from braindiffusion.tables import Table, read_table

TABLES = ("participants.tsv", "participants.csv", "IXI.xls")
"""Names of tables that are found by themselves, in a folder of volumes or beside it."""

ID_COLUMNS = ("participant_id", "ixi_id", "subject_id", "subject", "id", "sub", "participant")
SESSION_COLUMNS = ("session_id", "session")
SESSION = "_ses-"
"""Between the id of a person and that of a session."""
_VISIT = "scan|mri|visit|session|baseline|imaging|acquisition|exam|examination|test|study|enrollment|enrolment"
_AGE_COLUMN = re.compile(rf"age(?:_at_(?:the_)?(?:{_VISIT}))?(?:_in)?(?:_(?P<unit>[a-z]+))?")
_SEX_COLUMNS = ("sex", "gender", "sex_id", "sex_at_birth", "biological_sex")
_SITE_COLUMNS = ("site", "center", "centre", "scanner")
_SEX = {"m": "M", "male": "M", "1": "M", "f": "F", "female": "F", "2": "F", "w": "F"}
_SEX_WORDS = {"male": "M", "m": "M", "man": "M", "boy": "M"} | dict.fromkeys(("female", "f", "w", "woman", "girl"), "F")
_YEARS = {
    **dict.fromkeys(("year", "years", "yr", "yrs", "y", "a"), 1.0),
    **dict.fromkeys(("month", "months", "mo", "mos"), 1 / 12),
    **dict.fromkeys(("week", "weeks", "wk", "wks"), 7 / 365.25),
    **dict.fromkeys(("day", "days", "d"), 1 / 365.25),
}
"""Years in each unit of age."""
NOTHING = ("", "n/a", "na", "nan", "none")
"""Cells that say nothing, in small letters."""
OTHER_SESSIONS = "age unknown, the table has other sessions"
"""Problem of a session that a table does not have."""
_BRACKETS = re.compile(r"[(\[](.*?)[)\]]")


@dataclass(frozen=True)
class Person:
    """Age, sex and site of a person.

    Attributes:
        age: years, None if unknown.
        sex: `M` or `F`, None if unknown.
        problem: sentence part on what is odd; empty if nothing is.
        site: where the person was scanned, None if the table does not tell.
    """

    age: float | None = None
    sex: str | None = None
    problem: str = ""
    site: str | None = None


class Demographics:
    """A participants table, to be asked by subject.

    Args:
        people: persons by id, as `read_demographics` reads it.
        source: name of the file.
        notes: sentences about the table as a whole, such as two columns of ages.
        by_session: ids of persons with rows of sessions: what these say of age and site holds for no other session.
    """

    def __init__(
        self,
        people: dict[str, Person] | None = None,
        source: str = "",
        notes: Sequence[str] = (),
        by_session: Collection[str] = (),
    ) -> None:
        self.people = people or {}
        self._by_session = by_session
        self.source = source
        self.notes = tuple(notes)

    def of(self, subject: str) -> Person:
        """Return age, sex and site of a subject. IXI's numbers and BIDS ids with or without `sub-` are understood."""
        for key in id_keys(subject):
            if key in self.people:
                person = self.people[key]
                other = SESSION in subject and SESSION not in key and key in self._by_session
                return replace(person, age=None, site=None, problem=OTHER_SESSIONS) if other else person
        return Person(problem=f"not in {self.source}" if self.source else "")

    def problems(self, subjects: Iterable[str]) -> list[str]:
        """Return the notes, and one sentence for each kind of problem among these subjects."""
        kinds: dict[str, list[str]] = defaultdict(list)
        for subject in subjects:
            if problem := self.of(subject).problem:
                kinds[problem].append(subject)
        return [*self.notes, *(f"{listed(who)}: {problem}." for problem, who in kinds.items())]


def find_participants(folder: Path) -> Path | None:
    """Return the participants table in a folder of volumes or beside it; None where there is none."""
    candidates = (place / name for place in (folder, folder.absolute().parent) for name in TABLES)
    return next((path for path in candidates if path.is_file()), None)


def demographics_of(folder: Path, table: Path | None, subjects: Sequence[str]) -> Demographics:
    """Return the demographics of a folder of volumes, from a table or from the one that is found by itself.

    Args:
        folder: the volumes.
        table: the table; None searches one. One that is found counts only if it knows one of the subjects.
        subjects: ids.

    Raises:
        BrainDiffusionError: as `read_demographics`.
    """
    if table is not None:
        return read_demographics(table)
    if (found := find_participants(folder)) is None:
        return Demographics()
    people = read_demographics(found)
    return people if any(key in people.people for subject in subjects for key in id_keys(subject)) else Demographics()


def read_demographics(path: Path, read: Callable[[Path], Table] = read_table) -> Demographics:
    """Read `IXI.xls`, or a `.tsv`, `.csv`, `.xls` or `.xlsx` table with columns for id, age, sex and site.

    A column counts by its whole name, of which brackets hold a unit or a key: `Age (months)`, `SEX_ID (1=m, 2=f)`. The
    JSON file of BIDS beside a table (`participants.json`) may give the unit of ages and the levels of sexes. Ages
    become years. Rows of one id complete each other. Where they contradict each other, the value is unknown and the
    person's problem tells. With a column of sessions, the rows of a session are also a person `ID_ses-SESSION`.

    Args:
        path: the table.
        read: reads it; the viewer takes `read_table_apart`.

    Raises:
        BrainDiffusionError: the file is unreadable, or has no column of ids.
    """
    path = Path(path)
    rows, columns = read(path)
    bases = {column: column_base(column) for column in columns}
    notes: list[str] = []

    def only(kind: str, candidates: list[str]) -> str | None:
        if len(candidates) > 1:
            notes.append(
                f"{path.name} has {len(candidates)} columns of {kind} ({', '.join(candidates)}): the first is used."
            )
        return candidates[0] if candidates else None

    def named(names: Sequence[str]) -> list[str]:
        return [column for name in names for column in columns if bases[column] == name]

    identity = only("subject ids", named(ID_COLUMNS))
    if identity is None:
        raise BrainDiffusionError(
            f"{path} has no column of subject ids: it has {', '.join(columns)}, and needs one of "
            f"{', '.join(ID_COLUMNS)}."
        )
    ages = [column for column in columns if (match := _AGE_COLUMN.fullmatch(bases[column])) and _known(match["unit"])]
    age = only("ages", sorted(ages, key=lambda column: column.strip().lower() != "age"))
    sex = only("sexes", named(_SEX_COLUMNS))
    site = only("sites", named(_SITE_COLUMNS))
    session = next(iter(named(SESSION_COLUMNS)), None)
    described = _description(path, notes)
    years = 1.0 if age is None else _years(path, age, described.get(age, {}), notes)
    levels = {} if sex is None else _levels(path, sex, described.get(sex, {}), [row[sex] for row in rows], notes)
    by_id: dict[str, list[dict[Any, Any]]] = defaultdict(list)
    by_session: set[str] = set()
    for row in rows:
        if key := table_key(row[identity]):
            by_id[key].append(row)
            if session is not None and (visit := session_key(row[session])):
                by_id[f"{key}{SESSION}{visit}"].append(row)
                by_session.add(key)
    people = {
        key: _person(
            [_age(row[age], years) for row in same] if age is not None else [],
            [levels.get(table_key(row[sex]).lower()) for row in same] if sex is not None else [],
            [_site(row[site]) for row in same] if site is not None else [],
        )
        for key, same in by_id.items()
    }
    return Demographics(people, path.name, notes, by_session)


def column_base(column: str) -> str:
    """Return the name of a column without its brackets, in small letters: `Age at scan (years)` is `age_at_scan`."""
    return re.sub(r"[^a-z0-9]+", "_", _BRACKETS.sub(" ", column.lower())).strip("_")


def _known(unit: str | None) -> bool:
    return unit is None or unit in _YEARS


def _description(path: Path, notes: list[str]) -> dict[str, dict[str, Any]]:
    """Return what the JSON file beside a table says of each column."""
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return {}
    try:
        content = json.loads(beside.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        notes.append(f"{beside.name} cannot be read ({type(error).__name__}), so that {path.name} is taken without it.")
        return {}
    content = content if isinstance(content, dict) else {}
    return {column: description for column, description in content.items() if isinstance(description, dict)}


def _years(path: Path, column: str, described: dict[str, Any], notes: list[str]) -> float:
    """Return the years in one unit of a column of ages; NaN, and a note, where the unit is not known."""
    match = _AGE_COLUMN.fullmatch(column_base(column))
    candidates = [match["unit"] if match else None, *_BRACKETS.findall(column.lower()), described.get("Units")]
    units = [unit.strip().lower() for unit in candidates if isinstance(unit, str) and unit.strip()]
    known = {_YEARS[unit] for unit in units if unit in _YEARS}
    if not units or (len(known) == 1 and all(unit in _YEARS for unit in units)):
        return known.pop() if known else 1.0
    notes.append(
        f"The ages of {path.name} are in {' and '.join(units)}, and not in years, months, weeks or days: they are left "
        "out."
    )
    return math.nan


def _levels(
    path: Path, column: str, described: dict[str, Any], values: Sequence[object], notes: list[str]
) -> dict[str, str]:
    """Return the sex that each value of a column means."""
    levels = described.get("Levels")
    meanings = {str(code): text for code, text in levels.items()} if isinstance(levels, dict) else {}
    for brackets in _BRACKETS.findall(column):
        meanings |= dict(re.findall(r"(\w+)\s*[=:]\s*(\w+)", brackets))
    meant: dict[str, str] = {}
    for code, text in meanings.items():
        words = re.findall(r"[a-z]+", json.dumps(text).lower())
        sexes = {_SEX_WORDS[word] for word in words if word in _SEX_WORDS}
        if len(sexes) == 1:
            meant[code.strip().lower()] = sexes.pop()
    used = {table_key(value).lower() for value in values}
    if not meant.keys() & used and any(value.isdigit() and value not in _SEX for value in used):
        notes.append(
            f"The sexes of {path.name} are numbers without a key, and are left out: give their Levels in "
            f"{path.stem}.json beside it."
        )
        return {word: sex for word, sex in _SEX.items() if not word.isdigit()}
    # A key of numbers replaces the usual one.
    usual = {word: sex for word, sex in _SEX.items() if not (meant and word.isdigit())}
    return usual | meant


def _person(ages: list[float | None], sexes: list[str | None], sites: list[str | None]) -> Person:
    # IXI.xls rounds some ages in the second row of an id.
    known_ages = sorted({round(age, 2) for age in ages if age is not None})
    known_sexes = sorted({sex for sex in sexes if sex is not None})
    known_sites = sorted({site for site in sites if site is not None})
    problems = []
    for name, known in (("age", known_ages), ("sex", known_sexes), ("site", known_sites)):
        if not known and name != "site":
            problems.append(f"{name} unknown")
        elif len(known) > 1:
            problems.append(f"{name} unknown, the table says {' and '.join(map(str, known))}")
    return Person(
        known_ages[0] if len(known_ages) == 1 else None,
        known_sexes[0] if len(known_sexes) == 1 else None,
        "; ".join(problems),
        known_sites[0] if len(known_sites) == 1 else None,
    )


def id_keys(subject: str) -> list[str]:
    """Return the ids that a subject may have in a table, the best first."""
    person, mark, visit = subject.partition(SESSION)
    keys = [
        table_key(subject),
        *([f"{table_key(person)}{SESSION}{session_key(visit)}"] if mark else []),
        table_key(person),
    ]
    if match := re.match(r"IXI(\d+)", subject):
        keys += [match[0], str(int(match[1])), match[1]]
    return keys


def table_key(value: object) -> str:
    """Return the content of a cell as an id: a whole number without its point, a BIDS id without `sub-`."""
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        value = int(value) if value.is_integer() else value
    return str(value).strip().removeprefix("sub-")


def session_key(value: object) -> str:
    """Return the content of a cell as a session, empty where it names none: `ses-01`, `01` and `1` are one."""
    visit = table_key(value).removeprefix("ses-")
    if visit.lower() in NOTHING:
        return ""
    return str(int(visit)) if visit.isdecimal() else visit


def _age(value: object, years: float) -> float | None:
    text = str(value)
    try:
        age = float(text.replace(",", ".") if text.count(",") == 1 else text) * years
    except ValueError:
        return None
    return age if 0 < age < 130 else None


def _site(value: object) -> str | None:
    return None if (name := table_key(value)).lower() in NOTHING else name
