"""3D figure of one volume: a translucent rendering, its surface, and three slices."""

import numpy as np
import plotly.graph_objects as go

from braindiffusion.figures.grey import AXES, TOWARDS, Grey
from braindiffusion.figures.page import BUTTONS, style
from braindiffusion.figures.surface import brain_surface
from braindiffusion.volume import Volume

LONGEST_SIDE = 64
"""Voxels of the longest side of the rendering; larger volumes are averaged down to it."""

SURFACE_SIDE = 96
"""Voxels of the longest side of the surface, which is drawn faster."""

CAMERA = {"eye": {"x": -1.35, "y": 1.35, "z": 0.6}, "center": {"x": 0, "y": 0, "z": -0.12}}
"""Camera in front, left and slightly above."""

_VIEWS = {"Rendering": ["rendering"], "Surface": ["surface"], "Slices": ["sagittal", "coronal", "axial"]}


def volume_rendering(volume: Volume, *, title: str = "", channel: int = 0) -> go.Figure:
    """Render a volume with Plotly.

    Distances are millimetres along the volume's own axes, which point to the right, anterior and superior; an oblique
    volume is shown straight, around its centre.

    Args:
        volume: The volume. Slices show every voxel, the translucent rendering at most `LONGEST_SIDE` along a side.
        title: title of the figure.
        channel: channel, or time point, that is shown.

    Returns:
        The figure: trace 0 is the rendering, trace 1 the surface, traces 2 to 4 are the sagittal, coronal and axial
        slices; buttons switch between them.

    Raises:
        BrainDiffusionError: the volume has one value only, or has no such channel.
    """
    whole = Grey.of(volume, channel)
    traces = [
        _cloud(whole.averaged(LONGEST_SIDE)),
        brain_surface(whole, SURFACE_SIDE, name="surface", visible=False),
        *_slices(whole),
    ]
    figure = go.Figure(traces)
    style(figure, title)
    figure.update_layout(
        margin={"l": 0, "r": 0, "t": 40, "b": 0},
        scene=scene(),
        updatemenus=[
            {
                **BUTTONS,
                "x": 0.01,
                "y": 0.99,
                "xanchor": "left",
                "yanchor": "top",
                "buttons": [
                    {
                        "label": label,
                        "method": "restyle",
                        "args": [{"visible": [trace.name in shown for trace in traces]}],
                    }
                    for label, shown in _VIEWS.items()
                ],
            }
        ],
    )
    return figure


def scene() -> dict[str, object]:
    """Return the layout of a 3D scene in millimetres on a dark background."""
    axes = {
        f"{axis}axis": {
            "title": {"text": f"{end} (mm)"},
            "color": "#999",
            "showbackground": False,
            "gridcolor": "#333",
        }
        for axis, (_, end) in zip(AXES, TOWARDS, strict=True)
    }
    return {"aspectmode": "data", "camera": CAMERA, **axes}


def _cloud(grey: Grey) -> go.Volume:
    x, y, z = (grid.ravel() for grid in np.meshgrid(*grey.axes, indexing="ij"))
    return go.Volume(
        x=x,
        y=y,
        z=z,
        value=grey.data.ravel(),
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


def _slices(grey: Grey) -> list[go.Surface]:
    """Return the three middle slices, each a flat surface coloured by intensity."""
    surfaces = []
    for normal, name in enumerate(_VIEWS["Slices"]):
        middle = grey.data.shape[normal] // 2
        plane = [axis if number != normal else axis[middle : middle + 1] for number, axis in enumerate(grey.axes)]
        x, y, z = (np.squeeze(grid, axis=normal) for grid in np.meshgrid(*plane, indexing="ij"))
        surfaces.append(
            go.Surface(
                x=x,
                y=y,
                z=z,
                surfacecolor=np.take(grey.data, middle, axis=normal),
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
