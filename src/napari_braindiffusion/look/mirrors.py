"""The layers of one viewer, seen by another: the same arrays, sliced another way.

A napari layer holds the slice that it shows, so two canvases that cut differently need a layer each. A mirror shares
the array of its source and follows whatever is changed about it; nothing goes back.
"""

from collections.abc import Callable
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from napari.utils.events import Event

FOLLOWED = (
    "data",
    "scale",
    "translate",
    "rotate",
    "shear",
    "affine",
    "name",
    "visible",
    "opacity",
    "blending",
    "colormap",
)
OF_IMAGES = ("contrast_limits", "gamma", "interpolation2d")
OF_LABELS = ("contour", "selected_label", "show_selected_label")
PAINTED = ("paint", "labels_update")

MakeLayer = Callable[[Layer], Layer]


def like(layer: Layer) -> Layer:
    """A layer that shows the same array in the same way."""
    data, attributes, kind = layer.as_layer_data_tuple()
    return Layer.create(data, attributes, kind)


class Mirror:
    """One layer that follows another.

    Args:
        source: Image or Labels.
        shown: The layer that follows.
    """

    def __init__(self, source: Layer, shown: Layer) -> None:
        self.source, self.shown = source, shown
        self._names = FOLLOWED + (OF_LABELS if isinstance(source, Labels) else OF_IMAGES)
        for name in self._names:
            getattr(source.events, name).connect(self._follow)
        for name in PAINTED if isinstance(source, Labels) else ():
            getattr(source.events, name).connect(self._refresh)

    def close(self) -> None:
        """Follow no longer."""
        for name in self._names:
            getattr(self.source.events, name).disconnect(self._follow)
        for name in PAINTED if isinstance(self.source, Labels) else ():
            getattr(self.source.events, name).disconnect(self._refresh)

    def _follow(self, event: Event) -> None:
        value = getattr(self.source, event.type)
        if event.type != "data" or value is not self.shown.data:
            setattr(self.shown, event.type, value)

    def _refresh(self, event: Event) -> None:
        self.shown.refresh(extent=False, thumbnail=False)


class Mirrors:
    """Fills a viewer with mirrors of the images and labels of another, and keeps them so until it is closed.

    Args:
        source: Whose layers are shown.
        shown: The viewer to fill; nobody else puts layers there.
        make: How a mirror begins.
    """

    def __init__(self, source: ViewerModel, shown: ViewerModel, make: MakeLayer = like) -> None:
        self._source, self._shown, self._make = source, shown, make
        self._mirrors: dict[Layer, Mirror] = {}
        self._events = (source.layers.events.inserted, source.layers.events.removed, source.layers.events.reordered)
        for event in self._events:
            event.connect(self._match)
        source.canvas.grid.events.connect(self._match_grid)
        self._match()
        self._match_grid()

    def close(self) -> None:
        """Follow no longer."""
        for event in self._events:
            event.disconnect(self._match)
        self._source.canvas.grid.events.disconnect(self._match_grid)
        for mirror in self._mirrors.values():
            mirror.close()
        self._mirrors.clear()

    def _match(self, event: object = None) -> None:
        wanted = [layer for layer in self._source.layers if isinstance(layer, Image | Labels)]
        for layer in set(self._mirrors) - set(wanted):
            mirror = self._mirrors.pop(layer)
            mirror.close()
            self._shown.layers.remove(mirror.shown)
        for layer in wanted:
            if layer not in self._mirrors:
                self._mirrors[layer] = Mirror(layer, self._make(layer))
                self._shown.layers.append(self._mirrors[layer].shown)
        for place, layer in enumerate(wanted):
            now = self._shown.layers.index(self._mirrors[layer].shown)
            if now != place:
                self._shown.layers.move(now, place)

    def _match_grid(self, event: Any = None) -> None:
        mine, theirs = self._shown.canvas.grid, self._source.canvas.grid
        mine.update({"enabled": theirs.enabled, "stride": theirs.stride, "shape": theirs.shape, "spacing": theirs.spacing})
