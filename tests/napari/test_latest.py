"""What is asked while a preview is made: only the newest counts, and a slider that is dragged is followed."""

from types import SimpleNamespace

import pytest
from qtpy.QtCore import QObject, Signal

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import ArtifactWritten, GenerateRequest, PreviewRequest, Progress
from napari_braindiffusion.engine.latest import LatestJob

SHOWN = ArtifactWritten(kind="preview", path="brain.nii")


class Job(QObject):
    """Does nothing by itself; it must be told to, as no engine can be to the millisecond."""

    event, artifact, ended = Signal(object), Signal(object, object), Signal()
    failed, cancelled = Signal(str), Signal(str)

    def __init__(self, request, folder):
        super().__init__()
        self.request, self.was_cancelled = request.request, False
        self.run = SimpleNamespace(path=folder / f"seed {self.request.seed}")
        self.run.path.mkdir()

    def cancel(self):
        self.was_cancelled = True


@pytest.fixture
def jobs():
    return []


@pytest.fixture
def latest(qtbot, jobs):
    def submit(request, folder):
        if request.request.model == "bad":
            raise BrainDiffusionError("no")
        jobs.append(Job(request, folder))
        return jobs[-1]

    engine = SimpleNamespace(submit=submit, abandon=lambda job: job.cancel())
    preview = LatestJob(engine, follow=True)
    preview.heard = []
    preview.volume.connect(preview.heard.append)
    preview.failed.connect(preview.heard.append)
    yield preview
    preview.close()


def seed(number):
    return PreviewRequest(request=GenerateRequest(seed=number))


def test_a_drag_is_followed_and_only_the_newest_counts(latest, jobs, qtbot):
    for number in (1, 2, 3):
        latest.ask(seed(number))
    qtbot.waitUntil(lambda: bool(jobs))
    assert [job.request.seed for job in jobs] == [3]
    latest.ask(seed(4))
    latest.ask(seed(5))
    assert not jobs[0].was_cancelled  # it shall be seen first
    jobs[0].artifact.emit(SHOWN, "brain 3")
    assert jobs[0].was_cancelled  # and need not be sharper
    jobs[0].ended.emit()
    assert not jobs[0].run.path.exists()
    assert [job.request.seed for job in jobs] == [3, 5]
    jobs[1].artifact.emit(SHOWN, "brain 5")
    assert not jobs[1].was_cancelled
    latest.ask(seed(6))
    assert jobs[1].was_cancelled
    jobs[1].ended.emit()
    assert latest.heard == ["brain 3", "brain 5"]
    assert jobs[2].request.seed == 6


def test_what_warms_or_was_stopped_shows_nothing(latest, jobs, qtbot):
    latest.warm(seed(1))
    assert not latest.pending
    assert not jobs[0].was_cancelled
    jobs[0].event.emit(Progress(stage="level 0", step=1, total=4))
    assert jobs[0].was_cancelled  # the model is loaded
    jobs[0].artifact.emit(SHOWN, "warm")
    jobs[0].failed.emit("not told")
    latest.ask(seed(2))
    assert jobs[0].was_cancelled
    jobs[0].ended.emit()
    assert latest.pending
    latest.stop()
    assert jobs[1].was_cancelled
    jobs[1].artifact.emit(SHOWN, "stopped")
    jobs[1].ended.emit()
    assert latest.heard == []
    latest.ask(seed(3))
    qtbot.waitUntil(lambda: len(jobs) == 3)
    jobs[2].failed.emit("why")
    assert latest.heard == ["why"]


def test_what_cannot_begin_is_told_unless_nobody_asked(latest, jobs, qtbot):
    latest.warm(PreviewRequest(request=GenerateRequest(model="bad")))
    assert latest.heard == []
    with qtbot.waitSignal(latest.failed):
        latest.ask(PreviewRequest(request=GenerateRequest(model="bad")))
    assert latest.heard == ["no"]
    assert not latest.pending


def test_a_form_at_rest_asks_once_and_what_was_asked_before_is_abandoned(qtbot, jobs, tmp_path):
    def submit(request, folder):
        jobs.append(Job(request, folder))
        return jobs[-1]

    latest = LatestJob(SimpleNamespace(submit=submit, abandon=lambda job: job.cancel()), pause_ms=50)
    ended = []
    latest.ended.connect(ended.append)
    latest.ask(seed(1))
    qtbot.waitUntil(lambda: len(jobs) == 1)
    for number in (2, 3):
        latest.ask(seed(number))
    assert jobs[0].was_cancelled
    qtbot.waitUntil(lambda: len(jobs) == 2)
    assert jobs[1].request.seed == 3
    jobs[1].cancelled.emit("")
    jobs[1].ended.emit()
    assert ended == ["Cancelled."]
    assert jobs[1].run.path.exists()  # its files are still shown
    latest.close()
    assert not jobs[1].run.path.exists()
