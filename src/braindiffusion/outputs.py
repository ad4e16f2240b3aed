"""Outputs of jobs: which files may be written over. The one place that decides it.

An input is never written over, and neither is a file that this software did not write, or that somebody has changed
since. Each folder that a job writes into therefore holds a record, `.braindiffusion.jsonl`: a line for each file that
was written, with its name and SHA-256. Where the record is missing (files of earlier versions, a folder that was copied
without hidden files), volumes and sidecars are known by what they say of themselves.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pydantic import BaseModel

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import before_replacing, file_sha256, remove_temporaries
from braindiffusion.untrusted import read_json

RECORD = ".braindiffusion.jsonl"


@dataclass(frozen=True)
class Outputs:
    """What a job may write over.

    Attributes:
        inputs: Files that the job reads, and their sidecars: never written over.
        overwrite: Whether the user allows other files to be written over.
    """

    inputs: Iterable[Path] = ()
    overwrite: bool = False
    _recorded: dict[Path, dict[str, set[str]]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, request: BaseModel, inputs: Iterable[Path] = ()) -> Self:
        """Return what the job of a request may write over.

        Args:
            request: The request.
            inputs: Files that it reads beside those that its fields name, such as the volumes of a folder.
        """
        from braindiffusion.nifti import sidecar_path  # imports nibabel

        conditions = getattr(request, "condition", {}).values()
        named = (value for value in conditions if isinstance(value, str))  # "F" is the name of no file
        maps = (Path(path) for value in named for path in (value, value.rpartition("#")[0]) if path)  # TABLE#ROW
        every = [*inputs, *input_paths(request), *maps]
        return cls((*every, *map(sidecar_path, every)), overwrite=getattr(request, "overwrite", False))

    def check(self, paths: Iterable[Path]) -> None:
        """Check that files may be written. Temporary files that a killed process left of them are removed.

        Raises:
            BrainDiffusionError: one is an input, a folder, or a file of the user; or nothing can be written there.
        """
        inputs = {_identity(path) for path in self.inputs} - {None}
        by_folder: dict[Path, list[Path]] = defaultdict(list)
        for path in paths:
            by_folder[path.parent].append(path)
        for folder, files in by_folder.items():
            check_folder(folder)
            remove_temporaries(folder, [path.name for path in files])
            for path in files:
                if (identity := _identity(path)) is None:
                    continue
                if identity in inputs:
                    msg = f"{path} is an input, which is never written over: choose another output."
                    raise BrainDiffusionError(msg, "out")
                if path.is_dir():
                    raise BrainDiffusionError(f"{path} is a folder, not a file: choose another output.", "out")
                if not self.overwrite and not self._is_ours(path):
                    msg = f"{path} exists, and BrainDiffusion did not write it as it is now"
                    raise BrainDiffusionError(f"{msg}: choose another output, or allow overwriting.", "out")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Record what is written within, so that it may be written over later. Yield no event in here."""
        token = before_replacing.set(record)
        try:
            yield
        finally:
            before_replacing.reset(token)

    def _is_ours(self, path: Path) -> bool:
        if path.parent not in self._recorded:
            self._recorded[path.parent] = _read_record(path.parent)
        known = self._recorded[path.parent].get(path.name)
        return says_it_is_ours(path) if known is None else file_sha256(path) in known


def check_folder(folder: Path) -> None:
    """Check, before long work, that files can be written into a folder, which need not exist yet.

    Raises:
        BrainDiffusionError: they cannot.
    """
    every = (folder, *folder.parents)
    there = next((one for one in every if os.path.exists(one)), folder)  # noqa: PTH110 never raises, unlike Path.exists
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return
    why = "no permission" if there.is_dir() else f"{there} is no folder"
    raise BrainDiffusionError(f"Cannot write into {folder} ({why}): choose another folder.", "out")


def input_paths(request: BaseModel) -> Iterator[Path]:
    """Yield the files and folders that a request reads."""
    for name, value in request:
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Path) and name != "out":
                yield one


def record(content: Path, path: Path) -> None:
    """Write into a folder's record that a file of this content comes from this software.

    Called before the file takes its place: a process that is killed in between leaves one that is known.
    """
    line = json.dumps({"file": path.name, "sha256": file_sha256(content)})
    with (path.parent / RECORD).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")  # a process that was killed in here left a line without an end


def says_it_is_ours(path: Path) -> bool:
    """Return whether a volume's header or a sidecar's content says that this software wrote it."""
    from braindiffusion.nifti import READABLE_SUFFIXES, SOFTWARE, header_description

    name = path.name.lower()
    try:
        if name.endswith(".json"):
            content = read_json(path)
            versions = content.get("versions") if isinstance(content, dict) else None
            return isinstance(versions, dict) and "braindiffusion" in versions
        if name.endswith(READABLE_SUFFIXES):
            return SOFTWARE in header_description(path)
    except Exception:  # noqa: BLE001 a damaged file can make its reader raise nearly anything
        return False
    return False


def _read_record(folder: Path) -> dict[str, set[str]]:
    """Return the SHA-256 sums of each file that was written into a folder."""
    known: dict[str, set[str]] = defaultdict(set)
    try:
        lines = (folder / RECORD).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return known
    for line in lines:
        try:
            written = json.loads(line)
            known[str(written["file"])].add(str(written["sha256"]))
        except (ValueError, KeyError, TypeError):  # a line that was cut short
            continue
    return known


def _identity(path: Path) -> tuple[int, int] | None:
    """Return the number of a file, the same under all its names; None where there is no file."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino
