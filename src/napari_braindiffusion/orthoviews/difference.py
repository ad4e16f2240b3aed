"""The difference of two brains as a layer: red where the first is brighter, blue where the second is."""

from collections.abc import Mapping, Sequence
from typing import Any

from napari.layers import Image, Layer
from napari.utils import Colormap
from napari.viewer import Viewer

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.volume import Volume
from napari_braindiffusion.layers.display import show_volume
from napari_braindiffusion.layers.files import is_brain
from napari_braindiffusion.orthoviews.rendering import DIFFERENCE

COLORS = Colormap(
    [[0.10, 0.25, 1.0, 1.0], [0.45, 0.65, 1.0, 0.5], [1.0, 1.0, 1.0, 0.0], [1.0, 0.6, 0.4, 0.5], [0.9, 0.1, 0.05, 1.0]],
    name="difference",
    display_name="difference",
)
"""Blue to red; transparent at zero, so that the brain below is visible."""


def check_pair(images: Sequence[Layer]) -> None:
    """Check that the layers are two single brains.

    Raises:
        BrainDiffusionError: they are not.
    """
    if len(images) != 2 or not all(is_brain(image) for image in images):
        raise BrainDiffusionError("Select two brains, each a single volume, to show their difference.")


def show_difference(
    viewer: Viewer, volume: Volume, name: str, sidecar: Mapping[str, Any], metadata: Mapping[str, Any] | None = None
) -> Image:
    """Show a map of differences as a layer with limits symmetric about zero.

    Args:
        viewer: Where the layer appears.
        volume: The map.
        name: Of the layer, without the unit.
        sidecar: Of the map; it holds unit and limit.
        metadata: More metadata of the layer.
    """
    about = {DIFFERENCE: sidecar, **(metadata or {})}
    layer: Image = show_volume(viewer, volume, f"{name} ({sidecar['unit']})", metadata=about)
    layer.contrast_limits_range = layer.contrast_limits = (-sidecar["limit"], sidecar["limit"])
    layer.colormap, layer.blending = COLORS, "translucent_no_depth"
    return layer
