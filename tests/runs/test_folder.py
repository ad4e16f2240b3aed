"""The run folder: what is written can be read, and the state is what the events say."""

import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, tzinfo
from importlib.metadata import version
from pathlib import Path
from typing import Self

import psutil
import pytest

from braindiffusion import __version__
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import write_whole
from braindiffusion.runs import (
    Cancelled,
    DemoRequest,
    Failed,
    Finished,
    GenerateRequest,
    Log,
    Metric,
    Progress,
    Run,
    RunState,
    Started,
    TrainRequest,
    default_runs_dir,
    list_runs,
)
from braindiffusion.runs import folder as folders


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(DemoRequest(seed=7), tmp_path)


def started(pid: int, **fields: object) -> Started:
    return Started(job="demo", pid=pid, **fields)


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_create_writes_request_command_and_versions(tmp_path: Path) -> None:
    request = TrainRequest(data=tmp_path / "ixi.zarr", levels=(0, 1), epochs=0.5)
    run = Run.create(request, tmp_path / "runs", command=["braindiffusion", "train"])
    plain = json.loads((run.path / "run.json").read_text())
    assert plain["request"]["data"] == str(tmp_path / "ixi.zarr")
    assert plain["command"] == ["braindiffusion", "train"]
    assert plain["versions"]["braindiffusion"] == __version__
    assert plain["versions"]["torch"] == version("torch")
    assert run.checkpoints.is_dir()
    assert run.results.is_dir()
    assert Run.open(run.path).request == request
    assert run.state is RunState.CREATED
    assert run.events() == []


def test_a_taken_name_gets_a_number(tmp_path: Path) -> None:
    names = [Run.create(DemoRequest(), tmp_path, "mine").name for _ in range(3)]
    assert names == ["mine", "mine-2", "mine-3"]


def test_runs_directory_is_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BRAINDIFFUSION_RUNS", str(tmp_path / "here"))
    assert default_runs_dir() == tmp_path / "here"
    assert Run.create(DemoRequest()).path.parent == tmp_path / "here"


def test_a_runs_directory_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BrainDiffusionError, match="BRAINDIFFUSION_RUNS"):
        Run.create(DemoRequest(), tmp_path / "file")


def test_events_come_back_as_they_went(run: Run) -> None:
    events = [
        started(os.getpid(), host="a"),
        Progress(stage="level 0", step=1, total=4, seconds_left=2.5),
        Metric(stage="level 0", step=1, values={"loss": 0.25}),
        Log(message="two\nlines — and ünïcode\u2028"),
        Finished(),
    ]
    for event in events:
        run.append(event)
    assert Run.open(run.path).events() == events


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_loss_that_is_no_number_is_valid_json_and_comes_back(run: Run, value: float) -> None:
    run.append(Metric(stage="level 0", step=1, values={"loss": value}))
    json.loads(run.events_file.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    (metric,) = run.events()
    assert isinstance(metric, Metric)
    assert metric.values["loss"] == pytest.approx(value, nan_ok=True)


def test_following_gives_each_event_once_and_waits_for_whole_lines(run: Run) -> None:
    assert run.read_events(0) == ([], 0)
    run.append(Log(message="one"))
    first, offset = run.read_events(0)
    assert [event.message for event in first] == ["one"]
    line = Log(message="two").model_dump_json().encode() + b"\n"
    with run.events_file.open("ab") as file:
        file.write(line[:20])
    assert run.read_events(offset) == ([], offset)
    with run.events_file.open("ab") as file:
        file.write(line[20:])
    second, end = run.read_events(offset)
    assert [event.message for event in second] == ["two"]
    assert end == run.events_file.stat().st_size


def test_half_a_line_of_a_dead_process_harms_no_other(run: Run) -> None:
    run.append(Log(message="one"))
    with run.events_file.open("ab") as file:
        file.write(b'{"type":"finished","ti')
    again = Run.open(run.path)
    assert [event.message for event in again.events()] == ["one"]
    assert again.state is RunState.CREATED
    again.append(Log(message="two"))
    assert [event.message for event in again.events()] == ["one", "two"]


@pytest.mark.parametrize(
    ("last", "state"),
    [(Finished(), RunState.FINISHED), (Failed(message="no"), RunState.FAILED), (Cancelled(), RunState.CANCELLED)],
)
def test_state_is_that_of_the_last_attempt(run: Run, last: Finished | Failed | Cancelled, state: RunState) -> None:
    run.append(started(os.getpid()))
    assert run.state is RunState.RUNNING
    run.append(Log(message='it says "finished" and "cancelled"'))
    assert run.state is RunState.RUNNING
    run.append(last)
    assert run.state is state
    run.append(started(os.getpid()))
    assert run.state is RunState.RUNNING


def test_interrupted_when_its_process_is_gone(run: Run, dead_pid: int) -> None:
    run.append(started(dead_pid, host=socket.gethostname()))
    assert run.state is RunState.INTERRUPTED


def test_interrupted_when_its_process_number_went_to_somebody_else(run: Run) -> None:
    born = psutil.Process().create_time()
    run.append(started(os.getpid(), time=born - 60))
    assert run.state is RunState.INTERRUPTED


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no zombies")
def test_interrupted_when_its_process_is_a_zombie(run: Run) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    run.append(started(process.pid))
    assert run.state is RunState.RUNNING
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet collected
    assert run.state is RunState.INTERRUPTED
    process.communicate()


def test_a_process_of_another_machine_counts_as_alive(run: Run, dead_pid: int) -> None:
    run.append(started(dead_pid, host="node-of-a-cluster"))
    assert run.state is RunState.RUNNING


def test_list_is_newest_first_and_passes_over_what_is_no_run(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "nowhere") == []
    runs = [Run.create(DemoRequest(), tmp_path) for _ in range(3)]
    (tmp_path / "notes").mkdir()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "run.json").write_text("{")
    assert list_runs(tmp_path) == runs[::-1]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "no run folder"),
        ("{", "not the record of a run"),
        ('{"request": {"job": "fly"}, "created": "2026-01-01T00:00:00Z"}', "not the record of a run"),
    ],
)
def test_a_folder_that_is_no_run_is_told(tmp_path: Path, content: str | None, told: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(BrainDiffusionError, match=told) as caught:
        Run.open(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_asking_to_stop(run: Run) -> None:
    assert not run.asked_to_stop
    Run.open(run.path).ask_to_stop()
    assert run.asked_to_stop
    run.forget_stop()
    assert not run.asked_to_stop


def test_a_file_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "model.json"
    write_whole(file, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_requests_survive_the_folder(tmp_path: Path) -> None:
    request = GenerateRequest(model="a/b", num_samples=3, steps=5, eta=0.5, out=tmp_path, previews=True)
    assert Run.open(Run.create(request, tmp_path).path).request == request


def test_a_run_is_renamed_and_deleted_unless_it_is_being_done(run: Run) -> None:
    run.append(started(os.getpid()))
    with pytest.raises(BrainDiffusionError, match="stop it before it is renamed"):
        run.rename("other")
    run.append(Finished())
    for wrong in ("", "a/b", run.name):
        with pytest.raises(BrainDiffusionError, match="choose another"):
            run.rename(wrong)
    other = run.rename("other")
    assert other.name == "other"
    assert other.state is RunState.FINISHED
    assert not run.path.exists()
    other.delete()
    assert not other.path.exists()


def test_a_run_that_begins_anew_in_its_folder_is_read_from_the_start(run: Run) -> None:
    run.append(Log(message="a long line that was there before"))
    _, offset = run.read_events()
    run.events_file.unlink()
    Run.open(run.path).append(Log(message="new"))
    assert [event.message for event in run.read_events(offset)[0]] == ["new"]


def test_a_record_without_a_time_zone_does_not_end_the_list(run: Run) -> None:
    other = Run.create(DemoRequest(), run.path.parent, "naive")
    record = json.loads((other.path / "run.json").read_text())
    (other.path / "run.json").write_text(json.dumps(record | {"created": "2026-01-01T00:00:00"}))
    assert list_runs(run.path.parent) == [run]
    with pytest.raises(BrainDiffusionError, match="created"):
        Run.open(other.path)


def test_runs_of_a_clock_that_was_set_back_lose_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs of one second, by their machine's clock, are two folders."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls(2026, 1, 1, 12, tzinfo=UTC)

    monkeypatch.setattr(folders, "datetime", Clock)
    names = [Run.create(DemoRequest(), tmp_path).name for _ in range(3)]
    assert len(set(names)) == 3
    assert sorted(run.name for run in list_runs(tmp_path)) == sorted(names)
