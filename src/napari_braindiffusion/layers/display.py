"""Show volumes in the viewer: as layers, and from which direction."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from napari.layers import Image, Layer
from napari.viewer import Viewer
from qtpy.QtCore import QTimer

from braindiffusion.regions import REGION_NAMES
from braindiffusion.volume import Volume
from napari_braindiffusion.layers.geometry import (
    DISPLAY_TO_WORLD,
    LayerData,
    region_features,
    trajectory_to_layer_data,
    volume_to_layer_data,
)

AXES = ("step", "x", "y", "z")


def show_volume(
    viewer: Viewer, volume: Volume, name: str, *, layer: Layer | None = None, metadata: Mapping[str, Any] | None = None
) -> Layer:
    """Show a volume in millimetres: in the layer that showed its preview if that is still there, else in a new one.

    Args:
        viewer: Where to.
        volume: What to show.
        name: Of the layer.
        layer: The layer to go on with.
        metadata: Joins the layer's own, for instance its provenance.

    Returns:
        The layer, which is `layer` where that could be used.
    """
    data, attributes, kind = volume_to_layer_data(volume, name, metadata=dict(metadata or {}))
    if layer is None or layer not in viewer.layers or layer.data.shape != data.shape:
        return _add(viewer, (data, attributes, kind))
    layer.data = data
    layer.reset_contrast_limits_range()
    for attribute in ("name", "contrast_limits", "metadata"):
        setattr(layer, attribute, attributes[attribute])
    for attribute in ("scale", "translate"):
        if not np.array_equal(getattr(layer, attribute), attributes[attribute]):  # napari slices anew
            setattr(layer, attribute, attributes[attribute])
    return layer


@contextmanager
def selection_kept(viewer: Viewer) -> Iterator[None]:
    """Keep the selected layers while one is added that comes by itself, such as a preview.

    napari selects a layer that is added, which would end painting in another layer.
    """
    selected = set(viewer.layers.selection)
    yield
    if selected:
        viewer.layers.selection = {layer for layer in selected if layer in viewer.layers}


def show_regions(viewer: Viewer, volume: Volume, name: str) -> Layer:
    """Show a region map as a Labels layer; the status bar names the region under the cursor."""
    features = region_features(REGION_NAMES)
    return _add(viewer, volume_to_layer_data(volume, name, "labels", features=features, opacity=0.4))


def show_trajectory(viewer: Viewer, volume: Volume, name: str, *, metadata: Mapping[str, Any] | None = None) -> Layer:
    """Show a denoising trajectory as a 4D layer with axes (step, x, y, z), at its last step."""
    layer = _add(viewer, trajectory_to_layer_data(volume, name, metadata=dict(metadata or {})))
    viewer.dims.set_point(-4, float(layer.data.shape[0] - 1))
    return layer


def set_axial_view(viewer: Viewer, *, grid: bool = False) -> None:
    """An axial slice through the middle, anterior up and left at the left, axes named, with a scale bar in mm.

    Args:
        viewer: With at least one 3D layer.
        grid: Layers beside each other instead of on top of each other.
    """
    ndim = viewer.dims.ndim
    viewer.dims.ndisplay = 2
    viewer.dims.axis_labels = AXES[-ndim:]
    viewer.dims.order = (*range(ndim - 3), ndim - 1, ndim - 2, ndim - 3)
    viewer.scene.camera.orientation2d = ("up", "right")
    middle = [(low + high) / 2 for low, high, _ in viewer.dims.range[-3:]]
    viewer.dims.set_point(range(ndim - 3, ndim), middle)  # at once: napari slices all layers for each
    viewer.canvas.overlays.scale_bar.visible = True
    viewer.canvas.grid.enabled = grid
    viewer.reset_view()


def show_mosaic(viewer: Viewer, brains: Sequence[Image], *, share_contrast: bool = True) -> None:
    """Show these layers beside each other, named, and hide the others.

    Each stays a layer of its own, in its own millimetres: to save, to measure, to look at alone.
    """
    shown = [layer for layer in brains if layer in viewer.layers]
    for layer in viewer.layers:
        if layer.visible != (layer in shown):  # napari slices a layer again at each assignment
            layer.visible = layer in shown
    for layer in shown:
        if share_contrast:
            layer.contrast_limits = shown[0].contrast_limits
    viewer.canvas.grid.update({"stride": 1, "shape": (-1, -1), "enabled": True})
    viewer.reset_view()
    _show_names(viewer, shown)


def _show_names(viewer: Viewer, layers: Sequence[Layer]) -> None:
    """Show the names of the layers of a grid, one in each turn of the event loop: napari draws each in 0.1 s."""
    if layers and viewer.canvas.grid.enabled:
        layers[0].name_overlay.visible = True
        QTimer.singleShot(0, partial(_show_names, viewer, layers[1:]))


def set_initial_view(viewer: Viewer | None) -> None:
    """Turn the view as soon as the first layer is in. A viewer that shows something already keeps its view."""
    if viewer is None or viewer.layers:
        return

    def turn(event: Any) -> None:
        viewer.layers.events.inserted.disconnect(turn)
        if DISPLAY_TO_WORLD in event.value.metadata:
            set_axial_view(viewer)

    viewer.layers.events.inserted.connect(turn)


def _add(viewer: Viewer, layer_data: LayerData) -> Layer:
    first = not viewer.layers
    layer = Layer.create(*layer_data)
    viewer.add_layer(layer)
    if first:
        set_axial_view(viewer)
    return layer
