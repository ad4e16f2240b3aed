"""The provenance of a volume, as its JSON sidecar tells it."""

import hashlib
from datetime import datetime
from pathlib import Path

from braindiffusion.runs.command import as_command
from braindiffusion.runs.folder import Run
from braindiffusion.runs.versions import FORMAT_VERSION, versions


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, as a hexadecimal number.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def provenance(
    run: Run,
    *,
    model: Path,
    seed: int,
    sampler: str,
    steps: int,
    model_name: str | None = None,
    preprocessing_hash: str | None = None,
    **details: object,
) -> dict[str, object]:
    """Return all that is needed to generate the same volume again.

    Args:
        run: The run that makes it.
        model: The model folder, which holds `model.safetensors`.
        seed: Of this volume, not of the first of its run.
        sampler: Name of the sampler.
        steps: Sampler steps in all.
        model_name: What a person calls the model; the folder's name if None.
        preprocessing_hash: Of the cohort that the model was trained on.
        **details: Anything else that JSON can hold.

    Returns:
        A dictionary for JSON.

    Raises:
        OSError: the model's weights cannot be read.
    """
    return {
        "format_version": FORMAT_VERSION,
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "synthetic": True,
        "command": as_command(run.request),
        "request": run.request.model_dump(mode="json"),
        "run": run.name,
        "model": {
            "name": model_name or model.name,
            "sha256": file_sha256(model / "model.safetensors"),
        },
        "seed": seed,
        "sampler": sampler,
        "steps": steps,
        "preprocessing_hash": preprocessing_hash,
        "versions": versions(),
        **details,
    }
