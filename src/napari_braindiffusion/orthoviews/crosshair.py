"""One cursor for all planes: a cross that lies over a canvas, and a mouse that moves it.

The cursor is the viewer's `dims.point`: moving a slider of the viewer moves it, too.
"""

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent, QLineF, QObject, QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QWidget

GAP = 6
"""Pixels around the cursor that stay free: what it points at shall be seen."""
MARGIN = 32
"""Pixels at the edges that stay free for the letters."""
MoveTo = Callable[[Sequence[float]], None]


class Crosshair(QWidget):
    """Lines through the cursor, in each box of the canvas' grid; the mouse goes through.

    Args:
        canvas: The widget to lie on.
        viewer: What it shows.
    """

    def __init__(self, canvas: QWidget, viewer: ViewerModel) -> None:
        super().__init__(canvas)
        self._viewer = viewer
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        camera, dims, grid = viewer.scene.camera, viewer.dims, viewer.canvas.grid
        self._events = (
            dims.events.point,
            dims.events.order,
            dims.events.ndisplay,
            camera.events.center,
            camera.events.zoom,
            camera.events.orientation,
            grid.events,
            viewer.layers.events,
            viewer.events.theme,
        )
        for event in self._events:
            event.connect(self._repaint)
        self.parentWidget().installEventFilter(self)
        self._fill()
        self.show()

    def end(self) -> None:
        """Take it away."""
        for event in self._events:
            event.disconnect(self._repaint)
        self.parentWidget().removeEventFilter(self)
        self.hide()
        self.deleteLater()

    def lines(self) -> list[QLineF]:
        """Return the lines in pixels of the canvas; none in 3D."""
        if self._viewer.dims.ndisplay == 3 or not self._viewer.layers:
            return []
        found = []
        for box, at in zip(self._boxes(), self.places(), strict=True):
            inner = box.adjusted(MARGIN, MARGIN, -MARGIN, -MARGIN)
            if inner.left() < at.x() < inner.right():
                found.append(QLineF(at.x(), inner.top(), at.x(), at.y() - GAP))
                found.append(QLineF(at.x(), at.y() + GAP, at.x(), inner.bottom()))
            if inner.top() < at.y() < inner.bottom():
                found.append(QLineF(inner.left(), at.y(), at.x() - GAP, at.y()))
                found.append(QLineF(at.x() + GAP, at.y(), inner.right(), at.y()))
        return found

    def places(self) -> list[QPointF]:
        """Return the position of the cursor in each box, in pixels of the canvas."""
        return [self._in_box(box) for box in self._boxes()]

    def keep_in_view(self) -> None:
        """Move what the canvas shows so far that the cursor is in it, where one has zoomed in."""
        if self._viewer.dims.ndisplay == 3:
            return
        box = self._boxes()[0]
        if not box.contains(self._in_box(box)):
            camera = self._viewer.scene.camera
            camera.center = (camera.center[0], *(self._viewer.dims.point[axis] for axis in self._viewer.dims.displayed))

    def _in_box(self, box: QRectF) -> QPointF:
        """Return the position of the cursor in a box of the grid."""
        camera, dims = self._viewer.scene.camera, self._viewer.dims
        vertical, horizontal = (dims.point[axis] for axis in dims.displayed[-2:])
        up, right = (str(direction) for direction in camera.orientation2d)
        across = (horizontal - camera.center[2]) * camera.zoom * (1 if right == "right" else -1)
        down = (vertical - camera.center[1]) * camera.zoom * (-1 if up == "up" else 1)
        return box.center() + QPointF(across, down)

    def _boxes(self) -> list[QRectF]:
        """The boxes of the grid; the whole canvas where it has none."""
        layers, canvas = self._viewer.layers, self._viewer.canvas
        rows, columns = canvas.grid.actual_shape(layers)
        share = np.array(canvas.viewbox_size(layers)) / canvas.size
        height, width = share * (self.height(), self.width())
        down = (self.height() - height) / max(rows - 1, 1)
        across = (self.width() - width) / max(columns - 1, 1)
        return [QRectF(column * across, row * down, width, height) for row in range(rows) for column in range(columns)]

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: D102 Qt's
        if event.type() == QEvent.Type.Resize:
            self._fill()
        return False

    def _fill(self) -> None:
        self.setGeometry(self.parentWidget().rect())

    def _repaint(self, event: object = None) -> None:
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102 Qt's
        painter = QPainter(self)
        painter.setPen(QPen(QColor(get_theme(self._viewer.theme).current.as_hex()), 1))
        painter.drawLines(self.lines())
        painter.end()


class Following:
    """The mouse moves the cursor while its left button is down; with Shift it moves what the canvas shows.

    Args:
        viewer: Whose canvas is watched.
        move_to: Called with the place under the mouse, in the viewer's world.
    """

    def __init__(self, viewer: ViewerModel, move_to: MoveTo) -> None:
        self._viewer, self._move_to = viewer, move_to
        viewer.mouse_drag_callbacks.append(self._drag)
        camera, dims = viewer.scene.camera, viewer.dims
        camera.events.mouse_pan.connect(self._hold)
        dims.events.ndisplay.connect(self._hold)
        self._hold()

    def end(self) -> None:
        """Give the mouse back to napari."""
        self._viewer.mouse_drag_callbacks.remove(self._drag)
        self._viewer.scene.camera.events.mouse_pan.disconnect(self._hold)
        self._viewer.dims.events.ndisplay.disconnect(self._hold)
        active = self._viewer.layers.selection.active
        self._viewer.scene.camera.mouse_pan = active is None or active.mouse_pan

    def _hold(self, event: object = None) -> None:
        """In a plane, napari's own panning would move the picture away under the cursor."""
        active = self._viewer.layers.selection.active
        if self._viewer.dims.ndisplay == 2:
            self._viewer.scene.camera.mouse_pan = False
        elif active is None or active.mouse_pan:
            self._viewer.scene.camera.mouse_pan = True

    def _drag(self, viewer: ViewerModel, event: Any) -> Generator[None]:
        active = viewer.layers.selection.active
        if viewer.dims.ndisplay == 3 or event.button != 1 or (active is not None and not active.mouse_pan):
            return
        if "Shift" in event.modifiers:
            yield from self._pan(event)
        elif not event.modifiers:
            self._move_to(event.position)
            yield
            while event.type == "mouse_move":
                self._move_to(event.position)
                yield

    def _pan(self, event: Any) -> Generator[None]:
        begun = np.array(event.position)[list(self._viewer.dims.displayed)]
        yield
        while event.type == "mouse_move":
            now = np.array(event.position)[list(self._viewer.dims.displayed)]
            center = np.array(self._viewer.scene.camera.center)
            center[-2:] += (begun - now)[-2:]
            self._viewer.scene.camera.center = tuple(center)
            yield
