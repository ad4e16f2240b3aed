"""The way from noise to a brain, played."""

import json
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.figures.grey import Grey, window
from braindiffusion.figures.page import BUTTONS, INK, SLIDER, style
from braindiffusion.figures.planes import PLANES, Row, animate, lay_out, middles, trace_number
from braindiffusion.volume import Volume

MILLISECONDS = 350
"""A frame, while it plays."""


def process(trajectory: Volume, *, title: str = "", names: list[str] | None = None) -> go.Figure:
    """Animate a trajectory: the model's estimate of the brain after steps of every level, through its middle.

    Args:
        trajectory: One frame a channel, the last one the brain that was made; `generate --trajectory` writes such.
        title: Stands above it.
        names: What each frame is called; their numbers if None.

    Returns:
        The figure: the planes of the last frame (so that a picture of it shows the brain), a frame for each of the
        trajectory's, a button that plays them and a slider.

    Raises:
        BrainDiffusionError: there is one frame only, names are missing, or the last frame has one value only.
    """
    count = trajectory.channels
    if count < 2:
        msg = "A trajectory has several frames, this volume has one: `generate --trajectory` writes such."
        raise BrainDiffusionError(msg)
    names = names or [f"{number + 1} of {count}" for number in range(count)]
    if len(names) != count:
        msg = f"The trajectory has {count} frames, not {len(names)}."
        raise BrainDiffusionError(msg)
    low, high = window(np.asarray(trajectory.data[-1], dtype=np.float32))
    whole = (slice(0, trajectory.shape[0]), slice(0, trajectory.shape[1]), slice(0, trajectory.shape[2]))
    row = Row(Grey.of(trajectory, count - 1, whole))
    figure = lay_out([row])
    traces = [trace_number(figure, f"{plane} 0") for plane in PLANES]
    frames = []
    for number in range(count):
        # One window for all: what is faint in the beginning is shown faint.
        grey = np.clip((trajectory.data[number].astype(np.float32) - low) / (high - low), 0, 1)
        planes = [row.plane(grey, axis, middles([row])[axis]) for axis in range(3)]
        frames.append(
            go.Frame(name=str(number), data=[{"type": "heatmap", "z": plane} for plane in planes], traces=traces)
        )
    figure.frames = frames
    figure.update_layout(
        updatemenus=[
            {
                **BUTTONS,
                "showactive": False,
                "x": 0.0,
                "y": 0,
                "xanchor": "left",
                "yanchor": "top",
                "pad": {"t": 38},
                "buttons": [
                    {"label": "Play", "method": "animate", "args": animate(None, MILLISECONDS)},
                    {"label": "Pause", "method": "animate", "args": animate([None])},
                ],
            }
        ],
        sliders=[
            {
                **SLIDER,
                "x": 0.15,
                "len": 0.85,
                "active": count - 1,
                "currentvalue": {"font": {"size": 14, "color": INK}},
                "steps": [
                    {"label": name, "method": "animate", "args": animate([str(number)])}
                    for number, name in enumerate(names)
                ],
            }
        ],
        margin={"b": 90},
    )
    style(figure, title)
    return figure


def frame_names(trajectory: Path) -> list[str] | None:
    """What the frames of a trajectory are called, from the sidecar beside it; None where it does not tell."""
    sidecar = trajectory.with_name(trajectory.name.split(".nii")[0].removesuffix("_trajectory") + ".json")
    try:
        frames = json.loads(sidecar.read_text(encoding="utf-8"))["trajectory"]
        return [f"level {one['level']}, step {one['step']} of {one['of']}" for one in frames]
    except (OSError, ValueError, KeyError, TypeError):
        return None
