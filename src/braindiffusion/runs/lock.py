"""The lock of a run folder: one process performs a run, and others can see whether it still runs.

The file `lock` in the folder names the process. While it performs the run, the system holds a lock on that file for it
(`flock`; on Windows `msvcrt`), which two processes never get at once and which ends with the process; a thread touches
the file every few seconds, the heartbeat. So a process of another machine, which cannot be asked whether it lives,
counts as gone when its heartbeat has stopped for `STALE_SECONDS`. Disks that know no locks (some network disks) leave
the heartbeat alone to decide.
"""

import os
import platform
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs.event_file import EVENTS
from braindiffusion.runs.events import Started

LOCK = "lock"
HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 300.0
"""Seconds without a heartbeat after which a process of another machine counts as gone."""
_FAR = 2**30
"""Offset of the byte that is locked on Windows, where nobody can read what is locked."""


class Holder(BaseModel):
    """The process that performs a run: the content of its lock."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    pid: int
    host: str
    machine: str
    """Boot of the machine and the space of its process numbers: `pid` means this process there only."""
    born: str
    """When the process began, as its machine counts: another process of the same number began at another time."""
    token: str

    @classmethod
    def current(cls) -> "Holder":
        """Return this process as a new holder."""
        pid = os.getpid()
        return cls(
            pid=pid, host=socket.gethostname(), machine=machine_id(), born=_born(pid) or "", token=secrets.token_hex(8)
        )


def read_holder(folder: Path) -> Holder | None:
    """Return the last process that performed a run; None where none is written down."""
    try:
        return Holder.model_validate_json((folder / LOCK).read_bytes())
    except (OSError, ValidationError):
        return None


def is_alive(folder: Path, started: Started) -> bool:
    """Return whether the process that wrote the last `Started` of a run still runs."""
    if (holder := read_holder(folder)) is not None:
        return is_held(folder, holder)
    try:
        if (folder / LOCK).stat().st_mtime >= started.time:
            return False  # the lock was given back since
    except FileNotFoundError:
        pass
    # A version without locks wrote it.
    if started.host and started.host != socket.gethostname():
        return silence(folder / EVENTS) < STALE_SECONDS
    try:
        process = psutil.Process(started.pid)
        # Process numbers come round: one that was born after the event is somebody else. (2 s: boot clocks are coarse.)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= started.time + 2
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def is_held(folder: Path, holder: Holder) -> bool:
    """Return whether the process that holds a run's lock still runs."""
    if holder.machine == machine_id():
        return _born(holder.pid) == holder.born
    return silence(folder / LOCK) < STALE_SECONDS


def kill_holder(folder: Path) -> bool:
    """End the process of this machine that performs a run, by force. Return whether there was one."""
    holder = read_holder(folder)
    if holder is None or holder.machine != machine_id() or not is_held(folder, holder):
        return False
    try:
        psutil.Process(holder.pid).kill()
    except psutil.Error:
        return False
    return True


def silence(file: Path) -> float:
    """Return the seconds since a file was written or touched; infinity where there is none.

    Both moments are those of the disk's own clock, so that the clocks of two machines need not agree. A time to come is
    as far away as one that is past: the clock has been set back since, and no heartbeat has followed.
    """
    try:
        return abs(_time_of_disk(file.parent) - file.stat().st_mtime)
    except OSError:
        return float("inf")


def _time_of_disk(folder: Path) -> float:
    """Return the time that a file gets which is written into a folder now."""
    try:
        with TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:  # it may not be written to
        return time.time()


class HeartbeatWatch:
    """Watches the heartbeat of a run's process on this machine, by a clock that nobody can set.

    Args:
        folder: The run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._beat, self._since = 0, time.monotonic()

    def silence(self) -> float:
        """Return the seconds since a heartbeat, at most those of this watch; 0 where no process lives here."""
        holder = read_holder(self._folder)
        try:
            beat = (self._folder / LOCK).stat().st_mtime_ns
        except OSError:
            return 0.0
        if beat != self._beat:
            self._beat, self._since = beat, time.monotonic()
        here = holder is not None and holder.machine == machine_id() and is_held(self._folder, holder)
        return time.monotonic() - self._since if here else 0.0


class RunLock:
    """The lock of a run, held by this process."""

    def __init__(self, folder: Path, holder: Holder) -> None:
        self._folder, self._holder = folder, holder
        self.is_lost = False
        """Whether another process has taken the run over, as it may where this one slept for long."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            found = read_holder(self._folder)
            self.is_lost = self.is_lost or (found is not None and found.token != self._holder.token)
            try:
                if not self.is_lost:
                    os.utime(self._folder / LOCK)
            except OSError:  # a disk that does not answer now; the job notices a folder that has gone
                continue


@contextmanager
def run_lock(folder: Path, doing: str = "The run {} is being done by another process already") -> Iterator[RunLock]:
    """Hold the lock of a run, or of another folder that one process may write at a time.

    Args:
        folder: The folder, which exists.
        doing: What the other process does with it, for the message.

    Raises:
        BrainDiffusionError: another process holds it.
        OSError: the folder cannot be written to.
    """
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        before = read_holder(folder)
        held_elsewhere = before is not None and before.machine != machine_id() and is_held(folder, before)
        if not _try_lock(descriptor) or held_elsewhere:
            who = f" (process {before.pid} of {before.host})" if before is not None else ""
            msg = f"{doing.format(folder.name)}{who}; stop that first."
            raise BrainDiffusionError(msg)
        holder = Holder.current()
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, holder.model_dump_json().encode())
        lock = RunLock(folder, holder)
        lock._thread.start()
        try:
            yield lock
        finally:
            lock._ended.set()
            if not lock.is_lost:
                os.ftruncate(descriptor, 0)  # never removed: two processes could then lock two files of this name
    finally:
        os.close(descriptor)


def machine_id() -> str:
    """Return what is the same for processes that see each other's numbers, and new after each start of the machine."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux
        return platform.node()


def _born(pid: int) -> str | None:
    """Return when a living process of this machine began; None where there is none, or one that waits to be reaped.

    On Linux in ticks since the machine's start, which no change of the clock moves.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        if platform.system() == "Linux":
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return str(process.create_time())
    except (psutil.NoSuchProcess, OSError):
        return None
    except psutil.AccessDenied:
        return None


def _try_lock(descriptor: int) -> bool:
    """Lock an open file until this process closes it or ends; False where another process has locked it.

    Disks without locks give them to everybody: the heartbeat decides there.
    """
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
