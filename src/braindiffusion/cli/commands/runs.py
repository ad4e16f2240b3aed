"""The command `runs`."""

import json
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from braindiffusion.cli.runner import FAILED, find_run
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import (
    ArtifactWritten,
    Cancelled,
    Event,
    Failed,
    Finished,
    Metric,
    Progress,
    Run,
    Warned,
    default_runs_dir,
    list_runs,
)
from braindiffusion.runs.command import as_command
from braindiffusion.runs.folder import LIVE


def runs(
    run: Annotated[list[str] | None, typer.Argument(help="Names or folders of runs.")] = None,
    stop: Annotated[
        bool, typer.Option("--stop", help="Stop this run at its next step; finished results are kept.")
    ] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Delete these runs with their results.")] = False,
    delete_older: Annotated[
        float | None,
        typer.Option(min=0, metavar="DAYS", help="Delete the runs that have not changed for this number of days."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete older runs without a question.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """List the runs, newest first; show one; stop one; or delete some."""
    names = run or []
    if delete_older is not None:
        if names or stop or delete:
            raise BrainDiffusionError("--delete-older chooses the runs by their age: give it alone.")
        _delete_older(delete_older, yes)
    elif delete:
        if not names:
            raise BrainDiffusionError("Say which runs to delete: braindiffusion runs RUN ... --delete.")
        _delete([find_run(name) for name in names])
    elif not names:
        if stop:
            msg = "Say which run to stop: braindiffusion runs RUN --stop."
            raise BrainDiffusionError(msg)
        _print_runs(list_runs(), as_json)
    elif len(names) > 1:
        raise BrainDiffusionError("Name one run, or several with --delete.")
    elif stop:
        chosen = find_run(names[0])
        if chosen.state not in LIVE:
            msg = f"The run {chosen.name} does not run: it is {chosen.state}."
            raise BrainDiffusionError(msg)
        chosen.ask_to_stop()
        typer.echo(f"{chosen.name} will stop at its next step.", err=True)
    else:
        _print_run(find_run(names[0]), as_json)


def _delete(chosen: list[Run]) -> None:
    """Delete runs. Those that cannot be deleted are reported; the others are deleted."""
    freed, problems = 0, 0
    for run in dict.fromkeys(chosen):
        try:
            freed += run.delete(default_runs_dir())
            typer.echo(run.name)
        except BrainDiffusionError as error:
            problems += 1
            typer.echo(str(error), err=True)
    if freed:
        typer.echo(f"{freed / 1e6:.1f} MB were freed.", err=True)
    if problems:
        raise typer.Exit(FAILED)


def _delete_older(days: float, yes: bool) -> None:
    limit = datetime.now().timestamp() - days * 86400
    chosen = [run for run in list_runs() if run.last_change < limit and run.state not in LIVE]
    if not chosen:
        typer.echo(f"No run is older than {days:g} days.", err=True)
        return
    for run in chosen:
        last = datetime.fromtimestamp(run.last_change)
        typer.echo(f"{run.name}  {run.state}, last change {last:%Y-%m-%d %H:%M}", err=True)
    if not yes and not typer.confirm(f"Delete them ({len(chosen)}), with models and brains in them?", err=True):
        raise typer.Exit(FAILED)
    _delete(chosen)


def _summary(run: Run) -> dict[str, str]:
    return {
        "name": run.name,
        "job": run.request.job,
        "state": str(run.state),
        "created": run.record.created.isoformat(sep=" ", timespec="seconds"),
        "path": str(run.path),
    }


def _print_runs(found: list[Run], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([_summary(run) for run in found], indent=2))
        return
    if not found:
        typer.echo(f"No runs yet in {default_runs_dir()}.", err=True)
        return
    table = Table(Column("run", no_wrap=True, overflow="fold"), "job", "state", "created")
    for run in found:
        row = _summary(run)
        table.add_row(row["name"], row["job"], row["state"], row["created"][:19])
    Console().print(table)
    typer.echo(f"They are in {default_runs_dir()}.", err=True)


def _print_run(run: Run, as_json: bool) -> None:
    events = run.events()
    if as_json:
        whole = _summary(run) | {"record": run.record.model_dump(mode="json")}
        typer.echo(json.dumps(whole | {"events": [event.model_dump(mode="json") for event in events]}, indent=2))
        return
    for key, value in _summary(run).items():
        typer.echo(f"{key:>8}  {value}")
    typer.echo(f"{'command':>8}  {as_command(run.request)}")
    latest: dict[tuple[str, ...], str] = {}
    for event in events:
        line = _line(event)
        if line is not None:
            # The latest progress and the latest of each number of a stage; everything else as it came.
            match event:
                case Progress(stage=stage):
                    place: tuple[str, ...] = (event.type, stage)
                case Metric(stage=stage, values=values):
                    place = (event.type, stage, *values)
                case _:
                    place = (event.type, str(len(latest)))
            latest.pop(place, None)
            latest[place] = line
    for line in latest.values():
        typer.echo(line)


def _line(event: Event) -> str | None:
    match event:
        case Progress(stage=stage, step=step, total=total):
            return f"  {stage}: {step} of {total}"
        case Metric(stage=stage, step=step, values=values):
            numbers = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in values.items())
            return f"  {stage}: {numbers} (step {step})"
        case Warned():
            return f"  warning: {event.sentence}"
        case ArtifactWritten(kind=kind, path=path) if kind != "preview":
            return f"  {kind}: {path}"
        case Failed(message=message) | Cancelled(message=message) | Finished(message=message):
            return f"  {event.type}{f': {message}' if message else ''}"
    return None
