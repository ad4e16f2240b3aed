"""The options of a command, made from the fields of a request."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.condition_args import from_flags
from braindiffusion.models.registry import is_packaged
from braindiffusion.runs.command import NONE, flags, hint, off_flag, shape_of
from braindiffusion.runs.requests import BaseRequest, make_request

R = TypeVar("R", bound=BaseRequest)

RunName = Annotated[str | None, typer.Option(help="Name of the run folder; by default date, time and job.")]


class Options(Generic[R]):
    """The values that a command line gives to the fields of a request.

    Attributes:
        kind: The request.
        values: A value for each field that has an option, as the parser returned it.
    """

    def __init__(self, kind: type[R], values: Mapping[str, Any]) -> None:
        self.kind = kind
        self.values = values

    def request(self, **instead: object) -> R:
        """Return the request, with some fields set otherwise.

        Raises:
            BrainDiffusionError: a value is out of range.
        """
        fields = {name: _value(self.kind, name, value) for name, value in self.values.items()}
        return make_request(self.kind, **{k: v for k, v in fields.items() if v is not None} | instead)


def takes(
    kind: type[R], optional: Mapping[str, str] | None = None, leave_out: tuple[str, ...] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of a request: it is called with `Options`, and with its own options by name.

    Args:
        kind: The request. Its docstring is the command's help where the command has none.
        optional: Required fields that may be left out, as None; the text says what they are then.
        leave_out: Fields without an option.
    """
    optional = optional or {}
    names = [name for name in kind.model_fields if name != "job" and name not in leave_out]
    parameters = [_parameter(kind, name, optional.get(name)) for name in names]

    def decorate(body: Callable[..., None]) -> Callable[..., None]:
        _, *own = inspect.signature(body, eval_str=True).parameters.values()

        def command(**values: Any) -> None:
            try:
                body(Options(kind, {name: values.pop(name) for name in names}), **values)
            except BrainDiffusionError as error:
                raise BrainDiffusionError(with_flag(str(error), error.field, kind)) from error

        every = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*parameters, *own)]
        command.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in every}
        command.__name__ = body.__name__
        command.__doc__ = body.__doc__ or kind.__doc__
        return command

    return decorate


def with_flag(message: str, field: str | None, kind: type[BaseModel]) -> str:
    """Add the flag of the field that an error is about, where it is one of this request."""
    names = flags(kind, field) if field in kind.model_fields else []
    return f"{message} (Option: {names[0]}.)" if names else message


def option(kind: type[BaseModel], name: str, default: str | None = None) -> Any:
    """Return the option of a field, or its argument where it is positional, as an annotation for Typer."""
    field = kind.model_fields[name]
    text = " ".join((field.description or "").split()) + _bounds(field)
    names = flags(kind, name)
    shape, item = shape_of(field.annotation)
    if not names:
        return typer.Argument(help=text, metavar=name.upper() + ("..." if shape == "list" else ""))
    shown: str | bool = True if default is None else default
    if shape in ("list", "mapping"):
        return typer.Option(
            *names, help=f"{text} (Repeatable.)", show_default=shown, metavar=f"<{item.__name__.lower()}>"
        )
    if shape == "switch" and field.default is None:
        names = [f"{one}/{off_flag(one)}" for one in names]
    return typer.Option(*names, help=text, show_default=shown)


def _parameter(kind: type[BaseModel], name: str, optional: str | None) -> inspect.Parameter:
    field = kind.model_fields[name]
    shape, item = shape_of(field.annotation)
    annotation = list[item] if shape in ("list", "mapping") else item  # type: ignore[valid-type]
    if field.is_required() and optional is None:
        default: Any = inspect.Parameter.empty
    else:
        default = hint(kind, name, "cli_default") or (
            None if field.is_required() or shape in ("list", "mapping") else field.default
        )
        default = Path(default) if item is Path and default is not None else default
        annotation = annotation if default is not None else annotation | None
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[annotation, option(kind, name, optional)],
    )


def _bounds(field: FieldInfo) -> str:
    """Return the smallest and the largest value in words, where there is one."""
    said = {name: getattr(one, name) for one in field.metadata for name in ("ge", "gt", "le") if hasattr(one, name)}
    words = {"ge": "at least {:g}", "gt": "above {:g}", "le": "at most {:g}"}
    text = ", ".join(words[name].format(value) for name, value in said.items())
    return f" ({text[0].upper()}{text[1:]}.)" if text else ""


def _value(kind: type[BaseModel], name: str, value: Any) -> Any:
    """Return what the request holds for what the parser read; None for what was not given."""
    shape = shape_of(kind.model_fields[name].annotation)[0]
    if shape == "mapping":
        return from_flags(value or ())
    if shape == "list":
        return tuple(_one(kind, name, one) for one in value if one != NONE) if value else None
    return _one(kind, name, value)


def _one(kind: type[BaseModel], name: str, value: Any) -> Any:
    if isinstance(value, Path):
        return value.absolute()
    if isinstance(value, str) and hint(kind, name, "path"):
        return value if value in (hint(kind, name, "choices") or ()) else absolute_path(value)
    return value


def absolute_path(name: str) -> str:
    """Return a path in full, so that the run can be read elsewhere; a model's name, or no path at all, as it is."""
    return name if is_packaged(name) or not Path(name).exists() else str(Path(name).absolute())
