"""The commands, put together."""

from typing import Annotated

import typer

from braindiffusion import __version__
from braindiffusion.cli import (
    comparing,
    evaluating,
    exporting,
    generating,
    inspecting,
    looking,
    reading,
    training,
    working,
)
from braindiffusion.cli.estimating import estimate
from braindiffusion.cli.visualizing import visualize

app = typer.Typer(
    name="braindiffusion",
    help="Brains you can make: prepare volumes, train on them, generate new ones.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"token_normalize_func": lambda token: token.replace("_", "-")},  # --data_dir is --data-dir
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Brains you can make: prepare volumes, train on them, generate new ones.

    Exit status: 0 all done, 1 failed, 2 wrong command line, 3 done with some inputs left out, 130 stopped.
    """


app.command()(inspecting.inspect)
app.command()(working.prepare)
app.command()(working.train)
app.command()(training.preset)
app.command()(training.ema)
app.command()(generating.generate)
app.command()(evaluating.evaluate)
app.command()(comparing.nearest)
app.command()(comparing.difference)
app.command()(exporting.export_bids)
app.command()(reading.read)
app.command()(reading.train_reader)
app.command()(generating.demo)
estimate.command()(working.train)
estimate.command()(generating.generate)
app.add_typer(estimate, name="estimate")
app.add_typer(visualize, name="visualize")
app.command()(looking.runs)
app.command()(looking.models)
app.command()(looking.doctor)
