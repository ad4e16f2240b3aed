"""The engine: a process that does jobs, so that the viewer stays responsive and survives a crash.

`python -m braindiffusion.engine` reads commands from its standard input and writes answers to its standard output, one
JSON object a line (`runs/messages.py`). `python -m braindiffusion.engine --run FOLDER` performs one run to its end
without pipes, and goes on when its parent ends: its progress is read from its folder, and `Run.ask_to_stop` stops it.
That process has a lower priority than the viewer's worker process.

Jobs are done in the main thread, one after the other. A second thread does nothing but turn lines into a queue; the
main thread looks into that queue between two events of a job, which is what "cancels within one step" means. The end of
standard input, SIGTERM and SIGINT all mean `Quit`. Another thread reports every few seconds that the process is alive.
"""

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

import psutil
from pydantic import ValidationError

from braindiffusion import __version__
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.jobs import perform
from braindiffusion.runs import Cancelled, Event, Failed, Run, RunState
from braindiffusion.runs.messages import (
    HEARTBEAT_SECONDS,
    Alive,
    Answer,
    Cancel,
    Command,
    Quit,
    Ready,
    RunEvent,
    Submit,
    parse_command,
)

Send = Callable[[Answer], None]
NICENESS = 10
"""Of a process that performs one run alone: with both busy, another process gets ten times its processor time."""
ORPHAN_SECONDS = 15.0
"""Seconds that a job has to end after the client has gone; then the process ends in the middle of it."""


class ClientGoneError(Exception):
    """The client has closed the pipe that answers are written to."""


class Engine:
    """Performs commands from a queue and sends answers, until the command to quit.

    Args:
        commands: Where commands come from. Other threads and signal handlers may put some in at any time.
        send: Takes each answer. May raise ClientGoneError.
    """

    def __init__(self, commands: "SimpleQueue[Command]", send: Send) -> None:
        self._commands = commands
        self._send = send
        self._waiting: deque[Path] = deque()
        self._current: Path | None = None
        self._cancel_current = False
        self._quit = False

    def serve(self) -> None:
        """Work until `Quit`. Runs that still wait are then cancelled too."""
        try:
            self._send(Ready(pid=os.getpid(), version=__version__))
            while not self._quit:
                if self._waiting:
                    self._do(self._waiting.popleft())
                    self._listen()
                else:
                    self._obey(self._commands.get())
        except ClientGoneError:
            self._quit = True
        for path in tuple(self._waiting):
            self._forget(path)

    def _do(self, path: Path) -> None:
        self._current, self._cancel_current = path, False
        try:
            run = Run.open(path)
            events = perform(run)
            try:
                for event in events:
                    self._send(RunEvent(run=path, event=event))
                    self._listen()
                    if self._cancel_current or self._quit:
                        break
            finally:
                events.close()
            if run.state is RunState.CANCELLED and not isinstance(event, Cancelled):
                self._send(RunEvent(run=path, event=run.events()[-1]))
        except (BrainDiffusionError, OSError) as error:
            # What could not be written into the run folder (or there is none) is at least said.
            self._send(RunEvent(run=path, event=Failed(message=str(error))))
        finally:
            self._current = None

    def _listen(self) -> None:
        """Obey all commands that have come in by now."""
        while True:
            try:
                command = self._commands.get_nowait()
            except Empty:
                return
            self._obey(command)

    def _obey(self, command: Command) -> None:
        match command:
            case Submit(run=path):
                self._waiting.append(path)
            case Cancel(run=path) if path == self._current:
                self._cancel_current = True
            case Cancel(run=path) if path in self._waiting:
                self._forget(path)
            case Quit():
                self._quit = True

    def _forget(self, path: Path) -> None:
        """Cancel a run that never began."""
        self._waiting.remove(path)
        event: Event = Cancelled(message="It had not begun.")
        try:
            Run.open(path).append(event)
        except (BrainDiffusionError, OSError) as error:
            event = Failed(message=str(error))
        try:
            self._send(RunEvent(run=path, event=event))
        except ClientGoneError:
            self._quit = True


def perform_alone(path: Path, stop: threading.Event) -> int:
    """Perform one run to its end, with events in its folder alone.

    Returns:
        The exit status: 0 finished, 1 failed, 130 cancelled.
    """
    run = Run.open(path)
    events = perform(run)
    try:
        for event in events:
            if isinstance(event, Failed):  # its folder may be full or gone
                sys.stderr.write(f"{event.message}\n")
            if stop.is_set():
                break
    finally:
        events.close()
    return {RunState.FINISHED: 0, RunState.CANCELLED: 130}.get(run.state, 1)


def _lower_priority() -> None:
    """Let other processes go first, previews in the viewer above all. Processes that this one starts follow."""
    own = psutil.Process()
    if sys.platform == "win32":
        own.nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    else:
        own.nice(max(own.nice(), NICENESS))
    if sys.platform == "linux" and os.getsid(0) == os.getpid():
        # Linux may share the processor among sessions first, and only then by niceness within one.
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(NICENESS))


def _read_commands(lines: IO[bytes], commands: "SimpleQueue[Command]") -> None:
    for line in lines:
        try:
            commands.put(parse_command(line))
        except ValidationError as error:
            sys.stderr.write(f"The engine does not understand {line!r}: {error.errors()[0]['msg']}\n")
    commands.put(Quit())
    # Whoever gave the commands is gone. A step that does not end must not keep this process alive for nobody.
    threading.Event().wait(ORPHAN_SECONDS)
    os._exit(1)


def _beat(send: Send) -> None:
    """Send a message every few seconds while this process runs; a process that is stopped sends none."""
    try:
        while True:
            threading.Event().wait(HEARTBEAT_SECONDS)
            send(Alive())
    except ClientGoneError:
        return


def _take_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Our standard input and output, kept from everybody else.

    What libraries (C ones too) print goes to standard error from here on, and worker processes find an empty input.
    """
    lines = os.fdopen(os.dup(0), "rb", buffering=0)
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return lines, answers


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the engine. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m braindiffusion.engine",
        description=(__doc__ or "").split("\n")[0],
    )
    parser.add_argument("--run", type=Path, help="perform this run folder to its end, without pipes")
    parser.add_argument("--warm", action="store_true", help="import what generating needs before the first job")
    chosen = parser.parse_args(arguments)

    # Before torch is imported: idle OpenMP threads that spin take the cores that the viewer needs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    if chosen.run is not None:
        _lower_priority()
        stop = threading.Event()
        _on_signals(lambda: stop.set())
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the terminal may close
        try:
            return perform_alone(chosen.run, stop)
        except BrainDiffusionError as error:
            sys.stderr.write(f"{error}\n")
            return 1

    commands: SimpleQueue[Command] = SimpleQueue()  # its put is safe in a signal handler
    lines, answers = _take_pipes()
    _on_signals(lambda: commands.put(Quit()))
    threading.Thread(target=_read_commands, args=(lines, commands), name="commands", daemon=True).start()

    writing = threading.Lock()

    def send(answer: Answer) -> None:
        try:
            with writing:
                answers.write(answer.model_dump_json().encode() + b"\n")
                answers.flush()
        except (BrokenPipeError, ValueError) as error:
            raise ClientGoneError from error

    threading.Thread(target=_beat, args=(send,), name="heartbeat", daemon=True).start()
    if chosen.warm:
        import_module("braindiffusion.jobs.generate")
        import_module("braindiffusion.jobs.preview")
    Engine(commands, send).serve()
    return 0


def _on_signals(act: Callable[[], None]) -> None:
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: act())


if __name__ == "__main__":
    sys.exit(main())
