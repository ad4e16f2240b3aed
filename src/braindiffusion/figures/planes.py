"""Sagittal, coronal and axial planes side by side, one row for each volume, for all figures of slices.

All planes of a figure have one scale, and letters for their directions. The trace of a plane is found by its name,
`sagittal 0` for that of the first row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from braindiffusion.figures.grey import AXES, TOWARDS, Grey, Grid
from braindiffusion.untrusted import markup

Bytes = npt.NDArray[np.uint8]
Line = tuple[float, float]

PLANES = ("sagittal", "coronal", "axial")
"""Planes by the axis that they are perpendicular to."""

ACROSS_AND_UP = ((1, 2), (0, 2), (0, 1))
"""Axes that run to the right and up in each plane."""


@dataclass(frozen=True)
class Row:
    """A volume and its name, shown as one row of planes.

    Attributes:
        grey: the volume.
        name: text beside it.
    """

    grey: Grey
    name: str = ""

    def index(self, axis: int, position: float) -> int | None:
        """Return the voxel at a position in millimetres along an axis; None beyond the volume."""
        line = self.grey.axes[axis]
        index = round((position - float(line[0])) / self.grey.spacing[axis])
        return index if 0 <= index < len(line) else None

    def plane(self, data: Grid | Bytes, axis: int, position: float) -> Bytes:
        """Return the slice of an array on the volume's grid, rows upwards; zeros beyond the volume.

        Args:
            data: (x, y, z): intensities in [0, 1], which become 0 to 255, or uint8, which stay.
            axis: axis that the plane is perpendicular to.
            position: millimetres along it.
        """
        index = self.index(axis, position)
        if index is None:
            return np.zeros(np.delete(data.shape, axis)[::-1], np.uint8)
        cut = data.take(index, axis).T
        scaled = cut if cut.dtype == np.uint8 else np.rint(255 * cut)
        return np.ascontiguousarray(scaled, dtype=np.uint8)


def extent(rows: Sequence[Row], axis: int) -> Line:
    """Return the first and the last millimetre along an axis that any of the volumes reaches."""
    ends = [(float(row.grey.axes[axis][0]), float(row.grey.axes[axis][-1])) for row in rows]
    return min(first for first, _ in ends), max(last for _, last in ends)


def middles(rows: Sequence[Row]) -> tuple[float, float, float]:
    """Return the middle of all volumes in millimetres, where the sliders start."""
    x, y, z = (sum(extent(rows, axis)) / 2 for axis in range(3))
    return x, y, z


def lay_out(rows: Sequence[Row], *, scenes: bool = False) -> go.Figure:
    """Make a figure of middle planes.

    Args:
        rows: the volumes, from the top.
        scenes: leave room for a 3D scene at the beginning of each row: column 1, the planes move on to 2 to 4.
    """
    extents = [extent(rows, axis) for axis in range(3)]
    size = [last - first for first, last in extents]
    widths = [size[across] for across, _ in ACROSS_AND_UP]
    column = {"specs": [[{"type": "scene"}] * scenes + [{"type": "xy"}] * 3] * len(rows)}
    figure = make_subplots(
        rows=len(rows),
        cols=3 + scenes,
        column_widths=[max(widths)] * scenes + widths,
        horizontal_spacing=0.04,
        vertical_spacing=0.06,
        **column,
    )
    tall = max(size[up] for _, up in ACROSS_AND_UP) + 4
    for number, row in enumerate(rows, 1):
        for axis, (across, up) in enumerate(ACROSS_AND_UP):
            plane = _heatmap(row, axis, middles(rows)[axis], f"{PLANES[axis]} {number - 1}")
            place = {"row": number, "col": axis + 1 + scenes}
            figure.add_trace(plane, **place)
            middle = sum(extents[up]) / 2
            figure.update_xaxes(range=_margin(extents[across]), **_AXIS, **place)
            figure.update_yaxes(range=[middle - tall / 2, middle + tall / 2], **_AXIS, **place)
            subplot = figure.get_subplot(**place)
            subplot.yaxis.scaleanchor = subplot.xaxis.plotly_name.replace("axis", "")
            _letters(figure, axis, place)
        if scenes:
            # The height of a panel sets the size of its scene; that of a single row is much taller than wide.
            away = 2.1 if len(rows) == 1 else 1.3
            figure.get_subplot(number, 1).update(_SCENE, camera_eye={"x": -away, "y": away, "z": 0.4 * away})
        figure.add_annotation(
            text=markup(row.name), x=0, y=_top(figure, number, scenes), xref="paper", yref="paper", **_NAME
        )
    figure.update_layout(margin={"l": 20, "r": 20, "t": 50, "b": 20})
    return figure


def trace_number(figure: go.Figure, name: str) -> int:
    """Return the number of the trace of this name."""
    return next(number for number, trace in enumerate(figure.data) if trace.name == name)


def animate(frames: Sequence[str | None] | None, milliseconds: int = 0) -> list[object]:
    """Return the arguments of Plotly's `animate`.

    Args:
        frames: names of those to show; None shows all, `[None]` stops.
        milliseconds: duration of each.
    """
    return [
        frames,
        {
            "mode": "immediate",
            "frame": {"duration": milliseconds, "redraw": True},
            "transition": {"duration": 0},
        },
    ]


_AXIS = {"showgrid": False, "zeroline": False, "constrain": "domain", "tickfont": {"size": 9, "color": "#777"}}
_NAME = {"showarrow": False, "xanchor": "left", "yanchor": "bottom", "font": {"size": 14}}
_SCENE = {
    "aspectmode": "data",
    **{f"{axis}axis": {"visible": False} for axis in AXES},
}
_LETTER = {"showarrow": False, "font": {"size": 13, "color": "#9cf"}, "bgcolor": "rgba(17, 17, 17, 0.7)"}


def _margin(line: Line) -> list[float]:
    return [line[0] - 2, line[1] + 2]


def _heatmap(row: Row, axis: int, position: float, name: str) -> go.Heatmap:
    across, up = ACROSS_AND_UP[axis]
    return go.Heatmap(
        x=row.grey.axes[across],
        y=row.grey.axes[up],
        z=row.plane(row.grey.data, axis, position),
        zmin=0,
        zmax=255,
        colorscale="Gray",
        zsmooth="fast",
        showscale=False,
        name=name,
        hovertemplate=f"{TOWARDS[across][1]} %{{x:.0f}} mm, {TOWARDS[up][1]} %{{y:.0f}} mm"
        f"<extra>{markup(row.name)}</extra>",
    )


def _letters(figure: go.Figure, axis: int, place: dict[str, int]) -> None:
    (left, right), (down, up) = (
        tuple(end[0].upper() for end in TOWARDS[direction]) for direction in ACROSS_AND_UP[axis]
    )
    subplot = figure.get_subplot(**place)
    refs = {
        f"{letter}ref": f"{getattr(subplot, f'{letter}axis').plotly_name.replace('axis', '')} domain" for letter in "xy"
    }
    for text, x, y in ((left, 0.02, 0.5), (right, 0.98, 0.5), (down, 0.5, 0.02), (up, 0.5, 0.98)):
        figure.add_annotation(text=text, x=x, y=y, **refs, **_LETTER)


def _top(figure: go.Figure, row: int, scenes: bool) -> float:
    return float(figure.get_subplot(row, 1 + scenes).yaxis.domain[1])
