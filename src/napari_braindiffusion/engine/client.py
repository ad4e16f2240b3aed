"""The one way to run a job in an engine process: `EngineClient.submit`.

A warm process, started with the Generate dock, keeps a loaded model between jobs. Which jobs share it is
defined here, by `WARM_JOBS` and `SHORT_JOBS`. Every other job gets a process of its own, which ends with the job and
gives its memory back, so that a short job never waits behind a long one. Trainings outlive napari; see `trainings`.
"""

import queue
import sys
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from qtpy.QtCore import QObject

from braindiffusion.runs import ArtifactWritten, Event, Request, Run, Warned
from braindiffusion.runs.messages import Submit
from napari_braindiffusion.engine.job import JobHandle, Silent
from napari_braindiffusion.engine.process import LAST, SILENT_SECONDS, EngineProcess, Inbox
from napari_braindiffusion.settings import settings

ENGINE = (sys.executable, "-m", "braindiffusion.engine")
WARM_ENGINE = (*ENGINE, "--warm")
WARM_JOBS = frozenset({"preview", "generate", "regenerate"})
"""Jobs that share the loaded model of the warm process, one after the other."""
BACKLOG = 1000
"""Events that wait for the viewer, above which progress is passed over."""
SHORT_JOBS = frozenset({"difference"})
"""Jobs that take the warm process if it is idle."""


class EngineClient(QObject):
    """The engine processes of a napari session.

    Args:
        command: How to start a process; tests give another one.
        parent: Qt parent.
    """

    _shared: ClassVar["EngineClient | None"] = None

    def __init__(self, *, command: Sequence[str] | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._command = command
        self._warm: EngineProcess | None = None
        self._jobs: dict[JobHandle, EngineProcess] = {}
        self._users: set[int] = set()

    @classmethod
    def shared(cls, user: QObject | None = None) -> "EngineClient":
        """Return the client of this session.

        Args:
            user: Whoever may submit jobs until it calls `release`.
        """
        if EngineClient._shared is None:
            EngineClient._shared = cls()
        if user is not None:
            EngineClient._shared._users.add(id(user))
        return EngineClient._shared

    @property
    def pid(self) -> int | None:
        """Process number of the warm engine, None where none runs."""
        return self._warm.process.pid if self._warm is not None and self._warm.is_alive else None

    @property
    def is_ready(self) -> bool:
        """Whether the warm engine listens: a job begins at once."""
        return self._warm is not None and self._warm.is_alive and self._warm.is_ready

    def start(self) -> None:
        """Start the warm process before a job needs it: it takes seconds to import what it works with.

        Raises:
            BrainDiffusionError: no engine can be started.
        """
        self._warm_process(settings().runs_folder)

    def submit(self, request: Request, root: Path | None = None) -> JobHandle:
        """Make a run folder for a request and have an engine perform it.

        Args:
            request: The job; device and precision of the preferences replace `auto`.
            root: Parent of the run folder; None is the folder of the user's runs.

        Raises:
            BrainDiffusionError: the run folder cannot be made, or no engine can be started.
        """
        preferences = settings()
        run = Run.create(preferences.applied_to(request), root or preferences.runs_folder)
        engine = self._process_for(request, preferences.runs_folder)
        inbox = engine.open_inbox(run.path)
        engine.send(Submit(run=run.path))
        job = JobHandle(run, partial(_from_inbox, inbox, engine), partial(engine.cancel, run.path))
        job.ended.connect(self._forget_ended)
        self._jobs[job] = engine
        return job

    def abandon(self, job: JobHandle) -> None:
        """Stop a job and listen to it no more: no signal follows. A process of its own ends."""
        job.cancel()
        job.leave()
        self._forget_ended()

    def release(self, user: QObject) -> None:
        """End the use of `shared` by one user: without users, an idle warm process releases its memory.

        With the last user all processes end.
        """
        self._users.discard(id(user))
        if not self._users:
            self.close()
        elif self._warm is not None and self._warm not in self._jobs.values():
            self._warm.close()
            self._warm = None

    def close(self) -> None:
        """End all processes: politely, and by force after some seconds. Returns at once."""
        engines = {*self._jobs.values(), *([self._warm] if self._warm is not None else [])}
        self._warm = None
        for engine in engines:
            engine.close()

    def _process_for(self, request: Request, logs: Path) -> EngineProcess:
        """Return the warm process, or one for this job alone."""
        busy = any(engine is self._warm for engine in self._jobs.values())
        if request.job not in WARM_JOBS and (busy or request.job not in SHORT_JOBS):
            return EngineProcess(self._command or ENGINE, logs / f"engine-{request.job}.log")
        return self._warm_process(logs)

    def _warm_process(self, logs: Path) -> EngineProcess:
        if self._warm is None or not self._warm.is_alive:
            self._warm = EngineProcess(self._command or WARM_ENGINE, logs / "engine.log")
        return self._warm

    def _forget_ended(self) -> None:
        """Forget the jobs that are over, and end the processes that were theirs alone."""
        for job in [job for job in self._jobs if job.is_over]:
            engine = self._jobs.pop(job)
            if engine is not self._warm and engine.is_alive:
                engine.close()


def _from_inbox(inbox: Inbox, engine: EngineProcess) -> Generator[Event | Silent | None]:
    """Yield the events of a job, and `Silent` while its process does not answer."""
    while True:
        try:
            event = inbox.get(timeout=0.25)
        except queue.Empty:
            yield Silent(engine.silence) if engine.silence > SILENT_SECONDS else None
            continue
        if inbox.qsize() > BACKLOG and not isinstance(event, (*LAST, ArtifactWritten, Warned)):
            continue  # newer ones wait: a process that writes a million events must not hold up the viewer
        yield event
        if isinstance(event, LAST):
            return
