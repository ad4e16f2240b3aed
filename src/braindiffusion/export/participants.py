"""Who is in a dataset: `participants.tsv`, and what its columns mean."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from braindiffusion.cohort.demographics import Demographics
from braindiffusion.export.brains import Brain
from braindiffusion.runs.sidecar import is_generated

UNKNOWN = "n/a"
COLUMNS: dict[str, dict[str, object]] = {
    "age": {"Description": "Age; of a synthetic brain what the model was asked for.", "Units": "year"},
    "sex": {
        "Description": "Sex; of a synthetic brain what the model was asked for.",
        "Levels": {"F": "female", "M": "male"},
    },
    "synthetic": {
        "Description": "Whether a model made this brain.",
        "Levels": {"yes": "generated, shows nobody", "no": "scanned"},
    },
    "model": {"Description": "Name of the model that made it."},
    "seed": {"Description": "Seed of its noise: with the same model and the same request it gives the same brain."},
}
"""Those that every dataset has, and what they mean."""


def participants(brains: Sequence[Brain], people: Demographics | None = None) -> tuple[str, dict[str, dict[str, Any]]]:
    """The table, and the description of its columns.

    What was asked of a generated brain has a column for each number or word, such as `site` or
    `volumes_left_hippocampus`.
    """
    rows: dict[str, dict[str, str]] = {}
    for brain in brains:
        rows.setdefault(brain.subject, _row(brain, people or Demographics()))
    asked = sorted({column for row in rows.values() for column in row} - set(COLUMNS))
    columns = [*COLUMNS, *asked]
    lines = ["\t".join(["participant_id", *columns])]
    lines += [
        "\t".join([f"sub-{subject}", *(row.get(name, UNKNOWN) for name in columns)]) for subject, row in rows.items()
    ]
    described = {name: dict(meaning) for name, meaning in COLUMNS.items()}
    described |= {name: {"Description": f"What the model was asked for: {name.replace('_', ' ')}."} for name in asked}
    return "\n".join(lines) + "\n", described


def _row(brain: Brain, people: Demographics) -> dict[str, str]:
    if not is_generated(brain.told):
        person = people.of(brain.name or brain.subject)
        known = {"age": person.age, "sex": person.sex}
        return {"synthetic": "no"} | {name: _word(value) for name, value in known.items() if value is not None}
    made = {"synthetic": "yes", "seed": _word(brain.told.get("seed", UNKNOWN))}
    if name := (brain.told.get("model") or {}).get("name"):
        made["model"] = str(name)
    return made | dict(_flat(brain.told.get("condition") or {}))


def _flat(asked: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Entries of vectors have a column each; of a map there is the name of its file."""
    flat = []
    for name, value in asked.items():
        if isinstance(value, Mapping):
            flat += [(_column(f"{name}_{entry}"), _word(one)) for entry, one in value.items()]
        else:
            flat.append((_column(name), _word(value)))
    return flat


def _column(name: str) -> str:
    return re.sub(r"\W+", "_", name).strip("_")


def _word(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return Path(text).name if "/" in text else " ".join(text.split()) or UNKNOWN
