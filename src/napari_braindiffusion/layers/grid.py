"""Several brains beside each other: napari's grid, one brain a box, one slice and one contrast for all."""

from collections.abc import Sequence

from napari.layers import Image
from napari.viewer import Viewer


def show_mosaic(viewer: Viewer, brains: Sequence[Image], *, share_contrast: bool = True) -> None:
    """Show these layers beside each other, named, and hide the others.

    Each stays a layer of its own, in its own millimetres: to save, to measure, to look at alone.
    """
    shown = [layer for layer in brains if layer in viewer.layers]
    for layer in viewer.layers:
        layer.visible = layer in shown
    for layer in shown:
        if share_contrast:
            layer.contrast_limits = shown[0].contrast_limits
        layer.name_overlay.visible = True
    grid = viewer.canvas.grid
    grid.stride, grid.shape, grid.enabled = 1, (-1, -1), True
    viewer.reset_view()
