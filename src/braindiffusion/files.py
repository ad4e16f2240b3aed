"""Writing files atomically: a reader sees the old one or the new one, never half."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file beside a path to write to; it is synced and takes the path's place when it is written.

    Args:
        path: The file to write or to replace.

    Yields:
        A path in the same folder with the same suffix. It is removed where writing fails.

    Raises:
        OSError: the disk is full or the folder may not be written to.
    """
    beside = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_whole(path: Path, data: str | bytes) -> None:
    """Write a file atomically.

    Raises:
        OSError: the disk is full or the folder may not be written to.
    """
    with replacing(path) as beside:
        beside.write_bytes(data.encode() if isinstance(data, str) else data)
