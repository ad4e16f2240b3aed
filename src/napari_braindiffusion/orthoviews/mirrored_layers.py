"""The layers of one viewer, seen by another: the same arrays, sliced another way.

A napari layer holds the slice that it shows, so two canvases that cut differently need a layer each. A mirror shares
the array of its source and follows whatever is changed about it; nothing goes back.
"""

from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from napari.utils.events import Event, EventEmitter

from napari_braindiffusion.orthoviews.rendering import is_volume_rendered, render

FOLLOWED = ("data", "scale", "translate", "rotate", "shear", "affine", "name", "opacity", "blending", "colormap")
OF_IMAGES = ("contrast_limits", "gamma", "interpolation2d")
OF_LABELS = ("contour", "selected_label", "show_selected_label")
PAINTED = ("paint", "labels_update")
"""Events of a Labels layer when voxels of its array change."""


class Mirror:
    """One layer that follows another.

    Args:
        source: Image or Labels.
        solid: Whether it is seen in 3D.
    """

    def __init__(self, source: Layer, *, solid: bool) -> None:
        self.source = source
        data, attributes, kind = source.as_layer_data_tuple()
        self.layer = Layer.create(data, attributes, kind)
        if isinstance(self.layer, Image):
            render(self.layer)
        self.show(solid=solid)
        events = source.events
        names = FOLLOWED + (OF_LABELS if isinstance(source, Labels) else OF_IMAGES)
        self._copied: list[EventEmitter] = [getattr(events, name) for name in names]
        self._painted: list[EventEmitter] = [getattr(events, one) for one in PAINTED if isinstance(source, Labels)]
        for event in self._copied:
            event.connect(self._copy)
        for event in self._painted:
            event.connect(self._refresh)
        events.visible.connect(self._on_visible)

    def show(self, *, solid: bool) -> None:
        """Show what the source shows; in 3D, only what means something there."""
        self._solid = solid
        visible = self.source.visible and (not solid or is_volume_rendered(self.source))
        if self.layer.visible != visible:  # napari slices again at each assignment
            self.layer.visible = visible

    def close(self) -> None:
        """Follow no longer."""
        for event in self._copied:
            event.disconnect(self._copy)
        for event in self._painted:
            event.disconnect(self._refresh)
        self.source.events.visible.disconnect(self._on_visible)

    def _copy(self, event: Event) -> None:
        setattr(self.layer, event.type, getattr(self.source, event.type))

    def _refresh(self, event: Event) -> None:
        self.layer.refresh(extent=False, thumbnail=False)

    def _on_visible(self, event: Event) -> None:
        self.show(solid=self._solid)


class Mirrors:
    """Fills a viewer with mirrors of the images and labels of another, and keeps them so until it is closed.

    Args:
        source: Whose layers are shown, in the same grid.
        target: The viewer to fill; nobody else puts layers there.
        solid: Whether it shows them in 3D.
    """

    def __init__(self, source: ViewerModel, target: ViewerModel, *, solid: bool = False) -> None:
        self._source, self._target, self._solid = source, target, solid
        self._mirrors: dict[Layer, Mirror] = {}
        self._events = (source.layers.events.inserted, source.layers.events.removed, source.layers.events.reordered)
        for event in self._events:
            event.connect(self._match)
        source.canvas.grid.events.connect(self._match_grid)
        self._match()
        self._match_grid()

    def show(self, *, solid: bool) -> None:
        """Show them for 3D, or for a plane."""
        self._solid = solid
        for mirror in self._mirrors.values():
            mirror.show(solid=solid)

    def close(self) -> None:
        """Follow no longer, and take the mirrors away."""
        for event in self._events:
            event.disconnect(self._match)
        self._source.canvas.grid.events.disconnect(self._match_grid)
        for mirror in self._mirrors.values():
            mirror.close()
        self._mirrors.clear()
        self._target.layers.clear()

    def _match(self, event: object = None) -> None:
        wanted = [layer for layer in self._source.layers if isinstance(layer, Image | Labels)]
        for gone in [layer for layer in self._mirrors if layer not in wanted]:
            mirror = self._mirrors.pop(gone)
            mirror.close()
            self._target.layers.remove(mirror.layer)
        for place, source in enumerate(wanted):
            if source not in self._mirrors:
                self._mirrors[source] = Mirror(source, solid=self._solid)
                self._target.layers.insert(place, self._mirrors[source].layer)
            now = self._target.layers.index(self._mirrors[source].layer)
            if now != place:
                self._target.layers.move(now, place)

    def _match_grid(self, event: object = None) -> None:
        grid = self._source.canvas.grid
        copied = {name: getattr(grid, name) for name in ("enabled", "stride", "shape", "spacing")}
        self._target.canvas.grid.update(copied)
