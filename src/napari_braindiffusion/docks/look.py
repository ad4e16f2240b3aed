"""The dock that shows the other two planes and a rendering beside the viewer's own canvas, all with one cursor."""

from napari.qt import QtViewer
from napari.viewer import Viewer
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QSplitter

from napari_braindiffusion.docks.base import Dock
from napari_braindiffusion.look.crosshair import Crosshair, Following
from napari_braindiffusion.look.pane import Pane
from napari_braindiffusion.look.planes import PLANES, Letters, plane_of
from napari_braindiffusion.view import look_at_brains


class LookDock(Dock):
    """Look at brains in three planes and in 3D.

    Args:
        napari_viewer: The viewer whose layers are shown.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.panes: list[Pane] = []
        self.splitter = QSplitter(Qt.Orientation.Vertical)
        self.rows.addWidget(self.splitter, 1)
        self._letters = Letters(napari_viewer)
        self._crosshair: Crosshair | None = None
        self._following = Following(napari_viewer, self._move)
        QTimer.singleShot(0, self._add_pane)

    def release(self) -> None:
        """Give the canvas back as it was."""
        for pane in self.panes:
            pane.close_pane()
        self.panes.clear()
        self._following.close()
        self._letters.close()
        if self._crosshair is not None:
            self._crosshair.close_cross()

    def _add_pane(self) -> None:
        if self._ended or not self._viewer.layers:
            return
        if self._crosshair is None:
            main = self.window().findChild(QtViewer)
            self._crosshair = Crosshair(main, self._viewer)
            if plane_of(self._viewer) is None:
                look_at_brains(self._viewer)
        own = plane_of(self._viewer)
        wanted = [plane for plane in (*PLANES, None) if plane is not own]
        if len(self.panes) < len(wanted):
            pane = Pane(self._viewer, wanted[len(self.panes)])
            self.panes.append(pane)
            self.splitter.addWidget(pane)
            QTimer.singleShot(0, self._add_pane)

    def _move(self, position) -> None:
        self._viewer.dims.set_point(range(-3, 0), position[-3:])
