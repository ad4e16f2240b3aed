"""Files that are whole or absent, and results that are read again."""

import os
import secrets
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from braindiffusion.errors import BrainDiffusionError

M = TypeVar("M", bound=BaseModel)


def write_whole(path: Path, data: str | bytes) -> None:
    """Write a file beside its place, sync it, and rename it: a reader sees the old one or the new one, never half.

    Raises:
        OSError: the disk is full or the folder may not be written to.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with beside.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_result(kind: type[M], file: Path, job: str) -> M:
    """What a job has found.

    Args:
        kind: of the result.
        file: its JSON.
        job: what writes such.

    Raises:
        BrainDiffusionError: there is none, or it cannot be read.
    """
    try:
        return kind.model_validate_json(file.read_bytes())
    except OSError as error:
        raise BrainDiffusionError(f"{file} cannot be read ({error.strerror}).") from error
    except ValidationError as error:
        raise BrainDiffusionError(f"{file} is not what `{job}` writes: {error.errors()[0]['msg']}.") from error
