"""Every field of every request says what it is: label, help, and hints that a door can use."""

from typing import Annotated, get_args

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

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


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if "steps" in kind.model_fields], ids=lambda kind: kind.__name__
)
def test_one_number_of_sampling_steps_stands_for_all_levels(kind: type[BaseModel]) -> None:
    """The command line gives a tuple, of one number too."""
    data = {name: "scan.nii.gz" for name, field in kind.model_fields.items() if field.is_required()}
    if kind.model_fields["steps"].annotation is not int:  # training steps
        assert kind.model_validate({**data, "steps": (3,)}).model_dump()["steps"] == 3
        assert kind.model_validate({**data, "steps": (3, 4)}).model_dump()["steps"] == (3, 4)
        with pytest.raises(ValidationError, match="at least 1 step"):
            kind.model_validate({**data, "steps": (3, 0)})
    with pytest.raises(ValidationError):
        kind.model_validate({**data, "steps": 0})


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if "seed" in kind.model_fields], ids=lambda kind: kind.__name__
)
def test_every_seed_is_one_that_torch_takes(kind: type[BaseModel]) -> None:
    field = TypeAdapter(Annotated[kind.model_fields["seed"].annotation, *kind.model_fields["seed"].metadata])
    assert field.validate_python(2**63 - 1) == 2**63 - 1
    for seed in (-1, 2**63, 99999999999999999999999):
        with pytest.raises(ValidationError):
            field.validate_python(seed)


def test_a_seed_that_is_too_large_is_refused_with_the_largest_one() -> None:
    with pytest.raises(
        BrainDiffusionError, match=r"^Seed: A seed is at most 9223372036854775807 \(was 9223372036854775808\)\.$"
    ):
        make_request(GenerateRequest, seed=2**63)
