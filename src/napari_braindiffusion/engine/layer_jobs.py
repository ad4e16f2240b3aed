"""Jobs about layers: these become files, then the engine works on the files. One job at a time."""

from collections.abc import Callable, Sequence
from pathlib import Path

from napari.layers import Layer
from napari.utils.notifications import show_warning
from napari.viewer import Viewer
from qtpy.QtCore import QObject, Signal

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import ArtifactWritten, Finished, Request
from braindiffusion.volume import Volume
from napari_braindiffusion.engine.client import EngineClient, JobHandle
from napari_braindiffusion.layers.files import as_paths

Made = list[tuple[ArtifactWritten, Volume | None]]
"""What a job wrote, in its order."""


class LayerJobs(QObject):
    """What is asked begins with `begun` and ends with one of `finished`, `failed` and `cancelled`.

    Args:
        viewer: Where the layers are.
        name: Of the engine's log file.
        parent: Whose end is its own.
    """

    begun = Signal(str)
    """What goes on first."""
    progress = Signal(object)
    finished = Signal(object, object)
    """Run, and what it Made."""
    failed = Signal(str)
    cancelled = Signal()

    def __init__(self, viewer: Viewer, name: str, parent: QObject) -> None:
        super().__init__(parent)
        self.job: JobHandle | None = None
        self._viewer = viewer
        self._engine = EngineClient(name, parent=self)
        self._asked: object | None = None
        """Stands for what is asked until its end: whoever comes back with another one is too late."""
        self._made: Made = []

    @property
    def is_busy(self) -> bool:
        """Whether something is asked that has not ended."""
        return self._asked is not None

    def ask(self, sources: Sequence[Layer | Path], request: Callable[[list[Path]], Request]) -> None:
        """Have the engine do what `request` makes of a path for each source; nothing while another job goes on."""
        if self.is_busy:
            return
        asked = self._asked = object()

        def go_on(paths: list[Path] | None) -> None:
            if self._asked is not asked:
                return
            if paths is None:
                self._end()
                self.cancelled.emit()  # why was told already
            else:
                self._submit(request(paths))

        self.begun.emit("Starting worker process …")
        try:
            as_paths(self._viewer, sources, go_on)
        except BrainDiffusionError as error:
            self._fail(str(error))

    def cancel(self) -> None:
        """Ask for the end of what is asked."""
        if self.job is not None:
            self.job.cancel()
        elif self.is_busy:
            self._end()
            self.cancelled.emit()

    def close(self) -> None:
        """End for good. Nothing is told any more."""
        self._end()
        self._engine.close()

    def _submit(self, request: Request) -> None:
        try:
            self.job = job = self._engine.submit(request)
        except BrainDiffusionError as error:
            self._fail(str(error))
            return
        self._made = []
        job.progress.connect(self.progress)
        job.artifact.connect(self._on_artifact)
        job.warned.connect(lambda event: show_warning(event.message))
        job.finished.connect(self._on_finished)
        job.failed.connect(self._fail)
        job.cancelled.connect(self._on_cancelled)

    def _on_artifact(self, event: ArtifactWritten, volume: Volume | None) -> None:
        self._made.append((event, volume))

    def _on_finished(self, event: Finished) -> None:
        job = self._end()
        if job is not None:
            self.finished.emit(job.run, self._made)

    def _on_cancelled(self, message: str) -> None:
        if self._end() is not None:
            self.cancelled.emit()

    def _fail(self, message: str) -> None:
        if self.is_busy:
            self._end()
            self.failed.emit(message)

    def _end(self) -> JobHandle | None:
        job, self.job, self._asked = self.job, None, None
        return job
