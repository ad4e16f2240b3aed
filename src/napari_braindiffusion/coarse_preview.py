"""A coarse brain a second or two after each change of what is asked: the first two levels of the cascade."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from qtpy.QtCore import QObject, QTimer, Signal

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import ArtifactWritten, GenerateRequest, Request
from braindiffusion.volume import Volume
from napari_braindiffusion.jobs import JobHandle

LEVELS = 2
PAUSE_MS = 200
"""While a slider moves faster than this, nothing is begun."""


class CoarsePreview(QObject):
    """Makes the newest of what is asked, and forgets what was asked before. Its runs are nobody's history.

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
        self._runs = TemporaryDirectory(prefix="braindiffusion-", ignore_cleanup_errors=True)
        self._pause = QTimer(self, singleShot=True, interval=PAUSE_MS)
        self._pause.timeout.connect(self._begin)

    @property
    def pending(self) -> bool:
        """Whether something will be shown yet."""
        return self._wanted is not None or self.job is not None

    def ask(self, request: GenerateRequest) -> None:
        """Show this soon, and nothing that was asked before."""
        update = {"levels": LEVELS, "num_samples": 1, "previews": False, "trajectory": False, "steps": None}
        self._wanted = request.model_copy(update=update)
        if self.job is not None:
            self.job.cancel()
        self._pause.start()

    def stop(self) -> None:
        """Show nothing more of what was asked."""
        self._wanted = None
        self._pause.stop()
        if self.job is not None:
            self.job.cancel()

    def close(self) -> None:
        """End for good."""
        self.stop()
        self._runs.cleanup()

    def _begin(self) -> None:
        if self._wanted is None or self.job is not None:
            return
        self.last, self._wanted = self._wanted, None
        try:
            self.job = job = self._submit(self.last, Path(self._runs.name))
        except BrainDiffusionError as error:
            self.failed.emit(str(error))
            return
        job.artifact.connect(self._on_artifact)
        job.failed.connect(self.failed)
        job.ended.connect(self._on_ended)

    def _on_artifact(self, event: ArtifactWritten, volume: Volume | None) -> None:
        if event.kind == "volume" and volume is not None and self._wanted is None:
            self.made.emit(volume)

    def _on_ended(self) -> None:
        self.job = None
        if self._wanted is not None and not self._pause.isActive():
            self._begin()
