"""The job `visualize`: a figure of volumes as a page for the browser."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import plotly.graph_objects as go

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.figures.comparison import comparison
from braindiffusion.figures.page import write_figure
from braindiffusion.figures.process import process, recorded_steps
from braindiffusion.figures.region_overlay import region_overlay
from braindiffusion.figures.slice_views import slice_views
from braindiffusion.figures.volume_rendering import volume_rendering
from braindiffusion.outputs import Outputs
from braindiffusion.runs import ArtifactWritten, Event, Finished, Progress, Run, VisualizeRequest
from braindiffusion.volume import load_volume


def draw(request: VisualizeRequest, run: Run) -> Iterator[Event]:
    """Draw a figure of volumes.

    Args:
        request: the volumes and the kind of figure.
        run: gets the page where the request names no file.

    Yields:
        Progress, ArtifactWritten (`figure`), Finished.

    Raises:
        BrainDiffusionError: a volume cannot be read or shown, or there are too few or too many.
    """
    out = request.out or run.results / f"{request.figure}.html"
    outputs = Outputs.of(request)
    outputs.check([out])
    yield Progress(stage="figure", step=0, total=2)
    figure = figure_of(request)
    yield Progress(stage="figure", step=1, total=2)
    with outputs.writing():
        write_figure(figure, out)
    yield Progress(stage="figure", step=2, total=2)
    yield ArtifactWritten(kind="figure", path=str(out), name=request.figure)
    yield Finished(message=f"The figure is {out.name}.")


def figure_of(request: VisualizeRequest) -> go.Figure:
    """Return the figure of a request.

    Raises:
        BrainDiffusionError: a volume cannot be read or shown, is named twice, or there are too few or too many.
    """
    first, *others = request.paths
    least, most, needed = {
        "compare": (2, 4, "2 to 4 volumes"),
        "regions": (2, 2, "2 volumes, a brain and its label map"),
    }.get(request.figure, (1, 1, "1 volume"))
    if not least <= len(request.paths) <= most:
        raise BrainDiffusionError(f"The figure '{request.figure}' takes {needed}, not {len(request.paths)}.")
    title, channel = first.name, request.channel
    match request.figure:
        case "volume":
            return volume_rendering(load_volume(first), title=title, channel=channel)
        case "slices":
            return slice_views(load_volume(first), title=title, channel=channel)
        case "process":
            return process(load_volume(first), title=title, steps=recorded_steps(first))
        case "regions":
            return region_overlay(load_volume(first), load_volume(others[0]), title=title, channel=channel)
        case "compare":
            names = _distinct(request.paths)
            volumes = {name: load_volume(path) for name, path in zip(names, request.paths, strict=True)}
            return comparison(volumes, channel=channel)


def _distinct(paths: Sequence[Path]) -> list[str]:
    """Return file names; whole paths where two names are the same."""
    if len(set(paths)) < len(paths):
        raise BrainDiffusionError("One volume is named twice: compare it with another.")
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]
