"""What a training will take, told before it starts: asked of an engine process of its own, which then ends.

On a CPU the process that answers counts itself, so each answer comes from a fresh one.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from qtpy.QtCore import QObject, QTimer, Signal

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import Estimated, EstimateRequest, Event, TrainRequest
from napari_braindiffusion.engine.client import ENGINE, EngineClient, JobHandle
from napari_braindiffusion.widgets.estimate_row import EstimateRow

PAUSE_MS = 1000
"""While the form changes faster than this, nothing is begun."""


class Estimating(QObject):
    """Answers the newest question, and forgets those before.

    Args:
        row: Where the answer is shown.
        parent: Whose end is its own.
    """

    told = Signal(object)
    """Estimated: memory first, then again with time."""
    failed = Signal(str)
    """Why there is no answer."""

    def __init__(self, row: EstimateRow, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._row = row
        self._client = EngineClient("estimate", command=ENGINE, parent=self)
        self._job: JobHandle | None = None
        self._wanted: TrainRequest | None = None
        self._runs = TemporaryDirectory(prefix="braindiffusion-", ignore_cleanup_errors=True)
        self._pause = QTimer(self, singleShot=True, interval=PAUSE_MS)
        self._pause.timeout.connect(self._begin)

    def ask(self, request: TrainRequest) -> None:
        """Tell soon what this takes, and nothing about what was asked before."""
        self.stop()
        self._wanted = request
        self._pause.start()

    def stop(self) -> None:
        """Answer nothing more of what was asked."""
        self._row.say("")
        self._wanted = None
        self._pause.stop()
        if self._job is not None:
            self._job.leave()
            self._job = None
            self._client.close()

    def close(self) -> None:
        """End for good."""
        self.stop()
        self._runs.cleanup()

    def _begin(self) -> None:
        if self._wanted is None:
            return
        try:
            self._job = job = self._client.submit(EstimateRequest(of=self._wanted), Path(self._runs.name))
        except BrainDiffusionError as error:
            self._on_failed(str(error))
            return
        self._row.say("Looking what this will take …")
        job.event.connect(self._on_event)
        job.failed.connect(self._on_failed)
        job.ended.connect(self._on_ended)

    def _on_failed(self, message: str) -> None:
        self._row.say(message)
        self.failed.emit(message)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Estimated):
            self._row.show_estimate(event)
            self.told.emit(event)

    def _on_ended(self) -> None:
        self._job = None
        self._client.close()
