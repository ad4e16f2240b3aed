"""Brains in 3D: how they are rendered, and from where one looks at them."""

from napari.components import ViewerModel
from napari.layers import Image, Layer

from napari_braindiffusion.look.mirrors import like


def from_the_front_left(viewer: ViewerModel) -> None:
    viewer.dims.ndisplay = 3
    leading = viewer.dims.ndim - 3
    viewer.scene.camera.orientation = ("towards", "up", "right")
    viewer.dims.order = (*range(leading), leading + 2, leading + 1, leading)
    viewer.scene.camera.set_view_direction((-0.45, -0.75, 0.55), (1, 0, 0))
    viewer.fit_to_view()


def rendered(layer: Layer) -> Layer:
    shown = like(layer)
    if isinstance(shown, Image):
        shown.rendering = "attenuated_mip"
    return shown
