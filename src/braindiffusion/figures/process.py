"""Animation of a denoising trajectory: all of it, or one level."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import plotly.graph_objects as go

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.figures.grey import Grey, window
from braindiffusion.figures.page import BUTTONS, INK, SLIDER, style
from braindiffusion.figures.planes import PLANES, Row, animate, lay_out, middles, trace_number
from braindiffusion.runs.sidecar import read_sidecar
from braindiffusion.volume import Volume

MILLISECONDS = 350
"""Duration of a frame."""

SLIDER_BEGINS = 0.15
"""Share of the width left of the slider, for the buttons."""


class Step(NamedTuple):
    """The sampling step that a frame shows."""

    level: int
    step: int
    of: int

    @classmethod
    def of_record(cls, record: dict[str, int]) -> Self:
        """Read an entry of a sidecar's `trajectory`."""
        return cls(record["level"], record["step"], record["of"])

    def __str__(self) -> str:
        return f"level {self.level}, step {self.step} of {self.of}"


def process(trajectory: Volume, *, title: str = "", steps: Sequence[Step] | None = None) -> go.Figure:
    """Animate a trajectory: the denoised estimate after steps of every level, in three middle planes.

    Args:
        trajectory: One frame for each channel, the last one the generated brain, as `generate` writes it.
        title: title of the figure.
        steps: sampling step of each frame. None takes those of the volume's metadata, as `Model.sample` gives them;
            without them frames are numbered.

    Returns:
        The figure: the planes of the last frame (so that a picture of it shows the brain), a frame for each of the
        trajectory's, buttons that play all of them or those of a level, and a slider over all steps of all levels.

    Raises:
        BrainDiffusionError: there is one frame only, steps are missing, or the last frame has one value only.
    """
    count = trajectory.channels
    if count < 2:
        msg = "A trajectory has several frames, this volume has one: generate with the denoising trajectory saved."
        raise BrainDiffusionError(msg)
    if steps is None:
        steps = [Step.of_record(record) for record in trajectory.metadata.get("trajectory", [])]
    if steps and len(steps) != count:
        msg = f"The trajectory has {count} frames, not {len(steps)}."
        raise BrainDiffusionError(msg)
    low, high = window(np.asarray(trajectory.data[-1], dtype=np.float32))
    whole = (slice(0, trajectory.shape[0]), slice(0, trajectory.shape[1]), slice(0, trajectory.shape[2]))
    row = Row(Grey.of(trajectory, count - 1, whole))
    figure = lay_out([row])
    traces = [trace_number(figure, f"{plane} 0") for plane in PLANES]
    frames = []
    for number in range(count):
        # One intensity window for all frames.
        grey = np.clip((trajectory.data[number].astype(np.float32) - low) / (high - low), 0, 1)
        planes = [row.plane(grey, axis, middles([row])[axis]) for axis in range(3)]
        frames.append(
            go.Frame(name=str(number), data=[{"type": "heatmap", "z": plane} for plane in planes], traces=traces)
        )
    figure.frames = frames
    names = [str(step) for step in steps] or [f"{number + 1} of {count}" for number in range(count)]
    figure.update_layout(sliders=[_slider(names)], updatemenus=[_play_all()], margin={"b": 90})
    if steps:
        _add_level_buttons(figure, [step.level for step in steps])
    style(figure, title)
    return figure


def recorded_steps(trajectory: Path) -> list[Step] | None:
    """Read the sampling steps of a trajectory's frames from its sidecar; None where it has none."""
    try:
        return [Step.of_record(record) for record in read_sidecar(trajectory)["trajectory"]]
    except (ValueError, KeyError, TypeError):
        return None


def _play(label: str, frames: list[str] | None) -> dict[str, object]:
    return {"label": label, "method": "animate", "args": animate(frames, MILLISECONDS)}


def _play_all() -> dict[str, object]:
    return {
        **BUTTONS,
        "showactive": False,
        "x": 0.0,
        "y": 0,
        "xanchor": "left",
        "yanchor": "top",
        "pad": {"t": 38},
        "buttons": [_play("Play", None), {"label": "Pause", "method": "animate", "args": animate([None])}],
    }


def _slider(names: Sequence[str]) -> dict[str, object]:
    return {
        **SLIDER,
        "x": SLIDER_BEGINS,
        "len": 1 - SLIDER_BEGINS,
        "active": len(names) - 1,
        "currentvalue": {"font": {"size": 14, "color": INK}},
        "steps": [
            {"label": name, "method": "animate", "args": animate([str(number)])} for number, name in enumerate(names)
        ],
    }


def _add_level_buttons(figure: go.Figure, levels: Sequence[int]) -> None:
    """Add a button that plays each level, and the level's name below its part of the slider."""
    buttons = []
    last = len(levels) - 1
    for level, group in groupby(range(len(levels)), levels.__getitem__):
        numbers = list(group)
        buttons.append(_play(f"Level {level}", [str(number) for number in numbers]))
        figure.add_annotation(
            text=f"level {level}",
            x=SLIDER_BEGINS + (1 - SLIDER_BEGINS) * (numbers[0] + numbers[-1]) / 2 / last,
            y=0,
            xref="paper",
            yref="paper",
            yanchor="top",
            yshift=-74,
            showarrow=False,
            font={"size": 11, "color": "#888"},
        )
    place = {"x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom", "showactive": False}
    figure.update_layout(updatemenus=[*figure.layout.updatemenus, {**BUTTONS, **place, "buttons": buttons}])
    figure.update_layout(margin={"t": 60, "b": 110})
