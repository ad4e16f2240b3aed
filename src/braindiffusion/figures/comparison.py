"""Comparison of volumes, one above the other: surfaces that turn together, slices that move together."""

from collections.abc import Mapping

import plotly.graph_objects as go

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.figures.grey import Grey
from braindiffusion.figures.page import style
from braindiffusion.figures.planes import Row, lay_out
from braindiffusion.figures.slice_views import add_sliders
from braindiffusion.figures.surface import brain_surface
from braindiffusion.volume import Volume

MOST = 4
"""Most volumes of one page."""

SURFACE_SIDE = 80
"""Voxels of the longest side of a surface."""


def comparison(volumes: Mapping[str, Volume], *, title: str = "", channel: int = 0) -> go.Figure:
    """Compare volumes from the same camera and at the same slice positions.

    Places are millimetres from the middle of each brain, so scans compare that lie elsewhere in the scanner. Each
    volume is shown from its own smallest value to its own 99.5th percentile. The camera of one scene moves the others
    on a page (not in a notebook).

    Args:
        volumes: Two to `MOST` volumes by name.
        title: title of the figure.
        channel: channel, or time point, that is shown.

    Returns:
        The figure: traces `sagittal 0`, ... of the first volume, `sagittal 1`, ... of the second, and so on; a surface
        each; a frame for each position of each slider.

    Raises:
        BrainDiffusionError: too few or too many, or one of them cannot be shown.
    """
    if not 2 <= len(volumes) <= MOST:
        msg = f"A comparison shows 2 to {MOST} volumes, not {len(volumes)}."
        raise BrainDiffusionError(msg)
    rows = [Row(Grey.of(volume, channel).centred(), name) for name, volume in volumes.items()]
    figure = lay_out(rows, scenes=True)
    for number, row in enumerate(rows, 1):
        figure.add_trace(brain_surface(row.grey, SURFACE_SIDE, name=row.name), row=number, col=1)
    add_sliders(figure, rows)
    style(figure, title)
    return figure
