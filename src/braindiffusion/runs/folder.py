"""A run is a folder, and the folder is the truth.

```
run.json         the request, the command and the versions: written once, whole
events.jsonl     one event a line, appended and flushed
checkpoints/     what training keeps
results/         what was made
error.txt        the traceback of a failure that is a bug
lock             the process that performs it, touched every few seconds (see `lock`)
stop             somebody asks for the run to stop
pause            somebody asks for the run to hold; it goes on when the file is gone
```

The command line, the engine process and the plugin all read a run through `Run`, while it works and a year later.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from platformdirs import user_data_path
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import write_whole
from braindiffusion.runs.event_file import EventFile
from braindiffusion.runs.events import (
    Cancelled,
    Continued,
    Event,
    Failed,
    Finished,
    Paused,
    Started,
)
from braindiffusion.runs.lock import is_alive, run_lock
from braindiffusion.runs.requests import Request
from braindiffusion.runs.versions import FORMAT_VERSION, check_format, versions, with_present_names
from braindiffusion.untrusted import read_json

RUNS_VARIABLE = "BRAINDIFFUSION_RUNS"


class RunState(StrEnum):
    """State of a run, from its events alone."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    """Its process is alive, and holds between two steps."""
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """It was running, and its process is gone: it may be performed again."""


class RunRecord(BaseModel):
    """Contents of `run.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    request: Request
    created: AwareDatetime
    format_version: int = 1
    """Version of the folder's format. Before version 2 it was not written down."""
    command: list[str] = Field(default_factory=list)
    versions: dict[str, str | None] = Field(default_factory=dict)


class Run:
    """One run folder. Cheap to make; reads the disk when asked.

    Attributes:
        path: The folder, absolute.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path).expanduser().absolute()
        self._event_file = EventFile(self.path)

    @classmethod
    def create(
        cls,
        request: Request,
        root: Path | None = None,
        name: str | None = None,
        *,
        command: Sequence[str] | None = None,
    ) -> "Run":
        """Make a new run folder for a request.

        Args:
            request: What the run shall do.
            root: Folder that holds runs; `default_runs_dir()` if None.
            name: Name of the folder; date, time and job if None. A taken name gets a number.
            command: The command line to write down; that of this process if None.

        Raises:
            BrainDiffusionError: the folder cannot be made.
        """
        now = datetime.now().astimezone()
        root = default_runs_dir() if root is None else Path(root).expanduser().absolute()
        record = RunRecord(
            request=request,
            created=now,
            format_version=FORMAT_VERSION,
            command=list(sys.argv if command is None else command),
            versions=versions(),
        )
        try:
            root.mkdir(parents=True, exist_ok=True)
            run = cls(_new_folder(root, name or f"{now:%Y%m%d-%H%M%S}-{request.job}"))
            run.checkpoints.mkdir()
            run.results.mkdir()
            write_whole(run.path / "run.json", record.model_dump_json(indent=2) + "\n")
        except OSError as error:
            msg = (
                f"Cannot make a run folder in {root} ({error.strerror}): choose another runs folder in napari's "
                f"preferences (BrainDiffusion), or with the environment variable {RUNS_VARIABLE}."
            )
            raise BrainDiffusionError(msg) from error
        return run

    @classmethod
    def open(cls, path: Path | str) -> "Run":
        """An existing run folder.

        Raises:
            BrainDiffusionError: the folder is not there, or its `run.json` cannot be read.
        """
        run = cls(Path(path))
        _ = run.record  # fails at once where the folder is no run
        return run

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.name

    @cached_property
    def record(self) -> RunRecord:
        """The contents of `run.json`."""
        file = self.path / "run.json"
        try:
            content = read_json(file)
            check_format(content, file)
            content = with_present_names(content)
            return RunRecord.model_validate(content)
        except FileNotFoundError:
            msg = f"{self.path} is no run folder: it has no run.json."
        except OSError as error:
            msg = f"{file} cannot be read: {error.strerror}."
        except ValidationError as error:
            first = error.errors()[0]
            msg = f"{file} is not the record of a run ({'.'.join(map(str, first['loc']))}: {first['msg']})."
        except ValueError as error:
            msg = f"{file} is not the record of a run ({error})."
        raise BrainDiffusionError(msg)

    @property
    def request(self) -> Request:
        """The request that the run performs."""
        return self.record.request

    @property
    def checkpoints(self) -> Path:
        """Folder of what training keeps."""
        return self.path / "checkpoints"

    @property
    def results(self) -> Path:
        """Folder of what was made."""
        return self.path / "results"

    @property
    def error_file(self) -> Path:
        """The traceback of a failure that is a bug; absent otherwise."""
        return self.path / "error.txt"

    @property
    def events_file(self) -> Path:
        """One event a line; absent until the first."""
        return self._event_file.path

    def append(self, event: Event) -> None:
        """Write one event at the end of `events.jsonl`, in one flushed write."""
        self._event_file.append(event)

    def events(self) -> list[Event]:
        """All events so far, oldest first."""
        return self.read_events()[0]

    def read_events(self, offset: int = 0) -> tuple[list[Event], int]:
        """Return the events after a place in `events.jsonl`, and the place to go on from (see `EventFile.read`)."""
        return self._event_file.read(offset)

    @property
    def state(self) -> RunState:
        """State of the run. `running` means that its process is alive (see `lock`)."""
        held: bool | None = None
        for event in self._event_file.milestones():
            match event:
                case Paused() | Continued():
                    held = isinstance(event, Paused) if held is None else held
                case Finished():
                    return RunState.FINISHED
                case Failed():
                    return RunState.FAILED
                case Cancelled():
                    return RunState.CANCELLED
                case Started():
                    if not is_alive(self.path, event):
                        return RunState.INTERRUPTED
                    return RunState.PAUSED if held else RunState.RUNNING
        return RunState.CREATED

    @property
    def last_change(self) -> float:
        """Time of the run's creation or of its last event, in seconds since the epoch."""
        try:
            return self.events_file.stat().st_mtime
        except OSError:
            return self.record.created.timestamp()

    def ask_to_stop(self) -> None:
        """Ask the process that performs this run to cancel it at its next event."""
        (self.path / "stop").touch()

    @property
    def asked_to_stop(self) -> bool:
        """Whether this run was asked to stop."""
        return (self.path / "stop").exists()

    def forget_stop(self) -> None:
        """Take back `ask_to_stop`: the run begins anew."""
        (self.path / "stop").unlink(missing_ok=True)

    def ask_to_pause(self) -> None:
        """Ask the process that performs this run to pause after its next event, until `ask_to_go_on`."""
        (self.path / "pause").touch()

    @property
    def asked_to_pause(self) -> bool:
        """Whether this run was asked to pause."""
        return (self.path / "pause").exists()

    def ask_to_go_on(self) -> None:
        """Take back `ask_to_pause`."""
        (self.path / "pause").unlink(missing_ok=True)

    def rename(self, name: str) -> "Run":
        """Move the folder to another name beside its old one.

        Raises:
            BrainDiffusionError: the run is being done, or the name is taken or no name of a folder.
        """
        target = self.path.with_name(name) if name and Path(name).name == name else None
        if target is None or target.exists():
            raise BrainDiffusionError(f"{name!r} is taken, or no name for a folder: choose another.")
        self._must_rest("renamed")
        try:
            return Run(self.path.rename(target))
        except OSError as error:
            raise BrainDiffusionError(f"{self.path} cannot be renamed: {error.strerror}.") from error

    def delete(self, root: Path | None = None) -> int:
        """Remove the folder with all that it holds.

        Args:
            root: The folder of runs that it must lie in; None takes the one that it lies in.

        Returns:
            The bytes that are free now.

        Raises:
            BrainDiffusionError: the run is being done, lies elsewhere, or a file cannot be removed.
        """
        root = self.path.parent if root is None else root.expanduser()
        if self.path.is_symlink() or self.path.resolve().parent != root.resolve():
            raise BrainDiffusionError(f"{self.path} does not lie in the folder of runs {root}: delete it by hand.")
        self._must_rest("deleted")
        size = sum(file.lstat().st_size for file in self.path.rglob("*") if file.is_file())
        try:
            # Nobody may begin it meanwhile. Windows deletes no file that is open.
            with nullcontext() if sys.platform == "win32" else run_lock(self.path):
                shutil.rmtree(self.path)
        except OSError as error:
            raise BrainDiffusionError(f"{self.path} cannot be deleted whole: {error.strerror}.") from error
        return size

    def _must_rest(self, done: str) -> None:
        if self.state in LIVE:
            raise BrainDiffusionError(f"The run {self.name} is {self.state}: stop it before it is {done}.")


LIVE = (RunState.RUNNING, RunState.PAUSED)
"""A process performs the run."""


def default_runs_dir() -> Path:
    """Return the folder of runs: `$BRAINDIFFUSION_RUNS`, else one in the user's data directory."""
    chosen = os.environ.get(RUNS_VARIABLE)
    return (
        Path(chosen).expanduser().absolute() if chosen else user_data_path("braindiffusion", appauthor=False) / "runs"
    )


def list_runs(root: Path | None = None) -> list[Run]:
    """The runs in a folder, newest first. What is no run folder is passed over."""
    root = default_runs_dir() if root is None else Path(root)
    runs = []
    for file in root.glob("*/run.json"):
        try:
            runs.append(Run.open(file.parent))
        except BrainDiffusionError:
            continue
    return sorted(runs, key=lambda run: (run.record.created, run.name), reverse=True)


def _new_folder(root: Path, name: str) -> Path:
    """Make and return `root/name`, or `root/name-2` ... where that is taken."""
    number = 1
    while True:
        path = root / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path
