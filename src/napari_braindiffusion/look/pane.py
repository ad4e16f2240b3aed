"""One small canvas of the linked view: a plane, or a rendering, of what the viewer shows."""

from collections.abc import Sequence

from napari.components import ViewerModel
from napari.qt import QtViewer
from napari.viewer import Viewer
from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from napari_braindiffusion.look.crosshair import Crosshair, Following
from napari_braindiffusion.look.in_3d import from_the_front_left, rendered
from napari_braindiffusion.look.mirrors import Mirrors, like
from napari_braindiffusion.look.planes import Convention, Letters, Plane, turn

SMALLEST = 110
"""Pixels below which one sees nothing."""


class Pane(QWidget):
    """A canvas with mirrors of the viewer's layers, at the viewer's cursor.

    Args:
        viewer: Whose layers and cursor are shown.
        plane: Which plane; None is a rendering in 3D.
        convention: Where left is.
    """

    def __init__(self, viewer: Viewer, plane: Plane | None, convention: Convention = "neurological") -> None:
        super().__init__()
        self._viewer, self._linking = viewer, False
        self.plane = plane
        self.model = ViewerModel(title="Look", ndisplay=2, axis_labels=viewer.dims.axis_labels[-3:])
        self.model.theme = viewer.theme
        self.canvas = QtViewer(self.model)
        self.canvas.dims.hide()  # the viewer has the sliders
        self.canvas.setAcceptDrops(False)  # files are dropped on the viewer
        self.canvas.canvas.native.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # keys go to the viewer
        self.canvas.setMinimumSize(SMALLEST, SMALLEST)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addWidget(self.canvas)
        self._mirrors = Mirrors(viewer, self.model, like if plane else rendered)
        self._letters = Letters(self.model)
        self._crosshair = Crosshair(self.canvas, self.model)
        self._following = Following(self.model, self._move)
        self._links = (viewer.dims.events.point, viewer.dims.events.ndim)
        for event in self._links:
            event.connect(self._to_cursor)
        self.model.dims.events.point.connect(self._from_cursor)
        viewer.events.theme.connect(self._on_theme)
        self.canvas.canvas.native.installEventFilter(self)
        self.show_plane(plane, convention)

    def show_plane(self, plane: Plane | None, convention: Convention) -> None:
        """Show another plane, or the same with left elsewhere."""
        self.plane = plane
        if plane is None:
            self.model.dims.ndisplay = 3
            from_the_front_left(self.model)
        else:
            self.model.dims.ndisplay = 2
            turn(self.model, plane, convention)
        self._to_cursor()
        self.model.fit_to_view()

    def close_pane(self) -> None:
        """Let go of the viewer, its layers and the canvas."""
        for event in self._links:
            event.disconnect(self._to_cursor)
        self.model.dims.events.point.disconnect(self._from_cursor)
        self._viewer.events.theme.disconnect(self._on_theme)
        self.canvas.canvas.native.removeEventFilter(self)
        self._following.close()
        self._crosshair.close_cross()
        self._letters.close()
        self._mirrors.close()
        self.model.layers.clear()
        self.canvas.close()

    def sizeHint(self) -> QSize:
        return QSize(2 * SMALLEST, 2 * SMALLEST)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize:
            self.model.fit_to_view()
        return False

    def _move(self, position: Sequence[float]) -> None:
        self._viewer.dims.set_point(range(-3, 0), position[-3:])

    def _to_cursor(self, event: object = None) -> None:
        if self._linking or self.model.dims.ndim != self._viewer.dims.ndim:
            return
        point = self._viewer.dims.point
        if self.plane is None:  # a rendering shows all of space: it would only be made anew
            point = (*point[:-3], *self.model.dims.point[-3:])
        self._linking = True
        self.model.dims.point = point
        self._linking = False

    def _from_cursor(self, event: object = None) -> None:
        if not self._linking and self.plane is not None and self.model.dims.ndim == self._viewer.dims.ndim:
            self._linking = True
            self._viewer.dims.point = self.model.dims.point
            self._linking = False

    def _on_theme(self) -> None:
        self.model.theme = self._viewer.theme
