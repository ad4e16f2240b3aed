"""One function for all figures of volumes, for scripts and notebooks."""

from pathlib import Path
from typing import Literal

import plotly.graph_objects as go

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.figures.comparison import comparison
from braindiffusion.figures.page import write_figure
from braindiffusion.figures.process import process
from braindiffusion.figures.region_overlay import region_overlay
from braindiffusion.figures.slice_views import slice_views
from braindiffusion.figures.volume_rendering import volume_rendering
from braindiffusion.volume import Volume, load_volume

Kind = Literal["rendering", "slices", "process"]


def show(
    *volumes: Volume | str | Path,
    kind: Kind = "rendering",
    regions: Volume | str | Path | None = None,
    title: str = "",
    path: str | Path | None = None,
) -> go.Figure:
    """Return a figure of one brain, or of several side by side.

    Examples:
        >>> from braindiffusion.example_data import sample_t1_path
        >>> figure = show(sample_t1_path(), kind="slices", path="brain.html")
        >>> [trace.name for trace in figure.data[:3]]
        ['sagittal 0', 'coronal 0', 'axial 0']

    Args:
        volumes: One brain, or two to four to compare; volumes, or their files.
        kind: Figure of one brain: `rendering` in 3D, `slices` with sliders, `process` plays a trajectory.
        regions: Its label map on the same grid: shows names and volumes of the regions under the pointer.
        title: title of the figure.
        path: file to write it to: `.html` needs no network, `.png` and `.svg` need kaleido and Chrome.

    Returns:
        A Plotly figure.

    Raises:
        BrainDiffusionError: there is nothing to show, or too much, or the file cannot be written.
    """
    loaded = [one if isinstance(one, Volume) else load_volume(one) for one in volumes]
    if not loaded:
        raise BrainDiffusionError("No volume is given: give one, or several to compare.")
    if len(loaded) > 1:
        if regions is not None or kind != "rendering":
            raise BrainDiffusionError("Regions and a kind of figure are for one volume; several are only compared.")
        figure = comparison({_name(one, i): volume for i, (one, volume) in enumerate(
            zip(volumes, loaded, strict=True), 1)}, title=title)  # fmt: skip
    elif regions is not None:
        labels = regions if isinstance(regions, Volume) else load_volume(regions)
        figure = region_overlay(loaded[0], labels, title=title)
    else:
        figure = _figure(loaded[0], kind, title)
    if path is not None:
        write_figure(figure, Path(path))
    return figure


def _figure(volume: Volume, kind: str, title: str) -> go.Figure:
    match kind:
        case "rendering":
            return volume_rendering(volume, title=title)
        case "slices":
            return slice_views(volume, title=title)
        case "process":
            return process(volume, title=title)
        case _:
            raise BrainDiffusionError(f"There is no figure '{kind}': choose rendering, slices or process.")


def _name(volume: Volume | str | Path, number: int) -> str:
    """Return a name for a volume: its number, and its file or seed where it has one."""
    if isinstance(volume, str | Path):
        return f"{number}: {Path(volume).name}"
    seed, source = volume.metadata.get("seed"), volume.metadata.get("source")
    name = Path(source).name if source else f"seed {seed}" if seed is not None else "volume"
    return f"{number}: {name}"
