"""Performing a run: every event is written before it is told, and each end is told once."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from braindiffusion import jobs
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.jobs import perform
from braindiffusion.runs import (
    Cancelled,
    Continued,
    DemoRequest,
    Event,
    Failed,
    Finished,
    Metric,
    Paused,
    Progress,
    Run,
    RunState,
    Started,
    TrainRequest,
)

Make = Callable[[str], Run]


@pytest.fixture
def make_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A run whose job is one of `fake_jobs`."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))

    def make(job: str) -> Run:
        monkeypatch.setitem(jobs.JOB_LOCATIONS, "demo", f"fake_jobs:{job}")
        return Run.create(DemoRequest(), tmp_path)

    return make


def test_events_are_written_as_they_are_told(make_run: Make) -> None:
    run = make_run("counts")
    told: list[Event] = []
    for event in perform(run):
        told.append(event)
        assert run.events() == told
    assert [type(event) for event in told] == [Started, *[Progress, Metric] * 3, Finished]
    assert told[0].pid == os.getpid()
    assert run.state is RunState.FINISHED


def test_a_job_may_say_itself_how_it_finished(make_run: Make) -> None:
    *_, last = perform(make_run("warns"))
    assert isinstance(last, Finished)
    assert last.problems == 1


def test_bad_input_is_told_in_its_own_words_without_traceback(make_run: Make) -> None:
    run = make_run("bad_input")
    *_, last = perform(run)
    assert last == Failed(time=last.time, message="The file x.nii is cut off; fetch it again.")
    assert run.state is RunState.FAILED
    assert not run.error_file.exists()


def test_a_bug_keeps_its_traceback_in_the_run(make_run: Make) -> None:
    run = make_run("buggy")
    *_, last = perform(run)
    assert isinstance(last, Failed)
    assert "bug" in last.message
    assert str(run.error_file) in last.message
    traceback = run.error_file.read_text()
    assert "KeyError: 'surprise'" in traceback
    assert "fake_jobs.py" in traceback


def test_a_new_attempt_forgets_the_old_traceback(make_run: Make) -> None:
    run = make_run("buggy")
    list(perform(run))
    make_run("counts")  # the location is looked up anew
    *_, last = perform(run)
    assert isinstance(last, Finished)
    assert not run.error_file.exists()
    assert sum(isinstance(event, Started) for event in run.events()) == 2


def test_no_memory_comes_with_advice(make_run: Make) -> None:
    *_, last = perform(make_run("needy"))
    assert isinstance(last, Failed)
    assert "close other programs" in last.message


def test_a_run_folder_that_vanishes_is_told_once_though_nothing_can_be_written(
    make_run: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run("endless")
    events = perform(run)
    list(islice(events, 3))
    shutil.rmtree(run.path)
    *_, last = events
    assert isinstance(last, Failed)
    assert f"The run folder {run.path} has gone" in last.message
    assert capsys.readouterr().err == ""  # whoever performs the run shows its events


def test_a_full_disk_is_named(make_run: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run("counts")

    def full(request: DemoRequest, run: Run) -> Iterator[Event]:
        raise OSError(errno.ENOSPC, "No space left on device", "/data/big.zarr")
        yield

    monkeypatch.setattr(jobs, "_find", lambda name: full)
    *_, last = perform(run)
    assert isinstance(last, Failed)
    assert last.message.startswith("The disk is full (/data/big.zarr)")


def test_closing_cancels_within_a_step_and_the_job_saves(make_run: Make) -> None:
    run = make_run("endless")
    events = perform(run)
    seen = list(islice(events, 4))
    events.close()
    assert isinstance(seen[-1], Progress)
    assert (run.results / "saved").read_text() == str(seen[-1].step) == "3"
    assert isinstance(run.events()[-1], Cancelled)
    assert run.state is RunState.CANCELLED


def test_asking_to_stop_cancels_at_the_next_event(make_run: Make) -> None:
    run = make_run("endless")
    events = perform(run)
    list(islice(events, 4))
    Run.open(run.path).ask_to_stop()
    rest = list(events)
    assert len(rest) <= 2
    assert isinstance(rest[-1], Cancelled)
    assert run.state is RunState.CANCELLED
    assert not run.asked_to_stop


def test_an_old_wish_to_stop_does_not_stop_a_new_attempt(make_run: Make) -> None:
    run = make_run("counts")
    run.ask_to_stop()
    *_, last = perform(run)
    assert isinstance(last, Finished)


def test_closing_after_the_end_says_nothing_more(make_run: Make) -> None:
    run = make_run("counts")
    events = perform(run)
    for event in events:
        if isinstance(event, Finished):
            break
    events.close()
    assert isinstance(run.events()[-1], Finished)


def test_a_bug_in_the_cleaning_up_is_a_failure(make_run: Make) -> None:
    run = make_run("buggy_cleanup")
    events = perform(run)
    list(islice(events, 2))
    events.close()
    assert run.state is RunState.FAILED
    assert "cannot save" in run.error_file.read_text()


def test_two_processes_do_not_do_one_run(make_run: Make) -> None:
    run = make_run("counts")
    run.append(Started(job="demo", pid=os.getppid()))
    with pytest.raises(BrainDiffusionError, match="another process"):
        next(perform(run))
    assert len(run.events()) == 1


def test_started_comes_before_the_job_is_even_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(jobs.JOB_LOCATIONS, "train", "no_such_module:train")
    run = Run.create(TrainRequest(data=tmp_path), tmp_path)
    events = perform(run)
    assert isinstance(next(events), Started)
    assert isinstance(next(events), Failed)
    assert "no_such_module" in run.error_file.read_text()


def test_a_pause_holds_between_two_steps_and_is_written_once(make_run: Make) -> None:
    run = make_run("endless")
    events = perform(run)
    next(event for event in events if isinstance(event, Progress))
    run.ask_to_pause()
    assert isinstance(next(events), Paused | Progress)
    assert [type(next(events)) for _ in range(2)] == [Paused, Paused]
    assert run.state is RunState.PAUSED
    with pytest.raises(BrainDiffusionError, match="stop it before it is deleted"):
        run.delete()
    run.ask_to_go_on()
    assert isinstance(next(event for event in events if not isinstance(event, Paused)), Continued)
    assert isinstance(next(events), Progress)
    assert run.state is RunState.RUNNING
    assert [type(event) for event in run.events()].count(Paused) == 1
    events.close()


@pytest.mark.parametrize("how", ["close", "ask"])
def test_what_is_paused_can_be_stopped(make_run: Make, how: str) -> None:
    run = make_run("endless")
    events = perform(run)
    next(event for event in events if isinstance(event, Progress))
    run.ask_to_pause()
    next(event for event in events if isinstance(event, Paused))
    if how == "close":
        events.close()
    else:
        run.ask_to_stop()
        list(events)
    assert run.state is RunState.CANCELLED
    assert (run.results / "saved").exists()
