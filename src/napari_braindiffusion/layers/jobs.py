"""Jobs on layers: the layers are written to files, then an engine works on the files. One job at a time."""

from collections.abc import Callable, Sequence
from pathlib import Path

from napari.layers import Layer
from napari.utils.notifications import show_warning
from napari.viewer import Viewer
from qtpy.QtCore import QObject, Signal

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import ArtifactWritten, Request
from braindiffusion.volume import Volume
from napari_braindiffusion.engine.client import EngineClient
from napari_braindiffusion.engine.job import JobHandle
from napari_braindiffusion.layers.files import as_paths

Artifacts = list[tuple[ArtifactWritten, Volume | None]]
"""The files that a job wrote, in order, each with its volume where it is one."""


class LayerJob(QObject):
    """A job on layers. It begins with `begun` and ends with one of `finished`, `failed` and `cancelled`.

    Args:
        viewer: Holds the layers.
        engine: Performs the job.
        parent: Qt parent.
    """

    begun = Signal(str)
    """The first status message."""
    progress = Signal(object)
    artifact = Signal(object, object)
    """ArtifactWritten as it comes, and its Volume where it is one; previews, too."""
    silent = Signal(float)
    """Seconds for which the worker process has not answered; `cancel` ends it by force."""
    finished = Signal(object, object)
    """Run and Artifacts."""
    failed = Signal(str)
    cancelled = Signal()
    ended = Signal()
    """After each of the three."""

    def __init__(self, viewer: Viewer, engine: EngineClient, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.job: JobHandle | None = None
        self.engine = engine
        self._viewer = viewer
        self._token: object | None = None
        """Identifies the request until it ends: an answer that carries another one is late."""
        self._artifacts: Artifacts = []

    @property
    def is_busy(self) -> bool:
        """Whether a request has not ended."""
        return self._token is not None

    def ask(self, sources: Sequence[Layer | Path], request: Callable[[list[Path]], Request]) -> None:
        """Submit what `request` makes of one path for each source.

        Raises:
            BrainDiffusionError: the job before has not ended.
        """
        if self.is_busy:
            raise BrainDiffusionError("A job of this dock is still running: wait until it ends.")
        token = self._token = object()

        def submit(paths: list[Path]) -> None:
            if self._token is token:
                self._submit(request(paths))

        def fail(error: BrainDiffusionError) -> None:
            if self._token is token:
                self._on_failed(str(error))

        self.begun.emit("Starting worker process …")
        try:
            as_paths(self._viewer, sources, submit, fail)
        except BrainDiffusionError as error:
            fail(error)

    def cancel(self) -> None:
        """Cancel the job."""
        if self.job is not None:
            self.job.cancel()
        elif self.is_busy:
            self._on_cancelled()

    def close(self) -> None:
        """Cancel for good. No signal follows."""
        if (job := self._end()) is not None:
            self.engine.abandon(job)

    def _submit(self, request: Request) -> None:
        try:
            self.job = job = self.engine.submit(request)
        except BrainDiffusionError as error:
            self._on_failed(str(error))
            return
        self._artifacts = []
        job.progress.connect(self.progress)
        job.silent.connect(self.silent)
        job.artifact.connect(self._on_artifact)
        job.warned.connect(lambda event: show_warning(event.message))
        job.finished.connect(lambda _: self._on_finished())
        job.failed.connect(self._on_failed)
        job.cancelled.connect(lambda _: self._on_cancelled())

    def _on_artifact(self, event: ArtifactWritten, volume: Volume | None) -> None:
        if event.kind != "preview":
            self._artifacts.append((event, volume))
        self.artifact.emit(event, volume)

    def _on_finished(self) -> None:
        if (job := self._end()) is not None:
            self.finished.emit(job.run, self._artifacts)
            self.ended.emit()

    def _on_cancelled(self) -> None:
        if self.is_busy:
            self._end()
            self.cancelled.emit()
            self.ended.emit()

    def _on_failed(self, message: str) -> None:
        if self.is_busy:
            self._end()
            self.failed.emit(message)
            self.ended.emit()

    def _end(self) -> JobHandle | None:
        job, self.job, self._token = self.job, None, None
        return job
