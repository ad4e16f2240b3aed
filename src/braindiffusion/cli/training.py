"""The commands around a training: its recipe before it, other averages of its weights after it."""

from pathlib import Path
from typing import Annotated

import typer

from braindiffusion.cli.working import find_run


def preset(name: Annotated[str, typer.Argument(help="tiny, laptop or workstation.")]) -> None:
    """Print a preset as JSON: levels and how each is trained. `train --preset FILE` takes a changed one."""
    from braindiffusion.training.presets import preset as preset_of

    typer.echo(preset_of(name).model_dump_json(indent=2))


def ema(
    run: Annotated[str, typer.Argument(help="A training run: its name or folder.")],
    width: Annotated[float, typer.Option(help="How much of the training the average remembers; the model's is 0.1.")],
    out: Annotated[Path, typer.Option(help="The model folder to write.")],
) -> None:
    """Write a training's model with another average of its weights, without training again."""
    from braindiffusion.training.afterwards import reconstruct

    typer.echo(reconstruct(find_run(run), width, out))
