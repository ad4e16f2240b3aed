"""The command `estimate`: before `train` or `generate` with all their options, it tells what they will take."""

import json
from contextvars import ContextVar
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from braindiffusion.runs import Request

estimate = typer.Typer(help="Tell what a training or a generation will take on this device, and do not begin it.")


_ASKED: ContextVar[Literal["table", "json"] | None] = ContextVar("estimate", default=None)
"""How to answer; None outside of `estimate`."""


@estimate.callback()
def _asked(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False
) -> None:
    """Tell what a training or a generation will take on this device, and do not begin it.

    Options are those of the command itself. A few real steps are made to measure time. Exit status 1 where it does not
    fit into memory.
    """
    before = _ASKED.set("json" if as_json else "table")
    context.call_on_close(lambda: _ASKED.reset(before))


def only_estimate(request: Request) -> None:
    """Within `estimate`, tell and end; else do nothing."""
    if (answer := _ASKED.get()) is None:
        return
    from braindiffusion.estimate import estimate as estimated

    found = estimated(request)
    if answer == "json":
        whole = asdict(found) | {"bytes": found.bytes, "seconds": found.seconds, "verdict": found.verdict}
        typer.echo(json.dumps(whole, indent=2))
    else:
        table = Table("level", "memory", "steps", "a step", "together")
        for level in found.levels:
            step = "" if level.seconds_per_step is None else f"{level.seconds_per_step:.3g} s"
            total = "" if level.seconds is None else str(timedelta(seconds=round(level.seconds)))
            table.add_row(str(level.level), f"{level.bytes / 1e9:.2f} GB", str(level.steps), step, total)
        Console().print(table)
        typer.echo(found.verdict)
    raise typer.Exit(0 if found.fits else 1)
