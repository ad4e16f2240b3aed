"""A brain and the real ones that are most like it, as layers beside each other."""

from collections.abc import Mapping
from typing import Any

from napari.layers import Layer
from napari.viewer import Viewer

from braindiffusion.runs.reports.nearest import Match, Nearest
from napari_braindiffusion.layers.display import show_mosaic, show_volume
from napari_braindiffusion.layers.jobs import Artifacts


class NearestLayers:
    """Three layers: the brain in the model's box, its nearest training and its nearest held-out brain.

    Args:
        viewer: Where they appear. Each answer takes the layers of the last one.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._layers: list[Layer] = []

    def show(self, found: Nearest, made: Artifacts, origin: Mapping[str, Any]) -> None:
        """Show an answer, and choose the brain.

        Args:
            found: What the job says.
            made: The volumes that it wrote, the brain first.
            origin: What is known of where the brain comes from, for its metadata.
        """
        names = [found.brain, _called(found.training, "training"), _called(found.held_out, "held-out")]
        if len(made) < len(names):
            return  # a file is gone already, which was told
        before = [*self._layers, *[None] * len(names)]
        self._layers = [
            show_volume(self._viewer, volume, name, layer=layer, metadata={"path": event.path})
            for (event, volume), name, layer in zip(made, names, before, strict=False)
            if volume is not None
        ]
        self._layers[0].metadata.update(origin)
        show_mosaic(self._viewer, self._layers)
        self._viewer.layers.selection.active = self._layers[0]


def _called(match: Match, kind: str) -> str:
    """Short: napari writes it into a part of the canvas."""
    return f"{kind} {match.distance:.2f} · {match.name}"
