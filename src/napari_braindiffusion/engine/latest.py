"""The newest of a series of requests, for forms that ask again with each change."""

import shutil
from pathlib import Path

from qtpy.QtCore import QObject, QTimer, Signal

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import PrivateFolder
from braindiffusion.runs import ArtifactWritten, Event, Progress, Request
from braindiffusion.volume import Volume
from napari_braindiffusion.engine.client import EngineClient
from napari_braindiffusion.engine.job import JobHandle


class LatestJob(QObject):
    """Perform the newest request, in run folders that are deleted afterwards; requests in between are dropped.

    Args:
        engine: Performs the jobs.
        parent: Qt parent.
        pause_ms: Changes within so many milliseconds count as one; 0: those of one turn of the event loop.
        follow: Whether results are shown while requests keep coming: a running job may show its first volume before
            the next request takes its place. Otherwise a running job is abandoned, and the next one begins when no
            request has come for `pause_ms`.
    """

    received = Signal(object)
    """Each event of the job."""
    volume = Signal(object)
    """Each volume that it made."""
    failed = Signal(str)
    """The reason why there is no result."""
    ended = Signal(str)
    """The job is over: empty if it finished, else the reason."""

    def __init__(
        self, engine: EngineClient, parent: QObject | None = None, *, pause_ms: int = 0, follow: bool = False
    ) -> None:
        super().__init__(parent)
        self.engine = engine
        self.job: JobHandle | None = None
        self.last: Request | None = None
        """The request that was submitted last."""
        self._follow = follow
        self._wanted: Request | None = None
        self._silent = self._shown = False
        self._reason = ""
        self._runs = PrivateFolder()
        self._pause = QTimer(self, singleShot=True, interval=pause_ms)
        self._pause.timeout.connect(self._begin)

    @property
    def pending(self) -> bool:
        """Whether a result will still be shown."""
        return self._wanted is not None or (self.job is not None and not self._silent)

    def ask(self, request: Request) -> None:
        """Perform this request soon."""
        self._wanted = request
        if not self._follow:
            self._abandon()
            self._pause.start()
        elif self.job is None:
            if not self._pause.isActive():
                self._pause.start()
        elif self._shown or self._silent:
            self.job.cancel()

    def warm(self, request: Request) -> None:
        """Have the engine load what this request needs; nothing is shown."""
        if self.job is None and self._wanted is None:
            self._silent, self._wanted = True, request
            self._begin()

    def stop(self) -> None:
        """Show nothing more of what was asked."""
        self._wanted = None
        self._pause.stop()
        if self.job is not None and self._follow:
            self._silent = True
            self.job.cancel()
        else:
            self._abandon()

    def cancel(self) -> None:
        """Cancel the job; `ended` follows."""
        if self.job is not None:
            self.job.cancel()

    def close(self) -> None:
        """Stop for good, and delete the run folders."""
        self._wanted = None
        self._pause.stop()
        self._abandon()
        self._runs.cleanup()

    def _abandon(self) -> None:
        job, self.job = self.job, None
        if job is not None:
            self.engine.abandon(job)

    def _begin(self) -> None:
        if self._wanted is None or self.job is not None:
            return
        self.last, self._wanted, self._shown = self._wanted, None, False
        try:
            self.job = job = self.engine.submit(self.last, Path(self._runs.name))
        except BrainDiffusionError as error:
            silent, self._silent = self._silent, False
            if not silent:
                self.failed.emit(str(error))
                self.ended.emit(str(error))
            return
        self._reason = ""
        job.event.connect(self._on_event)
        job.artifact.connect(self._on_artifact)
        job.failed.connect(self._on_failed)
        job.cancelled.connect(self._on_cancelled)
        job.ended.connect(self._on_ended)

    def _on_event(self, event: Event) -> None:
        if not self._silent:
            self.received.emit(event)
        elif isinstance(event, Progress) and self.job is not None:
            self.job.cancel()  # all that it needs is loaded

    def _on_failed(self, message: str) -> None:
        self._reason = message
        if not self._silent:
            self.failed.emit(message)

    def _on_cancelled(self, message: str) -> None:
        self._reason = message or "Cancelled."

    def _on_artifact(self, event: ArtifactWritten, volume: Volume | None) -> None:
        if volume is None or self._silent:
            return
        self._shown = True
        self.volume.emit(volume)
        if self._wanted is not None and self.job is not None:
            self.job.cancel()  # the next request does not wait for the sharper volume

    def _on_ended(self) -> None:
        job, self.job = self.job, None
        silent, self._silent = self._silent, False
        if job is not None and self._follow:
            shutil.rmtree(job.run.path, ignore_errors=True)
        if not silent:
            self.ended.emit(self._reason)
        if not self._pause.isActive():
            self._begin()
