"""Jobs in engine processes, as Qt signals: start, progress, cancel.

The thread boundary
-------------------
Three parties, and who may call whom:

- **The GUI thread** owns `EngineClient`, `JobHandle`, every dock, the viewer and its layers. It writes orders into the
  engine's standard input (a line each, never more than a pipe holds) and reads nothing from it.
- **The reader** (one daemon thread per engine process) reads the engine's answers and puts each event into the inbox of
  its run. It knows no Qt.
- **The listener** (one napari `thread_worker` generator per job) takes events out of the inbox, reads the volumes that
  they announce from the disk, and yields both. Its `yielded` signal is queued to the GUI thread, where `JobHandle`
  turns it into typed signals. That it is a napari worker makes each job a line in napari's list of tasks and part of
  its "close?" question.

So slots of `JobHandle` signals always run in the GUI thread and may touch layers; nothing else may.

A job ends with exactly one of `finished`, `failed`, `cancelled`, and then `ended`. When the engine dies in the middle
of a job, the job has `failed` with one plain sentence, and the next `submit` starts a new engine.
"""

import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from napari.qt.threading import GeneratorWorker, create_worker
from napari.utils import progress
from qtpy.QtCore import QObject, QThreadPool, Signal

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import (
    ArtifactWritten,
    Cancelled,
    CheckpointWritten,
    Continued,
    Event,
    Failed,
    Finished,
    Metric,
    Paused,
    Progress,
    Request,
    Run,
    Warned,
)
from braindiffusion.runs.messages import Cancel, Submit
from braindiffusion.volume import Volume, load_volume
from napari_braindiffusion.engine.process import LAST, EngineProcess, Inbox
from napari_braindiffusion.settings import settings

ENGINE = (sys.executable, "-m", "braindiffusion.engine")
BAR_SECONDS = 0.5
"""napari's bars are painted, with the whole window, whenever they move: not more often than this."""
BRAINS = ("volume", "preview", "trajectory")

Heard = tuple[Event, Volume | None] | None
"""What a listener yields: an event with the volume that it announces, or None to let napari look whether to abort."""


class JobHandle(QObject):
    """One job on its way. Lives in the GUI thread.

    Args:
        run: The run folder that the job fills.
        events: Generator function of the job's events (None when there is nothing new); it is run in a worker thread.
        cancel: Asks the job to stop.
        cancel_on_abort: Whether the job shall stop when napari stops its worker (it does so when its window closes).
    """

    event = Signal(object)
    progress = Signal(object)
    metric = Signal(object)
    artifact = Signal(object, object)
    """ArtifactWritten, and its Volume where it is a brain."""
    checkpoint = Signal(object)
    paused = Signal(bool)
    """True as long as it holds, False when it goes on."""
    warned = Signal(object)
    finished = Signal(object)
    failed = Signal(str)
    cancelled = Signal(str)
    ended = Signal()

    def __init__(
        self,
        run: Run,
        events: Callable[[], Generator[Event | None]],
        cancel: Callable[[], None],
        *,
        cancel_on_abort: bool = True,
    ) -> None:
        super().__init__()
        self.run = run
        self.is_over = False
        self._cancel = cancel
        self._bar: progress | None = None
        self._bar_moved = 0.0
        self._heard: deque[tuple[Event, Volume | None]] = deque()
        self._telling = False
        # Set while the GUI thread has no preview left to show: whoever makes them faster than that wastes them.
        self._may_preview = threading.Event()
        self._may_preview.set()
        listening = _Named(_with_volumes, events, self._may_preview)
        listening.label = f"{run.request.job} ({run.name})"
        worker: GeneratorWorker[Heard, None, None] = create_worker(listening)
        worker.yielded.connect(self._hear)
        if cancel_on_abort:
            worker.aborted.connect(self.cancel)
        # Not kept beyond the job: it knows the window that it was born in.
        self._worker: GeneratorWorker[Heard, None, None] | None = worker
        worker.start()

    def cancel(self) -> None:
        """Ask the job to stop; `cancelled` follows within one step of it."""
        if not self.is_over:
            self._cancel()

    def leave(self) -> None:
        """Stop listening. The job goes on; no signal follows."""
        if self._worker is not None:
            self._worker.quit()
        self._end()

    def _hear(self, heard: Heard) -> None:
        # napari's progress bars let Qt process events, so the next one may come in while this one is told.
        if heard is not None:
            self._heard.append(heard)
        if self._telling:
            return
        self._telling = True
        try:
            while self._heard and not self.is_over:
                self._tell(*self._heard.popleft())
        finally:
            self._telling = False

    def _tell(self, event: Event, volume: Volume | None) -> None:
        self.event.emit(event)
        match event:
            case Progress():
                self.progress.emit(event)
                self._show_progress(event)
            case Metric():
                self.metric.emit(event)
            case ArtifactWritten():
                self.artifact.emit(event, volume)
                if event.kind == "preview":
                    self._may_preview.set()
            case CheckpointWritten():
                self.checkpoint.emit(event)
            case Warned():
                self.warned.emit(event)
            case Paused() | Continued():
                self.paused.emit(isinstance(event, Paused))
            case Finished() | Failed() | Cancelled():
                self._end()
                match event:
                    case Finished():
                        self.finished.emit(event)
                    case Failed():
                        self.failed.emit(event.message)
                    case Cancelled():
                        self.cancelled.emit(event.message)
                self.ended.emit()

    def _show_progress(self, event: Progress) -> None:
        """Move the bar in napari's activity dock; each stage has a new one."""
        description = f"{self.run.request.job}: {event.stage}"
        bar, now = self._bar, time.monotonic()
        if bar is not None and now - self._bar_moved < BAR_SECONDS and bar.n <= event.step < event.total:
            return
        self._bar_moved = now
        if bar is None or bar.desc.removesuffix(": ") != description or event.step < bar.n:
            self._close_bar()
            bar = self._bar = progress(total=event.total, desc=description)
        bar.update(event.step - bar.n)

    def _end(self) -> None:
        self.is_over = True
        self._worker = None
        self._close_bar()

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class EngineClient(QObject):
    """A warm engine process for jobs that are done one after the other. The process starts with the first job.

    Args:
        name: What its log file is called.
        command: How to start it; for tests that force a failure.
    """

    def __init__(self, name: str, *, command: Sequence[str] = ENGINE, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._name = name
        self._command = tuple(command)
        self._engine: EngineProcess | None = None
        self._jobs: list[JobHandle] = []

    @property
    def pid(self) -> int | None:
        """Process number of the engine, None where none runs."""
        return self._engine.process.pid if self._engine is not None and self._engine.is_alive else None

    def submit(self, request: Request, root: Path | None = None) -> JobHandle:
        """Make a run folder for the request and have the engine do it.

        Args:
            request: What to do; the preferences decide what it leaves to `auto`.
            root: Folder of the run folder; None is where the user's runs are.

        Raises:
            BrainDiffusionError: the run folder cannot be made, or no engine can be started.
        """
        preferences = settings()
        run = Run.create(preferences.applied_to(request), root or preferences.runs_folder)
        if self._engine is None or not self._engine.is_alive:
            self._engine = EngineProcess(self._command, preferences.runs_folder / f"engine-{self._name}.log")
        engine = self._engine
        inbox = engine.open_inbox(run.path)
        engine.send(Submit(run=run.path))
        job = JobHandle(run, partial(_from_inbox, inbox), partial(engine.send, Cancel(run=run.path)))
        job.ended.connect(self._forget_ended)
        self._jobs.append(job)
        return job

    def close(self) -> None:
        """End the engine: politely, and if it does not listen, by force. Returns at once."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def _forget_ended(self) -> None:
        self._jobs = [job for job in self._jobs if not job.is_over]


def _from_inbox(inbox: Inbox) -> Generator[Event | None]:
    while True:
        try:
            event = inbox.get(timeout=0.25)
        except queue.Empty:
            yield None
            continue
        yield event
        if isinstance(event, LAST):
            return


def _with_volumes(events: Callable[[], Generator[Event | None]], may_preview: threading.Event) -> Generator[Heard]:
    """The events, each with the volume that it announces, read here so that the GUI thread never waits for a disk.

    It mostly waits, perhaps for days: it takes no place in Qt's pool, which has one a core.
    """
    QThreadPool.globalInstance().releaseThread()
    try:
        yield from _heard(events, may_preview)
    finally:
        QThreadPool.globalInstance().reserveThread()


def _heard(events: Callable[[], Generator[Event | None]], may_preview: threading.Event) -> Generator[Heard]:
    for event in events():
        if event is None:
            yield None
        elif isinstance(event, ArtifactWritten) and event.kind == "preview" and not may_preview.is_set():
            continue
        elif isinstance(event, ArtifactWritten) and event.kind in BRAINS:
            try:
                volume = load_volume(Path(event.path))
            except BrainDiffusionError as error:
                # A preview may be gone already, replaced by a better one; anything else that is missing is told.
                if event.kind != "preview":
                    yield Warned(message=str(error)), None
                continue
            if event.kind == "preview":
                may_preview.clear()
            yield event, volume
        else:
            yield event, None


class _Named(partial[Any]):
    """A function that napari's task list calls by a name that a person understands."""

    label = ""

    def __repr__(self) -> str:
        return self.label
