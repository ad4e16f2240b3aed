"""Age, sex and site of subjects, from IXI's own sheet or from a participants table."""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.tables import Table, read_table

_ID_COLUMNS = ("participant_id", "ixi_id", "subject_id", "subject", "id", "sub")
_AGE_COLUMNS = ("age", "age_years", "age_at_scan")
_SEX_COLUMNS = ("sex", "gender", "sex_id")
_SITE_COLUMNS = ("site", "center", "centre", "scanner")
_SEX = {"m": "M", "male": "M", "1": "M", "f": "F", "female": "F", "2": "F", "w": "F"}


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
    """

    def __init__(self, people: dict[str, Person] | None = None, source: str = "") -> None:
        self.people = people or {}
        self.source = source

    def of(self, subject: str) -> Person:
        """Return age, sex and site of a subject. IXI's numbers and BIDS ids with or without `sub-` are understood."""
        for key in _keys(subject):
            if key in self.people:
                return self.people[key]
        return Person(problem=f"not in {self.source}" if self.source else "")

    def problems(self, subjects: Iterable[str]) -> list[str]:
        """Return one sentence for each kind of problem among these subjects."""
        kinds: dict[str, list[str]] = defaultdict(list)
        for subject in subjects:
            if problem := self.of(subject).problem:
                kinds[problem].append(subject)
        return [f"{_some(who)}: {problem}." for problem, who in kinds.items()]


def read_demographics(path: Path, read: Callable[[Path], Table] = read_table) -> Demographics:
    """Read `IXI.xls`, or a `.tsv`, `.csv`, `.xls` or `.xlsx` table with columns for id, age, sex and site.

    Rows of one id complete each other. Where they contradict each other, the value is unknown and the person's problem
    tells.

    Args:
        path: the table.
        read: reads it; the viewer takes `read_table_apart`.

    Raises:
        BrainDiffusionError: the file is unreadable, or has no column of ids.
    """
    path = Path(path)
    rows, columns = read(path)
    names = {str(column).strip().lower().split(" ")[0]: column for column in columns}
    identity = next((names[name] for name in _ID_COLUMNS if name in names), None)
    if identity is None:
        raise BrainDiffusionError(
            f"{path} has no column of subject ids: it has {', '.join(map(str, columns))}, and needs one of "
            f"{', '.join(_ID_COLUMNS)}."
        )
    age = next((names[name] for name in _AGE_COLUMNS if name in names), None)
    sex = next((names[name] for name in _SEX_COLUMNS if name in names), None)
    site = next((names[name] for name in _SITE_COLUMNS if name in names), None)
    by_id: dict[str, list[dict[Any, Any]]] = defaultdict(list)
    for row in rows:
        if key := _key(row[identity]):
            by_id[key].append(row)
    people = {
        key: _person(
            [_age(r.get(age)) for r in same], [_sex(r.get(sex)) for r in same], [_site(r.get(site)) for r in same]
        )
        for key, same in by_id.items()
    }
    return Demographics(people, path.name)


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


def _keys(subject: str) -> list[str]:
    """Return the ids that a subject may have in a table, the best first."""
    keys = [_key(subject), _key(subject.split("_ses-")[0])]
    if match := re.match(r"IXI(\d+)", subject):
        keys += [match[0], str(int(match[1])), match[1]]
    return keys


def _key(value: object) -> str:
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        value = int(value) if value.is_integer() else value
    return str(value).strip().removeprefix("sub-")


def _age(value: object) -> float | None:
    try:
        age = float(str(value))
    except ValueError:
        return None
    return age if 0 < age < 130 else None


def _sex(value: object) -> str | None:
    return _SEX.get(_key(value).lower())


def _site(value: object) -> str | None:
    return None if (name := _key(value)).lower() in ("", "n/a", "na", "nan", "none") else name


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
