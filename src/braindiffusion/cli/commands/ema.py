"""The command `ema`: other averages of a training's weights."""

from pathlib import Path
from typing import Annotated

import typer

from braindiffusion.cli.runner import find_run


def ema(
    run: Annotated[str, typer.Argument(help="A training run: its name or folder.")],
    width: Annotated[float, typer.Option(help="Width of the average, as a share of the training; the model's is 0.1.")],
    out: Annotated[Path, typer.Option(help="The model folder to write.")],
) -> None:
    """Write a training's model with another moving average of its weights, without training again."""
    from braindiffusion.training.checkpoints import save_posthoc_ema

    typer.echo(save_posthoc_ema(find_run(run), width, out))
