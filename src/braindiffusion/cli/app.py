"""The commands, put together."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from braindiffusion import __version__
from braindiffusion.cli import runner
from braindiffusion.cli.commands.doctor import doctor
from braindiffusion.cli.commands.ema import ema
from braindiffusion.cli.commands.estimate import estimate
from braindiffusion.cli.commands.export_bids import export_bids
from braindiffusion.cli.commands.generate import generate
from braindiffusion.cli.commands.inspect import inspect
from braindiffusion.cli.commands.models import models
from braindiffusion.cli.commands.prepare import prepare
from braindiffusion.cli.commands.preset import preset
from braindiffusion.cli.commands.runs import runs
from braindiffusion.cli.commands.train import distill, train, train_segmentation
from braindiffusion.cli.commands.visualize import visualize
from braindiffusion.cli.options import Options, RunName, takes
from braindiffusion.runs.command import command_name
from braindiffusion.runs.requests import (
    AnomalyRequest,
    BaseRequest,
    DemoRequest,
    DifferenceRequest,
    EditRequest,
    EvaluateRequest,
    NearestRequest,
    SegmentRequest,
    SynthesizeRequest,
)

app = typer.Typer(
    name="braindiffusion",
    help="3D brain MRI: prepare volumes, train diffusion models on them, generate and evaluate new ones.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"token_normalize_func": lambda word: word.replace("_", "-")},  # --num_samples is --num-samples
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """3D brain MRI: prepare volumes, train diffusion models on them, generate and evaluate new ones.

    Exit status: 0 all done, 1 failed, 2 wrong command line, 3 done with some inputs left out, 130 stopped.
    """


def _plain(kind: type[BaseRequest]) -> Callable[..., None]:
    """Return the command that is nothing but its request."""

    @takes(kind)
    def command(options: Options[Any], name: RunName = None) -> None:
        runner.perform_request(options.request(), name)

    return command


COMMANDS: list[Callable[..., None] | type[BaseRequest]] = [
    inspect,
    prepare,
    train,
    preset,
    ema,
    distill,
    generate,
    SynthesizeRequest,
    EditRequest,
    AnomalyRequest,
    EvaluateRequest,
    NearestRequest,
    DifferenceRequest,
    export_bids,
    SegmentRequest,
    train_segmentation,
    DemoRequest,
    runs,
    models,
    doctor,
]
"""The commands in the order of the help. Of a request: the command of its job, with its fields as options."""

for one in COMMANDS:
    if isinstance(one, type) and issubclass(one, BaseRequest):
        app.command(command_name(one))(_plain(one))
    else:
        app.command()(one)
app.add_typer(estimate, name="estimate")
app.add_typer(visualize, name="visualize")
