"""The command line of a request, both ways round: its flags, and the words that ask for it.

"Copy as command", sidecars, the options of the commands and the hints of error messages all come from here, and this
comes from the fields of the requests.
"""

import shlex
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from braindiffusion.runs.requests import BaseRequest, EstimateRequest, PreviewRequest, Request

NONE = "none"
"""The word for a list that is given, and empty."""


Shape = Literal["one", "switch", "list", "fixed", "mapping"]
"""Forms of a value on a command line: one word, the flag alone, the flag again for each value, a fixed number of words,
FIELD=VALUE."""


def shape_of(annotation: Any) -> tuple[Shape, Any]:
    """Return the form of a type's values on a command line, and the type of one of them.

    Examples:
        >>> shape_of(bool), shape_of(tuple[int, ...] | None), shape_of(tuple[int, int])
        (('switch', <class 'bool'>), ('list', <class 'int'>), ('fixed', tuple[int, int]))
    """
    union = get_origin(annotation) in (Union, UnionType)
    parts = [one for one in get_args(annotation) if one is not type(None)] if union else [annotation]
    for part in parts:
        if get_origin(part) is dict:
            return "mapping", str
        if get_origin(part) is tuple:
            first, *others = get_args(part)
            return ("list", first) if others == [...] else ("fixed", part)
    return ("switch" if parts[0] is bool else "one"), parts[0]


def hint(kind: type[BaseModel], name: str, key: str) -> Any:
    """Return an extra hint of a field (see `runs.requests.base`), None where it has no such hint."""
    extra = kind.model_fields[name].json_schema_extra
    return extra.get(key) if isinstance(extra, dict) else None


def command_name(kind: type[BaseRequest]) -> str:
    """Return the name of the command that makes a kind of request."""
    return kind.command or str(kind.model_fields["job"].default)


def flags(kind: type[BaseModel], name: str) -> list[str]:
    """Return the flags of a field, the one to write first; none for a positional argument.

    Examples:
        >>> from braindiffusion.runs import GenerateRequest
        >>> flags(GenerateRequest, "num_samples"), flags(GenerateRequest, "model")
        (['--num-samples'], ['--model', '--model-path'])
    """
    if hint(kind, name, "positional"):
        return []
    return list(hint(kind, name, "cli") or ["--" + name.replace("_", "-")])


def off_flag(flag: str) -> str:
    """Return the flag that turns a switch off, of a switch that is neither on nor off by default."""
    return f"--no-{flag.removeprefix('--')}"


def command_arguments(request: Request) -> list[str]:
    """Return the words after `braindiffusion` that make the same request. Fields at their default are left out."""
    match request:
        case PreviewRequest():
            return command_arguments(request.request)
        case EstimateRequest():
            return [request.job, *command_arguments(request.of)]
    kind = type(request)
    words = [command_name(kind)]
    fields = {name: getattr(request, name) for name in kind.model_fields if name != "job"}
    for name, value in fields.items():
        if not flags(kind, name):
            words += map(str, value if isinstance(value, tuple) else (value,))
    for name, value in fields.items():
        field = kind.model_fields[name]
        # With a table of conditions, the command line's default number of samples is the number of its rows.
        asked = field.is_required() or (name == "num_samples" and fields["conditions"] is not None)
        if flags(kind, name) and (asked or value != field.get_default(call_default_factory=True)):
            words += _option(flags(kind, name)[0], value, shape_of(field.annotation)[0])
    return words


def _option(flag: str, value: Any, shape: Shape) -> list[str]:
    match shape:
        case "switch":
            return [flag if value else off_flag(flag)]
        case "fixed":
            return [flag, *map(str, value)]
        case "mapping":
            return [word for name, asked in flat(value).items() for word in (flag, f"{name}={asked}")]
        case "list":
            several = value if isinstance(value, tuple) else (value,)
            return [word for one in several or (NONE,) for word in (flag, str(one))]
        case _:
            return [flag, str(value)]


def flat(condition: Mapping[str, Any]) -> dict[str, Any]:
    """Return a condition without its inner level: `{"volumes": {"brainstem": 20}}` is `{"volumes.brainstem": 20}`."""
    words: dict[str, Any] = {}
    for name, value in condition.items():
        if isinstance(value, Mapping):
            words |= {f"{name}.{k}": v for k, v in value.items()}
        elif isinstance(value, tuple | list):
            words[name] = ",".join("" if one is None else f"{one!r}" for one in value)
        else:
            words[name] = value
    return words


def as_command(request: Request) -> str:
    """Return the whole command line, quoted for a shell."""
    return shlex.join(["braindiffusion", *command_arguments(request)])
