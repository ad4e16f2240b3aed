"""The difference of two brains as a layer: red where the first is brighter, blue where the second is."""

from collections.abc import Sequence
from pathlib import Path

from napari.layers import Image, Layer
from napari.utils import Colormap
from napari.viewer import Viewer

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs.sidecar import read_sidecar
from napari_braindiffusion.layers.display import show_volume
from napari_braindiffusion.layers.files import is_brain
from napari_braindiffusion.layers.jobs import Artifacts
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


def show_difference(viewer: Viewer, artifacts: Artifacts, name: str) -> Layer | None:
    """Show the volume that a difference job wrote, with limits symmetric about zero.

    Args:
        viewer: Where the layer appears.
        artifacts: Of the job; its sidecar holds unit and limit.
        name: Of the layer, without the unit.

    Returns:
        The layer; None where the file is missing.
    """
    for event, volume in artifacts:
        if volume is not None:
            sidecar = read_sidecar(Path(event.path))
            layer: Image = show_volume(viewer, volume, f"{name} ({sidecar['unit']})", metadata={DIFFERENCE: sidecar})
            layer.contrast_limits_range = layer.contrast_limits = (-sidecar["limit"], sidecar["limit"])
            layer.colormap = COLORS
            layer.blending = "translucent_no_depth"
            return layer
    return None
