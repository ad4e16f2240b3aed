"""Performing a run: find its job, drive it, write down each event.

The command line and the engine process both drive `perform`, so a run's folder reads the same whoever did it. Nothing
heavy is imported until a job is: the first event is there at once.
"""

import errno
import os
import socket
import sys
import traceback
from collections.abc import Callable, Generator, Iterator
from importlib import import_module

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import (
    Cancelled,
    Event,
    Failed,
    Finished,
    Run,
    RunState,
    Started,
)
from braindiffusion.runs.launch import Launch
from braindiffusion.runs.requests import Request

Job = Callable[[Request, Run], Iterator[Event]]

JOB_LOCATIONS: dict[str, str] = {
    "prepare": "braindiffusion.reader.preparing:prepare",
    "train": "braindiffusion.training.job:train",
    "train-reader": "braindiffusion.reader.job:train_reader",
    "read": "braindiffusion.reader.reading:read",
    "generate": "braindiffusion.generation.job:generate",
    "evaluate": "braindiffusion.evaluation.job:evaluate",
    "demo": "braindiffusion.generation.demo:demo",
}
"""Module and function that do each job."""


def perform(run: Run) -> Generator[Event, None, None]:
    """Do what a run asks for, and tell.

    Each event is appended to the run before it is yielded. The first is `Started`; the last is `Finished`, `Failed` or
    `Cancelled`. Bad input and bugs end in `Failed`, never in an exception. Closing the generator, or
    `run.ask_to_stop()`, cancels the job at its next event; `Cancelled` is then the last line of the run's events.

    Args:
        run: The run. One that was interrupted, cancelled or failed goes on where its job can.

    Yields:
        The events of the job.

    Raises:
        BrainDiffusionError: another process performs this run now.
        OSError: the run folder cannot be written to.
    """
    if run.request.job == "train" and Launch.of_this_process().rank:
        yield from _find("train")(run.request, run)  # the first process of the launch tells, and writes it down
        return
    if run.state is RunState.RUNNING:
        msg = f"The run {run.name} is being done by another process already; stop that first."
        raise BrainDiffusionError(msg)
    run.forget_stop()
    run.error_file.unlink(missing_ok=True)
    job: Iterator[Event] | None = None
    last: Event | None = None
    try:
        yield _told(
            run,
            Started(job=run.request.job, pid=os.getpid(), host=socket.gethostname()),
        )
        job = _find(run.request.job)(run.request, run)
        for event in job:
            last = event
            yield _told(run, event)
            if isinstance(event, Finished | Failed | Cancelled):
                return
            if run.asked_to_stop:
                last = _cancel(job, run)
                yield _told(run, last)
                return
        last = Finished()
        yield _told(run, last)
    except GeneratorExit:
        if not isinstance(last, Finished | Failed | Cancelled):
            _told(run, _cancel(job, run))
        raise
    except Exception as error:  # noqa: BLE001 a bug in a job must end in Failed too
        yield _told(run, Failed(message=_explain(error, run)))
    finally:
        run.forget_stop()


def _told(run: Run, event: Event) -> Event:
    run.append(event)
    return event


def _find(name: str) -> Job:
    module, function = JOB_LOCATIONS[name].split(":")
    job: Job = getattr(import_module(module), function)
    return job


def _cancel(job: Iterator[Event] | None, run: Run) -> Event:
    """Let a job clean up (and save what it has) where it stands."""
    try:
        if isinstance(job, Generator):
            job.close()
    except Exception as error:  # noqa: BLE001 a bug in the cleaning up must end in Failed
        return Failed(message=_explain(error, run))
    return Cancelled()


def _explain(error: Exception, run: Run) -> str:
    """One sentence for the user. What nobody foresaw keeps its traceback in the run folder."""
    if isinstance(error, BrainDiffusionError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full ({error.filename or run.path}); make room and start the run again."
    run.error_file.write_text("".join(traceback.format_exception(error)))
    if _is_out_of_memory(error):
        return (
            "There is not enough memory for this; close other programs, take a smaller batch size or preset, or run on "
            f"the CPU (details in {run.error_file})."
        )
    what = f"{type(error).__name__}: {_first_line(error)}"
    return f"BrainDiffusion met a bug ({what}); its traceback is in {run.error_file}."


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")  # where torch was never imported it raised nothing
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    # torch's CPU allocator has no class of its own
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["no message"])[0]
