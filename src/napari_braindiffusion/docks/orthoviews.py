"""The Orthoviews dock: the other two planes and a rendering beside the viewer's canvas, with one cursor."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from napari.layers import Image, Labels
from napari.qt import QtViewer
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QSplitter

from braindiffusion.runs import DifferenceRequest, Run
from braindiffusion.runs.sidecar import read_sidecar
from napari_braindiffusion.docks.base import Dock
from napari_braindiffusion.layers.jobs import Artifacts, LayerJob
from napari_braindiffusion.orthoviews.crosshair import Crosshair, Following
from napari_braindiffusion.orthoviews.cursor_values import in_words
from napari_braindiffusion.orthoviews.difference import check_pair, show_difference
from napari_braindiffusion.orthoviews.pane import Pane, free_in_own_context
from napari_braindiffusion.orthoviews.planes import PLANES, Letters, Plane, plane_of, turn
from napari_braindiffusion.orthoviews.rendering import back_to_planes, show_in_3d
from napari_braindiffusion.orthoviews.side_by_side import SideBySide, chosen
from napari_braindiffusion.settings import remember, settings
from napari_braindiffusion.widgets.forms.orthoviews_form import OrthoviewsForm

VIEWS: tuple[Plane | None, ...] = (*PLANES, None)
"""The views; None is the rendering. The large canvas shows one, the panes the others."""


class OrthoviewsDock(Dock):
    """Three linked planes and 3D, two brains side by side, and their difference.

    Args:
        napari_viewer: The viewer whose layers are shown.
    """

    name = "Orthoviews"

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.panes: list[Pane] = []
        self.compared: SideBySide | None = None
        self.form = OrthoviewsForm(settings().convention)
        self.difference = LayerJob(napari_viewer, self.engine, self)
        self._difference_name = ""
        self.splitter = QSplitter(Qt.Orientation.Vertical, childrenCollapsible=False)
        self.rows.addWidget(self.form)
        self.rows.addWidget(self.splitter, 1)
        self._crosshair: Crosshair | None = None
        self._letters: Letters | None = None
        self._following: Following | None = None
        self._later = QTimer(self, singleShot=True, interval=0)
        self._later.timeout.connect(self._tell)
        self._next = QTimer(self, singleShot=True, interval=0)
        self._next.timeout.connect(self._add_pane)
        self._renew = QTimer(self, singleShot=True, interval=0)
        self._renew.timeout.connect(self._renew_panes)

        self.form.convention_changed.connect(self._turn_all)
        self.form.side_by_side_toggled.connect(self.side_by_side)
        self.form.align_centers_toggled.connect(self._on_together)
        self.form.in_3d_toggled.connect(self.in_3d)
        self.form.difference_asked.connect(self.differ)
        self.difference.finished.connect(self._on_difference)
        self.difference.failed.connect(show_error)
        self.difference.ended.connect(lambda: self.form.set_busy(False))
        dims, layers = napari_viewer.dims, napari_viewer.layers
        self._told_by = (dims.events.point, layers.events, layers.selection.events.active)
        for event in self._told_by:
            event.connect(self._on_change)
        self._turned_by = (dims.events.order, dims.events.ndisplay)
        for event in self._turned_by:
            event.connect(self._share_out)
        layers.events.inserted.connect(self._begin)
        layers.events.removed.connect(self._on_removed)
        self._next.start()
        self._later.start()

    # What one may ask for

    def side_by_side(self, on: bool) -> None:
        """Show the chosen brains beside each other, or all as before."""
        if on and self.compared is None:
            with self.errors_shown():
                self.compared = SideBySide(self._viewer, chosen(self._viewer), together=self.form.align_centers)
        elif not on and self.compared is not None:
            self.compared.end()
            self.compared = None
        self.form.set_side_by_side(self.compared is not None)

    def in_3d(self, on: bool) -> None:
        """Render the brains in the large canvas, or show a plane again."""
        with self.errors_shown():
            if on:
                show_in_3d(self._viewer)
            else:
                back_to_planes(self._viewer)
        self.form.set_in_3d(self._viewer.dims.ndisplay == 3)

    def differ(self) -> None:
        """Show where the two chosen brains differ."""
        with self.errors_shown():
            images = [brain.image for brain in self.compared.brains] if self.compared else chosen(self._viewer)
            check_pair(images)
            align: Literal["centre", "world"] = "centre" if self.form.align_centers else "world"
            self.form.set_busy(True)
            self.difference.ask(images, lambda paths: DifferenceRequest(first=paths[0], second=paths[1], align=align))
            self._difference_name = f"{images[0].name} - {images[1].name}"
            if self.compared is None:
                images[1].visible = False  # it would hide where it differs

    def enlarge(self, plane: Plane | None) -> None:
        """Show a view in the large canvas; what it showed goes where that was."""
        if plane is None:
            self.in_3d(True)
            return
        if self._viewer.dims.ndisplay == 3:
            back_to_planes(self._viewer)
        turn(self._viewer, plane, self.form.convention)
        self._viewer.reset_view()

    def release(self) -> None:
        """Give the canvas back as it was."""
        viewer = self._viewer
        self._next.stop()
        self._renew.stop()
        self._later.stop()
        for event in self._told_by:
            event.disconnect(self._on_change)
        for event in self._turned_by:
            event.disconnect(self._share_out)
        viewer.layers.events.inserted.disconnect(self._begin)
        viewer.layers.events.removed.disconnect(self._on_removed)
        self.side_by_side(False)
        self.difference.close()
        own = plane_of(viewer)
        if own is not None and self._letters is not None:
            turn(viewer, own)  # no letter is left to say that left is right
        for pane in self.panes:
            pane.end()
        self.panes.clear()
        for one in (self._following, self._letters, self._crosshair):
            if one is not None:
                one.end()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102 Qt's
        super().resizeEvent(event)
        wide = self.width() > self.height()
        self.splitter.setOrientation(Qt.Orientation.Horizontal if wide else Qt.Orientation.Vertical)

    # What is shown where

    def _begin(self, event: object = None) -> None:
        self._next.start()

    def _on_removed(self, event: object = None) -> None:
        if self.compared is not None and not self.compared.is_whole:
            self.side_by_side(False)

    def _add_pane(self) -> None:
        """One canvas, or its letters, a turn of the event loop: each takes up to a second."""
        viewer = self._viewer
        if self._window is None or self._is_duplicate():
            return
        if not any(isinstance(layer, Image | Labels) and layer.ndim >= 3 for layer in viewer.layers):
            return
        if self._crosshair is None:
            self._take_the_canvas(self._window.findChild(QtViewer))  # a floated dock is a window of its own
            self._next.start()
            return
        if self.panes and self.panes[-1].add_letters():
            self._next.start()
            return
        shown = {plane_of(viewer), *(pane.plane for pane in self.panes)}
        left = [plane for plane in VIEWS if plane not in shown]
        if len(self.panes) == len(VIEWS) - 1:
            return
        pane = Pane(viewer, left[0], self.form.convention)
        pane.enlarge.connect(self.enlarge)
        pane.context_lost.connect(self._renew.start)
        self.panes.append(pane)
        self.splitter.addWidget(pane)
        self._next.start()

    def _renew_panes(self) -> None:
        """Make the canvases anew that have lost their OpenGL context: the dock was floated, or docked again."""
        for pane in [pane for pane in self.panes if pane.context_is_lost]:
            self.panes.remove(pane)
            pane.end()
            pane.hide()
            pane.deleteLater()
        self._next.start()

    def _take_the_canvas(self, canvas: QtViewer) -> None:
        """Cross and letters over the viewer's own canvas, and its mouse for the cursor."""
        free_in_own_context(canvas)
        own = plane_of(self._viewer)
        if own is not None:
            turn(self._viewer, own, self.form.convention)
        self._crosshair = Crosshair(canvas.canvas.native, self._viewer)
        self._letters = Letters(self._viewer)
        self._following = Following(self._viewer, self._move)

    def _share_out(self, event: object = None) -> None:
        """The pane that shows what the large canvas has come to show takes what nobody shows."""
        own, solid = plane_of(self._viewer), self._viewer.dims.ndisplay == 3
        self.form.set_in_3d(solid)
        if own is None and not solid:
            return  # a slice along the steps of a 4D layer, which no pane shows
        for pane in self.panes:
            if pane.plane == own:
                shown = {own, *(other.plane for other in self.panes if other is not pane)}
                pane.show_plane(next(view for view in VIEWS if view not in shown), self.form.convention)

    def _turn_all(self) -> None:
        remember("look", "convention", self.form.convention)
        own = plane_of(self._viewer)
        if own is not None:
            turn(self._viewer, own, self.form.convention)
        for pane in self.panes:
            pane.show_plane(pane.plane, self.form.convention)

    def _on_together(self, on: bool) -> None:
        if self.compared is not None:
            if on:
                self.compared.align_centers()
            else:
                self.compared.restore_positions()

    def _on_difference(self, run: Run, artifacts: Artifacts) -> None:
        for event, volume in artifacts:
            if volume is not None:
                show_difference(self._viewer, volume, self._difference_name, read_sidecar(Path(event.path)))

    # The cursor

    def _move(self, position: Sequence[float]) -> None:
        self._viewer.dims.set_point(range(-3, 0), position[-3:])

    def _on_change(self, event: object = None) -> None:
        self._later.start()

    def _tell(self) -> None:
        self.form.show_values(in_words(self._viewer))
