"""Values under the cursor: its position in mm, and the value of each layer there."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer

from napari_braindiffusion.layers.geometry import DISPLAY_TO_WORLD
from napari_braindiffusion.orthoviews.planes import ENDS


def in_words(viewer: ViewerModel) -> str:
    """A line for the place, and one for each visible layer; empty where there is nothing to point at."""
    brains = [layer for layer in viewer.layers if isinstance(layer, Image | Labels) and layer.ndim >= 3]
    shown = [layer for layer in brains if layer.visible]
    if not shown:
        return ""
    return "\n".join([_place(viewer, shown), *(_value(viewer, layer) for layer in reversed(shown))])


def _place(viewer: ViewerModel, shown: list[Layer]) -> str:
    """In the world of the lowest layer that knows it."""
    point = np.array([*viewer.dims.point[-3:], 1.0])
    known = next((layer for layer in shown if DISPLAY_TO_WORLD in layer.metadata), None)
    if known is None:
        return " · ".join(f"{value:.1f}" for value in point[:3])
    world = np.asarray(known.metadata[DISPLAY_TO_WORLD]) @ point
    places = (f"{ends[int(value > 0)]} {abs(value):.1f}" for ends, value in zip(ENDS, world[:3], strict=True))
    return " · ".join(places) + " mm"


def _value(viewer: ViewerModel, layer: Layer) -> str:
    point = viewer.dims.point[-layer.ndim :]
    value = _finest(layer, point) if layer.multiscale else layer.get_value(point, world=True)
    if value is None:
        return f"outside {layer.name}"
    if isinstance(layer, Labels):
        return f"{_region(layer, int(value))} in {layer.name}"
    several = ", ".join(f"{one:.4g}" for one in np.ravel(value).tolist())  # of a colour
    return f"{several} in {layer.name}"


def _finest(layer: Layer, point: Sequence[float]) -> Any:
    """Return the value of a pyramid, of which napari knows what is on the screen."""
    data = layer.data[0]
    place = np.rint(layer.world_to_data(point)).astype(int)
    inside = all(0 <= at < size for at, size in zip(place, data.shape, strict=False))
    return np.asarray(data[tuple(place)]) if inside else None


def _region(layer: Labels, label: int) -> str:
    features = layer.features
    named = features[features["index"] == label] if {"index", "region"} <= set(features) else None
    return str(label) if named is None or named.empty else str(named["region"].iloc[0])
