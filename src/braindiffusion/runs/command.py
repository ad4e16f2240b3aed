"""A request as the command line that asks for the same: for "copy as command" and for sidecars."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from braindiffusion.runs.requests import (
    DifferenceRequest,
    GenerateRequest,
    InspectRequest,
    NearestRequest,
    PrepareRequest,
    PreviewRequest,
    ReadRequest,
    RegenerateRequest,
    Request,
    TrainRequest,
    VisualizeRequest,
)

# The arguments that stand without a flag, in their order, and the flags that are not simply the field's name.
_POSITIONAL: Mapping[type, tuple[str, ...]] = {
    PrepareRequest: ("data_dir",),
    InspectRequest: ("data_dir",),
    ReadRequest: ("input",),
    NearestRequest: ("brain",),
    DifferenceRequest: ("first", "second"),
    VisualizeRequest: ("figure", "paths"),
}
_RENAMED: Mapping[type, Mapping[str, str]] = {
    TrainRequest: {"data": "--data-dir", "levels": "--level", "conditions": "--condition"},
    PrepareRequest: {"subjects": "--subject"},
    GenerateRequest: {"guidance_fields": "--guidance-field"},
}


def command_arguments(request: Request) -> list[str]:
    """The words after `braindiffusion`. Fields that have their default are left out."""
    if isinstance(request, PreviewRequest):
        request = request.request
    kind = type(request)
    words: list[str] = ["generate" if isinstance(request, RegenerateRequest) else request.job]
    positional = _POSITIONAL.get(kind, ())
    for name in positional:
        value = getattr(request, name)
        words += [str(one) for one in (value if isinstance(value, tuple) else (value,))]
    for name, field in kind.model_fields.items():
        value = getattr(request, name)
        if name == "job" or name in positional or (not field.is_required() and value == field.default):
            continue
        flag = _RENAMED.get(kind, {}).get(name, "--" + name.replace("_", "-"))
        if value is True:
            words.append(flag)
        elif name in ("shape", "guidance_interval"):
            words += [flag, *(str(one) for one in value)]
        elif name == "condition":
            for one, asked in flat(value).items():
                words += [flag, f"{one}={asked}"]
        elif isinstance(value, tuple):
            for one in value or ("none",):
                words += [flag, str(one)]
        else:
            words += [flag, str(value) if isinstance(value, Path) else f"{value}"]
    return words


def flat(condition: Mapping[str, Any]) -> dict[str, Any]:
    """A condition without its inner level: `{"volumes": {"brainstem": 20}}` is `{"volumes.brainstem": 20}`."""
    words: dict[str, Any] = {}
    for name, value in condition.items():
        words |= {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, Mapping) else {name: value}
    return words


def as_command(request: Request) -> str:
    """The whole command line, quoted for a shell."""
    return shlex.join(["braindiffusion", *command_arguments(request)])
