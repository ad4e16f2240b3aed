"""Training in a process of its own, which outlives napari and is found again through its run folder.

The process is `python -m braindiffusion.engine --run FOLDER`: it has no pipes to us, so nothing breaks when the viewer
closes. All that is known of it stands in the run folder, and following that folder is the only way to listen: the same
for a training that was just started as for one that was started last week. See `jobs` for the thread boundary.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Generator
from functools import partial
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import Cancelled, Event, Failed, Run, RunState, Started
from braindiffusion.runs.lock import HeartbeatWatch, is_alive, kill_holder
from napari_braindiffusion.engine.client import ENGINE
from napari_braindiffusion.engine.job import JobHandle, Silent
from napari_braindiffusion.engine.process import LAST, SILENT_SECONDS, exit_message
from napari_braindiffusion.engine.threads import run_in_thread

POLL_SECONDS = 0.25
RESTART_MS = 2000
"""Milliseconds between two checks whether another process has started a run."""

# Kept so that they are reaped when they end; nobody waits for them.
_children: list["subprocess.Popen[bytes]"] = []


History = tuple[list[Event], int, RunState]
"""Events, how far they were read, and where the run stands."""


def read_history(run: Run) -> History:
    """Return the events of a run so far. Reading may take long: call it in a worker thread."""
    state = run.state  # read before the events, so that the last events of a run that ends in between are not missed
    events, offset = run.read_events()
    return events, offset, state


class RestartMonitor(QObject):
    """Emit `restarted` when another process (a terminal, a cluster) starts a run that was at rest."""

    restarted = Signal(object)
    """The run."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._run: Run | None = None
        self._offset = 0
        self.timer = QTimer(self, interval=RESTART_MS)
        self.timer.timeout.connect(self._check)

    def watch(self, run: Run, offset: int) -> None:
        """Watch a run, whose events were read up to an offset."""
        self._run, self._offset = run, offset
        self.timer.start()

    def stop(self) -> None:
        """Watch no run."""
        self._run = None
        self.timer.stop()

    def _check(self) -> None:
        if (run := self._run) is not None:
            run_in_thread(_was_restarted, run, self._offset, then=lambda begun: self._tell(run) if begun else None)

    def _tell(self, run: Run) -> None:
        if run == self._run:
            self.restarted.emit(run)


def _was_restarted(run: Run, offset: int) -> bool:
    """Return whether a process started the run after that offset of its events. For a worker thread."""
    try:
        events, _ = run.read_events(offset)
    except OSError:  # a shared disk that does not answer now
        return False
    return any(isinstance(event, Started) for event in events)


def start_training(run: Run) -> JobHandle:
    """Perform a run, from its beginning or from its last checkpoint, in a process of its own, and follow it.

    Raises:
        BrainDiffusionError: the process cannot be started.
    """
    _children[:] = [child for child in _children if child.poll() is None]
    _, offset = run.read_events()
    log = run.path / "engine.log"
    try:
        with log.open("ab") as output:
            process = subprocess.Popen(
                (*ENGINE, "--run", str(run.path)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                **_own_session(),
            )
    except OSError as error:
        msg = f"The training process cannot be started ({error}); is {sys.executable} still there?"
        raise BrainDiffusionError(msg) from error
    _children.append(process)
    return _handle(run, offset, process, None)


def follow_training(run: Run, offset: int, started: Started) -> JobHandle:
    """Follow a training that some process performs already.

    Args:
        run: Its folder.
        offset: How far its events were read (see `Run.read_events`).
        started: The last `Started` among them: it tells the process.
    """
    return _handle(run, offset, None, started)


def _handle(run: Run, offset: int, process: "subprocess.Popen[bytes] | None", started: Started | None) -> JobHandle:
    asked = threading.Event()

    def stop() -> None:
        run.ask_to_stop()
        asked.set()

    return JobHandle(run, partial(_follow, run, offset, process, started, asked), stop, cancel_on_abort=False)


def _follow(
    run: Run,
    offset: int,
    process: "subprocess.Popen[bytes] | None",
    started: Started | None,
    asked: threading.Event,
) -> Generator[Event | Silent | None]:
    """Yield the events of a training, and `Silent` while its process on this machine does not answer.

    Args:
        run: The training.
        offset: How far its events were read.
        process: The process, where it is a child of this one.
        started: The last `Started`, where it is not.
        asked: Set when the user has asked it to stop: a process that does not answer is then ended by force.
    """
    heartbeat = HeartbeatWatch(run.path)
    while True:
        # Asked before reading, so that nothing is missed that it wrote before it went.
        gone = process.poll() is not None if process is not None else started is None or not is_alive(run.path, started)
        try:
            events, offset = run.read_events(offset)
        except OSError:  # a shared disk that does not answer now
            events, gone = [], False
        for event in events:
            yield event
            if isinstance(event, LAST):
                return
        if gone:
            code = process.returncode if process is not None else None
            notice = exit_message(code, run.path / "engine.log")
            yield Failed(message=f"{notice} Resume goes on from its last checkpoint.")
            return
        quiet = heartbeat.silence()
        if quiet > SILENT_SECONDS and asked.is_set() and kill_holder(run.path):
            message = "The training process did not answer and was ended by force; its last checkpoint is kept."
            yield Cancelled(message=message)
            return
        yield Silent(quiet) if quiet > SILENT_SECONDS else None
        time.sleep(POLL_SECONDS)


def _own_session() -> dict[str, Any]:
    """Return the options with which a process outlives the terminal or the viewer that started it."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}
