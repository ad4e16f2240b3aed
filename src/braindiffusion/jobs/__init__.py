"""Performing a run: find its job, run it, write down each event.

Command line, worker process and Python functions all use `perform`, so that run folders are the same.
Nothing heavy is imported until a job is: the first event is there at once.
"""

import os
import socket
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import remove_temporaries
from braindiffusion.runs import (
    Cancelled,
    Continued,
    Event,
    Failed,
    Finished,
    Paused,
    Run,
    Started,
)
from braindiffusion.runs.failures import explain
from braindiffusion.runs.folder import LIVE
from braindiffusion.runs.lock import RunLock, run_lock
from braindiffusion.runs.process_rank import ProcessRank
from braindiffusion.runs.requests import Request

Job = Callable[[Request, Run], Iterator[Event]]

JOB_LOCATIONS: dict[str, str] = {
    "prepare": "braindiffusion.jobs.prepare:prepare",
    "inspect": "braindiffusion.jobs.inspect:inspect",
    "train": "braindiffusion.jobs.train:train",
    "train-segmentation": "braindiffusion.jobs.train_segmentation:train_segmentation",
    "distill": "braindiffusion.jobs.distill:distill",
    "segment": "braindiffusion.jobs.segment:segment",
    "generate": "braindiffusion.jobs.generate:generate",
    "preview": "braindiffusion.jobs.preview:preview",
    "regenerate": "braindiffusion.jobs.generate:regenerate",
    "edit": "braindiffusion.jobs.edit:edit",
    "synthesize": "braindiffusion.jobs.synthesize:synthesize",
    "anomaly": "braindiffusion.jobs.anomaly:anomaly",
    "evaluate": "braindiffusion.jobs.evaluate:evaluate",
    "nearest": "braindiffusion.jobs.nearest:find_nearest",
    "difference": "braindiffusion.jobs.difference:differ",
    "visualize": "braindiffusion.jobs.visualize:draw",
    "estimate": "braindiffusion.jobs.estimate:estimate",
    "demo": "braindiffusion.jobs.generate:demo",
}
"""Module and function that do each job."""
HOLD_SECONDS = 0.2
"""Interval at which a paused run checks whether it shall continue or end."""


class TakenOverError(BrainDiffusionError):
    """Another process performs the run now, and writes its events."""


def perform(run: Run) -> Generator[Event, None, None]:
    """Perform the request of a run.

    Each event is appended to the run before it is yielded. The first is `Started`; the last is `Finished`, `Failed` or
    `Cancelled`. Bad input and bugs end in `Failed`, never in an exception. Closing the generator, or
    `run.ask_to_stop()`, cancels the job at its next event; `Cancelled` is then the last line of the run's events.
    `run.ask_to_pause()` holds it there, its memory kept, until `run.ask_to_go_on()` or its end.

    Args:
        run: The run. One that was interrupted, cancelled or failed goes on where its job can.

    Yields:
        The events of the job.

    Raises:
        BrainDiffusionError: another process performs this run now.
        OSError: the run folder cannot be written to.
    """
    if run.request.job == "train" and ProcessRank.current().rank:
        yield from _find("train")(run.request, run)  # the first process writes the events
        return
    if run.state in LIVE:
        msg = f"The run {run.name} is being done by another process already; stop that first."
        raise BrainDiffusionError(msg)
    with run_lock(run.path) as lock:
        yield from _perform(run, lock)


def _perform(run: Run, lock: RunLock) -> Generator[Event, None, None]:
    """Perform the request of a run that this process holds the lock of."""
    run.forget_stop()
    run.ask_to_go_on()
    run.error_file.unlink(missing_ok=True)
    _tidy(run)
    job: Iterator[Event] | None = None
    last: Event | None = None
    try:
        yield _append(
            run,
            Started(job=run.request.job, pid=os.getpid(), host=socket.gethostname()),
        )
        job = _find(run.request.job)(run.request, run)
        for event in job:
            last = event
            yield _append(run, event)
            if isinstance(event, Finished | Failed | Cancelled):
                return
            yield from _hold(run)
            if lock.is_lost:
                _cancel(job, run)
                msg = f"Another process has taken over the run {run.name}, since this one was silent for long."
                raise TakenOverError(msg)
            if run.asked_to_stop:
                last = _cancel(job, run)
                yield _append(run, last)
                return
        last = Finished()
        yield _append(run, last)
    except (GeneratorExit, KeyboardInterrupt):
        if not isinstance(last, Finished | Failed | Cancelled):
            _append(run, _cancel(job, run))
        raise
    except TakenOverError:
        raise
    except Exception as error:  # noqa: BLE001 a bug in a job must end in Failed too
        _cancel(job, run)  # where it was not the job that failed, it saves what it has
        failed = Failed(message=explain(error, run), field=getattr(error, "field", None) or "")
        with suppress(OSError):  # a full disk or a missing folder: the caller reports the failure anyway
            run.append(failed)
        yield failed
    finally:
        run.forget_stop()


def _tidy(run: Run) -> None:
    """Remove the temporary files that a killed process has left in the run's folder."""
    for folder, below, _ in os.walk(run.path):
        below[:] = [name for name in below if not name.endswith(".zarr")]
        remove_temporaries(Path(folder))


def _hold(run: Run) -> Iterator[Event]:
    """Wait as long as the run is asked to pause. `Paused` is written once, and yielded again and again.

    Whoever performs the run can thus still end it.
    """
    if not run.asked_to_pause:
        return
    paused = _append(run, Paused())
    while run.asked_to_pause and not run.asked_to_stop:
        yield paused
        time.sleep(HOLD_SECONDS)
    yield _append(run, Continued())


def _append(run: Run, event: Event) -> Event:
    run.append(event)
    return event


def _find(name: str) -> Job:
    module, function = JOB_LOCATIONS[name].split(":")
    job: Job = getattr(import_module(module), function)
    return job


def _cancel(job: Iterator[Event] | None, run: Run) -> Event:
    """Close a job, so that it saves what it has."""
    try:
        if isinstance(job, Generator):
            job.close()
    except Exception as error:  # noqa: BLE001 a bug in the cleaning up must end in Failed
        return Failed(message=explain(error, run))
    return Cancelled()
