"""The command that draws: `braindiffusion visualize [volume | slices | compare | process | regions | curves]`."""

import os
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from braindiffusion.cli.working import find_run
from braindiffusion.errors import BrainDiffusionError

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
Channel = Annotated[int, typer.Option(help="Which channel, or time point, is shown.")]


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
    from braindiffusion.figures.volume_rendering import volume_rendering
    from braindiffusion.volume import load_volume

    figure = volume_rendering(load_volume(path), title=path.name, channel=channel)
    _deliver(figure, out or _beside(path, "volume"), open_it)


@visualize.command()
def slices(path: Scan, out: Out = None, open_it: Opened = True, channel: Channel = 0) -> None:
    """Show three linked slices of a volume, with a slider each."""
    from braindiffusion.figures.slice_views import slice_views
    from braindiffusion.volume import load_volume

    figure = slice_views(load_volume(path), title=path.name, channel=channel)
    _deliver(figure, out or _beside(path, "slices"), open_it)


@visualize.command()
def compare(
    paths: Annotated[list[Path], typer.Argument(help="Two to four volumes, real and generated for instance.")],
    out: Out = None,
    open_it: Opened = True,
    channel: Channel = 0,
) -> None:
    """Show volumes side by side: surfaces turn together, slices move together."""
    from braindiffusion.figures.comparison import comparison
    from braindiffusion.volume import load_volume

    names = _distinct(paths)
    volumes = {name: load_volume(path) for name, path in zip(names, paths, strict=True)}
    figure = comparison(volumes, channel=channel)
    _deliver(figure, out or _beside(paths[0], "compare"), open_it)


@visualize.command()
def process(
    path: Annotated[Path, typer.Argument(help="A trajectory, as `generate --trajectory` writes it.")],
    out: Out = None,
    open_it: Opened = True,
) -> None:
    """Play the way from noise to a brain."""
    from braindiffusion.figures.process import process as draw
    from braindiffusion.figures.process import recorded_steps
    from braindiffusion.volume import load_volume

    figure = draw(load_volume(path), title=path.name, steps=recorded_steps(path))
    _deliver(figure, out or _beside(path, "process"), open_it)


@visualize.command()
def regions(
    path: Scan,
    labels: Annotated[Path, typer.Argument(help="Its label map on the same grid: 40 regions, or DLMUSE.")],
    out: Out = None,
    open_it: Opened = True,
    channel: Channel = 0,
) -> None:
    """Show the regions of a volume, with name and size under the pointer."""
    from braindiffusion.figures.region_overlay import region_overlay
    from braindiffusion.volume import load_volume

    figure = region_overlay(load_volume(path), load_volume(labels), title=path.name, channel=channel)
    _deliver(figure, out or _beside(path, "regions"), open_it)


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


def _distinct(paths: list[Path]) -> list[str]:
    """File names; whole paths where two are the same.

    Raises:
        BrainDiffusionError: one volume is named twice.
    """
    if len(set(paths)) < len(paths):
        msg = "One volume is named twice: compare it with another."
        raise BrainDiffusionError(msg)
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _deliver(figure: "go.Figure", out: Path, open_it: bool) -> None:
    from braindiffusion.figures.page import write_figure

    typer.echo(write_figure(figure, out))
    if open_it and out.suffix == ".html" and has_screen():
        webbrowser.open(out.absolute().as_uri())
