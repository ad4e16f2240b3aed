"""Results of jobs that are read again."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from braindiffusion.errors import BrainDiffusionError

M = TypeVar("M", bound=BaseModel)


def read_result(kind: type[M], file: Path, job: str) -> M:
    """Return what a job has found.

    Args:
        kind: Type of the result.
        file: Its JSON file.
        job: The job that writes such files.

    Raises:
        BrainDiffusionError: there is none, or it cannot be read.
    """
    try:
        return kind.model_validate_json(file.read_bytes())
    except OSError as error:
        raise BrainDiffusionError(f"{file} cannot be read ({error.strerror}).") from error
    except ValidationError as error:
        raise BrainDiffusionError(f"{file} is not what `{job}` writes: {error.errors()[0]['msg']}.") from error
