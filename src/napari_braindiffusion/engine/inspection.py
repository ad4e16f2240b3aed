"""A folder of volumes looked at: its headers at once, and then every volume, in an engine of its own."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from qtpy.QtCore import QObject, Signal

from braindiffusion.cohort.demographics import read_demographics
from braindiffusion.cohort.describe import Description, describe
from braindiffusion.cohort.find import find
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import Inspected, InspectRequest
from napari_braindiffusion.engine.client import EngineClient, JobHandle


@dataclass(frozen=True)
class Look:
    """What the names and headers of a folder say.

    Attributes:
        number: which look it was.
        descriptions: a row a volume.
        problems: sentences about the table of participants.
        error: why there is nothing.
    """

    number: int
    descriptions: tuple[Description, ...] = ()
    problems: tuple[str, ...] = ()
    error: str = ""


def look_at_headers(number: int, request: InspectRequest) -> Look:
    """Find volumes, and read headers. For a worker thread."""
    try:
        found = find(request.data_dir, modality=request.modality, labels=request.labels)
        people = read_demographics(request.participants) if request.participants is not None else None
        problems = people.problems([item.subject for item in found]) if people is not None else []
        return Look(number, tuple(describe(found, people)), tuple(problems))
    except BrainDiffusionError as error:
        return Look(number, error=str(error))


class Inspection(QObject):
    """Has the newest folder looked at, and forgets those before. Its runs are nobody's history.

    Args:
        parent: Whose end is its own.
    """

    seen = Signal(object)
    """Inspected: of one volume."""
    progress = Signal(object)
    ended = Signal(str)
    """What is to be said: empty where all was looked at, or a new look begins."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.engine = EngineClient("inspect", parent=self)
        self.job: JobHandle | None = None
        self._runs = TemporaryDirectory(prefix="braindiffusion-", ignore_cleanup_errors=True)

    def begin(self, request: InspectRequest) -> None:
        """Look at a folder. Thumbnails stay until the end."""
        self.stop()
        try:
            job = self.engine.submit(request, Path(self._runs.name))
        except BrainDiffusionError as error:
            self.ended.emit(str(error))
            return
        self.job = job
        job.event.connect(lambda event: self._on_event(job, event))
        job.progress.connect(lambda event: self.progress.emit(event) if job is self.job else None)
        job.finished.connect(lambda _: self._end(job, ""))
        job.failed.connect(lambda message: self._end(job, message))
        job.cancelled.connect(lambda _: self._end(job, "Not all volumes were looked at."))

    def stop(self) -> None:
        """Look no further."""
        if self.job is not None:
            self.job.cancel()

    def close(self) -> None:
        """End for good."""
        self.job = None
        self.engine.close()
        self._runs.cleanup()

    def _on_event(self, job: JobHandle, event: object) -> None:
        if isinstance(event, Inspected) and job is self.job:
            self.seen.emit(event)

    def _end(self, job: JobHandle, message: str) -> None:
        if job is self.job:
            self.job = None
            self.engine.close()  # it holds memory, and the next folder may never come
            self.ended.emit(message)
