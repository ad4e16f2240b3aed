"""What a 4D layer shows: the level, step and noise of a trajectory, or the value of a sweep."""

from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

from napari.layers import Layer
from napari.utils.events import Event
from napari.viewer import Viewer

from napari_braindiffusion.layers.canvas_text import CanvasText
from napari_braindiffusion.layers.files import PROVENANCE

Frame = Mapping[str, float]

_open: "WeakSet[TrajectoryCaption]" = WeakSet()


class TrajectoryCaption:
    """A line in the canvas that follows the slider of a trajectory or a sweep, until it is closed.

    Args:
        viewer: Whose layers have the steps of a trajectory, or the values of a sweep, in their provenance.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._text = CanvasText(viewer)
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
        _open.add(self)

    def close(self) -> None:
        """Follow no longer."""
        for event in self._events:
            event.disconnect(self._tell)
        self._viewer.layers.events.inserted.disconnect(self._watch)
        for layer in self._viewer.layers:
            layer.events.visible.disconnect(self._tell)
        _open.discard(self)
        self._text.clear()
        for other in _open:  # of another dock, perhaps of this viewer
            other._tell()

    def _watch(self, event: Event) -> None:
        event.value.events.visible.connect(self._tell)

    def _tell(self, event: object = None) -> None:
        trajectory = self._trajectory()
        if trajectory is None:
            self._text.clear()
            return
        captions = frame_captions(trajectory)
        step = min(max(round(self._viewer.dims.point[-4]), 0), len(captions) - 1)
        self._text.write(captions[step])

    def _trajectory(self) -> Layer | None:
        """The active layer if its frames have captions, else the uppermost that has.

        None where the active layer has another axis for the slider: a cohort has its own text.
        """
        layers = self._viewer.layers
        active = layers.selection.active
        if active is not None and active.ndim > 3 and active.visible and not frame_captions(active):
            return None
        order = [active, *reversed(layers)]
        return next((layer for layer in order if layer is not None and layer.visible and frame_captions(layer)), None)


def frame_captions(layer: Layer) -> list[str]:
    """What each frame of a trajectory, or each value of a sweep, is in words; empty for any other layer."""
    if moments := trajectory_frames(layer):
        return [in_words(moments, step) for step in range(len(moments))]
    provenance: Mapping[str, Any] = layer.metadata.get(PROVENANCE) or {}
    values = [str(one.get("name", "")) for one in provenance.get("values") or []]
    return values if layer.ndim == 4 and len(values) == len(layer.data) else []


def trajectory_frames(layer: Layer) -> list[Frame]:
    """Level, step and noise of each frame of a trajectory; empty for any other layer."""
    provenance: Mapping[str, Any] = layer.metadata.get(PROVENANCE) or {}
    moments = provenance.get("trajectory") or []
    return moments if layer.ndim == 4 and len(moments) == len(layer.data) else []


def in_words(moments: list[Frame], step: int) -> str:
    """One of these moments as a person reads it."""
    moment = moments[step]
    levels = 1 + max(int(one["level"]) for one in moments)
    words = f"level {int(moment['level']) + 1} of {levels} · step {int(moment['step'])} of {int(moment['of'])}"
    return f"{words} · sigma {moment['sigma']:.3g}" if "sigma" in moment else words
