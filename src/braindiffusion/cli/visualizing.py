"""The command that draws: `braindiffusion visualize [volume | slices | compare | process | regions | curves]`."""

import os
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from braindiffusion.cli.working import find_run
from braindiffusion.runs.requests import FigureName, VisualizeRequest

if TYPE_CHECKING:
    import plotly.graph_objects as go

visualize = typer.Typer(
    help="Draw volumes, regions, trajectories and curves: pages that open in any browser and need no network.",
    rich_markup_mode=None,
)

Out = Annotated[
    Path | None,
    typer.Option(help="The file: .html; .png and .svg need kaleido and Chrome. Beside the first volume by default."),
]
Opened = Annotated[bool, typer.Option("--open/--no-open", help="Show a page in the browser, where there is a screen.")]
Scan = Annotated[Path, typer.Argument(help="A NIfTI or MGH volume.")]
Channel = Annotated[int, typer.Option(min=0, help="Which channel, or time point, is shown.")]


@visualize.callback(invoke_without_command=True)
def _volume_by_default(
    context: typer.Context,
    volume_path: Annotated[
        Path | None, typer.Option("--volume-path", "--volume", help="A NIfTI or MGH volume: render it.")
    ] = None,
    out: Out = None,
    open_it: Opened = True,
) -> None:
    """Draw volumes, regions, trajectories and curves: pages that open in any browser and need no network.

    Without the name of a figure: `braindiffusion visualize --volume-path X` is `braindiffusion visualize volume X`.
    """
    if context.invoked_subcommand is not None:
        if volume_path or out or not open_it:
            msg = f"Options of {context.invoked_subcommand} stand behind it: visualize {context.invoked_subcommand} ..."
            raise typer.BadParameter(msg)
    elif volume_path is None:
        msg = "Say what to draw: --volume-path, or one of volume, slices, compare, process, regions, curves."
        raise typer.BadParameter(msg)
    else:
        volume(volume_path, out or _beside(volume_path), open_it)


@visualize.command()
def volume(path: Scan, out: Out = None, open_it: Opened = True, channel: Channel = 0) -> None:
    """Render a volume: translucent, as a surface, and as three slices in space."""
    _draw("volume", [path], out, open_it, channel)


@visualize.command()
def slices(path: Scan, out: Out = None, open_it: Opened = True, channel: Channel = 0) -> None:
    """Show three linked slices of a volume, with a slider each."""
    _draw("slices", [path], out, open_it, channel)


@visualize.command()
def compare(
    paths: Annotated[list[Path], typer.Argument(help="Two to four volumes, real and generated for instance.")],
    out: Out = None,
    open_it: Opened = True,
    channel: Channel = 0,
) -> None:
    """Show volumes side by side: surfaces turn together, slices move together."""
    _draw("compare", paths, out, open_it, channel)


@visualize.command()
def process(
    path: Annotated[Path, typer.Argument(help="A trajectory, as `generate --trajectory` writes it.")],
    out: Out = None,
    open_it: Opened = True,
) -> None:
    """Play the way from noise to a brain."""
    _draw("process", [path], out, open_it)


@visualize.command()
def regions(
    path: Scan,
    labels: Annotated[Path, typer.Argument(help="Its label map on the same grid: 40 regions, or DLMUSE.")],
    out: Out = None,
    open_it: Opened = True,
    channel: Channel = 0,
) -> None:
    """Show the regions of a volume, with name and size under the pointer."""
    _draw("regions", [path, labels], out, open_it, channel)


@visualize.command()
def curves(
    run: Annotated[list[str], typer.Argument(help="Name or folder of a run; several are drawn together.")],
    out: Annotated[
        Path | None, typer.Option(help="The file: .html, .png or .svg; curves.html in the first run by default.")
    ] = None,
    open_it: Opened = True,
) -> None:
    """Draw the losses and other numbers of runs."""
    from braindiffusion.figures.curves import curves as draw

    found = [find_run(name) for name in run]
    figure = draw(found, title=", ".join(one.name for one in found))
    _deliver(figure, out or found[0].path / "curves.html", open_it)


def has_screen() -> bool:
    """Whether a browser window could open. (Without one, `webbrowser` would start a text browser in the terminal.)"""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _beside(path: Path, kind: str = "") -> Path:
    stem = path.name.split(".nii")[0].removesuffix(".mgz").removesuffix(".mgh")
    return path.with_name(f"{stem}_{kind}.html" if kind else f"{stem}.html")


def _draw(figure: FigureName, paths: list[Path], out: Path | None, open_it: bool, channel: int = 0) -> None:
    """As the job of the same name does it, without a run."""
    from braindiffusion.jobs.visualize import figure_of

    drawn = figure_of(VisualizeRequest(figure=figure, paths=tuple(paths), channel=channel))
    _deliver(drawn, out or _beside(paths[0], figure), open_it)


def _deliver(figure: "go.Figure", out: Path, open_it: bool) -> None:
    from braindiffusion.figures.page import write_figure

    typer.echo(write_figure(figure, out))
    if open_it and out.suffix == ".html" and has_screen():
        webbrowser.open(out.absolute().as_uri())
