"""One job in an engine process, as Qt signals.

The thread boundary
-------------------
Three parties, and who may call whom:

- **The GUI thread** owns `EngineClient`, `JobHandle`, every dock, the viewer and its layers. It writes orders into the
  engine's standard input (a line each, never more than a pipe holds) and reads nothing from it.
- **The reader** (one daemon thread per engine process) reads the engine's answers and puts each event into the inbox of
  its run. It knows no Qt.
- **The listener** (one napari `thread_worker` generator per job) takes events out of the inbox, reads the volumes that
  they announce from the disk, and yields both. Its `yielded` signal is queued to the GUI thread, where `JobHandle`
  turns it into typed signals. Because it is a napari worker, each job is listed among napari's tasks and counts for
  its "close?" question.

So slots of `JobHandle` signals always run in the GUI thread and may touch layers; nothing else may.

A job ends with exactly one of `finished`, `failed`, `cancelled`, and then `ended`. When the engine dies in the middle
of a job, the job has `failed` with one plain sentence.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from napari.qt.threading import GeneratorWorker, create_worker
from napari.utils import progress
from qtpy.QtCore import QObject, QThreadPool, QTimer, Signal

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
    Run,
    Warned,
)
from braindiffusion.volume import Volume, load_volume
from napari_braindiffusion.engine.threads import load_for_layers

BAR_SECONDS = 0.5
"""Seconds between two updates of napari's progress bar: each repaints the whole window."""
VOLUME_KINDS = ("volume", "labels", "preview", "trajectory")
"""Kinds of artifacts that are volumes."""

AT_ONCE = 200
"""Events of a job that may wait in Qt's queue: more would hold up what the user does."""


@dataclass(frozen=True)
class Silent:
    """The process of a job has not answered for some seconds: it is stopped, or hangs."""

    seconds: float


Received = tuple[Event | Silent, Volume | None] | None
"""Values of a listener: an event with the volume that it announces, or None so that napari can abort the worker."""


class JobHandle(QObject):
    """A running job. Lives in the GUI thread.

    Args:
        run: The run folder that the job fills.
        events: Generator function of the job's events (None when there is nothing new); it runs in a worker thread.
        cancel: Function that asks the job to stop.
        cancel_on_abort: Whether the job stops when napari stops its worker (it does so when its window closes).
    """

    event = Signal(object)
    progress = Signal(object)
    metric = Signal(object)
    artifact = Signal(object, object)
    """ArtifactWritten, and its Volume where it is one."""
    checkpoint = Signal(object)
    silent = Signal(float)
    """Seconds for which the job's process has not answered; `cancel` ends it by force."""
    paused = Signal(bool)
    """True when the job pauses, False when it continues."""
    warned = Signal(object)
    finished = Signal(object)
    failed = Signal(str)
    cancelled = Signal(str)
    ended = Signal()

    def __init__(
        self,
        run: Run,
        events: "Events",
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
        self._queue: deque[tuple[Event | Silent, Volume | None]] = deque()
        self._emitting = False
        # Set while the GUI thread has shown the last preview; further ones are skipped until then.
        self._may_preview = threading.Event()
        self._may_preview.set()
        self._room, self._taken = threading.Semaphore(AT_ONCE), 0
        listener = _Named(_events_with_volumes, events, self._may_preview, self._room)
        listener.label = f"{run.request.job} ({run.name})"
        worker: GeneratorWorker[Received, None, None] = create_worker(listener)
        worker.yielded.connect(self._receive)
        if cancel_on_abort:
            worker.aborted.connect(self.cancel)
        # Released when the job ends: a worker holds the window that it was created in.
        self._worker: GeneratorWorker[Received, None, None] | None = worker
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

    def _receive(self, received: Received) -> None:
        # napari's progress bars process Qt events, so the next event may arrive while this one is emitted.
        if received is not None:
            self._queue.append(received)
        if self._emitting:
            return
        self._emitting = True
        try:
            while self._queue and not self.is_over:
                self._taken += 1
                if self._taken == AT_ONCE:  # the listener goes on when Qt has had a turn with everything else
                    self._taken = 0
                    QTimer.singleShot(0, partial(self._room.release, AT_ONCE))
                self._emit(*self._queue.popleft())
        finally:
            self._emitting = False

    def _emit(self, event: Event | Silent, volume: Volume | None) -> None:
        if isinstance(event, Silent):
            self.silent.emit(event.seconds)
            return
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
        """Move the bar in napari's activity dock; each stage has a new one.

        A preview has none: each bar repaints the whole window, which takes longer than a step of a preview.
        """
        if self.run.request.job == "preview":
            return
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


Events = Callable[[], Generator[Event | Silent | None]]


def _events_with_volumes(
    events: Events, may_preview: threading.Event, room: threading.Semaphore
) -> Generator[Received]:
    """Yield the events, each with the volume that it announces, which is read here and not in the GUI thread.

    The listener mostly waits, perhaps for days, so it gives back its place in Qt's pool, which has one a core.
    """
    QThreadPool.globalInstance().releaseThread()
    try:
        for received in _read_volumes(events, may_preview):
            if received is not None:
                while not room.acquire(timeout=0.25):  # the GUI thread takes its time
                    yield None
            yield received
    finally:
        QThreadPool.globalInstance().reserveThread()


def _read_volumes(events: Events, may_preview: threading.Event) -> Generator[Received]:
    for event in events():
        if event is None:
            yield None
        elif isinstance(event, ArtifactWritten) and event.kind == "preview" and not may_preview.is_set():
            continue
        elif isinstance(event, ArtifactWritten) and event.kind in VOLUME_KINDS:
            load_for_layers()
            try:
                volume = load_volume(Path(event.path))
            except BrainDiffusionError as error:
                # A preview may be replaced already by a newer one; any other missing file is reported.
                if event.kind != "preview":
                    yield Warned(message=str(error)), None
                continue
            if event.kind == "preview":
                may_preview.clear()
            yield event, volume
        else:
            yield event, None


class _Named(partial[Any]):
    """A function with a readable name for napari's task list."""

    label = ""

    def __repr__(self) -> str:
        return self.label
