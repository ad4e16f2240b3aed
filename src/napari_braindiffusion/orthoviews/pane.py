"""One small canvas of the linked view: a plane, or a rendering, of what the viewer shows."""

from collections.abc import Sequence
from functools import partial
from typing import Any
from weakref import ref

from napari.components import ViewerModel
from napari.qt import QtViewer
from napari.utils.action_manager import action_manager
from napari.viewer import Viewer
from qtpy.QtCore import QSize, Qt, QTimer, Signal
from qtpy.QtWidgets import QSizePolicy, QToolButton, QVBoxLayout, QWidget

from napari_braindiffusion.orthoviews.crosshair import Crosshair, Following
from napari_braindiffusion.orthoviews.mirrored_layers import Mirrors
from napari_braindiffusion.orthoviews.planes import Letters, Plane, turn
from napari_braindiffusion.orthoviews.rendering import CLOSER, set_front_view
from napari_braindiffusion.settings import Convention

SMALLEST = 110
"""Pixels below which one sees nothing."""
RENDERING = "3D"


def free_in_own_context(canvas: QtViewer) -> None:
    """Let a canvas free textures and buffers in its own OpenGL context.

    When a layer is removed, napari 0.9 frees them in whatever context is current. Where several canvases are open, it
    freed those of another one, and the process crashed when that was drawn.
    """
    scene = canvas.canvas._scene_canvas
    scene.context.finish = partial(_finish, ref(scene))


def _finish(reference: "ref[Any]") -> None:
    """Do what is left to do in the context of a canvas; nothing before it is first drawn."""
    scene = reference()
    if scene is not None and scene.native.isValid():
        scene.set_current()
        type(scene.context).finish(scene.context)


class Pane(QWidget):
    """A canvas with mirrors of the viewer's layers, at the viewer's cursor.

    It follows a moment later, once for all that happened: the viewer's own canvas is never held up by the others.

    Args:
        viewer: Whose layers and cursor are shown.
        plane: Which plane; None is a rendering in 3D.
        convention: Where left is.
    """

    enlarge = Signal(object)
    """The plane, or None, that the user wants in the large canvas."""
    context_lost = Signal()
    """The canvas came into another window, where Qt gives it another OpenGL context: it draws nothing any more."""

    def __init__(self, viewer: Viewer, plane: Plane | None, convention: Convention = "neurological") -> None:
        super().__init__()
        self._viewer = viewer
        self.plane = plane
        self.model = ViewerModel(title="Orthoviews")
        self.model.theme = viewer.theme
        self.button = QToolButton(autoRaise=True)
        self.button.setToolTip("Exchange this view with the one in the large canvas.")
        self.button.clicked.connect(lambda: self.enlarge.emit(self.plane))
        with action_manager.events.shortcut_changed.blocker():  # it binds them all again, and every tip is drawn anew
            self.canvas = QtViewer(self.model)
        self.canvas.dims.hide()  # the viewer has the sliders
        self.canvas.setAcceptDrops(False)  # files are dropped on the viewer
        free_in_own_context(self.canvas)
        self.context_is_lost = self._ended = False
        self.canvas.canvas._scene_canvas.events.initialize.connect(self._watch_context)
        self.native = self.canvas.canvas.native
        self.native.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # keys go to the viewer
        self.canvas.setMinimumSize(SMALLEST, SMALLEST)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(0)
        rows.addWidget(self.button)
        rows.addWidget(self.canvas, 1)

        self._mirrors = Mirrors(viewer, self.model, solid=plane is None)
        self.crosshair = Crosshair(self.native, self.model)
        self._following = Following(self.model, self._move)
        self._later = QTimer(self, singleShot=True, interval=0)
        self._later.timeout.connect(self._to_cursor)
        viewer.dims.events.point.connect(self._on_cursor)
        self.model.dims.events.point.connect(self._from_cursor)
        viewer.events.theme.connect(self._on_theme)
        viewer.events.reset_view.connect(self._fit)
        for event in (self.model.layers.events.inserted, self.model.layers.events.removed):
            event.connect(self._arrange)
        self.model.events.status.connect(self._tell)
        self.model.canvas.events.size.connect(self._fit)
        self.show_plane(plane, convention)
        self._letters: Letters | None = None

    def show_plane(self, plane: Plane | None, convention: Convention) -> None:
        """Show another plane, or the same with left elsewhere."""
        self.plane, self._convention = plane, convention
        self.button.setText(plane.name if plane else RENDERING)
        self._mirrors.show(solid=plane is None)
        self._arrange()

    def add_letters(self) -> bool:
        """Add the letters at the edges, which take a while to make; return whether there were none yet."""
        missing = self._letters is None
        if missing:
            self._letters = Letters(self.model)
        return missing

    def end(self) -> None:
        """Let go of the viewer, its layers and the canvas."""
        viewer = self._viewer
        self._ended = True
        self._later.stop()
        viewer.dims.events.point.disconnect(self._on_cursor)
        self.model.dims.events.point.disconnect(self._from_cursor)
        viewer.events.theme.disconnect(self._on_theme)
        viewer.events.reset_view.disconnect(self._fit)
        for event in (self.model.layers.events.inserted, self.model.layers.events.removed):
            event.disconnect(self._arrange)
        self.model.events.status.disconnect(self._tell)
        self.model.canvas.events.size.disconnect(self._fit)
        self._following.end()
        self.crosshair.end()
        if self._letters is not None:
            self._letters.end()
        self._mirrors.close()
        self.canvas.close()  # its context goes with it

    def sizeHint(self) -> QSize:  # noqa: D102 Qt's
        return QSize(SMALLEST, SMALLEST)

    def _watch_context(self, event: object = None) -> None:
        if not self.context_is_lost:
            self.native.context().aboutToBeDestroyed.connect(self._on_context_lost)

    def _on_context_lost(self) -> None:
        self.context_is_lost = True
        self.canvas.canvas._scene_canvas.context.finish = lambda: None  # what vispy draws with need not be freed
        if not self._ended:  # else the canvas is being deleted
            self.native.setUpdatesEnabled(False)
            self.context_lost.emit()

    def _arrange(self, event: object = None) -> None:
        """Cut along the plane, also after napari has forgotten its axes with the last layer."""
        if self.model.dims.ndim < 3:
            return
        # On its way from 3D to 2D napari moves to where the camera looked: not the cursor's way.
        with self.model.dims.events.point.blocker(self._from_cursor):
            if self.plane is not None:
                self.model.dims.ndisplay = 2
                turn(self.model, self.plane, self._convention)
            elif self.model.dims.ndisplay == 2:
                set_front_view(self.model)
        self._fit()
        self._to_cursor()

    def _fit(self, event: object = None) -> None:
        self.model.fit_to_view()
        if self.plane is None:
            self.model.scene.camera.zoom *= CLOSER

    def _move(self, position: Sequence[float]) -> None:
        self._viewer.dims.set_point(range(-3, 0), position[-3:])

    def _on_cursor(self) -> None:
        self._later.start()

    def _to_cursor(self) -> None:
        """Go where the viewer is. A rendering shows all of space, and would only be made anew."""
        mine, theirs = self.model.dims, self._viewer.dims.point
        if not 3 <= mine.ndim <= len(theirs):
            return
        point = theirs[-mine.ndim :]
        if self.plane is None:
            point = (*point[:-3], *mine.point[-3:])
        with mine.events.point.blocker(self._from_cursor):
            mine.point = point
        self.crosshair.keep_in_view()

    def _from_cursor(self) -> None:
        """The wheel with Ctrl goes through the planes of this canvas; all others come along."""
        if self.plane is not None and self.model.dims.ndim >= 3:
            self._move(self.model.dims.point)

    def _on_theme(self) -> None:
        self.model.theme = self._viewer.theme

    def _tell(self) -> None:
        self._viewer.status = self.model.status
