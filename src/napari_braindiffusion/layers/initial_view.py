"""A brain opened in an empty viewer stands upright: axial, front up, left at the left.

napari looks along the first axis and draws the last one to the right, which lays a brain in RAS+ on its side. A reader
cannot say otherwise, so whoever is about to hand the first volume to napari calls `set_initial_view`.
"""

from typing import Any

from napari_braindiffusion.layers.geometry import DISPLAY_TO_WORLD


def set_initial_view() -> None:
    """Turn the view as soon as the first layer is in. A viewer that shows something already keeps its view."""
    from napari import current_viewer

    viewer = current_viewer()
    if viewer is None or viewer.layers:
        return

    def turn(event: Any) -> None:
        viewer.layers.events.inserted.disconnect(turn)
        if DISPLAY_TO_WORLD in event.value.metadata:
            from napari_braindiffusion.layers.display import set_axial_view

            set_axial_view(viewer)

    viewer.layers.events.inserted.connect(turn)
