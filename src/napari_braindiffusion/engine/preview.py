"""A coarse brain a second or two after each change of what is asked; it goes on following a slider that is dragged."""

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from qtpy.QtCore import QObject, QTimer, Signal

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import ArtifactWritten, GenerateRequest, PreviewRequest, Request
from braindiffusion.volume import Volume
from napari_braindiffusion.engine.client import JobHandle

PAUSE_MS = 100
"""So long all changes count as one."""


class CoarsePreview(QObject):
    """Makes the newest of what is asked, and forgets what was asked between. Its runs are nobody's history.

    A job shows a brain twice, blurred and then sharper. Who asks anew before the first waits for it, so that a slider
    that is dragged is followed; who asks after it ends the sharpening.

    Args:
        submit: Has an engine do a request in a run folder below another folder.
        parent: Whose end is its own.
    """

    made = Signal(object)
    """The Volume."""
    failed = Signal(str)
    """Why there is none."""

    def __init__(self, submit: Callable[[Request, Path], JobHandle], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._submit = submit
        self.job: JobHandle | None = None
        self.last: GenerateRequest | None = None
        """What was begun last."""
        self._wanted: GenerateRequest | None = None
        self._silent = self._shown = False
        self._runs = TemporaryDirectory(prefix="braindiffusion-", ignore_cleanup_errors=True)
        self._pause = QTimer(self, singleShot=True, interval=PAUSE_MS)
        self._pause.timeout.connect(self._begin)

    @property
    def pending(self) -> bool:
        """Whether something will be shown yet."""
        return self._wanted is not None or (self.job is not None and not self._silent)

    def ask(self, request: GenerateRequest) -> None:
        """Show this soon."""
        self._wanted = request
        if self.job is None:
            if not self._pause.isActive():
                self._pause.start()
        elif self._shown or self._silent:
            self.job.cancel()

    def warm(self, request: GenerateRequest) -> None:
        """Have the engine load what a preview will need, and show nothing."""
        if self.job is None and self._wanted is None:
            self._silent, self._wanted = True, request
            self._begin()

    def stop(self) -> None:
        """Show nothing more of what was asked."""
        self._wanted = None
        self._pause.stop()
        if self.job is not None:
            self._silent = True
            self.job.cancel()

    def close(self) -> None:
        """End for good."""
        self.stop()
        self._runs.cleanup()

    def _begin(self) -> None:
        if self._wanted is None or self.job is not None:
            return
        self.last, self._wanted, self._shown = self._wanted, None, False
        try:
            self.job = job = self._submit(PreviewRequest(request=self.last), Path(self._runs.name))
        except BrainDiffusionError as error:
            if not self._silent:
                self.failed.emit(str(error))
            self._silent = False
            return
        job.artifact.connect(self._on_artifact)
        job.failed.connect(self._on_failed)
        job.ended.connect(self._on_ended)

    def _on_artifact(self, event: ArtifactWritten, volume: Volume | None) -> None:
        if volume is None or self._silent:
            return
        self._shown = True
        self.made.emit(volume)
        if self._wanted is not None and self.job is not None:
            self.job.cancel()  # nobody needs it any sharper

    def _on_failed(self, message: str) -> None:
        if not self._silent:
            self.failed.emit(message)

    def _on_ended(self) -> None:
        job, self.job = self.job, None
        self._silent = False
        if job is not None:
            shutil.rmtree(job.run.path, ignore_errors=True)
        if not self._pause.isActive():
            self._begin()
