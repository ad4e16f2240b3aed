"""What is asked while a preview is made: only the newest counts, and a slider that is dragged is followed."""

from types import SimpleNamespace

import pytest
from qtpy.QtCore import QObject, Signal

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import ArtifactWritten, GenerateRequest
from napari_braindiffusion.engine.preview import CoarsePreview

SHOWN = ArtifactWritten(kind="preview", path="brain.nii")


class Job(QObject):
    """Does nothing by itself; it must be told to, as no engine can be to the millisecond."""

    artifact, failed, ended = Signal(object, object), Signal(str), Signal()

    def __init__(self, request, folder):
        super().__init__()
        self.request, self.cancelled = request.request, False
        self.run = SimpleNamespace(path=folder / f"seed {self.request.seed}")
        self.run.path.mkdir()

    def cancel(self):
        self.cancelled = True


@pytest.fixture
def jobs():
    return []


@pytest.fixture
def coarse(qtbot, jobs):
    def submit(request, folder):
        if request.request.model == "bad":
            raise BrainDiffusionError("no")
        jobs.append(Job(request, folder))
        return jobs[-1]

    preview = CoarsePreview(submit)
    preview.heard = []
    preview.made.connect(preview.heard.append)
    preview.failed.connect(preview.heard.append)
    yield preview
    preview.close()


def seed(number):
    return GenerateRequest(seed=number)


def test_a_drag_is_followed_and_only_the_newest_counts(coarse, jobs, qtbot):
    for number in (1, 2, 3):
        coarse.ask(seed(number))
    qtbot.waitUntil(lambda: bool(jobs))
    assert [job.request.seed for job in jobs] == [3]
    coarse.ask(seed(4))
    coarse.ask(seed(5))
    assert not jobs[0].cancelled  # it shall be seen first
    jobs[0].artifact.emit(SHOWN, "brain 3")
    assert jobs[0].cancelled  # and need not be sharper
    jobs[0].ended.emit()
    assert not jobs[0].run.path.exists()
    assert [job.request.seed for job in jobs] == [3, 5]
    jobs[1].artifact.emit(SHOWN, "brain 5")
    assert not jobs[1].cancelled
    coarse.ask(seed(6))
    assert jobs[1].cancelled
    jobs[1].ended.emit()
    assert coarse.heard == ["brain 3", "brain 5"]
    assert jobs[2].request.seed == 6


def test_what_warms_or_was_stopped_shows_nothing(coarse, jobs, qtbot):
    coarse.warm(seed(1))
    assert not coarse.pending
    jobs[0].artifact.emit(SHOWN, "warm")
    jobs[0].failed.emit("not told")
    coarse.ask(seed(2))
    assert jobs[0].cancelled
    jobs[0].ended.emit()
    assert coarse.pending
    coarse.stop()
    assert jobs[1].cancelled
    jobs[1].artifact.emit(SHOWN, "stopped")
    jobs[1].ended.emit()
    assert coarse.heard == []
    coarse.ask(seed(3))
    qtbot.waitUntil(lambda: len(jobs) == 3)
    jobs[2].failed.emit("why")
    assert coarse.heard == ["why"]


def test_what_cannot_begin_is_told_unless_nobody_asked(coarse, jobs, qtbot):
    coarse.warm(GenerateRequest(model="bad"))
    assert coarse.heard == []
    with qtbot.waitSignal(coarse.failed):
        coarse.ask(GenerateRequest(model="bad"))
    assert coarse.heard == ["no"]
    assert not coarse.pending
