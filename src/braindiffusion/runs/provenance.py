"""The provenance of a volume, as its JSON sidecar records it."""

from collections.abc import Mapping
from datetime import datetime

from braindiffusion.runs.command import as_command
from braindiffusion.runs.folder import Run
from braindiffusion.runs.requests import Request
from braindiffusion.runs.versions import FORMAT_VERSION, versions


def provenance(
    run: Run, *, request: Request, model: Mapping[str, str], sampler: str | None, steps: int, **details: object
) -> dict[str, object]:
    """Return all that is needed to generate the same volume again.

    Args:
        run: The run that makes it.
        request: The request that makes the same again.
        model: Name and SHA-256 of the model.
        sampler: Name of the sampler; None where nothing is sampled.
        steps: Sampler steps in all.
        **details: Anything else that JSON can hold.

    Returns:
        A dictionary for JSON.
    """
    return {
        "format_version": FORMAT_VERSION,
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "synthetic": True,
        "command": as_command(request),
        "request": request.model_dump(mode="json"),
        "run": run.name,
        "model": dict(model),
        "sampler": sampler,
        "steps": steps,
        "versions": versions(),
        **details,
    }
