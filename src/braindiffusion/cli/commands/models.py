"""The command `models`."""

import json
from typing import Annotated

import typer

from braindiffusion.models.card import ModelCard
from braindiffusion.models.registry import find_model, has_model, list_models, read_card
from braindiffusion.runs import list_runs


def models(
    name: Annotated[str | None, typer.Argument(help="Name or path of a model: show its card and conditions.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """List the models that `generate --model` takes, packaged ones and your own trainings, or show one."""
    if name is not None:
        _print_model(read_card(find_model(name)), as_json)
        return
    packaged = list_models()
    own = [run for run in list_runs() if has_model(run)]
    if as_json:
        rows: list[dict[str, object]] = [
            {"name": one.name, "path": str(one.path), "card": one.card.to_json()} for one in packaged
        ]
        rows += [{"name": run.name, "path": str(run.path), "card": None} for run in own]
        typer.echo(json.dumps(rows, indent=2))
        return
    for one in packaged:
        typer.echo(f"{one.name}  {one.card.summary}".rstrip())
    for run in own:
        typer.echo(f"{run.path}  trained {run.record.created:%Y-%m-%d %H:%M}, {run.state}")
    if not packaged and not own:
        typer.echo("There are no models yet: none is packaged, and no training has written a checkpoint.", err=True)


def _print_model(card: ModelCard, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(card.to_json(), indent=2))
        return
    for key in ("name", "summary", "description", "intended_use"):
        if value := getattr(card, key):
            typer.echo(f"{key.replace('_', ' ')}: {value}")
    schema = card.conditions
    if not schema:
        typer.echo("It is unconditional: it generates brains, and cannot be asked for anything in particular.")
        return
    typer.echo("With --condition it can be asked for (percentiles such as 90% too, where there is a range):")
    for asked, answer in schema.choices().items():
        typer.echo(f"  {asked}  {answer}")
