"""Writing files atomically: a reader sees the old one or the new one, never half. Checksums, temporary folders."""

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import psutil

before_replacing: ContextVar[Callable[[Path, Path], None] | None] = ContextVar("before_replacing", default=None)
"""Called with the temporary file and its path before the one takes the place of the other (see `outputs`)."""
_TEMPORARY = re.compile(r"\.(?:([0-9a-f]+)-)?[0-9a-f]{8}\.(.+)")
"""Name of a temporary file: the process that writes it, a random number, the end of the name to come."""
_PRIVATE = re.compile(r"braindiffusion-([0-9a-f]+)-[a-z0-9_]{8}")
"""Name of a temporary folder: the process that uses it, random characters."""
LONGEST = 40
"""Characters of a file's name that the name of its temporary file ends with."""


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
    # The end of the name only: the name itself may be as long as names can be.
    beside = path.with_name(f".{os.getpid():x}-{secrets.token_hex(4)}.{path.name[-LONGEST:]}")
    try:
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        if (hook := before_replacing.get()) is not None:
            hook(beside, path)
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


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, as a hexadecimal number.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_temporaries(folder: Path, names: Iterable[str] | None = None) -> None:
    """Remove the temporary files that killed processes have left; those of living processes stay.

    Args:
        folder: The folder; what lies deeper is left alone.
        names: Names of the files that they would have become; None means any.
    """
    wanted = None if names is None else {name[-LONGEST:] for name in names}
    try:
        entries = [entry.name for entry in os.scandir(folder) if entry.name.startswith(".")]
    except OSError:
        return
    for name in entries:
        match = _TEMPORARY.fullmatch(name)
        if match is None or (wanted is not None and match[2] not in wanted):
            continue
        if match[1] is None or not psutil.pid_exists(int(match[1], 16)):
            (folder / name).unlink(missing_ok=True)


class PrivateFolder(TemporaryDirectory[str]):
    """A temporary folder that only the user can read. Those that killed processes have left are removed."""

    def __init__(self) -> None:
        for folder in Path(gettempdir()).glob("braindiffusion-*"):
            match = _PRIVATE.fullmatch(folder.name)
            if match is not None and not psutil.pid_exists(int(match[1], 16)):
                shutil.rmtree(folder, ignore_errors=True)
        super().__init__(prefix=f"braindiffusion-{os.getpid():x}-", ignore_cleanup_errors=True)
