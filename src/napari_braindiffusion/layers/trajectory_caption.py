"""Which moment of a brain's making a trajectory shows: the level, its step and the noise that is left."""

from collections.abc import Mapping
from typing import Any

from napari.layers import Layer
from napari.utils.events import Event
from napari.viewer import Viewer

from napari_braindiffusion.layers.files import PROVENANCE

Frame = Mapping[str, float]


class TrajectoryCaption:
    """A line in the canvas that follows the slider of a trajectory, until it is closed.

    Args:
        viewer: Whose layers have the moments of their steps in their provenance.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._told = False
        self._events = (
            viewer.dims.events.point,
            viewer.layers.events.inserted,
            viewer.layers.events.removed,
            viewer.layers.selection.events.active,
        )
        for event in self._events:
            event.connect(self._tell)
        for layer in viewer.layers:
            layer.events.visible.connect(self._tell)
        viewer.layers.events.inserted.connect(self._watch)

    def close(self) -> None:
        """Follow no longer."""
        for event in self._events:
            event.disconnect(self._tell)
        self._viewer.layers.events.inserted.disconnect(self._watch)
        for layer in self._viewer.layers:
            layer.events.visible.disconnect(self._tell)

    def _watch(self, event: Event) -> None:
        event.value.events.visible.connect(self._tell)

    def _tell(self, event: object = None) -> None:
        overlay = self._viewer.canvas.overlays.text
        trajectory = self._trajectory()
        if trajectory is None:
            if self._told:
                overlay.visible = self._told = False
            return
        moments = trajectory_frames(trajectory)
        step = min(max(round(self._viewer.dims.point[-4]), 0), len(moments) - 1)
        overlay.text = in_words(moments, step)
        overlay.position = "bottom_left"  # at the right its first letters are cut off
        overlay.visible = self._told = True

    def _trajectory(self) -> Layer | None:
        """The active layer if it is a trajectory, else the uppermost that is."""
        layers = self._viewer.layers
        order = [layers.selection.active, *reversed(layers)]
        return next(
            (layer for layer in order if layer is not None and layer.visible and trajectory_frames(layer)), None
        )


def trajectory_frames(layer: Layer) -> list[Frame]:
    """Level, step and noise of each frame of a trajectory; empty for any other layer."""
    told: Mapping[str, Any] = layer.metadata.get(PROVENANCE) or {}
    moments = told.get("trajectory") or []
    return moments if layer.ndim == 4 and len(moments) == len(layer.data) else []


def in_words(moments: list[Frame], step: int) -> str:
    """One of these moments as a person reads it."""
    moment = moments[step]
    levels = 1 + max(int(one["level"]) for one in moments)
    words = f"level {int(moment['level']) + 1} of {levels} · step {int(moment['step'])} of {int(moment['of'])}"
    return f"{words} · sigma {moment['sigma']:.3g}" if "sigma" in moment else words
