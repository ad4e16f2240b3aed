"""Files that are whole or absent."""

import os
import secrets
from pathlib import Path


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
