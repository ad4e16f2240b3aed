"""Jobs in engine processes, as Qt signals."""

import os
import signal
import sys
import threading
from unittest.mock import MagicMock

import pytest
from qtpy.QtCore import QObject

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import (
    ArtifactWritten,
    DifferenceRequest,
    Finished,
    GenerateRequest,
    InspectRequest,
    PreviewRequest,
    Progress,
    Run,
    RunState,
    Warned,
)
from napari_braindiffusion.engine import job as jobs
from napari_braindiffusion.engine.client import EngineClient

TIMEOUT = 20_000


@pytest.fixture
def client(qtbot, fake_engine):
    client = EngineClient(command=fake_engine)
    yield client
    client.close()


def request(model="ok", **kwargs):
    return GenerateRequest(model=model, previews=True, **kwargs)


def test_a_job_tells_its_events_in_order_in_the_gui_thread(client, qtbot):
    heard, threads = [], set()
    job = client.submit(request(num_samples=2))
    job.event.connect(lambda event: (heard.append(event), threads.add(threading.current_thread())))
    with qtbot.waitSignal(job.ended, timeout=TIMEOUT):
        pass
    assert threads == {threading.main_thread()}
    lasting = [event for event in job.run.events() if getattr(event, "kind", "") != "preview"]
    assert [event for event in heard if getattr(event, "kind", "") != "preview"] == lasting
    assert heard[0].type == "started"
    assert heard[-1].message == "2 made"
    assert job.run.state is RunState.FINISHED


def test_announced_volumes_come_along(client, qtbot):
    volumes = []
    job = client.submit(request(seed=5))
    job.artifact.connect(lambda event, volume: volumes.append((event.kind, volume.data.max())))
    with qtbot.waitSignal(job.finished, timeout=TIMEOUT):
        pass
    assert volumes[-1] == ("volume", 105.0)
    assert {kind for kind, _ in volumes[:-1]} == {"preview"}


def test_one_engine_does_one_job_after_the_other(client, qtbot):
    first, second = client.submit(request("slow")), client.submit(request())
    order = []
    first.ended.connect(lambda: order.append("first"))
    second.ended.connect(lambda: order.append("second"))
    with qtbot.waitSignals([first.finished, second.finished], timeout=TIMEOUT):
        pass
    assert order == ["first", "second"]
    assert first.run.events()[0].pid == second.run.events()[0].pid == client.pid


def test_cancel_ends_within_a_step(client, qtbot):
    job = client.submit(request("slow", num_samples=50))
    with qtbot.waitSignal(job.artifact, timeout=TIMEOUT):
        pass
    steps = []
    job.progress.connect(steps.append)
    with qtbot.waitSignal(job.cancelled, timeout=TIMEOUT):
        job.cancel()
    assert len(steps) <= 2
    assert job.run.state is RunState.CANCELLED
    # The engine is warm still.
    with qtbot.waitSignal(client.submit(request()).finished, timeout=TIMEOUT):
        pass


def test_a_preview_has_no_progress_bar_and_a_generation_has(qtbot, monkeypatch, tmp_path):
    """Each bar repaints napari's window, which takes longer than a step of a preview."""
    bars = []
    monkeypatch.setattr(jobs, "progress", lambda **_: bars.append(MagicMock(n=0)) or bars[0])

    def events():
        yield Progress(stage="level 0", step=1, total=2)
        yield Finished()

    for asked, expected in ((PreviewRequest(request=GenerateRequest()), 0), (GenerateRequest(), 1)):
        job = jobs.JobHandle(Run.create(asked, tmp_path), events, lambda: None)
        with qtbot.waitSignals([job.progress, job.finished], timeout=TIMEOUT):
            pass
        assert len(bars) == expected


def test_bad_input_fails_in_its_own_words(client, qtbot):
    job = client.submit(request("bad"))
    with qtbot.waitSignal(job.failed, timeout=TIMEOUT) as failed:
        pass
    assert failed.args == ["There is no model 'bad': no such folder."]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_an_engine_that_is_killed_fails_its_job_and_the_next_gets_a_new_one(client, qtbot):
    job = client.submit(request("slow", num_samples=50))
    with qtbot.waitSignal(job.artifact, timeout=TIMEOUT):
        pass
    killed = client.pid
    with qtbot.waitSignal(job.failed, timeout=TIMEOUT) as failed:
        os.kill(killed, signal.SIGKILL)
    assert "want of memory" in failed.args[0]
    assert "Traceback" not in failed.args[0]
    assert job.run.state is RunState.INTERRUPTED
    with qtbot.waitSignal(client.submit(request()).finished, timeout=TIMEOUT):
        assert client.pid != killed


def test_all_open_jobs_of_a_dead_engine_fail(client, qtbot):
    dying, waiting = client.submit(request("dies")), client.submit(request())
    with qtbot.waitSignals([dying.failed, waiting.failed], timeout=TIMEOUT):
        pass


def test_a_long_job_has_a_process_of_its_own_that_ends_with_it(client, qtbot, engines, tmp_path):
    """A preview does not wait behind an inspection, and the memory of the inspection comes back."""
    generation = client.submit(request("slow", num_samples=50))
    with qtbot.waitSignal(generation.artifact, timeout=TIMEOUT):
        pass
    inspection = client.submit(InspectRequest(data_dir=tmp_path / "nothing"))
    with qtbot.waitSignal(inspection.failed, timeout=TIMEOUT):
        pass
    assert inspection.run.events()[0].pid != generation.run.events()[0].pid == client.pid
    qtbot.waitUntil(lambda: [one.pid for one in engines()] == [client.pid], timeout=TIMEOUT)
    assert not generation.is_over


def test_a_short_job_takes_the_warm_process_only_if_it_is_idle(client, qtbot, tmp_path):
    missing = DifferenceRequest(first=tmp_path / "a.nii", second=tmp_path / "b.nii")
    generation = client.submit(request("slow", num_samples=50))
    busy = client.submit(missing)
    with qtbot.waitSignal(busy.failed, timeout=TIMEOUT):
        pass
    with qtbot.waitSignal(generation.cancelled, timeout=TIMEOUT):
        generation.cancel()
    idle = client.submit(missing)
    with qtbot.waitSignal(idle.failed, timeout=TIMEOUT):
        pass
    assert busy.run.events()[0].pid != client.pid
    assert idle.run.events()[0].pid == client.pid


def test_an_engine_that_was_started_early_does_the_first_job(client, qtbot, engines):
    client.start()
    client.start()
    begun = client.pid
    assert begun in [one.pid for one in engines()]
    qtbot.waitUntil(lambda: client.is_ready, timeout=TIMEOUT)
    job = client.submit(request())
    with qtbot.waitSignal(job.finished, timeout=TIMEOUT):
        pass
    assert job.run.events()[0].pid == begun


def test_an_abandoned_job_is_cancelled_and_says_nothing_more(client, qtbot):
    job = client.submit(request("slow", num_samples=50))
    with qtbot.waitSignal(job.artifact, timeout=TIMEOUT):
        pass
    heard = []
    job.event.connect(heard.append)
    client.abandon(job)
    qtbot.waitUntil(lambda: job.run.state is RunState.CANCELLED, timeout=TIMEOUT)
    assert heard == []
    with qtbot.waitSignal(client.submit(request()).finished, timeout=TIMEOUT):
        pass


def test_a_shared_client_gives_memory_back_with_each_user_and_ends_with_the_last(client, qtbot, engines, monkeypatch):
    monkeypatch.setattr(EngineClient, "_shared", client)
    one, other = QObject(), QObject()
    assert EngineClient.shared(one) is EngineClient.shared(other) is client
    with qtbot.waitSignal(client.submit(request()).finished, timeout=TIMEOUT):
        pass
    client.release(one)
    qtbot.waitUntil(lambda: not engines(), timeout=TIMEOUT)
    job = client.submit(request("slow", num_samples=50))
    with qtbot.waitSignal(job.artifact, timeout=TIMEOUT):
        pass
    with qtbot.waitSignal(job.cancelled, timeout=TIMEOUT):
        client.release(other)
    qtbot.waitUntil(lambda: not engines(), timeout=TIMEOUT)


def test_closing_ends_the_engine_and_cancels_its_job(client, qtbot, engines):
    job = client.submit(request("slow", num_samples=50))
    with qtbot.waitSignal(job.artifact, timeout=TIMEOUT):
        pass
    with qtbot.waitSignal(job.cancelled, timeout=TIMEOUT):
        client.close()
    qtbot.waitUntil(lambda: not engines(), timeout=TIMEOUT)
    assert job.run.state is RunState.CANCELLED


def test_an_engine_that_does_not_listen_is_ended_by_force(qtbot, monkeypatch, engines):
    monkeypatch.setattr("napari_braindiffusion.engine.process.PATIENCE", 0.2)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); 'fake_engine'; time.sleep(600)"
    client = EngineClient(command=(sys.executable, "-c", deaf))
    job = client.submit(request())
    qtbot.waitUntil(lambda: bool(engines()), timeout=TIMEOUT)
    with qtbot.waitSignal(job.cancelled, timeout=TIMEOUT):
        client.close()
    qtbot.waitUntil(lambda: not engines(), timeout=TIMEOUT)


def test_an_engine_that_cannot_be_started_is_told(qtbot):
    with pytest.raises(BrainDiffusionError, match="cannot be started"):
        EngineClient(command=("/no/such/python",)).submit(request())


def test_a_result_that_is_gone_is_told_and_a_preview_that_is_gone_is_not(tmp_path):
    gone = str(tmp_path / "gone.nii.gz")
    announced = [ArtifactWritten(kind=kind, path=gone) for kind in ("preview", "volume")]
    free = threading.Event()
    free.set()
    ((event, volume),) = jobs._read_volumes(lambda: (one for one in announced), free)
    assert isinstance(event, Warned)
    assert "gone.nii.gz" in event.message
    assert volume is None
    assert free.is_set()
