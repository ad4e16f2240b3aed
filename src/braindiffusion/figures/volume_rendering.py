"""One volume as an HTML page: a translucent rendering that can be turned, and three slices through it."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs.files import write_whole
from braindiffusion.volume import Volume

LONGEST_SIDE = 64
"""Voxels of the longest side that a browser's rendering bears; larger volumes are averaged down to it."""

Grid = npt.NDArray[np.float32]


def volume_rendering(volume: Volume, *, title: str = "", channel: int = 0) -> go.Figure:
    """Render a volume with Plotly.

    Distances are millimetres along the volume's own axes, which point to the right, anterior and superior; an oblique
    volume is shown straight, around its centre.

    Args:
        volume: The volume. Slices show every voxel, the translucent rendering at most `LONGEST_SIDE` along a side.
        title: Stands above it.
        channel: Which channel, or time point, is shown.

    Returns:
        The figure: trace 0 is the rendering; traces 1 to 3 are the sagittal, coronal and axial slices, which a button
        shows in its place.

    Raises:
        BrainDiffusionError: the volume has one value only, or has no such channel.
    """
    if not 0 <= channel < volume.data.shape[0]:
        msg = f"There is no channel {channel} in a volume of {volume.data.shape[0]}."
        raise BrainDiffusionError(msg)
    data = np.asarray(volume.data[channel], dtype=np.float32)
    low, high = _window(data)
    box = _box(data > low + 0.1 * (high - low))
    spacing = np.asarray(volume.spacing)
    centre = (np.asarray(data.shape) - 1) / 2
    first = (volume.affine @ np.append(centre, 1))[:3] - centre * spacing  # where voxel (0, 0, 0) is drawn
    first = first + spacing * [side.start for side in box]

    whole = np.clip((data[box] - low) / (high - low), 0, 1)
    factor = -(-max(whole.shape) // LONGEST_SIDE)
    small = _average_down(whole, factor)
    axes = _coordinates(small.shape, first + spacing * (factor - 1) / 2, spacing * factor)
    traces = [_cloud(small, axes)]
    traces += _slices(whole, _coordinates(whole.shape, first, spacing))

    figure = go.Figure(traces)
    figure.update_layout(
        title={"text": title, "font": {"color": "#ddd", "size": 16}},
        paper_bgcolor="#111",
        margin={"l": 0, "r": 0, "t": 40, "b": 0},
        scene={
            "aspectmode": "data",
            "camera": {"eye": {"x": -1.4, "y": 1.4, "z": 0.6}},
            **{
                f"{axis}axis": {
                    "title": {"text": f"{name} (mm)"},
                    "color": "#999",
                    "showbackground": False,
                    "gridcolor": "#333",
                }
                for axis, name in zip("xyz", ("right", "anterior", "superior"), strict=True)
            },
        },
        updatemenus=[
            {
                "type": "buttons",
                "bgcolor": "#bbb",
                "font": {"color": "#111"},
                "direction": "right",
                "x": 0.01,
                "y": 0.99,
                "xanchor": "left",
                "yanchor": "top",
                "buttons": [
                    {"label": label, "method": "restyle", "args": [{"visible": visible}]}
                    for label, visible in (("Rendering", [True] + [False] * 3), ("Slices", [False] + [True] * 3))
                ],
            }
        ],
    )
    return figure


def write_volume_rendering(volume: Volume, path: Path, *, title: str = "", channel: int = 0) -> Path:
    """Write the rendering of a volume as one HTML file, Plotly's program included.

    Args:
        volume: The volume.
        path: The file, `.html`. Its folder is made.
        title: Stands above the rendering.
        channel: Which channel, or time point, is shown.

    Returns:
        The path written.

    Raises:
        BrainDiffusionError: the volume cannot be shown, or the file cannot be written.
    """
    page = volume_rendering(volume, title=title, channel=channel).to_html(
        include_plotlyjs=True, full_html=True, config={"displaylogo": False, "responsive": True}, default_height="100vh"
    )
    page = page.replace("<body>", '<body style="margin: 0; background: #111">', 1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, page)
    except OSError as error:
        msg = f"The rendering cannot be written to {path}: {error.strerror}."
        raise BrainDiffusionError(msg) from error
    return path


def _window(data: Grid) -> tuple[float, float]:
    """Darkest and brightest value shown: one hot voxel must not dim the rest."""
    low = float(data.min())
    above = data[data > low]
    if not above.size:
        msg = "There is nothing to see: every voxel of the volume has the same value."
        raise BrainDiffusionError(msg)
    return low, float(np.percentile(above, 99.5))


def _box(inside: npt.NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """The smallest box around what is inside, one voxel of margin."""
    sides = []
    for axis in range(3):
        along = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
        sides.append(slice(max(int(along[0]) - 1, 0), int(along[-1]) + 2))
    return sides[0], sides[1], sides[2]


def _average_down(data: Grid, factor: int) -> Grid:
    """Mean over blocks of `factor` voxels a side; the last blocks are filled up with their edge."""
    padded = np.pad(data, [(0, -side % factor) for side in data.shape], mode="edge")
    x, y, z = (side // factor for side in padded.shape)
    blocks = padded.reshape(x, factor, y, factor, z, factor)
    return np.asarray(blocks.mean(axis=(1, 3, 5)), dtype=np.float32)


def _coordinates(
    shape: tuple[int, ...], first: npt.NDArray[np.float64], spacing: npt.NDArray[np.float64]
) -> list[Grid]:
    """Millimetres of the voxels along each axis."""
    return [
        np.asarray(start + step * np.arange(side), dtype=np.float32)
        for start, step, side in zip(first, spacing, shape, strict=True)
    ]


def _cloud(data: Grid, axes: list[Grid]) -> go.Volume:
    x, y, z = (grid.ravel() for grid in np.meshgrid(*axes, indexing="ij"))
    return go.Volume(
        x=x,
        y=y,
        z=z,
        value=data.ravel(),
        isomin=0.2,
        isomax=1.0,
        cmin=0.0,
        cmax=1.0,
        opacity=0.15,
        surface={"count": 14},
        colorscale="Gray",
        showscale=False,
        hoverinfo="skip",
        name="rendering",
    )


def _slices(data: Grid, axes: list[Grid]) -> list[go.Surface]:
    """The three middle slices, each a flat surface that wears the intensities."""
    surfaces = []
    for normal, name in enumerate(("sagittal", "coronal", "axial")):
        middle = data.shape[normal] // 2
        plane = [axis if number != normal else axis[middle : middle + 1] for number, axis in enumerate(axes)]
        x, y, z = (np.squeeze(grid, axis=normal) for grid in np.meshgrid(*plane, indexing="ij"))
        surfaces.append(
            go.Surface(
                x=x,
                y=y,
                z=z,
                surfacecolor=np.take(data, middle, axis=normal),
                cmin=0.0,
                cmax=1.0,
                colorscale="Gray",
                showscale=False,
                hoverinfo="skip",
                lighting={"ambient": 1.0, "diffuse": 0.0, "specular": 0.0},
                name=name,
                visible=False,
            )
        )
    return surfaces
