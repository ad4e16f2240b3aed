"""Engine processes that are stopped, hang, or write nonsense: told, ended by force, and nothing waits for them."""

import os
import signal
import sys

import pytest
from qtpy.QtCore import QTimer

from braindiffusion.runs import DifferenceRequest, GenerateRequest, Run, RunState, TrainRequest
from napari_braindiffusion.engine import client as clients
from napari_braindiffusion.engine import job as jobs
from napari_braindiffusion.engine import process as processes
from napari_braindiffusion.engine import stall, trainings
from napari_braindiffusion.engine.client import EngineClient
from napari_braindiffusion.engine.stall import StallMonitor
from napari_braindiffusion.widgets.progress_row import ProgressRow

TIMEOUT = 60_000
pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGSTOP")

# An engine that writes what is no answer, and answers: bytes, lines without an end, five thousand events.
MAD = """
import sys
from braindiffusion.runs import Cancelled, Finished, Log, Progress
from braindiffusion.runs.messages import RunEvent, parse_command
run = parse_command(sys.stdin.readline()).run
out = sys.stdout.buffer
def say(event):
    out.write(RunEvent(run=run, event=event).model_dump_json().encode() + b"\\n")
out.write(bytes(range(256)) * 100 + b"\\n")
out.write(b"x" * 3_000_000 + b"\\n")
for _ in range(1000):
    out.write(b'{"type":"event","run":3}\\n')
line = RunEvent(run=run, event=Progress(stage="a", step=1, total=2)).model_dump_json().encode() + b"\\n"
out.write(line * 5_000)
say(Log(message="the last but one"))
say(Finished(message="done all the same"))
out.flush()
sys.stdin.read()
"""


@pytest.fixture
def client(qtbot, fake_engine):
    client = EngineClient(command=fake_engine)
    yield client
    client.close()


@pytest.fixture
def impatient(monkeypatch):
    """Silence is noticed after half a second, from when it is called."""

    def shorten():
        for module in (processes, clients, trainings):
            monkeypatch.setattr(module, "SILENT_SECONDS", 0.5)

    return shorten


def test_a_stopped_engine_is_noticed_and_cancel_ends_it(client, qtbot, engines, impatient):
    job = client.submit(GenerateRequest(model="slow", num_samples=50))
    waiting = client.submit(GenerateRequest(model="ok"))
    with qtbot.waitSignal(job.artifact, timeout=TIMEOUT):
        pass
    stopped = client.pid
    os.kill(stopped, signal.SIGSTOP)
    impatient()
    with qtbot.waitSignal(job.silent, timeout=TIMEOUT) as silent:
        pass
    assert silent.args[0] > 0.5
    with (
        qtbot.waitSignals([job.cancelled, waiting.failed], timeout=TIMEOUT),
        qtbot.waitSignal(job.cancelled, timeout=TIMEOUT) as cancelled,
    ):
        job.cancel()
    assert "ended by force" in cancelled.args[0]
    assert job.run.state is RunState.INTERRUPTED
    qtbot.waitUntil(lambda: not engines(), timeout=TIMEOUT)
    with qtbot.waitSignal(client.submit(GenerateRequest(model="ok")).finished, timeout=TIMEOUT):
        assert client.pid != stopped


def test_a_stopped_training_is_noticed_and_stop_ends_it(qtbot, fake_engine, tmp_path, monkeypatch, impatient):
    monkeypatch.setattr(trainings, "ENGINE", fake_engine)
    run = Run.create(TrainRequest(data=tmp_path, epochs=1e6), tmp_path / "runs")
    job = trainings.start_training(run)
    with qtbot.waitSignal(job.metric, timeout=TIMEOUT):
        pass
    pid = next(event for event in run.events() if event.type == "started").pid
    os.kill(pid, signal.SIGSTOP)
    impatient()
    with qtbot.waitSignal(job.silent, timeout=TIMEOUT):
        pass
    with qtbot.waitSignal(job.cancelled, timeout=TIMEOUT) as cancelled:
        job.cancel()
    assert "ended by force; its last checkpoint is kept" in cancelled.args[0]
    qtbot.waitUntil(lambda: run.state is RunState.INTERRUPTED, timeout=TIMEOUT)


def test_an_engine_that_writes_nonsense_holds_up_nothing(qtbot, tmp_path):
    client = EngineClient(command=(sys.executable, "-c", MAD))
    between, most = [0], [0]
    job = client.submit(DifferenceRequest(first=tmp_path / "a.nii", second=tmp_path / "b.nii"))

    def count(_):
        between[0] += 1

    def turn():
        most[0] = max(most[0], between[0])
        between[0] = 0

    job.event.connect(count)
    timer = QTimer(interval=0)
    timer.timeout.connect(turn)
    timer.start()
    with qtbot.waitSignal(job.finished, timeout=TIMEOUT) as finished:
        pass
    timer.stop()
    client.close()
    assert finished.args[0].message == "done all the same"
    assert most[0] <= 2 * jobs.AT_ONCE  # the viewer had its turn again and again


def test_the_row_says_that_nothing_answers(qtbot):
    row = ProgressRow("Cancel")
    qtbot.addWidget(row)
    row.begin("Starting worker process")
    row.show_unresponsive(20)
    row.show_unresponsive(40)
    assert row.label.text() == (
        "Starting worker process · the worker process has not answered for 40 s; Cancel ends it by force"
    )
    assert row.stop_button.isEnabled()


def test_a_jump_of_the_clock_is_no_silence_of_a_training(qtbot, monkeypatch):
    now, clock, told = [5000.0], [1.8e9], []
    monkeypatch.setattr(stall, "monotonic", lambda: now[0])
    monkeypatch.setattr(stall, "time", lambda: clock[0])
    monitor = StallMonitor()
    monitor.stalled.connect(told.append)
    monitor.restart()
    for jump in (86400, -2 * 86400):
        clock[0] += jump
        monitor._check()
        assert told == []
    now[0] += 700
    monitor._check()
    assert told == [700.0]
    monitor.restart(clock[0] - 650)  # a training of another machine, found again
    monitor._check()
    assert told == [700.0, 650.0]
    monitor.restart(clock[0] + 86400)  # told by a clock that is ahead
    monitor._check()
    assert told == [700.0, 650.0]
    monitor.stop()
