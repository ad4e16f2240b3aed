"""The commands that only look: at runs, at models, at this machine."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from braindiffusion.cli.working import find_run
from braindiffusion.conditions import ConditionSchema
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.registry import find_model, list_models, read_card
from braindiffusion.runs import (
    ArtifactWritten,
    Cancelled,
    Event,
    Failed,
    Finished,
    Metric,
    Progress,
    Run,
    RunState,
    Warned,
    default_runs_dir,
    list_runs,
)
from braindiffusion.runs.command import as_command


def runs(
    run: Annotated[str | None, typer.Argument(help="Name or folder of one run: tell more about it.")] = None,
    stop: Annotated[
        bool, typer.Option("--stop", help="Ask this run to stop at its next step; it keeps what it has.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List the runs, newest first, or tell about one."""
    if run is None:
        if stop:
            msg = "Say which run to stop: braindiffusion runs RUN --stop."
            raise BrainDiffusionError(msg)
        _print_runs(list_runs(), as_json)
        return
    chosen = find_run(run)
    if stop:
        if chosen.state not in (RunState.RUNNING, RunState.PAUSED):
            msg = f"The run {chosen.name} does not run: it is {chosen.state}."
            raise BrainDiffusionError(msg)
        chosen.ask_to_stop()
        typer.echo(f"{chosen.name} was asked to stop.", err=True)
        return
    _print_run(chosen, as_json)


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
    table = Table("run", "job", "state", "created")
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
        line = _tell(event)
        if line is not None:
            # Of each stage's progress and of each of its numbers only the last counts; all else is told as it came.
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


def _tell(event: Event) -> str | None:
    match event:
        case Progress(stage=stage, step=step, total=total):
            return f"  {stage}: {step} of {total}"
        case Metric(stage=stage, step=step, values=values):
            numbers = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in values.items())
            return f"  {stage}: {numbers} (step {step})"
        case Warned(message=message, subject=subject):
            return f"  warning: {f'{subject}: ' if subject else ''}{message}"
        case ArtifactWritten(kind=kind, path=path) if kind != "preview":
            return f"  {kind}: {path}"
        case Failed(message=message) | Cancelled(message=message) | Finished(message=message):
            return f"  {event.type}{f': {message}' if message else ''}"
    return None


def models(
    name: Annotated[str | None, typer.Argument(help="Name or path of one: tell what it can be asked for.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List the models that `generate --model` can take, packaged ones and your own trainings, or tell about one."""
    if name is not None:
        _print_model(read_card(find_model(name)), as_json)
        return
    packaged = list_models()
    own = [run for run in list_runs() if (run.checkpoints / "best" / "model.json").is_file()]
    if as_json:
        rows: list[dict[str, object]] = [
            {"name": one.name, "path": str(one.path), "card": one.card} for one in packaged
        ]
        rows += [{"name": run.name, "path": str(run.path), "card": None} for run in own]
        typer.echo(json.dumps(rows, indent=2))
        return
    for one in packaged:
        typer.echo(f"{one.name}  {one.card.get('summary', '')}".rstrip())
    for run in own:
        typer.echo(f"{run.path}  trained {run.record.created:%Y-%m-%d %H:%M}, {run.state}")
    if not packaged and not own:
        typer.echo("There are no models yet: none is packaged, and no training has written a checkpoint.", err=True)


def _print_model(card: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(card, indent=2))
        return
    for key in ("name", "summary", "description", "intended_use"):
        if card.get(key):
            typer.echo(f"{key.replace('_', ' ')}: {card[key]}")
    schema = ConditionSchema.model_validate(card["configuration"].get("condition") or {})
    if not schema:
        typer.echo("It makes brains, and cannot be asked for anything in particular.")
        return
    typer.echo("With --condition it can be asked for (percentiles such as 90% too, where there is a range):")
    for asked, answer in schema.choices().items():
        typer.echo(f"  {asked}  {answer}")


def doctor() -> None:
    """Look at this machine: versions, device, arithmetic, screen, disk. Exit status 1 where something is broken."""
    from braindiffusion.doctor import examine

    broken = False
    for finding in examine():
        mark = {"good": "ok  ", "fair": "note", "bad": "BAD "}[finding.verdict]
        typer.echo(f"{mark}  {finding.what}: {finding.told}")
        broken |= finding.verdict == "bad"
    if broken:
        raise typer.Exit(1)
