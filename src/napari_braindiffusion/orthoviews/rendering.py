"""3D rendering of brains: style, camera, and the return to planes."""

from collections.abc import Callable
from typing import TypeGuard
from weakref import WeakKeyDictionary

from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer

from braindiffusion.errors import BrainDiffusionError

ATTENUATION_PER_MM = 0.25
"""At 2 mm, each voxel takes half of its brightness from what is behind: gyri and sulci come out."""
VIEW = (-0.45, -0.75, 0.55)
"""Along (z, y, x): from above, from the front and from the left."""
UP = (1.0, 0.0, 0.0)
CLOSER = 1.3
"""napari leaves room for the corners of the box; a brain has none."""
DIFFERENCE = "difference"
"""Key of a layer's metadata: what a map of differences is in, and of which brains."""

_ways_back: "WeakKeyDictionary[ViewerModel, Callable[[], None]]" = WeakKeyDictionary()


def is_volume_rendered(layer: Layer) -> TypeGuard[Image]:
    """Whether a layer means something when it is rendered: region labels hide a brain, a map of differences is none."""
    return isinstance(layer, Image) and DIFFERENCE not in layer.metadata


def render(image: Image) -> None:
    """Let the light fade on its way into the head, so that what is near to the eye is seen."""
    image.rendering = "attenuated_mip"
    image.attenuation = ATTENUATION_PER_MM * float(min(image.scale[-3:]))


def set_front_view(viewer: ViewerModel) -> None:
    """Turn a viewer to 3D: from the left, the front and above, left and right never exchanged."""
    leading = viewer.dims.ndim - 3
    viewer.dims.ndisplay = 3
    viewer.dims.order = (*range(leading), leading + 2, leading + 1, leading)
    viewer.scene.camera.orientation = ("towards", "up", "right")
    viewer.scene.camera.set_view_direction(VIEW, UP)
    viewer.fit_to_view()
    viewer.scene.camera.zoom *= CLOSER


def show_in_3d(viewer: ViewerModel) -> None:
    """Render the images of a viewer, without labels and differences; `back_to_planes` undoes it.

    Raises:
        BrainDiffusionError: there is no visible image with three axes.
    """
    if viewer in _ways_back:
        return
    shown = [layer for layer in viewer.layers if layer.visible]
    solid = [layer for layer in shown if is_volume_rendered(layer) and layer.ndim >= 3]
    if not solid:
        raise BrainDiffusionError("There is no brain to show in 3D: open one, or make its layer visible.")
    covering = [layer for layer in shown if isinstance(layer, Image | Labels) and layer not in solid]
    camera, order, point = viewer.scene.camera, viewer.dims.order, viewer.dims.point
    looks = [(image, image.rendering, image.attenuation) for image in solid]
    view = camera.orientation, camera.center, camera.zoom

    def restore_layers() -> None:
        for image, rendering, attenuation in looks:
            image.rendering, image.attenuation = rendering, attenuation
        for layer in covering:
            layer.visible = True

    def back() -> None:
        viewer.dims.ndisplay = 2
        if len(order) == viewer.dims.ndim:
            viewer.dims.order, viewer.dims.point = order, point
        camera.orientation, camera.center, camera.zoom = view
        restore_layers()

    def on_ndisplay(event: object = None) -> None:
        """The way back ends with the rendering, also where the user goes back by napari's own button."""
        viewer.dims.events.ndisplay.disconnect(on_ndisplay)
        if _ways_back.pop(viewer, None) is not None:
            restore_layers()

    _ways_back[viewer] = back
    for layer in covering:
        layer.visible = False
    for image in solid:
        render(image)
    set_front_view(viewer)
    viewer.dims.point = point  # napari has taken it for the camera's
    viewer.dims.events.ndisplay.connect(on_ndisplay)


def back_to_planes(viewer: ViewerModel) -> None:
    """Restore the state before `show_in_3d`; a viewer in 3D for another reason shows a plane."""
    back = _ways_back.pop(viewer, None)
    if back is not None:
        back()
    else:
        viewer.dims.ndisplay = 2


def toggle_3d(viewer: ViewerModel) -> None:
    """To 3D, or back.

    Raises:
        BrainDiffusionError: there is nothing to show.
    """
    if viewer.dims.ndisplay == 3:
        back_to_planes(viewer)
    else:
        show_in_3d(viewer)
