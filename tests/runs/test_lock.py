"""One process performs a run, and what says that it lives is true: after a kill, a new name, a jump of the clock."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from braindiffusion import jobs
from braindiffusion.cli.app import app
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import DemoRequest, Event, Finished, Run, RunState, Started
from braindiffusion.runs import lock as locks
from braindiffusion.runs.lock import LOCK, STALE_SECONDS, Holder, run_lock

TESTS = Path(__file__).parents[1]
SECONDS = 60.0

# Waits for a line, then begins a run that never ends by itself; tells how that went.
DRIVER = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(TESTS)!r})
from braindiffusion import jobs
from braindiffusion.runs import Run
jobs.JOB_LOCATIONS["demo"] = "fake_jobs:endless"
run = Run.open(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
try:
    events = jobs.perform(run)
    print(next(events).type, flush=True)
    for _ in events:
        pass
except Exception as error:
    print(error, flush=True)
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.syspath_prepend(str(TESTS))
    monkeypatch.setitem(jobs.JOB_LOCATIONS, "demo", "fake_jobs:counts")
    return Run.create(DemoRequest(), tmp_path)


@contextmanager
def processes(run: Run, count: int) -> Iterator[list["subprocess.Popen[str]"]]:
    """Processes that wait to begin a run."""
    command = [sys.executable, "-c", DRIVER, str(run.path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, **pipes) for _ in range(count)]  # type: ignore[call-overload]
    try:
        assert [one.stdout.readline() for one in started] == ["ready\n"] * count
        yield started
    finally:
        for one in started:
            one.kill()
            one.communicate()


def begin(process: "subprocess.Popen[str]") -> None:
    process.stdin.write("\n")
    process.stdin.flush()


def until(condition: object) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def write_lock(run: Run, *, silent_for: float = 0.0, **changes: object) -> None:
    """Write the lock of another process."""
    holder = Holder.current().model_copy(update=changes)
    (run.path / LOCK).write_text(holder.model_dump_json())
    now = time.time() - silent_for
    os.utime(run.path / LOCK, (now, now))


def test_of_processes_that_begin_at_the_same_moment_one_performs_the_run(run: Run) -> None:
    with processes(run, 3) as started:
        for one in started:
            begin(one)
        told = sorted(one.stdout.readline().strip() for one in started)
        assert told[-1] == "started"
        assert all("being done by another process" in one for one in told[:-1])
        assert run.state is RunState.RUNNING
        with pytest.raises(BrainDiffusionError, match="stop it before it is deleted"):
            run.delete()
    assert [event.type for event in run.events()].count("started") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_process_frees_the_run_whatever_its_machine_is_called_now(run: Run) -> None:
    with processes(run, 1) as (process,):
        begin(process)
        assert process.stdout.readline() == "started\n"
        holder = locks.read_holder(run.path)
        assert holder is not None
        (run.path / LOCK).write_text(holder.model_copy(update={"host": "another-name"}).model_dump_json())
        assert run.state is RunState.RUNNING
        process.kill()
        process.wait()
        assert run.state is RunState.INTERRUPTED
        *_, last = jobs.perform(run)
    assert isinstance(last, Finished)
    assert (run.path / LOCK).read_bytes() == b""


def test_a_process_of_another_machine_counts_until_its_heartbeat_stops(run: Run) -> None:
    run.append(Started(job="demo", pid=1, host="node"))
    write_lock(run, machine="another", silent_for=STALE_SECONDS / 2)
    assert run.state is RunState.RUNNING
    with pytest.raises(BrainDiffusionError, match="another process"):
        list(jobs.perform(run))
    write_lock(run, machine="another", silent_for=STALE_SECONDS * 2)
    assert run.state is RunState.INTERRUPTED
    assert isinstance(list(jobs.perform(run))[-1], Finished)


def test_a_run_of_a_version_without_locks_does_not_run_for_ever(run: Run) -> None:
    run.append(Started(job="demo", pid=1, host="a-name-that-it-had"))
    assert run.state is RunState.RUNNING
    long_ago = time.time() - 2 * STALE_SECONDS
    os.utime(run.events_file, (long_ago, long_ago))
    assert run.state is RunState.INTERRUPTED


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_a_jump_of_the_clock_ends_no_run(run: Run, jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    with run_lock(run.path):
        run.append(Started(job="demo", pid=os.getpid(), time=time.time() + jump))
        monkeypatch.setattr(time, "time", lambda: 1.7e9 - jump)
        assert run.state is RunState.RUNNING


DAY = 86400.0


@pytest.mark.parametrize("ahead", [-DAY, DAY])
def test_the_clocks_of_two_machines_need_not_agree(run: Run, ahead: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The heartbeat and the moment that it is compared with are both of the disk's clock."""
    run.append(Started(job="demo", pid=1, host="node"))
    write_lock(run, machine="another")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + ahead)
    assert run.state is RunState.RUNNING


def test_a_clock_that_was_set_back_keeps_no_dead_run_alive(run: Run) -> None:
    run.append(Started(job="demo", pid=1, host="node"))
    write_lock(run, machine="another", silent_for=-DAY)
    assert run.state is RunState.INTERRUPTED


@pytest.mark.parametrize("jump", [-DAY, DAY])
def test_a_jump_of_the_clock_makes_no_process_silent_and_hides_no_silence(
    run: Run, jump: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with run_lock(run.path):
        watch = locks.HeartbeatWatch(run.path)
        assert watch.silence() == 0
        set_to = time.time() + jump
        monkeypatch.setattr(time, "time", lambda: set_to)
        assert watch.silence() == 0
        now[0] += 20
        assert watch.silence() == 20
        os.utime(run.path / LOCK, (set_to, set_to))  # a heartbeat after the jump
        assert watch.silence() == 0
        now[0] += 20
        assert watch.silence() == 20
    assert watch.silence() == 0  # it has ended


def test_the_heartbeat_goes_on_while_a_run_is_performed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.01)
    with run_lock(run.path):
        os.utime(run.path / LOCK, (0, 0))
        until(lambda: locks.silence(run.path / LOCK) < STALE_SECONDS)


def test_a_process_that_lost_its_run_writes_no_more_into_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that slept finds that another one has gone on with its training."""
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setitem(jobs.JOB_LOCATIONS, "demo", "fake_jobs:endless")
    events = jobs.perform(run)
    assert isinstance(next(events), Started)
    write_lock(run, machine="another")
    told: list[Event] = []
    with pytest.raises(BrainDiffusionError, match="taken over"):
        told += events
    assert [event.type for event in run.events()][-1] == "progress"
    assert (run.path / LOCK).read_bytes() != b""


def test_temporary_files_of_a_killed_process_go_with_the_next_start(run: Run) -> None:
    for folder in (run.path, run.checkpoints / "resume", run.results):
        folder.mkdir(exist_ok=True)
        (folder / ".0123abcd.level-0.safetensors").touch()
    (run.results / ".mine").touch()
    list(jobs.perform(run))
    assert [path.name for path in run.path.rglob(".*")] == [".mine"]


def test_runs_are_deleted_by_name_and_by_age_and_never_outside_their_folder(tmp_path: Path, tmp_runs: Path) -> None:
    old, new, live = (Run.create(DemoRequest(), name=name) for name in ("old", "new", "live"))
    for one in (old, new):
        one.append(Finished())
    (old.results / "brain.nii").write_bytes(bytes(2_500_000))
    long_ago = time.time() - 40 * 86400
    os.utime(old.events_file, (long_ago, long_ago))
    live.append(Started(job="demo", pid=os.getpid()))
    os.utime(live.events_file, (long_ago, long_ago))
    elsewhere = Run.create(DemoRequest(), tmp_path / "elsewhere")
    (tmp_runs / "link").symlink_to(elsewhere.path)

    def invoke(*words: str, answer: str = "") -> tuple[int, str]:
        result = CliRunner().invoke(app, ["runs", *words], input=answer)
        return result.exit_code, result.output

    assert invoke("--delete-older", "30", answer="n\n")[0] == 1
    assert old.path.exists()
    status, told = invoke("--delete-older", "30", answer="y\n")
    assert (status, old.path.exists(), new.path.exists(), live.path.exists()) == (0, False, True, True)
    assert "2.5 MB were freed" in told
    for name, why in (
        ("live", "stop it before it is deleted"),
        ("link", "does not lie in the folder of runs"),
        (str(elsewhere.path), "does not lie in the folder of runs"),
    ):
        status, told = invoke(name, "--delete")
        assert "were freed" not in told
        assert status == 1
        assert why in told
    assert invoke("--delete", "new", "live")[0] == 1  # the one is deleted, the other is told
    assert not new.path.exists()
    assert live.path.exists()
    assert (elsewhere.path / "run.json").exists()
