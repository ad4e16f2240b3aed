"""The command `estimate`: what `train` or `generate` with all their options will take."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from braindiffusion.cli import runner
from braindiffusion.cli.commands.generate import Reproduce, requested
from braindiffusion.cli.commands.train import THE_ONLY_COHORT, Published, Resume, only_cohort
from braindiffusion.cli.options import Options, RunName, takes
from braindiffusion.runs import GenerateRequest, RegenerateRequest, Request, TrainRequest
from braindiffusion.runs.command import flags
from braindiffusion.runs.durations import duration

estimate = typer.Typer(
    help="Estimate time and memory of a training or a generation on this device, without starting it."
)


@estimate.callback()
def _estimate(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False
) -> None:
    """Estimate time and memory of a training or a generation on this device, without starting it.

    Options are those of the command itself. A few real steps are made to measure time. Exit status 1 where it does not
    fit into memory.
    """
    context.obj = as_json


@estimate.command()
@takes(TrainRequest, optional={"data": THE_ONLY_COHORT})
def train(
    options: Options[TrainRequest],
    context: typer.Context,
    out: Published = Path("checkpoints"),
    resume: Resume = None,
    name: RunName = None,
) -> None:
    """Estimate a training. The options are those of `train`."""
    if resume is not None:
        answer(runner.find_run(resume, "train").request, as_json=context.obj)
    else:
        data = (options.values["data"] or only_cohort()).absolute()
        answer(options.request(data=data), as_json=context.obj)


@estimate.command()
@takes(GenerateRequest)
def generate(
    options: Options[GenerateRequest], context: typer.Context, like: Reproduce = None, name: RunName = None
) -> None:
    """Estimate a generation. The options are those of `generate`."""
    request: Request = requested(options, context, like)
    if isinstance(request, RegenerateRequest):
        from braindiffusion.generation.reproduce import request_from_sidecar

        request = request_from_sidecar(request.like, request.out or Path("generated"))
    answer(request, as_json=context.obj)


def answer(request: Request, *, as_json: bool) -> None:
    """Print what a request will take, and end the command."""
    from braindiffusion.estimate import estimate as estimated

    found = estimated(request)
    if as_json:
        whole = asdict(found) | {"bytes": found.bytes, "seconds": found.seconds, "verdict": found.verdict}
        typer.echo(json.dumps(whole, indent=2))
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table("level", "memory", "steps", "per step", "total")
        for level in found.levels:
            step = "" if level.seconds_per_step is None else f"{level.seconds_per_step:.3g} s"
            total = "" if level.seconds is None else duration(level.seconds)
            table.add_row(str(level.level), f"{level.bytes / 1e9:.2f} GB", str(level.steps), step, total)
        Console().print(table)
        typer.echo(found.verdict)
        if found.changes:
            words = (
                flags(TrainRequest, name)[0] + ("" if value is True else f" {value}")
                for name, value in found.changes.items()
            )
            typer.echo(f"Options: {' '.join(words)}")
    raise typer.Exit(0 if found.fits else 1)
