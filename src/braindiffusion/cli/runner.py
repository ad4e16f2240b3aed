"""Performing a request in this process: its run, progress bars, warnings, results, and a clean stop on Ctrl-C."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from braindiffusion.cli.options import with_flag
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.jobs import perform
from braindiffusion.runs import (
    ArtifactWritten,
    Cancelled,
    Event,
    Failed,
    Finished,
    Log,
    Metric,
    Request,
    Run,
    Warned,
    default_runs_dir,
)
from braindiffusion.runs import Progress as Step
from braindiffusion.runs.durations import counted, duration

FAILED, WITH_PROBLEMS, STOPPED = 1, 3, 130
STDERR = 2


def perform_request(request: Request, name: str | None = None) -> None:
    """Perform a request in a new run, show it, and end the command."""
    finish(run_with_progress(new_run(request, name)))


def new_run(request: Request, name: str | None = None) -> Run:
    """Make the run folder of this command; where it is goes to standard error."""
    run = Run.create(request, name=name)
    typer.echo(f"Run: {run.path}", err=True)
    return run


def find_run(name_or_path: str, job: str | None = None) -> Run:
    """Return a run by its name in the runs folder, or by its path.

    Args:
        name_or_path: The name or the path.
        job: The job that it must be of; None accepts any.

    Raises:
        BrainDiffusionError: there is no such run, or it is of another job.
    """
    named = default_runs_dir() / name_or_path
    if (named / "run.json").is_file():
        run = Run.open(named)
    elif Path(name_or_path).is_dir():
        run = Run.open(name_or_path)
    else:
        msg = f"There is no run {name_or_path!r}, neither in {default_runs_dir()} nor as a folder"
        raise BrainDiffusionError(f"{msg}; `braindiffusion runs` lists them.")
    if job is not None and run.request.job != job:
        raise BrainDiffusionError(f"The job of the run {run.name} is {run.request.job}, not {job}.")
    return run


def run_with_progress(run: Run, on_event: Callable[[Event], None] | None = None) -> Event:
    """Perform a run to its end and show it on standard error; paths of results go to standard output.

    The first Ctrl-C stops at the next step and keeps what there is; a second one stops at once.

    Args:
        run: The run.
        on_event: Is called with each event, after it was shown.

    Returns:
        The last event: Finished, Failed or Cancelled.
    """
    events = perform(run)
    last: Event | None = None
    with _Screen(run.request) as screen, _stop_signals() as stopped:
        try:
            for last in events:
                screen.show(last)
                if on_event is not None:
                    on_event(last)
                if stopped():
                    break
        finally:
            events.close()
        if not isinstance(last, Finished | Failed | Cancelled):
            last = run.events()[-1]  # written while the generator closed
            screen.show(last)
    return last


def finish(last: Event) -> None:
    """End the command with the exit status of the last event."""
    match last:
        case Failed():
            raise typer.Exit(FAILED)
        case Cancelled():
            raise typer.Exit(STOPPED)
        case Finished(problems=problems) if problems:
            raise typer.Exit(WITH_PROBLEMS)


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    asked = 0

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            signal.default_int_handler(number, frame)
        # Straight to the terminal: the signal may have come in the middle of a print, which must not be begun anew.
        os.write(STDERR, b"\nStopping after this step; press Ctrl-C again to stop at once.\n")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked > 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Screen:
    """Show events as progress bars, or, without a terminal, as a line now and then."""

    SECONDS_BETWEEN_LINES = 10.0

    def __init__(self, request: Request) -> None:
        self._request = request
        self._console = Console(stderr=True, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[news]}", style="dim"),
            console=self._console,
            disable=not self._console.is_terminal,
            redirect_stdout=sys.stdout.isatty(),  # a pipe gets its paths even while bars are drawn
        )
        self._tasks: dict[str, TaskID] = {}
        self._said = 0.0
        self._news: dict[str, dict[str, str]] = {}  # by stage, what was measured since its last line

    def __enter__(self) -> "_Screen":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def say(self, text: str, style: str = "") -> None:
        """A line above the bars, never folded: paths must stay whole."""
        self._bars.console.print(f"[{style}]{escape(text)}[/]" if style else escape(text), soft_wrap=True)

    def show(self, event: Event) -> None:
        match event:
            case Step():
                self._step(event)
            case Metric(stage=stage, values=values):
                said = {name: f"{name.replace('_', ' ')} {value:.4g}" for name, value in values.items()}
                self._news.setdefault(stage, {}).update(said)
                self._bars.update(self._task(stage), news="  ".join(said.values()))
            case Warned():
                self.say(f"Warning: {event.sentence}", "yellow")
            case Log(message=message):
                self.say(message)
            case ArtifactWritten(kind="volume" | "labels" | "trajectory" | "figure" | "cohort" | "model", path=path):
                sys.stdout.write(f"{path}\n")
                sys.stdout.flush()
            case Failed(message=message, field=field):
                self.say(with_flag(message, field, type(self._request)), "red")
            case Cancelled(message=message):
                self.say(message or "Stopped.")
            case Finished(message=message, problems=problems):
                self.say(message or "Done.")
                if problems:
                    self.say(f"{counted(problems, 'input')} could not be used: see the warnings.")

    def _task(self, stage: str) -> TaskID:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(escape(stage), total=None, left="", news="")
        return self._tasks[stage]

    def _step(self, step: Step) -> None:
        left = "" if step.seconds_left is None else f"{duration(step.seconds_left)} left"
        self._bars.update(self._task(step.stage), completed=step.step, total=step.total, left=left)
        if step.message:
            self._bars.update(self._task(step.stage), news=escape(step.message))
        if self._bars.disable:
            now = time.monotonic()
            if step.step == step.total or now - self._said > self.SECONDS_BETWEEN_LINES:
                self._said = now
                parts = [f"{step.step} of {step.total}", left, *self._news.pop(step.stage, {}).values()]
                self.say(f"{step.stage}: {', '.join(part for part in parts if part)}")
