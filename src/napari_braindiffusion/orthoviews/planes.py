"""The planes of a brain on the screen, and which side of the head is at which edge.

Layers are in RAS+ (see `layers.py`), so an axis and the direction in which the camera draws it tell the letter.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from napari.components import ViewerModel
from napari.components.overlays import TextOverlay
from napari.layers import Layer

from napari_braindiffusion.layers.geometry import DISPLAY_TO_WORLD
from napari_braindiffusion.settings import Convention

ENDS = (("L", "R"), ("P", "A"), ("I", "S"))
"""Letters of the low and the high end of the axes x, y and z."""
LETTER_SIZE = 12


@dataclass(frozen=True)
class Plane:
    """A way to cut a brain.

    Attributes:
        name: As anatomists say.
        order: Axes among (x, y, z): the one looked along, the one drawn upwards, the one drawn to the side.
    """

    name: str
    order: tuple[int, int, int]


AXIAL = Plane("Axial", (2, 1, 0))
CORONAL = Plane("Coronal", (1, 2, 0))
SAGITTAL = Plane("Sagittal", (0, 2, 1))
PLANES = (AXIAL, CORONAL, SAGITTAL)


def turn(viewer: ViewerModel, plane: Plane, convention: Convention = "neurological") -> None:
    """Show a plane: what is up in the head is up, left at the left, or at the right as radiologists have it.

    A sagittal plane has the nose at the right in both.
    """
    leading = viewer.dims.ndim - 3
    mirrored = convention == "radiological" and plane is not SAGITTAL
    viewer.scene.camera.orientation = ("towards", "up", "left" if mirrored else "right")
    viewer.dims.order = (*range(leading), *(leading + axis for axis in plane.order))


def plane_of(viewer: ViewerModel) -> Plane | None:
    """The plane that a viewer shows; None in 3D, or where fewer than three axes are."""
    if viewer.dims.ndisplay == 3 or viewer.dims.ndim < 3:
        return None
    along = viewer.dims.order[-3] - (viewer.dims.ndim - 3)
    return next((plane for plane in PLANES if plane.order[0] == along), None)


def is_in_space(layer: Layer) -> bool:
    """Whether it is known which way the layer's axes go in the head."""
    return DISPLAY_TO_WORLD in layer.metadata


def letters_at(viewer: ViewerModel) -> dict[str, str]:
    """Letter at each edge of the canvas (`top_center`, `bottom_center`, `middle_left`, `middle_right`).

    Empty in 3D, and where no layer knows its place in the head.
    """
    known = any(is_in_space(layer) for layer in viewer.layers)
    if not known or viewer.dims.ndisplay == 3 or viewer.dims.ndim < 3:
        return {}
    upwards, sideways = (axis - (viewer.dims.ndim - 3) for axis in viewer.dims.order[-2:])
    if min(upwards, sideways) < 0:
        return {}
    up, right = (str(direction) for direction in viewer.scene.camera.orientation2d)
    bottom, top = ENDS[upwards] if up == "up" else ENDS[upwards][::-1]
    left, right = ENDS[sideways] if right == "right" else ENDS[sideways][::-1]
    return {"top_center": top, "bottom_center": bottom, "middle_left": left, "middle_right": right}


class Letters:
    """Letters at the edges of a canvas that follow what it shows, until they are closed.

    Args:
        viewer: With a canvas.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._overlays: dict[str, TextOverlay] = {}
        self._events = (
            viewer.dims.events.order,
            viewer.dims.events.ndisplay,
            viewer.dims.events.ndim,
            viewer.scene.camera.events.orientation,
            viewer.layers.events.inserted,
            viewer.layers.events.removed,
        )
        for event in self._events:
            event.connect(self._update)
        self._update()

    def end(self) -> None:
        """Take them away."""
        for event in self._events:
            event.disconnect(self._update)
        self._put({})

    def _update(self, event: object = None) -> None:
        self._put(letters_at(self._viewer))

    def _put(self, letters: Mapping[str, str]) -> None:
        """An overlay that is not needed is taken out: in a grid, napari loses count of those that only hide."""
        for edge in set(self._overlays) - set(letters):
            del self._overlays[edge], self._viewer.canvas.overlays[f"letter_{edge}"]
        for edge, letter in letters.items():
            if edge in self._overlays:
                self._overlays[edge].text = letter
            else:
                overlay = TextOverlay(text=letter, position=edge, gridded=True, font_size=LETTER_SIZE, visible=True)
                self._overlays[edge] = self._viewer.canvas.overlays[f"letter_{edge}"] = overlay
