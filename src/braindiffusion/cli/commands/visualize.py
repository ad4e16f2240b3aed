"""The command `visualize [volume | slices | compare | process | regions | curves]`."""

import os
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from braindiffusion.cli.options import Options, option, takes
from braindiffusion.cli.runner import find_run
from braindiffusion.outputs import Outputs
from braindiffusion.runs.requests import FigureName, VisualizeRequest

if TYPE_CHECKING:
    import plotly.graph_objects as go

visualize = typer.Typer(
    help="Draw volumes, regions, trajectories and curves: pages that open in any browser and need no network.",
    rich_markup_mode=None,
)

Out = Annotated[Path | None, option(VisualizeRequest, "out", "beside the first volume")]
Overwrites = Annotated[bool, option(VisualizeRequest, "overwrite")]
Opened = Annotated[bool, typer.Option("--open/--no-open", help="Show a page in the browser, if there is a display.")]

FIGURES: dict[FigureName, str] = {
    "volume": "Render a volume: translucent, as a surface, and as three slices in space.",
    "slices": "Show three linked slices of a volume, with a slider each.",
    "compare": "Show two to four volumes side by side: surfaces turn together, slices move together.",
    "process": "Play a denoising trajectory, as `generate --trajectory` writes it.",
    "regions": "Show the regions of a volume, with name and size under the pointer. PATHS: the volume, then its "
    "label map on the same grid (40 regions, or DLMUSE).",
}


@visualize.callback(invoke_without_command=True)
def _volume_by_default(
    context: typer.Context,
    volume_path: Annotated[
        Path | None, typer.Option("--volume-path", "--volume", help="A NIfTI or MGH volume: render it.")
    ] = None,
    out: Out = None,
    overwrite: Overwrites = False,
    open_it: Opened = True,
) -> None:
    """Draw volumes, regions, trajectories and curves: pages that open in any browser and need no network.

    Without the name of a figure: `braindiffusion visualize --volume-path X` is `braindiffusion visualize volume X`.
    """
    if context.invoked_subcommand is not None:
        if volume_path or out or overwrite or not open_it:
            msg = f"Options of {context.invoked_subcommand} stand behind it: visualize {context.invoked_subcommand} ..."
            raise typer.BadParameter(msg)
    elif volume_path is None:
        msg = "Say what to draw: --volume-path, or one of volume, slices, compare, process, regions, curves."
        raise typer.BadParameter(msg)
    else:
        request = VisualizeRequest(paths=(volume_path,), out=out or _beside(volume_path), overwrite=overwrite)
        draw(request, open_it=open_it)


def _figure_command(figure: FigureName) -> Callable[..., None]:
    @takes(VisualizeRequest, leave_out=("figure",))
    def command(options: Options[VisualizeRequest], open_it: Opened = True) -> None:
        draw(options.request(figure=figure), open_it=open_it)

    return command


for _name, _help in FIGURES.items():
    visualize.command(_name, help=_help)(_figure_command(_name))


@visualize.command()
def curves(
    run: Annotated[list[str], typer.Argument(help="Name or folder of a run; several are drawn together.")],
    out: Annotated[
        Path | None, typer.Option(help="The file: .html, .png or .svg; curves.html in the first run by default.")
    ] = None,
    overwrite: Overwrites = False,
    open_it: Opened = True,
) -> None:
    """Draw the losses and other numbers of runs."""
    from braindiffusion.figures.curves import curves as draw

    found = [find_run(name) for name in run]
    out = out or found[0].path / "curves.html"
    outputs = Outputs(overwrite=overwrite)
    outputs.check([out])
    _deliver(draw(found, title=", ".join(one.name for one in found)), out, outputs, open_it)


def has_screen() -> bool:
    """Whether a browser window could open. (Without one, `webbrowser` would start a text browser in the terminal.)"""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def draw(request: VisualizeRequest, *, open_it: bool) -> None:
    """Draw a figure as the job of the same name does, without a run; beside the first volume by default."""
    from braindiffusion.jobs.visualize import figure_of

    out = request.out or _beside(request.paths[0], f"_{request.figure}")
    outputs = Outputs.of(request)
    outputs.check([out])
    _deliver(figure_of(request), out, outputs, open_it)


def _beside(volume: Path, ending: str = "") -> Path:
    from braindiffusion.runs.sidecar import volume_stem

    return volume.with_name(f"{volume_stem(volume)}{ending}.html")


def _deliver(figure: "go.Figure", out: Path, outputs: Outputs, open_it: bool) -> None:
    from braindiffusion.figures.page import write_figure

    with outputs.writing():
        typer.echo(write_figure(figure, out))
    if open_it and out.suffix == ".html" and has_screen():
        webbrowser.open(out.absolute().as_uri())
