"""Age and sex of subjects, from IXI's own sheet or from a participants table."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braindiffusion.errors import BrainDiffusionError

_ID_COLUMNS = ("participant_id", "ixi_id", "subject_id", "subject", "id", "sub")
_AGE_COLUMNS = ("age", "age_years", "age_at_scan")
_SEX_COLUMNS = ("sex", "gender", "sex_id")
_SEX = {"m": "M", "male": "M", "1": "M", "f": "F", "female": "F", "2": "F", "w": "F"}


@dataclass(frozen=True)
class Person:
    """Age in years and sex (`M`, `F`), each None where unknown."""

    age: float | None = None
    sex: str | None = None


@dataclass(frozen=True)
class Demographics:
    """A table of people.

    Attributes:
        people: by id as `person_key` makes it.
        problems: one sentence for each thing that is odd in the table.
    """

    people: dict[str, Person]
    problems: tuple[str, ...] = ()

    def of(self, subject: str) -> Person:
        """A subject's person; unknown age and sex if the table does not have it."""
        for key in _keys(subject):
            if key in self.people:
                return self.people[key]
        return Person()


def read_demographics(path: Path) -> Demographics:
    """Read `IXI.xls`, or a `.tsv`, `.csv` or `.xls` table with columns for id, age and sex.

    An id that stands there twice is taken if both rows say the same or complete each other; where they contradict each other, the value is
    unknown and a problem tells.

    Raises:
        BrainDiffusionError: unreadable, or without a column of ids.
    """
    path = Path(path)
    rows, columns = _read_table(path)
    names = {str(column).strip().lower().split(" ")[0]: column for column in columns}
    identity = next((names[name] for name in _ID_COLUMNS if name in names), None)
    if identity is None:
        raise BrainDiffusionError(
            f"{path} has no column of subject ids: it needs one of {', '.join(_ID_COLUMNS)}, and has {', '.join(map(str, columns))}."
        )
    age_column = next((names[name] for name in _AGE_COLUMNS if name in names), None)
    sex_column = next((names[name] for name in _SEX_COLUMNS if name in names), None)
    people: dict[str, Person] = {}
    problems: list[str] = []
    doubles: set[str] = set()
    for row in rows:
        key = person_key(row[identity])
        if not key:
            continue
        person = Person(_age(row.get(age_column)), _sex(row.get(sex_column)))
        if key in people:
            doubles.add(key)
            person = _merge(key, people[key], person, problems)
        people[key] = person
    if doubles:
        problems.insert(0, f"{path.name} has {len(doubles)} ids more than once: {_some(sorted(doubles))}.")
    ageless = sorted(key for key, person in people.items() if person.age is None)
    if ageless:
        problems.append(f"{path.name} has no age for {len(ageless)} subjects: {_some(ageless)}.")
    return Demographics(people, tuple(problems))


def person_key(value: object) -> str:
    """An id as tables and file names share it: text, without `sub-`; IXI's number for a number."""
    if isinstance(value, float) and math.isnan(value):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().removeprefix("sub-")


def _keys(subject: str) -> list[str]:
    keys = [person_key(subject), person_key(subject.split("_ses-")[0])]
    if match := re.match(r"IXI(\d+)", subject):
        keys += [match[0], str(int(match[1])), match[1]]
    return keys


def _read_table(path: Path) -> tuple[list[dict[Any, Any]], list[Any]]:
    import pandas as pd

    try:
        if path.suffix.lower() in (".xls", ".xlsx"):
            frame = pd.read_excel(path)
        else:
            separator = "\t" if path.suffix.lower() == ".tsv" else None
            frame = pd.read_csv(path, sep=separator, engine="python", dtype=str, na_values=["n/a", "N/A"])
    except FileNotFoundError as error:
        raise BrainDiffusionError(f"There is no participants table at {path}.") from error
    except Exception as error:  # pandas' engines raise what they like on damaged files
        msg = f"The participants table {path} cannot be read ({type(error).__name__}: {error})."
        raise BrainDiffusionError(msg) from error
    return frame.to_dict(orient="records"), list(frame.columns)


def _age(value: object) -> float | None:
    try:
        age = float(str(value))
    except ValueError:
        return None
    return age if 0 < age < 130 else None


def _sex(value: object) -> str | None:
    return _SEX.get(person_key(value).lower())


def _merge(key: str, first: Person, second: Person, problems: list[str]) -> Person:
    values: dict[str, Any] = {}
    for field in ("age", "sex"):
        one, other = getattr(first, field), getattr(second, field)
        values[field] = other if one is None else one
        same = abs(one - other) < 0.01 if isinstance(one, float) and isinstance(other, float) else one == other
        if one is not None and other is not None and not same:
            values[field] = None
            problems.append(f"{key} is there twice, with {field} {one} and {other}: taken as unknown.")
    return Person(**values)


def _some(keys: list[str], most: int = 5) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")
