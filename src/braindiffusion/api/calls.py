"""What the public functions share: from arguments to a request, from a request to a run, and back to volumes."""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, overload

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.jobs import perform
from braindiffusion.runs import Event, Failed, Request, Run, Warned
from braindiffusion.runs.requests import BaseRequest, make_request
from braindiffusion.runs.sidecar import read_sidecar
from braindiffusion.volume import Volume, load_volume

R = TypeVar("R", bound=BaseRequest)
OnEvent = Callable[[Event], None]


def perform_request(request: Request, *, root: Path | None = None, on_event: OnEvent | None = None) -> Run:
    """Do a job to its end. Its warnings become Python warnings, at the line that called our caller.

    Raises:
        BrainDiffusionError: it failed.
    """
    run = Run.create(request, root)
    events = perform(run)
    try:
        for event in events:
            if isinstance(event, Warned):
                warnings.warn(event.sentence, stacklevel=3)
            if on_event is not None:
                on_event(event)
            if isinstance(event, Failed):
                raise _with_argument(BrainDiffusionError(event.message, event.field))
    finally:
        events.close()
    return run


def ask(kind: type[R], **fields: Any) -> R:
    """Return a request, or raise one sentence on what is wrong with it, with the name of the argument."""
    try:
        return make_request(kind, **fields)
    except BrainDiffusionError as error:
        raise _with_argument(error) from error


def _with_argument(error: BrainDiffusionError) -> BrainDiffusionError:
    """Add the name of the argument that an error is about."""
    hint = f" (Argument: {error.field}.)" if error.field else ""
    return BrainDiffusionError(f"{error}{hint}", error.field)


def with_sidecar(path: Path) -> Volume:
    """Return a volume with all that its sidecar tells, and nothing of the folder that it lay in."""
    sidecar = read_sidecar(path)
    for passing in ("run", "file"):
        sidecar.pop(passing, None)
    return replace(load_volume(path), metadata=sidecar)


def joined(contrasts: list[Volume]) -> Volume:
    """Return the contrasts of one brain as the channels of one volume."""
    import numpy as np

    first = contrasts[0]
    if len(contrasts) == 1:
        return first
    metadata = {name: value for name, value in first.metadata.items() if name not in ("channel", "voxels_sha256")}
    names = [one.metadata["channel"] for one in contrasts]
    return replace(first, data=np.concatenate([one.data for one in contrasts]), metadata=metadata | {"channels": names})


@overload
def absolute(path: str | Path) -> Path: ...
@overload
def absolute(path: None) -> None: ...
def absolute(path: str | Path | None) -> Path | None:
    """Return the absolute path, `~` expanded: a request is read elsewhere, too."""
    return None if path is None else Path(path).expanduser().absolute()


def paths_of(paths: str | Path | Iterable[str | Path]) -> tuple[Path, ...]:
    """Return one path or several as absolute paths."""
    some = [paths] if isinstance(paths, str | Path) else paths
    return tuple(absolute(path) for path in some)
