"""Every field of every request says what it is: label, help, and hints that a door can use."""

from typing import get_args

import pytest
from pydantic import BaseModel

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs.requests import GenerateRequest, Request, make_request

KINDS: tuple[type[BaseModel], ...] = get_args(get_args(Request)[0])
FIELDS = [(kind, name) for kind in KINDS for name in kind.model_fields if name != "job"]
HINTS = {"cli", "positional", "cli_default", "choices", "unit", "decimals", "path", "advanced"}


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=lambda value: getattr(value, "__name__", value))
def test_a_field_has_help_and_a_label(kind: type[BaseModel], name: str) -> None:
    field = kind.model_fields[name]
    assert field.description
    assert field.description[0].isupper() or field.description.startswith("`")
    assert field.description.endswith(".")
    if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
        assert field.title
    assert set(field.json_schema_extra or {}) <= HINTS


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=lambda value: getattr(value, "__name__", value))
def test_help_and_label_know_no_door(kind: type[BaseModel], name: str) -> None:
    field = kind.model_fields[name]
    assert "--" not in f"{field.title} {field.description}"
    assert "button" not in f"{field.title} {field.description}".lower()


def test_a_value_that_is_refused_is_told_in_plain_words() -> None:
    with pytest.raises(
        BrainDiffusionError, match=r"^Sampling steps: Each level needs at least 1 step \(was \(0,\)\)\.$"
    ):
        make_request(GenerateRequest, steps=(0,))
