"""One engine process: commands go down its pipe, events come up into the inboxes of their runs. No Qt in here.

See `jobs` for the thread boundary.
"""

import io
import logging
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

from pydantic import ValidationError

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import Cancelled, Event, Failed, Finished
from braindiffusion.runs.messages import Cancel, Command, Quit, Ready, RunEvent, parse_answer

logger = logging.getLogger(__name__)

LAST = (Finished, Failed, Cancelled)
"""Each job ends with one of these."""
SILENT_SECONDS = 15.0
"""Seconds without a sign of life after which a process does not answer."""
CANCEL_SECONDS = 60.0
"""Seconds that a cancelled job has to end, in a process that answers."""
LONGEST_LINE = 2**20
"""Bytes of an answer; what is longer is no answer."""
TOLD = 10
"""Lines that are no answer and are logged; a process that has gone mad may write a million."""
FULL = 2**20
"""Bytes that are left on a disk that is full: too few for anything to be written."""
PATIENCE = 5.0
"""Seconds that an engine has to end by itself, and then again to obey a terminate."""

Inbox = queue.SimpleQueue[Event]


class EngineProcess:
    """One life of an engine process.

    Args:
        command: How to start it.
        log: Where its standard error goes.

    Raises:
        BrainDiffusionError: it cannot be started.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("wb") as stderr:
                self.process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, bufsize=0
                )
        except OSError as error:
            msg = f"The engine cannot be started ({error}); is {command[0]} still there?"
            raise BrainDiffusionError(msg) from error
        self._commands = cast("IO[bytes]", self.process.stdin)
        self._answers = io.BufferedReader(cast("io.RawIOBase", self.process.stdout))
        self._log = log
        self._closing = False
        self._heard = time.monotonic()
        self._ended = threading.Event()
        self._given_up: Path | None = None
        self.is_ready = False
        """Whether it has imported what it works with, and listens."""
        self._inboxes: dict[Path, Inbox] = {}
        self._lock = threading.Lock()
        self._over = False
        threading.Thread(target=self._read, name="braindiffusion-reader", daemon=True).start()

    @property
    def is_alive(self) -> bool:
        """Whether it takes jobs."""
        return not self._over and not self._closing and self.process.poll() is None

    @property
    def silence(self) -> float:
        """Seconds since the process gave a sign of life."""
        return time.monotonic() - self._heard

    def open_inbox(self, run: Path) -> Inbox:
        """Return the queue of a run's events; it ends with one of `LAST`, whatever happens to the process."""
        inbox: Inbox = queue.SimpleQueue()
        with self._lock:
            if self._over:
                inbox.put(self._last_word(run))
            self._inboxes[run] = inbox
        return inbox

    def send(self, command: Command) -> None:
        """Write a command into its pipe."""
        try:
            self._commands.write(command.model_dump_json().encode() + b"\n")
        except (OSError, ValueError):
            # The process is gone, or we closed its input: the reader tells every open job so.
            logger.debug("command not delivered: %s", command)

    def cancel(self, run: Path) -> None:
        """Ask for a run to be cancelled. A process that does not answer, or goes on with it, is ended by force."""
        self.send(Cancel(run=run))
        threading.Thread(target=self._insist, args=(run,), name="braindiffusion-canceller", daemon=True).start()

    def _insist(self, run: Path) -> None:
        asked = time.monotonic()
        while not self._ended.wait(0.1) and run in self._inboxes:
            if self.silence > SILENT_SECONDS or time.monotonic() - asked > CANCEL_SECONDS:
                self._given_up = run
                self.process.kill()
                return

    def close(self) -> None:
        """Ask it to end, and see to it that it does. Returns at once."""
        self._closing = True
        self.send(Quit())
        self._commands.close()
        # Waiting is another thread's business; it is no daemon, so that the interpreter does not end before the engine.
        threading.Thread(target=end_process, args=(self.process,), name="braindiffusion-undertaker").start()

    def _read(self) -> None:
        garbage = 0
        while line := self._answers.readline(LONGEST_LINE):
            self._heard = time.monotonic()
            try:
                answer = parse_answer(line)
            except ValidationError:
                garbage += 1
                if garbage <= TOLD:
                    logger.warning("not an answer of the engine: %r", line[:200])
                continue
            if isinstance(answer, Ready):
                self.is_ready = True
            elif isinstance(answer, RunEvent):
                with self._lock:
                    inbox = self._inboxes.get(answer.run)
                    if isinstance(answer.event, LAST):
                        self._inboxes.pop(answer.run, None)
                if inbox is not None:
                    inbox.put(answer.event)
        self.process.wait()
        self._ended.set()
        self._answers.close()
        self._commands.close()
        with self._lock:
            self._over = True
            for run, inbox in self._inboxes.items():
                inbox.put(self._last_word(run))
            self._inboxes.clear()

    def _last_word(self, run: Path) -> Event:
        if self._closing:
            return Cancelled(message="The engine was closed.")
        if self._given_up == run:
            return Cancelled(message="The worker process did not answer and was ended by force.")
        if self._given_up is not None:
            return Failed(message="The worker process was ended by force, since it did not answer: start it again.")
        notice = exit_message(self.process.returncode, self._log)
        return Failed(message=f"{notice} The next job starts a new one.")


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process that was asked to end; after `PATIENCE` seconds terminate it, after as many again kill it."""
    for insist in (process.terminate, process.kill):
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            insist()
        else:
            return
    process.wait()


def exit_message(code: int | None, log: Path) -> str:
    """Return one sentence on a process that ended during a job; `code` is its exit status, None if unknown."""
    folder = log.parent
    if not folder.is_dir():
        return f"The folder {folder} has gone, and the job with it: bring it back, or start again."
    if shutil.disk_usage(folder).free < FULL:
        return f"The engine stopped in the middle of the job: the disk of {folder} is full. Make room first."
    if code == -9:
        why = (
            "the system killed it, most often for want of memory: close other programs, or take a smaller batch size, "
            "smaller patches or checkpointing"
        )
    else:
        why = "its process is gone" if code is None else f"exit status {code}"
    return f"The engine stopped in the middle of the job ({why}); its last words are in {log}."
