"""Overlay of oblique volumes: layers that are rotated against each other are resampled to RAS axes, if the user agrees.

A layer of an oblique volume is shown upright about its own centre (see `geometry`). That suits one volume, but two
volumes of one head with different obliquity would be shown rotated against each other.
"""

from collections.abc import Generator, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.notifications import (
    Notification,
    NotificationSeverity,
    notification_manager,
    show_error,
    show_info,
    show_warning,
)
from napari.viewer import Viewer

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.volume import Volume, resample_to_ras
from napari_braindiffusion.engine.threads import in_background
from napari_braindiffusion.layers.geometry import DISPLAY_TO_WORLD, Kind, layer_to_volume, volume_to_layer_data

KEPT = ("opacity", "blending", "visible", "colormap", "contrast_limits", "features")
"""Attributes that a resampled layer takes from the original."""
TOLERANCE = 2e-3
"""Largest difference of two rotation matrices that counts as none (about 0.1 degrees)."""


def rotated_layers(viewer: Viewer) -> list[Layer]:
    """Return the oblique layers if not all layers of the viewer have the same rotation, else none."""
    known = [layer for layer in viewer.layers if DISPLAY_TO_WORLD in layer.metadata and _rotation(layer) is not None]
    rotations = [_rotation(layer) for layer in known]
    if all(np.allclose(one, rotations[0], atol=TOLERANCE) for one in rotations):
        return []
    return [
        layer for layer, one in zip(known, rotations, strict=True) if not np.allclose(one, np.eye(3), atol=TOLERANCE)
    ]


def offer_overlay(viewer: Viewer) -> None:
    """Notify about layers that are rotated against the others, with a button that resamples them."""
    oblique = rotated_layers(viewer)
    if oblique:
        names = ", ".join(f"'{layer.name}'" for layer in oblique)
        message = f"{names}: oblique, shown rotated against the other layers. Resample to overlay them?"
        actions = (("Resample", lambda *_: overlay(viewer)),)
        notification_manager.dispatch(Notification(message, NotificationSeverity.WARNING, actions))


def overlay(viewer: Viewer) -> None:
    """Replace the rotated layers by layers on RAS grids, in a worker thread, and show a message."""
    layers = rotated_layers(viewer)
    if not layers:
        show_info("All layers have the same axes: nothing to resample.")
        return
    try:
        volumes = [layer_to_volume(layer, viewer.layers) for layer in layers]
    except BrainDiffusionError as error:
        show_error(str(error))
        return
    done = partial(_replace, viewer, iter(zip(layers, volumes, strict=True)))
    in_background(_resample, volumes, what="Resampling", total=len(layers), done=done)


def _resample(volumes: Sequence[Volume]) -> Generator[Volume]:
    for volume in volumes:
        yield resample_to_ras(volume)


def _replace(viewer: Viewer, layers: Iterator[tuple[Layer, Volume]], volume: Volume) -> None:
    layer, before = next(layers)
    if layer not in viewer.layers:
        return
    if isinstance(layer, Labels) and not np.array_equal(layer_to_volume(layer, viewer.layers).data, before.data):
        show_warning(f"'{layer.name}' was painted on while it was resampled, and stays as it is: resample it again.")
        return
    kind: Kind = "labels" if isinstance(layer, Labels) else "image"
    attributes = {name: getattr(layer, name) for name in KEPT if hasattr(layer, name)}
    if kind == "labels":
        attributes.pop("contrast_limits", None)
    data, settings, _ = volume_to_layer_data(
        volume, layer.name, kind, metadata=dict(layer.metadata) | {"resampled": True}, **attributes
    )
    place = viewer.layers.index(layer)
    viewer.layers.remove(layer)
    viewer.layers.insert(place, Layer.create(data, settings, kind))
    show_info(f"'{layer.name}' was resampled to RAS axes; saving it writes the resampled volume.")


def _rotation(layer: Layer) -> Any:
    """Return the rotation from the displayed to the world's axes, (3, 3); None for layers that are no volumes."""
    if not isinstance(layer, Image | Labels):
        return None
    return np.asarray(layer.metadata[DISPLAY_TO_WORLD], dtype=np.float64)[:3, :3]
