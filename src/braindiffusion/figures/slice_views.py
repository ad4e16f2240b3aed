"""Three linked slice views: a slider for each axis moves its plane and its line in the two others."""

from collections.abc import Sequence
from itertools import permutations, product

import plotly.graph_objects as go

from braindiffusion.figures.grey import AXES, TOWARDS, Grey, Grid
from braindiffusion.figures.page import SLIDER, style
from braindiffusion.figures.planes import (
    ACROSS_AND_UP,
    PLANES,
    Bytes,
    Row,
    animate,
    extent,
    lay_out,
    middles,
    trace_number,
)
from braindiffusion.volume import Volume

FRAME_BYTES = 6_000_000
"""Bytes of all slices of a page; of a larger volume every second, third, ... slice is shown."""

LINES = ("#e66", "#6c6", "#69f")
"""Colours of the lines that mark x, y and z."""


def slice_views(volume: Volume, *, title: str = "", channel: int = 0) -> go.Figure:
    """Sagittal, coronal and axial slices of a volume, each with a slider in millimetres.

    Left is left. Contrast is the same in all slices: black is the smallest value, white the 99.5th percentile of the
    rest.

    Args:
        volume: The volume. In its slices every voxel is shown; slices are left out where they would be too many for a
            page (`FRAME_BYTES`).
        title: title of the figure.
        channel: channel, or time point, that is shown.

    Returns:
        The figure: traces `sagittal 0`, `coronal 0` and `axial 0`, and a frame for each position of each slider.

    Raises:
        BrainDiffusionError: the volume has one value only, or has no such channel.
    """
    rows = [Row(Grey.of(volume, channel))]
    figure = lay_out(rows)
    add_sliders(figure, rows)
    style(figure, title)
    return figure


def add_sliders(
    figure: go.Figure, rows: Sequence[Row], overlay: Bytes | None = None, *, most: int | None = None
) -> None:
    """Give the planes of a figure their sliders.

    Args:
        figure: made by `lay_out`.
        rows: as given to it.
        overlay: drawn over the first row's volume, on its grid, with traces `sagittal overlay`, ...
        most: bytes that all slices may take; `FRAME_BYTES` if None.
    """
    moved = _add_lines(figure, rows)
    sheets: list[tuple[Row, Grid | Bytes, str]] = [
        (row, row.grey.data, f" {number}") for number, row in enumerate(rows)
    ]
    if overlay is not None:
        sheets.append((rows[0], overlay, " overlay"))
    largest = max(row.grey.data.size for row in rows)
    stride = -(-3 * len(sheets) * largest // (most or FRAME_BYTES))
    frames, sliders = [], []
    for axis in range(3):
        traces = [trace_number(figure, PLANES[axis] + end) for _, _, end in sheets] + moved[axis]
        positions = _positions(rows, axis, stride)
        names = [f"{AXES[axis]} {number}" for number in range(len(positions))]
        for name, position in zip(names, positions, strict=True):
            planes = [{"type": "heatmap", "z": row.plane(data, axis, position)} for row, data, _ in sheets]
            lines = [_line(rows, other, axis, position) for other in range(3) if other != axis]
            frames.append(go.Frame(name=name, data=planes + lines * len(rows), traces=traces))
        sliders.append(_slider(figure, axis, names, positions))
    figure.frames = frames
    figure.update_layout(sliders=sliders, margin={"b": 90})


def _positions(rows: Sequence[Row], axis: int, stride: int) -> list[float]:
    """Return slider positions in millimetres, in steps of the smallest voxels; the middle is one of them."""
    (first, last), middle = extent(rows, axis), middles(rows)[axis]
    step = min(row.grey.spacing[axis] for row in rows) * stride
    each_way = int((last - first) / 2 / step + 1e-3)
    return [middle + step * number for number in range(-each_way, each_way + 1)]


def _add_lines(figure: go.Figure, rows: Sequence[Row]) -> list[list[int]]:
    """Add the position lines; return the numbers of their traces for each axis, row after row."""
    numbers: list[list[int]] = [[], [], []]
    for row, (axis, plane) in product(range(len(rows)), permutations(range(3), 2)):
        drawn = figure.data[trace_number(figure, f"{PLANES[plane]} {row}")]
        figure.add_trace(
            go.Scatter(
                _line(rows, plane, axis, middles(rows)[axis]),
                xaxis=drawn.xaxis,
                yaxis=drawn.yaxis,
                mode="lines",
                line={"color": LINES[axis], "width": 1, "dash": "dot"},
                hoverinfo="skip",
                showlegend=False,
            )
        )
        numbers[axis].append(len(figure.data) - 1)
    return numbers


def _line(rows: Sequence[Row], plane: int, axis: int, position: float) -> dict[str, object]:
    """Return the line in which a plane is crossed by the one perpendicular to `axis`."""
    across, up = ACROSS_AND_UP[plane]
    ends = {across: extent(rows, across), up: extent(rows, up)} | {axis: (position, position)}
    return {"type": "scatter", "x": ends[across], "y": ends[up]}


def _slider(figure: go.Figure, axis: int, names: Sequence[str], positions: Sequence[float]) -> dict[str, object]:
    drawn = figure.data[trace_number(figure, f"{PLANES[axis]} 0")]
    start, end = figure.layout[drawn.xaxis.replace("x", "xaxis", 1)].domain
    return {
        **SLIDER,
        "x": start,
        "len": end - start,
        "active": len(positions) // 2,
        "currentvalue": {
            "prefix": f"{TOWARDS[axis][1]} ",
            "suffix": " mm",
            "font": {"size": 12, "color": LINES[axis]},
            "xanchor": "center",
        },
        "steps": [
            {"label": f"{position:.0f}", "method": "animate", "args": animate([name])}
            for name, position in zip(names, positions, strict=True)
        ],
    }
